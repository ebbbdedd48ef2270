/**
 * Snapshots on disk, as readable JSON lines. The store knows the first line's index and term, and nothing of the rest.
 *
 *   snapshots/snapshot-00000000000000001234.jsonl
 *     {"index":1234,"term":7,…}                        the meta of whoever saves
 *     …                                                 one line each, as given
 *     {"end":true,"lines":56,"crc32":"0123abcd"}        number of lines between, CRC-32 of all bytes before this line
 *
 * A file gets its name only when it is whole and durable. The log below a snapshot may be gone, so a damaged newest
 * snapshot is an error and never a reason to use an older one.
 */
import { assert } from '../lib/assert.ts';
import { textOf } from '../lib/bytes.ts';
import { crc32 } from '../lib/crc32.ts';
import { CorruptionError, StorageError } from '../lib/errors.ts';
import { FileReplacement, TEMPORARY_SUFFIX, readFile, replaceFile } from './files.ts';
import type { FileSystem } from './fs.ts';
import { hex32 } from './record.ts';

/** What every snapshot says in its first line. Writers may add more fields. */
export interface SnapshotMeta {
  /** Index of the last log entry it covers. */
  readonly index: number;
  /** Term of that entry. */
  readonly term: number;
}

/** The first line: position and whatever else the writer keeps there, as JSON values. */
export type SnapshotFields = SnapshotMeta & Readonly<Record<string, unknown>>;

/** A verified snapshot. Further fields of `meta` come from the file: readers check their types. */
export interface Snapshot {
  readonly meta: SnapshotFields;
  readonly lines: readonly string[];
}

/** Older snapshots are kept up to this number in all, for people who look for what went wrong. */
export const SNAPSHOTS_KEPT = 2;

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** A snapshot on its way to disk. */
export interface SnapshotWriter {
  /** Writes about 64 KiB more. @returns true once the snapshot is whole and durable; then it must not be called again */
  advance(): boolean;
  /** Gives up: what was there before stays. */
  abort(): void;
}

export class SnapshotStore {
  readonly #fs: FileSystem;
  readonly #directory: string;

  /** Opens the store in an existing directory: removes unfinished files and makes the names there durable. */
  constructor(options: { readonly fs: FileSystem; readonly directory: string }) {
    this.#fs = options.fs;
    this.#directory = options.directory;
    for (const name of this.#fs.list(this.#directory)) {
      if (name.endsWith(TEMPORARY_SUFFIX)) this.#fs.remove(`${this.#directory}/${name}`);
    }
    this.#fs.syncDirectory(this.#directory);
  }

  /** Indexes of the snapshots on disk, ascending. Not verified. */
  indexes(): readonly number[] {
    const indexes: number[] = [];
    for (const name of this.#fs.list(this.#directory)) {
      if (name.startsWith('.') || name.endsWith(TEMPORARY_SUFFIX)) continue;
      const index = indexOf(name);
      if (index === undefined) {
        throw new StorageError(
          `Cannot open snapshots "${this.#directory}": "${name}" does not belong there; move it away`,
        );
      }
      indexes.push(index);
    }
    return indexes; // names are padded, so their order is that of the indexes
  }

  /**
   * Writes a snapshot, then removes all but the newest {@link SNAPSHOTS_KEPT}. Durable on return: only then may the log
   * below it go. A failure before that leaves the older snapshots as they were.
   *
   * @param lines without line breaks, each well-formed; taken one by one
   */
  save(meta: SnapshotFields, lines: Iterable<string>): void {
    const writer = this.begin(meta, lines);
    while (!writer.advance());
  }

  /** {@link save} in steps. At most one may be under way. `lines` must stay true to `meta.index` while it is. */
  begin(meta: SnapshotFields, lines: Iterable<string>): SnapshotWriter {
    assert(Number.isSafeInteger(meta.index) && meta.index >= 0, 'Snapshot index out of range');
    const file = new FileReplacement(this.#fs, this.#directory, nameOf(meta.index));
    const chunks = encode(JSON.stringify(meta), lines);
    return {
      advance: () => {
        const next = chunks.next();
        if (next.done !== true) {
          file.write(next.value);
          return false;
        }
        file.commit();
        this.#removeOld();
        return true;
      },
      abort: () => file.abort(),
    };
  }

  /**
   * The newest snapshot, wholly verified; undefined when there is none.
   *
   * Throws {@link CorruptionError}, naming the file, when it is damaged.
   */
  newest(): Snapshot | undefined {
    const index = this.indexes().at(-1);
    if (index === undefined) return undefined;
    const path = `${this.#directory}/${nameOf(index)}`;
    return parse(readFile(this.#fs, path), `Cannot open snapshot "${path}"`, index);
  }

  /** The file of one snapshot as it is, for a peer; undefined when there is none. The caller owns the bytes. */
  read(index: number): Uint8Array | undefined {
    const path = `${this.#directory}/${nameOf(index)}`;
    return this.#fs.exists(path) ? readFile(this.#fs, path) : undefined;
  }

  /**
   * Takes over a snapshot that {@link read} gave elsewhere. Verified before anything changes on disk; durable on return.
   *
   * Throws {@link CorruptionError} when the bytes are not a whole snapshot.
   */
  install(bytes: Uint8Array): Snapshot {
    const snapshot = parse(bytes, 'Cannot install snapshot', undefined);
    replaceFile(this.#fs, this.#directory, nameOf(snapshot.meta.index), [bytes]);
    this.#removeOld();
    return snapshot;
  }

  #removeOld(): void {
    for (const index of this.indexes().slice(0, -SNAPSHOTS_KEPT)) {
      this.#fs.remove(`${this.#directory}/${nameOf(index)}`);
    }
  }
}

function nameOf(index: number): string {
  return `snapshot-${String(index).padStart(20, '0')}.jsonl`;
}

function indexOf(name: string): number | undefined {
  const digits = /^snapshot-(\d{20})\.jsonl$/.exec(name)?.[1];
  const index = Number(digits);
  return digits !== undefined && Number.isSafeInteger(index) ? index : undefined;
}

/** The first line of a snapshot that has not been verified. @returns undefined if it is none */
export function headerOf(bytes: Uint8Array): SnapshotFields | undefined {
  const end = bytes.indexOf(NEWLINE);
  const meta = parseObject(bytes.subarray(0, Math.max(0, end)));
  return meta !== undefined && hasPosition(meta) ? meta : undefined;
}

/** The bytes of a snapshot file in chunks of about {@link CHUNK_BYTES}. */
function* encode(meta: string, lines: Iterable<string>): IterableIterator<Uint8Array> {
  let crc = 0;
  let count = 0;
  let text = `${meta}\n`;
  for (const line of lines) {
    assert(!line.includes('\n'), 'A snapshot line holds no line break');
    assert(!/\p{Surrogate}/u.test(line), 'A snapshot line is well-formed text');
    text += `${line}\n`;
    count += 1;
    if (text.length >= CHUNK_BYTES) {
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

/** @param action begins every message. @param index what the file's name says, if it has one */
function parse(bytes: Uint8Array, action: string, index: number | undefined): Snapshot {
  const fail = (reason: string): CorruptionError => new CorruptionError(`${action}: ${reason}`);
  if (bytes.at(-1) !== NEWLINE) throw fail('it does not end with a whole line');
  const endStart = bytes.lastIndexOf(NEWLINE, -2) + 1;
  const end = parseObject(bytes.subarray(endStart, -1));
  if (end === undefined || end['end'] !== true) throw fail('its last line is not an end line');
  const crc = hex32(crc32(bytes, 0, endStart));
  if (end['crc32'] !== crc) throw fail(`checksum is ${crc}, expected ${String(end['crc32'])}`);

  const lines: string[] = [];
  let meta: Record<string, unknown> | undefined;
  for (let start = 0; start < endStart;) {
    const stop = bytes.indexOf(NEWLINE, start);
    const line = bytes.subarray(start, stop);
    if (start === 0) {
      meta = parseObject(line);
    } else {
      const text = textOf(line);
      if (text === undefined) throw fail(`line ${lines.length + 2} is not UTF-8`);
      lines.push(text);
    }
    start = stop + 1;
  }
  if (end['lines'] !== lines.length)
    throw fail(`it has ${lines.length} lines, expected ${String(end['lines'])}`);
  if (meta === undefined || !hasPosition(meta)) throw fail('its first line names no index and term');
  if (index !== undefined && meta.index !== index) throw fail(`it says it is snapshot ${meta.index}`);
  return { meta, lines };
}

function hasPosition(meta: Record<string, unknown>): meta is SnapshotMeta & Record<string, unknown> {
  const { index, term } = meta;
  return isCount(index) && isCount(term);
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
