/** Whole nodes in virtual time: fixed seeds, and a few fresh ones that every run draws anew. The message names the seed. */
import { describe, expect, test } from 'vitest';
import { breaker } from '../../src/lessons/breaker.ts';
import type { ProfileName, RunResult } from '../../src/sim/report.ts';
import { runNodes } from '../../src/sim/simulation.ts';

const FRESH = [Math.floor(Math.random() * 2 ** 32)];

function run(profile: ProfileName, seed: number, omit: readonly number[] = []): RunResult {
  return runNodes(profile)({ seed, omit: new Set(omit) }, breaker);
}

/** What a run found, as text; empty for nothing. */
function findings(profile: ProfileName, seed: number): string {
  const { failure } = run(profile, seed);
  return failure === undefined ? '' : `${profile} ${seed}: ${failure.invariant}: ${failure.message}`;
}

describe.each(['full', 'disk', 'membership', 'lease'] as const)('profile %s', (profile) => {
  test.each([1, 2, 3, 4])('finds nothing: seed %i', (seed) => {
    expect(findings(profile, seed)).toBe('');
  });

  test.each(FRESH)('finds nothing: fresh seed %i', (seed) => {
    expect(findings(profile, seed)).toBe('');
  });
});

describe('what was found once', () => {
  test('a source that gives its bytes in pieces sends a follower its snapshot: full 3', () => {
    expect(findings('full', 3)).toBe('');
  });

  test('a node that finds its damage long after the start is expected no more: disk 77', () => {
    expect(findings('disk', 77)).toBe('');
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
    const traced = runNodes('full')({ seed: 2, trace: (line) => void lines.push(line) }, breaker);
    expect(traced).toEqual(run('full', 2));
    expect(lines.length).toBeGreaterThan(100);
  });

  test('without some of its disturbances has the others at their times', () => {
    const seed = 3;
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

describe('a run finds out when nodes', () => {
  test.each(['half-is-a-majority', 'cuts-on-every-append', 'commits-one-short', 'reads-before-its-no-op'])(
    'follow the broken rule %s',
    (broken) => {
      const failed = Array.from({ length: 40 }, (_, i) => i + 1).some(
        (seed) => runNodes('full')({ seed, broken }, breaker).failure !== undefined,
      );
      expect(failed).toBe(true);
    },
  );

  test('do so, and tells which disturbances led there', () => {
    const { failure } = runNodes('full')({ seed: 1, broken: 'commits-one-short' }, breaker);
    expect(failure).toMatchObject({ invariant: expect.stringMatching(/^I\d+ /), atMs: expect.any(Number) });
    const numbers = (failure?.script ?? []).map(({ number }) => number);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  });
});
