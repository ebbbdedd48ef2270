/**
 * Slows writes down while the engine falls behind with its merges, so that they need not be refused later: they are let in at a
 * part of the rate at which they were applied before, whoever led then. Who waits for answers then comes less often.
 * LevelDB delays each write by a millisecond, and RocksDB has a rate ("Write Stalls" in its wiki), for the same reason.
 */

/** The rate is an average over about this long. */
const AVERAGE_MS = 5000;
/** However slow writes came before, so many are let in: a start may find the engine behind. */
const BYTES_PER_MS_MIN = 1024;
/** What is not used of the rate is kept for no longer. */
const SAVED_MS = 50;
/** Once shut it stays shut for so long at least: whenever it opens, all that waits is looked through. */
const SHUT_MS_MIN = 5;

/** The gate of one node. Every node measures the rate, so that a new leader knows it; a leader also asks before each write. */
export class WriteGate {
  #nowMs: number;
  #pressurePercent = 0;
  /** At which writes were applied while there was no pressure. */
  #bytesPerMs = 0;
  /** Since the last look. */
  #appliedBytes = 0;
  /** What may be let in now while writes are slowed down. Below 0 when the last write was larger than what was left. */
  #budgetBytes = 0;
  #opensAtMs = -Infinity;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  /**
   * To be called before {@link state} is asked: looks at the clock and at the engine.
   *
   * @param pressurePercent see `VersionEngine`
   */
  look(nowMs: number, pressurePercent: number): void {
    const passedMs = Math.max(0, nowMs - this.#nowMs);
    this.#nowMs = nowMs;
    if (passedMs > 0) {
      const share = this.#pressurePercent > 0 ? 0 : passedMs / (passedMs + AVERAGE_MS);
      this.#bytesPerMs += share * (this.#appliedBytes / passedMs - this.#bytesPerMs);
      this.#appliedBytes = 0;
    }
    this.#pressurePercent = pressurePercent;
    const rate = this.#slowedBytesPerMs;
    this.#budgetBytes = Math.min(this.#budgetBytes + rate * passedMs, rate * SAVED_MS);
  }

  /** `shut`: writes wait. `refusing`: the engine can take no more for now. */
  get state(): 'open' | 'shut' | 'refusing' {
    if (this.#pressurePercent <= 0) return 'open';
    if (this.#pressurePercent >= 100) return 'refusing';
    return this.#nowMs >= this.#opensAtMs ? 'open' : 'shut';
  }

  /** When it opens again, if it is shut. */
  get opensAtMs(): number {
    return this.#opensAtMs;
  }

  /** The engine was given a write of so many bytes. */
  applied(bytes: number): void {
    this.#appliedBytes += bytes;
  }

  /** A write of so many bytes was let in. */
  took(bytes: number): void {
    if (this.#pressurePercent === 0) return;
    this.#budgetBytes -= bytes;
    if (this.#budgetBytes > 0) return;
    this.#opensAtMs = this.#nowMs + Math.max(SHUT_MS_MIN, -this.#budgetBytes / this.#slowedBytesPerMs);
  }

  get #slowedBytesPerMs(): number {
    return (Math.max(this.#bytesPerMs, BYTES_PER_MS_MIN) * (100 - this.#pressurePercent)) / 100;
  }
}
