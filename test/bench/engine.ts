/**
 * `npm run bench -- engine`: the engine on disk and the one in memory next to LevelDB (classic-level), each run in a
 * process of its own, one after the other and round by round. Prints CPU time and ratios; judges nothing.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import { machine, progress, readArguments } from '../live/report.ts';
import { KEY_BYTES, type Order, VALUE_BYTES } from './engine-data.ts';
import type { EngineJob, EngineResult } from './engine-run.ts';
import { SUBJECTS, type SubjectName } from './engine-subjects.ts';

const DESCRIPTION = `Measures batches, point reads and scans of the engines, next to classic-level (LevelDB) through the same code: the
same keys and values, the same cache, blocks and filters, no compression. Times are CPU time of all threads in
microseconds a key, medians of the rounds. A ratio is the CPU time of classic-level by that of the engine: above 1 the
engine is faster. All make everything durable at the end of the writes; classic-level also writes each batch to a log of
its own, where ours rely on the log of Raft, which is not part of this. The memory engine writes readable lines.`;

const args = readArguments('bench -- engine', DESCRIPTION, {
  keys: { help: 'comma-separated numbers of keys', value: '100000,1000000' },
  orders: { help: 'in which order they are written', value: 'sequential,random' },
  subjects: { help: 'which engines', value: SUBJECTS.join(',') },
  rounds: { help: 'runs of each; the medians are printed', value: '3' },
  seed: { help: 'of the keys that are read, and of the random order', value: '1' },
  data: { help: 'where the files go', value: tmpdir() },
  profile: { help: 'a directory for CPU profiles of the runs', value: '' },
});

/** Medians of one subject, in microseconds a key. */
interface Medians {
  readonly subject: SubjectName;
  readonly cpu: Readonly<Record<string, number>>;
  readonly wall: Readonly<Record<string, number>>;
  readonly residentMiB: number;
}

function say(text: string): void {
  if (!args.json) process.stdout.write(`${text}\n`);
}

function runOnce(job: Omit<EngineJob, 'directory'>): EngineResult {
  const directory = mkdtempSync(join(args.text('data'), 'oxide-kv-engine-'));
  try {
    const profile = args.text('profile');
    const options = profile === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    const script = fileURLToPath(new URL('./engine-run.js', import.meta.url));
    const command = [...options, '--expose-gc', script, JSON.stringify({ ...job, directory })];
    const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`The run of ${job.subject} ended with ${status}: ${stderr}`);
    const result: EngineResult = JSON.parse(stdout);
    return result;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function medians(subject: SubjectName, results: readonly EngineResult[]): Medians {
  const names = Object.keys(results[0]?.costs ?? {});
  const of = (field: 'cpuMicroseconds' | 'wallMicroseconds'): Record<string, number> =>
    Object.fromEntries(
      names.map((name) => {
        const values = results.map(
          ({ costs }) => (costs[name]?.[field] ?? 0) / (costs[name]?.operations ?? 1),
        );
        return [name, Number(median(values).toFixed(3))];
      }),
    );
  const residentMiB = median(results.map((result) => result.residentMiB));
  return { subject, cpu: of('cpuMicroseconds'), wall: of('wallMicroseconds'), residentMiB };
}

function report(rows: readonly Medians[]): void {
  const level = rows.find(({ subject }) => subject === 'classic-level');
  const width = 26;
  say(`${'µs CPU a key'.padEnd(16)}${rows.map(({ subject }) => subject.padStart(width)).join('')}`);
  for (const name of Object.keys(rows[0]?.cpu ?? {})) {
    const cells = rows.map(({ subject, cpu }) => {
      const own = cpu[name] ?? 0;
      const ratio =
        level === undefined || subject === 'classic-level' ? undefined : (level.cpu[name] ?? 0) / own;
      return `${own.toFixed(2)}${ratio === undefined ? '' : ` (ratio ${ratio.toFixed(2)})`}`.padStart(width);
    });
    say(`${name.padEnd(16)}${cells.join('')}`);
  }
  const resident = rows.map(({ residentMiB }) => `${residentMiB} MiB`.padStart(width));
  say(`${'resident, max'.padEnd(16)}${resident.join('')}\n`);
}

const subjects = SUBJECTS.filter((subject) => args.text('subjects').split(',').includes(subject));
const orders = (['sequential', 'random'] as const).filter((order: Order) =>
  args.text('orders').split(',').includes(order),
);
const settings = {
  keyBytes: KEY_BYTES,
  valueBytes: VALUE_BYTES,
  rounds: args.number('rounds'),
  seed: args.number('seed'),
  ...LSM_OPTIONS,
};
say(`machine   ${JSON.stringify(machine())}`);
say(`settings  ${JSON.stringify(settings)}\n`);
const tables: object[] = [];
for (const keys of args.text('keys').split(',').map(Number)) {
  for (const order of orders) {
    const results = new Map<SubjectName, EngineResult[]>(subjects.map((subject) => [subject, []]));
    for (let round = 1; round <= settings.rounds; round++) {
      for (const subject of subjects) {
        progress(`${keys} keys, ${order}, round ${round}: ${subject}`);
        results.get(subject)?.push(runOnce({ subject, keys, order, seed: settings.seed + round }));
      }
    }
    const rows = [...results].map(([subject, list]) => medians(subject, list));
    say(`${keys} keys of ${KEY_BYTES} bytes with values of ${VALUE_BYTES}, written in ${order} order`);
    report(rows);
    tables.push({ keys, order, rows });
  }
}
if (args.json) process.stdout.write(`${JSON.stringify({ machine: machine(), settings, tables })}\n`);
