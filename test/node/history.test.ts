/** The judge of histories passes what one register could have done, and nothing else. */
import { describe, expect, test } from 'vitest';
import { at } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';
import { type Operation, judge } from '../support/history.ts';

/** `w1 0-3`: value 1 written from 0 to 3; `r1`: read; `r-`: absence read; `w2 4-?`: written with unknown outcome. */
function parse(text: string): readonly Operation[] {
  return text.split(', ').map((part) => {
    const match = /^([wr])(\d+|-) (\d+)-(\d+|\?)$/.exec(part);
    const [, kind, value, began, ended] = match ?? [];
    return {
      key: 'k',
      kind: kind === 'w' ? 'write' : 'read',
      value: value === '-' ? undefined : value,
      beganOrder: Number(began),
      endedOrder: ended === '?' ? Infinity : Number(ended),
    };
  });
}

describe('judge', () => {
  test.each([
    'r- 0-1',
    'w1 0-1, r1 2-3',
    'w1 0-5, r- 1-2, r1 3-4',
    'w1 0-5, w2 1-6, r2 7-8',
    'w1 0-5, w2 1-6, r1 7-8, r1 9-10',
    'w1 0-?, r- 1-2, r- 3-4',
    'w1 0-?, r- 1-2, r1 3-4, r1 5-6',
    'w1 0-1, w2 2-?, r1 3-4, r2 5-6',
    'w1 0-9, r1 1-2, w2 3-4, r2 5-6',
  ])('passes %s', (text) => {
    expect(judge(parse(text))).toBeUndefined();
  });

  test.each([
    ['w1 0-1, r- 2-3', 'held'],
    ['r1 0-1', 'never written'],
    ['r1 0-1, w1 2-3', 'before it was written'],
    ['w1 0-1, w2 2-3, r1 4-5', 'held'],
    ['w1 0-5, r1 1-2, r- 3-4', 'held'],
    ['w1 0-1, w2 2-?, r2 3-4, r1 5-6', 'held'],
    ['w1 0-1, w2 2-3, r1 4-5, r2 6-7', 'held'],
    ['w1 0-1, r1 8-9, w2 3-4', 'held all the time'],
    ['w1 0-1, w1 2-3', 'twice'],
  ])('finds the fault in %s', (text, fault) => {
    expect(judge(parse(text))).toContain(fault);
  });

  test('judges every key by itself', () => {
    const a = parse('w1 0-1, r1 2-3');
    const b = parse('w2 0-1, r- 2-3').map((operation) => ({ ...operation, key: 'b' }));
    expect(judge([...a, ...b])).toMatch(/^b: /);
  });

  test('passes every history that a register made', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed);
      let held: string | undefined;
      const operations: Operation[] = [];
      for (let i = 0; i < 30; i++) {
        // Each takes effect at 10 i, and was under way for a while before and after.
        const kind = random.chance(0.4) ? 'write' : 'read';
        if (kind === 'write') held = `${i}`;
        const beganOrder = 10 * i - random.int(1, 60);
        const isUnknown = kind === 'write' && random.chance(0.2);
        const endedOrder = isUnknown ? Infinity : 10 * i + random.int(1, 60);
        operations.push({ key: 'k', kind, value: held, beganOrder: beganOrder + 0.5, endedOrder });
      }
      expect(judge(operations), `seed ${seed}`).toBeUndefined();
    }
  });

  test('agrees with trying every order, for short histories', () => {
    let bad = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      const random = new Random(seed);
      const times = shuffled(random, 10);
      const operations = Array.from({ length: 5 }, (_, i): Operation => {
        const [began, ended] = [at(times, 2 * i), at(times, 2 * i + 1)].toSorted((a, b) => a - b);
        const kind = i < 2 ? 'write' : 'read';
        const seen = [undefined, '0', '1'][random.int(0, 2)];
        const value = kind === 'write' ? `${i}` : seen;
        return { key: 'k', kind, value, beganOrder: began ?? 0, endedOrder: ended ?? 0 };
      });
      const isLinearizable = canOrder(operations, undefined);
      expect(judge(operations) === undefined, `seed ${seed}`).toBe(isLinearizable);
      if (!isLinearizable) bad += 1;
    }
    expect(bad).toBeGreaterThan(500);
    expect(bad).toBeLessThan(2900);
  });
});

function shuffled(random: Random, count: number): readonly number[] {
  const list = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const k = random.int(0, i);
    [list[i], list[k]] = [at(list, k), at(list, i)];
  }
  return list;
}

/** Whether these operations can take effect one after the other on a register that holds `held`. */
function canOrder(left: readonly Operation[], held: string | undefined): boolean {
  if (left.length === 0) return true;
  const firstEnd = Math.min(...left.map(({ endedOrder }) => endedOrder));
  return left.some((next) => {
    if (next.beganOrder > firstEnd || (next.kind === 'read' && next.value !== held)) return false;
    const rest = left.filter((other) => other !== next);
    return canOrder(rest, next.value);
  });
}
