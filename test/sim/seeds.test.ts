/** Lists of seeds as people write them. */
import { describe, expect, it } from 'vitest';
import { countSeeds, inBatches, parseSeeds } from '../../src/sim/seeds.ts';

describe('parseSeeds()', () => {
  it.each([
    ['7', [{ from: 7, to: 7 }]],
    ['1..1000', [{ from: 1, to: 1000 }]],
    [
      '1, 5,20..30',
      [
        { from: 1, to: 1 },
        { from: 5, to: 5 },
        { from: 20, to: 30 },
      ],
    ],
  ])('reads %s', (text, ranges) => {
    expect(parseSeeds(text)).toEqual(ranges);
  });

  it.each(['', 'x', '5..1', '1..', '..5', '1,,2', '-3', '1.5', '1...5', '0..99999999', '9'.repeat(16)])(
    'refuses "%s"',
    (text) => {
      expect(parseSeeds(text)).toBeUndefined();
    },
  );
});

describe('inBatches()', () => {
  it('gives every seed once, in order', () => {
    const ranges = [
      { from: 1, to: 7 },
      { from: 20, to: 20 },
    ];
    const batches = [...inBatches(ranges, 3)];
    expect(batches).toEqual([
      { from: 1, to: 3 },
      { from: 4, to: 6 },
      { from: 7, to: 7 },
      { from: 20, to: 20 },
    ]);
    expect(countSeeds(batches)).toBe(countSeeds(ranges));
  });
});
