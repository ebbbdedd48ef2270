/** A steady stream of small writes in the background, so that there is something to lose when a node fails. */
import type { ClusterClient } from '../cluster/api.ts';
import { OxideError } from '../lib/errors.ts';
import type { WorkloadStats } from './state.ts';

const INTERVAL_MS = 50;
/** With this many unanswered, a beat is left out instead. */
const IN_FLIGHT_MAX = 32;
const KEY_COUNT = 5;
const SAMPLES_MAX = 101;

/** One workload: on from {@link Workload.start} until {@link Workload.stop}, any number of times. Counts add up. */
export class Workload {
  readonly #client: ClusterClient;
  readonly #tookMs: number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #inFlight = 0;
  #sentCount = 0;
  #okCount = 0;
  #refusedCount = 0;
  #unknownCount = 0;

  /** @param client its own; the caller closes it */
  constructor(client: ClusterClient) {
    this.#client = client;
  }

  get stats(): WorkloadStats {
    const sorted = this.#tookMs.toSorted((a, b) => a - b);
    return {
      isOn: this.#timer !== undefined,
      okCount: this.#okCount,
      refusedCount: this.#refusedCount,
      unknownCount: this.#unknownCount,
      tookMsP50: sorted[Math.floor(sorted.length / 2)],
    };
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#beat(), INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Never rejects: every failure is counted. */
  async #beat(): Promise<void> {
    if (this.#inFlight >= IN_FLIGHT_MAX) return;
    this.#inFlight += 1;
    this.#sentCount += 1;
    const startedMs = performance.now();
    try {
      await this.#client.set(`k${1 + (this.#sentCount % KEY_COUNT)}`, String(this.#sentCount));
      this.#okCount += 1;
      this.#tookMs.push(performance.now() - startedMs);
      if (this.#tookMs.length > SAMPLES_MAX) this.#tookMs.shift();
    } catch (error) {
      if (error instanceof OxideError && error.code !== 'unknown') this.#refusedCount += 1;
      else this.#unknownCount += 1;
    } finally {
      this.#inFlight -= 1;
    }
  }
}
