/** Which operations a search for an order has still to place, and which of them may come next. */
import { at } from '../lib/assert.ts';
import type { Move } from './linear-moves.ts';

/**
 * The beginnings and ends that remain, as linked lists over the places of the sequence, so that a move is taken out and
 * put back in the time of two assignments (Knuth's dancing links). Moves that need not happen are in a list of their own.
 */
export class Remaining {
  readonly #moves: readonly Move[];
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Index of the move that begins at a place; its complement for one that ends there. */
  readonly #events: Int32Array;
  readonly #unknownHead: number;

  constructor(moves: readonly Move[], places: number) {
    this.#moves = moves;
    this.#next = new Int32Array(places + 2);
    this.#previous = new Int32Array(places + 2);
    this.#events = new Int32Array(places + 2);
    this.#unknownHead = places + 1;
    for (const [index, { start, end, isCertain }] of moves.entries()) {
      this.#events[start] = index;
      if (isCertain) this.#events[end] = ~index;
    }
    let last = 0;
    let lastUnknown = this.#unknownHead;
    for (let place = 1; place <= places; place++) {
      const event = at(this.#events, place);
      if (at(moves, Math.max(event, ~event)).isCertain) {
        this.#join(last, place);
        last = place;
      } else {
        this.#join(lastUnknown, place);
        lastUnknown = place;
      }
    }
    this.#join(last, 0);
    this.#join(lastUnknown, this.#unknownHead);
  }

  /** Nothing is left that has to happen. */
  get isEmpty(): boolean {
    return this.#next[0] === 0;
  }

  /** The first place that remains; 0 for none. */
  first(): number {
    return at(this.#next, 0);
  }

  /** The place that remains behind this one, also if this one was just taken out; 0 for none. */
  after(place: number): number {
    return at(this.#next, place);
  }

  /** The place is an end, or there is none left. */
  isEnd(place: number): boolean {
    return place === 0 || at(this.#events, place) < 0;
  }

  /** The move that begins at this place. */
  moveAt(place: number): number {
    return at(this.#events, place);
  }

  /** Moves that need not happen and began before this place. */
  unknownBefore(place: number): readonly number[] {
    const found: number[] = [];
    let next = at(this.#next, this.#unknownHead);
    for (; next !== this.#unknownHead && next < place; next = this.after(next)) found.push(this.moveAt(next));
    return found;
  }

  /** Takes a move out. */
  lift(index: number): void {
    const { start, end, isCertain } = at(this.#moves, index);
    // The end first: whoever walks the list stands on the beginning, and goes on from there.
    if (isCertain) this.#join(at(this.#previous, end), at(this.#next, end));
    this.#join(at(this.#previous, start), at(this.#next, start));
  }

  /** Takes back the latest {@link lift} that was not taken back yet. */
  unlift(index: number): void {
    const { start, end, isCertain } = at(this.#moves, index);
    this.#insert(start);
    if (isCertain) this.#insert(end);
  }

  #join(place: number, next: number): void {
    this.#next[place] = next;
    this.#previous[next] = place;
  }

  #insert(place: number): void {
    this.#next[at(this.#previous, place)] = place;
    this.#previous[at(this.#next, place)] = place;
  }
}
