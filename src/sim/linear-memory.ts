/** Remembers which situations of a search for an order have failed. */
import { at } from '../lib/assert.ts';

/** Numbers held in all; beyond, nothing more is remembered, and the search is slower and as right. */
const WORDS_MAX = 40_000_000;
/** Rough cost of an entry beside its own numbers. */
const ENTRY_WORDS = 24;

/** Situations from which no order goes on, found by a hash and compared in full. */
export class Memory {
  readonly #held: Int32Array;
  readonly #isUsed: Uint8Array;
  readonly #entries = new Map<number, Int32Array[]>();
  #words = 0;
  #heldHash = 0;

  /** @param held what the keys hold, shared with the search */
  constructor(held: Int32Array, moveCount: number) {
    this.#held = held;
    this.#isUsed = new Uint8Array(moveCount);
  }

  /** A key that held the one pair holds the other now. */
  change(old: number, pair: number): void {
    this.#heldHash ^= scatter(old) ^ scatter(pair);
  }

  /** A move that need not happen was placed, or taken back. */
  use(index: number, isUsed: boolean): void {
    this.#isUsed[index] = isUsed ? 1 : 0;
  }

  /** Whether the present situation, or one with more unknown writes left, has failed. */
  has(firstEnd: number, pending: readonly number[]): boolean {
    const entries = this.#entries.get(this.#hash(firstEnd, pending));
    return entries?.some((entry) => this.#covers(entry, firstEnd, pending)) === true;
  }

  /** Remembers that the present situation failed. `used`: the moves placed in it that need not happen. */
  add(firstEnd: number, pending: readonly number[], used: readonly number[]): void {
    if (this.#words > WORDS_MAX) return;
    const entry = Int32Array.from([firstEnd, pending.length, ...pending, ...this.#held, ...used]);
    this.#words += entry.length + ENTRY_WORDS;
    const hash = this.#hash(firstEnd, pending);
    const entries = this.#entries.get(hash);
    if (entries === undefined) this.#entries.set(hash, [entry]);
    else entries.push(entry);
  }

  #hash(firstEnd: number, pending: readonly number[]): number {
    let hash = this.#heldHash ^ scatter(firstEnd);
    for (const index of pending) hash = scatter(hash ^ index);
    return hash;
  }

  #covers(entry: Int32Array, firstEnd: number, pending: readonly number[]): boolean {
    if (entry[0] !== firstEnd || entry[1] !== pending.length) return false;
    let next = 2;
    for (const index of pending) if (entry[next++] !== index) return false;
    for (const pair of this.#held) if (entry[next++] !== pair) return false;
    for (; next < entry.length; next++) if (this.#isUsed[at(entry, next)] === 0) return false;
    return true;
  }
}

/** Spreads an integer over 32 bits (finalizer of MurmurHash3, public domain). */
function scatter(value: number): number {
  let h = (value + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
