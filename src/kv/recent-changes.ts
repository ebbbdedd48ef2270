/** Two bounded collections of changes: the newest ones, for watchers that keep up, and the earliest ones, for those that do not. */
import { at } from '../lib/assert.ts';
import type { Version } from '../storage/version-engine.ts';

/** What the newest changes may hold in keys and values, and what one of them is taken to cost besides. */
const RECENT_BYTES_MAX = 8_388_608;
const CHANGE_BYTES = 64;

/** All changes from some revision on: whole revisions, the oldest of which go when they become too many. */
export class RecentChanges {
  /** Those before `#first` are gone. */
  #changes: Version[] = [];
  #first = 0;
  #bytes = 0;
  #firstRevision: number;

  /** @param firstRevision what is added comes from there on */
  constructor(firstRevision: number) {
    this.#firstRevision = firstRevision;
  }

  /** Every change from this revision on is here. */
  get firstRevision(): number {
    return this.#firstRevision;
  }

  /** Adds the changes of the next revision. */
  add(changes: readonly Version[]): void {
    for (const change of changes) {
      this.#changes.push(change);
      this.#bytes += bytesOf(change);
    }
    while (this.#bytes > RECENT_BYTES_MAX) this.#dropOldest();
    if (this.#first * 2 > this.#changes.length) {
      this.#changes = this.#changes.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Forgets all; what is added next comes from `firstRevision` on. */
  clear(firstRevision: number): void {
    this.#firstRevision = firstRevision;
    if (this.#changes.length === 0) return;
    this.#changes = [];
    this.#first = 0;
    this.#bytes = 0;
  }

  /** The changes from `revision` on, which must be here, in their order. */
  *from(revision: number): IterableIterator<Version> {
    let low = this.#first;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (at(this.#changes, middle).revision < revision) low = middle + 1;
      else high = middle;
    }
    for (; low < this.#changes.length; low++) yield at(this.#changes, low);
  }

  /** Drops the oldest revision. */
  #dropOldest(): void {
    const { revision } = at(this.#changes, this.#first);
    while (this.#changes[this.#first]?.revision === revision) {
      this.#bytes -= bytesOf(at(this.#changes, this.#first));
      this.#first += 1;
    }
    this.#firstRevision = revision + 1;
  }
}

/**
 * Keeps, of changes that come in any order, those of the earliest revisions: as many whole revisions as fit into a size, and
 * one at least.
 */
export class EarliestChanges {
  readonly #bytesMax: number;
  #changes: Version[] = [];
  #bytes = 0;
  /** When it becomes worth while to sort and to cut. */
  #cutAtBytes: number;
  /** Later ones were let go; undefined while none were. */
  #upTo: number | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#cutAtBytes = 2 * bytesMax;
  }

  add(change: Version): void {
    if (this.#upTo !== undefined && change.revision > this.#upTo) return;
    this.#changes.push(change);
    this.#bytes += bytesOf(change);
    if (this.#bytes <= this.#cutAtBytes) return;
    this.#cut();
    // One revision may be over the size all by itself: do not cut again for each change of it.
    this.#cutAtBytes = 2 * Math.max(this.#bytes, this.#bytesMax);
  }

  /**
   * Ends the collection.
   *
   * @returns the changes in their order, and the revision up to which they are all; undefined: none was let go
   */
  finish(): { readonly changes: readonly Version[]; readonly upTo: number | undefined } {
    this.#cut();
    return { changes: this.#changes, upTo: this.#upTo };
  }

  #cut(): void {
    const sorted = this.#changes.toSorted((a, b) => a.revision - b.revision || a.sub - b.sub);
    let bytes = 0;
    let length = 0;
    let last = 0;
    for (const change of sorted) {
      if (change.revision !== last && bytes >= this.#bytesMax && length > 0) {
        this.#upTo = last;
        break;
      }
      bytes += bytesOf(change);
      last = change.revision;
      length += 1;
    }
    this.#changes = sorted.slice(0, length);
    this.#bytes = bytes;
  }
}

function bytesOf(change: Version): number {
  return CHANGE_BYTES + change.key.length + change.value.length;
}
