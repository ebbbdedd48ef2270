/** Small helpers over the file-system port: whole files in, whole files durably out. */
import { textOf } from '../lib/bytes.ts';
import { CorruptionError, StorageError } from '../lib/errors.ts';
import type { File, FileSystem } from './fs.ts';

/** Ends the name of a file that is not finished. It is never referenced: whoever finds one may remove it. */
export const TEMPORARY_SUFFIX = '.tmp';

/** All bytes of a file, in memory of their own. */
export function readFile(fs: FileSystem, path: string): Uint8Array {
  const file = fs.open(path, 'read');
  try {
    return file.read(0, file.size());
  } finally {
    file.close();
  }
}

/** How many bytes a file has. */
export function fileBytes(fs: FileSystem, path: string): number {
  const file = fs.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

/** All of a small UTF-8 file. Throws {@link CorruptionError} when it is not UTF-8. */
export function readTextFile(fs: FileSystem, path: string): string {
  const text = textOf(readFile(fs, path));
  if (text === undefined) throw new CorruptionError(`Cannot read "${path}": it is not UTF-8 text`);
  return text;
}

/**
 * Creates or replaces `directory/name` so that a crash at any moment leaves the old file or the whole new one:
 * temporary file, sync, rename, directory sync. Durable on return. `chunks` are written as they come.
 */
export function replaceFile(
  fs: FileSystem,
  directory: string,
  name: string,
  chunks: Iterable<Uint8Array>,
): void {
  const replacement = new FileReplacement(fs, directory, name);
  for (const chunk of chunks) replacement.write(chunk);
  replacement.commit();
}

/** Bytes written to a replacement between two syncs, so that the last one has little left to wait for. */
const SYNC_EVERY_BYTES = 1024 * 1024;

/** {@link replaceFile} in steps, for a file that is too large to be written in one go. A failed step gives up the whole. */
export class FileReplacement {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #name: string;
  readonly #temporary: string;
  readonly #file: File;
  #offset = 0;
  #syncedOffset = 0;

  constructor(fs: FileSystem, directory: string, name: string) {
    this.#fs = fs;
    this.#directory = directory;
    this.#name = name;
    this.#temporary = `${directory}/${name}${TEMPORARY_SUFFIX}`;
    if (fs.exists(this.#temporary)) fs.remove(this.#temporary);
    this.#file = fs.open(this.#temporary, 'create');
  }

  write(chunk: Uint8Array): void {
    this.#orDiscard(() => {
      this.#file.write(chunk, this.#offset);
      this.#offset += chunk.length;
      if (this.#offset - this.#syncedOffset < SYNC_EVERY_BYTES) return;
      this.#file.sync();
      this.#syncedOffset = this.#offset;
    });
  }

  /** Puts the file in its place. Durable on return. */
  commit(): void {
    this.#orDiscard(() => this.#file.sync());
    this.#file.close();
    this.#fs.rename(this.#temporary, `${this.#directory}/${this.#name}`);
    this.#fs.syncDirectory(this.#directory);
  }

  /** Gives up: the old file, if any, stays. */
  abort(): void {
    discard(this.#fs, this.#file, this.#temporary);
  }

  #orDiscard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.abort();
      throw error;
    }
  }
}

/** Removes a file that nothing refers to any more, if it is there. When that fails, whoever opens the directory next does it. */
export function removeQuietly(fs: FileSystem, path: string): void {
  try {
    if (fs.exists(path)) fs.remove(path);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

/** Gives back the space of an unfinished file. The error that brought us here is the one to report. */
function discard(fs: FileSystem, file: { close(): void }, path: string): void {
  try {
    file.close();
    fs.remove(path);
  } catch {
    // Whoever opens the directory next removes the leftover.
  }
}

/** The directory that holds `path`. */
export function parentOf(path: string): string {
  const trimmed = path.replace(/\/+$/, '');
  const slash = trimmed.lastIndexOf('/');
  if (slash < 0) return trimmed === '' && path !== '' ? '/' : '.';
  return slash === 0 ? '/' : trimmed.slice(0, slash);
}
