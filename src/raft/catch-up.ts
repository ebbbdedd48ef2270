/**
 * Whether a learner has caught up (thesis §4.2.1). The leader counts rounds: each brings what the log held when the round
 * began. A round that took less than an election timeout shows that the learner, made a voter, would not hold up commits.
 */
import type { LogIndex } from './entry.ts';

export class CatchUp {
  #target: LogIndex;
  #startedMs: number;
  #isDone = false;

  /** @param last the end of the leader's log now */
  constructor(last: LogIndex, nowMs: number) {
    this.#target = last;
    this.#startedMs = nowMs;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** The learner holds the log up to `match`, of `last`. */
  reached(match: LogIndex, last: LogIndex, nowMs: number, electionMs: number): void {
    if (match < this.#target) {
      this.#isDone = false;
      return;
    }
    this.#isDone = nowMs - this.#startedMs < electionMs;
    this.#target = last;
    this.#startedMs = nowMs;
  }
}
