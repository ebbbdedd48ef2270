/**
 * What every role of a replica shares: identity, the durable term and vote, the log, the clock of the current step,
 * and the outgoing side, where replies that promise something wait until the disk has kept the promise.
 */
import { assert } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import type { Entry, LogIndex, NodeId, Term } from './entry.ts';
import type { RaftLog } from './log.ts';
import { type Config, type Quorums, membersOf } from './membership.ts';
import type {
  Event,
  HardState,
  LogMark,
  LogPosition,
  Message,
  Outcome,
  Output,
  Role,
  Write,
} from './messages.ts';
import type { Rules } from './rules.ts';

/** Tuning of a replica. All nodes of a cluster should agree on the times. */
export interface RaftConfig {
  /** Election timeouts are drawn from [electionMs, 2 × electionMs) (§5.2). */
  readonly electionMs: number;
  /** Must be well below `electionMs`. */
  readonly heartbeatMs: number;
  /** Largest append, in bytes of entries; a single larger entry still goes. */
  readonly appendBytesMax: number;
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** A leader refuses proposals while this much is uncommitted; one proposal always passes when nothing is. */
  readonly uncommittedBytesMax: number;
  /** Reads may rest on a lease (thesis §6.4.1). All nodes must agree on it, and their clocks must not drift apart further than `leaseDrift`. */
  readonly leaseReads: boolean;
  /** By what part of itself the fastest clock may run ahead of the slowest, 0 to below 1. */
  readonly leaseDrift: number;
  /** A write that takes longer costs a leader its place. */
  readonly storageStallMs: number;
  /** A leader with nothing to do for this long lets everybody sleep; 0 for never. Not with leases, which need heartbeats. */
  readonly quiesceAfterMs: number;
  /** 0 to 10: the lower, the longer a node waits before it stands for election. Nothing but the waiting depends on it. */
  readonly priority: number;
}

/** Defaults for three to seven nodes on one machine or one local network. */
export const RAFT_CONFIG: RaftConfig = {
  electionMs: 250,
  heartbeatMs: 50,
  appendBytesMax: 1_048_576,
  inflightMessagesMax: 256,
  inflightBytesMax: 8_388_608,
  uncommittedBytesMax: 67_108_864,
  leaseReads: false,
  leaseDrift: 0.1,
  storageStallMs: 500,
  quiesceAfterMs: 0,
  priority: 10,
};

/** A message without its header, which the core fills in. */
export type MessageBody = Message extends infer M
  ? M extends Message
    ? Omit<M, 'from' | 'to' | 'term'>
    : never
  : never;

/** The message of one kind. */
export type MessageOf<K extends Message['kind']> = Extract<Message, { readonly kind: K }>;

/** How a role hands over to another. The caller must return at once afterwards: it is no longer the role. */
export interface Transitions {
  becomeFollower(term: Term, leader: NodeId, why: string): void;
  becomeCandidate(pre: boolean, why: string): void;
  becomeLeader(why: string): void;
}

/** One role of a replica. Owns only what that role needs; dies with it. */
export interface RoleState {
  readonly kind: Role;
  /** When this replica last had proof of a live leader; -Infinity without. */
  readonly heardMs: number;
  /** A message of the current term. */
  receive(message: Message): void;
  /** The deadline that this role set has passed. */
  deadlinePassed(): void;
  /** The last moment before output is taken. */
  flush(): void;
  /** The role ends: settle what it still owes. */
  leave(): void;
}

interface Held {
  readonly message: Message;
  /** The write that must be durable first; undefined until the next drain numbers it. */
  seq: number | undefined;
}

export class Core {
  readonly id: NodeId;
  readonly config: RaftConfig;
  readonly rules: Rules;
  readonly log: RaftLog;
  readonly #random: Random;

  nowMs: number;
  /** The election timer of a follower or candidate, the heartbeat timer of a leader. */
  deadlineMs: number = Infinity;
  leader: NodeId = 0;
  /** Committed entries up to here were given to the host to apply. */
  handed: LogIndex;
  /** A write failed; this replica promises nothing any more. */
  failed = false;

  #term: Term;
  #vote: NodeId;
  #hardChanged = false;
  #snapshot: { readonly position: LogPosition; readonly keepLog: boolean } | undefined;
  #seq = 0;
  #persistedSeq = 0;
  #marks: { readonly seq: number; readonly mark: LogMark }[] = [];
  #held: Held[] = [];
  #toSelf: Message[] = [];
  #send: Message[] = [];
  #outcomes: Outcome[] = [];
  #events: Event[] = [];
  #snapshotTo: NodeId[] = [];
  /** What follows from the configuration in effect. */
  #members: { readonly config: Config; readonly quorums: Quorums; readonly peers: readonly NodeId[] };

  constructor(options: {
    readonly id: NodeId;
    readonly config: RaftConfig;
    readonly rules: Rules;
    readonly log: RaftLog;
    readonly hard: HardState;
    readonly random: Random;
    readonly nowMs: number;
  }) {
    assert(
      options.config.heartbeatMs * 2 <= options.config.electionMs,
      'Heartbeats must be well below the election timeout',
    );
    this.id = options.id;
    this.config = options.config;
    this.rules = options.rules;
    this.log = options.log;
    this.#random = options.random;
    this.nowMs = options.nowMs;
    this.#term = options.hard.term;
    this.#vote = options.rules.voteAfterRestart(options.hard.vote);
    this.handed = options.rules.appliedAfterRestart(this.log.base.index, this.log.last.index);
    assert(this.#term >= this.log.last.term, 'The log is ahead of the term');
    this.#members = this.#derive(this.log.config);
  }

  /** Majorities that must agree. */
  get quorums(): Quorums {
    return this.#current.quorums;
  }

  /** Every other member, learners included. */
  get peers(): readonly NodeId[] {
    return this.#current.peers;
  }

  get #current(): { readonly quorums: Quorums; readonly peers: readonly NodeId[] } {
    const { config } = this.log;
    if (this.#members.config !== config) this.#members = this.#derive(config);
    return this.#members;
  }

  #derive(config: Config): {
    readonly config: Config;
    readonly quorums: Quorums;
    readonly peers: readonly NodeId[];
  } {
    const peers = membersOf(config).filter((id) => id !== this.id);
    return { config, quorums: this.rules.quorums(config), peers };
  }

  get term(): Term {
    return this.#term;
  }

  get vote(): NodeId {
    return this.#vote;
  }

  /** Raises the term (forgetting the vote) or records the one vote of this term. Durable before any reply that depends on it. */
  setTerm(term: Term, vote: NodeId): void {
    assert(term >= this.#term, 'Terms never go back');
    if (term === this.#term && vote === this.#vote) return;
    this.#term = term;
    this.#vote = vote;
    this.#hardChanged = true;
  }

  /** Draws a new election timeout, once for each reset, so that ties between candidates break (§5.2). */
  resetElectionTimer(): void {
    this.deadlineMs = this.nowMs + this.config.electionMs * (1 + this.#random.ratio());
  }

  /** Sends a message that promises nothing. */
  send(to: NodeId, body: MessageBody, term: Term = this.#term): void {
    this.#send.push({ ...body, from: this.id, to, term });
  }

  /**
   * Sends a message once everything changed so far is durable: vote grants, append acknowledgements, and a candidate's
   * vote for itself. Dropped if the term has moved on by then, since nobody reads replies to an old term.
   */
  sendWhenDurable(to: NodeId, body: MessageBody, term: Term = this.#term): void {
    const last = this.#held.at(-1);
    const message: Message = { ...body, from: this.id, to, term };
    // Only the newest of several acknowledgements in one turn tells the leader anything.
    if (
      message.kind === 'appendReply' &&
      last?.seq === undefined &&
      last?.message.kind === 'appendReply' &&
      last.message.to === to &&
      last.message.term === term &&
      last.message.match <= message.match
    ) {
      this.#held.pop();
    }
    this.#held.push({ message, seq: undefined });
  }

  outcome(outcome: Outcome): void {
    this.#outcomes.push(outcome);
  }

  event(event: Event): void {
    this.#events.push(event);
  }

  drop(message: Message, why: string): void {
    this.#events.push({ kind: 'drop', message, why });
  }

  /** Asks the host to send its newest snapshot to a follower. */
  requestSnapshot(to: NodeId): void {
    this.#snapshotTo.push(to);
  }

  /** Replaces the log's beginning by a snapshot; the next write carries it to the host. */
  installSnapshot(position: LogPosition, config: Config, keepLog: boolean): void {
    this.log.reset(position, config, keepLog, this.#term);
    this.handed = position.index;
    this.#snapshot = { position, keepLog };
  }

  /** Every write up to `seq` is durable. @returns messages to this replica itself that are now true */
  persisted(seq: number): readonly Message[] {
    assert(seq <= this.#seq, 'A write was reported that was never given');
    this.#persistedSeq = Math.max(this.#persistedSeq, seq);
    let done = 0;
    for (const written of this.#marks) {
      if (written.seq > seq) break;
      this.log.persisted(written.mark);
      done += 1;
    }
    this.#marks.splice(0, done);
    this.#release();
    return this.#toSelf.splice(0);
  }

  /** Stops promising for ever: what is held is never sent. */
  fail(): void {
    this.failed = true;
    this.#held = [];
    this.deadlineMs = Infinity;
  }

  /** Whether {@link take} would return something. */
  get hasOutput(): boolean {
    return (
      this.#hardChanged ||
      this.#held.length > 0 ||
      this.#send.length > 0 ||
      this.#outcomes.length > 0 ||
      this.#events.length > 0 ||
      this.#snapshotTo.length > 0
    );
  }

  /** Takes everything that has gathered. Messages to this replica itself are returned beside it. */
  take(): { readonly output: Output | undefined; readonly toSelf: readonly Message[] } {
    const write = this.#takeWrite();
    for (const held of this.#held) held.seq ??= this.#seq;
    this.#release();
    const toSelf = this.#toSelf.splice(0);
    const apply = this.#takeCommitted();
    const isEmpty =
      write === undefined &&
      apply.length === 0 &&
      this.#send.length === 0 &&
      this.#outcomes.length === 0 &&
      this.#events.length === 0 &&
      this.#snapshotTo.length === 0;
    if (isEmpty) return { output: undefined, toSelf };
    const output: Output = {
      ...(write === undefined ? {} : { write }),
      send: this.#send,
      apply,
      outcomes: this.#outcomes,
      events: this.#events,
      snapshotTo: this.#snapshotTo,
    };
    this.#send = [];
    this.#outcomes = [];
    this.#events = [];
    this.#snapshotTo = [];
    return { output, toSelf };
  }

  #takeWrite(): Write | undefined {
    if (this.failed) return undefined;
    const append = this.log.takeUnsaved();
    const snapshot = this.#snapshot;
    if (append === undefined && snapshot === undefined && !this.#hardChanged) return undefined;
    this.#seq += 1;
    this.#hardChanged = false;
    this.#snapshot = undefined;
    const mark = this.log.mark;
    this.#marks.push({ seq: this.#seq, mark });
    return {
      seq: this.#seq,
      mark,
      ...(snapshot === undefined ? {} : { snapshot }),
      hard: { term: this.#term, vote: this.#vote, commit: this.log.commit },
      ...(append === undefined ? {} : { append }),
    };
  }

  #takeCommitted(): readonly Entry[] {
    if (this.handed >= this.log.commit) return [];
    const entries = this.log.slice(this.handed + 1, this.log.commit, Infinity);
    this.handed = this.log.commit;
    return entries;
  }

  #release(): void {
    const waiting: Held[] = [];
    for (const held of this.#held) {
      const { message, seq } = held;
      if (message.term < this.#term && message.kind !== 'voteReply') continue;
      if (message.term < this.#term && message.kind === 'voteReply' && !message.pre) continue;
      if (seq === undefined || !this.rules.mayLeave(seq, this.#persistedSeq)) waiting.push(held);
      else if (message.to === this.id) this.#toSelf.push(message);
      else this.#send.push(message);
    }
    this.#held = waiting;
  }
}
