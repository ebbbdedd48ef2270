/**
 * Watches: whoever watches a range gets every change of it from a revision on, in order, once, and those of one revision
 * together. Watchers pull. One that keeps up reads what was written lately from one buffer for all; one that does not, or
 * begins in the past, or was overtaken by a restored state, reads the engine. So a watcher that nobody takes from costs no
 * memory, and misses nothing but what is compacted meanwhile, which ends it.
 */
import { assert, defined } from '../lib/assert.ts';
import type { KeyRange, Version } from '../storage/version-engine.ts';
import { type KeyValue, contains, singleKeyOf } from './operation.ts';
import { keyValueOf } from './range.ts';
import { EarliestChanges, RecentChanges } from './recent-changes.ts';
import type { Store } from './store.ts';

/** Watchers of one machine at once. */
export const WATCHERS_MAX = 10_000;
/** A watcher that reads the engine reads this much ahead, because a walk costs about the same however much it finds. */
const AHEAD_BYTES = 1_048_576;
/** What all watchers together may have read ahead; beyond, a walk reads no more than is asked for. */
const AHEAD_BYTES_MAX = 67_108_864;

export interface WatchOptions {
  readonly range: KeyRange;
  /** The first revision wanted; 0: the next one. */
  readonly startRevision: number;
  /** Leaves out puts, or deletions. */
  readonly noPut: boolean;
  readonly noDelete: boolean;
  /** Whether events say what was there before. */
  readonly prevKv: boolean;
}

/** One change of one key. */
export type WatchEvent =
  | { readonly kind: 'put'; readonly row: KeyValue; readonly previous: KeyValue | undefined }
  | {
      readonly kind: 'delete';
      readonly key: string;
      readonly revision: number;
      readonly previous: KeyValue | undefined;
    };

/** What a watcher gives. */
export type Taken =
  | {
      readonly kind: 'events';
      /** Whole revisions, at least one event. */
      readonly events: readonly WatchEvent[];
      /** Of the store, now: at least that of the last event. */
      readonly revision: number;
    }
  /** The end: what comes next for this watcher was compacted. */
  | { readonly kind: 'compacted'; readonly compactedRevision: number };

/** One watch, as its consumer sees it. */
export interface Watcher {
  /**
   * Takes what is there: whole revisions until `limitBytes` of keys and values are reached, so that one revision comes
   * whatever its size. Take once at the beginning, and after each wake until nothing comes.
   *
   * @returns undefined when there is nothing now, or after the end
   */
  take(limitBytes: number): Taken | undefined;
  /** Every change up to this revision was taken, or is none of this watcher's. */
  readonly progress: number;
  /** Ends the watch. */
  close(): void;
}

/** A watcher is *idle* when it has everything there is, and *ready* when there may be more for it. */
class WatcherState {
  readonly options: WatchOptions;
  readonly wake: () => void;
  /** The key, if it watches one only. */
  readonly key: string | undefined;
  /** Nothing before it is wanted any more. Of an idle one it may lag behind. */
  nextRevision: number;
  isIdle = false;
  isClosed = false;
  /** Read ahead from the engine: all that is wanted before `nextRevision`, with the revision of each. */
  ahead: WatchEvent[] = [];
  aheadBytes = 0;

  constructor(options: WatchOptions, nextRevision: number, wake: () => void) {
    this.options = options;
    this.wake = wake;
    this.key = singleKeyOf(options.range);
    this.nextRevision = nextRevision;
  }

  wants(version: Version): boolean {
    const { range, noPut, noDelete } = this.options;
    if (version.revision < this.nextRevision || !contains(range, version.key)) return false;
    return version.version === 0 ? !noDelete : !noPut;
  }
}

/** All watchers of one machine. */
export class WatchHub {
  readonly #store: Store;
  readonly #watchers = new Set<WatcherState>();
  /** The idle ones: by key, and those of ranges. A ready one need not be looked for. */
  readonly #idleByKey = new Map<string, Set<WatcherState>>();
  readonly #idleRanges = new Set<WatcherState>();
  readonly #recent: RecentChanges;
  /** The last revision that watchers may see. */
  #published: number;
  #aheadBytes = 0;

  constructor(store: Store) {
    this.#store = store;
    this.#published = store.revision;
    this.#recent = new RecentChanges(store.revision + 1);
  }

  get count(): number {
    return this.#watchers.size;
  }

  /**
   * Begins a watch.
   *
   * @param wake called when something may be there to take, and not again before the next take. It is called while the
   *   machine applies: it had better only make a note
   * @returns undefined when there are {@link WATCHERS_MAX} already
   */
  watch(options: WatchOptions, wake: () => void): Watcher | undefined {
    if (this.#watchers.size >= WATCHERS_MAX) return undefined;
    const { startRevision } = options;
    const watcher = new WatcherState(
      options,
      startRevision === 0 ? this.#published + 1 : startRevision,
      wake,
    );
    this.#watchers.add(watcher);
    if (watcher.nextRevision > this.#published) this.#setIdle(watcher);
    const published = (): number => this.#published;
    return {
      take: (limitBytes) => this.#take(watcher, limitBytes),
      get progress() {
        return watcher.isIdle ? published() : firstRevisionOf(watcher) - 1;
      },
      close: () => this.#close(watcher),
    };
  }

  /** Shows the changes of the newest revision, in their order, to whoever watches. */
  publish(changes: readonly Version[]): void {
    const [first] = changes;
    if (first === undefined) return;
    assert(first.revision === this.#published + 1, 'Revisions are published one after the other');
    this.#published = first.revision;
    if (this.#watchers.size === 0) {
      this.#recent.clear(this.#published + 1);
      return;
    }
    this.#recent.add(changes);
    const woken: WatcherState[] = [];
    for (const change of changes) {
      // A set may lose the element that a walk has just given.
      for (const watchers of [this.#idleByKey.get(change.key), this.#idleRanges]) {
        for (const watcher of watchers ?? []) {
          if (!watcher.wants(change)) continue;
          this.#setReady(watcher, change.revision);
          woken.push(watcher);
        }
      }
    }
    for (const watcher of woken) watcher.wake();
  }

  /** The store holds another state, a later one: whoever watches goes on from where it was, out of that. */
  reset(): void {
    const before = this.#published;
    this.#published = this.#store.revision;
    this.#recent.clear(this.#published + 1);
    const woken: WatcherState[] = [];
    for (const watcher of this.#watchers) {
      if (!watcher.isIdle) continue;
      const next = Math.max(watcher.nextRevision, before + 1);
      if (next > this.#published) continue;
      this.#setReady(watcher, next);
      woken.push(watcher);
    }
    for (const watcher of woken) watcher.wake();
  }

  #take(watcher: WatcherState, limitBytes: number): Taken | undefined {
    if (watcher.isClosed || watcher.isIdle) return undefined;
    if (watcher.ahead.length === 0) {
      const { compactedRevision } = this.#store;
      if (watcher.nextRevision < compactedRevision) {
        this.#close(watcher);
        return { kind: 'compacted', compactedRevision };
      }
      if (watcher.nextRevision >= this.#recent.firstRevision) return this.#takeRecent(watcher, limitBytes);
      this.#readAhead(watcher, limitBytes);
    }
    return this.#takeAhead(watcher, limitBytes);
  }

  #takeRecent(watcher: WatcherState, limitBytes: number): Taken | undefined {
    const events: WatchEvent[] = [];
    let bytes = 0;
    let last = 0;
    for (const change of this.#recent.from(watcher.nextRevision)) {
      if (change.revision !== last && bytes >= limitBytes && events.length > 0) {
        watcher.nextRevision = change.revision;
        return { kind: 'events', events, revision: this.#published };
      }
      if (!watcher.wants(change)) continue;
      const event = this.#eventOf(change, watcher.options.prevKv);
      events.push(event);
      bytes += bytesOf(event);
      last = change.revision;
    }
    this.#setIdle(watcher);
    return events.length === 0 ? undefined : { kind: 'events', events, revision: this.#published };
  }

  /** Reads what the engine has for a watcher, the oldest first and not without end. */
  #readAhead(watcher: WatcherState, limitBytes: number): void {
    const { range, prevKv } = watcher.options;
    const isRoom = this.#aheadBytes < AHEAD_BYTES_MAX;
    const earliest = new EarliestChanges(isRoom ? Math.max(limitBytes, AHEAD_BYTES) : limitBytes);
    const after = watcher.nextRevision - 1;
    if (range.end === undefined || range.start < range.end) {
      for (const change of this.#store.engine.changes(range, after, this.#published)) {
        if (watcher.wants(change)) earliest.add(change);
      }
    }
    const { changes, upTo } = earliest.finish();
    // Made now, because what was there before may be compacted until they are taken.
    for (const change of changes) watcher.ahead.push(this.#eventOf(change, prevKv));
    for (const event of watcher.ahead) watcher.aheadBytes += bytesOf(event);
    this.#aheadBytes += watcher.aheadBytes;
    watcher.nextRevision = (upTo ?? this.#published) + 1;
  }

  #takeAhead(watcher: WatcherState, limitBytes: number): Taken | undefined {
    const { ahead } = watcher;
    let bytes = 0;
    let length = 0;
    let last = 0;
    for (const event of ahead) {
      const revision = revisionOf(event);
      if (revision !== last && bytes >= limitBytes && length > 0) break;
      bytes += bytesOf(event);
      last = revision;
      length += 1;
    }
    const events = ahead.slice(0, length);
    watcher.ahead = ahead.slice(length);
    watcher.aheadBytes -= bytes;
    this.#aheadBytes -= bytes;
    if (watcher.ahead.length === 0 && watcher.nextRevision > this.#published) this.#setIdle(watcher);
    return length === 0 ? undefined : { kind: 'events', events, revision: this.#published };
  }

  #eventOf(change: Version, prevKv: boolean): WatchEvent {
    const { key, revision } = change;
    const before = prevKv ? this.#store.at(key, revision - 1) : undefined;
    const previous = before === undefined ? undefined : keyValueOf(before);
    if (change.version === 0) return { kind: 'delete', key, revision, previous };
    return { kind: 'put', row: keyValueOf(change), previous };
  }

  #setIdle(watcher: WatcherState): void {
    watcher.isIdle = true;
    watcher.nextRevision = Math.max(watcher.nextRevision, this.#published + 1);
    const { key } = watcher;
    if (key === undefined) {
      this.#idleRanges.add(watcher);
      return;
    }
    const others = this.#idleByKey.get(key);
    if (others === undefined) this.#idleByKey.set(key, new Set([watcher]));
    else others.add(watcher);
  }

  #setReady(watcher: WatcherState, nextRevision: number): void {
    watcher.isIdle = false;
    watcher.nextRevision = nextRevision;
    const { key } = watcher;
    if (key === undefined) {
      this.#idleRanges.delete(watcher);
      return;
    }
    const others = defined(this.#idleByKey.get(key), 'idle watchers of a key');
    others.delete(watcher);
    if (others.size === 0) this.#idleByKey.delete(key);
  }

  #close(watcher: WatcherState): void {
    if (watcher.isClosed) return;
    if (watcher.isIdle) this.#setReady(watcher, watcher.nextRevision);
    watcher.isClosed = true;
    this.#watchers.delete(watcher);
    this.#aheadBytes -= watcher.aheadBytes;
    watcher.ahead = [];
    watcher.aheadBytes = 0;
  }
}

/** The first revision that was not taken yet. */
function firstRevisionOf(watcher: WatcherState): number {
  const [event] = watcher.ahead;
  return event === undefined ? watcher.nextRevision : revisionOf(event);
}

function revisionOf(event: WatchEvent): number {
  return event.kind === 'put' ? event.row.modRevision : event.revision;
}

/** An event without key and value is worth something too: it is not free. */
const EVENT_BYTES = 32;

function bytesOf(event: WatchEvent): number {
  const own = event.kind === 'put' ? event.row.key.length + event.row.value.length : event.key.length;
  return EVENT_BYTES + own + (event.previous?.value.length ?? 0);
}
