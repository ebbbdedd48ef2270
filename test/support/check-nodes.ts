/**
 * `npm run check:nodes [version…] [-- vitest arguments]`: runs the tests on other versions of Node.js, 22 and 24 unless
 * told. Downloads the binaries and nothing else (node-binary.ts).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { nodeOf } from './node-binary.ts';

const VERSIONS: readonly string[] = ['22', '24'];
const VITEST = join('node_modules', 'vitest', 'vitest.mjs');

function main(words: readonly string[]): void {
  const version = /^\d+(?:\.\d+){0,2}$/;
  const given = words.filter((word) => version.test(word));
  const rest = words.filter((word) => !version.test(word));
  const results: string[] = [];
  for (const wanted of given.length > 0 ? given : VERSIONS) {
    const binary = nodeOf(wanted);
    const exact = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
    process.stdout.write(`\nNode.js ${exact}\n`);
    const { status, signal } = spawnSync(binary, [VITEST, 'run', ...rest], { stdio: 'inherit' });
    results.push(`Node.js ${exact}: ${status === 0 ? 'passed' : `failed (${signal ?? status})`}`);
    if (status !== 0) process.exitCode = 1;
  }
  process.stdout.write(`\n${results.join('\n')}\n`);
}

main(process.argv.slice(2));
