/** What every {@link Engine} does. Called by the tests of each implementation. */
import { describe, expect, test } from 'vitest';

import { fromLatin1, latin1, utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { Engine, Row } from '../../src/storage/engine.ts';

/** The obviously right engine: one sorted array. */
class ModelEngine implements Engine {
  #rows: Row[] = [];
  get(key: string): Uint8Array | undefined {
    return this.#rows.find((row) => row.key === key)?.value;
  }
  put(key: string, value: Uint8Array): void {
    this.delete(key);
    this.#rows.push({ key, value });
    this.#rows.sort((a, b) => Buffer.compare(fromLatin1(a.key), fromLatin1(b.key)));
  }
  delete(key: string): boolean {
    const before = this.#rows.length;
    this.#rows = this.#rows.filter((row) => row.key !== key);
    return this.#rows.length < before;
  }
  scan(start: string, end: string | undefined, limit: number): readonly Row[] {
    return this.#rows
      .filter((row) => row.key >= start && (end === undefined || row.key < end))
      .slice(0, limit);
  }
  get count(): number {
    return this.#rows.length;
  }
  get bytes(): number {
    return this.#rows.reduce((sum, row) => sum + row.key.length + row.value.length, 0);
  }
  rows(): IterableIterator<Row> {
    return this.#rows.values();
  }
  clear(): void {
    this.#rows = [];
  }
}

/** @param make a new, empty engine */
export function engineConformance(name: string, make: () => Engine): void {
  describe(`Engine conformance: ${name}`, () => {
    test('an empty engine has nothing', () => {
      const engine = make();
      expect(engine.get('a')).toBeUndefined();
      expect(engine.delete('a')).toBe(false);
      expect(engine.scan('', undefined, 10)).toEqual([]);
      expect([...engine.rows()]).toEqual([]);
      expect([engine.count, engine.bytes]).toEqual([0, 0]);
    });

    test('put(), get() and delete() count keys and bytes', () => {
      const engine = make();
      engine.put('key', utf8('value'));
      engine.put('key', utf8('v'));
      engine.put('', new Uint8Array(0));
      expect(engine.get('key')).toEqual(utf8('v'));
      expect(engine.get('')).toEqual(new Uint8Array(0));
      expect([engine.count, engine.bytes]).toEqual([2, 4]);
      expect(engine.delete('key')).toBe(true);
      expect(engine.delete('key')).toBe(false);
      expect([engine.count, engine.bytes]).toEqual([1, 0]);
      engine.clear();
      expect([engine.count, engine.bytes, [...engine.rows()]]).toEqual([0, 0, []]);
    });

    test('keys are ordered by bytes and may be any bytes', () => {
      const keys = [
        '',
        '\0',
        '\0\0',
        '\x01',
        '10',
        '2',
        '__proto__',
        'a',
        'a\0',
        'aa',
        'constructor',
        '\x7f',
        '\x80',
        'é',
        '\xff',
        '\xff\xff',
      ];
      const engine = make();
      for (const key of keys.toReversed()) engine.put(key, fromLatin1(key));
      const found = [...engine.rows()].map((row) => row.key);
      expect(found).toEqual(keys.toSorted((a, b) => Buffer.compare(fromLatin1(a), fromLatin1(b))));
      for (const key of keys) expect(latin1(engine.get(key) ?? utf8('missing'))).toBe(key);
      expect(engine.get('toString')).toBeUndefined();
    });

    test('scan() takes the start, leaves the end out and stops at the limit', () => {
      const engine = make();
      for (const key of ['a', 'b', 'c', 'd']) engine.put(key, utf8(key));
      const keys = (start: string, end: string | undefined, limit: number): string[] =>
        engine.scan(start, end, limit).map((row) => row.key);
      expect(keys('b', 'd', 10)).toEqual(['b', 'c']);
      expect(keys('b', undefined, Infinity)).toEqual(['b', 'c', 'd']);
      expect(keys('aa', 'b\0', 10)).toEqual(['b']);
      expect(keys('', undefined, 2)).toEqual(['a', 'b']);
      expect(keys('', undefined, 0)).toEqual([]);
      expect(keys('c', 'b', 10)).toEqual([]);
      expect(keys('e', undefined, 10)).toEqual([]);
    });

    test('random operations agree with a sorted array', () => {
      for (const seed of [1, 2, 3]) agreesWithModel(make(), new Random(`engine/${seed}`));
    });

    test('phases of growth and shrinkage keep the order', () => {
      const engine = make();
      const random = new Random('engine/phases');
      const present = new Set<string>();
      for (let phase = 0; phase < 6; phase++) {
        for (let i = 0; i < 3000; i++) {
          const key = String(random.int(0, 4999)).padStart(4, '0');
          if (random.chance(phase % 2 === 0 ? 0.9 : 0.1)) {
            engine.put(key, utf8(key));
            present.add(key);
          } else {
            expect(engine.delete(key)).toBe(present.delete(key));
          }
        }
        expect([...engine.rows()].map((row) => row.key)).toEqual([...present].toSorted());
        expect(engine.count).toBe(present.size);
      }
      for (const key of present) expect(engine.delete(key)).toBe(true);
      expect([engine.count, engine.bytes, engine.scan('', undefined, 1)]).toEqual([0, 0, []]);
    });
  });
}

function agreesWithModel(engine: Engine, random: Random): void {
  const model = new ModelEngine();
  const key = (): string =>
    String.fromCharCode(...Array.from({ length: random.int(0, 3) }, () => random.int(0, 3) * 85));
  for (let i = 0; i < 1500; i++) {
    const k = key();
    switch (random.int(0, 4)) {
      case 0:
      case 1: {
        const value = new Uint8Array(random.int(0, 4)).fill(i);
        engine.put(k, value);
        model.put(k, value);
        break;
      }
      case 2:
        expect(engine.delete(k)).toBe(model.delete(k));
        break;
      case 3:
        expect(engine.get(k)).toEqual(model.get(k));
        break;
      default: {
        const end = random.chance(0.3) ? undefined : key();
        const limit = random.int(0, 20);
        expect(engine.scan(k, end, limit)).toEqual(model.scan(k, end, limit));
      }
    }
    expect([engine.count, engine.bytes]).toEqual([model.count, model.bytes]);
  }
  expect([...engine.rows()]).toEqual([...model.rows()]);
}
