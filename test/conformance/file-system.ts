/** What every {@link FileSystem} does. Called by the tests of each implementation. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { StorageError } from '../../src/lib/errors.ts';
import type { FileSystem } from '../../src/storage/fs.ts';

/** A file system to test, and an existing empty directory on it. */
export interface FileSystemSubject {
  readonly fs: FileSystem;
  readonly root: string;
  readonly dispose: () => void;
}

export function fileSystemConformance(name: string, make: () => FileSystemSubject): void {
  describe(`FileSystem conformance: ${name}`, () => {
    let subject: FileSystemSubject;
    let fs: FileSystem;
    const at = (path: string): string => `${subject.root}/${path}`;
    const put = (path: string, text: string): void => {
      const file = fs.open(at(path), 'create');
      file.write(utf8(text), 0);
      file.close();
    };
    const text = (path: string): string => {
      const file = fs.open(at(path), 'read');
      const bytes = file.read(0, file.size());
      file.close();
      return Buffer.from(bytes).toString();
    };

    beforeEach(() => {
      subject = make();
      fs = subject.fs;
    });
    afterEach(() => subject.dispose());

    test('open(create) makes an empty file and refuses one that exists', () => {
      const file = fs.open(at('a'), 'create');
      expect(file.size()).toBe(0);
      file.close();
      expect(() => fs.open(at('a'), 'create')).toThrow(StorageError);
      expect(() => fs.open(at('a'), 'create')).toThrow(
        /^Cannot create ".*\/a": EEXIST: file already exists$/,
      );
    });

    test('open(read) and open(readWrite) refuse what is missing or a directory', () => {
      fs.makeDirectory(at('d'));
      for (const mode of ['read', 'readWrite'] as const) {
        expect(() => fs.open(at('missing'), mode)).toThrow(/^Cannot open ".*missing": ENOENT/);
        expect(() => fs.open(at('d'), mode)).toThrow(StorageError);
      }
      expect(() => fs.open(at('nowhere/a'), 'create')).toThrow(StorageError);
    });

    test('errors are StorageErrors with the cause', () => {
      const error = capture(() => fs.open(at('missing'), 'read'));
      expect(error).toBeInstanceOf(StorageError);
      expect(error).toMatchObject({ cause: { code: 'ENOENT' } });
    });

    test('write() puts bytes anywhere; a gap reads as zeros', () => {
      const file = fs.open(at('a'), 'create');
      file.write(utf8('tail'), 6);
      file.write(utf8('ab'), 1);
      file.write(new Uint8Array(0), 100);
      expect(file.size()).toBe(10);
      expect([...file.read(0, 10)]).toEqual([0, 97, 98, 0, 0, 0, ...utf8('tail')]);
      file.close();
    });

    test('write() keeps a copy: the caller may reuse its buffer', () => {
      const file = fs.open(at('a'), 'create');
      const buffer = utf8('abc');
      file.write(buffer, 0);
      buffer.fill(0);
      expect([...file.read(0, 3)]).toEqual([...utf8('abc')]);
      file.close();
    });

    test('read() is short only at the end of the file', () => {
      put('a', 'hello');
      const file = fs.open(at('a'), 'read');
      expect(Buffer.from(file.read(1, 3)).toString()).toBe('ell');
      expect(Buffer.from(file.read(3, 100)).toString()).toBe('lo');
      expect(file.read(5, 10)).toHaveLength(0);
      expect(file.read(50, 10)).toHaveLength(0);
      file.close();
    });

    test('a file opened to read refuses writes', () => {
      put('a', 'hello');
      const file = fs.open(at('a'), 'read');
      expect(() => file.write(utf8('x'), 0)).toThrow(StorageError);
      expect(() => file.truncate(0)).toThrow(StorageError);
      file.sync();
      file.close();
      expect(text('a')).toBe('hello');
    });

    test('truncate() shortens, and lengthens with zeros', () => {
      put('a', 'hello');
      const file = fs.open(at('a'), 'readWrite');
      file.truncate(2);
      file.truncate(4);
      expect([...file.read(0, 10)]).toEqual([...utf8('he'), 0, 0]);
      file.sync();
      file.close();
    });

    test('a closed file refuses everything; closing again does nothing', () => {
      const file = fs.open(at('a'), 'create');
      file.close();
      file.close();
      expect(() => file.write(utf8('x'), 0)).toThrow(/the file is closed/);
      expect(() => file.read(0, 1)).toThrow(/the file is closed/);
      expect(() => file.size()).toThrow(/the file is closed/);
      expect(() => file.truncate(0)).toThrow(/the file is closed/);
      expect(() => file.sync()).toThrow(/the file is closed/);
    });

    test('list() sorts names, and refuses what is no directory', () => {
      for (const each of ['b', 'a10', 'a9', 'C', '__proto__']) put(each, '');
      fs.makeDirectory(at('dir'));
      expect(fs.list(subject.root)).toEqual(['C', '__proto__', 'a10', 'a9', 'b', 'dir']);
      expect(fs.list(at('dir'))).toEqual([]);
      expect(() => fs.list(at('missing'))).toThrow(/ENOENT/);
      expect(() => fs.list(at('b'))).toThrow(/ENOTDIR/);
    });

    test('makeDirectory() makes parents and accepts what exists', () => {
      fs.makeDirectory(at('x/y/z'));
      fs.makeDirectory(at('x/y/z'));
      expect(fs.exists(at('x/y/z'))).toBe(true);
      put('file', '');
      expect(() => fs.makeDirectory(at('file'))).toThrow(StorageError);
    });

    test('rename() replaces the target at once', () => {
      put('a', 'new');
      put('b', 'old');
      fs.rename(at('a'), at('b'));
      expect(fs.list(subject.root)).toEqual(['b']);
      expect(text('b')).toBe('new');
      expect(() => fs.rename(at('a'), at('c'))).toThrow(StorageError);
    });

    test('remove() removes files only', () => {
      put('a', '');
      fs.makeDirectory(at('d'));
      fs.remove(at('a'));
      expect(fs.exists(at('a'))).toBe(false);
      expect(() => fs.remove(at('a'))).toThrow(/ENOENT/);
      expect(() => fs.remove(at('d'))).toThrow(StorageError);
      expect(fs.exists(at('d'))).toBe(true);
    });

    test('syncDirectory() works on directories and refuses what is missing', () => {
      put('a', '');
      fs.syncDirectory(subject.root);
      expect(() => fs.syncDirectory(at('missing'))).toThrow(/ENOENT/);
    });
  });
}

function capture(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return undefined;
}
