/**
 * Bloom filters: which keys are certainly not in a table (Bloom 1970). One filter a table, over its keys. Each key sets
 * a few bits, found by stepping through the filter from one hash by another ("Less Hashing, Same Performance", Kirsch
 * and Mitzenmacher 2006).
 *
 *   bytes 0..n-2   bits, the lowest of a byte first
 *   byte  n-1      how many bits each key sets, 1..30
 *
 * A filter of no bytes answers nothing. The hash is part of the format: it never changes within a format version.
 */
import { assert, at } from '../../lib/assert.ts';

const PROBES_MAX = 30;

/* The two hashes of a key, left here by `hash`: two numbers returned without an object. */
let first = 0;
let step = 0;

/** Two multiplicative hashes in one pass, each mixed with the other at the end, so that every bit depends on every byte. */
function hash(key: string): void {
  let a = 0x9e3779b1 ^ key.length;
  let b = 0x85ebca77;
  for (let i = 0; i < key.length; i++) {
    const byte = key.charCodeAt(i);
    a = Math.imul(a ^ byte, 0x9e3779b1);
    b = Math.imul(b ^ byte, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  first = (a ^ (a >>> 15)) >>> 0;
  step = ((b ^ (b >>> 15)) | 1) >>> 0;
}

/** Collects the keys of a table. It keeps eight bytes a key. */
export class BloomBuilder {
  readonly #bitsPerKey: number;
  #hashes = new Uint32Array(1024);
  #length = 0;

  /** @param bitsPerKey 10 lets one miss in a hundred through; 0 makes a filter of no bytes */
  constructor(bitsPerKey: number) {
    assert(Number.isInteger(bitsPerKey) && bitsPerKey >= 0, 'Bits per key must be a natural number');
    this.#bitsPerKey = bitsPerKey;
  }

  /** Bytes of the filter if it ended here. */
  get bytes(): number {
    return this.#bitsPerKey === 0 ? 0 : Math.ceil((this.#length / 2) * (this.#bitsPerKey / 8)) + 1;
  }

  /** Adds a key. The same key twice does no harm but takes room. */
  add(key: string): void {
    if (this.#bitsPerKey === 0) return;
    if (this.#length === this.#hashes.length) {
      const larger = new Uint32Array(this.#length * 2);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    hash(key);
    this.#hashes[this.#length] = first;
    this.#hashes[this.#length + 1] = step;
    this.#length += 2;
  }

  /** The filter over all keys so far. */
  finish(): Uint8Array {
    if (this.#bitsPerKey === 0) return new Uint8Array(0);
    // A tiny filter would have a very high rate of false positives.
    const length = Math.max(8, Math.ceil((this.#length / 2) * (this.#bitsPerKey / 8)));
    const probes = Math.min(PROBES_MAX, Math.max(1, Math.round(this.#bitsPerKey * Math.LN2)));
    const filter = new Uint8Array(length + 1);
    filter[length] = probes;
    const bits = length * 8;
    for (let i = 0; i < this.#length; i += 2) {
      let position = at(this.#hashes, i);
      const by = at(this.#hashes, i + 1);
      for (let probe = 0; probe < probes; probe++) {
        const bit = position % bits;
        filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
        position = (position + by) >>> 0;
      }
    }
    return filter;
  }
}

/** Whether these bytes can be a filter at all. */
export function isFilter(filter: Uint8Array): boolean {
  if (filter.length === 0) return true;
  const probes = filter[filter.length - 1] ?? 0;
  return filter.length >= 2 && probes >= 1 && probes <= PROBES_MAX;
}

/** False when no such key was added; true for all that were, and about one in a hundred others at ten bits a key. */
export function mayContain(filter: Uint8Array, key: string): boolean {
  const last = filter.length - 1;
  if (last <= 0) return true;
  hash(key);
  const bits = last * 8;
  const probes = filter[last] ?? 0;
  let position = first;
  const by = step;
  for (let probe = 0; probe < probes; probe++) {
    const bit = position % bits;
    if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false;
    position = (position + by) >>> 0;
  }
  return true;
}
