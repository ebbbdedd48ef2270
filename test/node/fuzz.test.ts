/** Random runs of whole nodes: fixed seeds, and a few fresh ones that every run draws anew. The message names the seed. */
import { afterAll, describe, expect, test } from 'vitest';
import { BROKEN_RULES } from '../../src/lessons/broken-rules.ts';
import { RULES, type Rules } from '../../src/raft/rules.ts';
import { type FuzzReport, fuzz } from '../support/node-fuzz.ts';

const SEEDS = 200;
const SEEDS_A_TEST = 20;
const FRESH = Array.from({ length: 5 }, () => Math.floor(Math.random() * 2 ** 32));

describe('a cluster under crashes, power cuts, disk faults and bad links', () => {
  const total = new Map<string, number>();

  test.each(Array.from({ length: SEEDS / SEEDS_A_TEST }, (_, i) => i * SEEDS_A_TEST + 1))(
    `is linearizable, loses nothing and recovers: ${SEEDS_A_TEST} seeds from %i`,
    (first) => {
      for (let seed = first; seed < first + SEEDS_A_TEST; seed++) {
        for (const [name, count] of Object.entries(run(seed)))
          total.set(name, (total.get(name) ?? 0) + count);
      }
    },
  );

  test.each(FRESH)('is linearizable, loses nothing and recovers: fresh seed %i', (seed) => {
    // All of its writes may be unknown (seed 2345077313), but some there must be.
    const { acknowledged, failed, unknown } = run(seed);
    expect(acknowledged + failed + unknown).toBeGreaterThan(0);
  });

  afterAll(() => {
    // Runs in which nothing went wrong, or nothing was done, would prove nothing.
    for (const [name, count] of total) expect(count, name).toBeGreaterThan(SEEDS / 4);
  });
});

describe('a run finds out when nodes', () => {
  test.each([
    'votes-for-everyone',
    'looks-only-at-the-index',
    'never-cuts',
    'promises-before-the-disk',
    'commits-one-short',
    'commits-by-heartbeat',
    'reads-before-its-no-op',
    'applies-the-whole-log',
  ])('follow the broken rule %s', (name) => {
    const { rules } = BROKEN_RULES.find((broken) => broken.name === name) ?? { rules: RULES };
    expect(firstCaught(rules)).toBeDefined();
  });
});

/** The first seed that a run with these rules does not survive. */
function firstCaught(rules: Rules): number | undefined {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      fuzz(seed, rules);
    } catch {
      return seed;
    }
  }
  return undefined;
}

function run(seed: number): FuzzReport {
  try {
    return fuzz(seed);
  } catch (error) {
    throw new Error(`Seed ${seed} failed`, { cause: error });
  }
}
