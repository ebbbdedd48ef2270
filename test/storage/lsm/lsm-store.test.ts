/** The tree as a whole: what lies on disk, what goes when, and what is said when something is wrong. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../../src/lib/errors.ts';
import { Random } from '../../../src/lib/random.ts';
import type { CrashFileSystem } from '../../../src/sim/disk.ts';
import { manifestName } from '../../../src/storage/lsm/file-names.ts';
import { findManifest } from '../../../src/storage/lsm/manifest.ts';
import { contentsOf, save } from '../../support/checkpoints.ts';
import {
  EVERYTHING,
  ModelEngine,
  NOW,
  VersionWriter,
  answersOf,
  shown,
  workOut,
} from '../../support/version-model.ts';
import {
  DIRECTORY,
  LateCompactor,
  TINY,
  expectTidy,
  grown,
  imageOf,
  install,
  newDisk,
  openStore,
  openUntidied,
  scatter,
  statsOf,
  tablesOf,
} from './lsm-support.ts';

describe('LsmStore', () => {
  test('data sinks through the levels, and each is within its size when all is quiet', () => {
    const { store, model } = grown(TINY, { rounds: 20, keys: 1000 });
    const levels = tablesOf(store);
    expect(levels.filter((count) => count > 0).length).toBeGreaterThan(2);
    expect(levels[0]).toBeLessThan(TINY.level0Tables);
    const { levels: sizes, compactionsDone, compactedBytes, flushesDone, compacting } = statsOf(store);
    expect(sizes[1]?.bytes).toBeLessThanOrEqual(TINY.level1Bytes);
    expect(sizes[2]?.bytes).toBeLessThanOrEqual(TINY.level1Bytes * TINY.levelFactor);
    expect(compactionsDone).toBeGreaterThan(10);
    expect(compactedBytes).toBeGreaterThan(10_000);
    expect([flushesDone, compacting]).toEqual([20, undefined]);
    expect(answersOf(store.engine)).toEqual(answersOf(model));
    for (let key = 0; key < 1000; key += 7) {
      const name = `key${String(key).padStart(5, '0')}`;
      for (const revision of [300, 600, 1000, NOW])
        expect(shown(store.engine.get(name, revision))).toBe(shown(model.get(name, revision)));
    }
  });

  test('after opening, the directory is what the manifest says; closing and opening again changes nothing', () => {
    const { fs, store } = grown();
    const before = contentsOf(store);
    store.close();
    expectTidy(fs);
    const image = imageOf(fs);
    for (let i = 0; i < 3; i++) {
      const again = openStore(fs);
      expect(contentsOf(again)).toEqual(before);
      again.close();
      expect(imageOf(fs)).toEqual(image);
    }
    expect(fs.openFiles).toBe(0);
  });

  test('orphans and leftovers go when it is opened, and what does not belong there is refused', () => {
    const { fs, store } = grown();
    store.close();
    const image = imageOf(fs);
    for (const name of [
      '000900.sst',
      '000901.state',
      'MANIFEST-000099',
      'CURRENT.tmp',
      'incoming-x.part',
      '.DS_Store',
    ])
      fs.poke(`${DIRECTORY}/${name}`, utf8('left over'));
    openStore(fs).close();
    expect(imageOf(fs)).toEqual(new Map([['.DS_Store', 'left over'], ...image]));
    fs.poke(`${DIRECTORY}/notes.txt`, utf8('mine'));
    expect(() => openStore(fs)).toThrow(
      new StorageError('Cannot open tree "data/lsm": "notes.txt" does not belong there; move it away'),
    );
  });

  test.each([
    ['somebody says that it may go', (fs: CrashFileSystem) => openStore(fs).close()],
    [
      'something is written',
      (fs: CrashFileSystem) => {
        const store = openUntidied(fs);
        save(store, { index: 9, term: 9 });
        store.close();
      },
    ],
  ])('what a manifest no longer names stays until %s', (_, act) => {
    const fs = newDisk();
    const store = openStore(fs, { ...TINY, level0Tables: 100, level0TablesMax: 200 });
    const writer = new VersionWriter([store.engine]);
    for (let index = 1; index <= 3; index++) {
      scatter(writer, new Random(index), { count: 20 });
      save(store, { index, term: 1 });
    }
    store.close();
    const { number, baseBytes } = findManifest({ fs, directory: DIRECTORY }) ?? expect.fail();
    const path = `${DIRECTORY}/${manifestName(number)}`;
    const files = fs.list(DIRECTORY).filter((name) => /sst|state/.test(name));
    expect(files.length).toBeGreaterThan(3);
    // In itself it is sound: a tree that was never saved.
    fs.poke(path, fs.peek(path).slice(0, baseBytes));
    openUntidied(fs).close();
    expect(fs.list(DIRECTORY)).toEqual(expect.arrayContaining(files));
    act(fs);
    expectTidy(fs);
    expect(fs.list(DIRECTORY)).not.toContain(files[0]);
  });

  test('a table or state file that is missing is damage', () => {
    const { fs, store } = grown();
    store.close();
    for (const name of fs.list(DIRECTORY).filter((file) => /sst|state/.test(file))) {
      const after = fs.crash(new Random(0), 'best');
      after.remove(`${DIRECTORY}/${name}`);
      expect(() => openStore(after)).toThrow(`Cannot open "${DIRECTORY}/${name}": it is missing; restore`);
      break;
    }
  });

  test('opening reads no table', () => {
    const { fs, store } = grown();
    store.close();
    const opened: string[] = [];
    fs.intercept = ({ kind, path }) => {
      if (kind === 'open') opened.push(path.replace(/\d+/, 'n'));
      return undefined;
    };
    openStore(fs);
    expect(opened).toEqual([
      'data/lsm/CURRENT',
      'data/lsm/MANIFEST-n',
      'data/lsm/MANIFEST-n',
      'data/lsm/n.state',
    ]);
  });

  test('every flipped bit of a state file is found', () => {
    const fs = newDisk();
    const store = openStore(fs);
    save(store, { index: 7, term: 2 }, ['{"a":1}', 'é']);
    store.close();
    const name = fs.list(DIRECTORY).find((file) => file.endsWith('.state')) ?? expect.fail();
    const bytes = fs.peek(`${DIRECTORY}/${name}`);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      fs.poke(`${DIRECTORY}/${name}`, flipped);
      expect(() => openStore(fs), `bit ${bit}`).toThrow(CorruptionError);
    }
    for (let length = 0; length < bytes.length; length++) {
      fs.poke(`${DIRECTORY}/${name}`, bytes.slice(0, length));
      expect(() => openStore(fs), `length ${length}`).toThrow(CorruptionError);
    }
  });

  test('a state file that is whole, but another one, is found', () => {
    const fs = newDisk();
    const store = openStore(fs);
    save(store, { index: 7, term: 2 }, ['first']);
    const state = (): string => fs.list(DIRECTORY).find((file) => file.endsWith('.state')) ?? expect.fail();
    const first = fs.peek(`${DIRECTORY}/${state()}`);
    store.close();
    const other = newDisk();
    const second = openStore(other);
    save(second, { index: 7, term: 2 }, ['other']);
    second.close();
    other.poke(`${DIRECTORY}/${state()}`, first);
    expect(() => openStore(other)).toThrow('it is another one');
  });
});

/** Puts and deletes, all flushed, and a horizon above everything. */
function finished(shouldSave: boolean) {
  const { store, writer, model, fs, index } = grown(TINY, { keys: 30 });
  for (let key = 0; key < 30; key += 2) {
    writer.next();
    writer.delete(`key${String(key).padStart(5, '0')}`);
  }
  const versions = (): number => [...store.engine.changes(EVERYTHING, 0, NOW)].length;
  save(store, { index: index + 1, term: 1 });
  store.engine.compact(writer.revision);
  if (shouldSave) save(store, { index: index + 2, term: 1 });
  const before = versions();
  workOut(store.engine);
  return { fs, store, writer, model, before, versions };
}

describe('history', () => {
  test('goes by itself when the horizon has passed it, with deleted keys', () => {
    const { store, writer, model, versions, fs } = finished(true);
    // What is in level 0 goes with the next compaction of it.
    for (let i = 0; i < TINY.level0Tables; i++) {
      writer.next();
      writer.put(`zz${i}`, utf8('x'));
      save(store, { index: 100 + i, term: 1 });
    }
    workOut(store.engine);
    const alive = [...model.scan(EVERYTHING, NOW)];
    expect(versions()).toBe(alive.length);
    expect(answersOf(store.engine, writer.revision)).toEqual(answersOf(model, writer.revision));
    store.close();
    expectTidy(fs);
  });

  test('stays as long as the checkpoint that knows of the horizon is not durable: a restart may read it again', () => {
    const { store, fs, before, versions } = finished(false);
    expect(versions()).toBe(before);
    const answers = answersOf(store.engine);
    store.close();
    expect(answersOf(openStore(fs).engine)).toEqual(answers);
  });

  test('is not kept by a memtable that is flushed under a horizon', () => {
    const fs = newDisk();
    const store = openStore(fs, { ...TINY, memtableBytesMax: 1_000_000 });
    const writer = new VersionWriter([store.engine]);
    for (let i = 0; i < 500; i++) {
      writer.next();
      writer.put('hot', utf8(String(i)));
    }
    store.engine.compact(490);
    save(store, { index: 1, term: 1 });
    expect([...store.engine.changes(EVERYTHING, 0, NOW)].length).toBe(11);
    expect(store.engine.get('hot', 490)?.revision).toBe(490);
  });
});

describe('pressure', () => {
  test('a full memtable is due; one of twice the size stalls, and so does level 0, after slowing down', () => {
    const store = openStore(newDisk());
    const writer = new VersionWriter([store.engine]);
    const fill = (bytes: number): void => {
      while (statsOf(store).memtableBytes < bytes) {
        writer.next();
        writer.put(`k${writer.revision}`, utf8('v'));
      }
    };
    fill(TINY.memtableBytesMax - 400);
    expect([store.isDue, store.engine.pressurePercent]).toEqual([false, 0]);
    fill(TINY.memtableBytesMax);
    expect([store.isDue, store.engine.pressurePercent]).toEqual([true, 0]);
    fill(1.7 * TINY.memtableBytesMax);
    expect(store.engine.pressurePercent).toBeGreaterThanOrEqual(16);
    expect(store.engine.pressurePercent).toBeLessThan(40);
    fill(2 * TINY.memtableBytesMax);
    expect([store.isDue, store.engine.pressurePercent]).toEqual([true, 100]);
    const seen: number[] = [];
    for (let index = 1; index <= TINY.level0TablesMax; index++) {
      seen.push(store.engine.pressurePercent);
      const checkpoint = store.begin({ index, term: 1 }, []);
      while (!checkpoint.advance());
      expect(store.isDue).toBe(false);
      writer.next();
      writer.put('more', utf8('x'));
    }
    expect(tablesOf(store)[0]).toBe(TINY.level0TablesMax);
    const [full, ...slower] = seen;
    expect([full, store.engine.pressurePercent]).toEqual([100, 100]);
    expect(slower, 'with one table of level 0, with two, …').toEqual([0, 0, 0, 0, 25]);
    workOut(store.engine);
    expect(store.engine.pressurePercent).toBe(0);
  });

  test('a put beyond that takes the time that the flush needs', () => {
    const fs = newDisk();
    const store = openStore(fs);
    const model = new ModelEngine();
    const writer = new VersionWriter([store.engine, model]);
    scatter(writer, new Random('a'), { count: 100 });
    const atBegin = answersOf(store.engine);
    const checkpoint = store.begin({ index: 1, term: 1 }, ['x']);
    expect(statsOf(store).flushingBytes).toBeGreaterThan(0);
    expect(store.newest).toBeUndefined();
    while (statsOf(store).flushingBytes > 0) scatter(writer, new Random('b'), { count: 1 });
    expect(statsOf(store).memtableBytes).toBeGreaterThanOrEqual(2 * TINY.memtableBytesMax);
    expect(store.newest?.meta.index).toBe(1);
    expect(checkpoint.advance()).toBe(true);
    expect(answersOf(store.engine)).toEqual(answersOf(model));
    expect(answersOf(openStore(fs.crash(new Random(0), 'worst')).engine)).toEqual(atBegin);
  });

  test('when the disk refuses that flush, the put succeeds and the writer of the checkpoint is told', () => {
    const fs = newDisk();
    const store = openStore(fs);
    const model = new ModelEngine();
    const writer = new VersionWriter([store.engine, model]);
    scatter(writer, new Random('a'), { count: 100 });
    const checkpoint = store.begin({ index: 1, term: 1 }, []);
    fs.intercept = ({ kind }) => (kind === 'create' ? { kind: 'error', errno: 'EIO' } : undefined);
    scatter(writer, new Random('b'), { count: 100 });
    fs.intercept = undefined;
    expect(() => checkpoint.advance()).toThrow(StorageError);
    expect(() => checkpoint.advance()).toThrow(StorageError);
    expect([store.isDue, store.engine.pressurePercent]).toEqual([true, 100]);
    expect(answersOf(store.engine)).toEqual(answersOf(model));
    save(store, { index: 2, term: 1 });
    expect(statsOf(store)).toMatchObject({ memtableBytes: 0, flushingBytes: 0 });
    expect(answersOf(openStore(fs.crash(new Random(0), 'worst')).engine)).toEqual(answersOf(model));
  });

  test('puts come in the order of their revisions, across flushes and restarts', () => {
    const { fs, store, writer } = grown();
    const late = { key: 'x', sub: 0, created: 1, version: 1, lease: 0n, value: utf8('') };
    expect(() => store.engine.put({ ...late, revision: writer.revision - 1 })).toThrow(
      'order of their revisions',
    );
    store.close();
    const again = openStore(fs);
    expect(() => again.engine.put({ ...late, revision: writer.revision - 1 })).toThrow(
      'order of their revisions',
    );
  });
});

describe('compaction', () => {
  test('on a full disk it is given up and tried again later; nothing is lost and nothing is left over', () => {
    const { fs, store, model, writer, index } = grown({ ...TINY, level0Tables: 5 }, { rounds: 4 });
    scatter(writer, new Random('more'), { count: 60 });
    save(store, { index: index + 1, term: 1 });
    const before = fs.list(DIRECTORY);
    fs.capacityBytes = fs.usedBytes + 500;
    let calls = 0;
    while (statsOf(store).compacting !== 'waiting for space on the disk') {
      store.engine.work();
      expect((calls += 1)).toBeLessThan(1000);
    }
    expect(fs.list(DIRECTORY)).toEqual(before);
    for (let i = 0; i < 63; i++) expect(store.engine.work()).toBe(false);
    expect(answersOf(store.engine)).toEqual(answersOf(model));
    fs.capacityBytes = Infinity;
    const done = statsOf(store).compactionsDone;
    for (let i = 0; i < 200; i++) store.engine.work();
    expect(statsOf(store).compactionsDone).toBeGreaterThan(done);
    expect(tablesOf(store)[0]).toBe(0);
    expect(answersOf(store.engine)).toEqual(answersOf(model));
    store.close();
    expectTidy(fs);
  });

  test('a damaged table is named, and stays', () => {
    const { fs, store, index, writer } = grown({ ...TINY, level0Tables: 3, cacheBytesMax: 0 }, { rounds: 2 });
    const victim = fs.list(DIRECTORY).findLast((name) => name.endsWith('.sst')) ?? expect.fail();
    const bytes = fs.peek(`${DIRECTORY}/${victim}`);
    bytes[40] = (bytes[40] ?? 0) ^ 4;
    scatter(writer, new Random('more'), { count: 60 });
    save(store, { index: index + 1, term: 1 });
    store.close();
    fs.poke(`${DIRECTORY}/${victim}`, bytes);
    const again = openStore(fs, { ...TINY, level0Tables: 3 });
    const before = fs.list(DIRECTORY);
    const broken = new RegExp(
      `Cannot compact table ${Number(victim.slice(0, 6))}: .*"${DIRECTORY}/${victim}" at offset 0`,
    );
    for (let i = 0; i < 2; i++) {
      expect(() => workOut(again.engine)).toThrow(CorruptionError);
      expect(() => workOut(again.engine)).toThrow(broken);
    }
    expect(fs.list(DIRECTORY)).toEqual(before);
  });

  test('an iterator keeps the tables that it reads until it ends', () => {
    const { fs, store, writer, model, random, index } = grown();
    const revision = writer.revision;
    const expected = Array.from(model.scan(EVERYTHING, revision), shown);
    const open = store.engine.scan(EVERYTHING, revision);
    const first = open.next();
    for (let i = 1; i < 10; i++) {
      scatter(writer, random, { count: 60 });
      save(store, { index: index + i, term: 1 });
      workOut(store.engine);
    }
    const held = fs.list(DIRECTORY).length;
    expect([shown(first.value), ...Array.from(open, shown)]).toEqual(expected);
    expect(fs.list(DIRECTORY).length).toBeLessThan(held);
    store.close();
    expectTidy(fs);
  });

  test('while a checkpoint is sent, what comes and goes meanwhile takes no space', () => {
    const { fs, store, writer, random, index } = grown();
    const atFirst = fs.list(DIRECTORY);
    const source = store.openSource();
    for (let i = 1; i <= 20; i++) {
      scatter(writer, random, { count: 60 });
      save(store, { index: index + i, term: 1 });
      workOut(store.engine);
    }
    const tables = tablesOf(store).reduce((sum, count) => sum + count, 0);
    const added = fs.list(DIRECTORY).filter((name) => !atFirst.includes(name));
    // The tables of now, the state of now, and a manifest that was written anew.
    expect(added.length).toBeLessThanOrEqual(tables + 2);
    for (let offset = 0; offset < source.totalBytes;) offset += source.read(offset).length;
    source.close();
    store.close();
    expectTidy(fs);
  });

  test('elsewhere: work() says that there is nothing to do here, and takes the result when it is there', () => {
    const fs = newDisk();
    const compactor = new LateCompactor(fs);
    const store = openStore(fs, TINY, compactor);
    const model = new ModelEngine();
    const writer = new VersionWriter([store.engine, model]);
    for (let index = 1; index <= 4; index++) {
      scatter(writer, new Random(index), { count: 60 });
      save(store, { index, term: 1 });
    }
    expect([store.engine.work(), compactor.count]).toEqual([false, 1]);
    expect(statsOf(store).compacting).toBe('L0 2 → L1');
    expect([store.engine.work(), tablesOf(store)[0]]).toEqual([false, 4]);
    compactor.finish();
    expect([store.engine.work(), tablesOf(store)[0]]).toEqual([true, 2]);
    expect(answersOf(store.engine)).toEqual(answersOf(model));
    store.close();
    expectTidy(fs);
  });

  test('elsewhere: what ends after the tree was replaced or closed changes nothing, and leaves nothing', () => {
    for (const kind of ['install', 'close'] as const) {
      const fs = newDisk();
      const compactor = new LateCompactor(fs);
      const store = openStore(fs, TINY, compactor);
      const writer = new VersionWriter([store.engine]);
      for (let index = 1; index <= 2; index++) {
        scatter(writer, new Random(index), { count: 60 });
        save(store, { index, term: 1 });
      }
      store.engine.work();
      const other = grown(TINY, { rounds: 5 }).store;
      if (kind === 'install') install(other, store);
      else store.close();
      compactor.finish();
      if (kind === 'install') {
        workOut(store.engine);
        expect(contentsOf(store)).toEqual(contentsOf(other));
        store.close();
      }
      expectTidy(fs);
    }
  });

  test('elsewhere: the numbers of a job are not given out again by the next process', () => {
    const fs = newDisk();
    const compactor = new LateCompactor(fs);
    let store = openStore(fs, TINY, compactor);
    let writer = new VersionWriter([store.engine]);
    for (let index = 1; index <= 2; index++) {
      scatter(writer, new Random(index), { count: 60 });
      save(store, { index, term: 1 });
    }
    store.engine.work();
    // The job is still running when the process starts again, and ends while the new one works.
    const revision = writer.revision;
    store = openStore(fs);
    const before = fs.list(DIRECTORY).length;
    compactor.finish();
    expect(fs.list(DIRECTORY).length).toBeGreaterThan(before);
    writer = new VersionWriter([store.engine], revision);
    for (let index = 3; index < 8; index++) {
      scatter(writer, new Random(index), { count: 60 });
      save(store, { index, term: 1 });
      workOut(store.engine);
    }
    const last = contentsOf(store);
    store.close();
    const again = openStore(fs);
    expect(contentsOf(again)).toEqual(last);
    again.close();
    expectTidy(fs);
  });
});
