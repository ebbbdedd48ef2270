/** Shrinking: the shortest script that still fails in the same way. */
import { describe, expect, it } from 'vitest';
import type { RunFailure, RunOptions, RunResult } from '../../src/sim/report.ts';
import { shrink } from '../../src/sim/shrink.ts';

const STEPS = 40;

/** A system that fails with `invariant` when all of these disturbances are carried out. */
function system(
  needed: readonly number[],
  other: readonly number[] = [],
): (options: RunOptions) => RunResult {
  return ({ seed, omit }) => {
    const done = Array.from({ length: STEPS }, (_, number) => number).filter(
      (number) => omit?.has(number) !== true,
    );
    const script = done.map((number) => ({ number, atMs: number, text: `fault ${number}` }));
    const report = {
      profile: 'core',
      seed,
      simulatedMs: 1,
      events: 1,
      hash: '',
      operations: { ok: 1, failed: 0, unknown: 0 },
      faults: {},
      probes: [],
      isVacuous: false,
    } as const;
    const fails = (numbers: readonly number[]): boolean => numbers.every((number) => done.includes(number));
    const failure = (invariant: string): RunFailure => ({
      invariant,
      message: '',
      atMs: 1,
      event: 1,
      script,
    });
    if (fails(needed)) return { report, failure: failure('wanted') };
    return { report, failure: other.length > 0 && fails(other) ? failure('another') : undefined };
  };
}

function shrunkScript(
  needed: readonly number[],
  other?: readonly number[],
  runsMax = 1000,
): readonly number[] {
  const run = system(needed, other);
  const { failure } = run({ seed: 1 });
  if (failure === undefined) throw new Error('the whole script fails');
  const shrunk = shrink(run, { seed: 1 }, failure, runsMax);
  const again = run({ seed: 1, omit: new Set(shrunk.omit) });
  expect(again.failure, 'what is told to be left out shows the same failure').toEqual(shrunk.failure);
  return shrunk.failure.script.map((step) => step.number);
}

describe('shrink()', () => {
  it('finds a single cause, and several that are far apart', () => {
    expect(shrunkScript([17])).toEqual([17]);
    expect(shrunkScript([0, 20, 39])).toEqual([0, 20, 39]);
  });

  it('ends with nothing when no fault is needed', () => {
    expect(shrunkScript([])).toEqual([]);
  });

  it('does not slip into another failure', () => {
    expect(shrunkScript([3, 30], [5])).toEqual([3, 30]);
  });

  it('stops at its limit with what it has', () => {
    const run = system([3, 30]);
    const { failure } = run({ seed: 1 });
    if (failure === undefined) throw new Error('the whole script fails');
    const shrunk = shrink(run, { seed: 1 }, failure, 3);
    expect(shrunk.runs).toBe(3);
    expect(shrunk.failure.script.length).toBeGreaterThan(2);
  });
});
