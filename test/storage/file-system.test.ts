import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';

import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { parentOf, readTextFile, replaceFile } from '../../src/storage/files.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import type { File } from '../../src/storage/fs.ts';
import { fileSystemConformance } from '../conformance/file-system.ts';
import { CrashFileSystem, PowerCut, nthCall } from '../../src/sim/disk.ts';

function temporaryDirectory(): { readonly root: string; readonly dispose: () => void } {
  const root = mkdtempSync(`${tmpdir()}/oxide-kv-fs-`);
  return { root, dispose: () => rmSync(root, { recursive: true }) };
}

fileSystemConformance('NodeFileSystem', () => ({ fs: new NodeFileSystem(), ...temporaryDirectory() }));
fileSystemConformance('CrashFileSystem', () => {
  const fs = new CrashFileSystem();
  fs.makeDirectory('/disk/root');
  return { fs, root: '/disk/root', dispose: () => expect(fs.openFiles).toBe(0) };
});

describe.skipIf(process.platform === 'win32')('NodeFileSystem', () => {
  test('makes files and directories for the owner alone', () => {
    const { root, dispose } = temporaryDirectory();
    const fs = new NodeFileSystem();
    fs.makeDirectory(`${root}/x/y`);
    fs.open(`${root}/x/y/file`, 'create').close();
    expect(statSync(`${root}/x`).mode & 0o777).toBe(0o700);
    expect(statSync(`${root}/x/y`).mode & 0o777).toBe(0o700);
    expect(statSync(`${root}/x/y/file`).mode & 0o777).toBe(0o600);
    dispose();
  });

  test('open() refuses symbolic links, dangling ones too, and does not hang on a pipe', () => {
    const { root, dispose } = temporaryDirectory();
    const fs = new NodeFileSystem();
    writeFileSync(`${root}/target`, 'secret');
    symlinkSync(`${root}/target`, `${root}/link`);
    symlinkSync(`${root}/nothing`, `${root}/dangling`);
    execFileSync('mkfifo', [`${root}/pipe`]);
    for (const mode of ['read', 'readWrite'] as const) {
      expect(() => fs.open(`${root}/link`, mode)).toThrow(/ELOOP/);
      expect(() => fs.open(`${root}/pipe`, mode)).toThrow(/it is not a regular file|ENXIO/);
    }
    expect(() => fs.open(`${root}/dangling`, 'create')).toThrow(/EEXIST/);
    expect(fs.exists(`${root}/dangling`)).toBe(true);
    dispose();
  });

  test('errors keep the words of the system and say action and path once', () => {
    const { root, dispose } = temporaryDirectory();
    const path = `${root}/${'n'.repeat(300)}`;
    expect(() => new NodeFileSystem().open(path, 'create')).toThrow(
      new StorageError(`Cannot create "${path}": ENAMETOOLONG: name too long`),
    );
    dispose();
  });
});

/** The disk as the worst power cut leaves it: only what is durable. */
function worst(fs: CrashFileSystem): CrashFileSystem {
  return fs.crash(new Random(0), 'worst');
}

/** A disk whose file `f` durably holds "old". */
function withFile(): { readonly fs: CrashFileSystem; readonly file: File } {
  const fs = new CrashFileSystem();
  const file = fs.open('f', 'create');
  file.write(utf8('old'), 0);
  file.sync();
  fs.syncDirectory('.');
  expect(fs.hasPending).toBe(false);
  return { fs, file };
}

/** What a power cut leaves of many writes. */
function imageAfterCut(seed: string): string {
  const { fs, file } = withFile();
  for (let i = 0; i < 20; i++) file.write(new Uint8Array(700).fill(i + 65), i * 700);
  return Buffer.from(fs.crash(new Random(seed)).peek('f')).toString();
}

describe('CrashFileSystem', () => {
  test('unsynced data, sizes and names are lost in the worst case and kept in the best', () => {
    for (const mode of ['worst', 'best'] as const) {
      const { fs, file } = withFile();
      file.write(utf8('newer'), 0);
      fs.open('g', 'create').close();
      expect(fs.hasPending).toBe(true);
      const after = fs.crash(new Random(0), mode);
      expect(after.peek('f')).toEqual(utf8(mode === 'worst' ? 'old' : 'newer'));
      expect(after.list('.')).toEqual(mode === 'worst' ? ['f'] : ['f', 'g']);
      expect(after.hasPending).toBe(false);
    }
  });

  test('a file whose name was never synced is gone although its data was', () => {
    const fs = new CrashFileSystem();
    const file = fs.open('f', 'create');
    file.write(utf8('x'), 0);
    file.sync();
    expect(worst(fs).list('.')).toEqual([]);
  });

  test('a renamed file has the old name, the new one, and never none or both', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 50; seed++) {
      const { fs } = withFile();
      fs.rename('f', 'g');
      seen.add(fs.crash(new Random(seed)).list('.').join());
    }
    expect([...seen].toSorted()).toEqual(['f', 'g']);
  });

  test('unsynced writes are kept, lost and torn in every combination, also out of order', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 400; seed++) {
      const fs = new CrashFileSystem({ sectorBytes: 2 });
      const file = fs.open('f', 'create');
      fs.syncDirectory('.');
      file.write(utf8('AB'), 0);
      file.write(utf8('CD'), 2);
      seen.add(
        Buffer.from(fs.crash(new Random(seed)).peek('f'))
          .toString()
          .replaceAll('\0', '.'),
      );
    }
    for (const image of ['', 'A', 'AB', 'ABC', 'ABCD', '..', '..C', '..CD', 'A.CD', 'AB..'])
      expect(seen).toContain(image);
    for (const image of seen) expect(image).toMatch(/^(A|\.)?(B|\.)?(C|\.)?(D|\.)?$/);
  });

  test('what is synced survives every cut', () => {
    for (let seed = 0; seed < 50; seed++) {
      const { fs, file } = withFile();
      file.write(utf8('++'), 3);
      const after = fs.crash(new Random(seed)).peek('f');
      expect(Buffer.from(after.subarray(0, 3)).toString()).toBe('old');
    }
  });

  test('equal seeds give equal disks', () => {
    expect(imageAfterCut('same')).toBe(imageAfterCut('same'));
    expect(imageAfterCut('same')).not.toBe(imageAfterCut('other'));
  });

  test('a power cut at a call leaves its change pending and kills the disk', () => {
    const { fs, file } = withFile();
    fs.intercept = nthCall(2, { kind: 'powerCut' }, 'write');
    expect(() => file.write(utf8('NEW'), 0)).toThrow(PowerCut);
    expect(() => fs.list('.')).toThrow(PowerCut);
    expect(fs.crash(new Random(0), 'best').peek('f')).toEqual(utf8('NEW'));
    expect(() => fs.exists('f')).toThrow(PowerCut);
  });

  test('a power cut at a sync makes nothing durable', () => {
    const { fs, file } = withFile();
    fs.intercept = nthCall(2, { kind: 'powerCut' }, 'sync');
    file.write(utf8('NEW'), 0);
    expect(() => file.sync()).toThrow(PowerCut);
    expect(worst(fs).peek('f')).toEqual(utf8('old'));
  });

  test('a failed sync forgets: reads show the new bytes, the next sync succeeds, the disk has the old ones', () => {
    const { fs, file } = withFile();
    fs.intercept = nthCall(2, { kind: 'dropPages', errno: 'EIO' }, 'sync');
    file.write(utf8('NEW'), 0);
    expect(() => file.sync()).toThrow('Cannot sync "f": EIO: i/o error');
    file.sync();
    expect(fs.peek('f')).toEqual(utf8('NEW'));
    expect(fs.crash(new Random(0), 'best').peek('f')).toEqual(utf8('old'));
  });

  test('a full disk takes part of a write; truncation gives room again', () => {
    const { fs, file } = withFile();
    fs.capacityBytes = 5;
    expect(() => file.write(utf8('12345'), 3)).toThrow(/ENOSPC/);
    expect(file.size()).toBe(5);
    file.truncate(0);
    file.write(utf8('12345'), 0);
    expect(fs.peek('f')).toEqual(utf8('12345'));
    fs.intercept = nthCall(4, { kind: 'shortWrite', errno: 'ENOSPC', bytes: 2 }, 'write');
    expect(() => file.write(utf8('abc'), 0)).toThrow(/ENOSPC/);
    expect(fs.peek('f')).toEqual(utf8('ab345'));
  });
});

describe('files', () => {
  test('replaceFile() cut off at any call leaves the old file or the new one', () => {
    let cuts = 0;
    for (let n = 1; ; n++) {
      let fs = new CrashFileSystem();
      fs.makeDirectory('d');
      fs.syncDirectory('.');
      replaceFile(fs, 'd', 'f', [utf8('old')]);
      const start = fs.calls;
      fs.intercept = nthCall(start + n, { kind: 'powerCut' });
      let done = false;
      try {
        replaceFile(fs, 'd', 'f', [utf8('brand '), utf8('new')]);
        done = true;
      } catch (error) {
        expect(error).toBeInstanceOf(PowerCut);
        cuts += 1;
      }
      fs = fs.crash(new Random(n));
      expect(done ? ['brand new'] : ['old', 'brand new']).toContain(readTextFile(fs, 'd/f'));
      // The leftover does not stand in the way.
      replaceFile(fs, 'd', 'f', [utf8('third')]);
      expect(readTextFile(worst(fs), 'd/f')).toBe('third');
      if (done) break;
    }
    expect(cuts).toBe(7);
  });

  test('replaceFile() on a full disk keeps the old file and gives the space back', () => {
    const fs = new CrashFileSystem();
    replaceFile(fs, '.', 'f', [utf8('old')]);
    fs.capacityBytes = 6;
    expect(() => replaceFile(fs, '.', 'f', [utf8('brand new')])).toThrow(/ENOSPC/);
    expect(fs.list('.')).toEqual(['f']);
    expect(readTextFile(fs, 'f')).toBe('old');
    expect(fs.openFiles).toBe(0);
  });

  test('readTextFile() refuses what is not UTF-8', () => {
    const fs = new CrashFileSystem();
    fs.poke('f', Uint8Array.of(0xff));
    expect(() => readTextFile(fs, 'f')).toThrow(CorruptionError);
  });

  test('parentOf() names the directory above', () => {
    const parents = ['a', 'a/b', '/a', '/a/b/', '/', '', 'a/b//c'].map(parentOf);
    expect(parents).toEqual(['.', 'a', '/', '/a', '/', '.', 'a/b/']);
  });
});

// Node's own recursive mkdir never returns here.
test.runIf(process.platform === 'linux')(
  '`NodeFileSystem.makeDirectory()` fails, and ends, on a file system that makes nothing',
  () => {
    expect(() => new NodeFileSystem().makeDirectory('/proc/oxide-kv/data')).toThrow(StorageError);
  },
  2000,
);
