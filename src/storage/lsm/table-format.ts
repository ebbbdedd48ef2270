/**
 * What the parts of the tree say to each other about tables: immutable sorted files of versions. The bytes of one are
 * described in `table-writer.ts`, which is the only one that writes them; `table.ts` reads them.
 */
import type { Version } from '../version-engine.ts';

/** What the manifest remembers of a table, and all that is needed to choose it without opening it. */
export interface TableMeta {
  /** Names the file: `000123.sst`. Never used twice in the life of a tree. */
  readonly number: number;
  readonly bytes: number;
  /** CRC-32 of the whole file: it is what a peer that receives the file compares. */
  readonly crc32: number;
  /** First and last key. */
  readonly first: string;
  readonly last: string;
  readonly revisionMin: number;
  readonly revisionMax: number;
  readonly versions: number;
  /** Versions that a compaction could drop one day: tombstones, and those with a newer one of the same key in this table. */
  readonly obsolete: number;
}

/** The file of a table. */
export function tablePath(directory: string, number: number): string {
  return `${directory}/${String(number).padStart(6, '0')}.sst`;
}

/** A sorted run of versions: in key order, and of one key the newest first. */
export type Run = IterableIterator<Version>;

/** Sizes, for the life of a tree. */
export interface LsmOptions {
  /** A memtable of this size is flushed. Bytes of keys and values and what each version costs besides. */
  readonly memtableBytesMax: number;
  readonly tableBytesMax: number;
  readonly blockBytes: number;
  readonly bloomBitsPerKey: number;
  readonly cacheBytesMax: number;
  /** Tables of level 0 at which a compaction is due, and at which no more writes are accepted. */
  readonly level0Tables: number;
  readonly level0TablesMax: number;
  /** Bytes of level 1; each further level holds `levelFactor` times as much. */
  readonly level1Bytes: number;
  readonly levelFactor: number;
  readonly openTablesMax: number;
}

/** Sizes that suit a server with some hundred megabytes to spare. */
export const LSM_OPTIONS: LsmOptions = {
  memtableBytesMax: 32 * 2 ** 20,
  tableBytesMax: 8 * 2 ** 20,
  blockBytes: 4 * 1024,
  bloomBitsPerKey: 10,
  cacheBytesMax: 64 * 2 ** 20,
  level0Tables: 4,
  level0TablesMax: 16,
  level1Bytes: 64 * 2 ** 20,
  levelFactor: 10,
  openTablesMax: 1000,
};

/** The highest number of levels, level 0 included. */
export const LEVELS_MAX = 7;

/** A merge of tables into a lower level: plain data, so that it can be done on another thread. */
export interface CompactionJob {
  /** The directory of the tables. */
  readonly directory: string;
  readonly fromLevel: number;
  readonly toLevel: number;
  /** Newest first where they overlap. */
  readonly inputs: readonly TableMeta[];
  /** Numbers that are free for its output; more than it can need. */
  readonly firstNumber: number;
  readonly lastNumber: number;
  /** History below may go (see `VersionEngine.compact`). */
  readonly horizon: number;
  /** No deeper level holds any of these keys: a tombstone at or below the horizon may go. */
  readonly isDeepest: boolean;
  readonly options: LsmOptions;
}

/** How a job ended. Its files are durable, and orphans until a manifest names them. */
export type CompactionResult =
  | { readonly kind: 'done'; readonly outputs: readonly TableMeta[]; readonly readBytes: number }
  /** A table is not what was written: file and offset are in `message`. */
  | { readonly kind: 'corrupt'; readonly table: number; readonly message: string }
  /** The disk refused; `isFull`: for want of space, and it may be tried again. */
  | { readonly kind: 'failed'; readonly isFull: boolean; readonly message: string };

/** Who carries compactions out. One job at a time; `done` is called once, later, on the thread that called. */
export interface Compactor {
  run(job: CompactionJob, done: (result: CompactionResult) => void): void;
}

/** A table being written. The numbers and sizes of {@link TableMeta} come out at the end. */
export interface TableWriter {
  /** Adds the next version: behind all before it, in the order of a {@link Run}. */
  add(version: Version): void;
  /** Bytes so far, about. */
  readonly bytes: number;
  /** Writes the rest and makes the file durable (the directory is for the caller to sync). There is at least one version. */
  finish(): TableMeta;
  /** Gives up and removes the file. */
  abort(): void;
}

/** An open table. Shared by everybody who reads it; whoever opened it closes it. */
export interface TableReader {
  readonly meta: TableMeta;
  /** The newest version of `key` at or below `revision`; undefined without any. The bloom filter answers most misses. */
  get(key: string, revision: number): Version | undefined;
  /** All versions from the first whose key is at or above `start`; from the beginning without it. */
  forward(start?: string): Run;
  /** All versions from the last whose key is below `end` to the first: of one key the oldest first. */
  backward(end?: string): Run;
  /** Reads and checks every byte. Throws CorruptionError with file and offset. */
  verify(): void;
  close(): void;
}
