/** Thousands of short random runs (P82): fixed seeds, and some fresh ones each time, printed so that a failure repeats. */
import { describe, expect, it } from 'vitest';
import { type FuzzReport, fuzz } from '../support/raft-fuzz.ts';

const STEPS = 200;
const FIXED_RUNS = 1500;
const FRESH_RUNS = 500;
const MEMBER_RUNS = 1500;
const WITNESS_RUNS = 500;
/** About 10 s of one core in all; a busy machine takes longer. */
const TIMEOUT_MS = 120_000;

function run(firstSeed: number, runs: number, members = false, witnesses = false): FuzzReport {
  const sum = {
    elections: 0,
    committed: 0,
    crashes: 0,
    truncations: 0,
    snapshots: 0,
    reads: 0,
    leases: 0,
    followerReads: 0,
    transfers: 0,
    sleeps: 0,
    stalls: 0,
    changes: 0,
    rolledBack: 0,
    buried: 0,
    witnessed: 0,
  };
  const names = Object.keys(sum).filter((name): name is keyof typeof sum => name in sum);
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    try {
      const report = fuzz({ seed, steps: STEPS, members, witnesses });
      for (const name of names) sum[name] += report[name];
    } catch (error) {
      const what = `${members ? ', members come and go' : ''}${witnesses ? ', some are witnesses' : ''}`;
      throw new Error(`Seed ${seed}, ${STEPS} steps${what}`, { cause: error });
    }
  }
  return sum;
}

describe('random runs', () => {
  it(
    `seeds 1 to ${FIXED_RUNS} keep every invariant and come right when healed`,
    () => {
      const report = run(1, FIXED_RUNS);
      // The runs must have met what they are there for.
      expect(report.elections).toBeGreaterThan(0.8 * FIXED_RUNS);
      expect(report.crashes).toBeGreaterThan(FIXED_RUNS);
      expect(report.committed).toBeGreaterThan(4 * FIXED_RUNS);
      expect(report.truncations).toBeGreaterThan(50);
      expect(report.snapshots).toBeGreaterThan(50);
      expect(report.reads).toBeGreaterThan(FIXED_RUNS);
      expect(report.leases).toBeGreaterThan(200);
      expect(report.followerReads).toBeGreaterThan(50);
      expect(report.transfers).toBeGreaterThan(100);
      expect(report.sleeps).toBeGreaterThan(10);
      expect(report.stalls).toBeGreaterThan(100);
    },
    TIMEOUT_MS,
  );

  it(
    `seeds 1 to ${MEMBER_RUNS} with members that come, go and are gone for good`,
    () => {
      const report = run(1, MEMBER_RUNS, true);
      expect(report.changes).toBeGreaterThan(0.3 * MEMBER_RUNS);
      expect(report.rolledBack).toBeGreaterThan(0);
      expect(report.buried).toBeGreaterThan(0.1 * MEMBER_RUNS);
    },
    TIMEOUT_MS,
  );

  it(
    `seeds 1 to ${WITNESS_RUNS} with witnesses, with and without changes of members`,
    () => {
      expect(run(1, WITNESS_RUNS, false, true).witnessed).toBeGreaterThan(0.4 * WITNESS_RUNS);
      expect(run(1, WITNESS_RUNS, true, true).changes).toBeGreaterThan(0.3 * WITNESS_RUNS);
    },
    TIMEOUT_MS,
  );

  const firstFresh = 1_000_000 + (Math.floor(Date.now() / 1000) % 1_000_000_000);

  it(
    `fresh seeds ${firstFresh} to ${firstFresh + FRESH_RUNS - 1}`,
    () => {
      expect(run(firstFresh, FRESH_RUNS).committed).toBeGreaterThan(0);
      expect(run(firstFresh, FRESH_RUNS, true).changes).toBeGreaterThan(0);
      expect(run(firstFresh, FRESH_RUNS, true, true).witnessed).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});
