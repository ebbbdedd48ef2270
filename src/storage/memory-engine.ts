/**
 * The engine in memory: a Map from each key to its versions for point reads, and the keys in order for scans. A key with
 * one version, as most have, costs no more than that version. It is also the memtable of the tree in `lsm/`.
 *
 * What history may go is known without a search: a put queues itself when it supersedes something, so the queue is in
 * revision order, and each slice of {@link MemoryEngine.work} takes some from its front.
 */
import { assert, at } from '../lib/assert.ts';
import { KeyHistory } from './key-history.ts';
import { type KeyCursor, SortedKeys } from './sorted-keys.ts';
import {
  type EngineStats,
  type KeyRange,
  type Version,
  type VersionEngine,
  isTombstone,
} from './version-engine.ts';

/** What a version of a key of its own costs in memory besides its key and value, about: measured. */
const VERSION_OVERHEAD_BYTES = 320;
/** Superseded versions looked at in one slice of work: about two milliseconds, for each is somewhere else in memory. */
const DROPS_A_SLICE = 512;
/** Keys that a walk over a frozen state passes by before it pauses. */
const KEYS_A_PAUSE = 1024;
/** The queue is a list of blocks, so that neither end ever moves all of it. */
const BLOCK_LENGTH = 1024;

type Held = Version | KeyHistory;

/** Gives what a walk finds next; undefined at its end. */
type Step<T> = () => { readonly found: T } | undefined;

export class MemoryEngine implements VersionEngine {
  readonly pressurePercent: number = 0;
  readonly #held: Map<string, Held> = new Map();
  readonly #keys = new SortedKeys();
  /** Versions that supersede one before them, and tombstones, in the order of their revisions. */
  #superseding: Version[][] = [];
  /** Of the first block: those before are done. */
  #done = 0;
  #versions = 0;
  #bytes = 0;
  #lastRevision = 0;
  #lastSub = 0;
  #horizon = 0;
  /** Open walks, each with the revision from which on it needs everything. */
  readonly #open: Map<Walk<unknown>, number> = new Map();

  get stats(): EngineStats {
    return { kind: 'memory', versions: this.#versions, bytes: this.#bytes };
  }

  /** Number of versions held, tombstones too. */
  get versions(): number {
    return this.#versions;
  }

  /** Memory that it takes, about. */
  get approximateBytes(): number {
    return this.#bytes + this.#versions * VERSION_OVERHEAD_BYTES;
  }

  get(key: string, revision: number): Version | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    if (held instanceof KeyHistory) return held.get(revision);
    return held.revision <= revision ? held : undefined;
  }

  put(version: Version): void {
    const { key, revision, sub } = version;
    assert(Number.isSafeInteger(revision) && revision > 0, 'Revision out of range');
    const isAbove = revision > this.#lastRevision || (revision === this.#lastRevision && sub > this.#lastSub);
    assert(isAbove, 'Versions come in the order of their revisions');
    const held = this.#held.get(key);
    if (held === undefined) {
      this.#held.set(key, version);
      this.#keys.insert(key);
    } else {
      const newest = held instanceof KeyHistory ? held.newest : held;
      assert(newest.revision < revision, 'A revision changes a key at most once');
      if (held instanceof KeyHistory) held.add(version);
      else this.#held.set(key, new KeyHistory([held, version]));
    }
    this.#lastRevision = revision;
    this.#lastSub = sub;
    this.#count(version, 1);
    if (held !== undefined || isTombstone(version)) this.#supersede(version);
  }

  scan(range: KeyRange, revision: number, isReverse = false): IterableIterator<Version> {
    const { start, end } = range;
    const cursor = isReverse ? this.#keys.backward(end) : this.#keys.forward(start);
    return this.#walk(revision, () => {
      for (;;) {
        const key = cursor.next();
        if (key === undefined) return undefined;
        if (isReverse ? key < start : end !== undefined && key >= end) return undefined;
        const found = this.get(key, revision);
        if (found !== undefined && !isTombstone(found)) return { found };
      }
    });
  }

  changes(range: KeyRange, after: number, upTo: number): IterableIterator<Version> {
    const { start, end } = range;
    const cursor = this.#keys.forward(start);
    let key: string | undefined;
    let below = upTo;
    return this.#walk(after, () => {
      for (;;) {
        if (key === undefined) {
          key = cursor.next();
          if (key === undefined || (end !== undefined && key >= end)) return undefined;
          below = upTo;
        }
        const found = this.get(key, below);
        if (found !== undefined && found.revision > after) {
          below = found.revision - 1;
          return { found };
        }
        key = undefined;
      }
    });
  }

  compact(revision: number): void {
    this.#horizon = Math.max(this.#horizon, revision);
  }

  work(): boolean {
    let horizon = this.#horizon;
    for (const needed of this.#open.values()) horizon = Math.min(horizon, needed);
    for (let i = 0; i < DROPS_A_SLICE; i++) {
      const next = this.#superseding[0]?.[this.#done];
      if (next === undefined || next.revision > horizon) return false;
      this.#dropBefore(next);
      this.#done += 1;
      if (this.#done === BLOCK_LENGTH) {
        this.#superseding.shift();
        this.#done = 0;
      }
    }
    return (this.#superseding[0]?.[this.#done]?.revision ?? Infinity) <= horizon;
  }

  /** All versions from the first whose key is at or above `start`: in key order, and of one key the newest first. */
  forward(start = ''): IterableIterator<Version> {
    return this.#run(this.#keys.forward(start), false);
  }

  /** All versions from the last whose key is below `end` to the first: of one key the oldest first. */
  backward(end?: string): IterableIterator<Version> {
    return this.#run(this.#keys.backward(end), true);
  }

  /**
   * The state as of now: of what it holds exactly the versions that {@link compact} must keep, in the order of
   * {@link forward}, however much is put and dropped meanwhile. `undefined` is a pause after some work without a find.
   */
  frozen(): IterableIterator<Version | undefined> {
    const horizon = this.#horizon;
    const lastRevision = this.#lastRevision;
    const lastSub = this.#lastSub;
    const isLater = (version: Version): boolean =>
      version.revision > lastRevision || (version.revision === lastRevision && version.sub > lastSub);
    const cursor = this.#keys.forward('');
    let key: string | undefined;
    let below = lastRevision;
    return this.#walk<Version | undefined>(horizon, () => {
      for (let passed = 0; passed < KEYS_A_PAUSE;) {
        if (key === undefined) {
          key = cursor.next();
          if (key === undefined) return undefined;
          below = lastRevision;
        }
        const found = this.get(key, below);
        if (found !== undefined && isLater(found)) {
          below = lastRevision - 1;
          continue;
        }
        const isNeeded = found !== undefined && (found.revision > horizon || !isTombstone(found));
        // The newest at or below the horizon is the last one that is needed.
        if (found === undefined || found.revision <= horizon) {
          key = undefined;
          passed += 1;
        } else below = found.revision - 1;
        if (isNeeded) return { found };
      }
      return { found: undefined };
    });
  }

  /**
   * Replaces everything. What was open ends, and history starts anew, without a horizon.
   *
   * @param versions in the order of {@link forward}
   */
  replace(versions: Iterable<Version>): void {
    this.clear();
    const superseding: Version[] = [];
    let run: Version[] = [];
    for (const version of versions) {
      const previous = run.at(-1);
      if (previous !== undefined && previous.key !== version.key) {
        this.#hold(previous.key, run);
        run = [];
      } else assert(previous === undefined || previous.revision > version.revision, 'The newest comes first');
      const newer = run.at(-1);
      if (newer !== undefined && !isTombstone(newer)) superseding.push(newer);
      if (isTombstone(version)) superseding.push(version);
      run.push(version);
    }
    const last = run.at(-1);
    if (last !== undefined) this.#hold(last.key, run);
    // oxlint-disable-next-line no-array-sort -- the array is this call's own
    superseding.sort((a, b) => a.revision - b.revision || a.sub - b.sub);
    for (const version of superseding) this.#supersede(version);
  }

  /** Removes everything, and ends what is open. */
  clear(): void {
    for (const walk of this.#open.keys()) walk.end();
    this.#held.clear();
    this.#keys.clear();
    this.#superseding = [];
    this.#done = 0;
    this.#versions = 0;
    this.#bytes = 0;
    this.#lastRevision = 0;
    this.#lastSub = 0;
    this.#horizon = 0;
  }

  /** @param run the versions of one key, newest first */
  #hold(key: string, run: Version[]): void {
    assert(!this.#held.has(key), 'A key comes once');
    for (const version of run) {
      this.#count(version, 1);
      const { revision, sub } = version;
      if (revision < this.#lastRevision || (revision === this.#lastRevision && sub < this.#lastSub)) continue;
      this.#lastRevision = revision;
      this.#lastSub = sub;
    }
    this.#held.set(key, run.length === 1 ? at(run, 0) : new KeyHistory(run.toReversed()));
    this.#keys.insert(key);
  }

  #run(cursor: KeyCursor, isReverse: boolean): IterableIterator<Version> {
    let key: string | undefined;
    let limit = 0;
    return this.#walk(this.#horizon, () => {
      for (;;) {
        if (key === undefined) {
          key = cursor.next();
          if (key === undefined) return undefined;
          limit = isReverse ? 0 : Infinity;
        }
        const found = isReverse ? this.#above(key, limit) : this.get(key, limit);
        if (found !== undefined) {
          limit = isReverse ? found.revision : found.revision - 1;
          return { found };
        }
        key = undefined;
      }
    });
  }

  /** The oldest version of `key` above `revision`. */
  #above(key: string, revision: number): Version | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    if (held instanceof KeyHistory) return held.above(revision);
    return held.revision > revision ? held : undefined;
  }

  #walk<T>(needed: number, step: Step<T>): IterableIterator<T> {
    const walk = new Walk(step, () => this.#open.delete(walk));
    this.#open.set(walk, needed);
    return walk;
  }

  #supersede(version: Version): void {
    const block = this.#superseding.at(-1);
    if (block !== undefined && block.length < BLOCK_LENGTH) block.push(version);
    else this.#superseding.push([version]);
  }

  /** Lets go what `version` supersedes, and itself if it is a tombstone. */
  #dropBefore(version: Version): void {
    const held = this.#held.get(version.key);
    if (held === undefined) return;
    let left = held;
    if (left instanceof KeyHistory) {
      while (left.count > 1 && left.oldest.revision < version.revision) this.#dropOldest(left);
      if (left.count > 1 && left.oldest === version && isTombstone(version)) this.#dropOldest(left);
      if (left.count === 1) left = left.newest;
    }
    if (left === version && isTombstone(version)) {
      this.#count(version, -1);
      this.#held.delete(version.key);
      this.#keys.remove(version.key);
    } else if (left !== held) this.#held.set(version.key, left);
  }

  #dropOldest(history: KeyHistory): void {
    this.#count(history.oldest, -1);
    history.dropOldest();
  }

  #count(version: Version, by: 1 | -1): void {
    this.#versions += by;
    this.#bytes += by * (version.key.length + version.value.length);
  }
}

/** An iterator that says when it is not needed any more, also when nobody ever called its `next()`. */
class Walk<T> implements IterableIterator<T> {
  readonly #step: Step<T>;
  readonly #onEnd: () => void;
  #isOpen = true;

  constructor(step: Step<T>, onEnd: () => void) {
    this.#step = step;
    this.#onEnd = onEnd;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<T, undefined> {
    const step = this.#isOpen ? this.#step() : undefined;
    if (step !== undefined) return { done: false, value: step.found };
    this.end();
    return { done: true, value: undefined };
  }

  return(): IteratorResult<T, undefined> {
    this.end();
    return { done: true, value: undefined };
  }

  end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#onEnd();
  }
}
