/**
 * A hash of a set of rows or versions that does not depend on their order and is kept up to date one by one: the sum of
 * their hashes, in two 32-bit lanes. Equal stores have equal hashes; unequal stores differ but for one case in 2^64. It finds
 * bugs and bit rot. It is no defence against someone who chooses rows to collide.
 */
import type { Version } from '../storage/version-engine.ts';

/** The hash of a changing set of rows, or of versions; not of both. */
export class RowSetHash {
  #a = 0;
  #b = 0;

  /** Adds a row that is not in the set. */
  add(key: string, value: Uint8Array): void {
    hashRow(key, value);
    this.#a = (this.#a + laneA) | 0;
    this.#b = (this.#b + laneB) | 0;
  }

  /** Removes a row that is in the set. */
  remove(key: string, value: Uint8Array): void {
    hashRow(key, value);
    this.#a = (this.#a - laneA) | 0;
    this.#b = (this.#b - laneB) | 0;
  }

  /** Adds a version with all its fields. It is not in the set. */
  addVersion(version: Version): void {
    hashVersion(version);
    this.#a = (this.#a + laneA) | 0;
    this.#b = (this.#b + laneB) | 0;
  }

  /** Removes a version that is in the set. */
  removeVersion(version: Version): void {
    hashVersion(version);
    this.#a = (this.#a - laneA) | 0;
    this.#b = (this.#b - laneB) | 0;
  }

  /** Adds a list of integers, in this order, as one element that is not in the set. */
  addIntegers(integers: readonly (number | bigint)[]): void {
    hashIntegers(integers);
    this.#a = (this.#a + laneA) | 0;
    this.#b = (this.#b + laneB) | 0;
  }

  /** Removes a list of integers that is in the set. */
  removeIntegers(integers: readonly (number | bigint)[]): void {
    hashIntegers(integers);
    this.#a = (this.#a - laneA) | 0;
    this.#b = (this.#b - laneB) | 0;
  }

  /** Adds everything that is in another set. */
  addAll(other: RowSetHash): void {
    this.#a = (this.#a + other.#a) | 0;
    this.#b = (this.#b + other.#b) | 0;
  }

  clear(): void {
    this.#a = 0;
    this.#b = 0;
  }

  /** Goes on from what {@link hex} gave. @returns false when it never gives such a text */
  restore(hex: string): boolean {
    if (!/^[0-9a-f]{16}$/.test(hex)) return false;
    this.#a = Number.parseInt(hex.slice(0, 8), 16) | 0;
    this.#b = Number.parseInt(hex.slice(8), 16) | 0;
    return true;
  }

  /** Sixteen hexadecimal digits; all zero for the empty set. */
  hex(): string {
    return hex32(this.#a) + hex32(this.#b);
  }
}

/* The two lanes of the hash at work. Module variables, because a returned pair would be an allocation for every row. */
let laneA = 0;
let laneB = 0;

/** Leaves the hash of a row in the lanes: MurmurHash3 (Appleby) over key, key length, value, value length. */
function hashRow(key: string, value: Uint8Array): void {
  begin();
  mixRow(key, value);
  end();
}

/** The same for a version: its row, then its numbers. */
function hashVersion({ key, value, revision, sub, created, version, lease }: Version): void {
  begin();
  mixRow(key, value);
  mixInteger(revision);
  mix(sub);
  mixInteger(created);
  mixInteger(version);
  if (lease !== 0n) mixBigInteger(lease);
  end();
}

function hashIntegers(integers: readonly (number | bigint)[]): void {
  begin();
  for (const integer of integers) {
    if (typeof integer === 'number') mixInteger(integer);
    else mixBigInteger(integer);
  }
  mix(integers.length);
  end();
}

function begin(): void {
  laneA = 0x2545f491;
  laneB = 0x6c078965;
}

function end(): void {
  laneA = finish(laneA);
  laneB = finish(laneB);
}

function mixInteger(integer: number): void {
  mix(integer | 0);
  mix(Math.floor(integer / 0x1_0000_0000) | 0);
}

function mixBigInteger(integer: bigint): void {
  mix(Number(BigInt.asIntN(32, integer)));
  mix(Number(BigInt.asIntN(32, integer >> 32n)));
}

function mixRow(key: string, value: Uint8Array): void {
  const keyLength = key.length;
  let i = 0;
  for (; i + 4 <= keyLength; i += 4) {
    mix(
      key.charCodeAt(i) |
        (key.charCodeAt(i + 1) << 8) |
        (key.charCodeAt(i + 2) << 16) |
        (key.charCodeAt(i + 3) << 24),
    );
  }
  for (; i < keyLength; i++) mix(key.charCodeAt(i));
  mix(keyLength);
  const valueLength = value.length;
  i = valueLength < VIEWED_BYTES_MIN ? 0 : mixWords(value);
  for (; i + 4 <= valueLength; i += 4) {
    mix(byte(value, i) | (byte(value, i + 1) << 8) | (byte(value, i + 2) << 16) | (byte(value, i + 3) << 24));
  }
  for (; i < valueLength; i++) mix(byte(value, i));
  mix(valueLength);
}

/** A view of words is read several times as fast as bytes put together, but costs something to make. */
const VIEWED_BYTES_MIN = 512;

/**
 * Stirs in the whole words of `bytes`, as {@link mix} does one. The lanes are variables of this function, which stay in
 * registers.
 *
 * @returns how many bytes these were
 */
function mixWords(bytes: Uint8Array): number {
  const wholeBytes = bytes.length - (bytes.length % 4);
  const words = new DataView(bytes.buffer, bytes.byteOffset, wholeBytes);
  let a = laneA;
  let b = laneB;
  for (let i = 0; i < wholeBytes; i += 4) {
    const word = words.getInt32(i, true);
    const k = Math.imul(word, 0xcc9e2d51);
    a ^= Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
    const l = Math.imul(word, 0x239b961b);
    b ^= Math.imul((l << 16) | (l >>> 16), 0xab0e9789);
    b = (Math.imul((b << 17) | (b >>> 15), 5) + 0x0bcaa747) | 0;
  }
  laneA = a;
  laneB = b;
  return wholeBytes;
}

/** Stirs one 32-bit word into both lanes, by different constants and rotations so that they do not collide together. */
function mix(word: number): void {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  laneA ^= Math.imul(k, 0x1b873593);
  laneA = (laneA << 13) | (laneA >>> 19);
  laneA = (Math.imul(laneA, 5) + 0xe6546b64) | 0;
  k = Math.imul(word, 0x239b961b);
  k = (k << 16) | (k >>> 16);
  laneB ^= Math.imul(k, 0xab0e9789);
  laneB = (laneB << 17) | (laneB >>> 15);
  laneB = (Math.imul(laneB, 5) + 0x0bcaa747) | 0;
}

function finish(lane: number): number {
  let h = lane ^ (lane >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function byte(bytes: Uint8Array, i: number): number {
  return bytes[i] ?? 0;
}

function hex32(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, '0');
}
