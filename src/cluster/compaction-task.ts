/** A merge of tables, as a thread of the pool carries it out. */
import { StorageError } from '../lib/errors.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import type { File, FileSystem } from '../storage/fs.ts';
import { compactNow } from '../storage/lsm/compaction.ts';
import type { CompactionResult } from '../storage/lsm/table-format.ts';
import { type CompactionTask, RUNNING, WAITING } from './compaction-state.ts';

const GONE = 'Cannot merge tables: the node that asked for it is gone';

/**
 * Merges. When the node that asked is gone, nothing may be done in its directory any more: its next life may use it. Then
 * the merge ends with its next call to the disk, as if that had failed.
 */
export function runCompactionTask({ job, state }: CompactionTask): CompactionResult {
  if (Atomics.compareExchange(state, 0, WAITING, RUNNING) !== WAITING)
    return { kind: 'failed', isFull: false, message: GONE };
  return compactNow(whileRunning(new NodeFileSystem(), state), job);
}

function whileRunning(fs: FileSystem, state: Int32Array): FileSystem {
  const check = (): void => {
    if (Atomics.load(state, 0) !== RUNNING) throw new StorageError(GONE);
  };
  const guarded =
    <A extends readonly unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      check();
      return call(...args);
    };
  return {
    open: guarded((path, mode) => guardedFile(fs.open(path, mode), guarded)),
    exists: guarded((path) => fs.exists(path)),
    list: guarded((directory) => fs.list(directory)),
    makeDirectory: guarded((path) => fs.makeDirectory(path)),
    rename: guarded((from, to) => fs.rename(from, to)),
    remove: guarded((path) => fs.remove(path)),
    syncDirectory: guarded((path) => fs.syncDirectory(path)),
  };
}

type Guard = <A extends readonly unknown[], R>(call: (...args: A) => R) => (...args: A) => R;

function guardedFile(file: File, guarded: Guard): File {
  return {
    write: guarded((bytes, offset) => file.write(bytes, offset)),
    read: guarded((offset, length) => file.read(offset, length)),
    size: guarded(() => file.size()),
    truncate: guarded((size) => file.truncate(size)),
    sync: guarded(() => file.sync()),
    // What is open is closed in any case.
    close: () => file.close(),
  };
}
