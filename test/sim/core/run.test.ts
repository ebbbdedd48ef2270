/** The simulator of the Raft core: it repeats itself, raises no false alarm, reaches rare paths, and finds broken rules. */
import { describe, expect, it } from 'vitest';
import { breaker } from '../../../src/lessons/breaker.ts';
import { type CorePlan, planCore } from '../../../src/sim/core/plan.ts';
import { CORE_PROBES } from '../../../src/sim/core/probes.ts';
import { runCore, runPlan } from '../../../src/sim/core/run.ts';
import type { RunResult } from '../../../src/sim/report.ts';

const FIXED_SEEDS = 50;
const FRESH_SEEDS = 10;
/** Of these about one in six has witnesses. */
const WITNESS_SEEDS = 1500;
/** Some seconds of one core; a busy machine takes longer. */
const TIMEOUT_MS = 180_000;

function run(seed: number, omit: readonly number[] = []): RunResult {
  return runCore({ seed, omit: new Set(omit) }, breaker);
}

describe('runCore()', () => {
  it(
    `repeats itself, and finds nothing in the sound core: seeds 1 to ${FIXED_SEEDS}`,
    () => {
      const hashes = new Set<string>();
      const probes = new Set<string>();
      for (let seed = 1; seed <= FIXED_SEEDS; seed++) {
        const { report, failure } = run(seed);
        expect(failure, `seed ${seed}`).toBeUndefined();
        expect(report.isVacuous, `seed ${seed}`).toBe(false);
        expect(report.simulatedMs, `seed ${seed}`).toBeGreaterThan(28_000);
        expect(run(seed).report, `seed ${seed}`).toEqual(report);
        hashes.add(report.hash);
        for (const probe of report.probes) probes.add(probe);
      }
      expect(hashes.size).toBe(FIXED_SEEDS);
      expect(CORE_PROBES.length).toBeGreaterThan(60);
      expect(probes.size).toBeGreaterThan(0.9 * CORE_PROBES.length);
      expect([...probes].filter((probe) => CORE_PROBES.every((known) => known !== probe))).toEqual([]);
    },
    TIMEOUT_MS,
  );

  const fresh = 1_000_000 + (Math.floor(Date.now() / 1000) % 1_000_000_000);
  it(
    `finds nothing in the sound core: fresh seeds ${fresh} to ${fresh + FRESH_SEEDS - 1}`,
    () => {
      for (let seed = fresh; seed < fresh + FRESH_SEEDS; seed++)
        expect(run(seed).failure, `seed ${seed}`).toBeUndefined();
    },
    TIMEOUT_MS,
  );

  it.each([
    ['witness-stands', 'I31 data is kept'],
    ['tells-witnesses-first', 'I27 liveness'],
    ['witnesses-decide-alone', 'I27 liveness'],
  ])(
    'finds what is broken about witnesses: %s',
    (broken, invariant) => {
      const found: string[] = [];
      for (let seed = 1; seed <= WITNESS_SEEDS && found.length === 0; seed++) {
        if (planCore(seed).witnesses.length === 0) continue;
        const { failure } = runCore({ seed, broken }, breaker);
        if (failure !== undefined) found.push(failure.invariant);
      }
      expect(found).toEqual([invariant]);
    },
    TIMEOUT_MS,
  );

  it('leaves out the disturbances that it is told to, and no other', () => {
    const whole = runCore({ seed: 1, broken: 'forgets-its-vote' }, breaker);
    const { disturbances } = planCore(1);
    const numbers = disturbances.map(({ number }) => number);
    expect(numbers).toEqual(disturbances.map((_, i) => i + 1));
    const [first, second, third] = numbers;
    expect(first !== undefined && second !== undefined && third !== undefined).toBe(true);
    const { failure } = runCore(
      { seed: 1, broken: 'commits-one-short', omit: new Set([first ?? 0]) },
      breaker,
    );
    expect(failure?.script.map(({ number }) => number)).not.toContain(first);
    expect(whole.report.hash).not.toBe(run(1, [third ?? 0]).report.hash);
    const nothing = run(1, numbers);
    expect(nothing.report.faults).toEqual({});
    expect(nothing.failure).toBeUndefined();
  });

  it('tells what happens, line by line', () => {
    const lines: string[] = [];
    runCore({ seed: 3, broken: 'commits-one-short', trace: (line) => void lines.push(line) }, breaker);
    expect(lines.some((line) => line.includes('leader in term 1: won term 1'))).toBe(true);
    expect(lines.every((line) => /^ *\d+\.\d{3} {2}\S/.test(line))).toBe(true);
  });
});

describe('broken rules are found', () => {
  it.each([
    ['half-is-a-majority', 'I1 election safety'],
    ['promises-before-the-disk', 'I3 durable before reply'],
    ['commits-one-short', 'I9 committed is durable'],
    ['lets-match-go-back', 'I12 monotonic'],
    ['never-steps-down', 'I28 stable leadership'],
    ['forgets-its-leader', 'I28 stable leadership'],
    ['reads-before-its-no-op', 'I25 linearizable read'],
    ['joint-counts-the-union', 'I9 committed is durable'],
  ])(
    '%s: %s',
    (broken, invariant) => {
      for (let seed = 1; seed <= 60; seed++) {
        const { failure } = runCore({ seed, broken }, breaker);
        if (failure === undefined) continue;
        expect(failure.invariant, `seed ${seed}: ${failure.message}`).toBe(invariant);
        return;
      }
      expect.unreachable('no seed found it');
    },
    TIMEOUT_MS,
  );
});

/** Everybody has leases; clocks run up to 40 % fast or slow; nodes sleep and links break. */
function withLeases(seed: number, leaseDrift: number): CorePlan {
  const plan = planCore(seed);
  const sudden = plan.disturbances.filter(({ atMs }) => atMs > 0).slice(0, 60);
  return {
    ...plan,
    clockSpread: 0.4,
    raft: { ...plan.raft, leaseReads: true, quiesceAfterMs: 0, leaseDrift },
    disturbances: [
      { number: 1, atMs: 0, kind: 'uneven clocks' },
      ...sudden.map(({ atMs }, i) => ({
        number: i + 2,
        atMs,
        kind: i % 3 === 0 ? ('pause' as const) : ('partition' as const),
      })),
    ],
  };
}

function failureOf(seed: number, drift: number): string | undefined {
  return runPlan(withLeases(seed, drift), { seed }, breaker).failure?.invariant;
}

describe('lease reads', () => {
  it(
    'go wrong where clocks drift further than allowed, and never inside the bound',
    () => {
      const seeds = Array.from({ length: 60 }, (_, i) => i + 1);
      const unsafe = seeds.find((seed) => failureOf(seed, 0) === 'I25 linearizable read');
      expect(unsafe).toBeDefined();
      // The fastest clock is 1.4 / 0.6 times as fast as the slowest: a lease must be shorter by that.
      const safe = [...seeds.slice(0, 30), unsafe ?? 0];
      expect(safe.map((seed) => failureOf(seed, 1 - 0.6 / 1.4))).toEqual(safe.map(() => undefined));
    },
    TIMEOUT_MS,
  );
});
