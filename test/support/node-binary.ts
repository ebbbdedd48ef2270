/** Gets other versions of Node.js: the binaries come from npm, as the `node` package gets them, into node_modules/.cache. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const INSTALL_TIMEOUT_MS = 300_000;

/** The binary of a version for this platform, installed if it is not there yet. @param version as `24` or `24.1.0` */
export function nodeOf(version: string): string {
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
