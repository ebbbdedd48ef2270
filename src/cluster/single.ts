/** One node of a cluster that spans processes: a thread of its own, talking to its peers over TCP. */
import { OxideError } from '../lib/errors.ts';
import { type Address, addressOf } from '../net/address.ts';
import { CompactionPool } from './compaction-pool.ts';
import type { WorkerStart } from './control.ts';
import { processStartedAt } from './process.ts';
import { SupervisedNode } from './supervised-node.ts';
import type { ClusterEvent } from './view.ts';

export interface SingleNodeOptions {
  readonly id: number;
  /** `host:port` that peers connect to. */
  readonly addr: string;
  /** `host:port` of the JSON door. */
  readonly clientAddr: string;
  /** All other founders; for a node that joins, nodes of the cluster that it may ask. */
  readonly peers: readonly { readonly id: number; readonly addr: string }[];
  readonly dataDir: string;
  /**
   * What the cluster is called: its nodes may then know each other by different addresses. Undefined: it is named by the
   * ids and addresses of its founders, which must be the same everywhere.
   */
  readonly clusterName?: string | undefined;
  /** Waits to be added to a cluster that runs. Default false: it is a founder, unless its data directory knows better. */
  readonly join?: boolean;
  /** With `join`: this node is one of those that the cluster began with, and comes back after it was removed. */
  readonly wasFounder?: boolean;
  /** Pass clients' requests on to the leader. */
  readonly forward: boolean;
  readonly electionMs?: number;
  readonly heartbeatMs?: number;
  /** See `ClusterOptions.leaseReads`: on all nodes or on none. */
  readonly leaseReads?: boolean;
  readonly sleepAfterMs?: number;
  /** 0 to 10: the lower, the longer this node waits before it stands for election. Default 10. */
  readonly priority?: number;
  /** With `join`: it keeps the log without its commands, votes and never leads, and must be added as a witness. */
  readonly witness?: boolean;
  readonly snapshotEntries?: number;
  /** See `ClusterOptions.engine` and `historyRevisions`. */
  readonly engine?: 'memory' | 'lsm';
  readonly historyRevisions?: number;
}

/** A running node. */
export interface SingleNode {
  /** Stops cleanly. Idempotent. */
  stop(): Promise<void>;
  /** Resolves with the reason, in words, if the node dies by itself. */
  readonly exited: Promise<string>;
  /** Calls back for every event from the start on. @returns stops it */
  onEvent(listener: (event: ClusterEvent) => void): () => void;
}

const STOP_TIMEOUT_MS = 5000;
const HISTORY_MAX = 200;

/** Starts one node. Rejects when it cannot start. */
export async function startSingleNode(options: SingleNodeOptions): Promise<SingleNode> {
  const startedMs = performance.timeOrigin + performance.now();
  const isFounder = options.join !== true || options.wasFounder === true;
  const own = isFounder ? [{ id: options.id, addr: options.addr }] : [];
  const founders = [...own, ...options.peers].toSorted((a, b) => a.id - b.id);
  const listeners = new Set<(event: ClusterEvent) => void>();
  const history: ClusterEvent[] = [];
  const exit: { report?: (reason: string) => void } = {};
  const exited = new Promise<string>((settle) => {
    exit.report = settle;
  });
  const self = parseAddress(options.addr);
  const door = parseAddress(options.clientAddr);
  const compactions = new CompactionPool();
  const node = new SupervisedNode({
    plan: {
      id: options.id,
      voters: options.join === true ? [] : founders.map((founder) => founder.id),
      cluster: clusterIdentity(options.clusterName, founders),
      engine: options.engine,
      directory: options.dataDir,
      seed: crypto.randomUUID(),
      raft: raftOf(options),
      requestTimeoutMs: 10_000,
      snapshotEntries: options.snapshotEntries ?? 100_000,
      ...(options.historyRevisions === undefined ? {} : { historyRevisions: options.historyRevisions }),
      lockToken: crypto.randomUUID(),
      processStartedAt: processStartedAt(),
      door: { ...door, forward: options.forward },
      network: {
        kind: 'sockets',
        ...self,
        peers: options.peers.map((peer) => ({ id: peer.id, address: parseAddress(peer.addr) })),
      },
    },
    compactions,
    autoRestart: false,
    onChange: () => undefined,
    onEvent: ({ epochMs, level, kind, text }) => {
      const event: ClusterEvent = {
        atMs: epochMs - startedMs,
        node: options.id,
        // Nobody else tells of the members here.
        level: kind === 'config' ? 1 : level,
        kind,
        text,
      };
      if (history.length < HISTORY_MAX) history.push(event);
      for (const listener of listeners) listener(event);
    },
    onUp: () => undefined,
    onDown: (isBack) => (isBack ? undefined : exit.report?.(node.view(performance.now()).reason)),
    compact: () => Promise.reject(new OxideError('unavailable', 'Ask the node itself, at its door')),
  });
  await node.start();
  return {
    async stop() {
      await node.stop(STOP_TIMEOUT_MS);
      await compactions.close();
    },
    exited,
    onEvent(listener) {
      for (const event of history) listener(event);
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function raftOf(options: SingleNodeOptions): WorkerStart['raft'] {
  return {
    electionMs: options.electionMs ?? 250,
    heartbeatMs: options.heartbeatMs ?? 50,
    leaseReads: options.leaseReads ?? false,
    quiesceAfterMs: options.sleepAfterMs ?? 0,
    ...(options.priority === undefined ? {} : { priority: options.priority }),
    ...(options.witness === true ? { witness: true } : {}),
  };
}

/** What the nodes of a cluster ask of each other and write into their data directories. A name has no equal sign. */
function clusterIdentity(
  name: string | undefined,
  founders: readonly { readonly id: number; readonly addr: string }[],
): string {
  return name ?? founders.map((founder) => `${founder.id}=${founder.addr}`).join(',');
}

/** Splits `host:port`; an IPv6 host stands in brackets. */
function parseAddress(text: string): Address {
  const address = addressOf(text);
  if (address === undefined)
    throw new OxideError('bad_request', `"${text}" is not an address of the form host:port`);
  return address;
}
