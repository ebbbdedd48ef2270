/**
 * The clocks of a simulation. There is one true time; each node sees it through a clock of its own that starts anywhere and
 * runs a little fast or slow. Wall time does not exist here: nodes are given a monotonic clock and nothing else, so that a
 * jump of the calendar has nothing to act on.
 */
import { assert } from '../lib/assert.ts';

/** A deadline must have passed, not nearly, whatever the rounding. */
const ROUNDING_MS = 1e-6;

/**
 * How far clocks may be from true time, as a part of it, when the fastest may run ahead of the slowest by `drift` of
 * itself; a little less, for rounding.
 */
export function clockSpread(drift: number): number {
  return (0.9999 * drift) / (2 - drift);
}

/** A monotonic clock that drifts. */
export class NodeClock {
  #rate = 1;
  #trueMs = 0;
  #ownMs = 0;

  /** A new process: the clock starts over at `ownMs`. */
  restart(trueMs: number, ownMs: number): void {
    assert(ownMs >= 0, 'A clock starts at 0 or later');
    this.#trueMs = trueMs;
    this.#ownMs = ownMs;
  }

  /** From now on the clock goes `rate` times as fast as true time. It does not jump. */
  setRate(rate: number, trueMs: number): void {
    assert(rate > 0, 'A clock goes forward');
    this.#ownMs = this.read(trueMs);
    this.#trueMs = trueMs;
    this.#rate = rate;
  }

  /** What the clock shows at a true time, which is not before that of the last change. */
  read(trueMs: number): number {
    return this.#ownMs + (trueMs - this.#trueMs) * this.#rate;
  }

  /** The true time at which the clock has certainly passed `ownMs`; Infinity for Infinity. */
  whenItShows(ownMs: number): number {
    return this.#trueMs + (ownMs - this.#ownMs) / this.#rate + ROUNDING_MS;
  }
}
