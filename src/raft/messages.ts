/**
 * What the core says to its peers, takes in and gives out. Closed unions: the compiler points at every place that a
 * new variant must be handled. Names follow Figure 2 of the paper (Ongaro and Ousterhout 2014).
 */
import type { Entry, LogIndex, NodeId, Term } from './entry.ts';
import type { ChangeProblem, Config, MemberChange } from './membership.ts';

/** A position in a log with the term of the entry there. `{ index: 0, term: 0 }` is the empty log. */
export interface LogPosition {
  readonly index: LogIndex;
  readonly term: Term;
}

/**
 * How far a log goes, and whose log it is: the prefix up to `index` of the log of the leader of `accTerm`. Ordered by
 * (accTerm, index); with one accTerm the shorter log is a prefix of the longer. It makes a late "write finished"
 * harmless: one for an older accTerm is ignored (CockroachDB's answer to etcd's ABA race).
 */
export interface LogMark {
  readonly accTerm: Term;
  readonly index: LogIndex;
}

/** Must be durable before any reply that depends on it leaves (Figure 2, "persistent state"; `commit` is a lower bound). */
export interface HardState {
  readonly term: Term;
  /** Whom this node voted for in `term`; 0 for nobody. */
  readonly vote: NodeId;
  /** Known committed when it was written; may lag. */
  readonly commit: LogIndex;
}

/**
 * What a node may have acknowledged of its log and has lost: entries up to `index`, Infinity when that is not known, to
 * leaders of terms up to `term`.
 */
export interface LostLog {
  readonly index: LogIndex;
  readonly term: Term;
}

interface Header {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
}

/** A leader's probe counter within its term: one counter serves reads, leases and check-quorum. 0 before the first. */
export type Round = number;

/** A round of one leader: the counter means nothing outside its term. */
export interface LeaderRound {
  readonly term: Term;
  readonly round: Round;
}

export type Message = Header &
  /** `transfer`: the round in which the leader of `transfer.term` told this candidate to take over. */
  (
    | {
        readonly kind: 'vote';
        readonly pre: boolean;
        readonly last: LogPosition;
        readonly transfer?: LeaderRound;
      }
    | { readonly kind: 'voteReply'; readonly pre: boolean; readonly granted: boolean }
    | {
        readonly kind: 'append';
        readonly prev: LogPosition;
        readonly entries: readonly Entry[];
        readonly commit: LogIndex;
        readonly round: Round;
      }
    /** To a witness whose next entry is compacted: its log starts over behind `position`, where `config` is in effect. */
    | {
        readonly kind: 'rebase';
        readonly position: LogPosition;
        readonly config: Config;
        readonly round: Round;
      }
    /** `match`: the log up to here equals the leader's and is durable. */
    | { readonly kind: 'appendReply'; readonly match: LogIndex; readonly round: Round }
    /**
     * `hint`: a position worth trying next; skips a whole term of conflicts at once (§5.3, last paragraph). `lost`: its disk
     * has lost what it had acknowledged behind the hint.
     */
    | {
        readonly kind: 'appendReject';
        readonly rejected: LogIndex;
        readonly hint: LogPosition;
        readonly round: Round;
        readonly lost?: true;
      }
    /** `quiesce`: the last one for now; a follower that holds and knows everything needs no more, and does not answer. */
    | {
        readonly kind: 'heartbeat';
        readonly commit: LogIndex;
        readonly round: Round;
        readonly quiesce?: true;
      }
    | { readonly kind: 'heartbeatReply'; readonly round: Round }
    /** The leader asks this voter to take over at once; `round` is the leader's newest (thesis §3.10). */
    | { readonly kind: 'timeoutNow'; readonly round: Round }
    /** A follower asks at which index it may read (thesis §6.4). `id` is the follower's own and never used twice. */
    | { readonly kind: 'readRequest'; readonly id: number }
    | { readonly kind: 'readReply'; readonly id: number; readonly index: LogIndex }
  );

/** A leader's snapshot, complete and checked, as it arrives at a follower's host. */
export interface SnapshotArrival {
  readonly from: NodeId;
  /** The leader's term when it sent the snapshot. */
  readonly term: Term;
  readonly position: LogPosition;
  /** In effect at `position` (§7: a snapshot carries the latest configuration that it covers). */
  readonly config: Config;
}

/** How a read is confirmed: by asking a majority, or by the lease if there is one (by asking, if not). */
export type ReadMode = 'index' | 'lease';

/** One thing that happened to the core. With the time beside it, the sequence of inputs replays a run. */
export type Input =
  /** Nothing but time. */
  | { readonly kind: 'tick' }
  | { readonly kind: 'message'; readonly message: Message }
  /** Each proposal ends in exactly one {@link Outcome} with its id. Payloads are copied. */
  | { readonly kind: 'propose'; readonly proposals: readonly Proposal[] }
  /**
   * Linearizable reads: each ends in one outcome, whose index the host must have applied before it reads. A follower asks
   * its leader. `mode` is `index` by default.
   */
  | { readonly kind: 'read'; readonly ids: readonly number[]; readonly mode?: ReadMode }
  /**
   * Changes who belongs to the cluster (§6). Ends in one {@link Outcome}: committed once the new configuration is in
   * effect alone. Several changes take effect together.
   */
  | { readonly kind: 'changeMembers'; readonly id: number; readonly changes: readonly MemberChange[] }
  /** Hands leadership to the voter `to`, 0 for the best prepared. Ends in one {@link Outcome}: `transferred` once it leads. */
  | { readonly kind: 'transfer'; readonly id: number; readonly to: NodeId }
  /** Stand for election now (an operator, a lesson). */
  | { readonly kind: 'campaign' }
  /** Every {@link Write} up to `seq` is durable. */
  | { readonly kind: 'persisted'; readonly seq: number }
  /** A write failed. Final: this core never votes, acknowledges or leads again. */
  | { readonly kind: 'persistFailed' }
  /** Every entry up to `index` is applied. */
  | { readonly kind: 'applied'; readonly index: LogIndex }
  /** The host holds everything up to `index` in a snapshot; the core may forget those entries. */
  | { readonly kind: 'compact'; readonly index: LogIndex }
  /** A snapshot came from the leader. If the core wants it, the next {@link Write} says so. */
  | { readonly kind: 'snapshotArrived'; readonly snapshot: SnapshotArrival }
  /** The host has sent a whole snapshot to `peer`, or has given up. */
  | { readonly kind: 'snapshotSent'; readonly peer: NodeId; readonly ok: boolean }
  /** The connection to a peer broke: what was in flight is lost. */
  | { readonly kind: 'unreachable'; readonly peer: NodeId };

export interface Proposal {
  readonly id: number;
  readonly payload: Uint8Array;
}

/**
 * What must be made durable, in `seq` order, each as one unit: first the snapshot, then the hard state, then the log
 * is cut after `append.after` and the entries go behind it. Owned by the host once drained.
 */
export interface Write {
  readonly seq: number;
  /** The log's mark once this write is done. */
  readonly mark: LogMark;
  /** Replace state machine and log by the snapshot that arrived with this position. `keepLog`: entries behind it stay. */
  readonly snapshot?: { readonly position: LogPosition; readonly keepLog: boolean };
  readonly hard?: HardState;
  /** `after` below the current end of the log means that the entries behind it are replaced. */
  readonly append?: { readonly after: LogIndex; readonly entries: readonly Entry[] };
}

/** How a request ended. `ok` false with any reason but `lostLeadership` and `transferAborted` means: certainly no effect. */
export type Outcome =
  | { readonly id: number; readonly ok: true; readonly kind: 'committed'; readonly index: LogIndex }
  /**
   * `validUntilMs`: the read rests on a lease. The host looks at its clock once it has the value; when that time is past,
   * the value is void and the read is to be asked again with mode `index`.
   */
  | {
      readonly id: number;
      readonly ok: true;
      readonly kind: 'readable';
      readonly index: LogIndex;
      readonly validUntilMs?: number;
    }
  | { readonly id: number; readonly ok: true; readonly kind: 'transferred'; readonly leader: NodeId }
  | { readonly id: number; readonly ok: false; readonly reason: Refusal };

/** Why leadership cannot be handed to a node. */
export type TransferProblem = 'leads_already' | 'not_voter' | 'witness' | 'not_member' | 'no_other_voter';

export type Refusal =
  | { readonly kind: 'notLeader'; readonly leader: NodeId }
  | { readonly kind: 'overloaded'; readonly uncommittedBytes: number }
  | { readonly kind: 'storageFailed' }
  /** A change of members is under way: its configuration at `index` is not committed, or still joint. */
  | { readonly kind: 'configPending'; readonly index: LogIndex }
  /** A new leader may not change members before it has committed an entry of its own term. */
  | { readonly kind: 'noopUncommitted' }
  | { readonly kind: 'invalidChange'; readonly problem: ChangeProblem; readonly node: NodeId }
  /** Leadership is being handed to `to`: ask again in a moment. */
  | { readonly kind: 'transferring'; readonly to: NodeId }
  | { readonly kind: 'invalidTarget'; readonly problem: TransferProblem; readonly node: NodeId }
  /** Leadership was not handed to `to` in time, or went to another. The order may be late, and `to` may lead all the same. */
  | { readonly kind: 'transferAborted'; readonly to: NodeId }
  | { readonly kind: 'tooManyReads'; readonly readsMax: number }
  /** Leadership ended with the request in flight. A proposal may still commit; a read simply has no answer. */
  | { readonly kind: 'lostLeadership'; readonly mayCommit: boolean };

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** What happened inside, for the trace, the screen and the lessons. `why` is one sentence and is shown as it is. */
export type Event =
  | {
      readonly kind: 'role';
      readonly from: Role;
      readonly to: Role;
      readonly term: Term;
      readonly why: string;
    }
  | { readonly kind: 'term'; readonly term: Term; readonly why: string }
  | {
      readonly kind: 'vote';
      readonly candidate: NodeId;
      readonly pre: boolean;
      readonly granted: boolean;
      readonly term: Term;
      readonly why: string;
    }
  | {
      readonly kind: 'commit';
      readonly index: LogIndex;
      readonly by: readonly NodeId[];
      readonly why: string;
    }
  /** A configuration took effect, was committed, or was taken back because its entry was cut. */
  | {
      readonly kind: 'config';
      readonly index: LogIndex;
      readonly config: Config;
      readonly phase: 'appended' | 'committed' | 'rolledBack';
      readonly why: string;
    }
  /** Leadership is being handed to `to`, was, or is not any more. */
  | { readonly kind: 'transfer'; readonly to: NodeId; readonly why: string }
  /** Heartbeats and election timer stop because nothing happens, or start again. */
  | { readonly kind: 'quiesce'; readonly isQuiesced: boolean; readonly why: string }
  /** This node, which had lost a part of its log, votes again. */
  | { readonly kind: 'whole'; readonly why: string }
  /** The disk is slow: this node does not lead, or stands back when a leader is wanted. */
  | { readonly kind: 'stall'; readonly why: string }
  | { readonly kind: 'truncate'; readonly after: LogIndex; readonly why: string }
  | { readonly kind: 'reject'; readonly peer: NodeId; readonly why: string }
  | { readonly kind: 'snapshot'; readonly peer: NodeId; readonly index: LogIndex; readonly why: string }
  | { readonly kind: 'drop'; readonly message: Message; readonly why: string };

/** What the host must do. Messages in `send` may leave at once: those that must wait for the disk are held inside. */
export interface Output {
  readonly write?: Write;
  readonly send: readonly Message[];
  /** Committed entries to apply, in order, after the write is done. */
  readonly apply: readonly Entry[];
  /** Followers whose next entry is no longer in the log: the host sends each its newest snapshot. */
  readonly snapshotTo: readonly NodeId[];
  readonly outcomes: readonly Outcome[];
  readonly events: readonly Event[];
}

/**
 * How a leader feeds one follower: `probe` looks for the place where the logs agree, one message at a time;
 * `replicate` streams; `snapshot` waits while the follower takes a snapshot.
 */
export type ProgressMode = 'probe' | 'replicate' | 'snapshot';

/** A leader's view of one follower, for status and the screen. */
export interface PeerProgress {
  readonly id: NodeId;
  readonly mode: ProgressMode;
  readonly match: LogIndex;
  readonly next: LogIndex;
}

/** A snapshot of the core's state for status and the screen. Times are on the injected clock, in milliseconds. */
export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: NodeId;
  readonly leader: NodeId;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  readonly first: LogIndex;
  readonly last: LogPosition;
  readonly durable: LogIndex;
  /** When the election (follower, candidate) or heartbeat (leader) timer fires. */
  readonly deadlineMs: number;
  readonly peers: readonly PeerProgress[];
  readonly votes: readonly NodeId[];
  /** In effect: the newest in the log, committed or not. */
  readonly config: Config;
  readonly configIndex: LogIndex;
  /** To whom this leader is handing over; 0 for nobody. */
  readonly transferTo: NodeId;
  /** Until when this leader may read without asking; 0 without a lease. */
  readonly leaseUntilMs: number;
  /** Idle: no heartbeats, no election timer. `deadlineMs` is Infinity. */
  readonly isQuiesced: boolean;
}
