/** Bytes, their text, their order and their integers. */
import { describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import {
  concatBytes,
  displayText,
  equalBytes,
  fromLatin1,
  latin1,
  prefixEnd,
  readUint64,
  textOf,
  utf8,
  writeUint64,
} from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';

function randomBytes(random: Random): Uint8Array {
  // Few values, so that equal bytes and prefixes are common.
  const values = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
  return Uint8Array.from({ length: random.int(0, 6) }, () => values[random.int(0, 5)] ?? 0);
}

describe('text', () => {
  test.each(['', 'plain', 'é', '𝄞', '\u0000', '\ufeffmark', '\ufffd'])('%j survives as UTF-8', (text) => {
    expect(textOf(utf8(text))).toBe(text);
    expect(displayText(utf8(text))).toBe(text);
  });

  test.each([
    [0xff],
    [0xc3],
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0x61, 0x80],
    [0xef, 0xbf, 0xbd, 0xff],
  ])('the bytes %j… are not UTF-8', (...values) => {
    const bytes = Uint8Array.from(values);
    expect(textOf(bytes)).toBeUndefined();
    expect(displayText(bytes)).toContain('\ufffd');
  });
});

describe('latin1', () => {
  test('holds every byte as one character, and gives it back', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    const text = latin1(bytes);
    expect(text).toHaveLength(256);
    for (let i = 0; i < 256; i++) expect(text.charCodeAt(i)).toBe(i);
    expect(fromLatin1(text)).toEqual(bytes);
    // A view that does not begin where its memory does.
    expect(latin1(bytes.subarray(65, 68))).toBe('ABC');
  });

  test('keeps the order of bytes', () => {
    const random = new Random(1);
    for (let i = 0; i < 2000; i++) {
      const a = randomBytes(random);
      const b = randomBytes(random);
      const order = latin1(a) < latin1(b) ? -1 : latin1(a) > latin1(b) ? 1 : 0;
      expect(order).toBe(Buffer.compare(a, b));
      expect(equalBytes(a, b)).toBe(order === 0);
    }
  });
});

describe('prefixEnd', () => {
  test.each([
    ['', undefined],
    ['a', 'b'],
    ['a\u00fe', 'a\u00ff'],
    ['a\u00ff', 'b'],
    ['a\u00ff\u00ff', 'b'],
    ['\u00ff', undefined],
    ['\u00ff\u00ff\u00ff', undefined],
    ['\u0000', '\u0001'],
    ['\u0000\u00ff', '\u0001'],
  ])('of %j is %j', (prefix, end) => {
    expect(prefixEnd(prefix)).toBe(end);
  });

  test('divides keys with a prefix from all others', () => {
    const random = new Random(2);
    for (let i = 0; i < 5000; i++) {
      const prefix = latin1(randomBytes(random));
      const key = latin1(randomBytes(random));
      const end = prefixEnd(prefix);
      const isInRange = key >= prefix && (end === undefined || key < end);
      expect(isInRange).toBe(key.startsWith(prefix));
    }
  });
});

describe('concatBytes', () => {
  test('joins into memory of its own', () => {
    const part = Uint8Array.of(1, 2);
    const joined = concatBytes([part, new Uint8Array(0), Uint8Array.of(3)]);
    part[0] = 9;
    expect(joined).toEqual(Uint8Array.of(1, 2, 3));
    expect(joined.buffer.byteLength).toBe(3);
    expect(concatBytes([])).toEqual(new Uint8Array(0));
  });
});

describe('uint64', () => {
  test.each([0, 1, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 52 + 3, Number.MAX_SAFE_INTEGER])(
    '%d survives, as eight bytes little-endian',
    (value) => {
      const view = new DataView(new ArrayBuffer(10));
      writeUint64(view, 1, value);
      expect(readUint64(view, 1)).toBe(value);
      expect(view.getBigUint64(1, true)).toBe(BigInt(value));
      expect([view.getUint8(0), view.getUint8(9)]).toEqual([0, 0]);
    },
  );

  test.each([-1, 0.5, NaN, Infinity, Number.MAX_SAFE_INTEGER + 1])('%d is refused', (value) => {
    expect(() => writeUint64(new DataView(new ArrayBuffer(8)), 0, value)).toThrow(AssertionError);
  });

  test('what foreign bytes hold above the safe range is not taken for a safe integer', () => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, 2n ** 53n, true);
    expect(Number.isSafeInteger(readUint64(view, 0))).toBe(false);
    view.setBigUint64(0, 2n ** 64n - 1n, true);
    expect(Number.isSafeInteger(readUint64(view, 0))).toBe(false);
  });
});
