/**
 * Keys with their versions: revisions, the lives of keys, history and its end. It numbers and counts what is written to
 * the engine; what an operation means is for operations.ts.
 */
import { assert } from '../lib/assert.ts';
import type { KeyRange, Version, VersionEngine } from '../storage/version-engine.ts';
import { RowSetHash } from './row-hash.ts';

/** A new store is at this revision; the first write makes the next one. */
export const FIRST_REVISION = 1;

const NOTHING = new Uint8Array(0);

/** All that a store must remember beside its versions. */
export interface StoreCounters {
  readonly revision: number;
  readonly compactedRevision: number;
  readonly count: number;
  readonly bytes: number;
  /** Of the versions that exist now: sixteen hexadecimal digits. */
  readonly hash: string;
}

/** Whether a revision can be read. */
export type Readable = 'readable' | 'compacted' | 'futureRevision';

/**
 * A write is a series of {@link put} and {@link delete}, ended by {@link commit}, which gives all of them one revision. Reads
 * at {@link readRevision} see those that were made before.
 */
export class Store {
  readonly #engine: VersionEngine;
  readonly #hash = new RowSetHash();
  #revision = FIRST_REVISION;
  #compactedRevision = 0;
  #count = 0;
  #bytes = 0;
  /** Made since the last commit. */
  #changes: Version[] = [];

  /** @param engine belongs to the store from now on: nobody else puts or compacts */
  constructor(engine: VersionEngine) {
    this.#engine = engine;
  }

  /** Of the last write. */
  get revision(): number {
    return this.#revision;
  }

  /** The lowest revision that can be read, once anything was compacted; 0 before. */
  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  /** What a read sees now: the revision of the write that is being made, once it has changed something. */
  get readRevision(): number {
    return this.#changes.length === 0 ? this.#revision : this.#revision + 1;
  }

  /** Number of keys that exist. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the keys that exist and of their values. */
  get bytes(): number {
    return this.#bytes;
  }

  get engine(): VersionEngine {
    return this.#engine;
  }

  /** The hash of the versions that exist now. Do not change it. */
  get hash(): RowSetHash {
    return this.#hash;
  }

  get counters(): StoreCounters {
    assert(this.#changes.length === 0, 'No write is being made');
    return {
      revision: this.#revision,
      compactedRevision: this.#compactedRevision,
      count: this.#count,
      bytes: this.#bytes,
      hash: this.#hash.hex(),
    };
  }

  /** The key as it is now; undefined when it does not exist. */
  get(key: string): Version | undefined {
    return this.at(key, this.readRevision);
  }

  /** The key as it was at `revision`; undefined when it did not exist. */
  at(key: string, revision: number): Version | undefined {
    const version = this.#engine.get(key, revision);
    return version === undefined || version.version === 0 ? undefined : version;
  }

  /** The keys that existed at `revision`, in key order or the other way round. See {@link VersionEngine} about its end. */
  scan(range: KeyRange, revision: number, isReverse = false): IterableIterator<Version> {
    return this.#engine.scan(range, revision, isReverse);
  }

  readable(revision: number): Readable {
    if (revision > this.readRevision) return 'futureRevision';
    return revision < this.#compactedRevision ? 'compacted' : 'readable';
  }

  /** Writes a key. The store keeps `value`. @param previous what {@link get} gives for it now */
  put(key: string, previous: Version | undefined, value: Uint8Array, lease: bigint): void {
    const revision = this.#revision + 1;
    const version: Version = {
      key,
      revision,
      sub: this.#changes.length,
      created: previous === undefined ? revision : previous.created,
      version: previous === undefined ? 1 : previous.version + 1,
      lease,
      value,
    };
    if (previous === undefined) {
      this.#count += 1;
      this.#bytes += key.length + value.length;
    } else {
      this.#bytes += value.length - previous.value.length;
      this.#hash.removeVersion(previous);
    }
    this.#hash.addVersion(version);
    this.#add(version);
  }

  /** Ends the life of a key. @param previous what {@link get} gives for it now */
  delete(previous: Version): void {
    const { key, value } = previous;
    this.#count -= 1;
    this.#bytes -= key.length + value.length;
    this.#hash.removeVersion(previous);
    const sub = this.#changes.length;
    this.#add({ key, revision: this.#revision + 1, sub, created: 0, version: 0, lease: 0n, value: NOTHING });
  }

  /** Ends a write. @returns its changes, in their order, at the new revision; none when there were none: then it used none */
  commit(): readonly Version[] {
    const changes = this.#changes;
    if (changes.length === 0) return changes;
    this.#revision += 1;
    this.#changes = [];
    return changes;
  }

  /**
   * Gives up the history before `revision`, which may be read now and has not been compacted.
   *
   * The engine is told one revision less. So it keeps what changed *at* the revision, deletions included, and what was there
   * before: whoever watches from there on gets all of it, whenever the engine comes to compact.
   */
  compact(revision: number): void {
    assert(revision > this.#compactedRevision && revision <= this.#revision, 'Revision out of range');
    this.#compactedRevision = revision;
    this.#engine.compact(revision - 1);
  }

  /** Goes on from `counters`, with the versions that are in the engine. @returns false for a hash that none has */
  restore(counters: StoreCounters): boolean {
    assert(this.#changes.length === 0, 'No write is being made');
    this.#revision = counters.revision;
    this.#compactedRevision = counters.compactedRevision;
    this.#count = counters.count;
    this.#bytes = counters.bytes;
    if (!this.#hash.restore(counters.hash)) return false;
    if (counters.compactedRevision > 0) this.#engine.compact(counters.compactedRevision - 1);
    return true;
  }

  #add(version: Version): void {
    this.#engine.put(version);
    this.#changes.push(version);
  }
}
