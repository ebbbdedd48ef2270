/** What a replica wrote and synced is what it finds again, whatever happened to its process, its power or its disk. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { Checkpoints } from '../../src/node/checkpoints.ts';
import { LogStore, type Recovered as RecoveredLog } from '../../src/node/log-store.ts';
import { type Entry, makeEntry } from '../../src/raft/entry.ts';
import { type Config, bootstrapConfig } from '../../src/raft/membership.ts';
import type { HardState, LogPosition, Write } from '../../src/raft/messages.ts';
import type { Checkpoint } from '../../src/storage/checkpoint.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { CrashFileSystem, type Fault, PowerCut, nthCall } from '../../src/sim/disk.ts';
import { bring, snapshotBytes } from '../support/snapshots.ts';

const CONFIG = bootstrapConfig([1, 2, 3]);
const HARD: HardState = { term: 1, vote: 2, commit: 0 };

function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory('data/wal');
  fs.makeDirectory('data/snapshots');
  for (const directory of ['.', 'data']) fs.syncDirectory(directory);
  return fs;
}

interface Recovered extends RecoveredLog {
  readonly base: LogPosition;
  readonly snapshot: Checkpoint | undefined;
}

/** What a replica keeps: its log and its checkpoints. */
class Replica {
  readonly checkpoints: Checkpoints;
  readonly recovered: Recovered;
  readonly #log: LogStore;

  constructor(fs: FileSystem, segmentBytesMax: number | undefined) {
    const memory = new MemoryStore({ fs, directory: 'data/snapshots' });
    const snapshot = memory.newest;
    this.checkpoints = new Checkpoints(memory);
    const { store, recovered } = LogStore.open({
      fs,
      directory: 'data',
      covered: this.checkpoints,
      ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }),
    });
    this.#log = store;
    this.recovered = { ...recovered, base: this.checkpoints.position, snapshot };
  }

  get walBytes(): number {
    return this.#log.walBytes;
  }

  get snapshotIndex(): number {
    return this.checkpoints.position.index;
  }

  write(each: Write): void {
    this.#log.write(each);
  }

  sync(): void {
    this.#log.sync();
  }

  saveSnapshot(position: LogPosition, config: Config, state: readonly string[]): void {
    this.checkpoints.save(position, config, state);
  }

  compact(index: number): void {
    this.compactSlice(index);
    while (this.#log.isRemoving) this.#log.removeSlice();
  }

  /** @returns whether there is more to remove */
  compactSlice(index: number): boolean {
    this.#log.compact(index);
    return this.#log.isRemoving;
  }

  close(): void {
    this.#log.close();
  }
}

function open(
  fs: FileSystem,
  segmentBytesMax?: number,
): { readonly store: Replica; readonly recovered: Recovered } {
  const store = new Replica(fs, segmentBytesMax);
  return { store, recovered: store.recovered };
}

/** What is found, with the log closed again. */
function recover(fs: FileSystem): Recovered {
  const { store, recovered } = open(fs);
  store.close();
  return recovered;
}

/** The disk after the worst power cut. */
function worst(fs: CrashFileSystem): CrashFileSystem {
  return fs.crash(new Random(0), 'worst');
}

/** Entries from `from` to `to`, each with a payload that names its term and place. */
function entries(term: number, from: number, to: number): readonly Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) =>
    makeEntry({ term, index: from + i, kind: 'command', payload: utf8(`${from + i}@${term}`) }),
  );
}

let seq = 0;
function write(fields: Omit<Write, 'seq' | 'mark'>): Write {
  seq += 1;
  return { seq, mark: { accTerm: 0, index: 0 }, ...fields };
}

function append(store: Replica, term: number, from: number, to: number, hard: HardState = HARD): void {
  store.write(write({ hard, append: { after: from - 1, entries: entries(term, from, to) } }));
  store.sync();
}

/** `5@2`: entry 5 of term 2. */
function log(recovered: Recovered): readonly string[] {
  return recovered.entries.map(({ index, term, payload }) => {
    expect(Buffer.from(payload).toString()).toBe(`${index}@${term}`);
    return `${index}@${term}`;
  });
}

function names(term: number, from: number, to: number): readonly string[] {
  return entries(term, from, to).map(({ index }) => `${index}@${term}`);
}

/** The bytes of a snapshot at `position`, as a peer would send them. */
/** Installs a snapshot of one line that came from a peer. @returns its lines */
function install({ checkpoints }: Replica, { index, term }: LogPosition): readonly string[] {
  const bytes = snapshotBytes({ index, term }, ['{"line":1}']);
  return checkpoints.install(bring(checkpoints, { index, term }, bytes)).state;
}

describe('LogStore', () => {
  test('opens an empty directory with nothing in it', () => {
    const { store, recovered } = open(newDisk());
    expect(recovered).toEqual({
      hard: { term: 0, vote: 0, commit: 0 },
      base: { index: 0, term: 0 },
      entries: [],
      snapshot: undefined,
      cut: undefined,
    });
    expect(store.snapshotIndex).toBe(0);
  });

  test('keeps hard state and entries through a power cut, and nothing that was not synced', () => {
    const fs = newDisk();
    const { store } = open(fs);
    append(store, 1, 1, 3, { term: 1, vote: 3, commit: 0 });
    store.write(write({ hard: { term: 4, vote: 2, commit: 3 } }));
    store.sync();
    store.write(write({ append: { after: 3, entries: entries(4, 4, 4) } }));
    const recovered = recover(worst(fs));
    expect(recovered.hard).toEqual({ term: 4, vote: 2, commit: 3 });
    expect(log(recovered)).toEqual(names(1, 1, 3));
  });

  test('a write without hard state restates the last one', () => {
    const fs = newDisk();
    const { store } = open(fs);
    store.write(write({ hard: { term: 7, vote: 3, commit: 0 } }));
    store.write(write({ append: { after: 0, entries: entries(7, 1, 1) } }));
    store.sync();
    expect(recover(worst(fs)).hard).toEqual({ term: 7, vote: 3, commit: 0 });
  });

  test('a suffix that was replaced stays replaced (P24)', () => {
    const fs = newDisk();
    const { store } = open(fs);
    append(store, 1, 1, 5);
    append(store, 2, 3, 4, { term: 2, vote: 1, commit: 0 });
    expect(log(recover(worst(fs)))).toEqual(['1@1', '2@1', '3@2', '4@2']);
  });

  test('a suffix that was cut without replacement stays cut (P24)', () => {
    const fs = newDisk();
    const { store } = open(fs);
    append(store, 1, 1, 5);
    store.write(write({ append: { after: 2, entries: [] } }));
    store.sync();
    expect(log(recover(worst(fs)))).toEqual(['1@1', '2@1']);
  });

  test('a segment that follows another restates hard state, and is enough by itself behind a snapshot', () => {
    const fs = newDisk();
    const { store } = open(fs, 300);
    for (let i = 1; i <= 40; i++) append(store, 1, i, i, { term: 1, vote: 2, commit: i - 1 });
    expect(fs.list('data/wal').length).toBeGreaterThan(5);
    store.saveSnapshot({ index: 40, term: 1 }, CONFIG, []);
    store.compact(40);
    expect(fs.list('data/wal')).toHaveLength(1);
    const recovered = recover(worst(fs));
    expect(recovered.hard).toEqual({ term: 1, vote: 2, commit: 40 });
    expect(recovered.base).toEqual({ index: 40, term: 1 });
    expect(log(recovered)).toEqual([]);
  });

  test('compaction removes only segments that a snapshot holds whole', () => {
    for (let floor = 0; floor <= 30; floor++) {
      const fs = newDisk();
      const { store } = open(fs, 300);
      for (let i = 1; i <= 40; i++) append(store, 1, i, i);
      store.saveSnapshot({ index: 30, term: 1 }, CONFIG, []);
      const before = store.walBytes;
      store.compact(floor);
      if (floor === 30) expect(store.walBytes).toBeLessThan(before / 2);
      const { store: again, recovered } = open(worst(fs));
      expect(log(recovered)).toEqual(names(1, 31, 40));
      expect(again.snapshotIndex).toBe(30);
      // What is appended next goes behind what was found.
      append(again, 1, 41, 41);
    }
  });

  test('compaction removes one segment at a time, the oldest first, and goes on after a restart', () => {
    const fs = newDisk();
    const { store } = open(fs, 300);
    for (let i = 1; i <= 100; i++) append(store, 1, i, i);
    store.saveSnapshot({ index: 90, term: 1 }, CONFIG, []);
    const before = fs.list('data/wal');
    expect(before.length).toBeGreaterThan(15);
    expect(store.compactSlice(90)).toBe(true);
    expect(fs.list('data/wal')).toEqual(before.slice(1));
    const after = worst(fs);
    const { store: again, recovered } = open(after, 300);
    expect(log(recovered)).toEqual(names(1, 91, 100));
    expect(again.compactSlice(90)).toBe(true);
    again.compact(90);
    expect(after.list('data/wal').length).toBeLessThan(before.length / 2);
    expect(log(recover(worst(after)))).toEqual(names(1, 91, 100));
  });

  test('compaction after a truncation keeps what was written before it and is still needed', () => {
    const fs = newDisk();
    const { store } = open(fs, 300);
    for (let i = 1; i <= 20; i++) append(store, 1, i, i);
    append(store, 2, 11, 11, { term: 2, vote: 1, commit: 0 });
    for (let i = 12; i <= 25; i++) append(store, 2, i, i, { term: 2, vote: 1, commit: 0 });
    store.saveSnapshot({ index: 9, term: 1 }, CONFIG, []);
    store.compact(9);
    expect(log(recover(worst(fs)))).toEqual(['10@1', ...names(2, 11, 25)]);
  });

  test('a suffix that begins in a segment that is gone may be replaced in a later one', () => {
    const fs = newDisk();
    const { store } = open(fs, 100);
    append(store, 1, 1, 15);
    append(store, 1, 16, 16);
    append(store, 2, 15, 18, { term: 2, vote: 1, commit: 14 });
    store.saveSnapshot({ index: 17, term: 2 }, CONFIG, []);
    store.compact(15);
    expect(fs.list('data/wal')[0]).toBe('000002.wal');
    expect(log(recover(worst(fs)))).toEqual(['18@2']);
  });

  test('compaction goes no further than the snapshot', () => {
    const { store } = open(newDisk());
    append(store, 1, 1, 5);
    store.saveSnapshot({ index: 3, term: 1 }, CONFIG, []);
    expect(() => store.compact(4)).toThrow('where a checkpoint is');
    expect(() => store.saveSnapshot({ index: 3, term: 1 }, CONFIG, [])).toThrow('only go forward');
  });

  test.each([
    { keepLog: true, left: ['4@1', '5@1', '6@1'] },
    { keepLog: false, left: ['4@1'] },
  ])('starts over behind an installed snapshot, keeping the log behind it: $keepLog', ({ keepLog, left }) => {
    const fs = newDisk();
    const { store } = open(fs);
    append(store, 1, 1, 6);
    const position = { index: 3, term: 1 };
    expect(install(store, position)).toEqual(['{"line":1}']);
    store.write(write({ snapshot: { position, keepLog }, hard: { ...HARD, commit: 3 } }));
    if (!keepLog) store.write(write({ append: { after: 3, entries: entries(1, 4, 4) } }));
    store.sync();
    const recovered = recover(worst(fs));
    expect(recovered.snapshot?.meta).toMatchObject(position);
    expect(log(recovered)).toEqual(left);
  });

  test('a restart record holds through later segments', () => {
    const fs = newDisk();
    const { store } = open(fs, 300);
    append(store, 1, 1, 6);
    const position = { index: 100, term: 3 };
    install(store, position);
    const hard = { term: 3, vote: 0, commit: 100 };
    store.write(write({ snapshot: { position, keepLog: false }, hard }));
    for (let i = 101; i <= 130; i++) append(store, 3, i, i, hard);
    store.compact(100);
    expect(log(recover(worst(fs)))).toEqual(names(3, 101, 130));
  });

  describe('a snapshot that was installed just before a crash, when the log did not know of it yet', () => {
    const position = { index: 100, term: 3 };
    const hard = { term: 3, vote: 0, commit: 100 };

    test.each([
      { name: 'is ahead of the log', term: 1, last: 50 },
      { name: 'contradicts the log', term: 2, last: 120 },
    ])('$name: the log starts over behind it, for good', ({ term, last }) => {
      const fs = newDisk();
      const first = open(fs).store;
      append(first, term, 1, last, { term, vote: 0, commit: 10 });
      install(first, position);
      const disk = worst(fs);
      const second = open(disk);
      expect(log(second.recovered)).toEqual([]);
      expect(second.recovered.base).toEqual(position);
      expect(second.recovered.hard).toEqual(hard);
      append(second.store, 3, 101, 105, hard);
      expect(log(recover(worst(disk)))).toEqual(names(3, 101, 105));
    });

    test('agrees with the log: what lies behind it stays', () => {
      const fs = newDisk();
      const { store } = open(fs);
      append(store, 3, 1, 120, { term: 3, vote: 1, commit: 10 });
      install(store, position);
      const recovered = recover(worst(fs));
      expect(recovered.hard).toEqual({ term: 3, vote: 1, commit: 100 });
      expect(log(recovered)).toEqual(names(3, 101, 120));
    });

    test('is of a later term than the log knew: the vote of the earlier term is void', () => {
      const fs = newDisk();
      const { store } = open(fs);
      append(store, 1, 1, 5, { term: 1, vote: 2, commit: 0 });
      install(store, position);
      expect(recover(worst(fs)).hard).toEqual(hard);
    });
  });

  test('refuses a log that begins behind the newest snapshot', () => {
    const fs = newDisk();
    const { store } = open(fs, 300);
    for (let i = 1; i <= 40; i++) append(store, 1, i, i);
    store.saveSnapshot({ index: 30, term: 1 }, CONFIG, []);
    store.compact(30);
    store.close();
    for (const name of fs.list('data/snapshots')) fs.remove(`data/snapshots/${name}`);
    expect(() => open(fs)).toThrow(CorruptionError);
    expect(() => open(fs)).toThrow(/the log begins behind \d+, but the newest snapshot ends at 0/);
  });

  test('a write that waited for room, and was overtaken by a checkpoint and a new segment, is no damage', () => {
    const fs = newDisk();
    const { store } = open(fs, 100);
    append(store, 1, 1, 15);
    // The peers had the next entries on their disks, and so they were committed, applied and saved.
    store.saveSnapshot({ index: 18, term: 1 }, CONFIG, []);
    append(store, 1, 16, 20);
    append(store, 1, 21, 21);
    expect(log(recover(worst(fs)))).toEqual(names(1, 19, 21));
    const whole = newDisk();
    const { store: other } = open(whole, 100);
    append(other, 1, 1, 15);
    other.saveSnapshot({ index: 18, term: 1 }, CONFIG, []);
    append(other, 1, 16, 17);
    append(other, 1, 18, 19);
    expect(log(recover(worst(whole)))).toEqual(names(1, 19, 19));
  });

  test('refuses a gap between entries', () => {
    const fs = newDisk();
    const { store } = open(fs);
    append(store, 1, 1, 3);
    append(store, 1, 5, 6);
    store.close();
    expect(() => open(fs)).toThrow(CorruptionError);
    expect(() => open(fs)).toThrow('entries are missing before 5');
  });

  test('opening twice finds what opening once does', () => {
    const fs = newDisk();
    const { store } = open(fs, 300);
    for (let i = 1; i <= 30; i++) append(store, 1, i, i);
    store.saveSnapshot({ index: 12, term: 1 }, CONFIG, ['{"a":1}']);
    store.compact(9);
    store.write(write({ append: { after: 30, entries: entries(1, 31, 31) } }));
    for (let seed = 1; seed <= 30; seed++) {
      const disk = clone(fs, seed);
      const once = recover(disk);
      const twice = recover(disk);
      expect({ ...twice, cut: once.cut }).toEqual(once);
      expect(twice.cut).toBeUndefined();
    }
  });
});

/** The disk after a power cut of its own; the original lives on. */
function clone(fs: CrashFileSystem, seed: number): CrashFileSystem {
  const copy = newDisk();
  for (const directory of ['data/wal', 'data/snapshots'])
    for (const name of fs.list(directory)) copy.poke(`${directory}/${name}`, fs.peek(`${directory}/${name}`));
  const random = new Random(seed);
  const last = copy.list('data/wal').at(-1);
  if (last === undefined) return copy;
  const path = `data/wal/${last}`;
  const bytes = copy.peek(path);
  copy.poke(path, bytes.subarray(0, bytes.length - random.int(0, 40)));
  return copy;
}

/** A life of a log: what it was told to keep, and what it promised to have kept. */
class Life {
  readonly fs: CrashFileSystem;
  promised: readonly string[] = [];
  hard: HardState = { term: 0, vote: 0, commit: 0 };
  base = 0;

  constructor(fs: CrashFileSystem) {
    this.fs = fs;
  }

  /** Appends, cuts, snapshots and compacts; what is promised is noted when a sync has returned. */
  run(): void {
    const { store } = open(this.fs, 300);
    let expected: readonly string[] = [];
    const promise = (hard: HardState): void => {
      store.sync();
      this.promised = expected;
      this.hard = hard;
    };
    for (let round = 1; round <= 12; round++) {
      const hard = { term: round, vote: 1, commit: 0 };
      const last = Number(expected.at(-1)?.split('@')[0] ?? this.base);
      const after = round % 4 === 0 ? last - 2 : last;
      const added = entries(round, after + 1, after + 4);
      store.write(write({ hard, append: { after, entries: added } }));
      expected = [
        ...expected.filter((name) => Number(name.split('@')[0]) <= after),
        ...added.map(({ index, term }) => `${index}@${term}`),
      ];
      promise(hard);
      if (round % 5 !== 0) continue;
      const index = after - 1;
      const term = Number(expected.find((name) => name.startsWith(`${index}@`))?.split('@')[1]);
      store.saveSnapshot({ index, term }, CONFIG, ['{"a":1}']);
      this.base = index;
      this.promised = expected.filter((name) => Number(name.split('@')[0]) > index);
      store.compact(Math.max(0, index - 2));
      expected = this.promised;
    }
  }

  /** Everything that was promised is there, and no entry contradicts it. */
  check(recovered: Recovered): void {
    expect(recovered.base.index).toBeGreaterThanOrEqual(this.base);
    const found = log(recovered);
    const { index } = recovered.base;
    const promised = this.promised.filter((name) => Number(name.split('@')[0]) > index);
    // The last write may be there without having been promised: then it may have cut what was promised before.
    if (recovered.hard.term > this.hard.term) {
      expect(recovered.hard.term).toBe(this.hard.term + 1);
      return;
    }
    expect(found).toEqual(promised);
    expect(recovered.hard).toMatchObject({ term: this.hard.term, vote: this.hard.vote });
  }
}

describe('LogStore when a call of its disk fails', () => {
  const calls = ((): number => {
    const life = new Life(newDisk());
    const before = life.fs.calls;
    life.run();
    return life.fs.calls - before;
  })();

  const faults: readonly Fault[] = [
    { kind: 'error', errno: 'ENOSPC' },
    { kind: 'error', errno: 'EIO' },
    { kind: 'shortWrite', errno: 'ENOSPC', bytes: 7 },
    { kind: 'dropPages', errno: 'EIO' },
  ];

  test.each(faults)('says so and loses nothing that was promised: $kind $errno', (fault) => {
    let failed = 0;
    for (let call = 1; call <= calls; call++) {
      const life = new Life(newDisk());
      const start = life.fs.calls;
      life.fs.intercept = (each) => {
        if (each.number !== start + call) return undefined;
        if (fault.kind === 'dropPages' && each.kind !== 'sync') return undefined;
        return fault.kind === 'shortWrite' && each.kind !== 'write' ? undefined : fault;
      };
      try {
        life.run();
      } catch (error) {
        expect(error, `call ${call}`).toBeInstanceOf(StorageError);
        failed += 1;
      }
      life.fs.intercept = undefined;
      const disk = call % 2 === 0 ? life.fs.crash(new Random(call)) : life.fs;
      life.check(recover(disk));
      life.check(recover(disk));
    }
    expect(failed).toBeGreaterThan(10);
  });

  test('loses nothing that was promised when the power goes', () => {
    for (let call = 1; call <= calls; call++) {
      const life = new Life(newDisk());
      life.fs.intercept = nthCall(life.fs.calls + call, { kind: 'powerCut' });
      expect(() => life.run(), `call ${call}`).toThrow(PowerCut);
      for (let seed = 1; seed <= 3; seed++) life.check(recover(life.fs.crash(new Random(seed))));
    }
  });

  test('nothing works after a failed sync, though the next would succeed (P28)', () => {
    const fs = newDisk();
    const { store } = open(fs);
    append(store, 1, 1, 3);
    fs.intercept = (call) => (call.kind === 'sync' ? { kind: 'dropPages', errno: 'EIO' } : undefined);
    expect(() => append(store, 1, 4, 4)).toThrow(StorageError);
    fs.intercept = undefined;
    const syncs = fs.calls;
    expect(() => store.sync()).toThrow('it failed before and is not trusted');
    expect(() => append(store, 1, 5, 5)).toThrow('it failed before and is not trusted');
    expect(fs.calls).toBe(syncs);
  });
});
