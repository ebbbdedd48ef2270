/** CRC-32 as everybody computes it. */
import { describe, expect, test } from 'vitest';
import { crc32, crc32Combine } from '../../src/lib/crc32.ts';
import { Random } from '../../src/lib/random.ts';

const text = (value: string): Uint8Array => Uint8Array.from(value, (c) => c.charCodeAt(0));

/** Bit by bit, from the polynomial. */
function slow(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.int(0, 255));
}

describe('crc32', () => {
  test.each([
    ['', 0x0000_0000],
    ['a', 0xe8b7_be43],
    ['abc', 0x3524_41c2],
    ['123456789', 0xcbf4_3926],
    ['message digest', 0x2015_9d7f],
    ['The quick brown fox jumps over the lazy dog', 0x414f_a339],
    ['\0'.repeat(32), 0x190a_55ad],
    ['\u00ff'.repeat(32), 0xff6c_ab0b],
  ])('of %j', (input, expected) => {
    expect(crc32(text(input))).toBe(expected);
  });

  test('equals the plain algorithm at every length and alignment', () => {
    const random = new Random(1);
    const buffer = randomBytes(random, 100);
    for (let start = 0; start < 9; start++) {
      for (let end = start; end <= start + 40; end++)
        expect(crc32(buffer, start, end)).toBe(slow(buffer.subarray(start, end)));
    }
  });

  test('goes on where it stopped, however the bytes are cut', () => {
    const random = new Random(2);
    const bytes = randomBytes(random, 70);
    const whole = crc32(bytes);
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(crc32(bytes, cut, bytes.length, crc32(bytes, 0, cut))).toBe(whole);
  });

  test('sees every flipped bit', () => {
    const bytes = randomBytes(new Random(3), 24);
    const whole = crc32(bytes);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(crc32(flipped)).not.toBe(whole);
    }
  });
});

describe('crc32Combine', () => {
  test('joins the checksums of two parts, wherever the cut', () => {
    const bytes = randomBytes(new Random(4), 300);
    const whole = crc32(bytes);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const second = crc32(bytes, cut);
      expect(crc32Combine(crc32(bytes, 0, cut), second, bytes.length - cut)).toBe(whole);
    }
  });

  test('joins many parts, and more bytes than 32 bits count', () => {
    const zeros = new Uint8Array(1 << 16);
    let sum = crc32(text('a'));
    let expected = sum;
    for (let i = 0; i < 40; i++) {
      sum = crc32Combine(sum, crc32(zeros), zeros.length);
      expected = crc32(zeros, 0, zeros.length, expected);
      expect(sum).toBe(expected);
    }
    // Doubling what is joined 21 times: 2^37 zeros in all, and the same in one go by joining two halves of 2^36.
    let many = crc32(zeros);
    let bytes = zeros.length;
    for (; bytes < 2 ** 36; bytes *= 2) many = crc32Combine(many, many, bytes);
    const oneByOne = crc32Combine(crc32Combine(7, many, bytes), many, bytes);
    const atOnce = crc32Combine(7, crc32Combine(many, many, bytes), 2 * bytes);
    expect(oneByOne).toBe(atOnce);
  });
});
