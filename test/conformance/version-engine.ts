/** What every {@link VersionEngine} does. Called by the tests of each implementation. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { fromLatin1, utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { KeyRange, Version, VersionEngine } from '../../src/storage/version-engine.ts';
import {
  EVERYTHING,
  type EngineFactory,
  type EngineSubject,
  ModelEngine,
  NOW,
  VersionWriter,
  answersOf,
  shown,
  workOut,
} from '../support/version-model.ts';
import { sameAnswers } from './same-answers.ts';

const NONE = new Uint8Array(0);
const ODD_KEYS = [
  '\0',
  '\0\0',
  '\0\xff',
  '\x01',
  '10',
  '2',
  '__proto__',
  'a',
  'a\0',
  'a\0\0',
  'aa',
  'constructor',
  '\x7f',
  '\x80',
  'é',
  '\xff',
  '\xff\0',
  '\xff\xff',
];

const model: EngineFactory = () => ({ engine: new ModelEngine(), disturb: () => {}, close: () => {} });

function keys(versions: Iterable<Version>): readonly string[] {
  return Array.from(versions, (version) => version.key);
}

function changed(engine: VersionEngine, after: number, upTo: number): string {
  return Array.from(engine.changes(EVERYTHING, after, upTo), ({ key, revision }) => key + revision).join(' ');
}

/** @param make a new, empty engine */
export function versionEngineConformance(
  name: string,
  make: EngineFactory,
  size?: { readonly stories: number; readonly steps: number },
): void {
  describe(`VersionEngine conformance: ${name}`, () => {
    let subject: EngineSubject;
    let engine: VersionEngine;
    let writer: VersionWriter;

    beforeEach(() => {
      subject = make(new Random(name));
      engine = subject.engine;
      writer = new VersionWriter([engine]);
    });
    afterEach(() => subject.close());

    /** The same must hold for what is in memory and for what is not any more. */
    const twice = (check: () => void): void => {
      check();
      for (let i = 0; i < 3; i++) {
        subject.disturb();
        workOut(engine);
        check();
      }
    };
    const put = (key: string, text = key): Version => {
      writer.next();
      return writer.put(key, utf8(text));
    };
    const remove = (key: string): Version => {
      writer.next();
      return writer.delete(key);
    };

    test('an empty engine has nothing', () => {
      twice(() => {
        expect(engine.get('a', NOW)).toBeUndefined();
        for (const isReverse of [false, true])
          expect([...engine.scan(EVERYTHING, NOW, isReverse)]).toEqual([]);
        expect([...engine.changes(EVERYTHING, 0, NOW)]).toEqual([]);
        expect(workOut(engine)).toBeLessThan(10);
        expect(engine.pressurePercent).toSatisfy((percent: number) => percent >= 0 && percent <= 100);
      });
    });

    test('get() gives the newest version at or below a revision, with every field, a tombstone too', () => {
      writer.next(4);
      writer.put('other', utf8('x'));
      const first = writer.put('a', utf8('1'), -(2n ** 63n));
      writer.next(3);
      const second = writer.put('a', NONE, 2n ** 63n - 1n);
      writer.next(2);
      const gone = writer.delete('a');
      writer.next(NOW - writer.revision);
      const last = writer.put('a', utf8('again'));
      expect([first.sub, second.created, second.version, last.created]).toEqual([1, 4, 2, NOW]);
      const seen: readonly (readonly [number, Version | undefined])[] = [
        [0, undefined],
        [3, undefined],
        [4, first],
        [6, first],
        [7, second],
        [8, second],
        [9, gone],
        [10, gone],
        [NOW - 1, gone],
        [NOW, last],
      ];
      twice(() => {
        for (const [revision, version] of seen)
          expect(shown(engine.get('a', revision)), `at ${revision}`).toBe(shown(version));
        expect(engine.get('b', NOW)).toBeUndefined();
        expect(engine.get('', NOW)).toBeUndefined();
        expect(engine.get('A'.repeat(70_000), NOW)).toBeUndefined();
      });
    });

    test('keys are ordered by bytes and may be any bytes', () => {
      for (const key of ODD_KEYS.toReversed()) put(key);
      const ordered = ODD_KEYS.toSorted((a, b) => Buffer.compare(fromLatin1(a), fromLatin1(b)));
      twice(() => {
        expect(keys(engine.scan(EVERYTHING, NOW))).toEqual(ordered);
        expect(keys(engine.scan(EVERYTHING, NOW, true))).toEqual(ordered.toReversed());
        expect(keys(engine.changes(EVERYTHING, 0, NOW))).toEqual(ordered);
        for (const key of ODD_KEYS) expect(engine.get(key, NOW)?.value).toEqual(utf8(key));
        expect(engine.get('toString', NOW)).toBeUndefined();
      });
    });

    test('every range takes the start and leaves the end out, in both directions', () => {
      for (const key of ODD_KEYS) put(key);
      const bounds = ['', '\0', '\0\0\0', 'a', 'a\0', 'b', '\x80', '\xff', '\xff\xff', '\xff\xff\xff'];
      const all = new ModelEngine();
      for (const version of engine.changes(EVERYTHING, 0, NOW)) all.put(version);
      twice(() => {
        for (const start of bounds) {
          for (const end of [...bounds, undefined]) {
            const range: KeyRange = { start, end };
            const expected = keys(all.scan(range, NOW));
            expect(keys(engine.scan(range, NOW))).toEqual(expected);
            expect(keys(engine.scan(range, NOW, true))).toEqual(expected.toReversed());
            expect(keys(engine.changes(range, 0, NOW))).toEqual(expected);
          }
        }
      });
    });

    test('scan() gives the keys that exist at a revision, never a tombstone', () => {
      put('a'); // 1
      put('b'); // 2
      remove('a'); // 3
      put('c'); // 4
      put('a', 'again'); // 5
      remove('c'); // 6
      remove('never'); // 7
      twice(() => {
        expect(
          [0, 1, 2, 3, 4, 5, 6, 7, NOW].map((revision) => keys(engine.scan(EVERYTHING, revision)).join('')),
        ).toEqual(['', 'a', 'ab', 'b', 'bc', 'abc', 'ab', 'ab', 'ab']);
        expect(Array.from(engine.scan(EVERYTHING, 5), shown)).toEqual(
          ['a', 'b', 'c'].map((key) => shown(engine.get(key, 5))),
        );
      });
    });

    test('changes() gives every version after one revision and up to another, of one key the newest first', () => {
      put('b'); // 1
      put('a'); // 2
      remove('b'); // 3
      put('b'); // 4
      put('a'); // 5
      twice(() => {
        expect(changed(engine, 0, NOW)).toBe('a5 a2 b4 b3 b1');
        expect(changed(engine, 1, 4)).toBe('a2 b4 b3');
        expect(changed(engine, 2, 3)).toBe('b3');
        expect(changed(engine, 3, 3)).toBe('');
        expect(changed(engine, 4, 2)).toBe('');
        expect(changed(engine, 5, NOW)).toBe('');
        expect([...engine.changes({ start: 'a', end: 'b' }, 0, 4)].map(shown)).toEqual([
          shown(engine.get('a', 2)),
        ]);
      });
    });

    test('values may be empty and large, and keys too', () => {
      const random = new Random('large');
      const large = Uint8Array.from({ length: 2 ** 20 }, () => random.int(0, 255));
      const longKey = '\xff'.repeat(65_536);
      writer.next();
      writer.put('empty', NONE);
      writer.put('large', large);
      writer.put(longKey, large.subarray(5, 100_000));
      twice(() => {
        expect(engine.get('empty', NOW)?.value.length).toBe(0);
        expect(Buffer.compare(engine.get('large', NOW)?.value ?? NONE, large)).toBe(0);
        expect(engine.get(longKey, NOW)?.value.length).toBe(99_995);
        expect(keys(engine.scan(EVERYTHING, NOW))).toEqual(['empty', 'large', longKey]);
      });
    });

    test('an iterator stays true to its revision while the engine is written, flushed and compacted', () => {
      const all = new ModelEngine();
      writer = new VersionWriter([engine, all]);
      const random = new Random('held');
      const key = (): string => String(random.int(0, 999)).padStart(4, '0');
      const write = (count: number): void => {
        for (let i = 0; i < count; i++) {
          writer.next();
          if (random.chance(0.3)) writer.delete(key());
          else writer.put(key(), utf8(String(writer.revision)));
        }
      };
      write(1000);
      engine.compact(700);
      const { revision } = writer;
      const range: KeyRange = { start: '0050', end: '0950' };
      const open = (from: VersionEngine): readonly IterableIterator<Version>[] => [
        from.scan(range, revision),
        from.scan(range, revision, true),
        from.scan(range, 700),
        from.changes(range, 700, revision),
      ];
      const expected = open(all).map((versions) => Array.from(versions, shown));
      const found: string[][] = expected.map(() => []);
      const held = open(engine);
      for (let isOpen = true; isOpen;) {
        isOpen = false;
        write(5);
        if (random.chance(0.1)) engine.compact(writer.revision);
        if (random.chance(0.1)) subject.disturb();
        engine.work();
        for (const [i, iterator] of held.entries()) {
          const next = iterator.next();
          if (next.done === true) continue;
          found[i]?.push(shown(next.value));
          isOpen = true;
        }
      }
      expect(found).toEqual(expected);
      expect(held.map((iterator) => iterator.next().done)).toEqual([true, true, true, true]);
    });

    test('an iterator that was opened and not begun keeps what it needs, too', () => {
      for (const text of ['1', '2', '3']) put('a', text);
      const scan = engine.scan(EVERYTHING, 1);
      const changes = engine.changes(EVERYTHING, 1, 3);
      engine.compact(3);
      twice(() => {});
      expect(Array.from(scan, shown)[0]).toMatch(/^61@1\./);
      expect(Array.from(changes, (version) => version.revision)).toEqual([3, 2]);
    });

    test('an iterator ends with return(), begun or not, and with the engine', () => {
      for (const key of ['a', 'b', 'c']) put(key);
      const begun = engine.scan(EVERYTHING, NOW);
      begun.next();
      const fresh = engine.changes(EVERYTHING, 0, NOW);
      for (const iterator of [begun, fresh]) {
        iterator.return?.();
        iterator.return?.();
        expect(iterator.next()).toEqual({ done: true, value: undefined });
      }
      const left = [engine.scan(EVERYTHING, 3), engine.scan(EVERYTHING, 3, true)];
      left[0]?.next();
      subject.close();
      for (const iterator of left) expect(iterator.next().done).toBe(true);
      subject = make(new Random('another'));
    });

    test('compact() leaves what is read from its revision on, and never goes back', () => {
      const all = new ModelEngine();
      writer = new VersionWriter([engine, all]);
      const random = new Random('compact');
      for (let i = 0; i < 1000; i++) {
        writer.next();
        const key = String(random.int(0, 100));
        if (random.chance(0.4)) writer.delete(key);
        else writer.put(key, utf8(String(i)));
      }
      for (const revision of [700, 300, 701, 999, 1000, 1000]) {
        engine.compact(revision);
        const horizon = Math.max(701, revision);
        const expected = answersOf(all, horizon);
        twice(() => expect(answersOf(engine, horizon)).toEqual(expected));
      }
      put('later');
      remove('later');
      expect(engine.get('later', 1001)?.value).toEqual(utf8('later'));
    });

    test('many keys in ascending, descending and random order are all there', () => {
      const random = new Random('many');
      const orders: readonly ((i: number) => string)[] = [
        (i) => `a${String(i).padStart(6, '0')}`,
        (i) => `d${String(999_999 - i)}`,
        () => `r${random.uint32()}`,
      ];
      for (const keyOf of orders) for (let i = 0; i < 3000; i++) put(keyOf(i), '');
      twice(() => {
        const found = keys(engine.scan(EVERYTHING, NOW));
        expect(found.length).toBe(new Set(found).size);
        expect(found.length).toBe(9000);
        for (let i = 1; i < found.length; i++)
          if ((found[i - 1] ?? '') >= (found[i] ?? '')) expect.fail(`unordered at ${i}`);
        expect(keys(engine.scan(EVERYTHING, NOW, true)).toReversed()).toEqual(found);
      });
    });

    test('one key with many versions is read at each of them', () => {
      for (let i = 0; i < 5000; i++) put('hot', String(i));
      twice(() => {
        for (let revision = 1; revision <= 5000; revision += 37)
          expect(engine.get('hot', revision)?.revision).toBe(revision);
        expect(Array.from(engine.changes(EVERYTHING, 0, NOW)).length).toBe(5000);
      });
      engine.compact(4990);
      twice(() => expect(engine.get('hot', 4990)?.revision).toBe(4990));
      expect(engine.get('hot', NOW)?.version).toBe(5000);
    });
  });

  sameAnswers(`${name} and a list of all versions`, { a: make, b: model }, size);
}
