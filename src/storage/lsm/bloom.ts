/**
 * Bloom filters: which keys are certainly not in a table (Bloom 1970). One filter a table, over its keys. A key sets a few
 * bits, all in one line of 64 bytes, so that a question touches one line of the processor's cache ("Cache-, Hash- and
 * Space-Efficient Bloom Filters", Putze, Sanders and Singler 2007); it lets a few more strangers through than one that spreads them.
 *
 *   bytes 0..n-2   lines of 64 bytes, in each 512 bits, the lowest of a byte first
 *   byte  n-1      how many bits each key sets, 1..30
 *
 * A filter of no bytes answers nothing. The hash is part of the format: it never changes within a format version.
 */
import { assert, at } from '../../lib/assert.ts';

const PROBES_MAX = 30;
const LINE_BYTES = 64;

/** Bits set for each bit that a key has room for. A little below ln 2, which is best for a filter without lines. */
const PROBES_PER_BIT = 0.62;

/** The golden ratio of 2^32: multiplied by it, a number is spread over all higher bits (Knuth, vol. 3, 6.4). */
const SPREAD = 0x9e3779b1;

/* The two hashes of a key, left here by `hash`: two numbers returned without an object. */
let line = 0;
let spread = 0;

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
  line = (a ^ (a >>> 15)) >>> 0;
  spread = (b ^ (b >>> 15)) >>> 0;
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

  /** Bytes of the filter if it ended here, about. */
  get bytes(): number {
    return this.#bitsPerKey === 0 ? 0 : Math.ceil((this.#length / 2) * (this.#bitsPerKey / 8)) + LINE_BYTES;
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
    this.#hashes[this.#length] = line;
    this.#hashes[this.#length + 1] = spread;
    this.#length += 2;
  }

  /** The filter over all keys so far. */
  finish(): Uint8Array {
    if (this.#bitsPerKey === 0) return new Uint8Array(0);
    const lines = Math.max(1, Math.ceil(((this.#length / 2) * this.#bitsPerKey) / (LINE_BYTES * 8)));
    const probes = Math.min(PROBES_MAX, Math.max(1, Math.round(this.#bitsPerKey * PROBES_PER_BIT)));
    const filter = new Uint8Array(lines * LINE_BYTES + 1);
    filter[filter.length - 1] = probes;
    for (let i = 0; i < this.#length; i += 2) {
      const start = (at(this.#hashes, i) % lines) * LINE_BYTES;
      let bits = at(this.#hashes, i + 1);
      for (let probe = 0; probe < probes; probe++) {
        const byte = start + (bits >>> 26);
        filter[byte] = (filter[byte] ?? 0) | (1 << ((bits >>> 23) & 7));
        bits = Math.imul(bits, SPREAD);
      }
    }
    return filter;
  }
}

/** Whether these bytes can be a filter at all. */
export function isFilter(filter: Uint8Array): boolean {
  if (filter.length === 0) return true;
  const probes = filter[filter.length - 1] ?? 0;
  return (
    filter.length > LINE_BYTES && filter.length % LINE_BYTES === 1 && probes >= 1 && probes <= PROBES_MAX
  );
}

/** False when no such key was added; true for all that were, and about one in a hundred others at ten bits a key. */
export function mayContain(filter: Uint8Array, key: string): boolean {
  const last = filter.length - 1;
  if (last <= 0) return true;
  hash(key);
  const start = (line % (last / LINE_BYTES)) * LINE_BYTES;
  const probes = filter[last] ?? 0;
  let bits = spread;
  for (let probe = 0; probe < probes; probe++) {
    if (((filter[start + (bits >>> 26)] ?? 0) & (1 << ((bits >>> 23) & 7))) === 0) return false;
    bits = Math.imul(bits, SPREAD);
  }
  return true;
}
