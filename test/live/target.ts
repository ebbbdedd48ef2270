/** What a torture campaign works on: a store that can be hurt and comes back. */
import type { ClusterClient } from '../../src/cluster/api.ts';
import type { Random } from '../../src/lib/random.ts';

/** What was done to a store so far. */
export interface Damage {
  /** Processes or threads killed. */
  readonly kills: number;
  /** Processes ended as their users end them. */
  readonly quits: number;
  /** Processes or threads started again. */
  readonly restarts: number;
  /** Processes or threads stopped where they stood, and continued. */
  readonly stops: number;
  /** Times that links were cut. */
  readonly partitions: number;
  /** Times that links were slowed, or connections were torn. */
  readonly disturbedLinks: number;
}

/** Counts what is done. */
export class DamageCounter {
  #sum: Damage = { kills: 0, quits: 0, restarts: 0, stops: 0, partitions: 0, disturbedLinks: 0 };

  get sum(): Damage {
    return this.#sum;
  }

  add(what: keyof Damage, count = 1): void {
    this.#sum = { ...this.#sum, [what]: this.#sum[what] + count };
  }
}

/** Waits, and returns early when the campaign is to end. */
export type Pause = (ms: number) => Promise<void>;

export interface TortureTarget {
  readonly damage: Damage;
  /** Reasons of processes that ended by themselves. Must stay empty. */
  readonly deaths: readonly string[];
  /** Starts everything. Resolves when clients may connect. */
  start(): Promise<void>;
  /** A client that survives what happens to the store. @param first which node it asks first, from 0 */
  client(timeoutMs: number, first?: number): Promise<ClusterClient>;
  /**
   * Hurts the store once and repairs it. Resolves when everything runs again.
   *
   * @returns what was done, in a few words
   */
  disturb(random: Random, pause: Pause): Promise<string>;
  /** A client that asks this node, from 0, and no other: it hears what that one says, cut off or not. */
  clientOf(node: number, timeoutMs: number): Promise<ClusterClient>;
  /** What the store told of itself lately, if it tells anything. */
  news(): readonly string[];
  stop(): Promise<void>;
}
