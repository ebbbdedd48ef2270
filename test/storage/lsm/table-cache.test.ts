/** What is shared by tables: the filter's odds, the cache of blocks, open files and the life of a file. */
import { describe, expect, test } from 'vitest';
import { at } from '../../../src/lib/assert.ts';
import { Random } from '../../../src/lib/random.ts';
import { BlockCache } from '../../../src/storage/lsm/block-cache.ts';
import { BloomBuilder, isFilter, mayContain } from '../../../src/storage/lsm/bloom.ts';
import { TableCache } from '../../../src/storage/lsm/table-cache.ts';
import type { TableMeta } from '../../../src/storage/lsm/table-format.ts';
import type { Version } from '../../../src/storage/version-engine.ts';
import type { CrashFileSystem } from '../../../src/sim/disk.ts';
import { below, newDirectory, openTable, plain, put, writeVersions } from './table-support.ts';

/** `count` keys of one version each. */
function rows(count: number, prefix = 'k'): readonly Version[] {
  return Array.from({ length: count }, (_, i) =>
    put(`${prefix}${String(i).padStart(5, '0')}`, i + 1, `${prefix}${i}`.repeat(20)),
  );
}

/** Several tables in one directory, table n with keys that begin with n. */
function tables(count: number): { readonly fs: CrashFileSystem; readonly metas: readonly TableMeta[] } {
  const fs = newDirectory();
  const metas = Array.from({ length: count }, (_, i) =>
    writeVersions(fs, rows(50, String(i)), { number: i + 1 }),
  );
  return { fs, metas };
}

describe('a Bloom filter', () => {
  test('holds every key, and one stranger in a hundred passes at ten bits a key', () => {
    for (const [name, keyOf] of [
      ['counted', (i: number) => `key-${i}`],
      ['padded', (i: number) => `/registry/pods/${String(i).padStart(10, '0')}`],
      ['binary', (i: number) => String.fromCharCode(i & 255, (i >> 8) & 255, (i >> 16) & 255)],
    ] as const) {
      const builder = new BloomBuilder(10);
      for (let i = 0; i < 20_000; i++) builder.add(keyOf(i));
      const filter = builder.finish();
      expect(filter.length, name).toBeLessThan(25_100);
      let passed = 0;
      let lost = 0;
      for (let i = 0; i < 20_000; i++) if (!mayContain(filter, keyOf(i))) lost++;
      expect(lost, name).toBe(0);
      for (let i = 20_000; i < 60_000; i++) if (mayContain(filter, keyOf(i))) passed++;
      expect(passed / 40_000, name).toBeLessThan(0.0135);
    }
  });

  test('of no bits lets everything pass, and an empty one of some bits nothing', () => {
    const none = new BloomBuilder(0);
    none.add('a');
    expect(none.finish()).toHaveLength(0);
    expect(mayContain(none.finish(), 'b')).toBe(true);
    expect(mayContain(new BloomBuilder(10).finish(), 'b')).toBe(false);
  });

  test('is told from other bytes', () => {
    expect(isFilter(new BloomBuilder(10).finish())).toBe(true);
    expect(isFilter(new Uint8Array(65))).toBe(false);
    expect(isFilter(new Uint8Array(64).fill(6))).toBe(false);
  });
});

describe('the block cache', () => {
  test('keeps within its budget, whatever is read', () => {
    const { fs, metas } = tables(4);
    const cache = new BlockCache(6000);
    const open = metas.map((meta) => openTable(fs, meta, cache));
    const random = new Random(1);
    for (let i = 0; i < 500; i++) {
      const which = below(random, 4);
      const row = at(rows(50, String(which)), below(random, 50));
      const found = at(open, which).get(row.key, 99);
      expect(found === undefined ? [] : plain([found])).toEqual(plain([row]));
      expect(cache.bytes).toBeLessThanOrEqual(6000);
    }
    expect(cache.hits + cache.misses).toBe(500);
    expect(cache.misses).toBeGreaterThan(100);
  });

  test('answers from memory what was read before, and counts it', () => {
    const { fs, metas } = tables(1);
    const cache = new BlockCache(2 ** 20);
    const table = openTable(fs, at(metas, 0), cache);
    table.get('000007', 99);
    const { calls } = fs;
    table.get('000007', 99);
    table.get('000008', 99);
    expect(fs.calls).toBe(calls);
    expect([cache.misses, cache.hits]).toEqual([1, 2]);
  });

  test('keeps what is used rather than what a long scan reads', () => {
    const fs = newDirectory();
    const table = openTable(fs, writeVersions(fs, rows(2000)), new BlockCache(10_000));
    table.get('k00500', 9999);
    table.get('k00500', 9999);
    for (const version of table.forward()) expect(version.revision).toBeGreaterThan(0);
    const { calls } = fs;
    table.get('k00500', 9999);
    expect(fs.calls).toBe(calls);
  });

  test('gives back the blocks of a table that is closed', () => {
    const { fs, metas } = tables(2);
    const cache = new BlockCache(2 ** 20);
    const open = metas.map((meta) => openTable(fs, meta, cache));
    open.forEach((table, i) => table.get(`${i}00007`, 99));
    const { bytes } = cache;
    at(open, 0).close();
    expect(cache.bytes).toBeLessThan(bytes);
    at(open, 1).close();
    expect(cache.bytes).toBe(0);
  });

  test('changes nothing that was given out when its memory is used again', () => {
    const fs = newDirectory();
    const versions = rows(600);
    const table = openTable(fs, writeVersions(fs, versions), new BlockCache(3000));
    const random = new Random(3);
    const kept: Version[] = [];
    const forward = table.forward('k00100');
    const backward = table.backward('k00500');
    const seen: Version[] = [];
    const seenBack: Version[] = [];
    for (let i = 0; i < 300; i++) {
      const row = at(versions, below(random, 600));
      const found = table.get(row.key, 9999);
      if (found !== undefined) kept.push(found);
      const next = forward.next();
      if (next.done !== true) seen.push(next.value);
      const previous = backward.next();
      if (previous.done !== true) seenBack.push(previous.value);
    }
    expect(kept).toHaveLength(300);
    for (const version of kept) expect(plain([version])).toEqual(plain([at(versions, version.revision - 1)]));
    expect(plain(seen)).toEqual(plain(versions.slice(100, 400)));
    expect(plain(seenBack)).toEqual(plain(versions.slice(200, 500).toReversed()));
  });
});

describe('the table cache', () => {
  test('keeps no more files open than it may, and reads all tables all the same', () => {
    const { fs, metas } = tables(6);
    const cache = new TableCache({ fs, directory: 'tables', blocks: new BlockCache(0), openTablesMax: 2 });
    const held = metas.map((meta) => cache.acquire(meta));
    const runs = held.map((table) => table.forward());
    for (let i = 0; i < 50; i++) {
      runs.forEach((run, which) => {
        expect(plain([run.next().value ?? put('', 1)])).toEqual(plain([at(rows(50, String(which)), i)]));
        expect(cache.openCount).toBeLessThanOrEqual(2);
      });
    }
    cache.close();
  });

  test('gives everybody the same table', () => {
    const { fs, metas } = tables(1);
    const cache = new TableCache({ fs, directory: 'tables', blocks: new BlockCache(0), openTablesMax: 9 });
    expect(cache.acquire(at(metas, 0))).toBe(cache.acquire(at(metas, 0)));
  });

  test('removes an obsolete table when the last holder has released it, and not before', () => {
    const { fs, metas } = tables(2);
    const blocks = new BlockCache(2 ** 20);
    const cache = new TableCache({ fs, directory: 'tables', blocks, openTablesMax: 9 });
    const meta = at(metas, 0);
    const table = cache.acquire(meta);
    cache.acquire(meta);
    const run = table.forward();
    run.next();
    cache.retire(1);
    cache.release(1);
    expect(fs.exists('tables/000001.sst')).toBe(true);
    expect([...run]).toHaveLength(49);
    cache.release(1);
    expect(fs.list('tables')).toEqual(['000002.sst']);
    expect(blocks.bytes).toBe(0);
    expect(cache.openCount).toBe(0);
    expect(() => table.get('000007', 99)).toThrow('The table is closed');
  });

  test('removes at once what nobody holds, known or not', () => {
    const { fs, metas } = tables(3);
    const cache = new TableCache({ fs, directory: 'tables', blocks: new BlockCache(0), openTablesMax: 9 });
    cache.acquire(at(metas, 0));
    cache.release(1);
    expect(fs.exists('tables/000001.sst')).toBe(true);
    cache.retire(1);
    cache.retire(2);
    expect(fs.list('tables')).toEqual(['000003.sst']);
  });

  test('finds out who releases too often', () => {
    const { fs, metas } = tables(1);
    const cache = new TableCache({ fs, directory: 'tables', blocks: new BlockCache(0), openTablesMax: 9 });
    cache.acquire(at(metas, 0));
    cache.release(1);
    expect(() => cache.release(1)).toThrow('A table is released once for each time that it was acquired');
    expect(() => cache.release(2)).toThrow('Missing table to release');
  });

  test('closing it closes files and removes none', () => {
    const { fs, metas } = tables(2);
    const cache = new TableCache({ fs, directory: 'tables', blocks: new BlockCache(0), openTablesMax: 9 });
    for (const meta of metas) cache.acquire(meta).get('000007', 99);
    cache.retire(1);
    cache.close();
    expect(cache.openCount).toBe(0);
    expect(fs.list('tables')).toEqual(['000001.sst', '000002.sst']);
  });
});
