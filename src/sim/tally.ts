/** What many runs did, added up. Plain data goes in and out, so that tallies of several threads add up too. */
import type { RunFailure, RunResult } from './report.ts';

/** A tally as plain data. */
export interface Totals {
  readonly seeds: number;
  readonly simulatedMs: number;
  readonly events: number;
  readonly ok: number;
  readonly failed: number;
  readonly unknown: number;
  /** Seeds that proved nothing. */
  readonly vacuous: number;
  /** Seeds that were run twice and compared. */
  readonly doubled: number;
  /** How often each kind of fault happened. */
  readonly faults: ReadonlyMap<string, number>;
  /** How many seeds reached each rare path. */
  readonly probes: ReadonlyMap<string, number>;
  readonly failures: readonly SeedFailure[];
}

export interface SeedFailure {
  readonly seed: number;
  readonly failure: RunFailure;
}

/** Failures kept; further ones are only a matter of counting. */
const FAILURES_MAX = 100;

/** Of no runs at all: where adding begins. */
export const NO_TOTALS: Totals = {
  seeds: 0,
  simulatedMs: 0,
  events: 0,
  ok: 0,
  failed: 0,
  unknown: 0,
  vacuous: 0,
  doubled: 0,
  faults: new Map(),
  probes: new Map(),
  failures: [],
};

/** One run as a tally. */
export function totalsOf(result: RunResult, wasDoubled: boolean): Totals {
  const { report, failure } = result;
  return {
    seeds: 1,
    simulatedMs: report.simulatedMs,
    events: report.events,
    ok: report.operations.ok,
    failed: report.operations.failed,
    unknown: report.operations.unknown,
    vacuous: report.isVacuous ? 1 : 0,
    doubled: wasDoubled ? 1 : 0,
    faults: new Map(Object.entries(report.faults)),
    probes: new Map(report.probes.map((name) => [name, 1])),
    failures: failure === undefined ? [] : [{ seed: report.seed, failure }],
  };
}

/** Two tallies as one. */
export function add(a: Totals, b: Totals): Totals {
  return {
    seeds: a.seeds + b.seeds,
    simulatedMs: a.simulatedMs + b.simulatedMs,
    events: a.events + b.events,
    ok: a.ok + b.ok,
    failed: a.failed + b.failed,
    unknown: a.unknown + b.unknown,
    vacuous: a.vacuous + b.vacuous,
    doubled: a.doubled + b.doubled,
    faults: addCounts(a.faults, b.faults),
    probes: addCounts(a.probes, b.probes),
    failures: [...a.failures, ...b.failures].toSorted((x, y) => x.seed - y.seed).slice(0, FAILURES_MAX),
  };
}

function addCounts(
  a: ReadonlyMap<string, number>,
  b: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const sum = new Map(a);
  for (const [name, count] of b) sum.set(name, (sum.get(name) ?? 0) + count);
  return sum;
}
