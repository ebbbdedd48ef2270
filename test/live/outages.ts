/** How long nobody could write: stretches without an acknowledged write, while clients tried all the time. */
import { type Summary, summarize } from './report.ts';

/** Shorter stretches are the ordinary wait between two writes on a busy machine. */
const OUTAGE_MS_MIN = 250;
const OUTAGES_MAX = 100_000;

/** What {@link Outages} found. */
export interface OutageReport {
  /** Of each stretch, in milliseconds. */
  readonly windowMs: Summary;
  /** All stretches together, in percent of the time. */
  readonly percent: number;
}

/** Told of every acknowledged write. */
export class Outages {
  readonly #startedMs: number;
  readonly #windowsMs: number[] = [];
  #lastMs: number;

  constructor(nowMs: number) {
    this.#startedMs = nowMs;
    this.#lastMs = nowMs;
  }

  /** A write was acknowledged. */
  acknowledged(nowMs: number): void {
    const windowMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (windowMs >= OUTAGE_MS_MIN && this.#windowsMs.length < OUTAGES_MAX) this.#windowsMs.push(windowMs);
  }

  report(nowMs: number): OutageReport {
    const openMs = nowMs - this.#lastMs;
    const all = openMs >= OUTAGE_MS_MIN ? [...this.#windowsMs, openMs] : this.#windowsMs;
    const totalMs = all.reduce((sum, ms) => sum + ms, 0);
    const percent = (100 * totalMs) / Math.max(1, nowMs - this.#startedMs);
    return { windowMs: summarize(all), percent: Number(percent.toFixed(1)) };
  }
}
