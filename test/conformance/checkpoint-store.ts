/** What every {@link CheckpointStore} does, on a disk that forgets. Called by the tests of each implementation. */
import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { INCOMING_WINDOW_BYTES, SYNC_EVERY_BYTES } from '../../src/storage/arrival-window.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { CheckpointStore } from '../../src/storage/checkpoint.ts';
import {
  DIRECTORY,
  type StoreFactory,
  contentsOf,
  copyOf,
  deliver,
  filesOf,
  identityOf,
  newDisk,
  openSource,
  partsOf,
  save,
  scribble,
  transfer,
  verdictOf,
} from '../support/checkpoints.ts';
import { EVERYTHING, NOW, VersionWriter, answersOf, workOut } from '../support/version-model.ts';
import { checkpointCrashes } from './checkpoint-crashes.ts';

const STATE = ['', '{"key":"a","value":"b"}', '{"end":true,"lines":0,"crc32":"00000000"}', 'é\u2028', '  '];

export function checkpointStoreConformance(name: string, make: StoreFactory): void {
  const open = (fs: CrashFileSystem, seed = 'sizes'): CheckpointStore =>
    make(fs, DIRECTORY, new Random(seed));
  /** A store as it is after the worst power cut. */
  const reopened = (fs: CrashFileSystem): CheckpointStore => open(fs.crash(new Random(0), 'worst'));
  /** A store with some history, and a checkpoint of it at index 5. */
  const written = (seed = 'written', fs: CrashFileSystem = newDisk()) => {
    const store = open(fs);
    const writer = new VersionWriter([store.engine]);
    scribble(writer, new Random(seed), 200);
    save(store, { index: 5, term: 1 }, ['first']);
    return { fs, store, writer };
  };

  describe(`CheckpointStore conformance: ${name}`, () => {
    test('a new store has nothing', () => {
      const store = open(newDisk());
      expect(contentsOf(store)).toEqual({ newest: undefined, answers: [] });
      store.close();
    });

    test('a checkpoint is durable and comes back whole, with every field and line', () => {
      const fs = newDisk();
      const store = open(fs);
      const { engine } = store;
      const writer = new VersionWriter([engine], 2 ** 40);
      scribble(writer, new Random('whole'), 300);
      writer.next();
      writer.put('\xff', new Uint8Array(0), -(2n ** 63n));
      writer.put('large', new Uint8Array(2 ** 20).fill(0xfe), 2n ** 63n - 1n);
      const meta = { index: 12, term: 3, config: { voters: [1, 2], note: 'é', none: null } };
      save(store, meta, STATE);
      const before = contentsOf(store);
      expect(before.newest).toEqual({ meta, state: STATE });
      expect(store.engine).toBe(engine);
      expect(contentsOf(reopened(fs))).toEqual(before);
    });

    test('a checkpoint of nothing comes back too', () => {
      const fs = newDisk();
      save(open(fs), { index: 0, term: 0 });
      expect(contentsOf(reopened(fs))).toEqual({
        newest: { meta: { index: 0, term: 0 }, state: [] },
        answers: [],
      });
    });

    test('what is put after begin() is not in it, but in the engine and in the next', () => {
      for (const last of [6, 7]) {
        const { fs, store, writer } = written();
        let expected = answersOf(store.engine);
        const random = new Random('meanwhile');
        const steps = store.begin({ index: 6, term: 1 }, ['six']);
        // A revision that goes on, keys that are there and keys that are not.
        writer.put('later', utf8('x'));
        scribble(writer, random, 100);
        for (let isDone = false; !isDone; isDone = steps.advance()) scribble(writer, random, 3);
        expect(store.engine.get('later', NOW)?.value).toEqual(utf8('x'));
        if (last === 7) {
          expected = answersOf(store.engine);
          save(store, { index: 7, term: 1 }, ['six']);
        }
        const newest = { meta: { index: last, term: 1 }, state: ['six'] };
        expect(contentsOf(reopened(fs))).toEqual({ newest, answers: expected });
      }
    });

    test('compaction after begin() takes nothing away from it', () => {
      const { fs, store, writer } = written();
      const kept = 120;
      store.engine.compact(kept);
      const before = answersOf(store.engine, kept);
      const steps = store.begin({ index: 6, term: 1 }, []);
      store.engine.compact(writer.revision);
      workOut(store.engine);
      while (!steps.advance()) workOut(store.engine);
      workOut(store.engine);
      expect(answersOf(reopened(fs).engine, kept)).toEqual(before);
    });

    test('a large one is written in many bounded steps', () => {
      const fs = newDisk();
      const store = open(fs);
      const writer = new VersionWriter([store.engine]);
      for (let i = 0; i < 15_000; i++) {
        writer.next();
        writer.put(`key ${String(i).padStart(8, '0')}`, new Uint8Array(100).fill(i));
      }
      const steps = store.begin({ index: 9, term: 1 }, []);
      let largest = 0;
      let count = 1;
      for (let used = fs.usedBytes; !steps.advance(); used = fs.usedBytes, count++)
        largest = Math.max(largest, fs.usedBytes - used);
      expect(count).toBeGreaterThan(10);
      expect(largest).toBeLessThan(3 * 2 ** 20);
      expect(Array.from(reopened(fs).engine.scan(EVERYTHING, NOW)).length).toBe(15_000);
    });

    test('abort() leaves what was there, and the engine has lost nothing', () => {
      const { fs, store, writer } = written();
      const first = contentsOf(store);
      scribble(writer, new Random('more'), 100);
      for (const advances of [0, 1, 2]) {
        const steps = store.begin({ index: 6, term: 1 }, ['never']);
        scribble(writer, new Random(advances), 10);
        let isDone = false;
        for (let i = 0; i < advances && !isDone; i++) isDone = steps.advance();
        if (isDone) break;
        steps.abort();
      }
      if (store.newest?.meta.index === 5) expect(store.newest).toEqual(first.newest);
      const now = answersOf(store.engine);
      save(store, { index: 7, term: 1 }, ['seven']);
      expect(answersOf(store.engine)).toEqual(now);
      expect(contentsOf(reopened(fs)).answers).toEqual(now);
    });

    test('after a restart without a checkpoint the engine holds the versions of the newest one', () => {
      const { fs, store, writer } = written();
      const first = contentsOf(store);
      scribble(writer, new Random('lost'), 50);
      store.begin({ index: 6, term: 1 }, ['never']).advance();
      const again = reopened(fs);
      if (again.newest?.meta.index === 5) expect(contentsOf(again)).toEqual(first);
      // The log brings the same again.
      scribble(new VersionWriter([again.engine], 200), new Random('lost'), 50);
      expect(answersOf(again.engine).length).toBeGreaterThan(first.answers.length);
    });

    test('the bytes of a source are the same from every call, and memory of their own', () => {
      const { store } = written();
      const source = openSource(store);
      const parts = partsOf(source);
      const whole = Buffer.concat(parts.map(([, bytes]) => bytes));
      expect(whole.length).toBe(source.totalBytes);
      expect(crc32(whole)).toBe(source.crc32);
      const random = new Random('source');
      for (let i = 0; i < 50; i++) {
        const offset = random.int(0, source.totalBytes - 1);
        const bytes = source.read(offset);
        expect(bytes.length).toBeGreaterThan(0);
        expect(Buffer.compare(bytes, whole.subarray(offset, offset + bytes.length))).toBe(0);
        bytes.fill(0);
      }
      const second = openSource(store);
      expect([second.totalBytes, second.crc32]).toEqual([source.totalBytes, source.crc32]);
      expect(Buffer.concat(partsOf(second).map(([, bytes]) => bytes)).equals(whole)).toBe(true);
      source.close();
      second.close();
    });

    test('a source stays whole until closed, whatever comes after it', () => {
      const { store, writer } = written();
      const first = contentsOf(store);
      const identity = { ...store.newest?.meta };
      const source = openSource(store);
      const checked = store.openSource();
      for (let index = 6; index < 10; index++) {
        scribble(writer, new Random(index), 100);
        store.engine.compact(writer.revision - 20);
        workOut(store.engine);
        save(store, { index, term: 2 });
      }
      const target = open(newDisk());
      const incoming = target.receive(
        {
          index: identity.index ?? 0,
          term: identity.term ?? 0,
          totalBytes: source.totalBytes,
          crc32: source.crc32,
        },
        [],
      );
      deliver(incoming, partsOf(source), new Random('old'));
      expect(verdictOf(incoming)).toBe('whole');
      target.install(incoming);
      expect(contentsOf(target)).toEqual(first);
      while (!checked.check());
      expect(checked.crc32).toBe(source.crc32);
      source.close();
      checked.close();
    });

    test('what arrives in any order, lost and repeated, is installed durably and equal', () => {
      for (const seed of ['a', 'b', 'c']) {
        const { store } = written(seed);
        const { fs, store: target, writer } = written('another');
        scribble(writer, new Random('unsaved'), 20);
        const random = new Random(seed);
        save(store, { index: 9, term: 2, config: ['x'] }, STATE);
        const { engine } = target;
        const iterator = engine.scan(EVERYTHING, NOW);
        iterator.next();
        const incoming = transfer(store, target, random);
        expect(incoming.meta).toEqual({ index: 9, term: 2, config: ['x'] });
        expect(target.install(incoming)).toEqual(store.newest);
        incoming.discard();
        incoming.close();
        expect(target.engine).toBe(engine);
        expect(iterator.next().done).toBe(true);
        expect(contentsOf(target)).toEqual(contentsOf(store));
        expect(contentsOf(reopened(fs))).toEqual(contentsOf(store));
      }
    });

    test('an installed engine goes on, and what it holds can be sent further', () => {
      const { store } = written();
      const { fs, store: target } = written('another');
      save(store, { index: 9, term: 2 });
      target.install(transfer(store, target, new Random(1)));
      for (const each of [store, target])
        scribble(new VersionWriter([each.engine], 200), new Random('same'), 100);
      expect(answersOf(target.engine)).toEqual(answersOf(store.engine));
      save(target, { index: 11, term: 2 }, ['on']);
      store.install(transfer(target, store, new Random(2)));
      expect(contentsOf(store)).toEqual(contentsOf(target));
      expect(answersOf(reopened(fs).engine)).toEqual(answersOf(store.engine));
    });

    test('receiving goes on after a restart of the process, and nothing half arrived counts', () => {
      const { store, writer } = written();
      for (let i = 0; i < 80; i++) {
        writer.next();
        writer.put(`big ${i}`, new Uint8Array(400_000).fill(65));
      }
      save(store, { index: 9, term: 2 }, ['big']);
      const source = openSource(store);
      const identity = identityOf(store, source);
      const parts = partsOf(source);
      expect(source.totalBytes).toBeGreaterThan(1.2 * (SYNC_EVERY_BYTES + INCOMING_WINDOW_BYTES));
      for (const kind of ['restart', 'cut'] as const) {
        let { fs, store: target } = written('another');
        const random = new Random(kind);
        const first = contentsOf(target);
        let resumed = 0;
        for (const ratio of [0.3, 0.7, 0.95, Infinity]) {
          const incoming = target.receive(identity, []);
          resumed = Math.max(resumed, incoming.received);
          deliver(incoming, parts, random, ratio * identity.totalBytes);
          if (incoming.isComplete) {
            expect(verdictOf(incoming)).toBe('whole');
            expect(target.install(incoming)).toEqual(store.newest);
          } else {
            if (kind === 'restart') incoming.close();
            target.close();
            fs = kind === 'restart' ? fs : fs.crash(random);
            target = open(fs);
            expect(contentsOf(target)).toEqual(first);
          }
        }
        expect(resumed).toBeGreaterThan(0);
        expect(answersOf(reopened(fs).engine)).toEqual(answersOf(store.engine));
      }
      source.close();
    });

    test('damage on the way is found before anything is installed', () => {
      const { store } = written();
      save(store, { index: 9, term: 2 }, ['sent']);
      const source = openSource(store);
      const identity = identityOf(store, source);
      const parts = partsOf(source);
      const random = new Random('damage');
      const target = open(newDisk());
      for (let i = 0; i < 30; i++) {
        const incoming = target.receive(identity, []);
        const damagedByte = random.int(0, identity.totalBytes - 1);
        const damaged = parts.map(([offset, bytes]) => {
          const copy = bytes.slice();
          const at = damagedByte - offset;
          if (at >= 0 && at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << random.int(0, 7));
          return [offset, copy] as const;
        });
        deliver(incoming, damaged, random);
        expect(verdictOf(incoming), `byte ${damagedByte}`).toBe('damaged');
        expect(() => target.install(incoming)).toThrow();
        incoming.discard();
      }
      for (const wrong of [{ crc32: 1 }, { index: 10 }, { term: 3 }]) {
        const incoming = target.receive({ ...identity, ...wrong }, []);
        deliver(incoming, parts, random);
        expect(verdictOf(incoming)).toBe('damaged');
        incoming.discard();
      }
      expect(contentsOf(target)).toEqual({ newest: undefined, answers: [] });
      source.close();
    });

    test('receive() gives up other attempts, but not those named; discard() gives the space back', () => {
      const { store } = written();
      save(store, { index: 9, term: 2 });
      const source = openSource(store);
      const identity = identityOf(store, source);
      const parts = partsOf(source);
      const fs = newDisk();
      const target = open(fs);
      const empty = fs.usedBytes;
      const a = target.receive(identity, []);
      const b = target.receive({ ...identity, crc32: 7 }, [a]);
      for (const each of [a, b]) deliver(each, parts, new Random('others'));
      const both = fs.usedBytes;
      expect(verdictOf(a)).toBe('whole');
      a.close();
      target.receive({ ...identity, crc32: 8 }, [b]).discard();
      expect(fs.usedBytes).toBeLessThan(both);
      expect(verdictOf(b)).toBe('damaged');
      b.discard();
      b.discard();
      expect(fs.usedBytes).toBe(empty);
      source.close();
    });

    test('damage on disk is an error, or shows nothing wrong', () => {
      const random = new Random('rot');
      const { fs, store } = written();
      save(store, { index: 6, term: 1 }, ['six']);
      const right = contentsOf(store);
      store.close();
      let found = 0;
      for (let i = 0; i < 60; i++) {
        const files = filesOf(fs);
        const path = files[random.int(0, files.length - 1)] ?? expect.fail('no files');
        const whole = fs.peek(path);
        if (whole.length === 0) continue;
        const damaged = whole.slice();
        const at = random.int(0, whole.length - 1);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << random.int(0, 7));
        fs.poke(path, damaged);
        try {
          const again = open(copyOf(fs));
          expect(contentsOf(again), `${path}, byte ${at}`).toEqual(right);
        } catch (error) {
          if (!(error instanceof CorruptionError || error instanceof StorageError)) throw error;
          found += 1;
        }
        fs.poke(path, whole);
      }
      expect(found).toBeGreaterThan(10);
    });
  });

  checkpointCrashes(name, make);
}
