/**
 * A node that neglects one duty at a time: a wrong twin for each duty of node/duties.ts, most of them bugs that real systems
 * had. Like the broken rules they are for lessons and for proving that the simulator finds them.
 */
import { DUTIES, type Duties } from '../node/duties.ts';
import type { File, FileSystem } from '../storage/fs.ts';

export interface BrokenDuty {
  /** Unique among duties and rules, kebab-case. */
  readonly name: string;
  readonly duty: keyof Duties;
  /** What is wrong, in one sentence. */
  readonly what: string;
  readonly duties: Duties;
}

/** At least one wrong twin of every duty. Production never sees one. */
export const BROKEN_DUTIES: readonly BrokenDuty[] = [
  // ra #145, openraft #2096: retries applied twice behind a snapshot.
  broken(
    'snapshot-without-sessions',
    'snapshotLines',
    'The session table is left out of the snapshot, so that a retried command happens twice.',
    (lines) => withoutSessions(lines),
  ),
  // oxide-kv (Rust), node.rs:1897: the error of the write-ahead log is ignored and success is answered.
  broken(
    'ignores-a-failed-sync',
    'stopsAfter',
    'A node goes on after a failed write or sync, as if the disk had kept what it was given.',
    () => false,
  ),
  // All four Raft packages of npm; etcd has it as a flag, --unsafe-no-fsync.
  broken(
    'never-syncs',
    'fileSystem',
    'A node takes what it has written for durable without asking the disk.',
    (fs) => forgetful(fs, () => true),
  ),
  // oxide-kv (Rust), storage.rs:113: the snapshot is written and renamed, and the log is cut.
  broken(
    'snapshot-without-sync',
    'fileSystem',
    'A snapshot gets its name before the disk has its contents.',
    (fs) => forgetful(fs, (path) => path.includes('snapshots')),
  ),
  broken(
    'forgets-the-directory',
    'fileSystem',
    'A new file is synced, its name is not, so that a power cut takes the file away.',
    (fs) => nameless(fs),
  ),
];

function broken<K extends keyof Duties>(name: string, duty: K, what: string, wrong: Duties[K]): BrokenDuty {
  return { name, duty, what, duties: { ...DUTIES, [duty]: wrong } };
}

function* withoutSessions(lines: Iterable<string>): Generator<string> {
  for (const line of lines) if (!line.startsWith('{"session"')) yield line;
}

/** A disk that is never asked to keep the files that `isForgotten` names. */
function forgetful(fs: FileSystem, isForgotten: (path: string) => boolean): FileSystem {
  return {
    ...passing(fs),
    open: (path, mode) => {
      const file = fs.open(path, mode);
      return isForgotten(path) ? unsynced(file) : file;
    },
  };
}

/** A disk that is never asked to keep a name. */
function nameless(fs: FileSystem): FileSystem {
  return { ...passing(fs), syncDirectory: () => undefined };
}

function passing(fs: FileSystem): FileSystem {
  return {
    open: (path, mode) => fs.open(path, mode),
    exists: (path) => fs.exists(path),
    list: (directory) => fs.list(directory),
    makeDirectory: (path) => fs.makeDirectory(path),
    rename: (from, to) => fs.rename(from, to),
    remove: (path) => fs.remove(path),
    syncDirectory: (path) => fs.syncDirectory(path),
  };
}

function unsynced(file: File): File {
  return {
    write: (bytes, offset) => file.write(bytes, offset),
    read: (offset, length) => file.read(offset, length),
    size: () => file.size(),
    truncate: (size) => file.truncate(size),
    sync: () => undefined,
    close: () => file.close(),
  };
}
