/** `npm run load`: see the help text. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { machine, print, progress, readArguments } from '../live/report.ts';
import { loadEngine } from './load-engine.ts';

const DESCRIPTION = `Loads keys of 16 bytes with values of 100 through an engine alone, tells how fast it went and how much memory the
process had, and opens the directory again. Exit code 1 when the process had more than its bound.`;

const args = readArguments('load', DESCRIPTION, {
  keys: { help: 'how many', value: '1000000' },
  'value-bytes': { help: 'bytes of a value', value: '100' },
  engine: { help: 'lsm or memory', value: 'lsm' },
  data: { help: 'where the files go', value: tmpdir() },
});
const settings = {
  keys: args.number('keys'),
  valueBytes: args.number('value-bytes'),
  engine: args.text('engine') === 'memory' ? ('memory' as const) : ('lsm' as const),
};
const directory = mkdtempSync(join(args.text('data'), 'oxide-kv-load-'));
try {
  const result = loadEngine({ ...settings, directory }, progress);
  print({ machine: machine(), settings, ...result }, args.json);
  process.exitCode = result.residentMiBMax <= result.boundMiB ? 0 : 1;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
