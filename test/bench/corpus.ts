/** `npm run sim:corpus`: keeps the seeds that every run of the tests replays (test/support/corpus.ts). */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BREAKABLE } from '../../src/lessons/breaker.ts';
import { simulate } from '../../src/lessons/simulate.ts';
import type { ProfileName } from '../../src/sim/report.ts';
import { parseSeeds } from '../../src/sim/seeds.ts';
import { type CorpusEntry, UNSEEN, corpusLine, parseCorpus } from '../support/corpus.ts';
import { profilesOf } from './hunt.ts';

const HELP = `Usage: npm run sim:corpus -- [options]

Keeps test/sim/corpus.jsonl, the seeds that the tests replay.

  --find              for everything that can be broken and is not caught (any more): the first seed that catches it
  --rare PROFILE      add the seeds of --seeds that reach the paths that fewest of them reach
  --seeds LIST        with --rare (default 1..400); with --add: the seeds to add
  --add PROFILE       add these seeds as they are
  --broken NAME       with --add: with this broken
  --showed TEXT       with --add: what they once showed
`;

const FILE = join('test', 'sim', 'corpus.jsonl');
const SEEDS_MAX = 1000;
/** Rare paths that are kept for a profile. */
const RARE_MAX = 8;

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const { values } = parseArgs({
  options: {
    find: { type: 'boolean', default: false },
    rare: { type: 'string' },
    add: { type: 'string' },
    seeds: { type: 'string' },
    broken: { type: 'string' },
    showed: { type: 'string', default: '' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

function read(): readonly CorpusEntry[] {
  return existsSync(FILE) ? parseCorpus(readFileSync(FILE, 'utf8')) : [];
}

function add(entry: CorpusEntry): void {
  const [valid] = parseCorpus(corpusLine(entry));
  if (valid === undefined) return;
  appendFileSync(FILE, `${corpusLine(valid)}\n`);
  print(corpusLine(valid));
}

/** The first seed of the profile where it shows soonest that catches it. @returns undefined when none does */
function catching(name: string): CorpusEntry | undefined {
  const [profile = 'core'] = profilesOf(name);
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const { failure } = simulate(profile, { seed, broken: name });
    if (failure !== undefined) return { profile, seed, broken: name, showed: failure.invariant };
  }
  return undefined;
}

/** Whether what is broken in it shows no more. */
function isStale({ profile, seed, broken }: CorpusEntry): boolean {
  return broken !== undefined && simulate(profile, { seed, broken }).failure === undefined;
}

/** Leaves entries that still catch, and finds another for every other name. */
function find(): void {
  const kept = read().filter((entry) => !isStale(entry));
  writeFileSync(FILE, kept.map((entry) => `${corpusLine(entry)}\n`).join(''));
  for (const { name } of BREAKABLE) {
    if (UNSEEN.has(name) || kept.some((entry) => entry.broken === name)) continue;
    const found = catching(name);
    if (found !== undefined) add(found);
    else {
      print(`${name}: nothing found`);
      process.exitCode = 1;
    }
  }
}

function seedsOf(text: string): readonly number[] {
  const ranges = parseSeeds(text) ?? [];
  return ranges.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
}

function rare(profile: ProfileName, seeds: readonly number[]): void {
  const reached = new Map<string, number[]>();
  for (const seed of seeds)
    for (const probe of simulate(profile, { seed }).report.probes)
      reached.set(probe, [...(reached.get(probe) ?? []), seed]);
  const rarest = [...reached].toSorted((a, b) => a[1].length - b[1].length).slice(0, RARE_MAX);
  const bySeed = new Map<number, string[]>();
  for (const [probe, [seed = 0]] of rarest) bySeed.set(seed, [...(bySeed.get(seed) ?? []), probe]);
  for (const [seed, probes] of bySeed) add({ profile, seed, showed: probes.join(', ') });
}

/** Names of profiles are checked when an entry is read back. */
function profileOf(name: string): ProfileName {
  const [entry] = parseCorpus(JSON.stringify({ profile: name, seed: 0, showed: '' }));
  return entry?.profile ?? 'core';
}

if (values.find) find();
else if (values.rare !== undefined) rare(profileOf(values.rare), seedsOf(values.seeds ?? '1..400'));
else if (values.add !== undefined) {
  const profile = profileOf(values.add);
  const broken = values.broken === undefined ? {} : { broken: values.broken };
  for (const seed of seedsOf(values.seeds ?? '')) add({ profile, seed, ...broken, showed: values.showed });
} else print(HELP);
