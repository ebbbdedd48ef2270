/**
 * The probe rounds of a leader and what rests on them: reads of its own clients and of followers (thesis §6.4), the lease
 * (§6.4.1), and the proof that a majority still follows (§6.2). A round is a number on every heartbeat and append; whoever
 * answers it was a follower of this leader after the round began.
 */
import { defined } from '../lib/assert.ts';
import type { Core } from './core.ts';
import type { LogIndex, NodeId } from './entry.ts';
import { READS_MAX } from './follower-reads.ts';
import type { ReadMode, Round } from './messages.ts';
import type { Progress } from './progress.ts';

/** Rounds without a majority's answer. Past it, reads share the next heartbeat's round. */
const ROUNDS_OPEN_MAX = 64;
/** Requests of followers that wait; they ask again. */
const REQUESTS_MAX = 4_096;

interface PendingRead {
  /** Of the follower that asks; 0 for this node. */
  readonly from: NodeId;
  readonly id: number;
  readonly index: LogIndex;
  readonly round: Round;
}

export class LeaderRounds {
  readonly #core: Core;
  readonly #noop: LogIndex;
  readonly #progress: ReadonlyMap<NodeId, Progress>;
  #newest: Round = 0;
  /** Rounds begun and not yet answered by a majority, with their send times. */
  #open: { readonly round: Round; readonly sentMs: number }[] = [];
  /** When the newest round that a majority answered was sent: leadership is proved up to then. */
  #quorumSentMs: number;
  #leaseUntilMs = -Infinity;
  /** The newest round when leadership was last being handed over: no lease rests on it or an earlier one. */
  #transferRound: Round = 0;
  #isFrozen = false;
  /** In order of their rounds. */
  #reads: PendingRead[] = [];
  /** Requests of followers among them. */
  readonly #requests: Set<string> = new Set();

  /** @param options `noop`: index of the entry that opens the term; `progress`: of the leader, and kept by it */
  constructor(options: {
    readonly core: Core;
    readonly noop: LogIndex;
    readonly progress: ReadonlyMap<NodeId, Progress>;
  }) {
    this.#core = options.core;
    this.#noop = options.noop;
    this.#progress = options.progress;
    this.#quorumSentMs = options.core.nowMs;
  }

  get newest(): Round {
    return this.#newest;
  }

  get quorumSentMs(): number {
    return this.#quorumSentMs;
  }

  /** Until when this leader may read without asking; in the past without a lease. */
  get leaseUntilMs(): number {
    return this.#leaseUntilMs;
  }

  get hasReads(): boolean {
    return this.#reads.length > 0;
  }

  /**
   * Since when no majority has proved that it follows. A leader that stood still has asked nobody meanwhile, and to count
   * that time as its followers' silence would depose it for its own pause: the silence is at most a heartbeat older than
   * the oldest question without an answer.
   */
  get provedMs(): number {
    const { nowMs, config } = this.#core;
    return Math.max(this.#quorumSentMs, (this.#open[0]?.sentMs ?? nowMs) - config.heartbeatMs);
  }

  /** Begins a round. `quiesce`: the last before everybody sleeps. */
  start(quiesce = false): void {
    const { allegiance, term, nowMs } = this.#core;
    this.#newest += 1;
    allegiance.begin(term, this.#newest);
    this.#open.push({ round: this.#newest, sentMs: nowMs });
    for (const progress of this.#progress.values()) this.heartbeat(progress, quiesce);
    // A leader that is a majority by itself needs no answer.
    this.confirm();
  }

  /** Sends the newest round once more. */
  repeat(): void {
    for (const progress of this.#progress.values()) this.heartbeat(progress);
  }

  heartbeat(progress: Progress, quiesce = false): void {
    const { log, rules } = this.#core;
    const commit = rules.heartbeatCommit(log.commit, progress.match);
    const round = this.#newest;
    if (quiesce) this.#core.send(progress.id, { kind: 'heartbeat', commit, round, quiesce });
    else this.#core.send(progress.id, { kind: 'heartbeat', commit, round });
  }

  /** A follower has answered `round`, which has begun. */
  answered(progress: Progress, round: Round): void {
    progress.heardMs = this.#core.nowMs;
    if (round <= progress.answered) return;
    progress.answered = round;
    this.confirm();
  }

  /** Takes reads of this node; each is confirmed by the lease, or by a round that begins after now. */
  read(ids: readonly number[], mode: ReadMode): void {
    const { nowMs } = this.#core;
    const validUntilMs = this.#leaseUntilMs;
    if (mode === 'index' || nowMs >= validUntilMs) {
      const room = Math.max(0, READS_MAX - this.#reads.length);
      for (const id of ids.slice(0, room)) this.#add(0, id);
      const reason = { kind: 'tooManyReads', readsMax: READS_MAX } as const;
      for (const id of ids.slice(room)) this.#core.outcome({ id, ok: false, reason });
      return;
    }
    const index = this.#readIndex;
    for (const id of ids) this.#core.outcome({ id, ok: true, kind: 'readable', index, validUntilMs });
  }

  /** Takes a request of a follower. One that was taken already is not taken twice. */
  readFor(from: NodeId, id: number): void {
    const request = `${from}/${id}`;
    if (this.#requests.size >= REQUESTS_MAX || this.#requests.has(request)) return;
    this.#requests.add(request);
    this.#add(from, id);
  }

  /**
   * Leadership is being handed over: until it is not any more, no round begins, for voters who have heard a later one would
   * refuse the target. No lease rests on what has begun so far: allegiance.ts has the argument.
   */
  freeze(): void {
    this.#isFrozen = true;
    this.#transferRound = this.#newest;
    if (!this.#core.rules.mayLeaseOn(this.#newest, this.#transferRound)) this.#leaseUntilMs = -Infinity;
  }

  /** The transfer was given up, or sleep is over. Nobody was asked meanwhile, so nobody's silence counts. */
  thaw(): void {
    const { nowMs, config } = this.#core;
    this.#isFrozen = false;
    this.#quorumSentMs = Math.max(this.#quorumSentMs, nowMs - config.heartbeatMs);
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /** Nobody will answer what is open: everybody sleeps. */
  sleep(): void {
    this.#open = [];
  }

  /** The last moment before output is taken: reads that need a round get one together. */
  flush(): void {
    const last = this.#reads.at(-1);
    if (last === undefined || last.round <= this.#newest || this.#isFrozen) return;
    if (this.#open.length < ROUNDS_OPEN_MAX) this.start();
  }

  /** Leadership ends, and reads with it. A follower's notices by itself. */
  leave(): void {
    const reason = { kind: 'lostLeadership', mayCommit: false } as const;
    for (const { from, id } of this.#reads) if (from === 0) this.#core.outcome({ id, ok: false, reason });
    this.#reads = [];
  }

  /** Somebody has answered, or the voters have changed: settles what a majority has confirmed. */
  confirm(): void {
    const { rules, quorums, id, nowMs, config } = this.#core;
    if (this.#open.length === 0 && this.#reads.length === 0) return;
    const confirmed = rules.confirmedRound(quorums, (voter) =>
      voter === id ? this.#newest : this.#progressOf(voter).answered,
    );
    let done = 0;
    for (const { round, sentMs } of this.#open) {
      if (round > confirmed) break;
      this.#quorumSentMs = sentMs;
      if (config.leaseReads && rules.mayLeaseOn(round, this.#transferRound)) {
        const { electionMs, leaseDrift: drift } = config;
        this.#leaseUntilMs = rules.leaseExpiry({ sentMs, answeredMs: nowMs, electionMs, drift });
      }
      done += 1;
    }
    if (done > 0) this.#open.splice(0, done);
    this.#settleReads(confirmed);
  }

  #settleReads(confirmed: Round): void {
    let done = 0;
    for (const { from, id, index, round } of this.#reads) {
      if (round > confirmed) break;
      done += 1;
      if (from === 0) this.#core.outcome({ id, ok: true, kind: 'readable', index });
      else {
        this.#requests.delete(`${from}/${id}`);
        this.#core.send(from, { kind: 'readReply', id, index });
      }
    }
    if (done > 0) this.#reads.splice(0, done);
  }

  get #readIndex(): LogIndex {
    const { rules, log } = this.#core;
    return rules.readIndex(log.commit, this.#noop);
  }

  #add(from: NodeId, id: number): void {
    this.#reads.push({ from, id, index: this.#readIndex, round: this.#core.rules.readRound(this.#newest) });
  }

  #progressOf(voter: NodeId): Progress {
    return defined(this.#progress.get(voter), 'progress of a voter');
  }
}
