/**
 * `npm run sim:nodes [version…]`: runs 500 seeds twice on this Node.js and on others, 24 unless told, and compares the hashes
 * over all that happened. A run that depends on the machine is no replay.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { simulate } from '../../src/lessons/simulate.ts';
import type { ProfileName } from '../../src/sim/report.ts';
import { nodeOf } from '../support/node-binary.ts';

const SEEDS: readonly { readonly profile: ProfileName; readonly count: number }[] = [
  { profile: 'core', count: 400 },
  { profile: 'full', count: 100 },
];
const OUTPUT_BYTES_MAX = 10_000_000;

/** One line a seed: what it is, and the hashes of two runs. */
function printHashes(): void {
  for (const { profile, count } of SEEDS)
    for (let seed = 1; seed <= count; seed++) {
      const [first, second] = [simulate(profile, { seed }), simulate(profile, { seed })];
      process.stdout.write(`${profile} ${seed} ${first.report.hash} ${second.report.hash}\n`);
    }
}

async function hashesOf(binary: string): Promise<ReadonlyMap<string, string>> {
  const file = fileURLToPath(import.meta.url);
  const { stdout } = await promisify(execFile)(binary, [file, '--hashes'], { maxBuffer: OUTPUT_BYTES_MAX });
  const hashes = new Map<string, string>();
  for (const line of stdout.trimEnd().split('\n')) {
    const [profile, seed, first = '', second] = line.split(' ');
    hashes.set(`${profile} ${seed}`, first === second ? first : `${first} and ${second}`);
  }
  return hashes;
}

async function compare(versions: readonly string[]): Promise<boolean> {
  const binaries = [process.execPath, ...versions.map(nodeOf)];
  const names = await Promise.all(
    binaries.map(async (binary) => (await promisify(execFile)(binary, ['--version'])).stdout.trim()),
  );
  const all = await Promise.all(binaries.map(hashesOf));
  const [own = new Map<string, string>(), ...others] = all;
  const wanted = SEEDS.flatMap(({ profile, count }) =>
    Array.from({ length: count }, (_, i) => `${profile} ${i + 1}`),
  );
  const different = wanted.filter((name) => {
    const hash = own.get(name);
    return hash === undefined || hash.includes(' ') || others.some((other) => other.get(name) !== hash);
  });
  for (const name of different.slice(0, 20))
    process.stdout.write(`${name}: ${all.map((hashes) => hashes.get(name) ?? 'no run').join(', ')}\n`);
  const parts = SEEDS.map(({ profile, count }) => `${profile} ${count}`).join(', ');
  process.stdout.write(
    `${wanted.length - different.length} of ${wanted.length} seeds, each run twice, equal on ${names.join(' and ')} (${parts})\n`,
  );
  return different.length === 0;
}

const words = process.argv.slice(2);
if (words.includes('--hashes')) printHashes();
else if (!(await compare(words.length > 0 ? words : ['24']))) process.exitCode = 1;
