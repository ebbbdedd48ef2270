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

/** From a key to the end, an interval of a block at a time. */
export class ForwardRun implements Run {
  readonly #table: BlockSource;
  readonly #blocks: Blocks;
  #start: string | undefined;
  /** The interval that comes next; undefined before the first. */
  #ordinal: number | undefined;
  #restart = 0;
  #batch: Version[] = [];
  #next = 0;
  #isDone = false;

  constructor(table: BlockSource, start: string | undefined) {
    this.#table = table;
    this.#blocks = new Blocks(table);
    this.#start = start;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    const value = this.#batch[this.#next];
    if (value !== undefined) {
      this.#next++;
      return { done: false, value };
    }
    return this.#fill() ? this.next() : { done: true, value: undefined };
  }

  return(): IteratorResult<Version> {
    this.#isDone = true;
    this.#batch = [];
    return { done: true, value: undefined };
  }

  /** Decodes the next interval. @returns false at the end */
  #fill(): boolean {
    if (this.#isDone) return false;
    const ordinal = this.#ordinal ?? this.#seek();
    if (ordinal >= this.#table.blockCount) {
      this.return();
      return false;
    }
    const block = this.#blocks.get(ordinal);
    this.#batch = [];
    this.#next = 0;
    block.decode(this.#restart++, this.#batch);
    const isLast = this.#restart === block.restartCount;
    this.#ordinal = isLast ? ordinal + 1 : ordinal;
    if (isLast) this.#restart = 0;
    const start = this.#start;
    if (start !== undefined) {
      while (this.#next < this.#batch.length && at(this.#batch, this.#next).key < start) this.#next++;
      if (this.#next < this.#batch.length) this.#start = undefined;
    }
    return true;
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

/** From below a key to the beginning, an interval of a block at a time. */
export class BackwardRun implements Run {
  readonly #table: BlockSource;
  readonly #blocks: Blocks;
  #end: string | undefined;
  /** The block that is being read; undefined before the first. */
  #ordinal: number | undefined;
  /** Intervals of it that are still to come. */
  #restarts = 0;
  #batch: Version[] = [];
  #isDone = false;

  constructor(table: BlockSource, end: string | undefined) {
    this.#table = table;
    this.#blocks = new Blocks(table);
    this.#end = end;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    const value = this.#batch.pop();
    if (value !== undefined) return { done: false, value };
    return this.#fill() ? this.next() : { done: true, value: undefined };
  }

  return(): IteratorResult<Version> {
    this.#isDone = true;
    this.#batch = [];
    return { done: true, value: undefined };
  }

  /** Decodes the interval before. @returns false at the beginning */
  #fill(): boolean {
    while (!this.#isDone && this.#restarts === 0) this.#seek();
    if (this.#isDone) return false;
    this.#blocks.get(this.#ordinal ?? 0).decode(--this.#restarts, this.#batch);
    const end = this.#end;
    if (end !== undefined) {
      while (this.#batch.length > 0 && at(this.#batch, this.#batch.length - 1).key >= end) this.#batch.pop();
      if (this.#batch.length > 0) this.#end = undefined;
    }
    return true;
  }

  /** Goes to the block before; the first time, to the one where the run begins. */
  #seek(): void {
    const end = this.#end;
    const last = this.#table.blockCount - 1;
    let ordinal = last;
    if (this.#ordinal !== undefined) ordinal = this.#ordinal - 1;
    else if (end !== undefined) ordinal = Math.min(last, this.#table.blockOf(end));
    if (ordinal < 0) {
      this.return();
      return;
    }
    const block = this.#blocks.get(ordinal);
    this.#ordinal = ordinal;
    this.#restarts =
      end === undefined ? block.restartCount : block.lowerBound(end, Number.MAX_SAFE_INTEGER, 0);
  }
}
