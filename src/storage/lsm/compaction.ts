/**
 * Carries a compaction out: merges tables into new ones. It knows nothing but its job and the disk, so that it can be done
 * on any thread; what it leaves counts for nothing until a manifest names it.
 */
import { at } from '../../lib/assert.ts';
import { CorruptionError, StorageError, messageOf } from '../../lib/errors.ts';
import { removeQuietly } from '../files.ts';
import type { FileSystem } from '../fs.ts';
import { BlockCache } from './block-cache.ts';
import { mergeRuns, withinHorizon } from './merge.ts';
import {
  type CompactionJob,
  type CompactionResult,
  type Run,
  type TableMeta,
  tablePath,
} from './table-format.ts';
import { TableFileWriter } from './table-writer.ts';
import { Table } from './table.ts';

/** Versions written, and bytes, in one slice: about a millisecond. */
const VERSIONS_A_SLICE = 1024;
const BYTES_A_SLICE = 256 * 1024;

/**
 * Does a compaction a slice at a time; {@link compactNow} in one go. Ended early with `return()` it removes what it wrote, as
 * it does when it fails.
 */
export function* runCompaction(fs: FileSystem, job: CompactionJob): Generator<undefined, CompactionResult> {
  const outputs = new Outputs(fs, job);
  const culprit: Culprit = { table: at(job.inputs, 0).number };
  const tables: Table[] = [];
  let isDone = false;
  try {
    // Every block is read once: nothing is worth keeping.
    const cache = new BlockCache(0);
    const { directory, horizon, isDeepest } = job;
    for (const meta of job.inputs) tables.push(new Table({ fs, directory, meta, cache }));
    const runs = tables.map((table) => watched(table, culprit));
    for (const version of withinHorizon(mergeRuns(runs), horizon, isDeepest)) {
      if (outputs.add(version)) yield undefined;
    }
    const metas = outputs.finish();
    isDone = true;
    let readBytes = 0;
    for (const { bytes } of job.inputs) readBytes += bytes;
    return { kind: 'done', outputs: metas, readBytes };
  } catch (error) {
    if (error instanceof CorruptionError)
      return { kind: 'corrupt', table: culprit.table, message: error.message };
    if (error instanceof StorageError)
      return { kind: 'failed', isFull: isDiskFull(error), message: messageOf(error) };
    throw error;
  } finally {
    for (const table of tables) table.close();
    if (!isDone) outputs.abort();
  }
}

/** {@link runCompaction} in one go, for a thread that has nothing else to do. */
export function compactNow(fs: FileSystem, job: CompactionJob): CompactionResult {
  const slices = runCompaction(fs, job);
  for (;;) {
    const slice = slices.next();
    if (slice.done === true) return slice.value;
  }
}

/** Whether the disk refused for want of space: it may have some later. */
export function isDiskFull(error: StorageError): boolean {
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The table that was being read when something was thrown. */
interface Culprit {
  table: number;
}

function* watched(table: Table, culprit: Culprit): Run {
  try {
    yield* table.pass();
  } catch (error) {
    culprit.table = table.meta.number;
    throw error;
  }
}

/** The new tables: one after the other, each at most a little over the size that a table should have. */
class Outputs {
  readonly #fs: FileSystem;
  readonly #job: CompactionJob;
  readonly #metas: TableMeta[] = [];
  #writer: TableFileWriter | undefined;
  #next: number;
  #lastKey: string | undefined;
  #versions = 0;
  #sliceStart = 0;

  constructor(fs: FileSystem, job: CompactionJob) {
    this.#fs = fs;
    this.#job = job;
    this.#next = job.firstNumber;
  }

  /** @returns whether a slice is full */
  add(version: Parameters<TableFileWriter['add']>[0]): boolean {
    // All versions of a key stay together: in a sorted level, one table answers for a key.
    const isFull = (this.#writer?.bytes ?? 0) >= this.#job.options.tableBytesMax;
    if (isFull && version.key !== this.#lastKey) this.#finishTable();
    const writer = this.#writer ?? this.#begin();
    writer.add(version);
    this.#lastKey = version.key;
    this.#versions += 1;
    const isSlice = this.#versions >= VERSIONS_A_SLICE || writer.bytes - this.#sliceStart >= BYTES_A_SLICE;
    if (!isSlice) return false;
    this.#versions = 0;
    this.#sliceStart = writer.bytes;
    return true;
  }

  /** Makes everything durable. */
  finish(): readonly TableMeta[] {
    this.#finishTable();
    if (this.#metas.length > 0) this.#fs.syncDirectory(this.#job.directory);
    return this.#metas;
  }

  /** Removes everything. */
  abort(): void {
    this.#writer?.abort();
    for (const { number } of this.#metas) removeQuietly(this.#fs, tablePath(this.#job.directory, number));
  }

  #begin(): TableFileWriter {
    const { directory, lastNumber, options } = this.#job;
    if (this.#next > lastNumber)
      throw new StorageError(`Cannot compact into "${directory}": it needs more than its share of numbers`);
    const { blockBytes, bloomBitsPerKey } = options;
    const number = this.#next;
    this.#next += 1;
    this.#sliceStart = 0;
    this.#writer = new TableFileWriter({ fs: this.#fs, directory, number, blockBytes, bloomBitsPerKey });
    return this.#writer;
  }

  #finishTable(): void {
    if (this.#writer === undefined) return;
    this.#metas.push(this.#writer.finish());
    this.#writer = undefined;
  }
}
