/**
 * Makes a failing run shorter: leaves disturbances out as long as the same invariant is still violated (ddmin, Zeller and
 * Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002). Every disturbance draws from a stream of its own,
 * so leaving one out does not turn the run into another one.
 */
import type { RunFailure, RunOptions, RunResult } from './report.ts';

/** The shortest failing run that was found. */
export interface Shrunk {
  /** Disturbances to leave out, sorted. */
  readonly omit: readonly number[];
  readonly failure: RunFailure;
  /** Runs that it took. */
  readonly runs: number;
}

/**
 * Shrinks.
 *
 * @param run runs a seed
 * @param failing the failing run
 * @param runsMax stops with what was found until then
 */
export function shrink(
  run: (options: RunOptions) => RunResult,
  options: RunOptions,
  failing: RunFailure,
  runsMax: number,
): Shrunk {
  let best = failing;
  let runs = 0;
  const all = failing.script.map((disturbance) => disturbance.number);
  let kept: readonly number[] = all;
  const tryWith = (numbers: readonly number[]): boolean => {
    if (runs >= runsMax) return false;
    runs += 1;
    const left = new Set(numbers);
    const omit = new Set([...(options.omit ?? []), ...all.filter((number) => !left.has(number))]);
    const { failure } = run({ ...options, omit });
    if (failure?.invariant !== failing.invariant) return false;
    best = failure;
    kept = numbers;
    return true;
  };
  let pieces = 2;
  const mayGoOn = (): boolean => kept.length > 0 && runs < runsMax;
  while (mayGoOn()) {
    const size = Math.ceil(kept.length / pieces);
    const before = kept;
    let isShorter = false;
    for (let start = 0; start < before.length && !isShorter; start += size)
      isShorter = tryWith([...before.slice(0, start), ...before.slice(start + size)]);
    if (isShorter) pieces = Math.max(2, pieces - 1);
    else if (size === 1) break;
    else pieces = Math.min(before.length, pieces * 2);
  }
  const keptSet = new Set(kept);
  const omit = [...(options.omit ?? []), ...all.filter((number) => !keptSet.has(number))];
  return { omit: omit.toSorted((a, b) => a - b), failure: best, runs };
}
