/** What a writer does to the disk, and what it refuses. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../../src/lib/random.ts';
import { StorageError } from '../../../src/lib/errors.ts';
import type { Call } from '../../../src/sim/disk.ts';
import { TableFileWriter, writeTable } from '../../../src/storage/lsm/table-writer.ts';
import type { Version } from '../../../src/storage/version-engine.ts';
import type { CrashFileSystem } from '../../../src/sim/disk.ts';
import { newDirectory, openTable, plain, put, tombstone, writeVersions } from './table-support.ts';

function writer(fs: CrashFileSystem): TableFileWriter {
  return new TableFileWriter({ fs, directory: 'tables', number: 1, blockBytes: 512, bloomBitsPerKey: 10 });
}

/** Adds versions one after another and gives the table up. */
function adding(...versions: readonly Version[]): () => void {
  return () => {
    const table = writer(newDirectory());
    for (const version of versions) table.add(version);
  };
}

function* broken(): IterableIterator<Version> {
  yield put('a', 1);
  throw new Error('an input is damaged');
}

/** Values of 16 KiB, `count` of them. */
function large(count: number): readonly Version[] {
  return Array.from({ length: count }, (_, i) =>
    put(`k${String(i).padStart(4, '0')}`, 1, 'v'.repeat(16_384)),
  );
}

describe('a table writer', () => {
  test('writes in large pieces and syncs on the way, so that the last sync is short', () => {
    const fs = newDirectory();
    const calls: Call['kind'][] = [];
    fs.intercept = (call) => {
      calls.push(call.kind);
      return undefined;
    };
    const { bytes } = writeVersions(fs, large(400));
    const writes = calls.filter((kind) => kind === 'write').length;
    expect(writes).toBeLessThan(bytes / 2 ** 17);
    expect(calls.filter((kind) => kind === 'sync').length).toBe(1 + Math.floor(bytes / 2 ** 21));
    expect(calls.at(-1)).toBe('sync');
    expect(calls.filter((kind) => kind === 'create')).toHaveLength(1);
  });

  test('has made the file durable when it has finished', () => {
    const fs = newDirectory();
    const versions = large(40);
    const meta = writeVersions(fs, versions);
    fs.syncDirectory('.');
    fs.syncDirectory('tables');
    const after = fs.crash(new Random(1), 'worst');
    expect(plain(openTable(after, meta).forward())).toEqual(plain(versions));
  });

  test('removes the file when the disk refuses, and says why', () => {
    for (const kind of ['write', 'sync'] as const) {
      const fs = newDirectory();
      fs.intercept = (call) =>
        call.kind === kind && call.numberOfKind === 2 ? { kind: 'error', errno: 'ENOSPC' } : undefined;
      expect(() => writeVersions(fs, large(400))).toThrow(StorageError);
      expect(fs.list('tables')).toEqual([]);
    }
  });

  test('removes the file when it is given up, or when its run throws', () => {
    const fs = newDirectory();
    const table = writer(fs);
    table.add(put('a', 1));
    table.abort();
    table.abort();
    expect(fs.list('tables')).toEqual([]);
    const options = { fs, directory: 'tables', number: 2, blockBytes: 512, bloomBitsPerKey: 10 };
    expect(() => writeTable(options, broken())).toThrow('an input is damaged');
    expect(fs.list('tables')).toEqual([]);
  });

  test('does not touch a table that is there already', () => {
    const fs = newDirectory();
    writeVersions(fs, [put('a', 1)]);
    const before = fs.peek('tables/000001.sst');
    expect(() => writeVersions(fs, [put('b', 2)])).toThrow(StorageError);
    expect(fs.peek('tables/000001.sst')).toEqual(before);
  });

  test('says about how large the table will be', () => {
    const table = writer(newDirectory());
    for (let i = 0; i < 2000; i++) table.add(put(`key${String(i).padStart(6, '0')}`, 1 + i));
    const estimate = table.bytes;
    const { bytes } = table.finish();
    expect(Math.abs(bytes - estimate)).toBeLessThan(bytes / 50);
  });

  test('shares the beginnings of keys, and writes a first put of a life in few bytes', () => {
    const fs = newDirectory();
    const long = 'a-long-common-beginning/'.repeat(10);
    const versions = Array.from({ length: 1000 }, (_, i) =>
      put(`${long}${String(i).padStart(4, '0')}`, 5, ''),
    );
    expect(writeVersions(fs, versions, { blockBytes: 8192 }).bytes / 1000).toBeLessThan(35);
  });

  test('refuses what is not in order', () => {
    expect(adding(put('b', 1), put('a', 2))).toThrow('Keys come in order');
    expect(adding(put('a', 1), put('a', 2))).toThrow('Versions of a key come newest first');
    expect(adding(put('a', 2), put('a', 2))).toThrow('Versions of a key come newest first');
  });

  test('refuses what is no version', () => {
    expect(adding(put('a', 0))).toThrow('A version is created at or before its revision');
    expect(adding(put('a', 1, 'v', { created: 2 }))).toThrow(
      'A version is created at or before its revision',
    );
    expect(adding({ ...tombstone('a', 1), value: new Uint8Array(1) })).toThrow('A tombstone is empty');
    expect(adding(put('\u0100', 1))).toThrow('A key is a latin-1 string');
  });

  test('refuses a table without versions, and more than one end', () => {
    expect(() => writer(newDirectory()).finish()).toThrow('A table has at least one version');
    const table = writer(newDirectory());
    table.add(put('a', 1));
    table.finish();
    expect(() => table.add(put('b', 1))).toThrow('The table is finished');
    expect(() => table.finish()).toThrow('The table is finished');
  });

  test('keeps extreme versions as they are', () => {
    const fs = newDirectory();
    const most = Number.MAX_SAFE_INTEGER;
    const versions = [
      put('', most, '', { created: most - 1, version: most, sub: most, lease: -(2n ** 63n) }),
      put('', 2 ** 31, 'x', { lease: 2n ** 63n - 1n }),
      tombstone('', 1, 3),
      put('\u00ff'.repeat(65_536), 2 ** 32, 'v'.repeat(3 * 2 ** 20)),
      put(`${'\u00ff'.repeat(65_536)}\u0000`, 7, 'v'),
    ];
    const table = openTable(fs, writeVersions(fs, versions));
    table.verify();
    expect(plain(table.forward())).toEqual(plain(versions));
    expect(plain(table.backward())).toEqual(plain(versions.toReversed()));
    for (const version of versions) {
      const found = table.get(version.key, version.revision);
      expect(found === undefined ? [] : plain([found])).toEqual(plain([version]));
    }
  });
});
