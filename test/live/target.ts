/** What a torture campaign works on: a store that can be hurt and comes back. */
import type { ClusterClient } from '../../src/cluster/api.ts';
import type { Random } from '../../src/lib/random.ts';

/** What was done to the store. */
export interface Disturbance {
  /** In a few words. */
  readonly what: string;
  /** Processes or threads that were killed. */
  readonly kills: number;
  /** What the store told of itself meanwhile, if it tells anything. */
  readonly news: () => readonly string[];
  /** From when recovery is measured, on the clock of `performance.now()`. */
  readonly sinceMs: number;
}

export interface TortureTarget {
  /** Starts everything. Resolves when clients may connect. */
  start(): Promise<void>;
  /** A client that survives what happens to the store. */
  client(timeoutMs: number): Promise<ClusterClient>;
  /** Hurts the store once and repairs it. Resolves when everything that was stopped has been started again. */
  disturb(random: Random): Promise<Disturbance>;
  /** Clients that each ask another node, to read what the ledger says; closed by the caller. */
  readers(timeoutMs: number): Promise<readonly ClusterClient[]>;
  stop(): Promise<void>;
}
