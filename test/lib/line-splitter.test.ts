/** Lines are the same however the bytes are cut, and one unfinished line is all that is ever held. */
import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../src/lib/line-splitter.ts';
import { Random } from '../../src/lib/random.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

function drain(splitter: LineSplitter): string[] {
  const lines: string[] = [];
  for (let line = splitter.next(); line !== undefined; line = splitter.next()) {
    lines.push(Buffer.from(line).toString('latin1'));
  }
  return lines;
}

describe('LineSplitter', () => {
  test('takes LF and CR LF, and keeps what has no end', () => {
    const splitter = new LineSplitter(100);
    splitter.push(bytes('a\r\n\nb\r\r\nc\rd'));
    expect(drain(splitter)).toEqual(['a', '', 'b\r']);
    expect(Buffer.from(splitter.unfinished).toString()).toBe('c\rd');
    splitter.push(bytes('\r'));
    expect(drain(splitter)).toEqual([]);
    splitter.push(bytes('\ne\n'));
    expect(drain(splitter)).toEqual(['c\rd', 'e']);
    expect(splitter.unfinished.length).toBe(0);
  });

  test('gives the same lines for every way to cut the stream', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const lines = Array.from({ length: random.int(0, 12) }, () =>
        'x'.repeat(random.chance(0.2) ? 0 : random.int(0, 700)),
      );
      const stream = bytes(lines.map((line) => `${line}${random.chance(0.5) ? '\r\n' : '\n'}`).join(''));
      const splitter = new LineSplitter(700 + 1);
      const found: string[] = [];
      for (let at = 0; at < stream.length;) {
        const end = at + random.int(1, random.chance(0.5) ? 3 : 900);
        splitter.push(stream.subarray(at, end));
        at = end;
        // Now and then another push comes before everything was taken.
        if (random.chance(0.8)) found.push(...drain(splitter));
        else {
          const line = splitter.next();
          if (line !== undefined) found.push(Buffer.from(line).toString('latin1'));
        }
      }
      found.push(...drain(splitter));
      expect(found, `seed ${seed}`).toEqual(lines);
      expect(splitter.overflowed).toBe(false);
    }
  });

  test.each([1, 7, 64, 1000])(
    'cuts a line over the limit in pieces of %d bytes, and says nothing after it',
    (size) => {
      const splitter = new LineSplitter(100);
      const stream = bytes(`${'a'.repeat(100)}\n${'b'.repeat(101)}\nc\n`);
      const found: string[] = [];
      for (let at = 0; at < stream.length; at += size) {
        splitter.push(stream.subarray(at, at + size));
        found.push(...drain(splitter));
      }
      expect(found).toEqual(['a'.repeat(100)]);
      expect(splitter.overflowed).toBe(true);
      expect(splitter.unfinished.length).toBe(0);
    },
  );

  test('is linear for an endless line in single bytes', () => {
    const splitter = new LineSplitter(1_572_864);
    const one = bytes('x');
    const started = performance.now();
    for (let i = 0; i < 1_572_864; i++) {
      splitter.push(one);
      splitter.next();
    }
    expect(splitter.overflowed).toBe(false);
    splitter.push(one);
    splitter.next();
    expect(splitter.overflowed).toBe(true);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
