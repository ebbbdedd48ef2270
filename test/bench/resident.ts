/** Watches how much memory the process has, and what it may have. */
import { setInterval } from 'node:timers';

const MEBIBYTE = 2 ** 20;

export interface ResidentReport {
  readonly residentMiBMax: number;
  /** One every ten seconds. */
  readonly residentMiB: readonly number[];
}

/** Resident size of the whole process, all threads. Ask often: what is never looked at is not seen. */
export class ResidentWatch {
  readonly #everyMs: number;
  readonly #tell: (line: string) => void;
  readonly #startedMs = performance.now();
  readonly #samples: number[] = [];
  #max = 0;
  #dueMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (line: string) => void, everyMs = 10_000) {
    this.#tell = tell;
    this.#everyMs = everyMs;
    this.#dueMs = this.#startedMs + everyMs;
  }

  /** Looks, and prints a line when it is time. @param done what is done so far, in words */
  look(done: () => string): void {
    const mebibytes = Math.round(process.memoryUsage.rss() / MEBIBYTE);
    this.#max = Math.max(this.#max, mebibytes);
    const nowMs = performance.now();
    if (nowMs < this.#dueMs) return;
    this.#dueMs += this.#everyMs * Math.ceil((nowMs - this.#dueMs) / this.#everyMs || 1);
    this.#samples.push(mebibytes);
    const seconds = Math.round((nowMs - this.#startedMs) / 1000);
    this.#tell(`${String(seconds).padStart(5)} s  ${done()}, ${mebibytes} MiB resident`);
  }

  /** Looks by itself until {@link stop}. */
  start(done: () => string): void {
    this.#timer = setInterval(() => this.look(done), 200);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  get report(): ResidentReport {
    return { residentMiBMax: this.#max, residentMiB: this.#samples };
  }
}
