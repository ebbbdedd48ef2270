/** Compiles the driver where it finds the packages, once a process. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUT = `${ROOT}node_modules/.cache/oxide-kv-tui-driver`;

/** @returns the path of the compiled driver, to be run by node */
export function compileDriver(): string {
  const tsc = `${ROOT}node_modules/typescript/bin/tsc`;
  execFileSync(process.execPath, [tsc, '-p', `${ROOT}test/tui/driver.tsconfig.json`, '--outDir', OUT], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  return `${OUT}/test/tui/driver.js`;
}
