/** The search behind the judge of histories: its limits, its speed, its memory, and the shrinking of what it refuses. */
import { describe, expect, test } from 'vitest';
import { at } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';
import type { Operation } from '../../src/sim/history.ts';
import { decide } from '../../src/sim/linear-decision.ts';
import { Memory } from '../../src/sim/linear-memory.ts';
import { type Beginning, compile } from '../../src/sim/linear-moves.ts';
import { search } from '../../src/sim/linear-search.ts';
import { type Suspect, since, until } from '../../src/sim/linear-shrink.ts';
import { judgeHistory } from '../../src/sim/linearizability.ts';
import { MIXED, type Shape, SMALL, correctHistory, script } from './history-script.ts';

describe('judgeHistory within limits', () => {
  /** Nobody can tell these apart in a hurry: all at once, and the last answer is wrong. */
  const hard = script(
    [
      ...Array.from({ length: 32 }, (_, i) => `${i} cas k v${i % 5} v${(i * 3 + 1) % 5} 0-100`),
      ...Array.from({ length: 5 }, (_, i) => `${40 + i} set k v${i} 0-100`),
      '50 get k v1 200-201',
      '50 get k v2 202-203',
    ].join('\n'),
  );

  test('ends undecided after the steps it may take, the same every time', () => {
    const easy = script('1 set e a 0-1');
    const verdict = judgeHistory([...hard, ...easy], { stepsMax: 50_000 });
    expect(verdict).toMatchObject({ kind: 'undecided', keys: ['k'] });
    expect(judgeHistory([...hard, ...easy], { stepsMax: 50_000 })).toEqual(verdict);
    if (verdict.kind === 'undecided') expect(verdict.after).toBeLessThan(50_100);
  });

  test('ends when it is told that the time is over', () => {
    let asked = 0;
    const verdict = judgeHistory(hard, { isOver: () => ++asked > 40 });
    expect(verdict).toMatchObject({ kind: 'undecided' });
    expect(asked).toBeLessThan(50);
  });

  test('finds the violation behind a hard key', () => {
    const bad = script('1 set bad a 0-1 \n 2 get bad - 2-3');
    expect(judgeHistory([...hard, ...bad], { stepsMax: 50_000 })).toMatchObject({ keys: ['bad'] });
  });

  test('tells how far it is', () => {
    const judged: number[] = [];
    judgeHistory(script('1 set a a 0-1 \n 1 get b - 0-1 \n 2 get a a 3-4'), {
      onProgress: (count) => judged.push(count),
    });
    expect(judged).toEqual([2, 3]);
  });

  test('with times that are far apart', () => {
    const far = script('1 set k a 0-1 \n 1 set k b 9007199254740993-9007199254740995 \n 2 get k a 3-4');
    expect(judgeHistory(far).kind).toBe('linearizable');
    const [first, second, third] = [at(far, 0), at(far, 1), at(far, 2)];
    const late = { ...third, start: 9_007_199_254_740_996n, end: 9_007_199_254_740_997n };
    expect(judgeHistory([first, second, late]).kind).toBe('violation');
    expect(judgeHistory([first, second, { ...late, start: 9_007_199_254_740_995n }]).kind).toBe(
      'linearizable',
    );
  });
});

describe('judgeHistory in time', () => {
  // Five times what it takes on an idle machine: this guards against an explosion, not against a slow day.
  test.each<[string, Shape, number, number]>([
    ['100,000 operations on 500 keys', { ...MIXED, operations: 200 }, 500, 5000],
    ['3,000 operations of 8 clients on a key', { ...MIXED, operations: 3000 }, 1, 500],
    [
      '3,000 plain ones',
      { ...MIXED, operations: 3000, share: { ...MIXED.share, delete: 0, cas: 0 } },
      1,
      500,
    ],
    ['300 operations of 32 clients on a key', { ...MIXED, processes: 32 }, 1, 500],
  ])('%s', (_, shape, keys, limitMs) => {
    const history = Array.from({ length: keys }, (__, i) =>
      correctHistory(new Random(`time ${i}`), shape).map((operation) => withKey(operation, `key ${i}`)),
    ).flat();
    const before = process.cpuUsage();
    expect(judgeHistory(history)).toEqual({ kind: 'linearizable' });
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(limitMs);
  });
});

function withKey(operation: Operation, key: string): Operation {
  const { action } = operation;
  return action.kind === 'txn' ? operation : { ...operation, action: { ...action, key } };
}

describe('shrinking', () => {
  test('takes no order away', () => {
    for (const [name, shape] of Object.entries({
      one: { ...SMALL, operations: 12 },
      two: { ...SMALL, keys: 2 },
    })) {
      for (let seed = 1; seed <= 150; seed++) {
        const history = correctHistory(new Random(`${name} ${seed}`), shape);
        const suspects = history.map((original) => ({ original, weaker: original }));
        for (const { start, end } of history) {
          for (const time of end === undefined ? [start] : [start, end]) {
            expect(orderOf(until(suspects, time), 'empty'), `${name} ${seed}: until ${time}`).toBe(
              'linearizable',
            );
            expect(orderOf(since(suspects, time), 'open'), `${name} ${seed}: since ${time}`).toBe(
              'linearizable',
            );
          }
        }
      }
    }
  });

  test.each([
    ['1 get k a 0-1', 'linearizable'],
    ['1 get k a 0-1 \n 2 get k a 2-3 \n 3 cas k a b done 4-5 \n 4 get k b 6-7', 'linearizable'],
    ['1 cas k a b refused 0-1 \n 1 delete k there 2-3 \n 1 delete k absent 4-5', 'linearizable'],
    ['1 get k a 0-9 \n 2 set k b 0-9 \n 3 get k b 10-11', 'linearizable'],
    ['1 get k a & get m b 0-1 \n 2 get m b 2-3', 'linearizable'],
    ['1 get k a 0-1 \n 2 get k b 2-3', 'violation'],
    ['1 set k a 0-1 \n 2 get k b 2-3', 'violation'],
    ['1 get k a 0-1 \n 2 cas k a b refused 2-3', 'violation'],
    ['1 get k a & get m b 0-1 \n 2 get m c 2-3', 'violation'],
  ])('judges %j by what the keys may have held before', (text, verdict) => {
    const suspects = script(text).map((original) => ({ original, weaker: original }));
    expect(orderOf(suspects, 'open')).toBe(verdict);
  });
});

function orderOf(suspects: readonly Suspect[], beginning: Beginning): string {
  const operations = suspects.map(({ weaker }) => weaker);
  return decide(operations, { stepsMax: 1_000_000 }, beginning).kind;
}

test('Memory tells situations apart even if their hashes are equal', () => {
  const held = Int32Array.of(1, 2);
  const memory = new Memory(held, 4);
  memory.use(3, true);
  memory.add(7, [0, 1], [3]);
  expect(memory.has(7, [0, 1])).toBe(true);
  expect(memory.has(7, [0])).toBe(false);
  expect(memory.has(8, [0, 1])).toBe(false);
  // The search would have told of the change, and so changed the hash.
  held[1] = 3;
  expect(memory.has(7, [0, 1])).toBe(false);
  held[1] = 2;
  memory.use(2, true);
  expect(memory.has(7, [0, 1])).toBe(true);
  memory.use(3, false);
  expect(memory.has(7, [0, 1])).toBe(false);
});

test('the search gives up early where a value is lost that somebody still needs', () => {
  // Ten times as many without.
  const history = correctHistory(new Random('3'), { ...MIXED, operations: 3000, processes: 32 });
  const result = search(compile(history), { stepsMax: 1_000_000 });
  expect(result.kind).toBe('linearizable');
  expect(result.steps).toBeLessThan(60_000);
});
