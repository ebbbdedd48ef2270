/** `oxide-kv node`: one node of a cluster whose nodes are separate processes, on one machine or several. */
import { resolve } from 'node:path';
import type { Member } from '../addresses.ts';
import {
  assignIds,
  assignJoinIds,
  checkListen,
  formatAddress,
  isLoopback,
  parseAddress,
} from '../addresses.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { eventLine } from '../event-line.ts';
import { ENGINE_OPTION, HISTORY_OPTION, engineOf, historyOf } from '../engine-option.ts';
import { CommandError, EXIT, startFailure, UsageError } from '../failure.ts';

/** Clients connect to the port of the other nodes plus this, unless `--client-addr` says otherwise. */
const CLIENT_PORT_OFFSET = 1000;
const SNAPSHOT_ENTRIES = 100_000;
const SNAPSHOT_ENTRIES_MAX = 1_000_000_000;
/** No spaces, commas or equal signs, which the identity of a cluster has a meaning for. */
const CLUSTER_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Runs until SIGINT, SIGTERM or SIGHUP (exit code 0), or until the node dies (exit code 1). */
export const command: Command = {
  name: 'node',
  positionals: [],
  description: [
    'Runs one node until Ctrl-C or SIGTERM. Start one with the same set of addresses on every machine; a majority must run before anything can be written. Both addresses are told to others, so give those that they can reach.',
    'Ids: without --id the nodes get 1, 2, 3… in the order of all addresses, own and peers, by host and then by port as a number. So every node must be given the same addresses, written the same way ("localhost" and "127.0.0.1" differ). With --id N this node has id N and the peers take the other ids in that order. Peers may carry their ids as ID=HOST:PORT. A node must keep its id as long as it keeps its data.',
    'With --cluster NAME the nodes know each other by that name and their ids, so each may be given other addresses for its peers, and addresses may change later. Without it, all addresses together name the cluster: a node whose address has changed is refused.',
    'With --join the node is an additional one: it waits until `oxide-kv member add ID ADDR` takes it in, and the log tells it everything else. It needs an --id that no node ever had, and in --peers some node of the cluster, or without --cluster all that the cluster began with, as they were given to those. The others need no new options: once a cluster runs, its log says who belongs to it, and --peers only where they are. A node that lost its data stays out until it is removed with `oxide-kv member remove ID` and added again; then it is started with --join too, under its old id.',
    'Data stays in ./oxide-kv-node-HOST-PORT (from --addr) unless --data says otherwise. With --json, standard output holds one line when the node listens: {"event":"ready","id":2,"addr":"127.0.0.1:8002","client":"127.0.0.1:9002"}.',
  ],
  options: [
    { name: 'addr', short: 'a', value: 'HOST:PORT', help: 'Where the other nodes reach this one (required)' },
    {
      name: 'client-addr',
      value: 'HOST:PORT',
      help: `Where clients connect (default: --addr with its port plus ${CLIENT_PORT_OFFSET})`,
    },
    {
      name: 'peers',
      short: 'p',
      value: 'HOST:PORT',
      variadic: true,
      help: 'The other nodes, with spaces or commas between them; this one may be among them. None: a cluster of one',
    },
    { name: 'id', value: 'N', help: 'Id of this node (default: by the order of the addresses)' },
    {
      name: 'cluster',
      value: 'NAME',
      help: 'Name of the cluster, the same on all its nodes; needs --id and peers as ID=HOST:PORT (default: all addresses together)',
    },
    { name: 'join', help: 'Wait to be added to a cluster that runs already; needs --id and --peers' },
    {
      name: 'witness',
      help: 'With --join: keep no data, only vote; then let it in with `oxide-kv member add ID ADDR --witness`',
    },
    { name: 'data', short: 'd', value: 'DIR', help: 'Where the node keeps its data' },
    ENGINE_OPTION,
    HISTORY_OPTION,
    { name: 'no-forward', help: 'A follower answers "Not a leader" and names the leader' },
    {
      name: 'election-ms',
      value: 'MS',
      help: 'Election timeouts are drawn from MS to twice that (default 250); raise it for slow networks, on all nodes alike',
    },
    { name: 'heartbeat-ms', value: 'MS', help: 'Time between two heartbeats of a leader (default 50)' },
    {
      name: 'lease-reads',
      help: 'Answer reads from a lease, without asking a majority; trusts clocks to drift by less than a tenth; on all nodes or none',
    },
    {
      name: 'priority',
      value: 'N',
      help: 'From 0 to 10: the lower, the longer this node waits before it wants to lead (default 10)',
    },
    {
      name: 'sleep-after-ms',
      value: 'MS',
      help: 'Stop heartbeats after this long without requests; a leader whose machine is gone is then noticed with the next one (default: never)',
    },
    {
      name: 'snapshot-entries',
      value: 'N',
      help: `Writes between two snapshots, which bound the log (default ${SNAPSHOT_ENTRIES})`,
    },
    {
      name: 'insecure-listen',
      help: 'Allow addresses that other machines can reach: no password, no encryption',
    },
    { name: 'json', help: 'Print one JSON line when ready' },
  ],
  examples: [
    {
      line: 'oxide-kv node --addr 127.0.0.1:8001 --peers 127.0.0.1:8002 127.0.0.1:8003',
      why: 'One of three on this machine; clients connect to 9001',
    },
    {
      line: 'oxide-kv node --addr 10.0.0.1:8001 --peers 10.0.0.2:8001,10.0.0.3:8001 --insecure-listen',
      why: 'One of three machines in a private network',
    },
    {
      line: 'oxide-kv node --addr 10.0.0.1:8001 --peers 1=10.0.0.1:8001 2=10.0.0.2:8001 3=10.0.0.3:8001 --insecure-listen',
      why: 'The same list for all, with ids',
    },
    {
      line: 'oxide-kv node --addr 127.0.0.1:8004 --id 4 --join --peers 127.0.0.1:8001 127.0.0.1:8002 127.0.0.1:8003',
      why: 'A fourth for the first example; then: oxide-kv member add 4 127.0.0.1:8004',
    },
    {
      line: 'oxide-kv node --addr 127.0.0.1:8004 --id 4 --join --witness --peers 127.0.0.1:8001 127.0.0.1:8002 127.0.0.1:8003',
      why: 'The same as a witness; then: oxide-kv member add 4 127.0.0.1:8004 --witness',
    },
    {
      line: 'oxide-kv node --addr 10.0.0.4:8001 --id 4 --join --cluster blue --peers 1=10.0.0.1:8001 --insecure-listen',
      why: 'The same for a cluster with a name: one node of it is enough',
    },
  ],
  async run(args, context) {
    const plan = readPlan(args);
    const signal = context.watchSignals();
    try {
      return await runNode(plan, args, context, signal.stopped);
    } finally {
      signal.release();
    }
  },
};

/** What one `oxide-kv node` is to run. */
export interface NodePlan {
  readonly self: Member;
  readonly peers: readonly Member[];
  readonly clientAddr: string;
  readonly dataDir: string;
  /** Undefined: the cluster is named by the addresses of its nodes. */
  readonly clusterName: string | undefined;
  /** Waits to be added; `peers` are nodes of the cluster, not founders beside this one. */
  readonly join: boolean;
  /** It joins again: it is one of those that the cluster began with. */
  readonly wasFounder?: boolean;
  readonly snapshotEntries: number;
  readonly electionMs: number;
  readonly heartbeatMs: number;
  readonly leaseReads: boolean;
  readonly sleepAfterMs: number;
  readonly priority: number;
  readonly witness: boolean;
  readonly engine?: 'memory' | 'lsm';
  readonly historyRevisions?: number;
}

/** Reads the options of a node. Throws a {@link UsageError}. */
export function readPlan(args: Args): NodePlan {
  const addrText = args.text('addr');
  if (addrText === undefined) {
    throw new UsageError('Command "node" needs --addr HOST:PORT', 'See: oxide-kv help node');
  }
  const addr = parseAddress(addrText, 'Option --addr');
  const clientText = args.text('client-addr');
  if (clientText === undefined && addr.port + CLIENT_PORT_OFFSET > 65_535) {
    throw new UsageError(`Port ${addr.port} plus ${CLIENT_PORT_OFFSET} is no port`, 'Give --client-addr');
  }
  const client =
    clientText === undefined
      ? { host: addr.host, port: addr.port + CLIENT_PORT_OFFSET }
      : parseAddress(clientText, 'Option --client-addr');
  if (formatAddress(client) === formatAddress(addr)) {
    throw new UsageError(
      `Clients and nodes cannot both use ${formatAddress(addr)}`,
      'Give another --client-addr',
    );
  }
  checkListen([addr.host, client.host], args.has('insecure-listen'));
  const id = args.integer('id', { min: 1, max: 0x7fff_ffff }, undefined);
  const electionMs = args.integer('election-ms', { min: 10, max: 60_000 }, 250);
  const heartbeatMs = args.integer(
    'heartbeat-ms',
    { min: 1, max: 60_000 },
    Math.min(50, Math.floor(electionMs / 5)),
  );
  if (heartbeatMs * 2 > electionMs) {
    throw new UsageError(
      `Heartbeats every ${heartbeatMs} ms are too rare for election timeouts of ${electionMs} ms`,
    );
  }
  const sleepAfterMs = args.integer('sleep-after-ms', { min: 0, max: 86_400_000 }, 0);
  if (sleepAfterMs > 0 && args.has('lease-reads'))
    throw new UsageError('A lease needs heartbeats', 'Leave out --sleep-after-ms or --lease-reads');
  const join = args.has('join');
  if (args.has('witness') && !join)
    throw new UsageError(
      'A cluster does not begin with witnesses',
      'Give --join too, and add the node to a cluster',
    );
  return {
    ...(join ? assignJoinIds : assignIds)(addrText, args.list('peers'), id),
    clusterName: readClusterName(args),
    join,
    snapshotEntries: args.integer(
      'snapshot-entries',
      { min: 1, max: SNAPSHOT_ENTRIES_MAX },
      SNAPSHOT_ENTRIES,
    ),
    clientAddr: formatAddress(client),
    dataDir: resolve(args.text('data') ?? `oxide-kv-node-${addr.host.replaceAll(':', '-')}-${addr.port}`),
    electionMs,
    heartbeatMs,
    leaseReads: args.has('lease-reads'),
    sleepAfterMs,
    priority: args.integer('priority', { min: 0, max: 10 }, 10),
    witness: args.has('witness'),
    ...engineOf(args),
    ...historyOf(args),
  };
}

/** By the order of addresses ids are the same everywhere only if the addresses are. */
function readClusterName(args: Args): string | undefined {
  const name = args.text('cluster');
  if (name === undefined) return undefined;
  if (!CLUSTER_NAME.test(name)) {
    throw new UsageError(`Option --cluster is "${name}", expected 1 to 64 letters, digits, ".", "_" or "-"`);
  }
  if (args.list('peers').some((peer) => !peer.includes('='))) {
    throw new UsageError('Option --cluster needs ids', 'Give --id N, and the peers as ID=HOST:PORT');
  }
  return name;
}

async function runNode(
  plan: NodePlan,
  args: Args,
  context: Context,
  stopped: Promise<void>,
): Promise<number> {
  const { out, err } = context;
  const { self, ...settings } = plan;
  const { peers, clientAddr, dataDir } = settings;
  const open = [self.addr, clientAddr].filter((addr) => !isLoopback(parseAddress(addr, 'Address').host));
  if (open.length > 0) {
    err.line(`Warning: every machine that reaches ${open.join(' or ')} can read and change all data`);
  }
  const forward = !args.has('no-forward');
  const { startSingleNode } = await import('../../cluster/single.ts');
  const startedMs = Date.now();
  const starting = startSingleNode({ ...self, ...settings, forward });
  const node = await starting.catch((error: unknown) => {
    throw startFailure(error);
  });
  try {
    if (args.has('json')) {
      out.json({ event: 'ready', id: self.id, addr: self.addr, client: clientAddr });
    } else {
      const others = peers.map((peer) => `${peer.id} at ${peer.addr}`).join(', ');
      const place = settings.join ? '' : ` of ${peers.length + 1}`;
      out.line(`Oxide-KV node ${self.id}${place}, data in ${dataDir}. Ctrl-C stops`);
      out.line(`  for clients  ${clientAddr}`);
      out.line(
        `  for nodes    ${self.addr}${others === '' ? ' (no peers: a cluster of one)' : `; peers ${others}`}`,
      );
      if (settings.join)
        out.line(
          `  to let it in: oxide-kv member add ${self.id} ${self.addr}${settings.witness ? ' --witness' : ''}, if it is no member yet`,
        );
      node.onEvent((event) => {
        const line = eventLine(event, startedMs);
        if (line !== undefined) out.line(line);
      });
    }
    const reason = await Promise.race([node.exited, stopped.then(() => undefined)]);
    if (reason !== undefined) throw new CommandError('stopped', `Node ${self.id} stopped: ${reason}`);
    return EXIT.ok;
  } finally {
    await node.stop();
  }
}
