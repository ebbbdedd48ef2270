/**
 * Blocks in memory, shared by all tables of a tree, within a budget of bytes. The clock algorithm (Corbató 1968): a hand
 * goes round, forgives those that were used since it passed last, and evicts the first that was not. A use is one bit, so
 * that a hit moves nothing; and what a long scan reads once goes first.
 */
import { assert, at } from '../../lib/assert.ts';
import type { Block } from './block.ts';

/** What an entry costs beside the memory of its block. */
const ENTRY_BYTES = 200;

/**
 * Memory up to this size is used again for the next block, and comes in multiples of the unit, so that it fits. New memory for
 * every block that is read would cost more than reading it: the collector is called for what lies outside its heap.
 */
const RECYCLED_BYTES_MAX = 64 * 1024;
const MEMORY_UNIT_BYTES = 1024;

interface Entry {
  readonly block: Block;
  readonly memory: Uint8Array | undefined;
  readonly bytes: number;
  readonly slots: CacheSlots;
  readonly ordinal: number;
  /** Its place on the clock. */
  place: number;
  isUsed: boolean;
}

/** The budget and the clock. */
export class BlockCache {
  readonly #bytesMax: number;
  readonly #clock: Entry[] = [];
  #hand = 0;
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  /** @param bytesMax of blocks and what each costs besides; 0 keeps nothing */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Blocks found here since the start, and those that had to be read. */
  get hits(): number {
    return this.#hits;
  }

  get misses(): number {
    return this.#misses;
  }

  /** For {@link CacheSlots}. */
  count(isHit: boolean): void {
    if (isHit) this.#hits++;
    else this.#misses++;
  }

  /**
   * Makes room for a block of this many bytes. Blocks that have to go for it are recycled.
   *
   * @returns memory for it, to be given to {@link CacheSlots.set}; undefined for a block that needs memory of its own
   */
  memoryFor(bytes: number): Uint8Array | undefined {
    const capacity = Math.ceil(bytes / MEMORY_UNIT_BYTES) * MEMORY_UNIT_BYTES;
    if (capacity > RECYCLED_BYTES_MAX || capacity + ENTRY_BYTES > this.#bytesMax) return undefined;
    let memory: Uint8Array | undefined;
    while (this.#bytes + capacity + ENTRY_BYTES > this.#bytesMax) {
      const evicted = this.#evict();
      if (evicted?.length === capacity) memory = evicted;
    }
    return memory ?? new Uint8Array(capacity);
  }

  /** For {@link CacheSlots}: takes a block in, for which others may have to go. @returns undefined when it is too large */
  insert(
    slots: CacheSlots,
    ordinal: number,
    block: Block,
    memory: Uint8Array | undefined,
  ): Entry | undefined {
    const bytes = (memory?.length ?? block.bytes) + ENTRY_BYTES;
    if (bytes > this.#bytesMax) return undefined;
    while (this.#bytes + bytes > this.#bytesMax) this.#evict();
    const entry: Entry = { block, memory, bytes, slots, ordinal, place: this.#clock.length, isUsed: false };
    this.#clock.push(entry);
    this.#bytes += bytes;
    return entry;
  }

  /** For {@link CacheSlots}: takes an entry off the clock. Another comes to its place. */
  remove(entry: Entry): void {
    const last = at(this.#clock, this.#clock.length - 1);
    this.#clock[entry.place] = last;
    last.place = entry.place;
    this.#clock.pop();
    this.#bytes -= entry.bytes;
  }

  /** @returns the memory of the block that had to go, if it can be used again */
  #evict(): Uint8Array | undefined {
    assert(this.#clock.length > 0, 'An empty cache is over its budget');
    for (;;) {
      if (this.#hand >= this.#clock.length) this.#hand = 0;
      const entry = at(this.#clock, this.#hand);
      if (!entry.isUsed) {
        entry.slots.forget(entry.ordinal);
        this.remove(entry);
        return entry.memory;
      }
      entry.isUsed = false;
      this.#hand++;
    }
  }
}

/** The blocks of one table that are in the cache, by their number: a hit costs an index into an array. */
export class CacheSlots {
  readonly #cache: BlockCache;
  #entries: (Entry | undefined)[] = [];

  constructor(cache: BlockCache) {
    this.#cache = cache;
  }

  /** The block, if it is here. Counts as a hit or a miss. */
  get(ordinal: number): Block | undefined {
    const entry = this.#entries[ordinal];
    this.#cache.count(entry !== undefined);
    if (entry === undefined) return undefined;
    entry.isUsed = true;
    return entry.block;
  }

  /** Keeps a block that was not here, if it fits. `memory` is what {@link BlockCache.memoryFor} gave for it. */
  set(ordinal: number, block: Block, memory: Uint8Array | undefined): void {
    assert(this.#entries[ordinal] === undefined, 'A block is read once');
    while (this.#entries.length <= ordinal) this.#entries.push(undefined);
    this.#entries[ordinal] = this.#cache.insert(this, ordinal, block, memory);
  }

  /** For {@link BlockCache}: the block has gone. */
  forget(ordinal: number): void {
    this.#entries[ordinal] = undefined;
  }

  /** Gives all blocks back: the table is closed. */
  clear(): void {
    for (const entry of this.#entries) if (entry !== undefined) this.#cache.remove(entry);
    this.#entries = [];
  }
}
