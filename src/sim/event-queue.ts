/**
 * What is still to happen, earliest first. Events at the same time come in the order of a number drawn from the seed, so that
 * runs explore both orders, and one seed always the same.
 */
import { at } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';

interface Entry<T> {
  readonly atMs: number;
  readonly tie: number;
  readonly event: T;
}

/** A binary heap of events. */
export class EventQueue<T> {
  readonly #random: Random;
  readonly #heap: Entry<T>[] = [];

  /** @param random draws the order of events at the same time */
  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** The time of the next event; Infinity when there is none. */
  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Infinity;
  }

  push(atMs: number, event: T): void {
    const heap = this.#heap;
    const entry: Entry<T> = { atMs, tie: this.#random.uint32(), event };
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const above = (i - 1) >> 1;
      const parent = at(heap, above);
      if (isBefore(parent, entry)) break;
      heap[i] = parent;
      i = above;
    }
    heap[i] = entry;
  }

  /** Takes the next event; undefined when there is none. */
  pop(): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return undefined;
    if (heap.length > 0) this.#sink(last);
    return first.event;
  }

  #sink(entry: Entry<T>): void {
    const heap = this.#heap;
    const end = heap.length;
    let i = 0;
    for (;;) {
      let below = 2 * i + 1;
      if (below >= end) break;
      let child = at(heap, below);
      const other = heap[below + 1];
      if (other !== undefined && isBefore(other, child)) {
        below += 1;
        child = other;
      }
      if (isBefore(entry, child)) break;
      heap[i] = child;
      i = below;
    }
    heap[i] = entry;
  }
}

function isBefore<T>(a: Entry<T>, b: Entry<T>): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);
}
