/** Builds dist/ before the tests, so that tests that start worker threads never see stale code. */
import { execFileSync } from 'node:child_process';

export default function setup(): void {
  if (process.env['OXIDE_KV_SKIP_BUILD'] === '1') return;
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc'], { stdio: 'inherit' });
}
