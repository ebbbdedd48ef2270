/**
 * `npm run check:nodes [version…] [-- vitest arguments]`: runs the tests on other versions of Node.js, 22 and 24 unless
 * told. The binaries come from npm, as the `node` package gets them, into node_modules/.cache. Downloads nothing else.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const VERSIONS: readonly string[] = ['22', '24'];
const INSTALL_TIMEOUT_MS = 300_000;
const VITEST = join('node_modules', 'vitest', 'vitest.mjs');

/** The binary of a version for this platform, installed if it is not there yet. */
function nodeOf(version: string): string {
  const system = process.platform === 'win32' ? 'win' : process.platform;
  const name = `node-${system}-${process.arch}`;
  const prefix = join('node_modules', '.cache', 'nodes', version);
  const binary = join(prefix, 'node_modules', name, 'bin', system === 'win' ? 'node.exe' : 'node');
  if (!existsSync(binary)) {
    mkdirSync(prefix, { recursive: true });
    const options = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts'];
    execFileSync('npm', ['install', ...options, '--prefix', prefix, `${name}@${version}`], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: INSTALL_TIMEOUT_MS,
      shell: process.platform === 'win32',
    });
  }
  return binary;
}

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
