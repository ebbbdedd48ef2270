/** Files of about 4 KiB, one of each kind that the storage writes, for {@link attackByFlips}. */
import { utf8 } from '../../src/lib/bytes.ts';
import { PeerBook } from '../../src/node/peer-book.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import type { CheckpointStore } from '../../src/storage/checkpoint.ts';
import { DataDirectory } from '../../src/storage/data-directory.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { Wal } from '../../src/storage/wal.ts';
import type { FlipTarget } from './flip-attack.ts';
import { imageOf } from './images.ts';
import { exampleNode } from './node-scenarios.ts';
import { contentsOf, scribble } from './versions.ts';

const SIZE = 4096;
const DIRECTORY = 'data';

function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(DIRECTORY);
  return fs;
}

function recoverLog(fs: FileSystem): string {
  const { wal, records } = Wal.open({ fs, directory: DIRECTORY });
  wal.close();
  return records.map(({ payload }) => Buffer.from(payload).toString()).join();
}

/** A log of about 4 KiB, each record acknowledged before the next, but for the last two; `isFinished`: a segment follows. */
function log(isFinished: boolean): FlipTarget {
  const fs = newDisk();
  const { wal } = Wal.open({ fs, directory: DIRECTORY });
  const texts: string[] = [];
  const put = (bytes: number): void => {
    const text = `${texts.length}`.padEnd(bytes, 'r');
    texts.push(text);
    wal.append(1, 0, [utf8(text)]);
  };
  while (wal.bytes < SIZE - 300) {
    put(10 + ((texts.length * 37) % 150));
    wal.sync();
  }
  put(40);
  put(SIZE - wal.bytes - 15);
  if (isFinished) {
    wal.roll();
    put(20);
  }
  wal.close();
  const cuts = texts.map((_, i) => texts.slice(0, i).join());
  return {
    name: isFinished ? 'log segment, finished' : 'log segment, the last',
    image: imageOf(fs),
    path: `${DIRECTORY}/000001.wal`,
    recover: recoverLog,
    afterFlip: isFinished ? [] : cuts.slice(-2),
    // Nothing says how long the last segment was.
    afterCut: isFinished ? [] : cuts,
  };
}

function save(store: CheckpointStore, index: number, state: readonly string[]): void {
  const writer = store.begin({ index, term: 1 }, state);
  while (!writer.advance());
}

function recoverWith(open: (fs: FileSystem) => CheckpointStore): (fs: FileSystem) => string {
  return (fs) => {
    const store = open(fs);
    try {
      return contentsOf(store);
    } finally {
      store.close();
    }
  };
}

function openMemory(fs: FileSystem): CheckpointStore {
  return new MemoryStore({ fs, directory: DIRECTORY });
}

function openTree(fs: FileSystem): CheckpointStore {
  const options = { ...LSM_OPTIONS, blockBytes: 700 };
  return new LsmStore({ fs, directory: DIRECTORY, options });
}

function stateLines(): readonly string[] {
  return ['0', ...Array.from({ length: 72 }, (_, i) => `{"session":${i},"note":"é${'x'.repeat(30)}"}`)];
}

function snapshot(): FlipTarget {
  const fs = newDisk();
  const store = openMemory(fs);
  scribble(store.engine, 1, 47);
  save(store, 1, ['0', 'state']);
  store.close();
  const path = `${DIRECTORY}/snapshot-00000000000000000001.jsonl`;
  const recover = recoverWith(openMemory);
  return { name: 'snapshot', image: imageOf(fs), path, recover, afterFlip: [], afterCut: [] };
}

/** One file of a tree, by the beginning and the end of its name. */
function treeFile(name: string, pattern: RegExp, rounds: number, versions: number): FlipTarget {
  const fs = newDisk();
  const store = openTree(fs);
  // Nothing says how many edits a manifest had. What it named before is gone, but for what it began with: nothing.
  const begun = contentsOf(store);
  for (let round = 1; round <= rounds; round++) {
    scribble(store.engine, round, versions);
    save(store, round, round === rounds ? stateLines() : ['0']);
  }
  store.close();
  const file = fs.list(DIRECTORY).find((candidate) => pattern.test(candidate));
  return {
    name,
    image: imageOf(fs),
    path: `${DIRECTORY}/${file}`,
    recover: recoverWith(openTree),
    afterFlip: [],
    afterCut: name === 'manifest' ? [begun] : [],
  };
}

function openDirectory(fs: FileSystem, cluster: string): DataDirectory {
  return DataDirectory.open({
    fs,
    path: DIRECTORY,
    cluster,
    nodeId: 1,
    owner: { pid: 1, startedAt: 1, token: 'us' },
    isAlive: () => false,
    newIncarnation: () => 'incarnation',
  });
}

function identity(): FlipTarget {
  const fs = new CrashFileSystem();
  const cluster = 'c'.repeat(SIZE - 84);
  openDirectory(fs, cluster).release();
  const recover = (disk: FileSystem): string => {
    const directory = openDirectory(disk, cluster);
    const found = `${directory.cluster} ${directory.incarnation} ${directory.fresh}`;
    directory.release();
    return found;
  };
  const path = `${DIRECTORY}/node.json`;
  return { name: 'node.json', image: imageOf(fs), path, recover, afterFlip: [], afterCut: [] };
}

function peers(): FlipTarget {
  const fs = newDisk();
  const ids = Array.from({ length: 71 }, (_, i) => i + 1);
  const book = PeerBook.open(fs, DIRECTORY, [1, 2, 3]);
  for (const id of ids) book.remember(id, id > 3 ? id : 0, `incarnation ${id}`.padEnd(20, '.'));
  const recover = (disk: FileSystem): string => {
    const found = PeerBook.open(disk, DIRECTORY, [9]);
    const pins = ids.map((id) => found.incarnationOf(id, id > 3 ? id : 0));
    return `${found.founders.join()} ${pins.join()}`;
  };
  const path = `${DIRECTORY}/peers.json`;
  return { name: 'peers.json', image: imageOf(fs), path, recover, afterFlip: [], afterCut: [] };
}

/** The log of a whole node: terms, votes and entries. */
function nodeLog(): FlipTarget {
  const { fs, path, recover, contents } = exampleNode(SIZE);
  return {
    name: 'log of a node',
    image: imageOf(fs),
    path,
    recover,
    // Nothing shows yet that the last batch was durable.
    afterFlip: contents.slice(-2),
    afterCut: contents,
  };
}

/** All of them, made anew. */
export function flipTargets(): readonly FlipTarget[] {
  return [
    log(false),
    log(true),
    nodeLog(),
    snapshot(),
    treeFile('table', /\.sst$/, 1, 170),
    treeFile('checkpoint state', /\.state$/, 1, 10),
    treeFile('manifest', /^MANIFEST-/, 13, 10),
    treeFile('CURRENT', /^CURRENT$/, 2, 10),
    identity(),
    peers(),
  ];
}
