/** The hash by which replicas are compared: part of what is stored, so it never changes. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { RowSetHash } from '../../src/kv/row-hash.ts';

const KEY = 'key-000000000001';

function noise(bytes: number): Uint8Array {
  const random = new Random(bytes);
  return Uint8Array.from({ length: bytes }, () => random.int(0, 255));
}

function hashOf(value: Uint8Array): string {
  const hash = new RowSetHash();
  hash.add(KEY, value);
  return hash.hex();
}

describe('RowSetHash', () => {
  test.each([
    [0, '67409352f611b874'],
    [1, '4a04f0a0611a0656'],
    [3, 'febfbbd5e3813bf3'],
    [4, 'd7d4965ee2a1a526'],
    [100, '71e666dfddd98507'],
    [511, 'd9845e3b8af70f2c'],
    [512, '3ebe59e70f47f848'],
    [513, 'a7e5d2f5417b7c5e'],
    [515, '22979da08c5e9c15'],
    [10_000, 'd3fd70d0156a5cee'],
  ])('of a value of %i bytes is what it always was', (bytes, expected) => {
    expect(hashOf(noise(bytes))).toBe(expected);
  });

  test('does not depend on where in memory a value lies', () => {
    for (const bytes of [5, 600, 1027]) {
      const value = noise(bytes);
      const expected = hashOf(value);
      for (let shift = 1; shift < 8; shift++) {
        const moved = new Uint8Array(bytes + 16).fill(0xff);
        moved.set(value, shift);
        expect(hashOf(moved.subarray(shift, shift + bytes))).toBe(expected);
      }
    }
  });

  test('changes with every byte of a value and with its length', () => {
    const value = noise(777);
    const hashes = new Set([hashOf(value), hashOf(value.subarray(0, 776)), hashOf(value.subarray(1))]);
    for (let i = 0; i < value.length; i++) {
      const other = value.slice();
      other[i] = (other[i] ?? 0) ^ 1;
      hashes.add(hashOf(other));
    }
    expect(hashes.size).toBe(value.length + 3);
  });

  test('is that of the empty set once everything has been removed', () => {
    const hash = new RowSetHash();
    const values = [3, 512, 4099].map(noise);
    for (const [i, value] of values.entries()) hash.add(`${KEY}${i}`, value);
    for (const [i, value] of values.entries()) hash.remove(`${KEY}${i}`, value);
    expect(hash.hex()).toBe('0000000000000000');
  });
});
