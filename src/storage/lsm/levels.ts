/**
 * Which tables lie where: plain data, never changed in place, so that readers keep the arrangement that they began with.
 * Level 0 holds what was flushed, newest first, and its tables overlap. In every other level each key lies in at most one
 * table. Of one key the versions in a lower-numbered level are the newer ones.
 */
import { assert, at } from '../../lib/assert.ts';
import { LEVELS_MAX, type LsmOptions, type TableMeta } from './table-format.ts';

/** A table in its place. */
export interface PlacedTable {
  readonly level: number;
  readonly meta: TableMeta;
  /** History that may go before this revision is not in this table any more, tombstones included; 0 when nobody knows. */
  readonly horizon: number;
}

/** At k: the tables of level k. Level 0 from the newest to the oldest, all others in key order. */
export type Levels = readonly (readonly PlacedTable[])[];

/** A step from one arrangement to the next. */
export interface LevelsEdit {
  readonly added: readonly PlacedTable[];
  /** Numbers of tables. */
  readonly removed: readonly number[];
}

/** No tables. */
export const EMPTY_LEVELS: Levels = Array.from({ length: LEVELS_MAX }, () => []);

/** The arrangement after `edit`, or the reason why there is none. */
export function editLevels(levels: Levels, edit: LevelsEdit): Levels | string {
  const removed = new Set(edit.removed);
  if (removed.size < edit.removed.length) return 'it removes a table twice';
  const present = new Set<number>();
  for (const table of allTables(levels)) present.add(table.meta.number);
  for (const number of removed) {
    if (!present.delete(number)) return `it removes table ${number}, which is not there`;
  }
  for (const { level, meta } of edit.added) {
    if (level >= LEVELS_MAX) return `it puts table ${meta.number} into level ${level}`;
    if (present.has(meta.number)) return `it adds table ${meta.number} twice`;
    present.add(meta.number);
  }
  const after: (readonly PlacedTable[])[] = [];
  for (const [level, tables] of levels.entries()) {
    const kept = tables.filter((table) => !removed.has(table.meta.number));
    const added = edit.added.filter((table) => table.level === level);
    const changed = added.length === 0 && kept.length === tables.length ? tables : [...kept, ...added];
    const sorted = changed === tables ? tables : changed.toSorted(level === 0 ? byAge : byKey);
    const overlap = sorted === tables ? undefined : firstOverlap(level, sorted);
    if (overlap !== undefined) return overlap;
    after.push(sorted);
  }
  return after;
}

/** All tables, from level 0 down. */
export function* allTables(levels: Levels): IterableIterator<PlacedTable> {
  for (const tables of levels) yield* tables;
}

/** The one table of a sorted level that may hold `key`. */
export function tableWith(tables: readonly PlacedTable[], key: string): PlacedTable | undefined {
  const table = tables[firstReaching(tables, key)];
  return table !== undefined && table.meta.first <= key ? table : undefined;
}

/** Tables that have a key in `first <= key <= last`; any level, order kept. */
export function overlapping(
  tables: readonly PlacedTable[],
  keys: { readonly first: string; readonly last: string },
): readonly PlacedTable[] {
  return tables.filter(({ meta }) => meta.first <= keys.last && meta.last >= keys.first);
}

/** Index of the first table of a sorted level whose last key is not below `key`; their number when there is none. */
export function firstReaching(tables: readonly PlacedTable[], key: string): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(tables, middle).meta.last < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** First and last key of all `tables`, at least one. */
export function keysOf(tables: readonly PlacedTable[]): { readonly first: string; readonly last: string } {
  let { first, last } = at(tables, 0).meta;
  for (const { meta } of tables) {
    if (meta.first < first) first = meta.first;
    if (meta.last > last) last = meta.last;
  }
  return { first, last };
}

/** Whether a level below `level` has a table that overlaps the keys of `tables`. */
export function isAboveOthers(levels: Levels, level: number, tables: readonly PlacedTable[]): boolean {
  const keys = keysOf(tables);
  return levels.slice(level + 1).some((deeper) => overlapping(deeper, keys).length > 0);
}

/** Bytes of all `tables`. */
export function bytesOf(tables: readonly PlacedTable[]): number {
  let bytes = 0;
  for (const { meta } of tables) bytes += meta.bytes;
  return bytes;
}

/** Bytes that a level should hold at most; the deepest level takes everything. */
export function levelBytesMax(level: number, options: LsmOptions): number {
  assert(level >= 1 && level < LEVELS_MAX, 'Only the sorted levels have a size');
  return level === LEVELS_MAX - 1 ? Infinity : options.level1Bytes * options.levelFactor ** (level - 1);
}

/** What was flushed later has the higher revisions; two tables share one at most, and then not its keys. */
function byAge(a: PlacedTable, b: PlacedTable): number {
  return b.meta.revisionMax - a.meta.revisionMax || b.meta.revisionMin - a.meta.revisionMin;
}

function byKey(a: PlacedTable, b: PlacedTable): number {
  return a.meta.first < b.meta.first ? -1 : a.meta.first > b.meta.first ? 1 : 0;
}

/** Levels must not lie: a reader asks one table of a sorted level, and the newer table of level 0 first. */
function firstOverlap(level: number, tables: readonly PlacedTable[]): string | undefined {
  for (let i = 1; i < tables.length; i++) {
    const [a, b] = [at(tables, i - 1).meta, at(tables, i).meta];
    const isOverlap = level === 0 ? b.revisionMax > a.revisionMin : b.first <= a.last;
    if (isOverlap) return `tables ${a.number} and ${b.number} overlap in level ${level}`;
  }
  return undefined;
}
