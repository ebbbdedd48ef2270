/** The parts of a table that are not data blocks, checked as they are read, and what all its versions together must come to. */
import { equalBytes, latin1, readUint64 } from '../../lib/bytes.ts';
import { StorageError } from '../../lib/errors.ts';
import type { File } from '../fs.ts';
import { laterFormat } from '../later-format.ts';
import { type Version, isTombstone } from '../version-engine.ts';
import { type Block, type BlockHandle, blockChecksum, damaged } from './block.ts';
import { mayContain } from './bloom.ts';
import type { TableMeta } from './table-format.ts';
import { FOOTER_BYTES, TABLE_FORMAT, TABLE_MAGIC } from './table-writer.ts';

/** Where the parts of a table begin. */
export interface Footer {
  readonly filterAt: number;
  readonly indexAt: number;
  readonly propertiesAt: number;
  readonly footerAt: number;
}

/** What a table says of itself, and its manifest as well, but for the number of data blocks. */
export type Properties = Omit<TableMeta, 'number' | 'bytes' | 'crc32'> & { readonly blocks: number };

/** Reads and checks the footer. Throws {@link CorruptionError}, and {@link StorageError} for a format that is not known. */
export function readFooter(file: File, path: string, size: number): Footer {
  const footerAt = size - FOOTER_BYTES;
  if (footerAt <= 0) throw damaged(path, 0, `it has only ${size} bytes`);
  const bytes = file.read(footerAt, FOOTER_BYTES);
  if (bytes.length !== FOOTER_BYTES) throw damaged(path, footerAt, 'its footer is cut off');
  if (!equalBytes(bytes.subarray(40), TABLE_MAGIC))
    throw damaged(path, footerAt + 40, 'it does not end like a table');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const expected = view.getUint32(36, true);
  const actual = blockChecksum(bytes, 0, 36, footerAt);
  if (actual !== expected) {
    throw damaged(path, footerAt, `checksum of the footer is ${hex(actual)}, expected ${hex(expected)}`);
  }
  const format = view.getUint32(32, true);
  if (format !== TABLE_FORMAT) {
    throw new StorageError(`Cannot open table "${path}": ${laterFormat(format, TABLE_FORMAT)}`);
  }
  const filterAt = readUint64(view, 0);
  const indexAt = readUint64(view, 8);
  const propertiesAt = readUint64(view, 16);
  const isOrdered = filterAt < indexAt && indexAt < propertiesAt && propertiesAt < footerAt;
  if (!isOrdered || readUint64(view, 24) !== size)
    throw damaged(path, footerAt, 'its parts are out of bounds');
  return { filterAt, indexAt, propertiesAt, footerAt };
}

/** The blocks of a table must cover the file from its start to the filter. Throws {@link CorruptionError}. */
export function checkHandles(
  handles: readonly BlockHandle[],
  end: number,
  path: string,
  indexAt: number,
): void {
  let expected = 0;
  for (const { offset, bytes } of handles) {
    if (offset !== expected) throw damaged(path, indexAt, 'its blocks are not one behind the other');
    expected += bytes;
  }
  if (expected !== end) throw damaged(path, indexAt, 'its blocks do not reach the filter');
}

/** The content of a properties block. Throws {@link CorruptionError}. */
export function parseProperties(content: Uint8Array, path: string, offset: number): Properties {
  let position = 0;
  function varint(): number {
    let value = 0;
    let scale = 1;
    let byte: number;
    do {
      byte = content[position++] ?? 0;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte >= 0x80);
    return value;
  }
  function key(): string {
    const length = varint();
    if (!(position + length <= content.length))
      throw damaged(path, offset, 'its properties are out of bounds');
    position += length;
    return latin1(content.subarray(position - length, position));
  }
  const blocks = varint();
  const versions = varint();
  const obsolete = varint();
  const revisionMin = varint();
  const revisionMax = varint();
  const first = key();
  const last = key();
  if (position !== content.length) throw damaged(path, offset, 'its properties are out of bounds');
  return { blocks, versions, obsolete, revisionMin, revisionMax, first, last };
}

/** A file that is whole but another one than the manifest means is damage too. */
export function compareProperties(
  expected: Properties,
  found: Properties,
  path: string,
  offset: number,
): void {
  for (const name of [
    'blocks',
    'versions',
    'obsolete',
    'revisionMin',
    'revisionMax',
    'first',
    'last',
  ] as const) {
    if (found[name] === expected[name]) continue;
    const reason = `${name} is ${JSON.stringify(found[name])}, expected ${JSON.stringify(expected[name])}`;
    throw damaged(path, offset, reason);
  }
}

/** Counts what is in a table, and checks the order and the filter. */
export class Tally {
  readonly #path: string;
  readonly #filter: Uint8Array;
  #first: Version | undefined;
  #last: Version | undefined;
  #blocks = 0;
  #versions = 0;
  #obsolete = 0;
  #revisionMin = Number.MAX_SAFE_INTEGER;
  #revisionMax = 0;

  constructor(path: string, filter: Uint8Array) {
    this.#path = path;
    this.#filter = filter;
  }

  add(block: Block, offset: number): void {
    const versions: Version[] = [];
    for (let restart = 0; restart < block.restartCount; restart++) block.decode(restart, versions);
    for (const version of versions) this.#addVersion(version, offset);
    this.#blocks++;
  }

  properties(): Properties {
    return {
      blocks: this.#blocks,
      versions: this.#versions,
      obsolete: this.#obsolete,
      revisionMin: this.#revisionMin,
      revisionMax: this.#revisionMax,
      first: this.#first?.key ?? '',
      last: this.#last?.key ?? '',
    };
  }

  #addVersion(version: Version, offset: number): void {
    const last = this.#last;
    const isSameKey = last?.key === version.key;
    const isInOrder =
      last === undefined || (isSameKey ? version.revision < last.revision : last.key < version.key);
    if (!isInOrder) throw damaged(this.#path, offset, 'its versions are out of order');
    if (!mayContain(this.#filter, version.key)) throw damaged(this.#path, offset, 'its filter misses a key');
    if (isSameKey || isTombstone(version)) this.#obsolete++;
    this.#first ??= version;
    this.#last = version;
    this.#versions++;
    this.#revisionMin = Math.min(this.#revisionMin, version.revision);
    this.#revisionMax = Math.max(this.#revisionMax, version.revision);
  }
}

/** A checksum as people see it. */
export function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}
