/** A table by log index that forgets its beginning: what all nodes together must agree on, for as long as one still can disagree. */
import type { LogIndex } from '../raft/entry.ts';

/** Forgotten cells are given back once there are this many of them. */
const SLACK = 1024;

export class IndexTable<T> {
  /** The index of the first cell. */
  #start = 0;
  /** Everything below is forgotten. */
  #floor = 0;
  readonly #cells: (T | undefined)[] = [];

  /** Number of cells held, forgotten ones that were not given back yet included. */
  get size(): number {
    return this.#cells.length;
  }

  get(index: LogIndex): T | undefined {
    return index < this.#floor ? undefined : this.#cells[index - this.#start];
  }

  /** Sets a cell; below what was forgotten it does nothing. */
  set(index: LogIndex, value: T): void {
    if (index < this.#floor) return;
    // An array with holes would become a dictionary.
    while (this.#start + this.#cells.length < index) this.#cells.push(undefined);
    this.#cells[index - this.#start] = value;
  }

  /** Forgets everything below `index`. */
  forgetBelow(index: LogIndex): void {
    if (index <= this.#floor) return;
    this.#floor = index;
    const count = index - this.#start;
    if (count < SLACK && count < this.#cells.length) return;
    this.#cells.splice(0, count);
    this.#start = index;
  }
}
