/**
 * Which compaction is due: a pure function of what lies where. It decides and does nothing; `compaction.ts` does and
 * decides nothing.
 */
import { at } from '../../lib/assert.ts';
import {
  type Levels,
  type PlacedTable,
  bytesOf,
  isAboveOthers,
  keysOf,
  levelBytesMax,
  overlapping,
} from './levels.ts';
import { LEVELS_MAX, type LsmOptions } from './table-format.ts';

/** Part of its versions that a table must probably be rid of to be worth its rewriting while more of them stay. */
const OBSOLETE_RATIO_MIN = 1 / 4;

/** A merge of sorted levels takes in about so many full tables at most: level 0 may have to wait for it. */
const MERGED_TABLES_MAX = 16;

/** Part of the tables that level 0 may have with which it comes first, whatever else is due. */
const URGENT_RATIO = 3 / 4;

/** What the choice depends on. */
export interface PickInput {
  readonly levels: Levels;
  readonly options: LsmOptions;
  /** History before it may go. */
  readonly horizon: number;
  /** At k: the last key of what was taken from level k the last time, so that all of a level has its turn. */
  readonly cursors: readonly (string | undefined)[];
}

/** What is to be done, and why. */
export interface Pick {
  readonly reason: 'level 0' | 'size' | 'history';
  readonly fromLevel: number;
  readonly toLevel: number;
  /** Newest first where they overlap. */
  readonly inputs: readonly PlacedTable[];
  /** No deeper level holds any of these keys. */
  readonly isDeepest: boolean;
  /** There is nothing to merge: the one table goes down as it is. */
  readonly isMove: boolean;
}

/** Tables of level 0 with which it comes first, and writes begin to be slowed down. */
export function urgentTables(level0TablesMax: number): number {
  return Math.ceil(level0TablesMax * URGENT_RATIO);
}

/**
 * The most urgent compaction; undefined when all is well. A level is due by the part of its limit that it fills, but level 0
 * comes first when writes would soon have to wait for it; history is looked after when no level is over its limit.
 */
export function pickCompaction(input: PickInput): Pick | undefined {
  const { levels, options } = input;
  const level0 = at(levels, 0);
  const isUrgent = level0.length >= urgentTables(options.level0TablesMax);
  if (isUrgent) return downwards(levels, 0, level0, 'level 0');
  let due: number | undefined;
  let scoreMax = 0;
  for (let level = 0; level < LEVELS_MAX - 1; level++) {
    const tables = at(levels, level);
    const score =
      level === 0 ? tables.length / options.level0Tables : bytesOf(tables) / levelBytesMax(level, options);
    const isDue = level === 0 ? score >= 1 : score > 1;
    if (!isDue || score <= scoreMax) continue;
    due = level;
    scoreMax = score;
  }
  if (due === 0) return downwards(levels, 0, level0, 'level 0');
  if (due !== undefined) return downwards(levels, due, nextInTurn(input, due), 'size');
  return pickHistory(input);
}

/** `tables` of one level and everything that they overlap in the next. */
function downwards(
  levels: Levels,
  fromLevel: number,
  tables: readonly PlacedTable[],
  reason: Pick['reason'],
): Pick {
  const toLevel = fromLevel + 1;
  const inputs = [...tables, ...overlapping(at(levels, toLevel), keysOf(tables))];
  const isDeepest = !isAboveOthers(levels, toLevel, inputs);
  return { reason, fromLevel, toLevel, inputs, isDeepest, isMove: inputs.length === 1 };
}

/**
 * The table whose turn it is, with as many of those behind it as the level has too much of: each merge waits for the turn of
 * its node before it and behind it, and neighbours share what they overlap.
 */
function nextInTurn({ levels, options, cursors }: PickInput, level: number): readonly PlacedTable[] {
  const tables = at(levels, level);
  const below = at(levels, level + 1);
  const cursor = cursors[level];
  const next = cursor === undefined ? 0 : tables.findIndex((table) => table.meta.first > cursor);
  const start = Math.max(0, next);
  let excessBytes = bytesOf(tables) - levelBytesMax(level, options);
  let end = start;
  for (const table of tables.slice(start)) {
    const taken = tables.slice(start, end + 1);
    // One that overlaps nothing goes down by itself, and is not written again.
    const isAlone = overlapping(below, table.meta).length === 0;
    const mergedBytes = bytesOf(taken) + bytesOf(overlapping(below, keysOf(taken)));
    if (end > start && (isAlone || mergedBytes > MERGED_TABLES_MAX * options.tableBytesMax)) break;
    end += 1;
    excessBytes -= table.meta.bytes;
    if (isAlone || excessBytes <= 0) break;
  }
  return tables.slice(start, end);
}

/**
 * A table with much history that may go. Above other tables it goes down, and so do its tombstones, until nothing is
 * below them; there it is written anew without what may go.
 */
function pickHistory({ levels, horizon }: PickInput): Pick | undefined {
  let best: PlacedTable | undefined;
  let ratioMax = 0;
  for (const tables of levels.slice(1)) {
    for (const table of tables) {
      const ratio = droppable(table, horizon) / table.meta.versions;
      if (ratio <= ratioMax) continue;
      best = table;
      ratioMax = ratio;
    }
  }
  if (best === undefined) return undefined;
  const { level } = best;
  if (isAboveOthers(levels, level, [best])) return downwards(levels, level, [best], 'history');
  return {
    reason: 'history',
    fromLevel: level,
    toLevel: level,
    inputs: [best],
    isDeepest: true,
    isMove: false,
  };
}

/**
 * How many versions would go if the table were written anew; 0 when it is not worth it. Below the horizon under which the
 * table was written nothing is left to go, and above the present one nothing may: between them they are counted as if
 * revisions were spread evenly.
 */
function droppable({ meta, horizon: written }: PlacedTable, horizon: number): number {
  const from = Math.max(written, meta.revisionMin - 1);
  const to = Math.min(horizon, meta.revisionMax);
  if (meta.obsolete === 0 || to <= from) return 0;
  if (to === meta.revisionMax) return meta.obsolete;
  const share = (to - from) / (meta.revisionMax - meta.revisionMin + 1);
  const estimate = meta.obsolete * share;
  return estimate >= meta.versions * OBSOLETE_RATIO_MIN ? estimate : 0;
}
