/** Whole nodes in virtual time: fixed seeds, and a few fresh ones that every run draws anew. The message names the seed. */
import { describe, expect, test } from 'vitest';
import { DUTIES } from '../../src/node/duties.ts';
import { RULES } from '../../src/raft/rules.ts';
import type { Breaker } from '../../src/sim/host.ts';
import type { ProfileName, RunResult } from '../../src/sim/report.ts';
import { runNodes } from '../../src/sim/simulation.ts';

const SOUND: Breaker = () => ({ rules: RULES, duties: DUTIES });
const SEEDS_A_TEST = 5;
const FRESH = Array.from({ length: 2 }, () => Math.floor(Math.random() * 2 ** 32));

function run(profile: ProfileName, seed: number, omit: readonly number[] = []): RunResult {
  return runNodes(profile)({ seed, omit: new Set(omit) }, SOUND);
}

/** What a run found, as text; empty for nothing. */
function findings(profile: ProfileName, seed: number): string {
  const { failure } = run(profile, seed);
  return failure === undefined ? '' : `${profile} ${seed}: ${failure.invariant}: ${failure.message}`;
}

describe.each(['full', 'disk'] as const)('profile %s', (profile) => {
  test.each([1, 6, 11])(`finds nothing: ${SEEDS_A_TEST} seeds from %i`, (first) => {
    for (let seed = first; seed < first + SEEDS_A_TEST; seed++) expect(findings(profile, seed)).toBe('');
  });

  test.each(FRESH)('finds nothing: fresh seed %i', (seed) => {
    expect(findings(profile, seed)).toBe('');
  });
});

describe('a run', () => {
  test('is a function of its seed', () => {
    const first = run('full', 2);
    const second = run('full', 2);
    expect(second).toEqual(first);
    expect(first.report.hash).not.toBe(run('full', 3).report.hash);
  });

  test('tells the same whether somebody reads its trace or not', () => {
    const lines: string[] = [];
    const traced = runNodes('full')({ seed: 2, trace: (line) => void lines.push(line) }, SOUND);
    expect(traced).toEqual(run('full', 2));
    expect(lines.length).toBeGreaterThan(100);
  });

  test('without some of its disturbances has the others at their times', () => {
    const seed = 2;
    const { report } = run('full', seed);
    expect(Object.values(report.faults).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(5);
    const none = run(
      'full',
      seed,
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    expect(none.report.faults).toEqual({});
    expect(none.failure).toBeUndefined();
  });
});
