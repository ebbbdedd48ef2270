/** Collects what is wrong with a data directory, so that one damage does not hide the next. */
import { CorruptionError, StorageError } from '../lib/errors.ts';
import type { Finding } from './report.ts';

export class Findings {
  readonly list: Finding[] = [];

  /** @param file below the data directory */
  add(file: string, kind: Finding['kind'], message: string): void {
    this.list.push({ file, kind, message });
  }

  /** What `read` gives; undefined when it fails for damage or for the disk, which is written down. Bugs pass. */
  attempt<T>(file: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.fail(file, error);
      return undefined;
    }
  }

  /** Writes down a failure of the storage; throws anything else again. */
  fail(file: string, error: unknown): void {
    if (error instanceof CorruptionError) this.add(file, 'damaged', error.message);
    else if (error instanceof StorageError) this.add(file, 'unreadable', error.message);
    else throw error;
  }
}
