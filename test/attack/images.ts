/** What a disk holds, as data: paths and bytes, and the simulated disk with exactly that. */
import { createHash } from 'node:crypto';
import { CrashFileSystem } from '../../src/sim/disk.ts';

/** All files and directories of a disk. Nobody changes the bytes. Paths have no leading or trailing slash. */
export interface Image {
  readonly directories: ReadonlySet<string>;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** `a/b` for `./a//b/`; empty for the root. */
export function normal(path: string): string {
  return path
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .join('/');
}

/** The directory of a path; empty for the root. */
export function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** A disk with these files, all durable. */
export function diskOf(image: Image): CrashFileSystem {
  const fs = new CrashFileSystem();
  // Parents sort before their children.
  for (const directory of [...image.directories].toSorted()) {
    fs.makeDirectory(directory);
    fs.syncDirectory(directoryOf(directory));
  }
  for (const [path, bytes] of image.files) fs.poke(path, bytes);
  return fs;
}

/** What reads of a disk show now. */
export function imageOf(fs: CrashFileSystem): Image {
  const directories = new Set<string>();
  const files = new Map<string, Uint8Array>();
  const walk = (directory: string): void => {
    for (const name of fs.list(directory)) {
      const path = directory === '' ? name : `${directory}/${name}`;
      const bytes = bytesAt(fs, path);
      if (bytes !== undefined) files.set(path, bytes);
      else {
        directories.add(path);
        walk(path);
      }
    }
  };
  walk('');
  return { directories, files };
}

function bytesAt(fs: CrashFileSystem, path: string): Uint8Array | undefined {
  try {
    return fs.peek(path);
  } catch {
    return undefined; // a directory
  }
}

const hashes: WeakMap<Uint8Array, string> = new WeakMap();

/** Equal images have equal hashes, and different ones different hashes. */
export function hashOf(image: Image): string {
  const whole = createHash('sha1');
  for (const directory of [...image.directories].toSorted()) whole.update(`${directory}/\n`);
  for (const path of [...image.files.keys()].toSorted()) {
    const bytes = image.files.get(path) ?? new Uint8Array(0);
    let hash = hashes.get(bytes);
    if (hash === undefined) {
      hash = createHash('sha1').update(bytes).digest('base64');
      hashes.set(bytes, hash);
    }
    whole.update(`${path}\n${hash}`);
  }
  return whole.digest('base64');
}
