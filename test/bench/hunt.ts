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

/** Where a rule or duty shows soonest, when that is not where its kind does: what it takes is drawn there most often. */
const OWN_PROFILES: ReadonlyMap<string, readonly ProfileName[]> = new Map([
  ['snapshot-without-sessions', ['full']],
  ['welcomes-the-wiped', ['full', 'disk']],
  ['repeats-retries', ['full']],
]);
/** A duty is of the whole node; a rule is of the core, unless it takes more to see it. */
const RULE_PROFILES: readonly ProfileName[] = ['core', 'membership', 'lease', 'full'];
const DUTY_PROFILES: readonly ProfileName[] = ['disk', 'full'];
/** Runs that shrinking one script may take. */
const SHRINK_RUNS_MAX: Readonly<Record<'core' | 'nodes', number>> = { core: 60, nodes: 12 };

/** The profiles in which one is hunted, one after the other. */
export function profilesOf(name: string): readonly ProfileName[] {
  const isDuty = BROKEN_DUTIES.some((duty) => duty.name === name);
  return OWN_PROFILES.get(name) ?? (isDuty ? DUTY_PROFILES : RULE_PROFILES);
}

/** Runs seeds from 1 up, with `budgetSeconds` of processor time for each profile. @returns undefined when it gets away */
export function hunt(name: string, budgetSeconds: number): Catch | undefined {
  let seeds = 0;
  const start = process.cpuUsage();
  for (const profile of profilesOf(name)) {
    const profileStart = process.cpuUsage();
    for (let seed = 1; cpuSecondsSince(profileStart) < budgetSeconds; seed++) {
      seeds += 1;
      const { failure } = simulate(profile, { seed, broken: name });
      if (failure === undefined) continue;
      const cpuSeconds = cpuSecondsSince(start);
      const runsMax = SHRINK_RUNS_MAX[profile === 'core' ? 'core' : 'nodes'];
      const shrunk = shrinkFailure(profile, { seed, broken: name }, failure, runsMax);
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

/** What came of a hunt for several. */
export interface HuntResult {
  readonly machine: string;
  readonly budgetSeconds: number;
  readonly caught: readonly Catch[];
  readonly missed: readonly string[];
  readonly medianCpuSeconds: number;
  readonly worstCpuSeconds: number;
}

/** Hunts one after the other, and prints a table as it goes. */
export function runHunts(
  names: readonly string[],
  budgetSeconds: number,
  print: (line: string) => void,
): HuntResult {
  const machine = `${cpus()[0]?.model ?? 'unknown'}, node ${process.version}`;
  print(`One thread of ${machine}; at most ${budgetSeconds} CPU-seconds a profile`);
  print(
    `${'broken'.padEnd(33)} ${'profile'.padEnd(10)} ${'seeds'.padStart(6)} ${'CPU-s'.padStart(8)}  ${'caught by'.padEnd(28)} shortest script found`,
  );
  const caught: Catch[] = [];
  for (const name of names) {
    const found = hunt(name, budgetSeconds);
    if (found === undefined) {
      print(`${name.padEnd(33)} NOT CAUGHT`);
      continue;
    }
    caught.push(found);
    print(rowOf(found));
  }
  const sorted = caught.map(({ cpuSeconds }) => cpuSeconds).toSorted((a, b) => a - b);
  const medianCpuSeconds = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const worstCpuSeconds = sorted.at(-1) ?? 0;
  print(
    `${caught.length} of ${names.length} caught; median ${medianCpuSeconds.toFixed(2)} CPU-seconds, worst ${worstCpuSeconds.toFixed(2)}`,
  );
  const missed = names.filter((name) => caught.every((found) => found.name !== name));
  return { machine, budgetSeconds, caught, missed, medianCpuSeconds, worstCpuSeconds };
}

function rowOf({ name, profile, seeds, cpuSeconds, invariant, script }: Catch): string {
  const cells = [
    name.padEnd(33),
    profile.padEnd(10),
    String(seeds).padStart(6),
    cpuSeconds.toFixed(2).padStart(8),
  ];
  return `${cells.join(' ')}  ${invariant.padEnd(28)} ${script.join(', ') || 'no fault needed'}`;
}
