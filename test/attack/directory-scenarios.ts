/** Scenarios of the data directory and of the small files in it. */
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import { PeerBook } from '../../src/node/peer-book.ts';
import { DataDirectory, readIdentity } from '../../src/storage/data-directory.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { type Scenario, type Story, Violation } from './story.ts';

const PATH = 'srv/node';

function open(fs: FileSystem, incarnation = 'of a restart'): DataDirectory {
  return DataDirectory.open({
    fs,
    path: PATH,
    cluster: 'attacked',
    nodeId: 3,
    owner: { pid: 10, startedAt: 1, token: 'us' },
    isAlive: () => false,
    newIncarnation: () => incarnation,
  });
}

/** Nothing but what belongs there, and at most one unfinished file of a name, which the next writing replaces. */
function checkNames(fs: FileSystem): void {
  const allowed = /^(node\.json|peers\.json(\.tmp)?|node\.json\.tmp|wal|snapshots)$/;
  const other = fs.list(PATH).find((name) => !allowed.test(name));
  if (other !== undefined) throw new Violation(`"${other}" is left over`);
}

/** A restart makes the directory if there is none: that it did is part of what it found. */
function recoverDirectory(fs: FileSystem): string {
  const known = fs.exists(PATH) ? readIdentity(fs, PATH)?.incarnation : undefined;
  const directory = open(fs);
  const { incarnation, fresh } = directory;
  if (fresh !== (known === undefined)) throw new Violation('a restart does not know what is new');
  directory.release();
  checkNames(fs);
  return incarnation;
}

/** The book beside its directory. */
function recoverBook(fs: FileSystem): string {
  const directory = open(fs);
  const book = PeerBook.open(fs, PATH, [1, 2, 3]);
  directory.release();
  checkNames(fs);
  return contentsOf(book);
}

function contentsOf(book: PeerBook): string {
  const pins = [1, 2, 3, 4].map((id) => book.incarnationOf(id, id === 4 ? 17 : 0) ?? '-');
  return `${book.founders.join()} ${pins.join()}`;
}

/** Locks of processes that are gone, and what a creation left that was cut off. */
function abandoned(fs: CrashFileSystem): void {
  fs.makeDirectory(PATH);
  fs.poke(`${PATH}/LOCK.7.1.them`, new Uint8Array(0));
  fs.poke(`${PATH}/node.json.tmp`, new Uint8Array(30));
}

function created(fs: CrashFileSystem): void {
  open(fs).release();
}

/** Once the opening has returned, the directory stays the one that it is. */
function create(fs: FileSystem, story: Story): void {
  story.offer('of the first start');
  story.step(() => {
    const directory = open(fs, 'of the first start');
    story.settle();
    directory.release();
  });
}

export const DIRECTORY_SCENARIOS: readonly Scenario[] = [
  {
    name: 'directory: creation',
    setUp: () => {},
    recover: recoverDirectory,
    run: create,
    isRunOnce: true,
  },
  {
    name: 'directory: creation among leftovers',
    setUp: abandoned,
    recover: recoverDirectory,
    run: create,
    isRunOnce: true,
  },
  {
    name: 'directory: peers.json replaced',
    setUp: (fs) => {
      created(fs);
      PeerBook.open(fs, PATH, [1, 2, 3]);
    },
    recover: recoverBook,
    isRunOnce: true,
    run: (fs, story) => {
      const directory = open(fs);
      try {
        const book = PeerBook.open(fs, PATH, [1, 2, 3]);
        const pins = [
          [1, 0, 'first'],
          [2, 0, 'second'.padEnd(700, '.')],
          [4, 17, 'fourth'],
        ] as const;
        let known = ['-', '-', '-', '-'];
        for (const [id, since, incarnation] of pins) {
          known = known.with(id - 1, incarnation);
          story.offer(`1,2,3 ${known.join()}`);
          story.step(() => book.remember(id, since, incarnation));
          story.settle();
          if (contentsOf(book) !== `1,2,3 ${known.join()}`) throw new Violation('the book forgets');
        }
      } finally {
        directory.release();
      }
    },
  },
];
