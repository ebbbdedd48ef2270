/** Scenarios of both checkpoint stores. Their contents are the newest checkpoint and all versions. */
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { StorageError } from '../../src/lib/errors.ts';
import type { Checkpoint, CheckpointStore, IncomingCheckpoint } from '../../src/storage/checkpoint.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import type { SnapshotIdentity } from '../../src/storage/incoming-snapshot.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import { LSM_OPTIONS, type LsmOptions } from '../../src/storage/lsm/table-format.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { tidied } from '../support/tidied.ts';
import { type Scenario, Story, Violation } from './story.ts';
import { contentsOf, scribble } from './versions.ts';

const DIRECTORY = 'data/checkpoints';
const STEPS_MAX = 10_000;

/** Little data makes several tables on several levels. */
export const TINY: LsmOptions = {
  ...LSM_OPTIONS,
  memtableBytesMax: 2000,
  tableBytesMax: 900,
  blockBytes: 512,
  cacheBytesMax: 4096,
  level0Tables: 2,
  level0TablesMax: 6,
  level1Bytes: 1500,
  levelFactor: 3,
  openTablesMax: 8,
};

/** A store of one kind. */
interface Kind {
  readonly name: string;
  readonly open: (fs: FileSystem) => CheckpointStore;
  /** What should not be there right after an opening. */
  readonly leftover: (store: CheckpointStore, names: readonly string[]) => string | undefined;
}

function count(names: readonly string[], suffix: RegExp): number {
  return names.filter((name) => suffix.test(name)).length;
}

const MEMORY: Kind = {
  name: 'memory',
  open: (fs) => new MemoryStore({ fs, directory: DIRECTORY }),
  leftover: (_store, names) => {
    // Two are kept. A removal becomes durable with the next one that is saved.
    if (count(names, /^snapshot-/) > 4) return 'more than four snapshots';
    if (count(names, /^incoming-/) > 2) return 'more than two snapshots that arrive';
    const other = names.find((name) => !/^(snapshot|incoming)-/.test(name));
    return other === undefined ? undefined : `"${other}"`;
  },
};

function tree(manifestEditBytesMax: number): Kind {
  return {
    name: 'tree',
    open: (fs) => tidied(new LsmStore({ fs, directory: DIRECTORY, options: TINY, manifestEditBytesMax })),
    leftover: (store, names) => {
      const { stats } = store.engine;
      let tables = 0;
      if (stats.kind === 'lsm') for (const level of stats.levels) tables += level.tables;
      const states = store.newest === undefined ? 0 : 1;
      if (count(names, /^MANIFEST-/) !== 1) return 'not one manifest';
      if (count(names, /\.tmp$/) > 0) return 'a temporary file';
      if (count(names, /^incoming-/) > 2) return 'more than two checkpoints that arrive';
      if (count(names, /^incoming-/) > 0) return undefined;
      const extra = count(names, /\.sst$/) - tables + count(names, /\.state$/) - states;
      return extra === 0 ? undefined : `${extra} files`;
    },
  };
}

const TREE = tree(100_000);
const TREE_REWRITING = tree(700);

function makeDirectory(fs: FileSystem): void {
  fs.makeDirectory(DIRECTORY);
}

function recoverWith(kind: Kind): (fs: FileSystem) => string {
  return (fs) => {
    const store = kind.open(fs);
    try {
      const leftover = kind.leftover(store, fs.list(DIRECTORY));
      if (leftover !== undefined)
        throw new Violation(`${leftover} left over in ${fs.list(DIRECTORY).join(' ')}`);
      return contentsOf(store);
    } finally {
      store.close();
    }
  };
}

function bounded(isDone: () => boolean): void {
  for (let steps = 0; !isDone(); steps++) if (steps > STEPS_MAX) throw new Violation('it never ends');
}

/** Writes a checkpoint, and tries again as a node does: with what the engine holds then. */
function save(store: CheckpointStore, story: Story, checkpoint: Checkpoint): void {
  story.offer(contentsOf(store, checkpoint));
  story.step(() => {
    const writer = store.begin(checkpoint.meta, checkpoint.state);
    try {
      bounded(() => writer.advance());
    } catch (error) {
      writer.abort();
      throw error;
    }
  });
  story.settle();
}

function workOut(store: CheckpointStore, story: Story): void {
  story.step(() => bounded(() => !store.engine.work()));
}

function checkpointAt(index: number, horizon = 0): Checkpoint {
  return { meta: { index, term: 1 }, state: [String(horizon), `state of ${index}`] };
}

/** Another store of this kind with a checkpoint to send. */
interface Sender {
  readonly identity: SnapshotIdentity;
  readonly parts: readonly (readonly [number, Uint8Array])[];
  /** What a store holds that has installed it. */
  readonly contents: string;
}

function senderOf(kind: Kind): Sender {
  const fs = new CrashFileSystem();
  makeDirectory(fs);
  const store = kind.open(fs);
  const story = new Story('');
  for (const round of [7, 8, 9]) {
    scribble(store.engine, round);
    save(store, story, checkpointAt(round));
    workOut(store, story);
  }
  const source = store.openSource();
  bounded(() => source.check());
  const parts: (readonly [number, Uint8Array])[] = [];
  // Parts smaller than a node sends, so that there are some.
  for (let offset = 0; offset < source.totalBytes;) {
    const bytes = source.read(offset).slice(0, 1000);
    parts.push([offset, bytes]);
    offset += bytes.length;
  }
  const identity = { index: 9, term: 1, totalBytes: source.totalBytes, crc32: source.crc32 };
  source.close();
  return { identity, parts, contents: contentsOf(store) };
}

function receive(
  store: CheckpointStore,
  sender: Sender,
  then: (incoming: IncomingCheckpoint) => void,
  partsMax = Infinity,
): void {
  const incoming = store.receive(sender.identity, []);
  try {
    for (const [offset, bytes] of sender.parts.slice(0, partsMax)) incoming.write(offset, bytes);
    then(incoming);
  } finally {
    incoming.close();
  }
}

/** Receives what is missing, and takes it over; unless there is as much already. */
function install(store: CheckpointStore, story: Story, sender: Sender, before: () => void = () => {}): void {
  if ((store.newest?.meta.index ?? 0) >= sender.identity.index) return;
  before();
  story.offer(sender.contents);
  story.step(() =>
    receive(store, sender, (incoming) => {
      bounded(() => incoming.verify().kind !== 'more');
      if (incoming.verify().kind !== 'whole')
        throw new Violation(`what arrived is ${incoming.verify().kind}`);
      store.install(incoming);
    }),
  );
  story.settle();
}

/** Carries out what a store is told, and closes it; while it is open it answers as it should. */
function runWith(kind: Kind, fs: FileSystem, tell: (store: CheckpointStore) => void): void {
  const store = kind.open(fs);
  try {
    tell(store);
  } catch (error) {
    checkAnswers(store);
    throw error;
  } finally {
    store.close();
  }
}

/** After the disk has refused something, a store reads and sends what is there, or refuses: it says nothing else. */
function checkAnswers(store: CheckpointStore): void {
  try {
    contentsOf(store);
    if (store.newest === undefined) return;
    const source = store.openSource();
    try {
      bounded(() => source.check());
      for (let offset = 0; offset < source.totalBytes;) offset += source.read(offset).length;
    } finally {
      source.close();
    }
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

/** Checkpoints of these indexes. */
function filled(kind: Kind, indexes: readonly number[]): (fs: CrashFileSystem) => void {
  return (fs) => {
    makeDirectory(fs);
    const store = kind.open(fs);
    const story = new Story('');
    for (const index of indexes) {
      scribble(store.engine, index);
      save(store, story, checkpointAt(index));
    }
    store.close();
  };
}

function scenarioOf(
  kind: Kind,
  name: string,
  setUp: (fs: CrashFileSystem) => void,
  tell: (store: CheckpointStore, story: Story) => void,
): Scenario {
  return {
    name: `${kind.name}: ${name}`,
    setUp,
    recover: recoverWith(kind),
    run: (fs, story) => runWith(kind, fs, (store) => tell(store, story)),
  };
}

/** Puts some versions and saves them, so often; with the last, history before its second revision goes if that is said. */
function saveRounds(store: CheckpointStore, story: Story, rounds: number, isHistoryGoing = false): void {
  for (let round = 1; round <= rounds; round++) {
    const index = (store.newest?.meta.index ?? 0) + 1;
    const before = Number(store.newest?.state[0] ?? 0);
    const horizon = isHistoryGoing && round === rounds ? (index - 1) * 1000 + 5 : before;
    if (horizon > before) store.engine.compact(horizon);
    scribble(store.engine, index);
    save(store, story, checkpointAt(index, horizon));
  }
}

/** Everything that both kinds do. */
function common(kind: Kind): readonly Scenario[] {
  let sender: Sender | undefined;
  const from = (): Sender => (sender ??= senderOf(kind));
  return [
    scenarioOf(kind, 'creation and first checkpoint', makeDirectory, (store, story) =>
      saveRounds(store, story, 1),
    ),
    scenarioOf(kind, 'checkpoints', filled(kind, [1]), (store, story) => {
      saveRounds(store, story, 2);
      scribble(store.engine, (store.newest?.meta.index ?? 0) + 1);
    }),
    scenarioOf(kind, 'receiving and installing', filled(kind, [1, 2]), (store, story) => {
      install(store, story, from(), () => scribble(store.engine, 3));
      saveRounds(store, story, 1);
    }),
    {
      name: `${kind.name}: receiving again after a restart`,
      setUp: filled(kind, [1]),
      recover: recoverWith(kind),
      run: (fs, story) => {
        runWith(kind, fs, (store) => {
          story.step(() => receive(store, from(), () => {}, 2));
        });
        runWith(kind, fs, (store) => install(store, story, from()));
      },
    },
    scenarioOf(kind, 'receiving given up for another', filled(kind, [1]), (store, story) => {
      story.step(() => {
        const other = { ...from(), identity: { ...from().identity, index: 8 } };
        const thenBoth = (incoming: IncomingCheckpoint): void => {
          store.receive(from().identity, [incoming]).close();
          incoming.discard();
        };
        receive(store, other, thenBoth, 2);
      });
      install(store, story, from());
    }),
  ];
}

export const CHECKPOINT_SCENARIOS: readonly Scenario[] = [
  ...common(MEMORY),
  ...common(TREE),
  scenarioOf(TREE, 'compactions', filled(TREE, [1, 2, 3]), (store, story) => {
    workOut(store, story);
    saveRounds(store, story, 2);
    workOut(store, story);
  }),
  scenarioOf(TREE, 'history goes', filled(TREE, [1, 2, 3]), (store, story) => {
    saveRounds(store, story, 1, true);
    workOut(store, story);
    saveRounds(store, story, 1);
  }),
  scenarioOf(TREE_REWRITING, 'manifest written anew', filled(TREE_REWRITING, [1, 2]), (store, story) => {
    saveRounds(store, story, 2);
    workOut(store, story);
    saveRounds(store, story, 1);
  }),
];
