/** `oxide-kv serve`: a whole cluster in this process, its nodes as threads, for programs to use. */
import { resolve } from 'node:path';
import type { ClusterHandle, ClusterOptions } from '../../cluster/api.ts';
import { checkListen, formatAddress, isLoopback, parseAddress } from '../addresses.ts';
import type { Args } from '../args.ts';
import type { Command, Context, StopSignal } from '../command.ts';
import { eventLine } from '../event-line.ts';
import { ENGINE_OPTION, HISTORY_OPTION, engineOf, historyOf } from '../engine-option.ts';
import { EXIT, startFailure, UsageError } from '../failure.ts';

const DATA_DIR = 'oxide-kv-data';

/** Runs until SIGINT, SIGTERM or SIGHUP, which stop it cleanly with exit code 0. */
export const command: Command = {
  name: 'serve',
  positionals: [],
  description: [
    'Runs a cluster of real nodes, each a thread with its own data directory and its own port, until Ctrl-C or SIGTERM. A node that crashes is restarted. Any node takes any request and passes it on to the leader.',
    `Data stays in ./${DATA_DIR} (or --data DIR): serve the same directory again and everything is there. If a port is taken, the next free block of ports is used, which standard error says.`,
    'With --json, standard output holds one line, when there is a leader: {"event":"ready","leader":1,"nodes":[{"id":1,"client":"127.0.0.1:9001"},…]}. With --events too, one more line for each event: {"event":"cluster","atMs":…,"node":…,"level":…,"kind":…,"text":…}.',
  ],
  options: [
    { name: 'nodes', short: 'n', value: 'N', help: 'Number of nodes, 1 to 9 (default 3)' },
    {
      name: 'data',
      short: 'd',
      value: 'DIR',
      help: `Where the nodes keep their data (default ./${DATA_DIR})`,
    },
    ENGINE_OPTION,
    HISTORY_OPTION,
    { name: 'client-port', value: 'PORT', help: 'Port of the first node; the others follow (default 9001)' },
    { name: 'host', value: 'HOST', help: 'Address to listen on (default 127.0.0.1)' },
    {
      name: 'insecure-listen',
      help: 'Allow a --host that other machines can reach: no password, no encryption',
    },
    { name: 'strict-ports', help: 'Fail if a port is taken' },
    { name: 'no-forward', help: 'Followers answer "Not a leader" and name the leader' },
    { name: 'seed', value: 'N', help: 'Seed of the election timeouts (default: drawn at random)' },
    { name: 'json', help: 'Print one JSON line when ready' },
    { name: 'events', help: 'With --json, print every event as a further JSON line' },
  ],
  examples: [
    { line: 'oxide-kv serve', why: 'Three nodes on ports 9001 to 9003' },
    {
      line: 'oxide-kv serve --nodes 5 --client-port 7001 --data /var/lib/oxide-kv',
      why: 'Five nodes elsewhere',
    },
    { line: 'oxide-kv serve --json | head -1', why: 'A test waits for this line' },
    {
      line: `echo '{"Get":{"key":"greeting"}}' | nc 127.0.0.1 9001`,
      why: 'The protocol is one JSON object a line',
    },
  ],
  async run(args, context) {
    if (args.has('events') && !args.has('json')) throw new UsageError('Option --events needs --json');
    const options = readOptions(args);
    const signal = context.watchSignals();
    try {
      return await serve(options, args, context, signal);
    } finally {
      signal.release();
    }
  },
};

interface ServeOptions {
  readonly nodes: number;
  readonly dataDir: string;
  readonly basePort: number;
  readonly host: string;
  readonly seed: number | undefined;
  readonly storage: Pick<ClusterOptions, 'engine' | 'historyRevisions'>;
}

function readOptions(args: Args): ServeOptions {
  const nodes = args.integer('nodes', { min: 1, max: 9 }, 3);
  const basePort = args.integer('client-port', { min: 1, max: 65_536 - nodes }, 9001);
  const given = args.text('host') ?? '127.0.0.1';
  // Read with the port, so that an IPv6 host is judged in its brackets as everywhere else.
  const hostText = given.includes(':') && !given.startsWith('[') ? `[${given}]` : given;
  const { host } = parseAddress(`${hostText}:${basePort}`, 'Option --host');
  checkListen([host], args.has('insecure-listen'));
  return {
    nodes,
    basePort,
    host,
    dataDir: resolve(args.text('data') ?? DATA_DIR),
    seed: args.integer('seed', { min: 0, max: 0xffff_ffff }, undefined),
    storage: { ...engineOf(args), ...historyOf(args) },
  };
}

async function serve(
  options: ServeOptions,
  args: Args,
  context: Context,
  signal: StopSignal,
): Promise<number> {
  const { out, err } = context;
  const { nodes, dataDir, basePort, host, seed, storage } = options;
  const isJson = args.has('json');
  if (!isLoopback(host)) err.line(`Warning: every machine that reaches ${host} can read and change all data`);
  const cluster = await startCluster({
    nodes,
    dataDir,
    ...storage,
    autoRestart: true,
    doors: { basePort, host, strict: args.has('strict-ports'), forward: !args.has('no-forward') },
    ...(seed === undefined ? {} : { seed }),
  });
  try {
    const first = cluster.nodes[0]?.client ?? '';
    const wanted = formatAddress({ host, port: basePort });
    if (first !== wanted) err.line(`Ports from ${basePort} on are taken: the first node listens on ${first}`);
    if (!isJson) announce(cluster, out);
    // After the announcement, and before the wait for a leader, so that the election is among the events.
    const forget = isJson ? () => {} : printEvents(cluster, out);
    const isReady = await Promise.race([ready(cluster, context, isJson), signal.stopped.then(() => false)]);
    if (!isReady) return EXIT.interrupted;
    if (isJson && args.has('events')) cluster.onEvent((event) => out.json({ event: 'cluster', ...event }));
    await signal.stopped;
    forget();
    if (!isJson) out.line('Stopping');
    return EXIT.ok;
  } finally {
    await cluster.stop();
  }
}

/** Imported when it is needed: the help and wrong usage answer at once. */
async function startCluster(options: ClusterOptions): Promise<ClusterHandle> {
  const { Cluster } = await import('../../cluster/cluster.ts');
  try {
    return await Cluster.start(options);
  } catch (error) {
    throw startFailure(error);
  }
}

/** Waits for the first leader and says so. */
async function ready(cluster: ClusterHandle, { out }: Context, isJson: boolean): Promise<boolean> {
  const leader = await cluster.leader({ timeoutMs: 60_000 });
  if (isJson) {
    const nodes = cluster.nodes.map(({ id, client }) => ({ id, client }));
    out.json({ event: 'ready', leader: leader.id, nodes });
  } else {
    out.line(`Ready: node ${leader.id} leads. Try: oxide-kv set greeting hello -e ${leader.client}`);
  }
  return true;
}

function announce(cluster: ClusterHandle, out: Context['out']): void {
  out.line(`Oxide-KV: ${cluster.nodes.length} nodes, data in ${cluster.dataDir}. Ctrl-C stops`);
  for (const { id, client } of cluster.nodes) out.line(`  node ${id}  ${client}`);
}

/** Prints what an operator wants to know: who leads, who crashed, and why. */
function printEvents(cluster: ClusterHandle, out: Context['out']): () => void {
  const startedMs = Date.now() - cluster.view().atMs;
  return cluster.onEvent((event) => {
    // The ports are in the announcement, and on standard error.
    const line = event.kind === 'ports' ? undefined : eventLine(event, startedMs);
    if (line !== undefined) out.line(line);
  });
}
