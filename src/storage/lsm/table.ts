/**
 * Reads tables. The bytes are described in `table-writer.ts`. The footer, the index and the filter are read and checked
 * when a table is first used, and can be given back and read again; data blocks go through the shared cache, and are
 * checked when they come in.
 */
import { assert, at } from '../../lib/assert.ts';
import type { File, FileSystem } from '../fs.ts';
import type { Version } from '../version-engine.ts';
import { crc32 } from '../checksum.ts';
import { type BlockCache, CacheSlots } from './block-cache.ts';
import { BLOCK_KINDS, Block, type BlockHandle, type BlockKind, damaged, openBlock } from './block.ts';
import { isFilter, mayContain } from './bloom.ts';
import { ReadAhead } from './read-ahead.ts';
import type { Run, TableMeta, TableReader } from './table-format.ts';
import { tablePath } from './table-format.ts';
import { Tally, checkHandles, compareProperties, hex, parseProperties, readFooter } from './table-parts.ts';
import { TableIndex } from './table-index.ts';
import { type BlockSource, backwardRun, forwardRun } from './table-run.ts';

/** Bytes verified in a step. */
const STEP_BYTES = 1024 * 1024;

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

  /** {@link forward} from the first version to the last, for one reader who needs the value of a version only until the next. */
  pass(): Run {
    const { file, index } = this.#open();
    const { handles } = index;
    const ahead = new ReadAhead(file, endOf(handles));
    const block = (ordinal: number): Block => {
      const { offset, bytes } = at(handles, ordinal);
      return this.#blockOf(this.#whole(ahead.read(offset, bytes), offset, bytes), offset);
    };
    const blockCount = handles.length;
    return forwardRun(
      { blockCount, blockOf: (key) => this.blockOf(key), block, blockOnce: block },
      undefined,
    );
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
    const steps = this.verification();
    while (steps.next().done !== true);
  }

  /** {@link verify}, about a mebibyte a step. */
  *verification(): Generator<undefined, void> {
    // With a file of its own: what is in memory already says nothing of the disk.
    const file = this.#fs.open(this.#path, 'read');
    try {
      yield* this.#verification(file);
    } finally {
      file.close();
    }
  }

  *#verification(file: File): Generator<undefined, void> {
    const { index, filter } = this.#load(file);
    const { handles } = index;
    const tally = new Tally(this.#path, filter);
    const end = endOf(handles);
    const ahead = new ReadAhead(file, end);
    let checksum = 0;
    let stepEnd = STEP_BYTES;
    for (const { offset, bytes } of handles) {
      const raw = this.#whole(ahead.read(offset, bytes), offset, bytes);
      checksum = crc32(raw, 0, bytes, checksum);
      tally.add(this.#blockOf(raw, offset), offset);
      if (offset < stepEnd) continue;
      stepEnd = offset + STEP_BYTES;
      yield undefined;
    }
    const rest = this.#read(file, end, this.meta.bytes - end);
    checksum = crc32(rest, 0, rest.length, checksum);
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
    return this.#blockOf(this.#read(file, offset, bytes, memory), offset, memory !== undefined);
  }

  #blockOf(raw: Uint8Array, offset: number, isRecycled = false): Block {
    const content = openBlock(raw, BLOCK_KINDS.data, this.#path, offset);
    return new Block(content, this.#path, offset, isRecycled);
  }

  #read(file: File, offset: number, length: number, into?: Uint8Array): Uint8Array {
    return this.#whole(file.read(offset, length, into?.subarray(0, length)), offset, length);
  }

  #whole(bytes: Uint8Array, offset: number, length: number): Uint8Array {
    if (bytes.length === length) return bytes;
    throw damaged(this.#path, offset, `only ${bytes.length} of ${length} bytes are there`);
  }
}

/** Behind the last block. */
function endOf(handles: readonly BlockHandle[]): number {
  const last = handles.at(-1);
  return last === undefined ? 0 : last.offset + last.bytes;
}
