/**
 * What people see of a cluster: one immutable picture, refreshed about ten times a second, and a stream of events.
 * The terminal UI, `--plain`, `--json` and the JS API all read these; nothing here can act.
 * Strings in a view may hold anything a client wrote: sanitize before showing.
 */

import type { MemberStanding } from '../net/protocol.ts';
import type { EventLevel, NodeAccount } from '../node/status.ts';

export type { EngineStats } from '../net/protocol.ts';
export type { EventLevel, LogCell, MemberView, NodeAccount, PeerView } from '../node/status.ts';

/** A node as the supervisor sees its thread. `frozen`: alive but stopped, as in a long garbage collection. */
export type NodeState = 'starting' | 'running' | 'frozen' | 'crashed' | 'stopped';

/** What a node is to the cluster. `none`: it was removed, or not added yet. */
export type NodeStanding = MemberStanding | 'none';

export interface NodeView {
  readonly id: number;
  /** As the leader tells it, or whoever knows the newest members. */
  readonly standing: NodeStanding;
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
  /** A change of voters is under way: majorities of the old and of the new ones must both agree. */
  readonly isJoint: boolean;
  /** Voters needed for a majority (of the new ones, while joint), and nodes running. */
  readonly quorum: number;
  readonly runningCount: number;
}

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
