/** The generator is xoshiro128** as published, so that a seed printed by one build repeats in another. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';

/** The authors' C, in BigInt: slow, and plain to compare with https://prng.di.unimi.it/xoshiro128starstar.c */
class Reference {
  readonly s: bigint[];

  constructor(s: readonly bigint[]) {
    this.s = [...s];
  }

  next(): number {
    const [a = 0n, b = 0n, c = 0n, d = 0n] = this.s;
    const result = u32(rotate(u32(b * 5n), 7n) * 9n);
    const c2 = c ^ a;
    const d2 = d ^ b;
    this.s[1] = b ^ c2;
    this.s[0] = a ^ d2;
    this.s[2] = c2 ^ u32(b << 9n);
    this.s[3] = rotate(d2, 11n);
    return Number(result);
  }
}

function u32(x: bigint): bigint {
  return BigInt.asUintN(32, x);
}

function rotate(x: bigint, by: bigint): bigint {
  return u32((x << by) | (x >> (32n - by)));
}

/** The state that a seed stands for: FNV-1a of its text, spread by four steps of splitmix32. */
function stateOf(seed: string): readonly bigint[] {
  let h = 0x811c9dc5n;
  for (let i = 0; i < seed.length; i++) h = u32((h ^ BigInt(seed.charCodeAt(i))) * 0x01000193n);
  const state: bigint[] = [];
  for (let i = 0; i < 4; i++) {
    h = u32(h + 0x9e3779b9n);
    let z = h;
    z = u32((z ^ (z >> 16n)) * 0x85ebca6bn);
    z = u32((z ^ (z >> 13n)) * 0xc2b2ae35n);
    state.push(z ^ (z >> 16n));
  }
  return state.map((word, i) => (i === 3 ? word | 1n : word));
}

const fork = (label: string): number => new Random(4).fork(label).uint32();

describe('Random', () => {
  test('the reference gives the published values for the state 1, 2, 3, 4', () => {
    const reference = new Reference([1n, 2n, 3n, 4n]);
    const values = Array.from({ length: 10 }, () => reference.next());
    expect(values).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
  });

  test.each(['', '0', '1', '42', 'a text', '-1', '4294967295'])(
    'equals the reference from seed "%s"',
    (seed) => {
      const reference = new Reference(stateOf(seed));
      const random = new Random(seed);
      for (let i = 0; i < 500; i++) expect(random.uint32()).toBe(reference.next());
    },
  );

  test('a number and its text are the same seed, others are not', () => {
    expect(new Random(7).uint32()).toBe(new Random('7').uint32());
    const firsts = new Set(Array.from({ length: 1000 }, (_, seed) => new Random(seed).uint32()));
    expect(firsts.size).toBeGreaterThan(995);
  });

  test('ratio() is in [0, 1) and even', () => {
    const random = new Random(1);
    const buckets = Array.from({ length: 16 }, () => 0);
    const count = 32_000;
    for (let i = 0; i < count; i++) {
      const ratio = random.ratio();
      if (ratio < 0 || ratio >= 1) throw new Error(`Ratio ${ratio} is out of range`);
      const bucket = Math.floor(ratio * 16);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    const expected = count / 16;
    const chiSquare = buckets.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(37.7); // 15 degrees of freedom, one in a thousand
  });

  test('int() includes both ends and nothing beyond them', () => {
    const random = new Random(2);
    const seen = new Set(Array.from({ length: 1000 }, () => random.int(-2, 3)));
    expect([...seen].toSorted((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
    expect(random.int(5, 5)).toBe(5);
  });

  test('chance() is never for 0 and always for 1', () => {
    const random = new Random(3);
    for (let i = 0; i < 1000; i++) expect([random.chance(0), random.chance(1)]).toEqual([false, true]);
  });

  test('fork() gives a stream of its own, the same for the same place and label', () => {
    expect(fork('a')).toBe(fork('a'));
    expect(fork('a')).not.toBe(fork('b'));
    const parent = new Random(5);
    const child = parent.fork('x');
    const next = new Random(5);
    next.uint32();
    for (let i = 0; i < 100; i++) child.uint32();
    expect(parent.uint32()).toBe(next.uint32());
  });
});
