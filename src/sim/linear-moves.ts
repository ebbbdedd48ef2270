/**
 * A history made ready for the search for an order: the operations that matter, as tests and writes on numbered keys and
 * values, and the moments at which they began and ended, as places in one sequence. Decides nothing.
 */
import { at, defined, unreachable } from '../lib/assert.ts';
import { type Operation, type Step, stepsOf } from './history.ts';

/**
 * What an operation does, one after the other. A *pair* is a key together with a value or with absence, numbered; `key`
 * is that of the pair.
 */
export type Deed =
  /** Possible only while the key holds the pair's value. */
  | { readonly kind: 'require'; readonly key: number; readonly pair: number }
  /** Possible only while it does not. */
  | { readonly kind: 'forbid'; readonly key: number; readonly pair: number }
  | { readonly kind: 'write'; readonly key: number; readonly pair: number }
  /** Writes if the key holds `expected`, and nobody was told whether it did. */
  | { readonly kind: 'swap'; readonly key: number; readonly expected: number; readonly pair: number };

/** One operation that an order has to place (`isCertain`) or may place. */
export interface Move {
  readonly operation: Operation;
  readonly deeds: readonly Deed[];
  readonly isCertain: boolean;
  /** Certain, and changes nothing in whatever order. */
  readonly isObserver: boolean;
  /** Place of its beginning in the sequence of beginnings and ends, from 1 on. */
  readonly start: number;
  /** Place of its end; Infinity when it need not happen. */
  readonly end: number;
  /** Equal for two moves that need not happen and that do the same. */
  readonly signature: number;
}

/** Everything the search needs to know of one set of keys. Moves are in the order of their beginnings. */
export interface Moves {
  readonly keys: readonly string[];
  readonly moves: readonly Move[];
  /** The value of each pair; undefined for absence. */
  readonly values: readonly (string | undefined)[];
  /** The pair that each key holds at first; {@link OPEN} if that is left open. */
  readonly first: readonly number[];
  /** How many places the sequence has. */
  readonly places: number;
}

/**
 * What the keys hold at first: nothing, or whatever suits. The latter is for explanations, and only where no swap depends
 * on it that nobody was told of, unless it is an operation by itself that need not happen.
 */
export type Beginning = 'empty' | 'open';

/** Instead of a pair: the key holds what the first one that looks expects. */
export const OPEN = -1;

/** Whether the operation can bear on any order: it did not fail, and if its answer is unknown it writes. */
export function matters({ action, outcome }: Operation): boolean {
  if (outcome === 'fail') return false;
  return outcome === 'ok' || stepsOf(action).some(({ kind }) => kind !== 'get');
}

/**
 * Compiles the operations of some keys. An operation that ends at the very moment at which another begins counts as
 * concurrent with it: the clock cannot tell which came first, and the judge must not accuse the innocent.
 */
export function compile(operations: readonly Operation[], beginning: Beginning = 'empty'): Moves {
  const pairs = new Pairs();
  const kept = operations.filter(matters);
  const since = offsets(kept);
  const signatures = new Map<string, number>();
  const drafts = kept.map((operation): Draft => {
    const isCertain = operation.outcome === 'ok';
    const deeds = stepsOf(operation.action).flatMap((step) => deedsOf(step, isCertain, pairs));
    return {
      operation,
      deeds,
      isCertain,
      isObserver: isCertain && !deeds.some(writes),
      start: since(operation.start),
      end: isCertain ? since(endOf(operation)) : Infinity,
      signature: isCertain ? -1 : signatureOf(deeds, signatures),
    };
  });
  const moves = withoutUnseen(drafts).toSorted((a, b) => a.start - b.start);
  const places = replaceTimes(moves);
  return { ...pairs.tables(beginning), moves, places };
}

/** A move whose beginning and end are first times, then places. */
type Draft = Move & { start: number; end: number };

/** Replaces the times of moves, which are in the order of their beginnings, by places. Returns how many there are. */
function replaceTimes(moves: readonly Draft[]): number {
  const byEnd = moves.filter(({ isCertain }) => isCertain).toSorted((a, b) => a.end - b.end);
  let place = 0;
  let ended = 0;
  for (const move of moves) {
    for (let next = byEnd[ended]; next !== undefined && next.end < move.start; next = byEnd[++ended])
      next.end = ++place;
    move.start = ++place;
  }
  for (const move of byEnd.slice(ended)) move.end = ++place;
  return place;
}

/** Turns times into numbers that compare as they do: much quicker to sort than bigints. */
function offsets(operations: readonly Operation[]): (time: bigint) => number {
  let first = operations[0]?.start ?? 0n;
  let last = first;
  for (const { start, end } of operations) {
    if (start < first) first = start;
    if (end !== undefined && end > last) last = end;
    if (start > last) last = start;
  }
  if (last - first <= BigInt(Number.MAX_SAFE_INTEGER)) return (time) => Number(time - first);
  const times = operations.flatMap(({ start, end }) => (end === undefined ? [start] : [start, end]));
  const ranks = new Map(times.toSorted(compare).map((time, rank) => [time, rank]));
  return (time) => defined(ranks.get(time), 'rank of a time');
}

/** Whether the deed can change what its key holds. */
export function writes(deed: Deed): boolean {
  return deed.kind === 'write' || deed.kind === 'swap';
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function endOf(operation: Operation): bigint {
  return defined(operation.end, 'end of an operation that was answered');
}

function signatureOf(deeds: readonly Deed[], known: Map<string, number>): number {
  const text = deeds.map((deed) => `${deed.kind} ${deed.pair} ${deed.kind === 'swap' ? deed.expected : ''}`);
  const found = known.get(text.join());
  if (found !== undefined) return found;
  known.set(text.join(), known.size);
  return known.size - 1;
}

/** Numbers keys, and values within each key. */
class Pairs {
  readonly #keys: string[] = [];
  readonly #keyNumbers = new Map<string, number>();
  readonly #pairs: Map<string, number>[] = [];
  readonly #absence: number[] = [];
  readonly #values: (string | undefined)[] = [];

  key(name: string): number {
    const known = this.#keyNumbers.get(name);
    if (known !== undefined) return known;
    const key = this.#keys.push(name) - 1;
    this.#keyNumbers.set(name, key);
    this.#pairs.push(new Map());
    this.#absence.push(this.#add(undefined));
    return key;
  }

  pair(key: number, value: string | undefined): number {
    if (value === undefined) return at(this.#absence, key);
    const pairs = at(this.#pairs, key);
    const known = pairs.get(value);
    if (known !== undefined) return known;
    const pair = this.#add(value);
    pairs.set(value, pair);
    return pair;
  }

  #add(value: string | undefined): number {
    return this.#values.push(value) - 1;
  }

  tables(beginning: Beginning): Pick<Moves, 'keys' | 'values' | 'first'> {
    return {
      keys: this.#keys,
      values: this.#values,
      first: this.#absence.map((absence) => (beginning === 'open' ? OPEN : absence)),
    };
  }
}

/** The answers become tests. Without answers only what may be written counts. */
function deedsOf(step: Step, isCertain: boolean, pairs: Pairs): readonly Deed[] {
  const key = pairs.key(step.key);
  switch (step.kind) {
    case 'get':
      return isCertain ? [{ kind: 'require', key, pair: pairs.pair(key, step.value) }] : [];
    case 'set':
      return [{ kind: 'write', key, pair: pairs.pair(key, step.value) }];
    case 'delete': {
      const absence = pairs.pair(key, undefined);
      const existed = isCertain ? step.existed : undefined;
      if (existed === false) return [{ kind: 'require', key, pair: absence }];
      const write: Deed = { kind: 'write', key, pair: absence };
      return existed === undefined ? [write] : [{ kind: 'forbid', key, pair: absence }, write];
    }
    case 'cas': {
      const expected = pairs.pair(key, step.expected);
      const pair = pairs.pair(key, step.value);
      const swapped = isCertain ? step.swapped : undefined;
      if (swapped === undefined) return [{ kind: 'swap', key, expected, pair }];
      if (!swapped) return [{ kind: 'forbid', key, pair: expected }];
      return [
        { kind: 'require', key, pair: expected },
        { kind: 'write', key, pair },
      ];
    }
    default:
      return unreachable(step);
  }
}

/**
 * How often the remaining moves look at, need, avoid and give what a key may hold. See {@link Demand.isUseful} and
 * {@link Demand.isDoomed} for what follows from it.
 */
export class Demand {
  /** By pair: moves that cannot happen unless the key holds it before them. */
  readonly #needs: Int32Array;
  /** By pair: moves whose course may depend on the key holding it. */
  readonly #looks: Int32Array;
  /** By key: moves that cannot happen while the key holds some pair. */
  readonly #avoids: Int32Array;
  /** By pair: moves that may leave it behind. */
  readonly #gives: Int32Array;

  constructor(counts: { readonly pairs: number; readonly keys: number }) {
    this.#needs = new Int32Array(counts.pairs);
    this.#looks = new Int32Array(counts.pairs);
    this.#avoids = new Int32Array(counts.keys);
    this.#gives = new Int32Array(counts.pairs);
  }

  /** Counts these deeds in (`by` 1) or out (`by` -1). */
  count(deeds: readonly Deed[], by: 1 | -1): void {
    for (const deed of deeds) {
      switch (deed.kind) {
        case 'require':
          // Also what the operation itself wrote before: then it gives it, too, and is of use to itself at worst.
          add(this.#needs, deed.pair, by);
          add(this.#looks, deed.pair, by);
          break;
        case 'forbid':
          add(this.#avoids, deed.key, by);
          break;
        case 'swap':
          add(this.#looks, deed.expected, by);
          add(this.#gives, deed.pair, by);
          break;
        case 'write':
          add(this.#gives, deed.pair, by);
          break;
        default:
          unreachable(deed);
      }
    }
  }

  /**
   * Whether a move that need not happen can be of use to the remaining ones. If not, it may be left out of every order:
   * take an order that has it, and take it out. What the keys hold differs only from there to the next write of the same
   * key, and only in the keys that it wrote. No move in between needs its values or looks for them (`looks`), and none
   * needs the key to hold something else than now (`avoids`), so that all certain moves find what they found before. A
   * swap whose answer nobody knows may now succeed where it did not; but each step depends on its own key alone, so the
   * difference stays within that key and ends with the same write.
   */
  isUseful(deeds: readonly Deed[]): boolean {
    return deeds.some(
      (deed) => writes(deed) && (count(this.#looks, deed.pair) > 0 || count(this.#avoids, deed.key) > 0),
    );
  }

  /** Whether a remaining move needs this pair, which its key does not hold, and no remaining move can bring it back. */
  isDoomed(pair: number): boolean {
    return count(this.#needs, pair) > 0 && count(this.#gives, pair) === 0;
  }
}

function add(table: Int32Array, index: number, by: number): void {
  table[index] = count(table, index) + by;
}

function count(table: Int32Array, index: number): number {
  return table[index] ?? 0;
}

/** Unknown swaps may wait for each other's values; after so many rounds the rest is kept, which costs time alone. */
const UNSEEN_ROUNDS_MAX = 8;

/** Leaves out moves that need not happen and that are of use to nobody, so that the search never meets them. */
function withoutUnseen(drafts: readonly Draft[]): readonly Draft[] {
  if (drafts.every(({ isCertain }) => isCertain)) return drafts;
  let kept = drafts;
  const demand = demandOf(kept);
  for (let round = 0; round < UNSEEN_ROUNDS_MAX; round++) {
    const useful = kept.filter(({ deeds, isCertain }) => {
      const isKept = isCertain || demand.isUseful(deeds);
      if (!isKept) demand.count(deeds, -1);
      return isKept;
    });
    if (useful.length === kept.length) break;
    kept = useful;
  }
  return kept;
}

/** The demand of all these moves together. */
export function demandOf(moves: readonly { readonly deeds: readonly Deed[] }[]): Demand {
  let pairs = 0;
  let keys = 0;
  for (const { deeds } of moves) {
    for (const deed of deeds) {
      pairs = Math.max(pairs, deed.pair + 1, deed.kind === 'swap' ? deed.expected + 1 : 0);
      keys = Math.max(keys, deed.key + 1);
    }
  }
  const demand = new Demand({ pairs, keys });
  for (const { deeds } of moves) demand.count(deeds, 1);
  return demand;
}
