/** What the calls of a program do to a disk, written down one by one, and what was promised in between. */
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { File, FileSystem } from '../../src/storage/fs.ts';
import { directoryOf, normal } from './images.ts';
import type { Legal } from './story.ts';

/** Sets or (undefined) removes a name. */
export interface NameChange {
  readonly path: string;
  readonly node: number | 'directory' | undefined;
}

/** A change that waits for its sync. The changes of one rename stand or fall together. */
export type Change =
  | { readonly kind: 'names'; readonly changes: readonly NameChange[] }
  | { readonly kind: 'write'; readonly inode: number; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly inode: number; readonly size: number };

export type Effect =
  | Change
  | { readonly kind: 'sync'; readonly inode: number }
  | { readonly kind: 'syncDirectory'; readonly directory: string }
  | { readonly kind: 'told'; readonly legal: Legal };

/** A disk that works, and a list of what was done to it. */
export class RecordingFileSystem implements FileSystem {
  readonly effects: Effect[] = [];
  /** Files that were there at the beginning, by path. */
  readonly initial: ReadonlyMap<string, number>;
  readonly #fs: CrashFileSystem;
  readonly #inodes: Map<string, number>;
  #nextInode: number;

  /** @param paths of the files that are there */
  constructor(fs: CrashFileSystem, paths: Iterable<string>) {
    this.#fs = fs;
    this.#inodes = new Map([...paths].map((path, i) => [path, i]));
    this.initial = new Map(this.#inodes);
    this.#nextInode = this.#inodes.size;
  }

  /** Calls so far, those that change nothing too. */
  get calls(): number {
    return this.#fs.calls;
  }

  told(legal: Legal): void {
    this.effects.push({ kind: 'told', legal });
  }

  open(path: string, mode: 'create' | 'readWrite' | 'read'): File {
    const file = this.#fs.open(path, mode);
    const at = normal(path);
    if (mode === 'create') {
      const inode = this.#nextInode;
      this.#nextInode += 1;
      this.#inodes.set(at, inode);
      this.effects.push({ kind: 'names', changes: [{ path: at, node: inode }] });
    }
    const inode = this.#inodes.get(at);
    if (inode === undefined) throw new Error(`"${path}" is unknown`);
    return this.#record(file, inode);
  }

  exists(path: string): boolean {
    return this.#fs.exists(path);
  }

  list(directory: string): readonly string[] {
    return this.#fs.list(directory);
  }

  makeDirectory(path: string): void {
    const missing: string[] = [];
    for (let at = normal(path); at !== '' && !this.#fs.exists(at); at = directoryOf(at)) missing.unshift(at);
    this.#fs.makeDirectory(path);
    for (const directory of missing)
      this.effects.push({ kind: 'names', changes: [{ path: directory, node: 'directory' }] });
  }

  rename(from: string, to: string): void {
    this.#fs.rename(from, to);
    const [source, target] = [normal(from), normal(to)];
    const node = this.#inodes.get(source);
    if (node === undefined) throw new Error(`"${from}" is unknown`);
    this.#inodes.delete(source);
    this.#inodes.set(target, node);
    const changes = [
      { path: source, node: undefined },
      { path: target, node },
    ];
    this.effects.push({ kind: 'names', changes });
  }

  remove(path: string): void {
    this.#fs.remove(path);
    const at = normal(path);
    this.#inodes.delete(at);
    this.effects.push({ kind: 'names', changes: [{ path: at, node: undefined }] });
  }

  syncDirectory(path: string): void {
    this.#fs.syncDirectory(path);
    this.effects.push({ kind: 'syncDirectory', directory: normal(path) });
  }

  #record(file: File, inode: number): File {
    return {
      write: (bytes, offset) => {
        file.write(bytes, offset);
        this.effects.push({ kind: 'write', inode, offset, bytes: bytes.slice() });
      },
      truncate: (size) => {
        file.truncate(size);
        this.effects.push({ kind: 'truncate', inode, size });
      },
      sync: () => {
        file.sync();
        this.effects.push({ kind: 'sync', inode });
      },
      read: (offset, length, into) => file.read(offset, length, into),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}
