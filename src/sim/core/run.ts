/** Runs one seed of the Raft core on modelled disks, links and clocks, and says what came of it. */
import { AssertionError } from '../../lib/assert.ts';
import type { Breaker } from '../host.ts';
import type { RunFailure, RunOptions, RunReport, RunResult, RunSeed } from '../report.ts';
import { Clients } from './clients.ts';
import { Healing } from './healing.ts';
import { Nemesis } from './nemesis.ts';
import { type CorePlan, planCore } from './plan.ts';
import { Violation } from './violation.ts';
import { World } from './world.ts';

/** A run with fewer answers proves little. */
const OPERATIONS_MIN = 20;

/** Runs one seed of the profile `core`; see {@link RunSeed}. Some tens of milliseconds for half a minute of a cluster. */
export const runCore: RunSeed = (options: RunOptions, breaker: Breaker): RunResult =>
  runPlan(planCore(options.seed), options, breaker);

/** Runs a plan: that of a seed, or one with something changed on purpose. */
export function runPlan(plan: CorePlan, options: RunOptions, breaker: Breaker): RunResult {
  const world = new World(plan, breaker(options.broken).rules, options.trace);
  const nemesis = new Nemesis(world, options.omit);
  const failure = attempt(world, nemesis, () => {
    const clients = new Clients(world);
    while (world.next(plan.safetyMs));
    clients.close();
    nemesis.end();
    new Healing(world).run();
  });
  return { report: reportOf(world, nemesis), failure };
}

function attempt(world: World, nemesis: Nemesis, act: () => void): RunFailure | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    const { nowMs, events } = world.time;
    const where = { atMs: nowMs, event: events, script: nemesis.script };
    if (error instanceof Violation) return { invariant: error.invariant, message: error.message, ...where };
    const invariant = error instanceof AssertionError ? 'I30 assertion' : 'I30 exception';
    return { invariant, message: error instanceof Error ? error.message : String(error), ...where };
  }
}

function reportOf(world: World, nemesis: Nemesis): RunReport {
  const { ok, failed, unknown } = world.requests.counts;
  return {
    profile: 'core',
    seed: world.plan.seed,
    simulatedMs: world.time.nowMs,
    events: world.time.events,
    hash: world.time.hash,
    operations: { ok, failed, unknown },
    faults: Object.fromEntries(nemesis.faults),
    probes: [...world.observer.probes],
    isVacuous: ok < OPERATIONS_MIN,
  };
}
