/** Runs over several tables of a level, and the iterators that an engine gives out. */
import { at } from '../../lib/assert.ts';
import type { Version } from '../version-engine.ts';
import { type PlacedTable, firstReaching } from './levels.ts';
import type { Run, TableReader } from './table-format.ts';

/** Bounds of a run in key order; an undefined end is behind the last key. */
export interface RunBounds {
  readonly start: string;
  readonly end: string | undefined;
}

/** Tables of any level that may hold keys within `bounds`. */
export function withinBounds(
  level: number,
  tables: readonly PlacedTable[],
  { start, end }: RunBounds,
): readonly PlacedTable[] {
  if (level === 0)
    return tables.filter(({ meta }) => meta.last >= start && (end === undefined || meta.first < end));
  const from = firstReaching(tables, start);
  let to = end === undefined ? tables.length : firstReaching(tables, end);
  // The table that reaches the end may begin before it.
  if (end !== undefined && to < tables.length && at(tables, to).meta.first < end) to += 1;
  return tables.slice(from, to);
}

/** The versions of tables that do not overlap, one table open after the other. */
export class LevelRun implements Run {
  readonly #tables: readonly PlacedTable[];
  readonly #open: (table: PlacedTable) => Run;
  #next = 0;
  #run: Run | undefined;

  /** @param tables in the order in which they are read */
  constructor(tables: readonly PlacedTable[], open: (table: PlacedTable) => Run) {
    this.#tables = tables;
    this.#open = open;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<Version> {
    for (;;) {
      const result = this.#run?.next();
      if (result !== undefined && result.done !== true) return result;
      const table = this.#tables[this.#next];
      if (table === undefined) return { done: true, value: undefined };
      this.#next += 1;
      this.#run = this.#open(table);
    }
  }

  return(): IteratorResult<Version> {
    this.#run?.return?.();
    this.#run = undefined;
    this.#next = this.#tables.length;
    return { done: true, value: undefined };
  }
}

/** A run of one table within bounds, in either direction; the far bound is for the caller. */
export function tableRun(reader: TableReader, { start, end }: RunBounds, isReverse: boolean): Run {
  return isReverse ? reader.backward(end) : reader.forward(start);
}

/** Which versions of a run are given out. */
export interface RunCut {
  /** False for the first key behind the range. */
  readonly isWithin: (key: string) => boolean;
  /** Passes over versions within the range. */
  readonly isWanted?: (version: Version) => boolean;
}

/** What an engine gives out: a run cut to a range, which says once when it is over, begun or not. */
export class OpenRun implements Run {
  readonly #run: Run;
  readonly #isWithin: (key: string) => boolean;
  readonly #isWanted: ((version: Version) => boolean) | undefined;
  readonly #onEnd: (run: OpenRun) => void;
  #isOpen = true;

  constructor(run: Run, { isWithin, isWanted }: RunCut, onEnd: (run: OpenRun) => void) {
    this.#run = run;
    this.#isWithin = isWithin;
    this.#isWanted = isWanted;
    this.#onEnd = onEnd;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<Version> {
    if (!this.#isOpen) return { done: true, value: undefined };
    try {
      for (;;) {
        const result = this.#run.next();
        if (result.done === true || !this.#isWithin(result.value.key)) return this.return();
        if (this.#isWanted === undefined || this.#isWanted(result.value)) return result;
      }
    } catch (error) {
      this.return();
      throw error;
    }
  }

  return(): IteratorResult<Version> {
    if (this.#isOpen) {
      this.#isOpen = false;
      this.#run.return?.();
      this.#onEnd(this);
    }
    return { done: true, value: undefined };
  }
}
