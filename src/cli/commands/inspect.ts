/** `oxide-kv inspect`: what is in a data directory, without starting it and without changing it. */
import { isProcessAlive } from '../../cluster/process.ts';
import { fromLatin1, latin1 } from '../../lib/bytes.ts';
import { bytesToRead, inspect, nodeDirectories } from '../../offline/inspect.ts';
import type { NodeReport } from '../../offline/report.ts';
import { openRows } from '../../offline/rows.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { jsonField, readKey } from '../data.ts';
import { CommandError, EXIT, UsageError } from '../failure.ts';
import { inspectionJson, inspectionLines } from '../inspect-text.ts';
import { Progress, progressBar } from '../progress.ts';

/** It is not a data directory. */
const EXIT_NOT_ONE = 2;
/** A node that runs replaces files while they are read: what is wrong only once is not wrong. */
const ATTEMPTS_MAX = 3;

/** Exit code 0 for sound, 1 for damaged, 2 for what is not a data directory. */
export const command: Command = {
  name: 'inspect',
  positionals: ['DIR'],
  description: [
    'Shows what is in a data directory: whose it is, its log, its snapshots or tables, and what is damaged. DIR is that of a node, or one with the nodes of `serve`. Nothing is written and nothing is locked, so a running node is not disturbed; then what is durable at the moment is shown.',
    'The log and the small files are always checked. With --verify every byte is read and compared with its checksum. Each damage is told with its file and the place in it.',
    'Exit codes: 0 sound, 1 damaged or of a later format, 2 not a data directory.',
  ],
  options: [
    { name: 'verify', help: 'Read every byte' },
    {
      name: 'keys',
      value: 'PREFIX',
      help: 'Print the keys that begin with PREFIX instead, with their newest values, as JSON lines; of one node',
    },
    { name: 'json', help: 'Print one JSON document' },
  ],
  examples: [
    { line: 'oxide-kv inspect oxide-kv-data', why: 'The nodes of `oxide-kv serve`' },
    { line: 'oxide-kv inspect oxide-kv-data/node-1 --keys user/', why: 'What it holds for the users' },
    { line: 'oxide-kv inspect oxide-kv-data/node-1 --verify', why: 'Is everything as it was written?' },
    { line: 'oxide-kv inspect /backup/node-1 --verify --json | jq .sound', why: 'For a script' },
  ],
  // oxlint-disable-next-line require-await -- the contract of a command
  async run(args, context) {
    const path = args.positional(0).replace(/(?<=.)\/+$/, '');
    const paths = nodeDirectories(path);
    if (paths.length === 0) {
      const message = `Cannot inspect "${path}": it holds neither a node.json nor a cluster.json, so it is not a data directory`;
      if (args.has('json')) context.out.json({ ok: false, code: 'bad_request', message });
      else context.err.line(`oxide-kv: ${message}`);
      return EXIT_NOT_ONE;
    }
    if (args.has('keys')) return printKeys(paths, args, context);
    const found = paths.map((each) => inspectOne(each, args, context));
    const isSound = found.every(({ report }) => report.findings.length === 0);
    if (args.has('json')) {
      const nodes = found.map(({ report, runningPid }) => inspectionJson(report, runningPid));
      context.out.json({ sound: isSound, nodes });
    }
    return isSound ? EXIT.ok : EXIT.failed;
  },
};

function printKeys(paths: readonly string[], args: Args, { out, err }: Context): number {
  const [path, ...others] = paths;
  if (path === undefined || others.length > 0)
    throw new UsageError('Option --keys reads one node', 'Name its directory, as oxide-kv-data/node-1');
  const { identity } = read(path, args, undefined);
  if (identity === undefined || identity.witness)
    throw new CommandError('bad_request', `Cannot read keys of "${path}": it holds none that could be read`);
  const prefix = latin1(readKey(args.text('keys') ?? '', args));
  const stored = openRows({ path, engine: identity.engine, prefix });
  try {
    for (const { key, value } of stored.rows) {
      if (out.isClosed) break;
      out.json({ ...jsonField('key', fromLatin1(key), false), ...jsonField('value', value, false) });
    }
    const { index, revision } = stored;
    if (!args.has('json'))
      err.line(`As of index ${index}, revision ${revision}; what came later is not known to be committed`);
  } finally {
    stored.close();
  }
  return EXIT.ok;
}

interface Inspected {
  readonly report: NodeReport;
  readonly runningPid: number | undefined;
}

/** Inspects one directory, and prints it unless JSON will be. */
function inspectOne(path: string, args: Args, context: Context): Inspected {
  const progress = new Progress(context, args);
  let report = read(path, args, progress);
  let runningPid = runningOf(report);
  for (let attempt = 1; attempt < ATTEMPTS_MAX && runningPid !== undefined; attempt++) {
    if (report.findings.length === 0) break;
    report = read(path, args, progress);
    runningPid = runningOf(report);
  }
  progress.clear();
  if (!args.has('json')) {
    for (const line of inspectionLines(report, runningPid)) context.out.line(line);
  }
  return { report, runningPid };
}

function read(path: string, args: Args, progress: Progress | undefined): NodeReport {
  const options = { path, verify: args.has('verify') };
  const total = bytesToRead(options);
  const work = inspect(options);
  let done = 0;
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
    done += step.value.bytes;
    progress?.show(progressBar(done, total, step.value.file));
  }
}

function runningOf(report: NodeReport): number | undefined {
  return report.lockHolders.find((holder) => isProcessAlive(holder))?.pid;
}
