/**
 * The search for an order in which operations could have taken effect one after the other: Wing and Gong's ("Testing and
 * Verifying Concurrent Objects", 1993) with the memory of Lowe ("Testing for Linearizability", 2017), as in Porcupine.
 *
 * Next in an order can come any operation that began before the first end among the remaining ones. Beyond the textbook:
 *
 * - An operation that changes nothing is placed as soon as it is possible, and never tried later: it changes nothing for
 *   the others, and every order that has it later is as good with it now.
 * - A move is not tried when it overwrites what a remaining operation needs and none can write again.
 * - Only failed situations are remembered, so that a history with an obvious order costs no memory. A situation is what
 *   the keys hold and what remains. It is hopeless too when it has failed before with more writes of unknown outcome left.
 */
import { at, unreachable } from '../lib/assert.ts';
import { Memory } from './linear-memory.ts';
import { type Deed, type Demand, demandOf, type Move, type Moves, OPEN } from './linear-moves.ts';
import { Remaining } from './linear-remaining.ts';

/** When to give up. */
export interface SearchLimits {
  /** Moves tried. */
  readonly stepsMax: number;
  /** Asked now and then; true ends the search. */
  readonly isOver?: (() => boolean) | undefined;
}

/** Where an order that could not be continued got stuck. */
export interface DeadEnd {
  /** The longest order, as indexes of moves. */
  readonly order: readonly number[];
  /** What would have to come next, one of them; each is impossible there. */
  readonly pending: readonly number[];
  /** What each key holds there, as a pair. */
  readonly held: readonly number[];
}

/** What a search found, and how many moves it tried. */
export type SearchResult =
  | { readonly kind: 'linearizable'; readonly steps: number }
  | { readonly kind: 'violation'; readonly steps: number }
  | { readonly kind: 'undecided'; readonly steps: number };

/** Searches for an order. */
export function search(moves: Moves, limits: SearchLimits): SearchResult {
  return new Search(moves, limits, false).run();
}

/** The longest order there is of moves that have no full one; undefined when the limits are not enough to know. */
export function deadEnd(moves: Moves, limits: SearchLimits): DeadEnd | undefined {
  const exhaustive = new Search(moves, limits, true);
  return exhaustive.run().kind === 'violation' ? exhaustive.furthest : undefined;
}

const STEPS_BETWEEN_CHECKS = 1024;

class Search {
  readonly #moves: readonly Move[];
  readonly #limits: SearchLimits;
  /** For an explanation: every order is followed to its real end, and the longest is kept. */
  readonly #isThorough: boolean;
  readonly #demand: Demand;
  readonly #remaining: Remaining;
  readonly #memory: Memory;
  /** What each key holds, as a pair. */
  readonly #held: Int32Array;
  /** Keys and what they held, to take writes back. */
  readonly #undo: number[] = [];
  /** Moves placed so far, in their order. */
  readonly #order: number[] = [];
  readonly #used: number[] = [];
  #steps = 0;
  #nextCheck = 0;
  #furthest: DeadEnd = { order: [], pending: [], held: [] };

  constructor({ moves, first, places }: Moves, limits: SearchLimits, isThorough: boolean) {
    this.#moves = moves;
    this.#limits = limits;
    this.#isThorough = isThorough;
    this.#demand = demandOf(moves);
    this.#remaining = new Remaining(moves, places);
    this.#held = Int32Array.from(first);
    this.#memory = new Memory(this.#held, moves.length);
  }

  get furthest(): DeadEnd {
    return this.#furthest;
  }

  run(): SearchResult {
    if (!this.#isThorough && this.#isHopeless()) return { kind: 'violation', steps: 0 };
    const situations: Situation[] = [];
    let situation = this.#enter();
    for (;;) {
      if (situation === undefined) return { kind: 'linearizable', steps: this.#steps };
      const move = this.#tryNext(situation);
      if (move === 'over') return { kind: 'undecided', steps: this.#steps };
      if (move !== undefined) {
        situations.push(situation);
        situation = this.#enter();
        continue;
      }
      if (this.#isThorough) this.#keepFurthest(situation);
      if (!situation.isKnown) this.#memory.add(situation.firstEnd, situation.pending, this.#used);
      this.#leave(situation);
      situation = situations.pop();
      if (situation === undefined) return { kind: 'violation', steps: this.#steps };
      this.#takeBack(situation.undoFrom);
    }
  }

  /** Some value is needed at the beginning that nobody can ever write. */
  #isHopeless(): boolean {
    return this.#moves.some(({ deeds }) =>
      deeds.some(
        (deed) =>
          deed.kind === 'require' && !this.#canHold(deed.key, deed.pair) && this.#demand.isDoomed(deed.pair),
      ),
    );
  }

  /** Places what changes nothing, and lists what may come next. Undefined when nothing has to come any more. */
  #enter(): Situation | undefined {
    const orderFrom = this.#order.length;
    const pending: number[] = [];
    const remaining = this.#remaining;
    let place = remaining.first();
    for (; !remaining.isEnd(place); place = remaining.after(place)) {
      const index = remaining.moveAt(place);
      const move = at(this.#moves, index);
      if (move.isObserver && this.#isPossible(move.deeds)) this.#place(index, move);
      else pending.push(index);
    }
    if (remaining.isEmpty) return undefined;
    const candidates = pending.filter((index) => this.#isCandidate(at(this.#moves, index)));
    // The one that has to be placed soonest is the best guess.
    candidates.sort((a, b) => at(this.#moves, a).end - at(this.#moves, b).end);
    const signatures = new Set<number>();
    for (const index of remaining.unknownBefore(place)) {
      const { deeds, signature } = at(this.#moves, index);
      if (signatures.has(signature) || !this.#demand.isUseful(deeds)) continue;
      signatures.add(signature);
      candidates.push(index);
    }
    const isKnown = this.#memory.has(place, pending);
    return { firstEnd: place, pending, candidates, tried: 0, orderFrom, undoFrom: 0, isKnown };
  }

  /** Makes the next possible move of this situation; undefined when there is none left. */
  #tryNext(situation: Situation): number | undefined | 'over' {
    this.#steps += 1;
    if (situation.isKnown) return undefined;
    while (situation.tried < situation.candidates.length) {
      const index = at(situation.candidates, situation.tried);
      situation.tried += 1;
      this.#steps += 1;
      if (this.#isOver()) return 'over';
      situation.undoFrom = this.#undo.length;
      if (this.#make(index)) return index;
    }
    return undefined;
  }

  #isOver(): boolean {
    if (this.#steps > this.#limits.stepsMax) return true;
    if (this.#steps < this.#nextCheck) return false;
    this.#nextCheck = this.#steps + STEPS_BETWEEN_CHECKS;
    return this.#limits.isOver?.() === true;
  }

  /** Makes a move; false, with everything as it was, when it is impossible or leads nowhere. */
  #make(index: number): boolean {
    const move = at(this.#moves, index);
    const undoFrom = this.#undo.length;
    if (!this.#perform(move.deeds) || (!move.isCertain && !this.#isChanged(undoFrom))) {
      this.#revert(undoFrom);
      return false;
    }
    this.#place(index, move);
    if (this.#isThorough || !this.#isDoomedSince(undoFrom)) return true;
    this.#unplace();
    this.#revert(undoFrom);
    return false;
  }

  /** An observer that is not placed yet cannot be placed now, unless by deciding what a key held at first. */
  #isCandidate({ isObserver, deeds }: Move): boolean {
    return !isObserver || deeds.some(({ key }) => this.#held[key] === OPEN);
  }

  #canHold(key: number, pair: number): boolean {
    return this.#held[key] === pair || this.#held[key] === OPEN;
  }

  #perform(deeds: readonly Deed[]): boolean {
    for (const deed of deeds) {
      switch (deed.kind) {
        case 'write':
          this.#write(deed.key, deed.pair);
          break;
        case 'swap':
          if (this.#canHold(deed.key, deed.expected)) this.#write(deed.key, deed.pair);
          break;
        case 'require':
          if (!this.#canHold(deed.key, deed.pair)) return false;
          if (this.#held[deed.key] === OPEN) this.#write(deed.key, deed.pair);
          break;
        case 'forbid':
          if (this.#held[deed.key] === deed.pair) return false;
          break;
        default:
          unreachable(deed);
      }
    }
    return true;
  }

  #isPossible(deeds: readonly Deed[]): boolean {
    for (const { kind, key, pair } of deeds) {
      if ((this.#held[key] === pair) !== (kind === 'require')) return false;
    }
    return true;
  }

  #write(key: number, pair: number): void {
    const old = at(this.#held, key);
    this.#undo.push(key, old);
    this.#memory.change(old, pair);
    this.#held[key] = pair;
  }

  #revert(undoFrom: number): void {
    while (this.#undo.length > undoFrom) {
      const old = this.#undo.pop() ?? 0;
      const key = this.#undo.pop() ?? 0;
      this.#memory.change(at(this.#held, key), old);
      this.#held[key] = old;
    }
  }

  #isChanged(undoFrom: number): boolean {
    for (let i = undoFrom; i < this.#undo.length; i += 2) {
      const key = at(this.#undo, i);
      const isFirst = !this.#undo.slice(undoFrom, i).some((other, n) => n % 2 === 0 && other === key);
      if (isFirst && this.#held[key] !== this.#undo[i + 1]) return true;
    }
    return false;
  }

  #isDoomedSince(undoFrom: number): boolean {
    for (let i = undoFrom; i < this.#undo.length; i += 2) {
      const old = at(this.#undo, i + 1);
      if (this.#held[at(this.#undo, i)] !== old && this.#demand.isDoomed(old)) return true;
    }
    return false;
  }

  #place(index: number, move: Move): void {
    this.#order.push(index);
    this.#remaining.lift(index);
    this.#demand.count(move.deeds, -1);
    if (move.isCertain) return;
    this.#used.push(index);
    this.#memory.use(index, true);
  }

  #unplace(): void {
    const index = this.#order.pop() ?? 0;
    const { deeds, isCertain } = at(this.#moves, index);
    if (!isCertain) {
      this.#used.pop();
      this.#memory.use(index, false);
    }
    this.#demand.count(deeds, 1);
    this.#remaining.unlift(index);
  }

  /** Takes back what was placed on entering. */
  #leave({ orderFrom }: Situation): void {
    while (this.#order.length > orderFrom) this.#unplace();
  }

  /** Takes back the last move, and what it wrote. */
  #takeBack(undoFrom: number): void {
    this.#unplace();
    this.#revert(undoFrom);
  }

  #keepFurthest({ pending }: Situation): void {
    if (this.#furthest.pending.length > 0 && this.#order.length <= this.#furthest.order.length) return;
    this.#furthest = { order: [...this.#order], pending, held: [...this.#held] };
  }
}

/** A place in the tree of orders. */
interface Situation {
  /** Place of the first end among the remaining moves; together with `pending` it tells which remain. */
  readonly firstEnd: number;
  /** Remaining certain moves that began before it. */
  readonly pending: readonly number[];
  /** Moves that may come next, the best guess first. */
  readonly candidates: readonly number[];
  tried: number;
  /** Length of the order before this situation was entered. */
  readonly orderFrom: number;
  /** Length of the undo list before the move that is being followed. */
  undoFrom: number;
  /** This situation has failed before. */
  readonly isKnown: boolean;
}
