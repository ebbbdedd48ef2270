/** The judge of histories passes what a correct store could have answered, and nothing else. */
import { describe, expect, test } from 'vitest';
import { at, unreachable } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';
import { type Operation, type Step, stepsOf } from '../../src/sim/history.ts';
import type { Story } from '../../src/sim/linear-story.ts';
import { judgeHistory } from '../../src/sim/linearizability.ts';
import { compile } from '../../src/sim/linear-moves.ts';
import { judgeRegister } from '../../src/sim/linear-register.ts';
import { search } from '../../src/sim/linear-search.ts';
import { MIXED, type Shape, SMALL, correctHistory, script } from './history-script.ts';

describe('judgeHistory passes', () => {
  test.each([
    ['nothing', ''],
    ['a read of nothing', '1 get k - 0-1'],
    ['a read after a write', '1 set k a 0-1 \n 2 get k a 2-3'],
    ['a read during a write, old and new', '1 set k a 0-9 \n 2 get k - 1-2 \n 2 get k a 3-4'],
    ['writes in either order', '1 set k a 0-5 \n 2 set k b 1-6 \n 3 get k a 7-8'],
    ['operations that touch in one instant', '1 set k a 0-5 \n 2 get k - 5-6'],
    ['a failed write that nobody saw', '1 set k a 0-1! \n 2 get k - 2-3'],
    ['an unknown write that never came', '1 set k a 0-? \n 2 get k - 2-3'],
    ['an unknown write that came late', '1 set k a 0-? \n 2 get k - 2-3 \n 2 get k a 9-10'],
    [
      'an unknown write between two others',
      '1 set k a 0-? \n 2 set k b 1-2 \n 3 get k b 3-4 \n 3 get k a 5-6',
    ],
    ['an unknown read', '1 set k a 0-1 \n 2 get k x 2-? \n 2 get k a 3-4'],
    ['a cas that swaps', '1 set k a 0-1 \n 2 cas k a b done 2-3 \n 3 get k b 4-5'],
    ['a cas that is refused', '1 set k a 0-1 \n 2 cas k b c refused 2-3 \n 3 get k a 4-5'],
    ['a cas on absence', '1 cas k - a done 0-1 \n 2 cas k - b refused 2-3 \n 3 get k a 4-5'],
    ['one of two concurrent swaps', '1 cas k - a done 0-5 \n 2 cas k - b refused 1-4'],
    ['an unknown cas that came', '1 set k a 0-1 \n 2 cas k a b 2-? \n 3 get k b 4-5'],
    ['unknown swaps in a row', '1 cas k - a 0-? \n 2 cas k a b 0-? \n 3 cas k b c 0-? \n 4 get k c 4-5'],
    [
      'a refusal that only an unknown write explains',
      '1 set k a 0-? \n 2 cas k - b refused 1-2 \n 3 get k a 5-6',
    ],
    ['a refusal by an unknown write nobody saw', '1 set k a 0-? \n 2 cas k - b refused 1-2'],
    ['a delete by an unknown write nobody saw', '1 set k a 0-? \n 2 delete k there 1-2 \n 3 get k - 3-4'],
    ['deletes', '1 set k a 0-1 \n 1 delete k there 2-3 \n 1 delete k absent 4-5 \n 2 get k - 6-7'],
    ['a delete that does not tell', '1 set k a 0-1 \n 1 delete k 2-3 \n 2 get k - 6-7'],
    ['a value that is set again', '1 set k a 0-1 \n 1 set k b 2-3 \n 1 set k a 4-5 \n 2 get k a 6-7'],
    ['a transaction on two keys', '1 set a x & set b x 0-1 \n 2 get a x & get b x 2-3'],
    [
      'a transaction that reads its own writes',
      '1 set a x & get a x & set a y & delete a there 0-1 \n 2 get a - 2-3',
    ],
    ['a transaction whose swap is refused', '1 cas a z y refused & set b x 0-1 \n 2 get a - & get b x 2-3'],
    ['the key __proto__', '1 set __proto__ a 0-1 \n 2 get __proto__ a 2-3 \n 3 get constructor - 0-1'],
  ])('%s', (_, text) => {
    expect(judgeHistory(script(text))).toEqual({ kind: 'linearizable' });
  });
});

describe('judgeHistory refuses', () => {
  test.each([
    ['a stale read', '1 set k a 0-1 \n 1 set k b 2-3 \n 2 get k a 4-5', 3],
    ['a lost write', '1 set k a 0-1 \n 2 get k - 2-3', 2],
    ['a value from nowhere', '1 get k z 0-1', 1],
    ['a value from the future', '1 get k a 0-1 \n 2 set k a 2-3', 2],
    ['a read that goes back', '1 set k a 0-9 \n 2 get k a 1-2 \n 3 get k - 3-4', 3],
    ['reads in different orders', '1 set k a 0-3 \n 2 set k b 0-3 \n 3 get k a 4-5 \n 4 get k b 6-7', 4],
    ['a failed write that was seen', '1 set k a 0-1! \n 2 get k a 2-3', 2],
    ['a failed unseen delete', '1 set k a 0-1 \n 2 delete k 2-3! \n 3 get k - 4-5', 2],
    [
      'an unknown write that came twice',
      '1 set k a 0-? \n 2 get k a 1-2 \n 3 set k b 3-4 \n 4 get k b 5-6 \n 4 get k a 7-8',
      4,
    ],
    ['an unknown write that came before it was asked', '1 get k a 0-1 \n 2 set k a 2-?', 2],
    ['a lost update', '1 set k a 0-1 \n 2 cas k a b done 2-5 \n 3 cas k a c done 2-5', 2],
    ['a swap from the wrong value', '1 set k a 0-1 \n 2 cas k b c done 2-3', 1],
    ['a refusal without a reason', '1 set k a 0-1 \n 2 cas k a b refused 2-3', 2],
    ['a swap without effect', '1 set k a 0-1 \n 2 cas k a b done 2-3 \n 3 get k a 4-5', 2],
    ['a refused swap with effect', '1 set k a 0-1 \n 2 cas k b c refused 2-3 \n 3 get k c 4-5', 2],
    ['a delete of nothing', '1 delete k there 0-1', 1],
    ['a delete that overlooked something', '1 set k a 0-1 \n 2 delete k absent 2-3', 2],
    ['a delete without effect', '1 set k a 0-1 \n 2 delete k there 2-3 \n 3 get k a 4-5', 2],
    ['one value deleted twice', '1 set k a 0-1 \n 2 delete k there 2-5 \n 3 delete k there 2-5', 2],
    ['a torn transaction', '1 set a x & set b x 0-9 \n 2 get a x 1-2 \n 3 get b - 3-4', 3],
    ['a scan that saw half', '1 set a x & set b x 0-9 \n 2 get a x & get b - 1-2', 2],
    [
      'two scans that disagree',
      '1 set a x 0-9 \n 2 set b x 0-9 \n 3 get a x & get b - 1-8 \n 4 get a - & get b x 1-8',
      4,
    ],
    [
      'an unknown transaction that came in half',
      '1 set a x & set b x 0-? \n 2 get a x 1-2 \n 2 get b - 3-4',
      3,
    ],
    ['write skew', '1 get a - & set b x 0-9 \n 2 get b - & set a x 0-9', 2],
  ])('%s', (_, text, lineCount) => {
    const verdict = judgeHistory(script(text));
    expect(verdict.kind).toBe('violation');
    if (verdict.kind === 'violation')
      expect(verdict.story.lines, verdict.story.reason).toHaveLength(lineCount);
  });

  test('one key among many, and names it', () => {
    const good = Array.from({ length: 50 }, (_, i) => `1 set g${i} a 0-1 \n 2 get g${i} a 2-3`);
    const verdict = judgeHistory(script(`${good.join('\n')} \n 1 set bad a 0-1 \n 2 get bad - 2-3`));
    expect(verdict).toMatchObject({ kind: 'violation', keys: ['bad'] });
  });
});

describe('the story', () => {
  test.each([
    [
      '1 set k a 0-1 \n 1 set k b 2-3 \n 4 get k b 3-4 \n 2 get k a 4-5 \n 3 set k z 7-8',
      ['set "k" to "a"', 'set "k" to "b"', 'get "k" saw "a"'],
      'No order fits. The longest is #1, #2. There #3 is due, but it saw "a" and "k" holds "b"',
    ],
    [
      '1 set k a 0-1! \n 2 get k a 2-3 \n 2 get k - 4-5',
      ['set "k" to "a": certainly without effect', 'get "k" saw "a"'],
      '#2 found "a" in "k", and #1, which would have written it, certainly had no effect',
    ],
    ['1 get k z 0-1', ['get "k" saw "z"'], '#1 found "z" in "k", which nobody wrote'],
    [
      '2 set k a 2-3 \n 1 get k a 0-1',
      ['get "k" saw "a"', 'set "k" to "a"'],
      '#1 found "a" in "k", and ended before #2 began to write it',
    ],
    [
      '1 set a x & set b x & get c - 0-9 \n 2 get a x & get b - & get d - 1-2',
      [
        'at one moment: set "a" to "x", set "b" to "x", 1 more',
        'at one moment: get "a" saw "x", get "b" saw nothing, 1 more',
      ],
      'No order fits. The longest is #1. There #2 is due, but it saw nothing and "b" holds "x"',
    ],
    [
      '1 delete k there 0-1',
      ['delete "k", which was there'],
      'No order fits. At the very beginning #1 is due, but it found something to delete and "k" holds nothing',
    ],
  ])('of %j', (text, lines, reason) => {
    const verdict = judgeHistory(script(text));
    if (verdict.kind !== 'violation') throw new Error('No violation');
    expect(verdict.story.lines.map((line) => line.text)).toEqual(lines);
    expect(verdict.story.reason).toBe(reason);
  });
});

/** All orders of all choices of unknown operations, by the definition and by nothing cleverer. */
function hasOrder(left: readonly Operation[], held: ReadonlyMap<string, string>): boolean {
  const due = left.filter(({ outcome }) => outcome === 'ok');
  if (due.length === 0) return true;
  return left.some((next) => {
    if (next.outcome === 'fail' || due.some(({ end }) => end !== undefined && end < next.start)) return false;
    const after = new Map(held);
    for (const step of stepsOf(next.action)) {
      if (!perform(step, after, next.outcome === 'ok')) return false;
    }
    return hasOrder(
      left.filter((other) => other !== next),
      after,
    );
  });
}

/** Makes one step; false when its answer is wrong. */
function perform(step: Step, held: Map<string, string>, isTold: boolean): boolean {
  const before = held.get(step.key);
  switch (step.kind) {
    case 'get':
      return !isTold || before === step.value;
    case 'set':
      held.set(step.key, step.value);
      return true;
    case 'delete':
      held.delete(step.key);
      return !isTold || step.existed === undefined || step.existed === (before !== undefined);
    case 'cas':
      if (before === step.expected) held.set(step.key, step.value);
      return !isTold || step.swapped === undefined || step.swapped === (before === step.expected);
    default:
      return unreachable(step);
  }
}

/** Whether the operations of a story have no order, and not for want of an earlier one if it says that none matters. */
function isTrue({ lines, reason }: Story): boolean {
  const told = lines.map(({ operation }) => operation);
  if (!reason.startsWith('No order fits')) return lines.length > 0;
  let beginnings: ReadonlyMap<string, string>[] = [new Map()];
  if (reason.includes('what was there before')) {
    const keys = new Set(told.flatMap(({ action }) => stepsOf(action).map(({ key }) => key)));
    for (const key of keys) {
      beginnings = beginnings.flatMap((held) => [
        held,
        ...['v1', 'v2', 'v3', 'other'].map((value) => new Map([...held, [key, value]])),
      ]);
    }
  }
  return !beginnings.some((held) => hasOrder(told, held));
}

/** What one answer might have been instead. */
function lied(random: Random, step: Step): Step {
  switch (step.kind) {
    case 'get':
      return { ...step, value: [undefined, 'v1', 'v2', 'v3'][random.int(0, 3)] };
    case 'set':
      return { ...step, value: `v${random.int(1, 3)}` };
    case 'delete':
      return { ...step, existed: [undefined, true, false][random.int(0, 2)] };
    case 'cas':
      return { ...step, swapped: [undefined, true, false][random.int(0, 2)] };
    default:
      return unreachable(step);
  }
}

/** The history with a few answers, outcomes and times changed. */
function spoiled(random: Random, history: readonly Operation[], share: number): readonly Operation[] {
  return history.map((operation) => {
    if (!random.chance(share)) return operation;
    const { action } = operation;
    if (random.chance(0.2) && operation.end !== undefined) {
      const shift = BigInt(random.int(0, 20_000_000));
      return { ...operation, start: operation.start + shift, end: operation.end + shift };
    }
    if (action.kind !== 'txn') return { ...operation, action: lied(random, action) };
    return { ...operation, action: { kind: 'txn', steps: action.steps.map((step) => lied(random, step)) } };
  });
}

describe('judgeHistory agrees with trying every order', () => {
  test.each<[string, Shape, number]>([
    ['of everything on one key', SMALL, 2000],
    [
      'of plain reads and writes',
      { ...SMALL, values: 0, share: { ...SMALL.share, delete: 0, cas: 0 } },
      1500,
    ],
    ['of many swaps', { ...SMALL, share: { ...SMALL.share, set: 0.2, cas: 0.5, unknown: 0.4 } }, 1500],
    ['of transactions on two keys', { ...SMALL, keys: 2, share: { ...SMALL.share, txn: 0.5 } }, 2000],
    [
      'of mostly unknown operations',
      { ...SMALL, operations: 7, keys: 2, share: { ...SMALL.share, txn: 0.3, unknown: 0.6 } },
      1000,
    ],
    ['of seven operations at once', { ...SMALL, operations: 7, processes: 7, values: 3 }, 700],
  ])('%s', (_, shape, count) => {
    let bad = 0;
    for (let seed = 1; seed <= count; seed++) {
      const random = new Random(`${seed}`);
      const history = spoiled(random, correctHistory(random, shape), 0.3);
      const expected = hasOrder(history, new Map()) ? 'linearizable' : 'violation';
      const verdict = judgeHistory(history);
      expect(verdict.kind, `seed ${seed}`).toBe(expected);
      if (verdict.kind !== 'violation') continue;
      bad += 1;
      if (!isTrue(verdict.story)) throw new Error(`seed ${seed}: the story proves nothing`);
      expect(verdict.story.reason, `seed ${seed}`).not.toContain('does not fit');
    }
    expect(bad).toBeGreaterThan(count / 20);
    expect(bad).toBeLessThan(count * 0.95);
  });

  test('the quick judge and the search agree on registers', () => {
    const shape: Shape = {
      operations: 40,
      processes: 5,
      keys: 1,
      values: 0,
      share: { set: 0.4, delete: 0, cas: 0, txn: 0, unknown: 0.1, fail: 0 },
    };
    let bad = 0;
    for (let seed = 1; seed <= 1500; seed++) {
      const random = new Random(`register ${seed}`);
      const moves = compile(staleReads(random, correctHistory(random, shape)));
      const quick = judgeRegister(moves);
      expect(quick.kind, `seed ${seed}`).toBe(search(moves, { stepsMax: 1_000_000 }).kind);
      if (quick.kind === 'violation') bad += 1;
    }
    expect(bad).toBeGreaterThan(200);
    expect(bad).toBeLessThan(1400);
  });
});

/** Now and then a read saw what another one saw. */
function staleReads(random: Random, history: readonly Operation[]): readonly Operation[] {
  const reads = history.filter(({ action }) => action.kind === 'get');
  return history.map((operation) => {
    if (operation.action.kind !== 'get' || !random.chance(0.05)) return operation;
    return { ...operation, action: at(reads, random.int(0, reads.length - 1)).action };
  });
}

describe('judgeHistory on runs of a correct store', () => {
  test.each<[string, Shape]>([
    ['of 300 operations on a key', MIXED],
    ['with values that come again', { ...MIXED, values: 3 }],
    ['with many unknown operations', { ...MIXED, share: { ...MIXED.share, unknown: 0.2 } }],
    ['with transactions and scans', { ...MIXED, keys: 4, share: { ...MIXED.share, txn: 0.3 } }],
  ])('passes all %s', (_, shape) => {
    for (let seed = 1; seed <= 60; seed++) {
      const verdict = judgeHistory(correctHistory(new Random(`correct ${seed}`), shape));
      expect(verdict.kind, `seed ${seed}: ${JSON.stringify(verdict, bigintText)}`).toBe('linearizable');
    }
  });

  test('catches a read of the value before the last', () => {
    let tried = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const history = correctHistory(new Random(`mutant ${seed}`), MIXED);
      const stale = withStaleRead(history);
      if (stale === undefined) continue;
      tried += 1;
      const verdict = judgeHistory(stale);
      expect(verdict.kind, `seed ${seed}`).toBe('violation');
      if (verdict.kind === 'violation') expect(verdict.story.lines.length, `seed ${seed}`).toBeLessThan(9);
    }
    expect(tried).toBeGreaterThan(20);
  });

  test('catches a write whose effect was lost', () => {
    let caught = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const history = correctHistory(new Random(`mutant ${seed}`), MIXED);
      const seen = new Set(history.flatMap(({ action }) => (action.kind === 'get' ? [action.value] : [])));
      const lost = history.find(
        ({ action, outcome }) => action.kind === 'set' && outcome === 'ok' && seen.has(action.value),
      );
      const failed = history.map((operation): Operation =>
        operation === lost ? { ...operation, outcome: 'fail' } : operation,
      );
      const verdict = judgeHistory(failed);
      expect(verdict.kind, `seed ${seed}`).toBe('violation');
      if (verdict.kind !== 'violation') continue;
      if (verdict.story.lines.some(({ operation }) => operation.outcome === 'fail')) caught += 1;
    }
    expect(caught).toBeGreaterThan(50);
  });
});

function bigintText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

/** The last read whose value was written before another acknowledged write ended, told to have seen the older value. */
function withStaleRead(history: readonly Operation[]): readonly Operation[] | undefined {
  for (const read of history.toReversed()) {
    if (read.action.kind !== 'get' || read.action.value === undefined) continue;
    const { value } = read.action;
    const writer = history.find(({ action }) => action.kind === 'set' && action.value === value);
    const older = history.findLast(
      ({ action, outcome, end }) =>
        action.kind === 'set' && outcome === 'ok' && end !== undefined && end < (writer?.start ?? 0n),
    );
    if (writer?.outcome !== 'ok' || writer.end === undefined || writer.end >= read.start) continue;
    if (older?.action.kind !== 'set') continue;
    const action = { ...read.action, value: older.action.value };
    return history.map((operation) => (operation === read ? { ...operation, action } : operation));
  }
  return undefined;
}
