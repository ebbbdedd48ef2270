/** Runs over a table: block by block, and in a block an interval at a time, which is decoded as a whole. */
import { at } from '../../lib/assert.ts';
import type { Version } from '../version-engine.ts';
import type { Block } from './block.ts';
import type { Run } from './table-format.ts';

/** What a run needs of its table. */
export interface BlockSource {
  /** The number of data blocks. */
  readonly blockCount: number;
  /** The first data block whose last key is not below `key`; {@link blockCount} when there is none. */
  blockOf(key: string): number;
  /** A data block, checked, that is kept for the next reader. To be used before another one is read: see {@link Block}. */
  block(ordinal: number): Block;
  /** The same, but it is not kept for others when it must be read. */
  blockOnce(ordinal: number): Block;
}

/** A run that reads more blocks than this is a long one, and does not put out of the cache what others need. */
const CACHED_BLOCKS_MAX = 2;

/** The blocks of a table one after another, as one run wants them: the same one again for each of its intervals. */
class Blocks {
  readonly #table: BlockSource;
  #held: Block | undefined;
  #ordinal = -1;
  #count = 0;

  constructor(table: BlockSource) {
    this.#table = table;
  }

  /** To be used before anything else is read. */
  get(ordinal: number): Block {
    if (ordinal === this.#ordinal && this.#held !== undefined) return this.#held;
    if (ordinal !== this.#ordinal) this.#count++;
    const isLong = this.#count > CACHED_BLOCKS_MAX;
    const block = isLong ? this.#table.blockOnce(ordinal) : this.#table.block(ordinal);
    this.#ordinal = ordinal;
    this.#held = block.isRecycled ? undefined : block;
    return block;
  }
}

/** The intervals of a table in one direction. */
interface Intervals {
  /** What the run wants of the next interval, in the order of the run; it may be nothing. Undefined at the end. */
  next(): readonly Version[] | undefined;
}

/** Hands out one by one what the intervals hold. */
class TableRun implements Run {
  /** Undefined when it has ended. */
  #intervals: Intervals | undefined;
  #batch: readonly Version[] = [];
  #next = 0;

  constructor(intervals: Intervals) {
    this.#intervals = intervals;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    for (;;) {
      const value = this.#batch[this.#next];
      if (value !== undefined) {
        this.#next++;
        return { done: false, value };
      }
      const batch = this.#intervals?.next();
      if (batch === undefined) return this.return();
      this.#batch = batch;
      this.#next = 0;
    }
  }

  return(): IteratorResult<Version> {
    this.#intervals = undefined;
    this.#batch = [];
    return { done: true, value: undefined };
  }
}

/** From the first key at or above `start` to the end; from the beginning without it. */
export function forwardRun(table: BlockSource, start: string | undefined): Run {
  return new TableRun(new ForwardIntervals(table, start));
}

/** From the last key below `end` to the beginning; from the end without it. */
export function backwardRun(table: BlockSource, end: string | undefined): Run {
  return new TableRun(new BackwardIntervals(table, end));
}

class ForwardIntervals implements Intervals {
  readonly #table: BlockSource;
  readonly #blocks: Blocks;
  /** Undefined when everything before it has been passed. */
  #start: string | undefined;
  /** The interval that comes next; undefined before the first. */
  #ordinal: number | undefined;
  #restart = 0;

  constructor(table: BlockSource, start: string | undefined) {
    this.#table = table;
    this.#blocks = new Blocks(table);
    this.#start = start;
  }

  next(): readonly Version[] | undefined {
    const ordinal = this.#ordinal ?? this.#seek();
    if (ordinal >= this.#table.blockCount) return undefined;
    const block = this.#blocks.get(ordinal);
    const batch: Version[] = [];
    block.decode(this.#restart++, batch);
    const isLast = this.#restart === block.restartCount;
    this.#ordinal = isLast ? ordinal + 1 : ordinal;
    if (isLast) this.#restart = 0;
    const start = this.#start;
    if (start === undefined) return batch;
    let passed = 0;
    while (passed < batch.length && at(batch, passed).key < start) passed++;
    if (passed < batch.length) this.#start = undefined;
    return batch.slice(passed);
  }

  /** The block and the interval where the run begins, or where the one before ends. */
  #seek(): number {
    const start = this.#start;
    if (start === undefined) return 0;
    const ordinal = this.#table.blockOf(start);
    if (ordinal < this.#table.blockCount) {
      const bound = this.#blocks.get(ordinal).lowerBound(start, Number.MAX_SAFE_INTEGER, 0);
      this.#restart = Math.max(0, bound - 1);
    }
    return ordinal;
  }
}

class BackwardIntervals implements Intervals {
  readonly #table: BlockSource;
  readonly #blocks: Blocks;
  /** Undefined when everything behind it has been passed. */
  #end: string | undefined;
  /** The block that is being read; undefined before the first. */
  #ordinal: number | undefined;
  /** Intervals of it that are still to come. */
  #restarts = 0;

  constructor(table: BlockSource, end: string | undefined) {
    this.#table = table;
    this.#blocks = new Blocks(table);
    this.#end = end;
  }

  next(): readonly Version[] | undefined {
    while (this.#restarts === 0) if (!this.#seek()) return undefined;
    const batch: Version[] = [];
    this.#blocks.get(this.#ordinal ?? 0).decode(--this.#restarts, batch);
    const end = this.#end;
    if (end !== undefined) {
      while (batch.length > 0 && at(batch, batch.length - 1).key >= end) batch.pop();
      if (batch.length > 0) this.#end = undefined;
    }
    return batch.toReversed();
  }

  /** Goes to the block before; the first time, to the one where the run begins. @returns false at the beginning */
  #seek(): boolean {
    const end = this.#end;
    const last = this.#table.blockCount - 1;
    let ordinal = last;
    if (this.#ordinal !== undefined) ordinal = this.#ordinal - 1;
    else if (end !== undefined) ordinal = Math.min(last, this.#table.blockOf(end));
    if (ordinal < 0) return false;
    const block = this.#blocks.get(ordinal);
    this.#ordinal = ordinal;
    this.#restarts =
      end === undefined ? block.restartCount : block.lowerBound(end, Number.MAX_SAFE_INTEGER, 0);
    return true;
  }
}
