/** The contract of a running cluster, as the JS API, the terminal UI and the commands use it. */
import type { ClusterEvent, ClusterView, NodeState } from './view.ts';

export interface ClusterOptions {
  /**
   * Number of nodes that a new cluster begins with, 1 to 9. Default 3. An existing data directory knows its nodes: the
   * number is only compared, with those it began with and those it has now.
   */
  readonly nodes?: number;
  /** Where the nodes keep their data, one directory each. Default: a temporary directory, removed by `stop()`. */
  readonly dataDir?: string;
  /** Seeds election timeouts and link faults. Real threads stay nondeterministic. Default: drawn at random. */
  readonly seed?: number;
  /**
   * What keeps the nodes' data: `memory`, with snapshots on disk that people can read, or `lsm`, a tree of tables on disk for
   * more than fits into memory. A data directory keeps the one it began with; asked for another, the cluster does not start.
   * Default: the directory's, `memory` for a new one.
   */
  readonly engine?: 'memory' | 'lsm';
  /** Open a JSON-lines door on every node. `true`: any free ports; `{ basePort }`: a block of consecutive ports. Default false. */
  readonly doors?: boolean | DoorOptions;
  /** Election timeouts are drawn from [electionMs, 2 × electionMs). Default 250. */
  readonly electionMs?: number;
  /** Default 50. */
  readonly heartbeatMs?: number;
  /**
   * A leader answers reads without asking anybody, for as long as a majority has promised to elect nobody else. It saves a
   * round of messages and trusts clocks not to drift apart by more than a tenth. Default false.
   */
  readonly leaseReads?: boolean;
  /** A cluster with nothing to do for this long stops its heartbeats. A leader whose thread dies is noticed all the same. Default never. */
  readonly sleepAfterMs?: number;
  /** Restart crashed nodes with back-off. `serve` does; default false, so that a fault stays until it is undone. */
  readonly autoRestart?: boolean;
  /** Entries applied between two snapshots of a node. Default 100,000. */
  readonly snapshotEntries?: number;
  /** Revisions of the store that can still be read, at least; older ones are let go now and then. Default 100,000. */
  readonly historyRevisions?: number;
}

export interface DoorOptions {
  /** First port of the block; node i gets basePort + i - 1. A taken port: the next free block, unless `strict`. */
  readonly basePort: number;
  readonly host?: string;
  readonly strict?: boolean;
  /** Pass requests on to the leader. Default true. */
  readonly forward?: boolean;
}

/** Faults of one directed link. What is left out is healthy. */
export interface LinkFaults {
  /** Probability of losing a frame, 0 to 1. */
  readonly loss?: number;
  readonly delayMs?: number;
  readonly blocked?: boolean;
}

/** A node of the cluster, alive or not. Every method settles, also when the node dies meanwhile. */
export interface ClusterNode {
  readonly id: number;
  readonly state: NodeState;
  /** `host:port` of its JSON door; empty without one. */
  readonly client: string;
  /** Terminates the thread: memory gone, sockets closed, disk stays. */
  crash(): Promise<void>;
  /** Starts the node again from its data directory. Resolves when it runs. */
  restart(): Promise<void>;
  /** Stops the thread where it stands, as a long garbage collection would. */
  freeze(): void;
  thaw(): void;
  /**
   * Crashes the node and deletes its data directory. Its peers will not trust it under its old identity: replace it with
   * {@link ClusterHandle.replaceNode}.
   */
  wipe(): Promise<void>;
  /** Saves a snapshot now and lets the log behind it go. @returns the last index that the snapshot holds */
  compact(): Promise<number>;
}

/** Options of changes of members. */
export interface ChangeOptions {
  /** The change is given up after this long. Default 30 s. */
  readonly timeoutMs?: number;
}

export interface AddNodeOptions extends ChangeOptions {
  /** The node receives the log and is counted nowhere. Default false: it becomes a voter when it has caught up. */
  readonly learner?: boolean;
  /**
   * The node votes and keeps no data, so it is cheap: it tells two full copies which may go on when the other is gone. It
   * never leads. Refused where a majority could be witnesses alone. Default false.
   */
  readonly witness?: boolean;
}

export interface RemoveNodeOptions extends ChangeOptions {
  /** Leave its data directory where it is; it is not started again. Default true. */
  readonly keepData?: boolean;
}

export interface ClusterHandle {
  readonly nodes: readonly ClusterNode[];
  readonly dataDir: string;
  /** The node with this id. */
  node(id: number): ClusterNode;
  /** Resolves with the leader, waiting for an election. Rejects after `timeoutMs` (default 10 s). */
  leader(options?: { readonly timeoutMs?: number }): Promise<ClusterNode>;
  /**
   * Starts one more node, on an empty directory, and takes it into the cluster. Resolves when it votes, or as a learner when
   * the change is committed. Rejects, with the node gone again, when the cluster refuses it or cannot decide in time.
   */
  addNode(options?: AddNodeOptions): Promise<ClusterNode>;
  /**
   * Takes a node out of the cluster and then stops it; dead nodes too. A leader hands over first. It is in no view from
   * then on, and its id is not used for another while others are left.
   */
  removeNode(id: number, options?: RemoveNodeOptions): Promise<void>;
  /**
   * Starts a new node and, when it has caught up, puts it in the place of another in one step: at no time does a voter
   * more or less count. Resolves with the new node.
   */
  replaceNode(id: number, options?: RemoveNodeOptions): Promise<ClusterNode>;
  /** Makes a learner a voter. */
  promoteNode(id: number, options?: ChangeOptions): Promise<void>;
  /** Hands leadership to a node, by default to the best prepared. Resolves with the leader. */
  transferLeader(to?: number, options?: ChangeOptions): Promise<ClusterNode>;
  /** Cuts every link between different groups; nodes not named form a group of their own. Replaces an earlier partition. */
  partition(groups: readonly (readonly number[])[]): void;
  /** Cuts one node off from all others. */
  isolate(id: number): void;
  /** Undoes {@link isolate}; partitions and link faults stay. */
  rejoin(id: number): void;
  /** Sets the faults of the link from `from` to `to`, in that direction only. */
  link(from: number, to: number, faults: LinkFaults): void;
  /** Removes every link fault and partition. */
  heal(): void;
  client(options?: ClientOptions): ClusterClient;
  view(): ClusterView;
  /** Calls back for the last events and for every one from now on. @returns stops it */
  onEvent(listener: (event: ClusterEvent) => void): () => void;
  /** Calls back after each refreshed view, about ten times a second. @returns stops it */
  onView(listener: (view: ClusterView) => void): () => void;
  /** Stops all nodes, closes all clients, removes a temporary data directory. Idempotent. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ClientOptions {
  /** A request that has no answer by then ends: `unknown` for a write that may have happened, `unavailable` otherwise. Default 10 s. */
  readonly timeoutMs?: number;
  /** Always ask this node instead of the leader. */
  readonly node?: number;
}

/** Keys and values are text (UTF-8) or bytes; answers come as `Uint8Array`, and as text from the `…Text` methods. */
export type Data = string | Uint8Array;

/** A client of the store. Writes are exactly once, reads linearizable. Failures are {@link OxideError}s with a code. */
export interface ClusterClient {
  /** @returns the position of the write in the log */
  set(key: Data, value: Data): Promise<number>;
  get(key: Data): Promise<Uint8Array | undefined>;
  getText(key: Data): Promise<string | undefined>;
  /** @returns whether the key was there */
  delete(key: Data): Promise<boolean>;
  /** Keys with this prefix in byte order, at most `limit` (default 1000). */
  scan(
    prefix: Data,
    options?: { readonly limit?: number },
  ): Promise<readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]>;
  /** Sets `key` to `value` if it holds `expected` (undefined: if it is absent). @returns whether it did */
  cas(key: Data, expected: Data | undefined, value: Data): Promise<boolean>;
  /** Ends pending requests: `unknown` for a write that was sent, `closed` otherwise. Idempotent. */
  close(): Promise<void>;
}
