/** Small helpers over the file-system port: whole files in, whole files durably out. */
import { textOf } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { FileSystem } from './fs.ts';

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
  const temporary = `${directory}/${name}${TEMPORARY_SUFFIX}`;
  if (fs.exists(temporary)) fs.remove(temporary);
  const file = fs.open(temporary, 'create');
  try {
    let offset = 0;
    for (const chunk of chunks) {
      file.write(chunk, offset);
      offset += chunk.length;
    }
    file.sync();
  } catch (error) {
    discard(fs, file, temporary);
    throw error;
  }
  file.close();
  fs.rename(temporary, `${directory}/${name}`);
  fs.syncDirectory(directory);
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
