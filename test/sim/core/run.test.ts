/** The simulator of the Raft core: it repeats itself, raises no false alarm, reaches rare paths, and finds every broken rule. */
import { describe, expect, it } from 'vitest';
import { BROKEN_RULES } from '../../../src/lessons/broken-rules.ts';
import { DUTIES } from '../../../src/node/duties.ts';
import { RULES } from '../../../src/raft/rules.ts';
import { runCore } from '../../../src/sim/core/run.ts';
import type { Soundness } from '../../../src/sim/host.ts';
import type { RunResult } from '../../../src/sim/report.ts';

function breaker(name: string | undefined): Soundness {
  const rules = BROKEN_RULES.find((twin) => twin.name === name)?.rules ?? RULES;
  return { rules, duties: DUTIES };
}

function run(seed: number, omit: readonly number[] = []): RunResult {
  return runCore({ seed, omit: new Set(omit) }, breaker);
}

describe('runCore()', () => {
  it('gives the same hash for the same seed, and another for another', () => {
    const hashes = Array.from({ length: 10 }, (_, i) => run(i + 1).report.hash);
    expect(Array.from({ length: 10 }, (_, i) => run(i + 1).report.hash)).toEqual(hashes);
    expect(new Set(hashes).size).toBe(10);
  });

  it('finds nothing in the sound core, fixed seeds and fresh ones', () => {
    const fresh = 1_000_000 + (Math.floor(Date.now() / 1000) % 1_000_000_000);
    const seeds = [
      ...Array.from({ length: 20 }, (_, i) => i + 1),
      ...Array.from({ length: 5 }, (_, i) => fresh + i),
    ];
    for (const seed of seeds) {
      const { failure, report } = run(seed);
      expect(failure, `seed ${seed}`).toBeUndefined();
      expect(report.isVacuous, `seed ${seed}`).toBe(false);
      expect(report.simulatedMs, `seed ${seed}`).toBeGreaterThan(28_000);
    }
  });
});
