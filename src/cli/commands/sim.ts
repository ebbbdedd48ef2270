/** `oxide-kv sim`: runs clusters in virtual time under every fault there is, and judges what they do. */
import { availableParallelism } from 'node:os';
import { OxideError, messageOf } from '../../lib/errors.ts';
import { BREAKABLE } from '../../lessons/breaker.ts';
import { DOUBLED_EVERY, type Batch, shrinkFailure, simulate } from '../../lessons/simulate.ts';
import { openPool } from '../../cluster/campaign-pool.ts';
import { PROFILES, type ProfileName, type RunOptions } from '../../sim/report.ts';
import { type SeedRange, SEEDS_MAX, countSeeds, inBatches, parseSeeds } from '../../sim/seeds.ts';
import { NO_TOTALS, type SeedFailure, type Totals, add } from '../../sim/tally.ts';
import type { Args } from '../args.ts';
import { appendResult } from '../campaign-results.ts';
import type { Command, Context } from '../command.ts';
import { EXIT, UsageError } from '../failure.ts';
import { nearest } from '../nearest.ts';
import { describeFailure, describeTotals, jsonTotals, progressLine } from '../campaign-text.ts';

/** Runs that shrinking one failure may take. */
const SHRINK_RUNS_MAX = 300;
/** Seconds that a job should take, so that progress shows and Ctrl-C is heard. */
const BATCH = { core: 50, full: 5, membership: 5, disk: 5, lease: 5 } as const;

/** A campaign as it was asked for. */
interface Campaign {
  readonly profile: ProfileName;
  readonly seeds: readonly SeedRange[];
  readonly broken: string | undefined;
  readonly omit: ReadonlySet<number>;
  readonly jobs: number;
  readonly doubledEvery: number;
}

/** Exit code 0: everything held. 1: something was found. */
export const command: Command = {
  name: 'sim',
  positionals: [],
  description: [
    'Runs whole clusters in virtual time, one for each seed, under crashes, power cuts, partitions, lost and repeated messages, slow and failing disks, pauses and clocks that drift, and checks after every event that nothing happened which must not. A seed repeats its run exactly, on any machine.',
    'Profiles: core (the Raft core alone, fastest), full (whole nodes), membership, disk, lease. What is found is shown with its seed and the shortest script that still shows it.',
  ],
  options: [
    { name: 'seeds', value: 'LIST', help: 'Seeds to run, as 1..1000 or 7,9 (default 1..1000)' },
    { name: 'seed', value: 'N', help: 'Run this seed only' },
    { name: 'profile', value: 'NAME', help: `One of ${PROFILES.join(', ')} (default core)` },
    { name: 'jobs', value: 'N', help: 'Threads (default: one for each processor)' },
    {
      name: 'broken',
      value: 'NAME',
      help: 'Break this rule of Raft or duty of a node; "list" shows the names',
    },
    { name: 'omit', value: 'LIST', help: 'Leave these disturbances of the seed out' },
    { name: 'trace', help: 'With --seed: print everything that happens' },
    {
      name: 'double',
      value: 'N',
      help: `Run every Nth seed twice and compare (default ${DOUBLED_EVERY}, 0 never)`,
    },
    { name: 'results', value: 'FILE', help: 'Append the totals to this file as one line of JSON' },
    { name: 'json', help: 'Print one JSON object at the end' },
  ],
  examples: [
    { line: 'oxide-kv sim --seeds 1..4000', why: 'A minute of the Raft core' },
    { line: 'oxide-kv sim --profile full --seeds 1..200', why: 'Whole nodes, disks and clients' },
    { line: 'oxide-kv sim --broken forgets-its-vote', why: 'Break a rule and see it found' },
    { line: 'oxide-kv sim --seed 7 --trace', why: 'Everything that happens in one run' },
  ],
  async run(args, context) {
    if (args.text('broken') === 'list') {
      for (const { name, what } of BREAKABLE) context.out.line(`${name.padEnd(32)} ${what}`);
      return EXIT.ok;
    }
    const campaign = readCampaign(args);
    const [only] = campaign.seeds;
    const isOne = only !== undefined && countSeeds(campaign.seeds) === 1;
    if (args.has('trace') && !isOne) throw new UsageError('Option --trace needs --seed N');
    if (campaign.omit.size > 0 && !isOne) throw new UsageError('Option --omit needs --seed N');
    return isOne ? runOne(campaign, only.from, args, context) : runMany(campaign, args, context);
  },
};

function readCampaign(args: Args): Campaign {
  const profile = PROFILES.find((name) => name === (args.text('profile') ?? 'core'));
  if (profile === undefined)
    throw new UsageError(`There is no profile "${args.text('profile')}"`, `Profiles: ${PROFILES.join(', ')}`);
  const broken = args.text('broken');
  if (broken !== undefined && !BREAKABLE.some(({ name }) => name === broken)) {
    const near = nearest(
      broken,
      BREAKABLE.map(({ name }) => name),
    );
    const hint = near === undefined ? 'See: oxide-kv sim --broken list' : `Did you mean ${near}?`;
    throw new UsageError(`There is no broken rule "${broken}"`, hint);
  }
  const text = args.text('seed') ?? args.text('seeds') ?? '1..1000';
  const seeds = parseSeeds(text);
  if (seeds === undefined)
    throw new UsageError(
      `"${text}" is no list of at most ${SEEDS_MAX} seeds`,
      'Write 7, 1..1000 or 1,5,20..30',
    );
  const omit = new Set(args.list('omit').map(Number));
  if ([...omit].some((number) => !Number.isSafeInteger(number) || number < 0))
    throw new UsageError(`"${args.text('omit')}" is no list of numbers`);
  return {
    profile,
    seeds,
    broken,
    omit,
    jobs: args.integer('jobs', { min: 1, max: 256 }, availableParallelism()),
    doubledEvery: args.integer('double', { min: 0, max: 1_000_000 }, DOUBLED_EVERY),
  };
}

function runOne(campaign: Campaign, seed: number, args: Args, context: Context): number {
  const { profile, broken, omit } = campaign;
  const { out } = context;
  const trace = (line: string): void => out.line(line);
  const options: RunOptions = {
    seed,
    ...(broken === undefined ? {} : { broken }),
    ...(omit.size === 0 ? {} : { omit }),
  };
  const startedMs = performance.now();
  const { report, failure } = simulate(profile, args.has('trace') ? { ...options, trace } : options);
  const seconds = (performance.now() - startedMs) / 1000;
  if (args.has('json')) out.json({ report, failure: failure ?? null });
  else {
    const { ok, failed, unknown } = report.operations;
    const speed = Math.round(report.simulatedMs / 1000 / seconds);
    out.line(
      `seed ${seed}, ${profile}: ${(report.simulatedMs / 1000).toFixed(1)} s in ${seconds.toFixed(2)} s (${speed} ×), ${report.events} events, ${ok} operations ok, ${failed} failed, ${unknown} unknown, hash ${report.hash}`,
    );
    if (failure !== undefined)
      for (const line of describeFailure({ seed, failure }, undefined, campaign)) out.line(line);
  }
  return failure === undefined ? EXIT.ok : EXIT.failed;
}

async function runMany(campaign: Campaign, args: Args, context: Context): Promise<number> {
  const { out, err } = context;
  const startedMs = performance.now();
  const { totals, isStopped } = await runBatches(campaign, context, (progress) => {
    if (err.isTty && !args.has('json'))
      err.write(progressLine(progress, countSeeds(campaign.seeds), performance.now() - startedMs));
  });
  if (err.isTty && !args.has('json')) err.write('\r\x1b[K');
  const seconds = (performance.now() - startedMs) / 1000;
  const settings = {
    profile: campaign.profile,
    seeds: args.text('seeds') ?? '1..1000',
    jobs: campaign.jobs,
    broken: campaign.broken ?? null,
  };
  const file = args.text('results');
  if (file !== undefined) appendResult(file, { kind: 'sim', ...settings, seconds, ...jsonTotals(totals) });
  if (args.has('json')) out.json({ ...settings, seconds, ...jsonTotals(totals) });
  else {
    for (const line of describeTotals(campaign.profile, totals, seconds, campaign.jobs)) out.line(line);
    const [first] = totals.failures;
    if (first !== undefined) tellFailure(campaign, first, context);
    if (isStopped) err.line('Stopped before all seeds were run');
  }
  if (isStopped) return EXIT.interrupted;
  return totals.failures.length === 0 ? EXIT.ok : EXIT.failed;
}

/** Keeps every thread busy. A run that is broken on purpose ends with the first catch. */
async function runBatches(
  campaign: Campaign,
  context: Context,
  onProgress: (totals: Totals) => void,
): Promise<{ readonly totals: Totals; readonly isStopped: boolean }> {
  const { profile, broken, doubledEvery } = campaign;
  const pool = openPool<Batch, Totals>('seeds', campaign.jobs);
  const signal = context.watchSignals();
  const batches = inBatches(campaign.seeds, BATCH[profile]);
  const state = { totals: NO_TOTALS, isStopped: false };
  void signal.stopped.then(() => {
    state.isStopped = true;
    return pool.close();
  });
  const isDone = (): boolean => state.isStopped || (broken !== undefined && state.totals.failures.length > 0);
  const work = async (): Promise<void> => {
    for (const seeds of batches) {
      if (isDone()) return;
      const batch: Batch = { profile, seeds, broken, doubledEvery, stopsAtFailure: broken !== undefined };
      // oxlint-disable-next-line no-await-in-loop -- one batch after the other on each thread
      const done = await pool.run(batch);
      // Only now: other threads have added theirs meanwhile.
      state.totals = add(state.totals, done);
      onProgress(state.totals);
    }
  };
  try {
    await Promise.all(Array.from({ length: campaign.jobs }, work));
  } catch (error) {
    if (!state.isStopped) throw new OxideError('unavailable', messageOf(error), { cause: error });
  } finally {
    signal.release();
    await pool.close();
  }
  return state;
}

function tellFailure(campaign: Campaign, first: SeedFailure, context: Context): void {
  const { profile, broken } = campaign;
  const options: RunOptions = { seed: first.seed, ...(broken === undefined ? {} : { broken }) };
  const shrunk = shrinkFailure(profile, options, first.failure, SHRINK_RUNS_MAX);
  for (const line of describeFailure(first, shrunk, campaign)) context.out.line(line);
}
