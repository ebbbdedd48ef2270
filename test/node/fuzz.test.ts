/** Random runs of whole nodes: fixed seeds, and a few fresh ones that every run draws anew. The title names the seed. */
import { describe, expect, test } from 'vitest';
import { type FuzzReport, fuzz } from '../support/node-fuzz.ts';

const SEEDS = 120;
const FRESH = Array.from({ length: 5 }, () => Math.floor(Math.random() * 2 ** 32));

describe('a cluster under crashes, power cuts, disk faults and bad links', () => {
  test(`is linearizable, loses nothing and recovers: seeds 1 to ${SEEDS}`, () => {
    const total = new Map<string, number>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const report = run(seed);
      for (const [name, count] of Object.entries(report)) total.set(name, (total.get(name) ?? 0) + count);
    }
    // A run in which nothing went wrong, or nothing was done, would prove nothing.
    for (const [name, count] of total) expect(count, name).toBeGreaterThan(SEEDS / 2);
  });

  test.each(FRESH)('is linearizable, loses nothing and recovers: fresh seed %i', (seed) => {
    expect(run(seed).acknowledged).toBeGreaterThan(0);
  });
});

function run(seed: number): FuzzReport {
  try {
    return fuzz(seed);
  } catch (error) {
    throw new Error(`Seed ${seed} failed`, { cause: error });
  }
}
