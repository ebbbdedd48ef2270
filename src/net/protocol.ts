/**
 * What clients say to nodes and nodes to each other: one definition for every transport and every door.
 * Sizes and counts from outside are limited here.
 */
import type { ErrorCode } from '../lib/errors.ts';
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { MemberChange } from '../raft/membership.ts';
import type { LogPosition, Message, RaftStatus } from '../raft/messages.ts';
import type { EngineKind, EngineStats } from '../storage/version-engine.ts';

export type { EngineKind, EngineStats } from '../storage/version-engine.ts';

/** Limits on what comes from outside. A value above one is refused with `too_large` and the limit's name. */
export const LIMITS: {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  /** A whole request: etcd's default (1.5 MiB). */
  readonly requestBytesMax: number;
  readonly scanRowsMax: number;
  /** A scan's reply stops (with `more`) once its rows hold this much. */
  readonly scanBytesMax: number;
  /** Of an answer to an operation or a query. */
  readonly resultBytesMax: number;
  readonly snapshotPartBytesMax: number;
  readonly snapshotBytesMax: number;
  /** Changes of members in one request. */
  readonly memberChangesMax: number;
  readonly nodeIdMax: number;
  /** Characters of a member's address. */
  readonly addressCharsMax: number;
} = {
  keyBytesMax: 65_536,
  valueBytesMax: 1_048_576,
  requestBytesMax: 1_572_864,
  scanRowsMax: 10_000,
  scanBytesMax: 4_194_304,
  resultBytesMax: 16_777_216,
  snapshotPartBytesMax: 262_144,
  snapshotBytesMax: 1_099_511_627_776,
  memberChangesMax: 30,
  nodeIdMax: 0x7fff_ffff,
  addressCharsMax: 256,
};

/**
 * Makes a retried write harmless (thesis §6.3): the store remembers the answer of every (id, seq) until the client
 * says, with `ackedBelow`, that it has it.
 */
export interface SessionTag {
  readonly id: number;
  /** 1 and up, never reused within the session. */
  readonly seq: number;
  /** Every seq below this has been answered; its stored answer may be forgotten. */
  readonly ackedBelow: number;
}

/** A client's request. Keys and values are bytes. */
export type Request = LeaderRequest | NodeRequest;

/** Answered by the leader: any other node passes it on. */
export type LeaderRequest = ReadRequest | WriteRequest | ClusterRequest;

export type ReadRequest =
  | { readonly kind: 'get'; readonly key: Uint8Array }
  | { readonly kind: 'scan'; readonly prefix: Uint8Array; readonly limit: number }
  /** A `Query` in its binary form (kv/operation-codec.ts), answered by a `result`. */
  | { readonly kind: 'query'; readonly query: Uint8Array };

export type WriteRequest =
  | {
      readonly kind: 'set';
      readonly key: Uint8Array;
      readonly value: Uint8Array;
      readonly session?: SessionTag;
    }
  | { readonly kind: 'delete'; readonly key: Uint8Array; readonly session?: SessionTag }
  /** `expected` undefined: the key must be absent. */
  | {
      readonly kind: 'cas';
      readonly key: Uint8Array;
      readonly expected: Uint8Array | undefined;
      readonly value: Uint8Array;
      readonly session?: SessionTag;
    }
  /** An `Operation` in its binary form (kv/operation-codec.ts), answered by a `result`. */
  | { readonly kind: 'operation'; readonly operation: Uint8Array; readonly session?: SessionTag }
  | { readonly kind: 'openSession' };

/** Changes the cluster itself. Neither has a session: asked again, it is refused or does nothing new. */
export type ClusterRequest =
  /**
   * Changes who belongs to the cluster, all of it together. `ok` once the new members are in effect alone; a member that
   * was added is a learner then, and votes when it has caught up: its `standing` in {@link NodeStatus} tells.
   */
  | { readonly kind: 'changeMembers'; readonly changes: readonly MemberChange[] }
  /** Hands leadership over; `to` 0: to whoever is best prepared. Answered with `leader`. */
  | { readonly kind: 'transferLeader'; readonly to: NodeId };

/** Answered by the node that is asked, of itself. */
export type NodeRequest =
  | { readonly kind: 'status' }
  /** Saves a snapshot now and lets the log behind it go. `ok` carries the last index that the snapshot holds. */
  | { readonly kind: 'compact' };

/** The one answer to a request. */
export type Reply =
  /**
   * A write or a change of members, committed and applied; `index` is its position in the log. `existed`: for `delete`,
   * whether the key was there. For `compact`, `index` is where the snapshot ends.
   */
  | { readonly kind: 'ok'; readonly index: LogIndex; readonly existed?: boolean }
  /** A `get`; `value` undefined means that the key is absent. */
  | { readonly kind: 'value'; readonly value: Uint8Array | undefined }
  /** A `scan`; `more`: there are further rows. */
  | { readonly kind: 'rows'; readonly rows: readonly KeyValue[]; readonly more: boolean }
  | { readonly kind: 'session'; readonly id: number }
  /**
   * An `operation`, committed and applied, or a `query`: the result in its binary form (kv/operation-codec.ts). `index`: the
   * position of the operation in the log, or how far the node that answers had applied it.
   */
  | { readonly kind: 'result'; readonly index: LogIndex; readonly result: Uint8Array }
  /** A `transferLeader`: who leads now. */
  | { readonly kind: 'leader'; readonly leader: NodeId }
  | { readonly kind: 'status'; readonly status: NodeStatus }
  /** A compare-and-set that saw another value. Certain: nothing changed. */
  | { readonly kind: 'mismatch'; readonly index: LogIndex; readonly actual: Uint8Array | undefined }
  /** Certainly no effect, unless `code` is `unknown`. */
  | {
      readonly kind: 'error';
      readonly code: ErrorCode;
      readonly message: string;
      readonly leader?: LeaderHint;
    };

export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Who leads and where its clients connect; `client` is empty when this node does not know yet. */
export interface LeaderHint {
  readonly id: NodeId;
  readonly client: string;
}

/**
 * What a member is to the cluster. `witness`: a voter that keeps no data; `learner`: receives the log and is counted nowhere; `promoting`: a learner that becomes a
 * voter once it has caught up; `joining` and `leaving`: a voter of the new or of the old members only, while both decide.
 */
export type MemberStanding = 'voter' | 'witness' | 'learner' | 'promoting' | 'joining' | 'leaving';

/** A member of the cluster, as one node knows it. */
export interface MemberStatus {
  readonly id: NodeId;
  readonly standing: MemberStanding;
  /** `host:port` where nodes reach it; empty where nodes need none, as between threads. */
  readonly address: string;
  /** `host:port` where its clients connect; empty while unknown. */
  readonly client: string;
}

/** A node's own account of itself. */
export interface NodeStatus {
  readonly raft: RaftStatus;
  /** In effect as this node knows it, by id; this node itself among them, if it is a member. Empty while it waits to be added. */
  readonly members: readonly MemberStatus[];
  readonly leader: LeaderHint | undefined;
  readonly client: string;
  readonly keys: number;
  readonly dataBytes: number;
  readonly walBytes: number;
  readonly snapshotIndex: LogIndex;
  /** `full`: no room, for the log or for snapshots; it goes on by itself when there is. */
  readonly storage: 'ok' | 'full' | 'failed';
  /** Of the last write that the state machine applied, and the oldest at which it can still be read. */
  readonly revision: number;
  readonly compactedRevision: number;
  readonly engine: EngineStats;
}

/**
 * How the receiver of a snapshot ended its transfer:
 *
 *   installed   everything up to its position is durable there, by this snapshot or otherwise
 *   deposed     the sender's term is over
 *   tooLarge    it is over the limit of the receiver
 *   damaged     all parts arrived, and together they are not the snapshot that was offered, or name members that cannot be
 *   unreadable  it is of another engine, or of a format that the receiver does not know
 */
export type SnapshotOutcome = 'installed' | 'deposed' | 'tooLarge' | 'damaged' | 'unreadable';

/** What one node sends another. */
export type Envelope =
  | { readonly kind: 'raft'; readonly message: Message }
  /**
   * First on every connection, and repeated until the other has it. `founders`: the voters that the cluster began with, as
   * far as the sender is one; nodes that disagree about them could elect two leaders. `incarnation` names the data
   * directory: it changes when the directory is wiped. `since`: where the sender's log says that it was added; 0 for a
   * founder. `client`: where the sender's clients connect, or empty. `greeted`: the sender has the other's hello;
   * `settled`: it knows that the other has this one, and needs no answer.
   */
  | {
      readonly kind: 'hello';
      readonly cluster: string;
      readonly founders: readonly NodeId[];
      readonly incarnation: string;
      readonly since: LogIndex;
      readonly client: string;
      readonly greeted: boolean;
      readonly settled: boolean;
    }
  /** What is wrong with the receiver, in words; `index`: where the configuration stands that the sender judges by. */
  | { readonly kind: 'refusal'; readonly why: string; readonly index: LogIndex }
  /**
   * Part of a snapshot (§7), or, without bytes, the offer of one: it asks what of it is there. `term` is the leader's;
   * a leader counts its transfers, so that (`term`, `transfer`) orders all that come from one node. `crc32` covers the whole
   * snapshot of `totalBytes`, `partCrc32` these bytes. `engine`: who wrote it, and who alone can read it.
   */
  | {
      readonly kind: 'snapshotPart';
      readonly term: number;
      readonly transfer: number;
      readonly position: LogPosition;
      readonly engine: EngineKind;
      readonly totalBytes: number;
      readonly crc32: number;
      readonly offset: number;
      readonly partCrc32: number;
      readonly bytes: Uint8Array;
    }
  /**
   * Everything before `offset` has arrived, and as much as `windowBytes` behind it may come. Answers the part at
   * `partOffset`, of which `partBytes` were taken; 0 for an offer, and for a part that was damaged or out of place.
   */
  | {
      readonly kind: 'snapshotAck';
      readonly term: number;
      readonly transfer: number;
      readonly offset: number;
      readonly windowBytes: number;
      readonly partOffset: number;
      readonly partBytes: number;
    }
  /** The transfer is over. */
  | {
      readonly kind: 'snapshotEnd';
      readonly term: number;
      readonly transfer: number;
      readonly outcome: SnapshotOutcome;
    }
  /** A client's request on its way to the leader. `id` is the sender's own. */
  | { readonly kind: 'forward'; readonly id: number; readonly request: Request }
  | { readonly kind: 'forwarded'; readonly id: number; readonly reply: Reply };

/**
 * How a door hands a request to its node. `done` is called exactly once, possibly before `submit` returns.
 * Implementations bound what they hold and refuse with `overloaded`.
 */
export interface NodeService {
  submit(request: Request, options: SubmitOptions, done: (reply: Reply) => void): void;
}

export interface SubmitOptions {
  /** Pass the request on to the leader when this node does not lead; otherwise answer `not_leader`. */
  readonly forward: boolean;
}
