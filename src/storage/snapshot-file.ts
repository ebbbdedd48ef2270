/**
 * The bytes of a snapshot file: laid out line by line, verified a slice at a time, and read in slices, so that neither
 * its size nor its checksum holds up the node. Where such files lie and which of them count is for the snapshot store.
 *
 *   {"format":2,"stateLines":3,"index":1234,"term":7,…}    the header: whoever saves may add fields
 *   …                                                      one line each, as given
 *   {"end":true,"lines":56,"crc32":"0123abcd"}             number of lines between, CRC-32 of all bytes before this line
 *
 * Format 1 has rows and behind them lines of state, format 2 so many lines of state and behind them versions
 * (version-lines.ts). Fields of the header that a reader does not know are handed on and mean nothing to it. A later format keeps the shape of
 * the first and the last line, so that an earlier program can say why it does not read it.
 */
import { assert, at, defined } from '../lib/assert.ts';
import { concatBytes, textOf } from '../lib/bytes.ts';
import { crc32 } from './checksum.ts';
import { CorruptionError, StorageError } from '../lib/errors.ts';
import type { File } from './fs.ts';
import { laterFormat } from './later-format.ts';
import { hex32 } from './record.ts';

/** What every snapshot says in its first line. Writers may add more fields. */
export interface SnapshotMeta {
  /** Index of the last log entry it covers. */
  readonly index: number;
  /** Term of that entry. */
  readonly term: number;
}

/** The first line: position and whatever else the writer keeps there, as JSON values; without the layout. */
export type SnapshotFields = SnapshotMeta & Readonly<Record<string, unknown>>;

/** The latest format that this program reads. A header that names none is of the first. */
export const SNAPSHOT_FORMAT = 2;

/** What the header says of the lines. */
export type SnapshotLayout =
  | { readonly format: 1 }
  /** The first so many lines are those of the machine. */
  | { readonly format: 2; readonly stateLines: number };

/** Bytes that are read, and sent to a peer, in one piece. */
export const SNAPSHOT_SLICE_BYTES: number = 64 * 1024;

/** Slices verified in one step: a few milliseconds. */
const SLICES_A_STEP = 16;
const END_LINE_BYTES_MAX = 256;
const NEWLINE = 0x0a;

/** What is known of a file after another step: nothing yet, whole, or why it is not to be used. */
export type Verdict =
  | { readonly kind: 'more' }
  | { readonly kind: 'whole' }
  /** The bytes are not what was written. */
  | { readonly kind: 'damaged'; readonly why: string }
  /** Undamaged, and of a format that this program does not read. */
  | { readonly kind: 'newer'; readonly why: string };

interface EndLine {
  readonly start: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * The bytes of a snapshot file in chunks of about one slice. `lines` are taken one by one; in place of one, `undefined` says
 * that finding the next takes long: what there is so far comes out.
 */
export function* encodeSnapshot(
  meta: SnapshotFields,
  lines: Iterable<string | undefined>,
  layout: SnapshotLayout = { format: 1 },
): IterableIterator<Uint8Array> {
  let crc = 0;
  let count = 0;
  let text = `${JSON.stringify({ ...layout, ...meta })}\n`;
  assert(Buffer.byteLength(text) < SNAPSHOT_SLICE_BYTES, 'A snapshot header fits into the first slice');
  for (const line of lines) {
    if (line !== undefined) {
      assert(!line.includes('\n'), 'A snapshot line holds no line break');
      assert(!/\p{Surrogate}/u.test(line), 'A snapshot line is well-formed text');
      text += `${line}\n`;
      count += 1;
    }
    if (line === undefined || text.length >= SNAPSHOT_SLICE_BYTES) {
      const chunk = Buffer.from(text);
      text = '';
      crc = crc32(chunk, 0, chunk.length, crc);
      yield chunk;
    }
  }
  const rest = Buffer.from(text);
  crc = crc32(rest, 0, rest.length, crc);
  yield rest;
  yield Buffer.from(`${JSON.stringify({ end: true, lines: count, crc32: hex32(crc) })}\n`);
}

/**
 * One snapshot file, open. Nothing of it may be used before {@link verify} has called it whole; what is read afterwards is
 * compared with what was verified, so that no byte that changed meanwhile gets out.
 */
export class SnapshotFile {
  readonly totalBytes: number;
  readonly #file: File;
  readonly #action: string;
  readonly #expected: Partial<SnapshotMeta>;
  /** At k: the checksum of the first k slices. */
  readonly #sums: number[] = [0];
  #end: EndLine | undefined;
  /** Checksum of everything before the end line. */
  #bodySum = 0;
  #lineCount = 0;
  #header: Record<string, unknown> | undefined;
  #verdict: Verdict = { kind: 'more' };

  /**
   * @param file belongs to this object from now on
   * @param options.action begins every message
   * @param options.expected what the file's name, or whoever sent it, says of it
   */
  constructor(file: File, options: { readonly action: string; readonly expected: Partial<SnapshotMeta> }) {
    this.#file = file;
    this.#action = options.action;
    this.#expected = options.expected;
    this.totalBytes = file.size();
  }

  /** Verifies about 1 MiB more. Once it says anything but `more`, it says so ever after. */
  verify(): Verdict {
    for (let step = 0; step < SLICES_A_STEP && this.#verdict.kind === 'more'; step++)
      this.#verdict = this.#verifySlice();
    return this.#verdict;
  }

  /**
   * {@link verify} for a file that must be whole.
   *
   * @returns whether it is verified to the end
   * @throws CorruptionError when it is damaged, StorageError when it is of a later format
   */
  check(): boolean {
    const verdict = this.verify();
    if (verdict.kind === 'damaged') throw this.#corrupt(verdict.why);
    if (verdict.kind === 'newer') throw new StorageError(`${this.#action}: ${verdict.why}`);
    return verdict.kind === 'whole';
  }

  /** The checksum of all bytes. Of a whole file only, as is everything below. */
  get crc32(): number {
    assert(this.#verdict.kind === 'whole', 'Only a verified snapshot is used');
    return at(this.#sums, this.#sums.length - 1);
  }

  /** The first line, without the layout. Further fields come from the file: readers check their types. */
  get meta(): SnapshotFields {
    assert(this.#verdict.kind === 'whole', 'Only a verified snapshot is used');
    const { format: _, stateLines: _lines, ...meta } = defined(this.#header, 'header of a verified snapshot');
    assert(hasPosition(meta), 'A verified snapshot has a position');
    return meta;
  }

  /** How the lines are laid out. */
  get layout(): SnapshotLayout {
    assert(this.#verdict.kind === 'whole', 'Only a verified snapshot is used');
    return defined(layoutOf(this.#header), 'layout of a verified snapshot');
  }

  /**
   * The bytes from `offset` to the end of their slice, in memory of their own.
   *
   * @throws CorruptionError when they are not what was verified
   */
  read(offset: number): Uint8Array {
    assert(this.#verdict.kind === 'whole', 'Only a verified snapshot is used');
    assert(offset >= 0 && offset < this.totalBytes, 'Offset behind the end of a snapshot');
    const slice = Math.floor(offset / SNAPSHOT_SLICE_BYTES);
    const start = slice * SNAPSHOT_SLICE_BYTES;
    const bytes = this.#file.read(start, Math.min(SNAPSHOT_SLICE_BYTES, this.totalBytes - start));
    const sum = crc32(bytes, 0, bytes.length, at(this.#sums, slice));
    if (sum !== at(this.#sums, slice + 1))
      throw this.#corrupt(`the bytes from ${start} on have changed since they were verified`);
    return bytes.subarray(offset - start);
  }

  /**
   * The lines between the first and the last, read as they are asked for.
   *
   * @throws CorruptionError as {@link read} does, and for a line that is not UTF-8
   */
  *lines(): IterableIterator<string> {
    const { start: endStart } = defined(this.#end, 'end line of a verified snapshot');
    let parts: Uint8Array[] = [];
    let number = 1;
    for (let offset = 0; offset < endStart; offset += SNAPSHOT_SLICE_BYTES) {
      const bytes = this.read(offset).subarray(0, endStart - offset);
      let start = 0;
      for (let stop = bytes.indexOf(NEWLINE); stop >= 0; stop = bytes.indexOf(NEWLINE, start)) {
        parts.push(bytes.subarray(start, stop));
        start = stop + 1;
        if (number > 1) yield this.#textOf(parts, number);
        number += 1;
        parts = [];
      }
      if (start < bytes.length) parts.push(bytes.subarray(start));
    }
  }

  close(): void {
    this.#file.close();
  }

  #textOf(parts: readonly Uint8Array[], number: number): string {
    const text = textOf(parts.length === 1 ? at(parts, 0) : concatBytes(parts));
    if (text === undefined) throw this.#corrupt(`line ${number} is not UTF-8`);
    return text;
  }

  #verifySlice(): Verdict {
    this.#end ??= this.#readEnd();
    if (this.#end === undefined) return damaged('it does not end with a whole line that ends a snapshot');
    const done = this.#sums.length - 1;
    const start = done * SNAPSHOT_SLICE_BYTES;
    if (start >= this.totalBytes) return this.#judge(this.#end);
    const length = Math.min(SNAPSHOT_SLICE_BYTES, this.totalBytes - start);
    const bytes = this.#file.read(start, length);
    if (bytes.length < length) return damaged(`it ends at ${start + bytes.length}`);
    if (done === 0) this.#header = parseObject(bytes.subarray(0, Math.max(0, bytes.indexOf(NEWLINE))));
    const bodyEnd = Math.max(0, Math.min(length, this.#end.start - start));
    for (let i = bytes.indexOf(NEWLINE); i >= 0 && i < bodyEnd; i = bytes.indexOf(NEWLINE, i + 1))
      this.#lineCount += 1;
    const bodySum = crc32(bytes, 0, bodyEnd, at(this.#sums, done));
    if (start <= this.#end.start) this.#bodySum = bodySum;
    this.#sums.push(crc32(bytes, bodyEnd, length, bodySum));
    return { kind: 'more' };
  }

  #readEnd(): EndLine | undefined {
    const tailStart = Math.max(0, this.totalBytes - END_LINE_BYTES_MAX);
    const tail = this.#file.read(tailStart, this.totalBytes - tailStart);
    if (tail.at(-1) !== NEWLINE) return undefined;
    const start = tail.lastIndexOf(NEWLINE, -2) + 1;
    if (start === 0) return undefined;
    const fields = parseObject(tail.subarray(start, -1));
    return fields === undefined || fields['end'] !== true ? undefined : { start: tailStart + start, fields };
  }

  /** Checksums first: nothing that a damaged file says of itself is worth telling. */
  #judge(end: EndLine): Verdict {
    const sum = hex32(this.#bodySum);
    if (end.fields['crc32'] !== sum)
      return damaged(`checksum is ${sum}, expected ${String(end.fields['crc32'])}`);
    const { format = 1 } = this.#header ?? {};
    if (typeof format === 'number' && format > SNAPSHOT_FORMAT) {
      const why = laterFormat(format, SNAPSHOT_FORMAT);
      return { kind: 'newer', why };
    }
    const lineCount = this.#lineCount - 1;
    if (end.fields['lines'] !== lineCount)
      return damaged(`it has ${lineCount} lines, expected ${String(end.fields['lines'])}`);
    if (this.#header === undefined || !hasPosition(this.#header))
      return damaged('its first line names no index and term');
    const layout = layoutOf(this.#header);
    if (layout === undefined || (layout.format === 2 && layout.stateLines > lineCount))
      return damaged('its first line does not say how many lines are state');
    const { index, term } = this.#header;
    if (index !== (this.#expected.index ?? index)) return damaged(`it says it is snapshot ${index}`);
    if (term !== (this.#expected.term ?? term)) return damaged(`it says it is of term ${term}`);
    return { kind: 'whole' };
  }

  #corrupt(why: string): CorruptionError {
    return new CorruptionError(`${this.#action}: ${why}`);
  }
}

function hasPosition(meta: Record<string, unknown>): meta is SnapshotMeta & Record<string, unknown> {
  const { index, term } = meta;
  return isCount(index) && isCount(term);
}

function layoutOf(header: Readonly<Record<string, unknown>> | undefined): SnapshotLayout | undefined {
  const { format = 1, stateLines } = header ?? {};
  if (format === 1) return { format };
  return format === 2 && isCount(stateLines) ? { format, stateLines } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(textOf(bytes) ?? '');
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function damaged(why: string): Verdict {
  return { kind: 'damaged', why };
}
