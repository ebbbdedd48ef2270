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
  /** A data block, checked. */
  block(ordinal: number): Block;
}

/** From a key to the end, an interval of a block at a time. */
export class ForwardRun implements Run {
  readonly #table: BlockSource;
  #start: string | undefined;
  #block: Block | undefined;
  #ordinal = 0;
  #restart = 0;
  #batch: Version[] = [];
  #next = 0;
  #isDone = false;

  constructor(table: BlockSource, start: string | undefined) {
    this.#table = table;
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
    this.#block = undefined;
    return { done: true, value: undefined };
  }

  /** Decodes the next interval. @returns false at the end */
  #fill(): boolean {
    if (this.#isDone) return false;
    const block = this.#block ?? this.#seek();
    if (block === undefined) {
      this.return();
      return false;
    }
    this.#batch = [];
    this.#next = 0;
    block.decode(this.#restart++, this.#batch);
    const start = this.#start;
    if (start !== undefined) {
      while (this.#next < this.#batch.length && at(this.#batch, this.#next).key < start) this.#next++;
      if (this.#next < this.#batch.length) this.#start = undefined;
    }
    this.#block = block;
    if (this.#restart === block.restartCount) {
      this.#block = undefined;
      this.#ordinal++;
      this.#restart = 0;
    }
    return true;
  }

  /** The next block; the first time, the one where the run begins. */
  #seek(): Block | undefined {
    const start = this.#start;
    if (start !== undefined && this.#ordinal === 0) this.#ordinal = this.#table.blockOf(start);
    if (this.#ordinal === this.#table.blockCount) return undefined;
    const block = this.#table.block(this.#ordinal);
    if (start !== undefined) {
      this.#restart = Math.max(0, block.lowerBound(start, Number.MAX_SAFE_INTEGER, 0) - 1);
    }
    return block;
  }
}

/** From below a key to the beginning, an interval of a block at a time. */
export class BackwardRun implements Run {
  readonly #table: BlockSource;
  #end: string | undefined;
  #block: Block | undefined;
  /** The block that comes next; undefined before the first. */
  #ordinal: number | undefined;
  /** Intervals of the block that are still to come. */
  #restarts = 0;
  #batch: Version[] = [];
  #isDone = false;

  constructor(table: BlockSource, end: string | undefined) {
    this.#table = table;
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
    this.#block = undefined;
    return { done: true, value: undefined };
  }

  #fill(): boolean {
    while (!this.#isDone && this.#restarts === 0) this.#seek();
    const block = this.#block;
    if (this.#isDone || block === undefined) return false;
    block.decode(--this.#restarts, this.#batch);
    const end = this.#end;
    if (end !== undefined) {
      while (this.#batch.length > 0 && at(this.#batch, this.#batch.length - 1).key >= end) this.#batch.pop();
      if (this.#batch.length > 0) this.#end = undefined;
    }
    return true;
  }

  #seek(): void {
    const end = this.#end;
    const last = this.#table.blockCount - 1;
    const first = end === undefined ? last : Math.min(last, this.#table.blockOf(end));
    const ordinal = this.#ordinal ?? first;
    if (ordinal < 0) {
      this.return();
      return;
    }
    const block = this.#table.block(ordinal);
    this.#block = block;
    this.#restarts =
      end === undefined ? block.restartCount : block.lowerBound(end, Number.MAX_SAFE_INTEGER, 0);
    this.#ordinal = ordinal - 1;
  }
}
