/**
 * The synchronous file-system port, and its implementation on the real one. A node's thread blocks in its own sync;
 * meanwhile its inbox fills, and the next turn commits all of it with one sync. Fault decorators and the simulator's
 * disk implement the same port. No other file of the storage imports `node:fs`.
 */
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { StorageError, messageOf } from '../lib/errors.ts';

/** An open file. Every method throws {@link StorageError} when the operating system refuses. */
export interface File {
  /** Writes all of `bytes` at `offset`, looping over short writes. */
  write(bytes: Uint8Array, offset: number): void;
  /**
   * Reads up to `length` bytes at `offset`; shorter only at the end of the file.
   *
   * @param into memory that may be used for the result, which is then a view of it, instead of new memory
   */
  read(offset: number, length: number, into?: Uint8Array): Uint8Array;
  size(): number;
  truncate(size: number): void;
  /** Makes data and size durable (fdatasync). After a failure nothing written through this file may be believed. */
  sync(): void;
  close(): void;
}

/** Names and files below any directory. Paths are joined by the caller with `/`. */
export interface FileSystem {
  /** `create`: must not exist yet; `readWrite`: must exist; `read`: must exist. Mode 0600. Links are not followed. */
  open(path: string, mode: 'create' | 'readWrite' | 'read'): File;
  exists(path: string): boolean;
  /** Names in a directory, sorted. */
  list(directory: string): readonly string[];
  /** Creates a directory and its parents, mode 0700. */
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): void;
}

/* A symbolic link in place of a data file could make the node write anywhere: refused. O_NONBLOCK keeps the open of
 * a named pipe from hanging; on a regular file it does nothing. Windows knows neither flag. */
const SAFELY = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
const FLAGS = {
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | SAFELY,
  readWrite: constants.O_RDWR | SAFELY,
  read: constants.O_RDONLY | SAFELY,
} as const;

/** The operating system's files. Files are made with mode 0600 and directories with 0700: the data is the owner's alone. */
export class NodeFileSystem implements FileSystem {
  open(path: string, mode: 'create' | 'readWrite' | 'read'): File {
    const verb = mode === 'create' ? 'create' : 'open';
    return attempt(verb, path, () => {
      const descriptor = openSync(path, FLAGS[mode], 0o600);
      if (!fstatSync(descriptor).isFile()) {
        closeSync(descriptor);
        throw new Error('it is not a regular file');
      }
      return new NodeFile(path, descriptor);
    });
  }

  exists(path: string): boolean {
    return attempt('look up', path, () => lstatSync(path, { throwIfNoEntry: false }) !== undefined);
  }

  list(directory: string): readonly string[] {
    // oxlint-disable-next-line no-array-sort -- the array is this call's own
    return attempt('list', directory, () => readdirSync(directory).sort());
  }

  makeDirectory(path: string): void {
    attempt('create directory', path, () => makeWithParents(path));
  }

  rename(from: string, to: string): void {
    attempt(`rename "${from}" to`, to, () => renameSync(from, to));
  }

  remove(path: string): void {
    attempt('remove', path, () => unlinkSync(path));
  }

  syncDirectory(path: string): void {
    attempt('sync directory', path, () => {
      try {
        const descriptor = openSync(path, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0));
        try {
          fsyncSync(descriptor);
        } finally {
          closeSync(descriptor);
        }
      } catch (error) {
        // Windows has no way to sync a directory handle; its file systems journal names by themselves.
        const code = codeOf(error);
        if (process.platform === 'win32' && (code === 'EPERM' || code === 'EISDIR')) return;
        throw error;
      }
    });
  }
}

class NodeFile implements File {
  readonly #path: string;
  /** Undefined once closed: the number may already belong to another file. */
  #descriptor: number | undefined;

  constructor(path: string, descriptor: number) {
    this.#path = path;
    this.#descriptor = descriptor;
  }

  write(bytes: Uint8Array, offset: number): void {
    attempt('write', this.#path, () => {
      const descriptor = this.#open();
      let done = 0;
      while (done < bytes.length) {
        const count = writeSync(descriptor, bytes, done, bytes.length - done, offset + done);
        if (count === 0) throw new Error(`only ${done} of ${bytes.length} bytes were taken`);
        done += count;
      }
    });
  }

  read(offset: number, length: number, into?: Uint8Array): Uint8Array {
    return attempt('read', this.#path, () => {
      const descriptor = this.#open();
      const bytes = into === undefined || into.length < length ? new Uint8Array(length) : into;
      let done = 0;
      while (done < length) {
        const count = readSync(descriptor, bytes, done, length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      return done === bytes.length ? bytes : bytes.subarray(0, done);
    });
  }

  size(): number {
    return attempt('measure', this.#path, () => fstatSync(this.#open()).size);
  }

  truncate(size: number): void {
    attempt('truncate', this.#path, () => ftruncateSync(this.#open(), size));
  }

  sync(): void {
    attempt('sync', this.#path, () => fdatasyncSync(this.#open()));
  }

  close(): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return;
    this.#descriptor = undefined;
    attempt('close', this.#path, () => closeSync(descriptor));
  }

  #open(): number {
    if (this.#descriptor === undefined) throw new Error('the file is closed');
    return this.#descriptor;
  }
}

/** Runs one call; what it throws becomes a {@link StorageError} that names the action and the path. */
function attempt<T>(action: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    // Node appends the call and the path ("ENOENT: no such file or directory, open '…'"), both already said.
    const reason = messageOf(error).replace(/^(E[A-Z0-9]+: [^,]+),.*$/s, '$1');
    throw new StorageError(`Cannot ${action} "${path}": ${reason}`, { cause: error });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** Not mkdir's own `recursive`: on a file system that answers ENOENT whatever exists, such as /proc, it never returns. */
function makeWithParents(path: string): void {
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) mkdirSync(path);
    return;
  }
  const parent = dirname(path);
  if (parent !== path && !existsSync(parent)) makeWithParents(parent);
  mkdirSync(path, { mode: 0o700 });
}
