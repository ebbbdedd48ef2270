/** `oxide-kv import`: sets the keys of a file of JSON lines, many at a time. */
import { createReadStream } from 'node:fs';
import { latin1 } from '../../lib/bytes.ts';
import { messageOf } from '../../lib/errors.ts';
import { LineSplitter } from '../../lib/line-splitter.ts';
import { encodeOperation } from '../../kv/operation-codec.ts';
import type { Put } from '../../kv/operation.ts';
import { decodeOperationResult } from '../../kv/result-codec.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { CLIENT_OPTIONS } from '../command.ts';
import { readKey } from '../data.ts';
import { CommandError, EXIT } from '../failure.ts';
import { type KeyLine, parseKeyLine } from '../key-lines.ts';
import { Progress, progressBar } from '../progress.ts';
import { type StoreClient, withStore } from '../store.ts';
import { bytesText, counted } from '../units.ts';

/** Keys in one write: as many as a transaction takes. */
const BATCH_KEYS_MAX = 128;
const BATCH_BYTES_MAX = 262_144;
/** A value at its limit, every byte of it escaped, and its key. */
const LINE_BYTES_MAX = 16_777_216;
const STDIN_BYTES_MAX = 1_073_741_824;
const BAD_LINES_SHOWN_MAX = 10;

/** Exit code 1, with nothing set, for a file with bad lines; 130 when it is interrupted. */
export const command: Command = {
  name: 'import',
  positionals: ['FILE'],
  description: [
    'Sets every key of FILE ("-": standard input) to its value: one JSON object a line, {"key":"color","value":"blue"}, with "keyBase64" and "valueBase64" for bytes, as `export` and `scan --json` write them. Keys that are not in FILE stay as they are. A key that comes twice gets its last value.',
    'All lines are checked first: if one is bad, nothing is set. Each write takes effect once, whatever happens to the connection, and to import again does no harm.',
  ],
  options: [
    { name: 'prefix', value: 'PREFIX', help: 'Only keys that begin with PREFIX' },
    { name: 'dry-run', help: 'Only check the lines' },
    ...CLIENT_OPTIONS,
    { name: 'base64-key', help: 'PREFIX is base64' },
  ],
  examples: [
    { line: 'oxide-kv import backup.jsonl', why: 'What `export` wrote' },
    { line: 'gunzip -c users.jsonl.gz | oxide-kv import -', why: 'From standard input' },
    { line: 'oxide-kv import backup.jsonl --dry-run', why: 'Are all lines right?' },
  ],
  async run(args, context) {
    const path = args.positional(0);
    const input = path === '-' ? await context.readStdin(STDIN_BYTES_MAX) : undefined;
    const source: Source = { path, input, prefix: latin1(readKey(args.text('prefix') ?? '', args)) };
    const progress = new Progress(context, args);
    const signal = context.watchSignals();
    let isStopped = false;
    void signal.stopped.then(() => (isStopped = true));
    try {
      const checked = await check(source, progress);
      if (args.has('dry-run')) return report({ ...checked, set: 0 }, args, context);
      const set = await withStore(args, context, (client) =>
        importAll(client, source, { checked, progress, isStopped: () => isStopped }),
      );
      progress.clear();
      report({ ...checked, set }, args, context);
      return isStopped ? EXIT.interrupted : EXIT.ok;
    } finally {
      progress.clear();
      signal.release();
    }
  },
};

interface Source {
  readonly path: string;
  /** What came on standard input. */
  readonly input: Uint8Array | undefined;
  readonly prefix: string;
}

interface Checked {
  readonly lines: number;
  /** Lines to import. */
  readonly keys: number;
  readonly bytes: number;
}

/** A line that is not empty, with its number. */
interface NumberedLine {
  readonly number: number;
  /** Bytes up to its end. */
  readonly offset: number;
  readonly parsed: KeyLine | string;
}

/** Reads all of it. Throws a {@link CommandError} that names the bad lines. */
async function check(source: Source, progress: Progress): Promise<Checked> {
  const bad: string[] = [];
  let badCount = 0;
  let keys = 0;
  let lines = 0;
  let bytes = 0;
  for await (const { number, offset, parsed } of linesOf(source)) {
    lines += 1;
    bytes = offset;
    if (typeof parsed === 'string') {
      badCount += 1;
      if (bad.length < BAD_LINES_SHOWN_MAX) bad.push(`line ${number}: ${parsed}`);
    } else if (parsed.key.startsWith(source.prefix)) {
      keys += 1;
    }
    progress.show(`Checked ${counted(lines, 'line')}, ${bytesText(bytes)}`);
  }
  progress.clear();
  if (badCount === 0) return { lines, keys, bytes };
  const more = badCount > bad.length ? `; and ${badCount - bad.length} more` : '';
  throw new CommandError('bad_request', `Cannot import, nothing was set: ${bad.join('; ')}${more}`);
}

/** Sets the keys. @returns how many */
async function importAll(
  client: StoreClient,
  source: Source,
  how: { readonly checked: Checked; readonly progress: Progress; readonly isStopped: () => boolean },
): Promise<number> {
  const { checked, progress, isStopped } = how;
  let set = 0;
  let batch = new Map<string, Uint8Array>();
  let bytes = 0;
  const flush = async (): Promise<void> => {
    await write(client, batch, set);
    set += batch.size;
    batch = new Map();
    bytes = 0;
  };
  for await (const { offset, parsed } of linesOf(source)) {
    if (typeof parsed === 'string')
      throw new CommandError('bad_request', `Cannot go on with "${source.path}": it changed meanwhile`);
    const { key, value } = parsed;
    if (!key.startsWith(source.prefix)) continue;
    const size = key.length + value.length;
    const isFull = batch.size >= BATCH_KEYS_MAX || (batch.size > 0 && bytes + size > BATCH_BYTES_MAX);
    // A transaction may not set a key twice.
    if (isFull || batch.has(key)) await flush();
    if (isStopped()) return set;
    batch.set(key, value);
    bytes += size;
    progress.show(progressBar(offset, checked.bytes, counted(set, 'key')));
  }
  await flush();
  return set;
}

async function write(
  client: StoreClient,
  batch: ReadonlyMap<string, Uint8Array>,
  before: number,
): Promise<void> {
  if (batch.size === 0) return;
  const success = Array.from(batch, ([key, value]): Put => ({
    kind: 'put',
    key,
    value,
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  }));
  try {
    const operation = encodeOperation({ kind: 'txn', compares: [], success, failure: [] });
    const { result } = await client.operate(operation);
    const decoded = decodeOperationResult(result);
    if (decoded.kind === 'txn') return;
    const why = decoded.kind === 'refused' ? decoded.reason : decoded.kind;
    throw new CommandError('bad_request', `Cannot import: the store says ${why}`);
  } catch (error) {
    const done = `${counted(before, 'key')} are set; to import again does no harm`;
    throw new CommandError('unavailable', `Cannot import on: ${messageOf(error)}; ${done}`, { cause: error });
  }
}

/** The lines that are not empty. Throws a {@link CommandError} when the file cannot be read. */
async function* linesOf({ path, input }: Source): AsyncGenerator<NumberedLine> {
  const splitter = new LineSplitter(LINE_BYTES_MAX);
  let number = 0;
  let offset = 0;
  for await (const chunk of chunksOf(path, input)) {
    splitter.push(chunk);
    for (let line = splitter.next(); line !== undefined; line = splitter.next()) {
      number += 1;
      offset += line.length + 1;
      if (line.length > 0) yield { number, offset, parsed: parseKeyLine(line) };
    }
    if (splitter.overflowed) {
      yield { number: number + 1, offset, parsed: `it is longer than ${LINE_BYTES_MAX} bytes` };
      return;
    }
  }
}

async function* chunksOf(path: string, input: Uint8Array | undefined): AsyncGenerator<Uint8Array> {
  if (input === undefined) {
    try {
      for await (const chunk of createReadStream(path)) {
        const bytes: unknown = chunk;
        if (bytes instanceof Uint8Array) yield bytes;
      }
    } catch (error) {
      throw new CommandError('bad_request', `Cannot import: ${messageOf(error)}`, { cause: error });
    }
  } else {
    yield input;
  }
  // The last line may lack its end.
  yield Uint8Array.of(0x0a);
}

function report(
  { set, keys, lines }: Checked & { readonly set: number },
  args: Args,
  { out }: Context,
): number {
  const isDry = args.has('dry-run');
  if (args.has('json')) out.json({ ok: true, lines, keys, set });
  else if (isDry) out.line(`All ${counted(lines, 'line')} are right; ${counted(keys, 'key')} would be set`);
  else out.line(`Imported ${counted(set, 'key')}${set < keys ? ` of ${counted(keys, 'line')}` : ''}`);
  return EXIT.ok;
}
