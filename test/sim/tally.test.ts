/** Totals of many runs. */
import { describe, expect, it } from 'vitest';
import type { RunResult } from '../../src/sim/report.ts';
import { NO_TOTALS, add, totalsOf } from '../../src/sim/tally.ts';

function result(seed: number, invariant?: string): RunResult {
  const report = {
    profile: 'core',
    seed,
    simulatedMs: 1000,
    events: 10,
    hash: 'x',
    operations: { ok: 3, failed: 2, unknown: 1 },
    faults: { crash: seed },
    probes: ['a', ...(seed > 1 ? ['b'] : [])],
    isVacuous: seed === 2,
  } as const;
  const failure =
    invariant === undefined ? undefined : { invariant, message: '', atMs: 0, event: 0, script: [] };
  return { report, failure };
}

describe('add()', () => {
  it('is the same in any order and grouping', () => {
    const [a, b, c] = [
      totalsOf(result(1), false),
      totalsOf(result(2, 'I1'), true),
      totalsOf(result(3, 'I2'), false),
    ];
    const sum = add(add(add(NO_TOTALS, a), b), c);
    expect(add(c, add(b, a))).toEqual({ ...sum, faults: sum.faults, probes: sum.probes });
    expect(sum).toMatchObject({
      seeds: 3,
      simulatedMs: 3000,
      events: 30,
      ok: 9,
      failed: 6,
      unknown: 3,
      vacuous: 1,
      doubled: 1,
    });
    expect(sum.faults.get('crash')).toBe(6);
    expect([...sum.probes]).toEqual([
      ['a', 3],
      ['b', 2],
    ]);
    expect(sum.failures.map(({ seed }) => seed)).toEqual([2, 3]);
  });

  it('keeps a bounded number of failures', () => {
    let sum = NO_TOTALS;
    for (let seed = 1; seed <= 300; seed++) sum = add(sum, totalsOf(result(seed, 'I1'), false));
    expect(sum.seeds).toBe(300);
    expect(sum.failures.length).toBe(100);
  });
});
