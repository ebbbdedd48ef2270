/** The overlay: a file system like any other, and the one below it never changes. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { readTextFile, replaceFile } from '../../src/storage/files.ts';
import { OverlayFileSystem } from '../../src/storage/overlay.ts';
import { fileSystemConformance } from '../conformance/file-system.ts';

fileSystemConformance('OverlayFileSystem', () => {
  const base = new CrashFileSystem();
  base.makeDirectory('/disk/root');
  return {
    fs: new OverlayFileSystem(base),
    root: '/disk/root',
    dispose: () => expect(base.openFiles).toBe(0),
  };
});

describe('OverlayFileSystem', () => {
  test('shows what is below until it is changed, and never changes it', () => {
    const base = new CrashFileSystem();
    base.makeDirectory('d');
    for (const name of ['a', 'b', 'c']) base.poke(`d/${name}`, utf8(`old ${name}`));
    const fs = new OverlayFileSystem(base);
    replaceFile(fs, 'd', 'a', [utf8('new a')]);
    fs.remove('d/b');
    fs.rename('d/c', 'd/e');
    const file = fs.open('d/e', 'readWrite');
    file.write(utf8('O'), 0);
    file.truncate(3);
    file.close();
    expect(fs.list('d')).toEqual(['a', 'e']);
    expect(readTextFile(fs, 'd/a')).toBe('new a');
    expect(readTextFile(fs, 'd/e')).toBe('Old');
    expect(base.list('d')).toEqual(['a', 'b', 'c']);
    for (const name of ['a', 'b', 'c']) expect(readTextFile(base, `d/${name}`)).toBe(`old ${name}`);
  });
});
