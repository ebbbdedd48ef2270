/** Which compaction is due, and what lies where: levels drawn as text, answers as text. */
import { describe, expect, test } from 'vitest';

import { Random } from '../../../src/lib/random.ts';
import {
  EMPTY_LEVELS,
  type Levels,
  type PlacedTable,
  allTables,
  editLevels,
  keysOf,
  overlapping,
  tableWith,
} from '../../../src/storage/lsm/levels.ts';
import { type Pick, pickCompaction } from '../../../src/storage/lsm/pick.ts';
import { LEVELS_MAX, LSM_OPTIONS, type LsmOptions } from '../../../src/storage/lsm/table-format.ts';
import { withinBounds } from '../../../src/storage/lsm/reads.ts';
import { metaOf } from './lsm-support.ts';

const OPTIONS: LsmOptions = {
  ...LSM_OPTIONS,
  level0Tables: 2,
  level0TablesMax: 5,
  level1Bytes: 300,
  levelFactor: 10,
};

/** Bytes of a full table. */
const TABLE = OPTIONS.tableBytesMax;

/**
 * One line a level, "L1: 4[a-f] 5[g-k 900 1..7 o5 h3]": number, keys, then bytes (100), revisions (the number), obsolete of 10
 * versions (0), and the horizon under which it was written (0).
 */
function draw(picture: string): Levels {
  const added: PlacedTable[] = [];
  for (const line of picture.split('\n')) {
    const [name, rest = ''] = line.split(':');
    const level = Number(name?.trim().slice(1));
    for (const [, number, first, last, more = ''] of rest.matchAll(/(\d+)\[(\w)-(\w)([^\]]*)\]/g)) {
      const bytes = /(?:^| )(\d+)(?: |$)/.exec(more)?.[1];
      const revisions = /(\d+)\.\.(\d+)/.exec(more);
      const meta = metaOf(Number(number), {
        first: first ?? '',
        last: last ?? '',
        ...(bytes !== undefined && { bytes: Number(bytes) }),
        ...(revisions !== null && {
          revisionMin: Number(revisions[1]),
          revisionMax: Number(revisions[2]),
        }),
        obsolete: Number(/o(\d+)/.exec(more)?.[1] ?? 0),
      });
      added.push({ level, meta, horizon: Number(/h(\d+)/.exec(more)?.[1] ?? 0) });
    }
  }
  const levels = editLevels(EMPTY_LEVELS, { added, removed: [] });
  return typeof levels === 'string' ? expect.fail(levels) : levels;
}

function shown(pick: Pick | undefined): string {
  if (pick === undefined) return 'nothing';
  const { reason, fromLevel, toLevel, inputs, isDeepest, isMove } = pick;
  const numbers = inputs.map(({ level, meta }) => `L${level}:${meta.number}`).join(' ');
  const marks = `${isDeepest ? ' deepest' : ''}${isMove ? ' move' : ''}`;
  return `${reason}: ${numbers} → L${toLevel}${marks}${fromLevel > toLevel ? ' upwards!' : ''}`;
}

interface Case {
  readonly name: string;
  readonly levels: string;
  readonly horizon?: number;
  readonly cursors?: readonly (string | undefined)[];
  readonly expected: string;
}

const CASES: readonly Case[] = [
  { name: 'nothing at all', levels: '', expected: 'nothing' },
  { name: 'too few tables in level 0', levels: 'L0: 1[a-z]', expected: 'nothing' },
  {
    name: 'level 0, all of it, newest first, with what it overlaps',
    levels: 'L0: 7[a-c] 8[e-f]\nL1: 1[a-b] 2[d-d] 3[g-h]',
    expected: 'level 0: L0:8 L0:7 L1:1 L1:2 → L1 deepest',
  },
  {
    name: 'above deeper levels tombstones stay',
    levels: 'L0: 7[a-c] 8[e-f]\nL3: 2[f-x]',
    expected: 'level 0: L0:8 L0:7 → L1',
  },
  {
    name: 'deeper levels with other keys do not matter',
    levels: 'L0: 7[a-c] 8[e-f]\nL3: 2[g-x]',
    expected: 'level 0: L0:8 L0:7 → L1 deepest',
  },
  {
    name: 'what the lower tables add to the keys counts for tombstones',
    levels: 'L0: 7[a-c] 8[e-f]\nL1: 3[f-h]\nL2: 2[h-x]',
    expected: 'level 0: L0:8 L0:7 L1:3 → L1',
  },
  { name: 'a level at its limit', levels: 'L1: 1[a-b 150] 2[c-d 150]', expected: 'nothing' },
  {
    name: 'a level over its limit gives its first table, which moves',
    levels: 'L1: 1[a-b 150] 2[c-d 151]',
    expected: 'size: L1:1 → L2 deepest move',
  },
  {
    name: 'the next table in turn, merged with what it overlaps',
    levels: 'L1: 1[a-b 150] 2[c-f 151]\nL2: 3[a-d] 4[e-g] 5[h-i]',
    cursors: [undefined, 'b'],
    expected: 'size: L1:2 L2:3 L2:4 → L2 deepest',
  },
  {
    name: 'after the last table comes the first',
    levels: 'L1: 1[a-b 150] 2[c-f 151]\nL2: 3[a-d]',
    cursors: [undefined, 'f'],
    expected: 'size: L1:1 L2:3 → L2 deepest',
  },
  {
    name: 'as many neighbours as the level has too much of',
    levels: 'L1: 1[a-b 150] 2[c-d 150] 3[e-f 150] 6[g-h 150]\nL2: 4[a-d] 5[e-g]',
    expected: 'size: L1:1 L1:2 L2:4 → L2 deepest',
  },
  {
    name: 'what two neighbours overlap is merged once',
    levels: 'L1: 1[a-b 150] 2[c-d 150] 3[e-f 150] 6[g-h 150]\nL2: 4[a-d] 5[e-g]',
    cursors: [undefined, 'd'],
    expected: 'size: L1:3 L1:6 L2:5 → L2 deepest',
  },
  {
    name: 'a neighbour that overlaps nothing is left to go down by itself',
    levels: 'L1: 1[a-b 150] 2[c-d 150] 3[e-f 151]\nL2: 4[a-b] 5[e-g]',
    expected: 'size: L1:1 L2:4 → L2 deepest',
  },
  {
    name: 'one that overlaps nothing goes down alone',
    levels: 'L1: 1[a-b 150] 2[c-d 150] 3[e-f 151]\nL2: 5[e-g]',
    expected: 'size: L1:1 → L2 deepest move',
  },
  {
    name: 'a merge stays small enough for level 0 to wait for it',
    levels: `L1: 1[a-b ${5 * TABLE}] 2[c-d ${2 * TABLE}] 3[e-f ${TABLE}]\nL2: 4[a-b ${5 * TABLE}] 5[c-g ${5 * TABLE}]`,
    expected: 'size: L1:1 L2:4 → L2 deepest',
  },
  {
    name: 'a table comes down however much it overlaps',
    levels: `L1: 1[a-b ${50 * TABLE}]\nL2: 4[a-a ${9 * TABLE}] 5[b-b ${9 * TABLE}]`,
    expected: 'size: L1:1 L2:4 L2:5 → L2 deepest',
  },
  {
    name: 'a level over its limit by more comes before level 0',
    levels: 'L0: 7[a-c] 8[e-f]\nL1: 1[a-b 900] 2[c-f 100]',
    expected: 'size: L1:1 → L2 deepest move',
  },
  {
    name: 'level 0 comes before a level over its limit by less',
    levels: 'L0: 7[a-c] 8[e-f] 9[e-f]\nL1: 1[a-b 400]',
    expected: 'level 0: L0:9 L0:8 L0:7 L1:1 → L1 deepest',
  },
  {
    name: 'level 0 comes first when writes would soon wait for it',
    levels: 'L0: 6[a-c] 7[a-c] 8[e-f] 9[e-f]\nL1: 1[a-b 9000]',
    expected: 'level 0: L0:9 L0:8 L0:7 L0:6 L1:1 → L1 deepest',
  },
  {
    name: 'each further level holds ten times as much',
    levels: 'L2: 1[a-b 2999]',
    expected: 'nothing',
  },
  {
    name: 'the deepest level holds everything',
    levels: `L${LEVELS_MAX - 1}: 1[a-b 999999999999]`,
    expected: 'nothing',
  },
  {
    name: 'history that is not below the horizon',
    levels: 'L2: 1[a-b 1..100 o9]',
    expected: 'nothing',
  },
  {
    name: 'a table all of whose history may go, however little it is',
    levels: 'L2: 1[a-b 1..100 o1] 2[c-d 1..100]',
    horizon: 100,
    expected: 'history: L2:1 → L2 deepest',
  },
  {
    name: 'a table whose history has gone already',
    levels: 'L2: 1[a-b 1..100 o3 h100]',
    horizon: 100,
    expected: 'nothing',
  },
  {
    name: 'history goes down where something is below it',
    levels: 'L1: 1[a-d 1..100 o1]\nL2: 2[b-c] 3[x-y]\nL3: 4[c-e]',
    horizon: 100,
    expected: 'history: L1:1 L2:2 → L2',
  },
  {
    name: 'where the next level has nothing it moves',
    levels: 'L1: 1[a-d 1..100 o1]\nL3: 4[c-e]',
    horizon: 100,
    expected: 'history: L1:1 → L2 move',
  },
  {
    name: 'a part of the history that is too little',
    levels: 'L2: 1[a-b 1..100 o4]',
    horizon: 50,
    expected: 'nothing',
  },
  {
    name: 'a part of the history that is enough',
    levels: 'L2: 1[a-b 1..100 o6]',
    horizon: 50,
    expected: 'history: L2:1 → L2 deepest',
  },
  {
    name: 'only what has come below the horizon since the table was written counts',
    levels: 'L2: 1[a-b 1..100 o9 h40]',
    horizon: 50,
    expected: 'nothing',
  },
  {
    name: 'the table with the most to lose',
    levels: 'L1: 1[a-b 1..9 o3]\nL2: 2[c-d 1..9 o8] 3[e-f 1..9 o5]',
    horizon: 9,
    expected: 'history: L2:2 → L2 deepest',
  },
];

describe('pickCompaction()', () => {
  test.each(CASES)('$name', ({ levels, horizon = 0, cursors = [], expected }) => {
    expect(shown(pickCompaction({ levels: draw(levels), options: OPTIONS, horizon, cursors }))).toBe(
      expected,
    );
  });

  test('a tree that is left alone comes to rest, whatever it looks like', () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new Random(`rest/${seed}`);
      let levels = randomLevels(random);
      const horizon = random.int(0, 1000);
      const cursors: (string | undefined)[] = [];
      let next = 10_000;
      let steps = 0;
      for (; steps < 2000; steps++) {
        const pick = pickCompaction({ levels, options: OPTIONS, horizon, cursors });
        if (pick === undefined) break;
        const taken = pick.inputs.filter((table) => table.level === pick.fromLevel);
        if (pick.fromLevel > 0) cursors[pick.fromLevel] = keysOf(taken).last;
        const after = editLevels(levels, {
          added: outcome(pick, random, horizon, () => (next += 1)),
          removed: pick.inputs.map(({ meta }) => meta.number),
        });
        if (typeof after === 'string') expect.fail(`seed ${seed}: ${shown(pick)}: ${after}`);
        levels = after;
      }
      expect(steps, `seed ${seed}`).toBeLessThan(2000);
    }
  });
});

/** What a compaction might give: fewer versions, never more; all that may go has gone where nothing is below. */
function outcome(pick: Pick, random: Random, horizon: number, next: () => number): readonly PlacedTable[] {
  if (pick.isMove) return pick.inputs.map((table) => ({ ...table, level: pick.toLevel }));
  if (random.chance(0.1)) return [];
  const keys = keysOf(pick.inputs);
  const metas = pick.inputs.map(({ meta }) => meta);
  const versions = metas.reduce((sum, meta) => sum + meta.versions, 0);
  const revisionMax = Math.max(...metas.map((meta) => meta.revisionMax));
  // Whatever is left above the horizon may be obsolete one day.
  const isGone = pick.isDeepest && revisionMax <= horizon;
  const meta = metaOf(next(), {
    ...keys,
    bytes: Math.max(1, Math.floor(metas.reduce((sum, { bytes }) => sum + bytes, 0) * random.ratio())),
    revisionMin: Math.min(...metas.map(({ revisionMin }) => revisionMin)),
    revisionMax,
    versions,
    obsolete: isGone ? 0 : random.int(0, versions),
  });
  return [{ level: pick.toLevel, meta, horizon: pick.isDeepest ? horizon : 0 }];
}

function randomLevels(random: Random): Levels {
  const added: PlacedTable[] = [];
  let number = 1;
  for (let level = 0; level < LEVELS_MAX; level++) {
    for (let first = 0x61; first < 0x7a && random.chance(0.7);) {
      const last = random.int(first, 0x7a);
      const revisionMin = level === 0 ? number * 10 : random.int(1, 900);
      const meta = metaOf(number++, {
        first: String.fromCharCode(first),
        last: String.fromCharCode(last),
        bytes: random.int(1, 400 * 10 ** level),
        revisionMin,
        revisionMax: revisionMin + random.int(0, level === 0 ? 9 : 100),
        obsolete: random.int(0, 10),
      });
      added.push({ level, meta, horizon: random.chance(0.3) ? random.int(0, 1000) : 0 });
      first = level === 0 ? random.int(0x61, 0x79) : last + 1;
    }
  }
  const levels = editLevels(EMPTY_LEVELS, { added, removed: [] });
  return typeof levels === 'string' ? expect.fail(levels) : levels;
}

describe('editLevels()', () => {
  test('keeps level 0 from the newest to the oldest and the others in key order', () => {
    const levels = draw('L0: 3[a-z 5..9] 4[a-z 20..30] 5[a-z 10..19]\nL2: 1[m-n] 2[a-b]');
    expect(levels.map((tables) => tables.map(({ meta }) => meta.number))).toEqual([
      [4, 5, 3],
      [],
      [2, 1],
      [],
      [],
      [],
      [],
    ]);
  });

  test.each([
    ['a key in two tables of a sorted level', 'L1: 1[a-c]', { level: 1, first: 'c', last: 'd' }, 'overlap'],
    [
      'revisions that mix in level 0',
      'L0: 1[a-c 5..9]',
      { level: 0, revisionMin: 8, revisionMax: 12 },
      'overlap',
    ],
    ['a number twice', 'L1: 9[a-c]', { level: 2, first: 'x' }, 'twice'],
    ['a level that there is not', '', { level: LEVELS_MAX }, 'into level'],
  ])('refuses %s', (_name, picture, { level, ...more }, why) => {
    const added = [{ level, meta: metaOf(9, more), horizon: 0 }];
    expect(editLevels(draw(picture), { added, removed: [] })).toContain(why);
  });

  test('refuses to remove what is not there, or twice', () => {
    const levels = draw('L1: 1[a-c]');
    expect(editLevels(levels, { added: [], removed: [2] })).toContain('not there');
    expect(editLevels(levels, { added: [], removed: [1, 1] })).toContain('twice');
  });

  test('a table may take the place of those that it came from, under a number of its own', () => {
    const levels = draw('L1: 1[a-c] 2[d-f]\nL2: 3[a-z]');
    const added = [{ level: 2, meta: metaOf(4), horizon: 0 }];
    const after = editLevels(levels, { added, removed: [1, 2, 3] });
    expect(
      typeof after === 'string' ? after : Array.from(allTables(after), ({ meta }) => meta.number),
    ).toEqual([4]);
  });
});

describe('finding tables', () => {
  test('tableWith(), overlapping() and withinBounds() find what a look at every table finds', () => {
    const letters = 'abcdefghijklmnopqrstuvwxyz'.split('');
    const wrong: string[] = [];
    for (let seed = 0; seed < 50; seed++) {
      for (const [level, tables] of randomLevels(new Random(`find/${seed}`)).entries()) {
        for (const key of letters) {
          const having = tables.filter(({ meta }) => meta.first <= key && key <= meta.last);
          if (level > 0 && tableWith(tables, key) !== having[0]) wrong.push(`${seed}: tableWith ${key}`);
          const found = overlapping(tables, { first: key, last: key });
          if (!isSame(found, having)) wrong.push(`${seed}: overlapping ${key}`);
          for (const end of [...letters.filter((letter) => letter > key), undefined]) {
            const within = tables.filter(
              ({ meta }) => meta.last >= key && (end === undefined || meta.first < end),
            );
            if (!isSame(withinBounds(level, tables, { start: key, end }), within))
              wrong.push(`${seed}: withinBounds ${key} to ${end}`);
          }
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

function isSame(a: readonly PlacedTable[], b: readonly PlacedTable[]): boolean {
  return a.length === b.length && a.every((table, i) => table === b[i]);
}
