/** Checkpoints on disks that fail and lose power at every call: the old one or the new one is there, whole. */
import { describe, expect, test } from 'vitest';

import { StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { type CrashFileSystem, type Fault, PowerCut, nthCall } from '../../src/sim/disk.ts';
import type { CheckpointStore } from '../../src/storage/checkpoint.ts';
import {
  type Contents,
  DIRECTORY,
  type StoreFactory,
  contentsOf,
  deliver,
  identityOf,
  newDisk,
  openSource,
  partsOf,
  save,
  scribble,
} from '../support/checkpoints.ts';
import { VersionWriter, answersOf } from '../support/version-model.ts';

const FAULTS: readonly Fault[] = [
  { kind: 'powerCut' },
  { kind: 'error', errno: 'EIO' },
  { kind: 'shortWrite', errno: 'ENOSPC', bytes: 100 },
  { kind: 'dropPages', errno: 'EIO' },
];
const SEEDS_A_CALL = 3;

/** A checkpoint that lasts at index 5, then what is attacked: it leads to index 9. */
interface Attack {
  readonly name: string;
  readonly run: (store: CheckpointStore) => void;
}

/** Whether a call of this kind can suffer the fault. */
function suits(fault: Fault, kind: string): boolean {
  if (fault.kind === 'shortWrite') return kind === 'write';
  return fault.kind === 'dropPages' ? kind === 'sync' : true;
}

export function checkpointCrashes(name: string, make: StoreFactory): void {
  const open = (fs: CrashFileSystem): CheckpointStore => make(fs, DIRECTORY, new Random('crash'));

  /** A disk with a checkpoint at 5, and the store with more that is in memory only. */
  const prepared = (): { fs: CrashFileSystem; store: CheckpointStore; old: Contents } => {
    const fs = newDisk();
    const store = open(fs);
    const writer = new VersionWriter([store.engine]);
    scribble(writer, new Random('old'), 40);
    save(store, { index: 5, term: 1 }, ['old']);
    const old = contentsOf(store);
    scribble(writer, new Random('new'), 40);
    return { fs, store, old };
  };

  const sender = open(newDisk());
  const senderWriter = new VersionWriter([sender.engine]);
  scribble(senderWriter, new Random('sent'), 60);
  senderWriter.next();
  senderWriter.put('large', new Uint8Array(80_000).fill(0xc3));
  save(sender, { index: 9, term: 2 }, ['sent']);

  const source = openSource(sender);
  const identity = identityOf(sender, source);
  const parts = partsOf(source);

  const attacks: readonly Attack[] = [
    { name: 'a checkpoint', run: (store) => void save(store, { index: 9, term: 2 }, ['new']) },
    {
      name: 'receiving and installing',
      run: (store) => {
        const incoming = store.receive(identity, []);
        deliver(incoming, parts, new Random('way'));
        while (incoming.verify().kind === 'more');
        store.install(incoming);
      },
    },
  ];

  describe(`Checkpoints that are cut off: ${name}`, () => {
    for (const { name: what, run } of attacks) {
      test.each(FAULTS.map((fault) => [fault.kind, fault] as const))(
        `${what}, %s at every call, leaves the old state or the new one`,
        (_kind, fault) => {
          let failures = 0;
          for (let n = 1, isThrough = false; !isThrough; n++) {
            for (let seed = 0; seed < SEEDS_A_CALL && !isThrough; seed++) {
              const { fs, store, old } = prepared();
              let left = n;
              fs.intercept = (call) => {
                if (suits(fault, call.kind)) left -= 1;
                return left === 0 && suits(fault, call.kind) ? fault : undefined;
              };
              let isDone = false;
              try {
                run(store);
                isDone = true;
                isThrough = left > 0;
              } catch (error) {
                if (!(error instanceof StorageError || error instanceof PowerCut)) throw error;
                failures += 1;
              }
              fs.intercept = undefined;
              judge(fs, { old, isDone, seed: `${what}/${n}/${seed}` });
            }
            if (n > 5000) expect.fail('It never gets through');
          }
          expect(failures).toBeGreaterThan(fault.kind === 'dropPages' ? 2 : 3);
        },
      );
    }

    test.each([
      ['stays', false],
      ['is followed by the next', true],
    ])('one that is installed where there was no room at first, at every call, %s', (_what, isFollowed) => {
      let failures = 0;
      for (let n = 1, isThrough = false; !isThrough; n++) {
        const { fs, store, old } = prepared();
        const incoming = store.receive(identity, []);
        deliver(incoming, parts, new Random('way'));
        while (incoming.verify().kind === 'more');
        let left = n;
        fs.intercept = ({ kind }) => {
          left -= 1;
          return left > 0 ? undefined : { kind: kind === 'sync' ? 'dropPages' : 'error', errno: 'ENOSPC' };
        };
        const refusal = refusalOf(() => store.install(incoming));
        isThrough = refusal === undefined;
        if (refusal?.isFull === true) {
          failures += 1;
          expect(() => store.install(incoming)).toThrow(StorageError);
        }
        fs.intercept = undefined;
        if (refusal?.isFull === false) {
          // Not to be tried again, as a sync of names has failed.
          judge(fs, { old, isDone: false, seed: `final/${n}` });
          continue;
        }
        if (refusal !== undefined) {
          // Another may arrive meanwhile.
          store.receive({ index: 12, term: 2, totalBytes: 1000, crc32: 1 }, [incoming]).discard();
          store.install(incoming);
        }
        const installed = contentsOf(store);
        expect(newStates.some((state) => isEqual(state, installed))).toBe(true);
        while (store.engine.work());
        if (isFollowed) {
          save(store, { index: 20, term: 3 }, ['next']);
          const next = open(fs.crash(new Random(n), 'worst'));
          expect(next.newest).toEqual({ meta: { index: 20, term: 3 }, state: ['next'] });
          expect(answersOf(next.engine)).toEqual(installed.answers);
        } else judge(fs, { old: installed, isDone: true, seed: `room/${n}` });
      }
      expect(failures).toBeGreaterThan(0);
    });

    test('opening that is itself cut off finds the same the next time', () => {
      for (let n = 1, isThrough = false; !isThrough; n++) {
        const { fs, store, old } = prepared();
        const random = new Random(`open/${n}`);
        const steps = store.begin({ index: 9, term: 2 }, ['new']);
        for (let i = random.int(0, 3); i > 0; i--) if (steps.advance()) break;
        store.receive({ index: 12, term: 2, totalBytes: 1000, crc32: 1 }, []).write(0, new Uint8Array(10));
        const first = fs.crash(random);
        first.intercept = nthCall(n, { kind: 'powerCut' });
        try {
          contentsOf(open(first));
          isThrough = first.calls < n;
        } catch (error) {
          expect(error).toBeInstanceOf(PowerCut);
        }
        first.intercept = undefined;
        judge(first, { old, isDone: false, seed: `again/${n}` });
      }
    });

    test('random lives with power cuts go on from their last checkpoint', () => {
      for (let i = 1; i <= 12; i++) randomLife(make, `life/${i}`);
    });
  });

  /** The new state of an attack, read without one. */
  const newStates = attacks.map(({ run }) => {
    const { store } = prepared();
    run(store);
    return contentsOf(store);
  });

  /** What is found after a power cut is old or new, stays, and is not in the way of the next. */
  function judge(
    fs: CrashFileSystem,
    what: { readonly old: Contents; readonly isDone: boolean; readonly seed: string },
  ): void {
    const after = fs.crash(new Random(what.seed));
    const found = contentsOf(open(after));
    const isNew = newStates.some((state) => isEqual(state, found));
    if (!isNew && (what.isDone || !isEqual(found, what.old)))
      expect.fail(`${what.seed}: found ${String(found.newest?.meta.index)}, ${found.answers.length} answers`);
    const last = after.crash(new Random(0), 'worst');
    const store = open(last);
    if (!isEqual(contentsOf(store), found)) expect.fail(`${what.seed}: what was found did not stay`);
    save(store, { index: 20, term: 3 }, ['next']);
    const next = open(last.crash(new Random(0), 'worst'));
    expect(next.newest).toEqual({ meta: { index: 20, term: 3 }, state: ['next'] });
    if (next.engine.stats.kind === 'memory') expect(answersOf(next.engine)).toEqual(found.answers);
  }
}

/** Why a disk refused; undefined when it did not. */
function refusalOf(run: () => unknown): StorageError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return error;
  }
}

function isEqual(a: Contents, b: Contents): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** What a restart must show. */
interface Promised {
  readonly contents: Contents;
  readonly horizon: number;
  readonly revision: number;
}

/** A replica that writes, saves, gives up, compacts, sends itself elsewhere and loses power, in any order. */
function randomLife(make: StoreFactory, name: string): void {
  const random = new Random(name);
  const open = (on: CrashFileSystem): CheckpointStore => make(on, DIRECTORY, random.fork('open'));
  let fs = newDisk();
  let store = open(fs);
  let writer = new VersionWriter([store.engine]);
  let horizon = 0;
  let index = 0;
  let promised: Promised = { contents: contentsOf(store), horizon, revision: 0 };
  let writing:
    | { readonly steps: ReturnType<CheckpointStore['begin']>; readonly promise: Promised }
    | undefined;

  const begin = (): void => {
    index += 1;
    const newest = { meta: { index, term: 1, horizon }, state: [`at ${writer.revision}`] };
    const promise = {
      contents: { newest, answers: answersOf(store.engine, horizon) },
      horizon,
      revision: writer.revision,
    };
    writing = { steps: store.begin(newest.meta, newest.state), promise };
  };
  const goOn = (slices: number): void => {
    for (let i = 0; i < slices && writing !== undefined; i++) {
      if (!writing.steps.advance()) continue;
      promised = writing.promise;
      writing = undefined;
    }
  };
  const compare = (what: string): void => {
    const found = contentsOf(store, promised.horizon);
    if (!isEqual(found, promised.contents)) expect(found, `${name}: ${what}`).toEqual(promised.contents);
  };
  const restart = (): void => {
    fs = fs.crash(random);
    store = open(fs);
    // Who loses power before the last slice may find the checkpoint done all the same.
    if (writing !== undefined && store.newest?.meta.index === index) promised = writing.promise;
    writing = undefined;
    compare('restart');
    horizon = promised.horizon;
    store.engine.compact(horizon);
    writer = new VersionWriter([store.engine], promised.revision);
  };
  const move = (): void => {
    goOn(Infinity);
    if (store.newest === undefined) return;
    const disk = newDisk();
    const other = open(disk);
    scribble(new VersionWriter([other.engine]), random, random.int(0, 20));
    const source = openSource(store);
    const incoming = other.receive(identityOf(store, source), []);
    deliver(incoming, partsOf(source), random);
    source.close();
    while (incoming.verify().kind === 'more');
    other.install(incoming);
    [fs, store] = [disk, other];
    compare('move');
    horizon = promised.horizon;
    store.engine.compact(horizon);
    writer = new VersionWriter([store.engine], promised.revision);
  };

  for (let step = 0; step < 80; step++) {
    const choice = random.int(0, 9);
    if (choice <= 2) scribble(writer, random, random.int(1, 60));
    else if (choice <= 4) {
      if (writing === undefined) begin();
      else goOn(random.int(1, 4));
    } else if (choice === 5) {
      horizon = Math.max(horizon, writer.revision - random.int(0, 100));
      store.engine.compact(horizon);
    } else if (choice === 6) for (let i = random.int(1, 5); i > 0; i--) store.engine.work();
    else if (choice === 7 && writing !== undefined && random.chance(0.3)) {
      // A put that had to take the time may have made it durable.
      if (store.newest?.meta.index === index) promised = writing.promise;
      writing.steps.abort();
      writing = undefined;
    } else if (choice === 8 && random.chance(0.5)) restart();
    else if (choice === 9 && random.chance(0.4)) move();
  }
  restart();
}
