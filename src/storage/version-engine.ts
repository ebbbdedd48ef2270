/**
 * The engine port: an ordered map from keys to their versions under the state machine. Keys are latin-1 strings, one
 * character a byte (lib/bytes.ts), so that string order is byte order. Synchronous; one owner; no locking.
 *
 * A version is written once and never changes, and a view is nothing but a revision: whoever reads at revision r sees the
 * newest version of each key that is not newer than r, whatever is written meanwhile. That holds once everything of
 * revision r has been put, and while history may not go up to a revision above r.
 */

/** One change of one key. */
export interface Version {
  readonly key: string;
  /** Of the command that changed it; 1 and up, at most 2^53 - 1. A revision changes a key at most once. */
  readonly revision: number;
  /** Its place among the changes of that revision, from 0. */
  readonly sub: number;
  /** Revision of the put that began this life of the key; 0 for a tombstone. */
  readonly created: number;
  /** How many puts this life of the key has seen, from 1; 0 for a tombstone, which says that the key was deleted. */
  readonly version: number;
  /** The lease it is attached to, any signed 64-bit integer; 0n for none. */
  readonly lease: bigint;
  /** Belongs to the engine: nobody changes it. Empty for a tombstone. */
  readonly value: Uint8Array;
}

/** Whether a version says that its key was deleted. */
export function isTombstone(version: Version): boolean {
  return version.version === 0;
}

/** Keys with `start <= key < end`; `end` undefined: to the last key. */
export interface KeyRange {
  readonly start: string;
  readonly end: string | undefined;
}

/** Files of one level of a tree, for people. */
export interface LevelStats {
  readonly tables: number;
  readonly bytes: number;
}

/** An engine's account of itself, for people. */
export type EngineStats =
  | { readonly kind: 'memory'; readonly versions: number; readonly bytes: number }
  | {
      readonly kind: 'lsm';
      /** In memory and not yet in a table: the one being written, and the one being flushed. */
      readonly memtableBytes: number;
      /** A memtable of so many bytes is due to be flushed. */
      readonly memtableBytesMax: number;
      readonly flushingBytes: number;
      readonly levels: readonly LevelStats[];
      readonly cacheBytes: number;
      readonly cacheHits: number;
      readonly cacheMisses: number;
      /** What the running compaction does, in words ("L0 4 + L1 6 → L1"); undefined without one. */
      readonly compacting: string | undefined;
      readonly compactionsDone: number;
      /** Bytes that compactions have written since the start. */
      readonly compactedBytes: number;
      readonly flushesDone: number;
      readonly pressurePercent: number;
    };

/** What keeps the data: in memory with readable snapshots, or a tree of tables. */
export type EngineKind = EngineStats['kind'];

/**
 * All reads throw {@link CorruptionError}, naming file and offset, for bytes that are not what was written, and
 * {@link StorageError} when the disk refuses. An iterator is read to its end or ended with `return()` (a `for…of` does
 * either): until then it holds what it reads from. It stays true to its revision while the engine is written, flushed
 * and compacted, also to a later horizon; only `close` and a replaced content end it: then `next()` says that it is done.
 */
export interface VersionEngine {
  /**
   * The newest version of `key` at or below `revision`, a tombstone included; undefined without any. A tombstone at or below
   * what {@link compact} was told may be gone on one replica and not yet on another: for readers both mean that there is no
   * such key.
   */
  get(key: string, revision: number): Version | undefined;
  /**
   * Adds a version. Its (revision, sub) is above that of all before. The engine keeps `value` without copying: the
   * caller must not change it afterwards. In memory only until the next checkpoint.
   */
  put(version: Version): void;
  /** The keys that exist at `revision`, each as its newest version: never a tombstone. In key order, or from the last to the first. */
  scan(range: KeyRange, revision: number, isReverse?: boolean): IterableIterator<Version>;
  /**
   * Every version with `after < revision <= upTo`, tombstones too: in key order, and of one key the newest first. `after`
   * is not below what {@link compact} was told: of history below, anything may be gone.
   */
  changes(range: KeyRange, after: number, upTo: number): IterableIterator<Version>;
  /**
   * History before `revision` may go: of each key the newest version at or below it stays, unless that is a tombstone, and
   * everything above it. Goes little by little, with {@link work}; until then reads below may still succeed. Never goes back.
   */
  compact(revision: number): void;
  /**
   * Does a bounded slice (a few milliseconds) of what is waiting in the background.
   *
   * @returns whether more is waiting that {@link work} itself can do; false while only a job elsewhere is under way
   */
  work(): boolean;
  /**
   * How hard it is to keep up: by so much writes should be slowed down. 0 when all is well; with 100 they should be refused.
   * What is committed already must be put all the same; the engine then takes the time that it needs within {@link put}.
   */
  readonly pressurePercent: number;
  readonly stats: EngineStats;
}
