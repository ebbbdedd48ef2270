/**
 * Writes tables: immutable sorted files of versions. The format, version 1; all integers little-endian:
 *
 *   file        data block 0 … data block n-1, filter block, index block, properties block, footer: without gaps
 *   block       content, kind (1 byte: 1 data, 2 filter, 3 index, 4 properties), CRC-32 (4) of content and kind
 *               begun from the offset of the block in the file (mod 2^32) instead of 0, so that its place is checked too
 *   varint      seven bits a byte, the lowest first; the top bit says that more follow
 *
 * Data and index blocks hold entries, then restart points:
 *
 *   content     entry…, offset in the block of each entry that is a restart point (4 each), number of these (4)
 *   entry       shared varint, unshared varint, tail length varint, the last `unshared` bytes of the key, tail
 *
 * The key begins with the first `shared` bytes of the key of the entry before. At a restart point, each 16th entry of a data
 * block and each of an index block, `shared` is 0. Keys are bytes, one a latin-1 character. Entries are in the order of keys,
 * and of one key the highest revision comes first.
 *
 *   data tail   revision varint, flags (1), [created varint, count of puts varint], [sub varint], [lease, 8], value
 *               flags 1: a tombstone, 2: the first put of a life (created = revision, count = 1): neither has the two fields
 *               flags 4: there is a sub, else it is 0; 8: there is a lease, else it is 0
 *   index tail  revision varint, offset varint, length varint: of the data block whose last key and revision these are
 *   filter      see bloom.ts
 *   properties  varints: data blocks, versions, obsolete versions, lowest revision, highest revision; then first and last key,
 *               each as length varint and bytes: what a manifest knows, to be compared with it
 *   footer      offset of the filter block (8), of the index block (8), of the properties block (8), length of the file (8),
 *               format version (4), CRC-32 (4) of all before it begun from the offset of the footer, "OXIDESST" (8)
 *
 * A file is written under its final name, and is an orphan until a manifest names it. Not done here: the sync of the directory.
 */
import { assert } from '../../lib/assert.ts';
import { fromLatin1, writeUint64 } from '../../lib/bytes.ts';
import type { File, FileSystem } from '../fs.ts';
import type { Version } from '../version-engine.ts';
import { crc32 } from '../checksum.ts';
import { BlockBuilder } from './block-builder.ts';
import { BLOCK_KINDS, type BlockKind, TRAILER_BYTES, blockChecksum } from './block.ts';
import { BloomBuilder } from './bloom.ts';
import type { Run, TableMeta, TableWriter } from './table-format.ts';
import { tablePath } from './table-format.ts';

/** The version of the format that is written. */
export const TABLE_FORMAT = 1;

export const FOOTER_BYTES = 48;

/** The last eight bytes of every table. */
export const TABLE_MAGIC: Uint8Array = fromLatin1('OXIDESST');

/** More than an entry usually takes beside its key and value, with a restart point. */
const ENTRY_OVERHEAD = 40;

/** Bytes gathered before a write call. */
const CHUNK_BYTES = 256 * 1024;

/** Bytes written between two syncs, so that the last one has little left to wait for. */
const SYNC_EVERY_BYTES = 2 * 1024 * 1024;

/** Where and how a table is written. */
export interface TableWriterOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  /** Names the file, which must not exist. */
  readonly number: number;
  readonly blockBytes: number;
  readonly bloomBitsPerKey: number;
}

/**
 * Writes the versions of a run that is not empty to a new table, durable on return. Throws {@link StorageError} when the
 * disk refuses; the file is gone then, or an orphan.
 */
export function writeTable(options: TableWriterOptions, run: Run): TableMeta {
  const writer = new TableFileWriter(options);
  try {
    for (const version of run) writer.add(version);
    return writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/** The one implementation of {@link TableWriter}. After anything thrown the caller aborts it. */
export class TableFileWriter implements TableWriter {
  readonly #options: TableWriterOptions;
  readonly #path: string;
  readonly #output: Output;
  readonly #block: BlockBuilder;
  readonly #index = new BlockBuilder(4096, 1);
  readonly #bloom: BloomBuilder;
  #first = '';
  #last: Version | undefined;
  #revisionMin = Number.MAX_SAFE_INTEGER;
  #revisionMax = 0;
  #versions = 0;
  #obsolete = 0;
  #blocks = 0;
  #isOpen = true;

  /** Creates the file. Throws {@link StorageError}. */
  constructor(options: TableWriterOptions) {
    assert(options.blockBytes >= 64, 'A block holds more than its trailer');
    this.#options = options;
    this.#path = tablePath(options.directory, options.number);
    this.#block = new BlockBuilder(options.blockBytes + 4096);
    this.#bloom = new BloomBuilder(options.bloomBitsPerKey);
    this.#output = new Output(options.fs.open(this.#path, 'create'));
  }

  get bytes(): number {
    const block = this.#block.isEmpty ? 0 : this.#block.bytes;
    return this.#output.length + block + this.#index.bytes + this.#bloom.bytes + FOOTER_BYTES;
  }

  add(version: Version): void {
    assert(this.#isOpen, 'The table is finished');
    const { key, revision } = version;
    const last = this.#last;
    const isTombstone = version.version === 0;
    assert(revision >= 1 && version.created <= revision, 'A version is created at or before its revision');
    assert(!isTombstone || (version.value.length === 0 && version.created === 0), 'A tombstone is empty');
    if (last !== undefined && last.key === key) {
      assert(revision < last.revision, 'Versions of a key come newest first');
      this.#obsolete++;
    } else {
      if (last === undefined) this.#first = key;
      else assert(last.key < key, 'Keys come in order');
      this.#bloom.add(key);
      if (isTombstone) this.#obsolete++;
    }
    // A block is filled up to its size and not beyond: blocks in memory that are alike in size can take each other's place.
    if (last !== undefined && !this.#block.isEmpty) {
      const room = this.#options.blockBytes - this.#block.bytes - ENTRY_OVERHEAD;
      if (key.length + version.value.length > room) this.#endBlock(last);
    }
    this.#last = version;
    this.#versions++;
    if (revision < this.#revisionMin) this.#revisionMin = revision;
    if (revision > this.#revisionMax) this.#revisionMax = revision;
    this.#block.add(version);
  }

  finish(): TableMeta {
    const last = this.#last;
    assert(this.#isOpen, 'The table is finished');
    assert(last !== undefined, 'A table has at least one version');
    if (!this.#block.isEmpty) this.#endBlock(last);
    const output = this.#output;
    const filterAt = output.length;
    output.append(sealed(this.#bloom.finish(), BLOCK_KINDS.filter, filterAt));
    const indexAt = output.length;
    output.append(this.#index.seal(BLOCK_KINDS.index, indexAt));
    const propertiesAt = output.length;
    output.append(sealed(this.#properties(last.key), BLOCK_KINDS.properties, propertiesAt));
    output.append(footer(filterAt, indexAt, propertiesAt, output.length));
    const crc = output.finish();
    this.#isOpen = false;
    return {
      number: this.#options.number,
      bytes: output.length,
      crc32: crc,
      first: this.#first,
      last: last.key,
      revisionMin: this.#revisionMin,
      revisionMax: this.#revisionMax,
      versions: this.#versions,
      obsolete: this.#obsolete,
    };
  }

  abort(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      this.#output.close();
      this.#options.fs.remove(this.#path);
    } catch {
      // The error that led here is the one to report, and whoever opens the directory next removes the orphan.
    }
  }

  #endBlock(last: Version): void {
    const offset = this.#output.length;
    const bytes = this.#block.seal(BLOCK_KINDS.data, offset);
    this.#index.addHandle(last.key, last.revision, offset, bytes.length);
    this.#blocks++;
    this.#output.append(bytes);
  }

  #properties(last: string): Uint8Array {
    const out: number[] = [];
    const counts = [this.#blocks, this.#versions, this.#obsolete, this.#revisionMin, this.#revisionMax];
    for (const count of counts) pushVarint(out, count);
    for (const key of [this.#first, last]) {
      pushVarint(out, key.length);
      for (let i = 0; i < key.length; i++) out.push(key.charCodeAt(i));
    }
    return Uint8Array.from(out);
  }
}

/** The file, written from the start to the end in large pieces. */
class Output {
  readonly #file: File;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #chunkLength = 0;
  #written = 0;
  #synced = 0;
  #crc32 = 0;

  constructor(file: File) {
    this.#file = file;
  }

  get length(): number {
    return this.#written + this.#chunkLength;
  }

  append(bytes: Uint8Array): void {
    if (this.#chunkLength + bytes.length > CHUNK_BYTES) this.#flush();
    if (bytes.length > CHUNK_BYTES) {
      this.#write(bytes);
      return;
    }
    this.#chunk.set(bytes, this.#chunkLength);
    this.#chunkLength += bytes.length;
  }

  /** Makes everything durable. @returns the checksum of the file */
  finish(): number {
    this.#flush();
    this.#file.sync();
    this.#file.close();
    return this.#crc32;
  }

  close(): void {
    this.#file.close();
  }

  #flush(): void {
    if (this.#chunkLength > 0) this.#write(this.#chunk.subarray(0, this.#chunkLength));
    this.#chunkLength = 0;
  }

  #write(bytes: Uint8Array): void {
    this.#crc32 = crc32(bytes, 0, bytes.length, this.#crc32);
    this.#file.write(bytes, this.#written);
    this.#written += bytes.length;
    if (this.#written - this.#synced < SYNC_EVERY_BYTES) return;
    this.#file.sync();
    this.#synced = this.#written;
  }
}

/** A block of any content. */
function sealed(content: Uint8Array, kind: BlockKind, offset: number): Uint8Array {
  const block = new Uint8Array(content.length + TRAILER_BYTES);
  block.set(content);
  block[content.length] = kind;
  const checksum = blockChecksum(block, 0, content.length + 1, offset);
  new DataView(block.buffer).setUint32(content.length + 1, checksum, true);
  return block;
}

function footer(filterAt: number, indexAt: number, propertiesAt: number, footerAt: number): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  const view = new DataView(bytes.buffer);
  writeUint64(view, 0, filterAt);
  writeUint64(view, 8, indexAt);
  writeUint64(view, 16, propertiesAt);
  writeUint64(view, 24, footerAt + FOOTER_BYTES);
  view.setUint32(32, TABLE_FORMAT, true);
  view.setUint32(36, blockChecksum(bytes, 0, 36, footerAt), true);
  bytes.set(TABLE_MAGIC, 40);
  return bytes;
}

function pushVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}
