/**
 * The in-memory engine: a Map for point reads, and the keys in sorted chunks for scans. An insert moves at most one
 * chunk's keys, so that a million random inserts stay fast where one sorted array would move half a million each.
 */
import { assert, at, defined } from '../lib/assert.ts';
import type { Engine, Row } from './engine.ts';

/** A chunk over this size is split in two. */
const CHUNK_KEYS_MAX = 512;
/** Neighbours that fit into this together are joined, so that deletes do not leave crumbs. */
const JOINED_KEYS_MAX = 256;

export class MemoryEngine implements Engine {
  readonly #values = new Map<string, Uint8Array>();
  /** Every key once, ascending within and across chunks. No chunk is empty. */
  #chunks: string[][] = [];
  #bytes = 0;

  get count(): number {
    return this.#values.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  put(key: string, value: Uint8Array): void {
    const old = this.#values.get(key);
    this.#values.set(key, value);
    if (old !== undefined) {
      this.#bytes += value.length - old.length;
      return;
    }
    this.#bytes += key.length + value.length;
    this.#insert(key);
  }

  delete(key: string): boolean {
    const old = this.#values.get(key);
    if (old === undefined) return false;
    this.#values.delete(key);
    this.#bytes -= key.length + old.length;
    this.#remove(key);
    return true;
  }

  scan(start: string, end: string | undefined, limit: number): readonly Row[] {
    const rows: Row[] = [];
    let c = this.#chunkOf(start);
    let i = lowerBound(this.#chunks[c] ?? [], start);
    for (; c < this.#chunks.length; c++, i = 0) {
      const chunk = at(this.#chunks, c);
      for (; i < chunk.length; i++) {
        const key = at(chunk, i);
        if (rows.length >= limit || (end !== undefined && key >= end)) return rows;
        rows.push({ key, value: this.#valueOf(key) });
      }
    }
    return rows;
  }

  *rows(): IterableIterator<Row> {
    for (const chunk of this.#chunks) for (const key of chunk) yield { key, value: this.#valueOf(key) };
  }

  clear(): void {
    this.#values.clear();
    this.#chunks = [];
    this.#bytes = 0;
  }

  #valueOf(key: string): Uint8Array {
    return defined(this.#values.get(key), 'value of a listed key');
  }

  /** Index of the last chunk whose first key is not above `key`; 0 when there is none. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (at(at(this.#chunks, middle), 0) <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  #insert(key: string): void {
    const c = this.#chunkOf(key);
    const chunk = this.#chunks[c];
    if (chunk === undefined) {
      this.#chunks.push([key]);
      return;
    }
    const i = lowerBound(chunk, key);
    if (i === chunk.length) chunk.push(key);
    else chunk.splice(i, 0, key);
    if (chunk.length <= CHUNK_KEYS_MAX) return;
    // Keys often arrive in ascending order: then the left chunk never grows again and is left full.
    const isAppending = c === this.#chunks.length - 1 && i === chunk.length - 1;
    this.#chunks.splice(c + 1, 0, chunk.splice(isAppending ? i : chunk.length >>> 1));
  }

  #remove(key: string): void {
    const c = this.#chunkOf(key);
    const chunk = at(this.#chunks, c);
    const i = lowerBound(chunk, key);
    assert(chunk[i] === key, 'A key with a value is listed');
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
