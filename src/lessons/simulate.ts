/** Runs seeds of a profile: one, a batch of them added up, and a failing one made shorter. */
import { runCore } from '../sim/core/run.ts';
import type { ProfileName, RunFailure, RunOptions, RunResult } from '../sim/report.ts';
import type { SeedRange } from '../sim/seeds.ts';
import { type Shrunk, shrink } from '../sim/shrink.ts';
import { runNodes } from '../sim/simulation.ts';
import { NO_TOTALS, type Totals, add, totalsOf } from '../sim/tally.ts';
import { breaker } from './breaker.ts';

/** One of this many seeds is run twice, and both runs must be the same to the last event. */
export const DOUBLED_EVERY = 20;

/** A batch of seeds as it goes to a thread. */
export interface Batch {
  readonly profile: ProfileName;
  readonly seeds: SeedRange;
  readonly broken: string | undefined;
  readonly doubledEvery: number;
  /** Ends with the first failure. */
  readonly stopsAtFailure: boolean;
}

/** Runs one seed. Throws only for a name in `broken` that is not there. */
export function simulate(profile: ProfileName, options: RunOptions): RunResult {
  return profile === 'core' ? runCore(options, breaker) : runNodes(profile)(options, breaker);
}

/** Runs a batch, some of its seeds twice. */
export function runBatch(batch: Batch): Totals {
  const { profile, seeds, broken, doubledEvery, stopsAtFailure } = batch;
  let totals = NO_TOTALS;
  for (let seed = seeds.from; seed <= seeds.to; seed++) {
    const options: RunOptions = broken === undefined ? { seed } : { seed, broken };
    const first = simulate(profile, options);
    const isDoubled = doubledEvery > 0 && seed % doubledEvery === 0;
    const result = isDoubled ? compare(first, simulate(profile, options)) : first;
    totals = add(totals, totalsOf(result, isDoubled));
    if (stopsAtFailure && result.failure !== undefined) break;
  }
  return totals;
}

/** Makes a failing run shorter. */
export function shrinkFailure(
  profile: ProfileName,
  options: RunOptions,
  failure: RunFailure,
  runsMax: number,
): Shrunk {
  return shrink((shorter) => simulate(profile, shorter), options, failure, runsMax);
}

/** @returns the first run, failed if the second was another one */
function compare(first: RunResult, second: RunResult): RunResult {
  if (first.failure !== undefined || first.report.hash === second.report.hash) return first;
  const message = `one run ended with ${first.report.hash} after ${first.report.events} events, the other with ${second.report.hash} after ${second.report.events}`;
  const { simulatedMs, events } = first.report;
  const failure = { invariant: 'determinism', message, atMs: simulatedMs, event: events, script: [] };
  return { report: first.report, failure };
}
