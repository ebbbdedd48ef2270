/** Data directories for the tools that read them without a node: small, and of both engines. */
import { utf8, writeUint64 } from '../../src/lib/bytes.ts';
import { RESTART, RESTART_BYTES, WRITE, WRITE_HEADER_BYTES } from '../../src/node/log-replay.ts';
import { PeerBook } from '../../src/node/peer-book.ts';
import { inspect } from '../../src/offline/inspect.ts';
import type { NodeReport } from '../../src/offline/report.ts';
import { type EntryKind, makeEntry } from '../../src/raft/entry.ts';
import { bootstrapConfig, encodeConfig, plainConfig } from '../../src/raft/membership.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import type { CheckpointStore } from '../../src/storage/checkpoint.ts';
import { DataDirectory } from '../../src/storage/data-directory.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { Wal } from '../../src/storage/wal.ts';
import { VersionWriter } from '../support/version-model.ts';

export const DIRECTORY = 'data/node-1';
const CONFIG = bootstrapConfig([1, 2, 3]);

/** A directory of node 1 with a log of ten entries in two segments, and a checkpoint of three keys at index 4. */
export function directoryOf(kind: 'memory' | 'lsm'): CrashFileSystem {
  const fs = new CrashFileSystem();
  fillDirectory(fs, DIRECTORY, kind);
  return fs;
}

/** {@link directoryOf} on any disk. */
export function fillDirectory(fs: FileSystem, path: string, kind: 'memory' | 'lsm'): void {
  DataDirectory.open({
    fs,
    path,
    cluster: 'test',
    nodeId: 1,
    engine: kind,
    owner: { pid: 1, startedAt: 1, token: 't' },
    isAlive: () => false,
    newIncarnation: () => 'first-life',
  }).release();
  PeerBook.open(fs, path, [1, 2, 3]).remember(2, 0, 'life-of-2');
  writeLog(fs, path);
  writeCheckpoint(openStore(fs, path, kind));
}

/** The store in a directory of {@link directoryOf}. */
export function openStore(fs: FileSystem, path: string, kind: 'memory' | 'lsm'): CheckpointStore {
  return kind === 'memory'
    ? new MemoryStore({ fs, directory: `${path}/snapshots` })
    : new LsmStore({ fs, directory: `${path}/lsm` });
}

function writeLog(fs: FileSystem, path: string): void {
  const { wal } = Wal.open({ fs, directory: `${path}/wal` });
  append(wal, { term: 1, vote: 1, commit: 0 }, 0, [1, 2, 3, 4, 5]);
  wal.sync();
  // A new leader replaces entry 5.
  append(wal, { term: 2, vote: 3, commit: 4 }, 4, [5, 6]);
  wal.sync();
  wal.roll();
  appendRestart(wal, { term: 2, vote: 3, commit: 4 });
  append(wal, { term: 2, vote: 3, commit: 6 }, 6, [7, 8, 9, 10]);
  wal.close();
}

interface Hard {
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
}

/** Appends entries as a node does. The second is a configuration, all others are commands. */
export function append(wal: Wal, hard: Hard, after: number, indexes: readonly number[]): void {
  const header = new Uint8Array(WRITE_HEADER_BYTES);
  const view = new DataView(header.buffer);
  writeHard(view, hard);
  header[24] = 1;
  writeUint64(view, 25, after);
  const entries = indexes.map((index) => {
    const kind: EntryKind = index === 2 ? 'config' : 'command';
    const payload = kind === 'config' ? encodeConfig(CONFIG) : utf8(`command ${index}`);
    return makeEntry({ term: hard.term, index, kind, payload }).encoded;
  });
  wal.append(WRITE, 0, [header, ...entries]);
}

function appendRestart(wal: Wal, hard: Hard): void {
  const bytes = new Uint8Array(RESTART_BYTES);
  writeHard(new DataView(bytes.buffer), hard);
  bytes[40] = 1;
  wal.append(RESTART, 0, [bytes]);
}

function writeHard(view: DataView, { term, vote, commit }: Hard): void {
  writeUint64(view, 0, term);
  writeUint64(view, 8, vote);
  writeUint64(view, 16, commit);
}

function writeCheckpoint(store: CheckpointStore): void {
  const versions = new VersionWriter([store.engine]);
  for (const key of ['apple', 'pear', '\xff']) {
    versions.next();
    versions.put(key, utf8(`value of ${key}`));
  }
  const meta = { index: 4, term: 1, config: plainConfig(CONFIG) };
  const writer = store.begin(meta, ['{"state":1}']);
  while (!writer.advance());
  store.close();
}

/** Every file below a directory, by its path. */
export function filesBelow(fs: FileSystem, directory: string): readonly string[] {
  return fs.list(directory).flatMap((name) => {
    const path = `${directory}/${name}`;
    return ['wal', 'snapshots', 'lsm'].includes(name) ? filesBelow(fs, path) : [path];
  });
}

/** All bytes of all files, to see whether anything changed. */
export function imageOf(fs: CrashFileSystem): ReadonlyMap<string, string> {
  return new Map(
    filesBelow(fs, DIRECTORY).map((path) => [path, Buffer.from(fs.peek(path)).toString('latin1')]),
  );
}

/** The report on {@link DIRECTORY}. */
export function reportOn(fs: FileSystem, verify: boolean): NodeReport {
  const work = inspect({ fs, path: DIRECTORY, verify });
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}
