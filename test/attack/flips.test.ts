/** Some of what `npm run attack` does with rot: one bit and one length of a few, for each kind of file. */
import { describe, expect, test } from 'vitest';
import { carelessTarget } from './careless.ts';
import { attackByFlips } from './flip-attack.ts';
import { flipTargets } from './flip-targets.ts';

const STRIDE = 25;

describe('rot', { timeout: 120_000 }, () => {
  test.each(flipTargets())('$name', (target) => {
    const row = attackByFlips(target, STRIDE);
    expect(row.violations).toEqual([]);
    const { refused, shortened, shortenedByCut, unchanged, flips, lengths } = row;
    expect(refused + shortened + shortenedByCut + unchanged).toBe(flips + lengths);
    expect(shortened + unchanged).toBeLessThan(0.1 * flips + 2);
  });

  test('a file without a checksum is found out', () => {
    expect(attackByFlips(carelessTarget(), 1).violations.join()).toContain('a wrong answer');
  });
});
