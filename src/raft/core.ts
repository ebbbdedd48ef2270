/**
 * What every role of a replica shares: identity, the durable term and vote, the log, the clock of the current step,
 * and the outgoing side, where replies that promise something wait until the disk has kept the promise.
 */
import { assert, defined } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import { Allegiance } from './allegiance.ts';
import type { Entry, LogIndex, NodeId, Term } from './entry.ts';
import { PRIORITY_MAX, type RaftConfig } from './config.ts';
import { Handover } from './handover.ts';
import { type MessageBody, withHeader } from './header.ts';
import { HeldMessages } from './held-messages.ts';
import type { RaftLog } from './log.ts';
import { type Config, type Quorums, membersOf } from './membership.ts';
import type {
  Event,
  HardState,
  LeaderRound,
  LogMark,
  LogPosition,
  LostLog,
  Message,
  Outcome,
  Output,
  Role,
  Write,
} from './messages.ts';
import type { Rules } from './rules.ts';

/** Election timeouts for which a node with a slow disk stands back. */
const STAND_BACK_ELECTIONS = 10;
/** Election timeouts that it waits longer than others meanwhile: it stands only where nobody else does. */
const STAND_BACK_PATIENCE = 2;

const NO_MESSAGES: readonly Message[] = [];
const NO_ENTRIES: readonly Entry[] = [];

/** The message of one kind. */
export type MessageOf<K extends Message['kind']> = Extract<Message, { readonly kind: K }>;

/** How a role hands over to another. The caller must return at once afterwards: it is no longer the role. */
export interface Transitions {
  becomeFollower(term: Term, leader: NodeId, why: string): void;
  /** `transfer`: the leader of that round has chosen this node. May be refused: the role stays then. */
  becomeCandidate(pre: boolean, why: string, transfer?: LeaderRound): void;
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
  /** Something has happened, and this replica is asleep: its timer starts again. */
  wake(why: string): void;
  /** The last moment before output is taken. */
  flush(): void;
  /** The role ends: settle what it still owes. */
  leave(): void;
}

export class Core {
  readonly id: NodeId;
  readonly config: RaftConfig;
  readonly rules: Rules;
  readonly log: RaftLog;
  readonly allegiance: Allegiance;
  readonly handover: Handover = new Handover();
  readonly #random: Random;

  nowMs: number;
  /** The election timer of a follower or candidate, the heartbeat timer of a leader. */
  deadlineMs: number = Infinity;
  leader: NodeId = 0;
  /** Committed entries up to here were given to the host to apply. */
  handed: LogIndex;
  /** A write failed; this replica promises nothing any more. */
  failed = false;
  /** Nothing happens, and no timer runs: `deadlineMs` is Infinity until something does. */
  isAsleep = false;
  /** How long the slowest write took of those last reported. */
  writeTookMs = 0;
  /** Until then this node stands back, for its disk is slow. */
  #standBackUntilMs = -Infinity;

  /** Set until the rule says that it is made good. */
  #lost: LostLog | undefined;

  #term: Term;
  #vote: NodeId;
  #hardChanged = false;
  #snapshot: { readonly position: LogPosition; readonly keepLog: boolean } | undefined;
  #seq = 0;
  #persistedSeq = 0;
  /** This node has never run before. */
  readonly #isFresh: boolean;
  #marks: { readonly seq: number; readonly mark: LogMark; readonly givenMs: number }[] = [];
  readonly #held: HeldMessages = new HeldMessages();
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
    readonly lost: LostLog | undefined;
    readonly random: Random;
    readonly nowMs: number;
  }) {
    assert(
      options.config.heartbeatMs * 2 <= options.config.electionMs,
      'Heartbeats must be well below the election timeout',
    );
    const { leaseReads, leaseDrift, priority } = options.config;
    assert(leaseDrift >= 0 && leaseDrift < 1, 'A lease drift is a part of an election timeout');
    assert(priority >= 0 && priority <= PRIORITY_MAX, 'A priority is 0 to 10');
    this.id = options.id;
    this.config = options.config;
    this.rules = options.rules;
    this.log = options.log;
    this.#random = options.random;
    this.nowMs = options.nowMs;
    this.#lost = options.lost;
    this.#term = options.hard.term;
    this.#vote = options.rules.voteAfterRestart(options.hard.vote);
    this.handed = options.rules.appliedAfterRestart(this.log.base.index, this.log.last.index);
    assert(this.#term >= this.log.last.term, 'The log is ahead of the term');
    this.#members = this.#derive(this.log.config);
    this.#isFresh = options.hard.term === 0 && this.log.last.index === 0;
    this.allegiance = new Allegiance({
      rules: options.rules,
      electionMs: options.config.electionMs,
      nowMs: options.nowMs,
      isFresh: this.#isFresh,
      hasLeases: leaseReads,
    });
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

  /** Why this replica neither votes nor stands for election: what its disk has lost; undefined when nothing is missing. */
  get lossObstacle(): string | undefined {
    const lost = this.#lost;
    if (lost === undefined) return undefined;
    const { commit } = this.log;
    // The base is committed, and nothing behind the commit index is forgotten.
    const term = defined(this.log.term(commit), 'the term of the last committed entry');
    if (!this.rules.mustAbstain(lost, { index: commit, term })) return undefined;
    const what = Number.isFinite(lost.index)
      ? `entries up to ${lost.index}`
      : `entries of terms up to ${lost.term}`;
    return `its disk lost ${what} that it may have acknowledged, and has entry ${commit} committed`;
  }

  /** What was lost is there again, or was never committed: a node like any other from now on. */
  #settleLoss(): void {
    if (this.#lost === undefined || this.lossObstacle !== undefined) return;
    this.#lost = undefined;
    const why = `what it lost is made good, its log is committed up to ${this.log.commit}`;
    this.#events.push({ kind: 'whole', why });
  }

  /** Draws a new election timeout, once for each reset, so that ties between candidates break (§5.2). */
  resetElectionTimer(): void {
    const { electionMs, priority } = this.config;
    // Only the waiting depends on priority and disk. Who may win is for the log to say, and who is alone does stand.
    let patience = (PRIORITY_MAX - priority) / PRIORITY_MAX;
    if (this.nowMs < this.#standBackUntilMs) patience += STAND_BACK_PATIENCE;
    this.deadlineMs = this.nowMs + electionMs * (1 + patience + this.#random.ratio());
  }

  /** A number that no other life of this node has drawn, as good as surely. */
  randomId(): number {
    return this.#random.uint32();
  }

  /** How long the oldest write has been with the disk; 0 without one. */
  get writeAgeMs(): number {
    const [oldest] = this.#marks;
    return oldest === undefined ? 0 : this.nowMs - oldest.givenMs;
  }

  /** Whether a write of so many milliseconds is too much for a leader. */
  isDiskTooSlow(writeMs: number): boolean {
    return this.rules.isDiskTooSlow(writeMs, this.config.storageStallMs);
  }

  /** Lets others stand for election first, for a while. @returns whether that is news */
  standBack(): boolean {
    const isNews = this.nowMs >= this.#standBackUntilMs;
    this.#standBackUntilMs = this.nowMs + STAND_BACK_ELECTIONS * this.config.electionMs;
    return isNews;
  }

  /**
   * Why this replica must not help to depose a leader now; undefined when it may.
   *
   * @param heardMs when its role last had proof of a live leader
   * @param term what the candidate stands for
   * @param transfer set when the leader itself chose the candidate
   */
  allegianceAgainst(heardMs: number, term: Term, transfer: LeaderRound | undefined): string | undefined {
    const hasLeases = this.config.leaseReads;
    return this.allegiance.obstacle({ nowMs: this.nowMs, heardMs, hasLeases, term, transfer });
  }

  /** Sends a message that promises nothing. */
  send(to: NodeId, body: MessageBody, term: Term = this.#term): void {
    this.#send.push(withHeader(body, this.id, to, term));
  }

  /**
   * Answers a leader, and a lease may rest on the answer. The first of a new node waits for its disk: the next life must
   * not take itself for one that has promised nothing.
   */
  answer(to: NodeId, body: MessageBody): void {
    if (this.config.leaseReads && this.#isFresh && this.#persistedSeq === 0) this.sendWhenDurable(to, body);
    else this.send(to, body);
  }

  /**
   * Sends a message once everything changed so far is durable: vote grants, append acknowledgements, and a candidate's
   * vote for itself. Dropped if the term has moved on by then, since nobody reads replies to an old term.
   */
  sendWhenDurable(to: NodeId, body: MessageBody, term: Term = this.#term): void {
    this.#held.hold(withHeader(body, this.id, to, term));
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
    // What lies behind an earlier one of the same write came after it; the disk still has the log that it replaced.
    this.#snapshot = { position, keepLog: keepLog && this.#snapshot?.keepLog !== false };
  }

  /** Every write up to `seq` is durable. @returns messages to this replica itself that are now true */
  persisted(seq: number): readonly Message[] {
    assert(seq <= this.#seq, 'A write was reported that was never given');
    this.#persistedSeq = Math.max(this.#persistedSeq, seq);
    let done = 0;
    this.writeTookMs = 0;
    for (const written of this.#marks) {
      if (written.seq > seq) break;
      this.log.persisted(written.mark);
      this.writeTookMs = Math.max(this.writeTookMs, this.nowMs - written.givenMs);
      done += 1;
    }
    if (done > 0) this.#marks.splice(0, done);
    this.#release();
    return this.#takeToSelf();
  }

  /** Stops promising for ever: what is held is never sent. */
  fail(): void {
    this.failed = true;
    this.#held.clear();
    this.#marks = [];
    this.deadlineMs = Infinity;
  }

  /** Takes everything that has gathered. Messages to this replica itself are returned beside it. */
  take(): { readonly output: Output | undefined; readonly toSelf: readonly Message[] } {
    this.#settleLoss();
    const write = this.#takeWrite();
    this.#held.number(this.#seq, this.rules.mayLeave(this.#seq, this.#persistedSeq));
    this.#release();
    const toSelf = this.#takeToSelf();
    const apply = this.#takeCommitted();
    const isEmpty =
      write === undefined &&
      apply.length === 0 &&
      this.#send.length === 0 &&
      this.#outcomes.length === 0 &&
      this.#events.length === 0 &&
      this.#snapshotTo.length === 0;
    if (isEmpty) return { output: undefined, toSelf };
    const send = this.#send;
    const outcomes = this.#outcomes;
    const events = this.#events;
    const snapshotTo = this.#snapshotTo;
    // Two literals and no copy: this is done for every message.
    const output: Output =
      write === undefined
        ? { send, apply, outcomes, events, snapshotTo }
        : { write, send, apply, outcomes, events, snapshotTo };
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
    this.#marks.push({ seq: this.#seq, mark, givenMs: this.nowMs });
    return {
      seq: this.#seq,
      mark,
      ...(snapshot === undefined ? {} : { snapshot }),
      hard: { term: this.#term, vote: this.#vote, commit: this.log.commit },
      ...(append === undefined ? {} : { append }),
    };
  }

  #takeToSelf(): readonly Message[] {
    return this.#toSelf.length === 0 ? NO_MESSAGES : this.#toSelf.splice(0);
  }

  #takeCommitted(): readonly Entry[] {
    // What a failed disk was never given is not to be applied either.
    if (this.failed || this.handed >= this.log.commit) return NO_ENTRIES;
    const entries = this.log.slice(this.handed + 1, this.log.commit, Infinity);
    this.handed = this.log.commit;
    return entries;
  }

  #release(): void {
    const mayLeave = (seq: number): boolean => this.rules.mayLeave(seq, this.#persistedSeq);
    for (const message of this.#held.release(this.#term, mayLeave)) {
      if (message.to === this.id) this.#toSelf.push(message);
      else this.#send.push(message);
    }
  }
}
