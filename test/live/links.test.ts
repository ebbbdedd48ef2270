/** The shapes of partitions: who does not hear whom. */
import { describe, expect, test } from 'vitest';
import { type Link, allLinks, bridge, deaf, halves, isolation, mute } from './links.ts';

const names = (links: readonly Link[]): readonly string[] => links.map(({ from, to }) => `${from}>${to}`);

describe('shapes of three nodes', () => {
  test.each([
    ['allLinks', allLinks(3), ['0>1', '0>2', '1>0', '1>2', '2>0', '2>1']],
    ['isolation', isolation(0, 3), ['0>1', '0>2', '1>0', '2>0']],
    ['mute', mute(1, 3), ['1>0', '1>2']],
    ['deaf', deaf(1, 3), ['0>1', '2>1']],
    ['halves', halves(new Set([0, 2]), 3), ['0>1', '1>0', '1>2', '2>1']],
    ['bridge', bridge(2, 3), ['0>1', '1>0']],
  ])('%s', (_, links, expected) => {
    expect(names(links)).toEqual(expected);
  });

  test('bridge() of five: two halves of two, which hear nothing of each other', () => {
    expect(names(bridge(2, 5))).toEqual(['0>3', '0>4', '1>3', '1>4', '3>0', '3>1', '4>0', '4>1']);
  });
});
