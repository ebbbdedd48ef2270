/**
 * What people see of a cluster: one immutable picture, refreshed about ten times a second, and a stream of events.
 * The terminal UI, `--plain`, `--json` and the JS API all read these; nothing here can act.
 * Strings in a view may hold anything a client wrote: sanitize before showing.
 */

/** A node as the supervisor sees its thread. `frozen`: alive but stopped, as in a long garbage collection. */
export type NodeState = 'starting' | 'running' | 'frozen' | 'crashed' | 'stopped';

export interface LogCell {
  readonly index: number;
  readonly term: number;
  /** The command in a few words: `x=5`, `del x`, `no-op`. */
  readonly summary: string;
}

export interface PeerView {
  readonly id: number;
  readonly mode: 'probe' | 'replicate' | 'snapshot';
  readonly match: number;
  readonly next: number;
}

/** The last account a node gave of itself. Stale while the node is frozen or crashed. */
export interface NodeAccount {
  readonly role: 'follower' | 'preCandidate' | 'candidate' | 'leader';
  readonly term: number;
  /** Node voted for in this term; 0 for nobody. */
  readonly vote: number;
  /** Leader as this node knows it; 0 for none. */
  readonly leader: number;
  readonly commit: number;
  readonly applied: number;
  /** First index still in the log (behind a snapshot it is above 1). */
  readonly first: number;
  readonly last: number;
  /** Until the election timer (follower, candidate) or the heartbeat timer (leader) fires; may be negative. */
  readonly timerMs: number;
  /** The whole timer, for a bar. */
  readonly timerTotalMs: number;
  readonly peers: readonly PeerView[];
  /** The newest entries of the log, oldest first; at most 16. */
  readonly log: readonly LogCell[];
  readonly walBytes: number;
  readonly snapshotIndex: number;
  readonly storage: 'ok' | 'failed';
  /** Number of keys, and the most recently written of them with display text, newest first; at most 12. */
  readonly keyCount: number;
  readonly keys: readonly { readonly key: string; readonly value: string }[];
}

export interface NodeView {
  readonly id: number;
  readonly state: NodeState;
  /** Why the node is not running, in one sentence; empty when it is. */
  readonly reason: string;
  /** Milliseconds in this state. */
  readonly stateMs: number;
  /** `host:port` of the node's JSON door; empty without one. */
  readonly client: string;
  /** Whether every link of this node is cut. */
  readonly cut: boolean;
  /** Partition group: nodes with different letters cannot reach each other. `A` for all without a partition. */
  readonly group: string;
  readonly account: NodeAccount | undefined;
}

export interface ClusterView {
  /** Milliseconds since the cluster started. */
  readonly atMs: number;
  readonly nodes: readonly NodeView[];
  /** The running leader of the highest term, or 0. */
  readonly leader: number;
  readonly term: number;
  /** Nodes needed for a majority, and nodes running. */
  readonly quorum: number;
  readonly runningCount: number;
}

/** 0 user action, 1 role, term, crash, 2 commit and truncation, 3 refusals and drops. */
export type EventLevel = 0 | 1 | 2 | 3;

export interface ClusterEvent {
  /** Milliseconds since the cluster started. */
  readonly atMs: number;
  /** Node it happened on; 0 for the user or the whole cluster. */
  readonly node: number;
  readonly level: EventLevel;
  /** A short machine-readable name: `role`, `commit`, `crash`, `partition`, … */
  readonly kind: string;
  /** One sentence with its reason. */
  readonly text: string;
}
