/** Directories that do not outlive the process, however it ends: only a kill or a power cut leaves one behind. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A thread that still runs may make a file while its directory goes. */
const RETRIES_MAX = 3;

const directories: Set<string> = new Set();

/** Makes a directory, which is removed at the exit of the process unless that is done before. */
export function makeTemporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'oxide-kv-'));
  if (directories.size === 0) process.on('exit', removeAll);
  directories.add(path);
  return path;
}

/** Removes what {@link makeTemporaryDirectory} has made. */
export function removeTemporaryDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
  directories.delete(path);
  if (directories.size === 0) process.off('exit', removeAll);
}

function removeAll(): void {
  for (const path of directories) {
    try {
      rmSync(path, { recursive: true, force: true, maxRetries: RETRIES_MAX });
    } catch {
      // The process ends for another reason, and that is the one to report.
    }
  }
}
