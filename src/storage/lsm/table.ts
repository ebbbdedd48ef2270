/**
 * Reads tables. The bytes are described in `table-writer.ts`. The footer, the index and the filter are read and checked
 * when a table is first used, and can be given back and read again; data blocks go through the shared cache, and are
 * checked when they come in.
 */
import { assert, at } from '../../lib/assert.ts';
import type { File, FileSystem } from '../fs.ts';
import type { Version } from '../version-engine.ts';
import { crc32 } from './checksum.ts';
import { BlockCache, CacheSlots } from './block-cache.ts';
import { BLOCK_KINDS, Block, type BlockHandle, type BlockKind, damaged, openBlock } from './block.ts';
import { isFilter, mayContain } from './bloom.ts';
import type { Run, TableMeta, TableReader } from './table-format.ts';
import { tablePath } from './table-format.ts';
import { Tally, checkHandles, compareProperties, hex, parseProperties, readFooter } from './table-parts.ts';
import { TableIndex } from './table-index.ts';
import { type BlockSource, backwardRun, forwardRun } from './table-run.ts';

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

/** What is in memory of an open table. */
interface Opened {
  readonly file: File;
  readonly index: TableIndex;
  readonly filter: Uint8Array;
}

/**
 * The one implementation of {@link TableReader}. Nothing is read before it is needed. All that reads throws
 * {@link CorruptionError} with file and offset for damage, and {@link StorageError} when the disk refuses, or when the
 * format is one of a later program.
 */
export class Table implements TableReader, BlockSource {
  readonly meta: TableMeta;
  readonly #path: string;
  readonly #fs: FileSystem;
  readonly #onOpen: (() => void) | undefined;
  readonly #cache: BlockCache;
  readonly #slots: CacheSlots;
  #opened: Opened | undefined;
  #isClosed = false;
  #isUsed = false;

  constructor(options: TableOptions) {
    this.meta = options.meta;
    this.#path = tablePath(options.directory, options.meta.number);
    this.#fs = options.fs;
    this.#onOpen = options.onOpen;
    this.#cache = options.cache;
    this.#slots = new CacheSlots(options.cache);
  }

  get(key: string, revision: number): Version | undefined {
    const { meta } = this;
    if (revision < meta.revisionMin || key < meta.first || key > meta.last) return undefined;
    const { filter, index } = this.#open();
    if (!mayContain(filter, key)) return undefined;
    const ordinal = index.find(key, revision);
    if (ordinal === index.handles.length) return undefined;
    return this.block(ordinal).get(key, revision, index.common);
  }

  forward(start?: string): Run {
    return forwardRun(this, start);
  }

  backward(end?: string): Run {
    return backwardRun(this, end);
  }

  get blockCount(): number {
    return this.#open().index.handles.length;
  }

  blockOf(key: string): number {
    return this.#open().index.find(key, Number.MAX_SAFE_INTEGER);
  }

  block(ordinal: number): Block {
    const cached = this.#slots.get(ordinal);
    if (cached !== undefined) return cached;
    const { file, index } = this.#open();
    const handle = at(index.handles, ordinal);
    const memory = this.#cache.memoryFor(handle.bytes);
    const block = this.#readBlock(file, handle, memory);
    this.#slots.set(ordinal, block, memory);
    return block;
  }

  blockOnce(ordinal: number): Block {
    const { file, index } = this.#open();
    return this.#slots.get(ordinal) ?? this.#readBlock(file, at(index.handles, ordinal));
  }

  verify(): void {
    // With a file of its own: what is in memory already says nothing of the disk.
    const file = this.#fs.open(this.#path, 'read');
    try {
      this.#verify(file);
    } finally {
      file.close();
    }
  }

  #verify(file: File): void {
    const { index, filter } = this.#load(file);
    const { handles } = index;
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
    compareProperties({ blocks: handles.length, ...this.meta }, tally.properties(), this.#path, 0);
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
    const filter = part(BLOCK_KINDS.filter, filterAt, indexAt);
    if (!isFilter(filter)) throw damaged(path, filterAt, 'it is not a filter');
    const properties = parseProperties(
      part(BLOCK_KINDS.properties, propertiesAt, footerAt),
      path,
      propertiesAt,
    );
    const block = new Block(part(BLOCK_KINDS.index, indexAt, propertiesAt), path, indexAt);
    const index = new TableIndex(block, properties);
    checkHandles(index.handles, filterAt, path, indexAt);
    compareProperties({ blocks: index.handles.length, ...this.meta }, properties, path, propertiesAt);
    return { file, index, filter };
  }

  #readBlock(file: File, { offset, bytes }: BlockHandle, memory?: Uint8Array): Block {
    const raw = this.#read(file, offset, bytes, memory);
    const content = openBlock(raw, BLOCK_KINDS.data, this.#path, offset);
    return new Block(content, this.#path, offset, memory !== undefined);
  }

  #read(file: File, offset: number, length: number, into?: Uint8Array): Uint8Array {
    const bytes = file.read(offset, length, into?.subarray(0, length));
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
