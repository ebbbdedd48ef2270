/**
 * An ordered set of keys in sorted chunks: an insert or a removal moves at most one chunk's keys, so that a million
 * random inserts stay fast where one sorted array would move half a million keys each. What belongs to a key is kept by
 * whoever has the set.
 */
import { assert, at } from '../lib/assert.ts';

/** A chunk over this size is split in two. */
const CHUNK_KEYS_MAX = 512;
/** Neighbours that fit into this together are joined, so that removals do not leave crumbs. */
const JOINED_KEYS_MAX = 256;

/** Walks keys in one direction. Gives each key that is there when its turn comes, whatever is inserted and removed meanwhile. */
export interface KeyCursor {
  /** The next key; undefined behind the last one. */
  next(): string | undefined;
}

export class SortedKeys {
  /** Every key once, ascending within and across chunks. No chunk is empty. */
  #chunks: string[][] = [];
  /** Counts what moves keys about, so that a cursor knows when its position is worth nothing any more. */
  #moves = 0;

  /** Adds a key that is not there. */
  insert(key: string): void {
    this.#moves += 1;
    const c = this.#chunkOf(key);
    const chunk = this.#chunks[c];
    if (chunk === undefined) {
      this.#chunks.push([key]);
      return;
    }
    // Keys often arrive in ascending order: then the left chunk never grows again and is left full.
    const isLast = c === this.#chunks.length - 1;
    const i = isLast && at(chunk, chunk.length - 1) < key ? chunk.length : lowerBound(chunk, key);
    assert(chunk[i] !== key, 'A key is listed once');
    const isAppending = isLast && i === chunk.length;
    if (i === chunk.length) chunk.push(key);
    else chunk.splice(i, 0, key);
    if (chunk.length <= CHUNK_KEYS_MAX) return;
    this.#chunks.splice(c + 1, 0, chunk.splice(isAppending ? i : chunk.length >>> 1));
  }

  /** Takes out a key that is there. */
  remove(key: string): void {
    this.#moves += 1;
    const c = this.#chunkOf(key);
    const chunk = at(this.#chunks, c);
    const i = lowerBound(chunk, key);
    assert(chunk[i] === key, 'A key to remove is listed');
    chunk.splice(i, 1);
    if (chunk.length === 0) {
      this.#chunks.splice(c, 1);
      return;
    }
    const next = this.#chunks[c + 1];
    if (next !== undefined && chunk.length + next.length <= JOINED_KEYS_MAX) {
      for (const moved of next) chunk.push(moved);
      this.#chunks.splice(c + 1, 1);
    }
  }

  clear(): void {
    this.#moves += 1;
    this.#chunks = [];
  }

  /** From the first key at or above `start` to the last. */
  forward(start: string): KeyCursor {
    let c = 0;
    let i = 0;
    let moves: number | undefined;
    let last: string | undefined;
    return {
      next: () => {
        if (moves !== this.#moves) {
          moves = this.#moves;
          c = this.#chunkOf(last ?? start);
          const chunk = this.#chunks[c] ?? [];
          i = lowerBound(chunk, last ?? start);
          if (last !== undefined && chunk[i] === last) i += 1;
        }
        let chunk = this.#chunks[c];
        if (chunk !== undefined && i >= chunk.length) {
          c += 1;
          i = 0;
          chunk = this.#chunks[c];
        }
        const key = chunk?.[i];
        if (key === undefined) return undefined;
        i += 1;
        last = key;
        return key;
      },
    };
  }

  /** From the last key below `end` (undefined: from the last key) to the first. */
  backward(end: string | undefined): KeyCursor {
    let c = 0;
    /** Behind the next key. */
    let i = 0;
    let moves: number | undefined;
    let below = end;
    return {
      next: () => {
        if (moves !== this.#moves) {
          moves = this.#moves;
          c = below === undefined ? Math.max(0, this.#chunks.length - 1) : this.#chunkOf(below);
          const chunk = this.#chunks[c] ?? [];
          i = below === undefined ? chunk.length : lowerBound(chunk, below);
        }
        if (i === 0 && c > 0) {
          c -= 1;
          i = at(this.#chunks, c).length;
        }
        const key = this.#chunks[c]?.[i - 1];
        if (key === undefined) return undefined;
        i -= 1;
        below = key;
        return key;
      },
    };
  }

  /** Index of the last chunk whose first key is not above `key`; 0 when there is none. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length;
    // Inserts in ascending order end here at once.
    if (high > 0 && at(at(this.#chunks, high - 1), 0) <= key) return high - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (at(at(this.#chunks, middle), 0) <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

/** Index of the first key not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(keys, middle) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
