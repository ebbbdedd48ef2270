/** A bounded first-in first-out queue on a ring that doubles up to its limit. A full queue refuses; it never grows past it. */
import { assert } from './assert.ts';

export class Deque<T> {
  readonly limit: number;
  #ring: (T | undefined)[] = Array.from({ length: 16 });
  #head = 0;
  #length = 0;

  /** @param limit the most elements held at once */
  constructor(limit: number) {
    assert(limit > 0, 'A queue needs room');
    this.limit = limit;
  }

  get length(): number {
    return this.#length;
  }

  /** Adds at the back. @returns false when the queue is full, and nothing was added */
  push(value: T): boolean {
    if (this.#length >= this.limit) return false;
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = value;
    this.#length += 1;
    return true;
  }

  /** Removes from the front; undefined when empty. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const value = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length -= 1;
    return value;
  }

  /** The front element, left in place. */
  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#ring[this.#head];
  }

  clear(): void {
    this.#ring = Array.from({ length: 16 });
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const larger: (T | undefined)[] = Array.from({ length: this.#ring.length * 2 });
    for (let i = 0; i < this.#length; i++) larger[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)];
    this.#ring = larger;
    this.#head = 0;
  }
}
