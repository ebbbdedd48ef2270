/** `npm run load`: see the help text. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { machine, print, progress, readArguments } from '../live/report.ts';
import { loadCluster, timeRestarts } from './load-cluster.ts';
import { loadEngine } from './load-engine.ts';
import type { ResidentReport } from './resident.ts';

const DESCRIPTION = `Puts many keys of 16 bytes, and tells how fast it went and how much memory the process had.
  --what engine   through an engine alone, which is then opened again
  --what cluster  through three nodes on threads, which are then all started again
  --what restart  through three nodes; then one is restarted, and one that was down while as much again was written
                  catches up under load
Exit code 1 when the process had more memory than its bound.`;

const args = readArguments('load', DESCRIPTION, {
  what: { help: 'engine, cluster or restart', value: 'engine' },
  keys: { help: 'how many', value: '1000000' },
  'value-bytes': { help: 'bytes of a value', value: '100' },
  engine: { help: 'lsm or memory', value: 'lsm' },
  inflight: { help: 'puts under way at any time, through nodes', value: '1024' },
  election: { help: 'election timeout of the nodes in milliseconds', value: '1000' },
  snapshot: { help: 'entries between two snapshots of a node', value: '100000' },
  offered: { help: 'puts a second to be done while a follower catches up; 0: as many as go', value: '0' },
  data: { help: 'where the files go', value: tmpdir() },
});
const settings = {
  keys: args.number('keys'),
  valueBytes: args.number('value-bytes'),
  engine: args.text('engine') === 'memory' ? ('memory' as const) : ('lsm' as const),
  inFlight: args.number('inflight'),
  snapshotEntries: args.number('snapshot'),
  electionMs: args.number('election'),
  offered: args.number('offered'),
};

const directory = mkdtempSync(join(args.text('data'), 'oxide-kv-load-'));
try {
  const options = { ...settings, directory };
  switch (args.text('what')) {
    case 'engine':
      report(loadEngine(options, progress));
      break;
    case 'cluster':
      report(await loadCluster(options, progress));
      break;
    case 'restart':
      print({ machine: machine(), settings, ...(await timeRestarts(options, progress)) }, args.json);
      break;
    default:
      progress('--what needs engine, cluster or restart');
      process.exitCode = 64;
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function report(result: ResidentReport & { readonly boundMiB: number }): void {
  print({ machine: machine(), settings, ...result }, args.json);
  if (result.residentMiBMax <= result.boundMiB) return;
  progress(`The process had ${result.residentMiBMax} MiB, more than ${result.boundMiB}`);
  process.exitCode = 1;
}
