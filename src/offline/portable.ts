/**
 * A snapshot of a store that belongs to no cluster: a file of JSON lines that `snapshot save` writes and `snapshot restore`
 * reads. It has every key that exists at one revision, with its revisions, and the leases; no history and no sessions.
 *
 *   {"oxideKvSnapshot":1,"revision":1234}                                                  format, revision
 *   {"key":"color","value":"blue","revision":9,"sub":0,"created":4,"version":3}            keys, as version-lines.ts has them, in
 *                                                                                          key order; each sub is 0
 *   {"lease":"-7","ttlSeconds":60}                                                         leases
 *   {"end":true,"keys":1,"leases":1,"crc32":"0123abcd"}                                    CRC-32 of all bytes before this line
 */
import { textOf } from '../lib/bytes.ts';
import { crc32 } from '../storage/checksum.ts';
import { CorruptionError, StorageError, messageOf } from '../lib/errors.ts';
import { LineSplitter } from '../lib/line-splitter.ts';
import type { KeyValue } from '../kv/operation.ts';
import type { File } from '../storage/fs.ts';
import { laterFormat } from '../storage/later-format.ts';
import { hex32 } from '../storage/record.ts';
import type { Version } from '../storage/version-engine.ts';
import { parseVersion, versionLine } from '../storage/version-lines.ts';
import type { Progress } from './report.ts';

const FORMAT = 1;
const CHUNK_BYTES = 262_144;
/** A value at its limit, every byte of it escaped, and its key. */
const LINE_BYTES_MAX = 16_777_216;
const NEWLINE = Uint8Array.of(0x0a);

/** A lease, to begin anew wherever the snapshot is restored. */
export interface PortableLease {
  readonly id: bigint;
  readonly ttlSeconds: number;
}

/** Lays a snapshot out: header, rows, leases, end, in this order. Each call gives the text that comes next. */
export class PortableWriter {
  #crc32 = 0;
  #keys = 0;
  #leases = 0;

  header(revision: number): string {
    return this.#counted(`${JSON.stringify({ oxideKvSnapshot: FORMAT, revision })}\n`);
  }

  /** @param rows in key order, also from call to call */
  rows(rows: readonly KeyValue[]): string {
    let text = '';
    for (const { key, value, createRevision, modRevision, version, lease } of rows) {
      const revisions = { revision: modRevision, sub: 0, created: createRevision, version };
      text += `${versionLine({ key, value, ...revisions, lease })}\n`;
    }
    this.#keys += rows.length;
    return this.#counted(text);
  }

  leases(leases: readonly PortableLease[]): string {
    this.#leases += leases.length;
    const lines = leases.map(
      ({ id, ttlSeconds }) => `${JSON.stringify({ lease: String(id), ttlSeconds })}\n`,
    );
    return this.#counted(lines.join(''));
  }

  end(): string {
    const crc = hex32(this.#crc32);
    return `${JSON.stringify({ end: true, keys: this.#keys, leases: this.#leases, crc32: crc })}\n`;
  }

  #counted(text: string): string {
    const bytes = Buffer.from(text);
    this.#crc32 = crc32(bytes, 0, bytes.length, this.#crc32);
    return text;
  }
}

/** Where a key stands in the file. */
export interface KeyPlace {
  readonly revision: number;
  readonly offset: number;
  readonly bytes: number;
  readonly number: number;
}

/** What a verified file holds; the values stay in the file. */
export interface PortableSnapshot {
  readonly revision: number;
  /** In the order of their revisions. */
  readonly keys: readonly KeyPlace[];
  readonly leases: ReadonlyMap<bigint, PortableLease>;
}

/**
 * Reads and checks all of a file.
 *
 * @throws CorruptionError when it is not what was written, StorageError when it is of a later format
 */
export function* verifyPortable(file: File, path: string): Generator<Progress, PortableSnapshot> {
  const check = new PortableCheck(path);
  const splitter = new LineSplitter(LINE_BYTES_MAX);
  const size = file.size();
  for (let offset = 0; offset < size; offset += CHUNK_BYTES) {
    const chunk = file.read(offset, Math.min(CHUNK_BYTES, size - offset));
    splitter.push(chunk);
    for (let line = splitter.next(); line !== undefined; line = splitter.next()) check.take(line);
    if (splitter.overflowed) throw check.corrupt('a line is too long');
    yield { file: path, bytes: chunk.length };
  }
  return check.finish(size);
}

/** The version at a place that {@link verifyPortable} gave. @throws CorruptionError when the file has changed since */
export function readKey(file: File, place: KeyPlace): Version {
  const line = textOf(file.read(place.offset, place.bytes));
  if (line === undefined) throw new CorruptionError(`Cannot restore: line ${place.number} has changed`);
  return parseVersion(line, place.number);
}

class PortableCheck {
  readonly #path: string;
  #number = 0;
  #offset = 0;
  #crc32 = 0;
  #revision: number | undefined;
  #lastKey: string | undefined;
  readonly #keys: KeyPlace[] = [];
  readonly #leases = new Map<bigint, PortableLease>();
  #isEnded = false;

  constructor(path: string) {
    this.#path = path;
  }

  take(line: Uint8Array): void {
    this.#number += 1;
    const text = textOf(line);
    if (text === undefined) throw this.corrupt('it is not UTF-8');
    if (this.#isEnded) throw this.corrupt('it stands behind the end');
    if (this.#number === 1) this.#header(text);
    else if (text.startsWith('{"end":')) this.#end(text);
    else if (text.startsWith('{"lease":')) this.#lease(text);
    else this.#key(text, line.length);
    this.#crc32 = crc32(NEWLINE, 0, 1, crc32(line, 0, line.length, this.#crc32));
    this.#offset += line.length + 1;
  }

  finish(size: number): PortableSnapshot {
    if (!this.#isEnded || this.#revision === undefined || this.#offset !== size)
      throw this.corrupt('the end is missing');
    return {
      revision: this.#revision,
      keys: this.#keys.toSorted((a, b) => a.revision - b.revision || a.offset - b.offset),
      leases: this.#leases,
    };
  }

  corrupt(why: string): CorruptionError {
    return new CorruptionError(`Cannot restore "${this.#path}": line ${this.#number}: ${why}`);
  }

  #header(text: string): void {
    const { oxideKvSnapshot: format, revision } = this.#fields(text);
    if (typeof format === 'number' && format > FORMAT)
      throw new StorageError(`Cannot restore "${this.#path}": ${laterFormat(format, FORMAT)}`);
    if (format !== FORMAT || !isCount(revision) || revision < 1)
      throw this.corrupt('it is not the first line of a snapshot');
    this.#revision = revision;
  }

  #key(text: string, bytes: number): void {
    let version: Version;
    try {
      version = parseVersion(text, this.#number);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      throw this.corrupt(messageOf(error));
    }
    const { key, revision } = version;
    const isInOrder = this.#lastKey === undefined || this.#lastKey < key;
    const isPossible = version.version > 0 && version.sub === 0 && revision <= (this.#revision ?? 0);
    if (!isInOrder || !isPossible) throw this.corrupt('it is no key of this snapshot');
    this.#lastKey = key;
    this.#keys.push({ revision, offset: this.#offset, bytes, number: this.#number });
  }

  #lease(text: string): void {
    const { lease, ttlSeconds } = this.#fields(text);
    const isId = typeof lease === 'string' && /^-?[1-9]\d{0,18}$/.test(lease);
    if (!isId || !isCount(ttlSeconds) || ttlSeconds < 1 || this.#leases.has(BigInt(lease)))
      throw this.corrupt('it is not a lease');
    this.#leases.set(BigInt(lease), { id: BigInt(lease), ttlSeconds });
  }

  #end(text: string): void {
    const { keys, leases, crc32: expected } = this.#fields(text);
    const actual = hex32(this.#crc32);
    if (expected !== actual) throw this.corrupt(`checksum is ${actual}, expected ${String(expected)}`);
    if (keys !== this.#keys.length || leases !== this.#leases.size) throw this.corrupt('lines are missing');
    this.#isEnded = true;
  }

  #fields(text: string): Readonly<Record<string, unknown>> {
    try {
      const value: unknown = JSON.parse(text);
      return typeof value === 'object' && value !== null ? { ...value } : {};
    } catch {
      throw this.corrupt('it is not JSON');
    }
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
