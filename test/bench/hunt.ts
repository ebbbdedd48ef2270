/**
 * Hunts broken rules: breaks a rule of Raft or a duty of a node and runs simulated seeds until the checker notices. A harness
 * that misses one proves nothing by finding nothing.
 */
import { cpus } from 'node:os';
import { BROKEN_DUTIES } from '../../src/lessons/broken-duties.ts';
import { shrinkFailure, simulate } from '../../src/lessons/simulate.ts';
import type { ProfileName } from '../../src/sim/report.ts';

/** What it took to catch one. */
export interface Catch {
  readonly name: string;
  readonly profile: ProfileName;
  readonly invariant: string;
  readonly seeds: number;
  readonly cpuSeconds: number;
  /** The shortest script that was found, without its times. */
  readonly script: readonly string[];
}

/** A duty is of the whole node; a rule is of the core, unless it takes more to see it. */
const RULE_PROFILES: readonly ProfileName[] = ['core', 'membership', 'lease', 'full'];
const DUTY_PROFILES: readonly ProfileName[] = ['full', 'disk'];
const SHRINK_RUNS_MAX = 100;

/** Runs seeds from 1 up, with `budgetSeconds` of processor time for each profile. @returns undefined when it gets away */
export function hunt(name: string, budgetSeconds: number): Catch | undefined {
  const isDuty = BROKEN_DUTIES.some((duty) => duty.name === name);
  let seeds = 0;
  const start = process.cpuUsage();
  for (const profile of isDuty ? DUTY_PROFILES : RULE_PROFILES) {
    const profileStart = process.cpuUsage();
    for (let seed = 1; cpuSecondsSince(profileStart) < budgetSeconds; seed++) {
      seeds += 1;
      const { failure } = simulate(profile, { seed, broken: name });
      if (failure === undefined) continue;
      const cpuSeconds = cpuSecondsSince(start);
      const shrunk = shrinkFailure(profile, { seed, broken: name }, failure, SHRINK_RUNS_MAX);
      const script = shrunk.failure.script.map((step) => step.text);
      return { name, profile, invariant: failure.invariant, seeds, cpuSeconds, script };
    }
  }
  return undefined;
}

function cpuSecondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1_000_000;
}

/** The table, and whether everything was caught. */
export function runHunts(
  names: readonly string[],
  budgetSeconds: number,
  print: (line: string) => void,
): boolean {
  const machine = `${cpus()[0]?.model ?? 'unknown'}, node ${process.version}`;
  print(`One thread of ${machine}; at most ${budgetSeconds} CPU-seconds a profile`);
  print(
    `${'broken'.padEnd(30)} ${'profile'.padEnd(10)} ${'seeds'.padStart(6)} ${'CPU-s'.padStart(8)}  caught by; shortest script found`,
  );
  const times: number[] = [];
  for (const name of names) {
    const found = hunt(name, budgetSeconds);
    if (found === undefined) {
      print(`${name.padEnd(30)} NOT CAUGHT`);
      continue;
    }
    times.push(found.cpuSeconds);
    const { profile, seeds, cpuSeconds, invariant, script } = found;
    const cells = [
      name.padEnd(30),
      profile.padEnd(10),
      String(seeds).padStart(6),
      cpuSeconds.toFixed(2).padStart(8),
    ];
    print(`${cells.join(' ')}  ${invariant}; ${script.join(', ') || 'no fault needed'}`);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  print(
    `${times.length} of ${names.length} caught; median ${median.toFixed(2)} CPU-seconds, worst ${(sorted.at(-1) ?? 0).toFixed(2)}`,
  );
  return times.length === names.length;
}
