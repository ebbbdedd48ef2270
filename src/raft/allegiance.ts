/**
 * What a replica owes to leaders it has heard: not to help depose one that is alive (thesis §4.2.3), and with leases, not
 * to vote for an election timeout since it heard, whatever its role and term have become (thesis §6.4.1).
 *
 * Why a leader may hand over its leadership and still rest leases on these promises, however late a `timeoutNow` arrives:
 *
 *   Leader L of term T sends `timeoutNow` in its round R, the newest it has begun. It begins no other while it waits, and
 *   from then on rests no lease on rounds up to R. If the transfer fails, it begins round R + 1; a lease rests on a round
 *   above R again only once a quorum Q has answered that round. Now let the message, or the target's request for votes,
 *   be late: the target needs a majority, which shares a voter v with Q.
 *   - v heard the later round first: then its promise stands, because the request names R, and R is less than v has heard.
 *     This holds for L itself, which counts the rounds it has begun, and for the target, whose own vote is asked like any.
 *   - v was asked first: then it is in term T + 1, never answers the round in term T, and is no member of Q.
 *   - v restarted in between and does not know what it heard: then it keeps quiet for a whole promise first.
 *   So a lease and a late transfer exclude each other. No clock and no bound on delays has a part in it.
 */
import type { Term } from './entry.ts';
import type { LeaderRound, Round } from './messages.ts';
import type { Rules } from './rules.ts';

export class Allegiance {
  readonly #rules: Rules;
  readonly #electionMs: number;
  /** The newest term whose leader was heard, and the highest round heard of it. */
  #term: Term = 0;
  #round: Round = 0;
  #heardMs = -Infinity;
  readonly #startedMs: number;
  /** Until then a promise may stand that an earlier life of this node made. */
  readonly #forgottenUntilMs: number;

  /** @param options `isFresh`: this node has never run before; `hasLeases`: others rest leases on its promises */
  constructor(options: {
    readonly rules: Rules;
    readonly electionMs: number;
    readonly nowMs: number;
    readonly isFresh: boolean;
    readonly hasLeases: boolean;
  }) {
    const { rules, electionMs, nowMs, isFresh, hasLeases } = options;
    this.#rules = rules;
    this.#electionMs = electionMs;
    this.#startedMs = nowMs;
    this.#forgottenUntilMs = hasLeases
      ? rules.promiseAfterRestart({ isFresh, nowMs, electionMs })
      : -Infinity;
  }

  /** The leader of `term` was heard, in its round `round`. */
  hear(term: Term, round: Round, nowMs: number): void {
    this.begin(term, round);
    this.#heardMs = nowMs;
  }

  /** This replica leads `term` and has begun `round`: it knows the round as if it had heard it, and promises nothing. */
  begin(term: Term, round: Round): void {
    if (term < this.#term) return;
    this.#round = term > this.#term ? round : Math.max(this.#round, round);
    this.#term = term;
  }

  /**
   * Why this replica must not help to depose a leader now; undefined when it may.
   *
   * @param state `heardMs`: when its role last had proof of a live leader; with leases no role can forget what was promised;
   *   `term`: what the candidate stands for; `transfer`: the round of the leader that chose it; undefined for a candidate of
   *   its own accord
   */
  obstacle(state: {
    readonly nowMs: number;
    readonly heardMs: number;
    readonly hasLeases: boolean;
    readonly term: Term;
    readonly transfer: LeaderRound | undefined;
  }): string | undefined {
    const { nowMs, hasLeases, term, transfer } = state;
    if (nowMs < this.#forgottenUntilMs) {
      return `restarted ${Math.round(nowMs - this.#startedMs)} ms ago and may have promised its vote before`;
    }
    const heard = { term: this.#term, round: this.#round };
    if (transfer !== undefined && this.#rules.mayBypassLease({ term, transfer, heard })) return undefined;
    const heardMs = hasLeases ? Math.max(state.heardMs, this.#heardMs) : state.heardMs;
    if (!this.#rules.hasLiveLeader({ nowMs, heardMs, electionMs: this.#electionMs })) return undefined;
    return `heard from the leader ${Math.round(nowMs - heardMs)} ms ago`;
  }
}
