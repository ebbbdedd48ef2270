/**
 * A file system that looks like another one and never changes it: whatever is written, renamed or removed stays in
 * memory. So a tool can open a data directory exactly as a node would, repairs included, without touching a byte.
 */
import { StorageError } from '../lib/errors.ts';
import { parentOf, readFile } from './files.ts';
import type { File, FileSystem } from './fs.ts';

/** Bytes of a file that was changed. */
interface Content {
  bytes: Uint8Array;
}

export class OverlayFileSystem implements FileSystem {
  readonly #base: FileSystem;
  /** What is known better here than below; undefined: there is no such file any more. */
  readonly #files = new Map<string, Content | undefined>();
  readonly #directories = new Set<string>();

  /** @param base is only read */
  constructor(base: FileSystem) {
    this.#base = base;
  }

  open(path: string, mode: 'create' | 'readWrite' | 'read'): File {
    if (mode === 'create') {
      if (this.exists(path)) throw refused('create', path, 'EEXIST', 'file already exists');
      if (!this.#isDirectory(parentOf(path)))
        throw refused('create', path, 'ENOENT', 'no such file or directory');
      return this.#opened(path, { bytes: new Uint8Array(0) }, mode);
    }
    if (this.#directories.has(path)) throw refused('open', path, 'EISDIR', 'it is not a regular file');
    if (!this.#files.has(path)) {
      if (mode === 'read') return this.#base.open(path, 'read');
      return this.#opened(path, { bytes: readFile(this.#base, path) }, mode);
    }
    const content = this.#files.get(path);
    if (content === undefined) throw refused('open', path, 'ENOENT', 'no such file or directory');
    return this.#opened(path, content, mode);
  }

  exists(path: string): boolean {
    if (this.#files.has(path)) return this.#files.get(path) !== undefined;
    return this.#directories.has(path) || this.#base.exists(path);
  }

  list(directory: string): readonly string[] {
    if (this.#files.get(directory) !== undefined)
      throw refused('list', directory, 'ENOTDIR', 'not a directory');
    const names = new Set(this.#directories.has(directory) ? [] : this.#base.list(directory));
    for (const path of this.#directories) {
      if (parentOf(path) === directory) names.add(path.slice(directory.length + 1));
    }
    for (const [path, content] of this.#files) {
      if (parentOf(path) !== directory) continue;
      const name = path.slice(directory.length + 1);
      if (content === undefined) names.delete(name);
      else names.add(name);
    }
    return [...names].toSorted();
  }

  makeDirectory(path: string): void {
    if (this.#isDirectory(path)) return;
    if (this.exists(path)) throw refused('create directory', path, 'EEXIST', 'file already exists');
    const parent = parentOf(path);
    if (parent !== path) this.makeDirectory(parent);
    this.#directories.add(path);
  }

  rename(from: string, to: string): void {
    const bytes = readFile(this, from);
    this.#files.set(to, { bytes });
    this.#files.set(from, undefined);
  }

  remove(path: string): void {
    if (this.#isDirectory(path)) throw refused('remove', path, 'EISDIR', 'it is a directory');
    if (!this.exists(path)) throw refused('remove', path, 'ENOENT', 'no such file or directory');
    this.#files.set(path, undefined);
  }

  /** Checks that it is there, and does nothing: what is here ends with the process. */
  syncDirectory(path: string): void {
    if (!this.#isDirectory(path))
      throw refused('sync directory', path, 'ENOENT', 'no such file or directory');
  }

  /** The port has no question for it: what can be listed is a directory. */
  #isDirectory(path: string): boolean {
    if (this.#directories.has(path)) return true;
    if (this.#files.has(path) || (path !== '.' && !this.#base.exists(path))) return false;
    try {
      this.#base.list(path);
      return true;
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
  }

  #opened(path: string, content: Content, mode: 'create' | 'readWrite' | 'read'): File {
    this.#files.set(path, content);
    return new OverlayFile(path, content, mode !== 'read');
  }
}

class OverlayFile implements File {
  readonly #path: string;
  readonly #isWritable: boolean;
  /** Undefined once closed. */
  #content: Content | undefined;

  constructor(path: string, content: Content, isWritable: boolean) {
    this.#path = path;
    this.#content = content;
    this.#isWritable = isWritable;
  }

  write(bytes: Uint8Array, offset: number): void {
    const content = this.#writable('write');
    if (bytes.length === 0) return;
    const grown = new Uint8Array(Math.max(content.bytes.length, offset + bytes.length));
    grown.set(content.bytes);
    grown.set(bytes, offset);
    content.bytes = grown;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#open('read').bytes.slice(offset, offset + length);
  }

  size(): number {
    return this.#open('measure').bytes.length;
  }

  truncate(size: number): void {
    const content = this.#writable('truncate');
    const cut = new Uint8Array(size);
    cut.set(content.bytes.subarray(0, size));
    content.bytes = cut;
  }

  sync(): void {
    this.#open('sync');
  }

  close(): void {
    this.#content = undefined;
  }

  #writable(action: string): Content {
    const content = this.#open(action);
    if (!this.#isWritable) throw refused(action, this.#path, 'EBADF', 'bad file descriptor');
    return content;
  }

  #open(action: string): Content {
    if (this.#content === undefined)
      throw new StorageError(`Cannot ${action} "${this.#path}": the file is closed`);
    return this.#content;
  }
}

/** In the words of the system, with its code as the cause. */
function refused(action: string, path: string, code: string, words: string): StorageError {
  const cause = Object.assign(new Error(words), { code });
  return new StorageError(`Cannot ${action} "${path}": ${code}: ${words}`, { cause });
}
