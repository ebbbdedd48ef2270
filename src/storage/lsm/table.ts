/**
 * Reads tables. The bytes are described in `table-writer.ts`. The footer, the index and the filter are read and checked
 * when a table is first used, and can be given back and read again; data blocks go through the shared cache, and are
 * checked when they come in.
 */
import { crc32 } from 'node:zlib';
import { assert, at } from '../../lib/assert.ts';
import { equalBytes, latin1, readUint64 } from '../../lib/bytes.ts';
import { StorageError } from '../../lib/errors.ts';
import type { File, FileSystem } from '../fs.ts';
import type { Version } from '../version-engine.ts';
import { BlockCache, CacheSlots } from './block-cache.ts';
import {
  BLOCK_KINDS,
  Block,
  type BlockHandle,
  type BlockKind,
  blockChecksum,
  damaged,
  openBlock,
} from './block.ts';
import { isFilter, mayContain } from './bloom.ts';
import type { Run, TableMeta, TableReader } from './table-format.ts';
import { tablePath } from './table-format.ts';
import { FOOTER_BYTES, TABLE_FORMAT, TABLE_MAGIC } from './table-writer.ts';

/** Bytes read at a time where a whole file is. */
const CHUNK_BYTES = 256 * 1024;

/** What is needed to read a table. */
export interface TableOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly meta: TableMeta;
  readonly cache: BlockCache;
  /** Is called before the file is opened, each time. */
  readonly onOpen?: () => void;
}

/** Where the parts of a table begin. */
interface Footer {
  readonly filterAt: number;
  readonly indexAt: number;
  readonly propertiesAt: number;
  readonly footerAt: number;
}

type Properties = Omit<TableMeta, 'number' | 'bytes' | 'crc32'> & { readonly blocks: number };

/** What is in memory of an open table. */
interface Opened {
  readonly file: File;
  readonly index: Block;
  readonly handles: readonly BlockHandle[];
  readonly filter: Uint8Array;
}

/**
 * The one implementation of {@link TableReader}. Nothing is read before it is needed. All that reads throws
 * {@link CorruptionError} with file and offset for damage, and {@link StorageError} when the disk refuses, or when the
 * format is one of a later program.
 */
export class Table implements TableReader {
  readonly meta: TableMeta;
  readonly #path: string;
  readonly #fs: FileSystem;
  readonly #onOpen: (() => void) | undefined;
  readonly #slots: CacheSlots;
  /** How many first characters all keys have in common. */
  readonly #common: number;
  #opened: Opened | undefined;
  #isClosed = false;
  #isUsed = false;

  constructor(options: TableOptions) {
    this.meta = options.meta;
    this.#path = tablePath(options.directory, options.meta.number);
    this.#fs = options.fs;
    this.#onOpen = options.onOpen;
    this.#slots = new CacheSlots(options.cache);
    this.#common = commonPrefix(options.meta.first, options.meta.last);
  }

  get(key: string, revision: number): Version | undefined {
    const { meta } = this;
    if (revision < meta.revisionMin || key < meta.first || key > meta.last) return undefined;
    const { filter, index, handles } = this.#open();
    if (!mayContain(filter, key)) return undefined;
    const ordinal = index.lowerBound(key, revision, this.#common);
    if (ordinal === handles.length) return undefined;
    return this.block(ordinal).get(key, revision, this.#common);
  }

  forward(start?: string): Run {
    return new ForwardRun(this, start);
  }

  backward(end?: string): Run {
    return new BackwardRun(this, end);
  }

  /** For runs: the number of data blocks. */
  get blockCount(): number {
    return this.#open().handles.length;
  }

  /** For runs: the first data block whose last key is not below `key`; {@link blockCount} when there is none. */
  blockOf(key: string): number {
    return this.#open().index.lowerBound(key, Number.MAX_SAFE_INTEGER, 0);
  }

  /** For runs: a data block, checked. */
  block(ordinal: number): Block {
    const cached = this.#slots.get(ordinal);
    if (cached !== undefined) return cached;
    const { file, handles } = this.#open();
    const { offset, bytes } = at(handles, ordinal);
    const content = openBlock(this.#read(file, offset, bytes), BLOCK_KINDS.data, this.#path, offset);
    const block = new Block(content, this.#path, offset);
    this.#slots.set(ordinal, block);
    return block;
  }

  verify(): void {
    this.rest();
    const { file, handles, filter } = this.#open();
    const tally = new Tally(this.#path, filter);
    let checksum = 0;
    for (const { offset, bytes } of handles) {
      const raw = this.#read(file, offset, bytes);
      checksum = crc32(raw, checksum);
      const block = new Block(openBlock(raw, BLOCK_KINDS.data, this.#path, offset), this.#path, offset);
      tally.add(block, offset);
    }
    const last = handles.at(-1);
    const end = last === undefined ? 0 : last.offset + last.bytes;
    checksum = crc32(this.#read(file, end, this.meta.bytes - end), checksum);
    if (checksum !== this.meta.crc32) {
      const reason = `checksum of the file is ${hex(checksum)}, expected ${hex(this.meta.crc32)}`;
      throw damaged(this.#path, 0, reason);
    }
    const { number, bytes, crc32: whole, ...rest } = this.meta;
    assert(number >= 0 && bytes > 0 && whole >= 0, 'Numbers of a table are natural');
    compareProperties({ blocks: handles.length, ...rest }, tally.properties(), this.#path, 0);
  }

  close(): void {
    this.rest();
    this.#slots.clear();
    this.#isClosed = true;
  }

  /** Gives back the file and what is in memory besides blocks. The next use opens it again. */
  rest(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.file.close();
  }

  /** Whether it was used since this was asked last. */
  takeUse(): boolean {
    const isUsed = this.#isUsed;
    this.#isUsed = false;
    return isUsed;
  }

  #open(): Opened {
    this.#isUsed = true;
    return this.#opened ?? this.#openFile();
  }

  #openFile(): Opened {
    assert(!this.#isClosed, 'The table is closed');
    this.#onOpen?.();
    const file = this.#fs.open(this.#path, 'read');
    try {
      const opened = this.#load(file);
      this.#opened = opened;
      return opened;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #load(file: File): Opened {
    const path = this.#path;
    const size = file.size();
    if (size !== this.meta.bytes)
      throw damaged(path, size, `it has ${size} bytes, expected ${this.meta.bytes}`);
    const ends = readFooter(file, path, size);
    const { filterAt, indexAt, propertiesAt, footerAt } = ends;
    const raw = this.#read(file, filterAt, footerAt - filterAt);
    function part(kind: BlockKind, start: number, end: number): Uint8Array {
      return openBlock(raw.subarray(start - filterAt, end - filterAt), kind, path, start);
    }
    // What outlives this call is copied out of `raw`, each to a length of its own.
    const filter = part(BLOCK_KINDS.filter, filterAt, indexAt);
    if (!isFilter(filter)) throw damaged(path, filterAt, 'it is not a filter');
    const index = new Block(part(BLOCK_KINDS.index, indexAt, propertiesAt), path, indexAt);
    const handles = checkedHandles(index, filterAt, path, indexAt);
    const properties = parseProperties(
      part(BLOCK_KINDS.properties, propertiesAt, footerAt),
      path,
      propertiesAt,
    );
    const { number: _number, bytes: _bytes, crc32: _crc32, ...expected } = this.meta;
    compareProperties({ blocks: handles.length, ...expected }, properties, path, propertiesAt);
    return { file, index, handles, filter };
  }

  #read(file: File, offset: number, length: number): Uint8Array {
    const bytes = file.read(offset, length);
    if (bytes.length === length) return bytes;
    throw damaged(this.#path, offset, `only ${bytes.length} of ${length} bytes are there`);
  }
}

/**
 * What a manifest would say of the table in a file: for those who have lost theirs, and for a file that came from a peer.
 * Every byte of it is read and checked. Throws {@link CorruptionError} and {@link StorageError} like {@link Table}.
 */
export function inspectTable(fs: FileSystem, directory: string, number: number): TableMeta {
  const path = tablePath(directory, number);
  const file = fs.open(path, 'read');
  let meta: TableMeta;
  try {
    const size = file.size();
    let checksum = 0;
    for (let offset = 0; offset < size; offset += CHUNK_BYTES) {
      checksum = crc32(file.read(offset, Math.min(CHUNK_BYTES, size - offset)), checksum);
    }
    const { propertiesAt, footerAt } = readFooter(file, path, size);
    const raw = file.read(propertiesAt, footerAt - propertiesAt);
    const content = openBlock(raw, BLOCK_KINDS.properties, path, propertiesAt);
    const { blocks: _blocks, ...rest } = parseProperties(content, path, propertiesAt);
    meta = { number, bytes: size, crc32: checksum, ...rest };
  } finally {
    file.close();
  }
  const table = new Table({ fs, directory, meta, cache: new BlockCache(0) });
  try {
    table.verify();
  } finally {
    table.close();
  }
  return meta;
}

function readFooter(file: File, path: string, size: number): Footer {
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
    throw new StorageError(
      `Cannot open table "${path}": its format is ${format}, and this program knows ${TABLE_FORMAT} alone`,
    );
  }
  const filterAt = readUint64(view, 0);
  const indexAt = readUint64(view, 8);
  const propertiesAt = readUint64(view, 16);
  const isOrdered = filterAt < indexAt && indexAt < propertiesAt && propertiesAt < footerAt;
  if (!isOrdered || readUint64(view, 24) !== size)
    throw damaged(path, footerAt, 'its parts are out of bounds');
  return { filterAt, indexAt, propertiesAt, footerAt };
}

/** The handles of an index, which must cover the file from its start to the filter. */
function checkedHandles(index: Block, end: number, path: string, indexAt: number): readonly BlockHandle[] {
  const handles = index.handles();
  let expected = 0;
  for (const { offset, bytes } of handles) {
    if (offset !== expected) throw damaged(path, indexAt, 'its blocks are not one behind the other');
    expected += bytes;
  }
  if (expected !== end) throw damaged(path, indexAt, 'its blocks do not reach the filter');
  return handles;
}

function parseProperties(content: Uint8Array, path: string, offset: number): Properties {
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
function compareProperties(expected: Properties, found: Properties, path: string, offset: number): void {
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
class Tally {
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
    if (isSameKey || version.version === 0) this.#obsolete++;
    this.#first ??= version;
    this.#last = version;
    this.#versions++;
    this.#revisionMin = Math.min(this.#revisionMin, version.revision);
    this.#revisionMax = Math.max(this.#revisionMax, version.revision);
  }
}

/** From a key to the end, an interval of a block at a time. */
class ForwardRun implements Run {
  readonly #table: Table;
  #start: string | undefined;
  #block: Block | undefined;
  #ordinal = 0;
  #restart = 0;
  #batch: Version[] = [];
  #next = 0;
  #isDone = false;

  constructor(table: Table, start: string | undefined) {
    this.#table = table;
    this.#start = start;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    const value = this.#batch[this.#next];
    if (value !== undefined) {
      this.#next++;
      return { done: false, value };
    }
    return this.#fill() ? this.next() : { done: true, value: undefined };
  }

  return(): IteratorResult<Version> {
    this.#isDone = true;
    this.#batch = [];
    this.#block = undefined;
    return { done: true, value: undefined };
  }

  /** Decodes the next interval. @returns false at the end */
  #fill(): boolean {
    if (this.#isDone) return false;
    const block = this.#block ?? this.#seek();
    if (block === undefined) {
      this.return();
      return false;
    }
    this.#batch = [];
    this.#next = 0;
    block.decode(this.#restart++, this.#batch);
    const start = this.#start;
    if (start !== undefined) {
      while (this.#next < this.#batch.length && at(this.#batch, this.#next).key < start) this.#next++;
      if (this.#next < this.#batch.length) this.#start = undefined;
    }
    this.#block = block;
    if (this.#restart === block.restartCount) {
      this.#block = undefined;
      this.#ordinal++;
      this.#restart = 0;
    }
    return true;
  }

  /** The next block; the first time, the one where the run begins. */
  #seek(): Block | undefined {
    const start = this.#start;
    if (start !== undefined && this.#ordinal === 0) this.#ordinal = this.#table.blockOf(start);
    if (this.#ordinal === this.#table.blockCount) return undefined;
    const block = this.#table.block(this.#ordinal);
    if (start !== undefined) {
      this.#restart = Math.max(0, block.lowerBound(start, Number.MAX_SAFE_INTEGER, 0) - 1);
    }
    return block;
  }
}

/** From below a key to the beginning, an interval of a block at a time. */
class BackwardRun implements Run {
  readonly #table: Table;
  #end: string | undefined;
  #block: Block | undefined;
  /** The block that comes next; undefined before the first. */
  #ordinal: number | undefined;
  /** Intervals of the block that are still to come. */
  #restarts = 0;
  #batch: Version[] = [];
  #isDone = false;

  constructor(table: Table, end: string | undefined) {
    this.#table = table;
    this.#end = end;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    const value = this.#batch.pop();
    if (value !== undefined) return { done: false, value };
    return this.#fill() ? this.next() : { done: true, value: undefined };
  }

  return(): IteratorResult<Version> {
    this.#isDone = true;
    this.#batch = [];
    this.#block = undefined;
    return { done: true, value: undefined };
  }

  #fill(): boolean {
    while (!this.#isDone && this.#restarts === 0) this.#seek();
    const block = this.#block;
    if (this.#isDone || block === undefined) return false;
    block.decode(--this.#restarts, this.#batch);
    const end = this.#end;
    if (end !== undefined) {
      while (this.#batch.length > 0 && at(this.#batch, this.#batch.length - 1).key >= end) this.#batch.pop();
      if (this.#batch.length > 0) this.#end = undefined;
    }
    return true;
  }

  #seek(): void {
    const end = this.#end;
    const last = this.#table.blockCount - 1;
    const first = end === undefined ? last : Math.min(last, this.#table.blockOf(end));
    const ordinal = this.#ordinal ?? first;
    if (ordinal < 0) {
      this.return();
      return;
    }
    const block = this.#table.block(ordinal);
    this.#block = block;
    this.#restarts =
      end === undefined ? block.restartCount : block.lowerBound(end, Number.MAX_SAFE_INTEGER, 0);
    this.#ordinal = ordinal - 1;
  }
}

function commonPrefix(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}
