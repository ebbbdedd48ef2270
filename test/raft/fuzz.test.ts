/** Thousands of short random runs (P82): fixed seeds, and some fresh ones a day, printed so that a failure repeats. */
import { describe, expect, it } from 'vitest';
import { type FuzzReport, fuzz } from '../support/raft-fuzz.ts';

const STEPS = 300;
const FIXED_RUNS = 1200;
const FRESH_RUNS = 200;

function run(firstSeed: number, runs: number): FuzzReport {
  const sum = { elections: 0, committed: 0, crashes: 0, truncations: 0, snapshots: 0, reads: 0 };
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    try {
      const report = fuzz({ seed, steps: STEPS });
      for (const name of ['elections', 'committed', 'crashes', 'truncations', 'snapshots', 'reads'] as const)
        sum[name] += report[name];
    } catch (error) {
      throw new Error(`Seed ${seed}, ${STEPS} steps`, { cause: error });
    }
  }
  return sum;
}

describe('random runs', () => {
  it(`seeds 1 to ${FIXED_RUNS} keep every invariant and come right when healed`, () => {
    const report = run(1, FIXED_RUNS);
    // The runs must have met what they are there for.
    expect(report.elections).toBeGreaterThan(FIXED_RUNS);
    expect(report.crashes).toBeGreaterThan(FIXED_RUNS);
    expect(report.committed).toBeGreaterThan(5 * FIXED_RUNS);
    expect(report.truncations).toBeGreaterThan(50);
    expect(report.snapshots).toBeGreaterThan(50);
    expect(report.reads).toBeGreaterThan(FIXED_RUNS);
  });

  const firstFresh = 1_000_000 + (Math.floor(Date.now() / 1000) % 1_000_000_000);

  it(`fresh seeds ${firstFresh} to ${firstFresh + FRESH_RUNS - 1}`, () => {
    expect(run(firstFresh, FRESH_RUNS).committed).toBeGreaterThan(0);
  });
});
