/**
 * A node that neglects one duty at a time: a wrong twin for each duty of node/duties.ts, most of them bugs that real systems
 * had. Like the broken rules they are for lessons and for proving that the simulator finds them.
 */
import type { LeaderRequest } from '../net/protocol.ts';
import { DUTIES, type Duties } from '../node/duties.ts';
import type { File, FileSystem } from '../storage/fs.ts';
import { scanSegment, segmentNumber } from '../storage/segment.ts';

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
    'snapshotState',
    'The session table is left out of the snapshot, so that whoever starts from it knows no retry and disagrees with the others.',
    (lines) => lines.filter((line) => !line.startsWith('{"session"')),
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
    (fs) => forgetful(fs, (path) => path.includes('snapshots') || path.includes('/lsm/')),
  ),
  broken(
    'forgets-the-directory',
    'fileSystem',
    'A new file is synced, its name is not, so that a power cut takes the file away.',
    (fs) => nameless(fs),
  ),
  // oxide-kv (Rust), restore_wal_log, and NuRaft #185: reading stops at the first bad record, and writing goes on there.
  broken(
    'cuts-at-damage',
    'fileSystem',
    'A damaged record is taken for the end of the log, and what was acknowledged behind it is gone.',
    (fs) => credulous(fs),
  ),
  // oxide-kv (Rust), node.rs:1896: the cut is in memory, and the file is only ever appended to.
  broken(
    'cuts-only-in-memory',
    'endAfterReplay',
    'Entries that contradicted a leader and were dropped are back after a restart.',
    (written, before) => Math.max(written, before),
  ),
  // openraft's FAQ and etcd both warn of it: a node with an old name and no memory is counted as before.
  broken(
    'welcomes-the-wiped',
    'isSameDirectory',
    'A member that lost its data directory votes on as if it remembered what it promised.',
    () => true,
  ),
  // ra #145, curvine #676: no numbers, or numbers that nobody keeps.
  broken(
    'repeats-retries',
    'request',
    'The number of a command is left out of the log, so that one that is sent again happens again.',
    (asked) => withoutSession(asked),
  ),
];

function broken<K extends keyof Duties>(name: string, duty: K, what: string, wrong: Duties[K]): BrokenDuty {
  return { name, duty, what, duties: { ...DUTIES, [duty]: wrong } };
}

function withoutSession(asked: LeaderRequest): LeaderRequest {
  if (!('session' in asked)) return asked;
  const { session: _, ...rest } = asked;
  return rest;
}

/** A disk on which a segment of the log ends where its first bad record begins. */
function credulous(fs: FileSystem): FileSystem {
  return {
    ...passing(fs),
    open: (path, mode) => {
      const number = segmentNumber(path.slice(path.lastIndexOf('/') + 1));
      if (number !== undefined && mode === 'read') cutAtDamage(fs, path, number);
      return fs.open(path, mode);
    },
  };
}

function cutAtDamage(fs: FileSystem, path: string, number: number): void {
  const file = fs.open(path, 'readWrite');
  try {
    const { end } = scanSegment(file.read(0, file.size()), number);
    if (end >= file.size()) return;
    file.truncate(end);
    file.sync();
  } finally {
    file.close();
  }
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
