/** A queue is an array that refuses when it is full. */
import { describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import { Deque } from '../../src/lib/deque.ts';
import { Random } from '../../src/lib/random.ts';

describe('Deque', () => {
  test('gives back in the order in which it took', () => {
    const deque = new Deque<number>(1000);
    for (let i = 0; i < 100; i++) expect(deque.push(i)).toBe(true);
    expect(deque.length).toBe(100);
    for (let i = 0; i < 100; i++) {
      expect(deque.peek()).toBe(i);
      expect(deque.shift()).toBe(i);
    }
    expect([deque.shift(), deque.peek(), deque.length]).toEqual([undefined, undefined, 0]);
  });

  test.each([1, 2, 15, 16, 17, 33])('refuses the element after number %d, its limit', (limit) => {
    const deque = new Deque<number>(limit);
    for (let i = 0; i < limit; i++) expect(deque.push(i)).toBe(true);
    expect(deque.push(-1)).toBe(false);
    expect(deque.length).toBe(limit);
    expect(deque.shift()).toBe(0);
    expect(deque.push(limit)).toBe(true);
    expect(deque.push(-1)).toBe(false);
    expect(Array.from({ length: limit }, () => deque.shift())).toEqual(
      Array.from({ length: limit }, (_, i) => i + 1),
    );
  });

  test('is an array, for any sequence of calls', () => {
    const differences: string[] = [];
    for (let seed = 1; seed <= 50; seed++) {
      const random = new Random(seed);
      const limit = random.int(1, 80);
      const deque = new Deque<number>(limit);
      let model: number[] = [];
      for (let i = 0; i < 400; i++) {
        const roll = random.ratio();
        if (roll < 0.55) {
          const hasRoom = model.length < limit;
          if (hasRoom) model.push(i);
          if (deque.push(i) !== hasRoom) differences.push(`${seed}: push ${i}`);
        } else if (roll < 0.99) {
          if (deque.shift() !== model.shift()) differences.push(`${seed}: shift ${i}`);
        } else {
          deque.clear();
          model = [];
        }
        if (deque.length !== model.length || deque.peek() !== model[0]) differences.push(`${seed}: ${i}`);
      }
    }
    expect(differences).toEqual([]);
  });

  test('needs room for one element', () => {
    expect(() => new Deque(0)).toThrow(AssertionError);
  });
});
