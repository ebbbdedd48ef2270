/** The tree on disks that lose power, fail and fill up, at every call: what is found is one of the states that were promised. */
import { describe, expect, test } from 'vitest';

import { StorageError } from '../../../src/lib/errors.ts';
import { Random } from '../../../src/lib/random.ts';
import {
  type CrashFileSystem,
  type Errno,
  type Intercept,
  PowerCut,
  nthCall,
} from '../../../src/sim/disk.ts';
import type { LsmStore } from '../../../src/storage/lsm/lsm-store.ts';
import type { LsmOptions } from '../../../src/storage/lsm/table-format.ts';
import {
  type Contents,
  contentsOf,
  deliver,
  identityOf,
  openSource,
  partsOf,
  save,
  verdictOf,
} from '../../support/checkpoints.ts';
import { ModelEngine, VersionWriter, answersOf, workOut } from '../../support/version-model.ts';
import {
  DIRECTORY,
  LateCompactor,
  TINY,
  expectTidy,
  imageOf,
  newDisk,
  openStore,
  randomOptions,
  scatter,
} from './lsm-support.ts';

const OPTIONS: LsmOptions = {
  ...TINY,
  tableBytesMax: 900,
  blockBytes: 512,
  cacheBytesMax: 2 ** 20,
  openTablesMax: 50,
};
const REVISIONS = 40;
/** Calls from one failing call to the next, on average: failures differ less from call to call than power cuts do. */
const STRIDE = 8;

function play(engine: ConstructorParameters<typeof VersionWriter>[0], round: number): void {
  const writer = new VersionWriter(engine, round * REVISIONS);
  scatter(writer, new Random(`round ${round}`), { count: REVISIONS, keys: 25 });
}

/** The files of a store with a checkpoint at index 1, some compacted, and level 0 one table short of a compaction. */
const BASE: ReadonlyMap<string, string> = (() => {
  const fs = newDisk();
  const store = openStore(fs, OPTIONS);
  for (let round = 0; round < 3; round++) {
    play([store.engine], round);
    save(store, { index: round, term: 1 }, [`state ${round}`]);
    if (round === 1) workOut(store.engine);
  }
  store.close();
  return imageOf(fs);
})();

/** A disk with the files of {@link BASE}. */
function prepared(): CrashFileSystem {
  const fs = newDisk();
  fs.makeDirectory(DIRECTORY);
  fs.syncDirectory('data');
  for (const [name, text] of BASE) fs.poke(`${DIRECTORY}/${name}`, Buffer.from(text, 'latin1'));
  return fs;
}

/** The files as a process finds them that starts again without a power cut. */
function copyOf(fs: CrashFileSystem): CrashFileSystem {
  const copy = newDisk();
  copy.makeDirectory(DIRECTORY);
  copy.syncDirectory('data');
  for (const [name, text] of imageOf(fs)) copy.poke(`${DIRECTORY}/${name}`, Buffer.from(text, 'latin1'));
  return copy;
}

/** Another store, whose checkpoint at index 9 is sent. */
const SENDER: LsmStore = (() => {
  const store = openStore(newDisk(), OPTIONS);
  for (let round = 0; round < 3; round++) {
    play([store.engine], 10 + round);
    save(store, { index: 7 + round, term: 2 }, [`sent ${round}`]);
    workOut(store.engine);
  }
  return store;
})();

interface Scenario {
  readonly name: string;
  readonly run: (store: LsmStore) => void;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'flush and compaction',
    run: (store) => {
      play([store.engine], 3);
      save(store, { index: 3, term: 1 }, ['state 3']);
      workOut(store.engine);
    },
  },
  {
    name: 'receiving and installing',
    run: (store) => {
      const source = openSource(SENDER);
      const incoming = store.receive(identityOf(SENDER, source), []);
      for (const [offset, bytes] of partsOf(source)) incoming.write(offset, bytes);
      source.close();
      expect(verdictOf(incoming)).toBe('whole');
      store.install(incoming);
      workOut(store.engine);
    },
  },
];

/** What a restart finds, and that it leaves the directory as it should be. */
function found(fs: CrashFileSystem): Contents {
  const store = openStore(fs, OPTIONS);
  const contents = contentsOf(store);
  store.close();
  expectTidy(fs);
  const image = imageOf(fs);
  const again = openStore(fs, OPTIONS);
  expect(JSON.stringify(contentsOf(again))).toBe(JSON.stringify(contents));
  again.close();
  expect(imageOf(fs)).toEqual(image);
  expect(fs.openFiles).toBe(0);
  return contents;
}

function isSame(a: Contents, b: Contents): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

describe.each(SCENARIOS)('$name', ({ run }) => {
  const old = found(prepared());
  const after = (() => {
    const fs = prepared();
    const store = openStore(fs, OPTIONS);
    run(store);
    const contents = contentsOf(store);
    store.close();
    return { contents, calls: fs.calls };
  })();

  /** What a flush begins with: everything is put, and nothing of it durable. */
  const put = (() => {
    const store = openStore(prepared(), OPTIONS);
    play([store.engine], 3);
    return contentsOf(store);
  })();

  test('a power cut at every call leaves the old state or the new one, and no file too many or too few', () => {
    const seen = { old: 0, new: 0 };
    for (let n = 1; n <= after.calls; n++) {
      const fs = prepared();
      fs.intercept = nthCall(n, { kind: 'powerCut' });
      let isDone = false;
      try {
        run(openStore(fs, OPTIONS));
        isDone = true;
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error;
      }
      const mode = n % 3 === 0 ? 'worst' : n % 3 === 1 ? 'best' : 'any';
      const contents = found(fs.crash(new Random(n), mode));
      const isNew = isSame(contents, after.contents);
      if (!isNew && (isDone || !isSame(contents, old)))
        expect.fail(`call ${n}: ${JSON.stringify(contents.newest)}`);
      seen[isNew ? 'new' : 'old'] += 1;
    }
    expect(Math.min(seen.old, seen.new)).toBeGreaterThan(5);
  });

  const errors: readonly (readonly [string, (n: number) => Intercept])[] = (
    ['EIO', 'ENOSPC', 'EMFILE'] as const
  ).flatMap((errno: Errno) => [
    [`${errno} once`, (n: number) => nthCall(n, { kind: 'error', errno })] as const,
    [
      `${errno} from a call on`,
      (n: number) => (call: { readonly number: number }) =>
        call.number >= n ? { kind: 'error', errno } : undefined,
    ] as const,
  ]);

  test.each(errors)('%s: no wrong answer, then or after a restart', (name, interceptFrom) => {
    let failures = 0;
    const random = new Random(name);
    for (let n = random.int(1, STRIDE); n <= after.calls; n += random.int(1, 2 * STRIDE)) {
      const fs = prepared();
      fs.intercept = interceptFrom(n);
      let store: LsmStore | undefined;
      let isDone = false;
      try {
        store = openStore(fs, OPTIONS);
        run(store);
        isDone = true;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        failures += 1;
      }
      fs.intercept = undefined;
      if (store !== undefined) {
        // Flushed or not, compacted or not: what was put is there; installed or not, it is one or the other.
        const answers = answersOf(store.engine).join();
        const isRight = [old, put, after.contents].some((state) => state.answers.join() === answers);
        if (!isRight || (isDone && answers !== after.contents.answers.join()))
          expect.fail(`call ${n}: wrong answers`);
      }
      if (random.chance(0.5)) {
        store?.close();
        expect(fs.openFiles, `call ${n}`).toBe(0);
      }
      const contents = found(
        random.chance(0.3) ? copyOf(fs) : fs.crash(random, random.chance(0.5) ? 'worst' : 'any'),
      );
      const isNew = isSame(contents, after.contents);
      if (!isNew && !isSame(contents, old)) expect.fail(`call ${n}: ${JSON.stringify(contents.newest)}`);
    }
    expect(failures).toBeGreaterThan(2);
  });
});

/** A tree that flushes, compacts here or elsewhere, opens again, loses power and is replaced, against a list of all versions. */
function life(seed: string): {
  readonly restarts: number;
  readonly installs: number;
  readonly checks: number;
} {
  const random = new Random(seed);
  const options = randomOptions(random);
  const isElsewhere = random.chance(0.3);
  let fs = newDisk();
  let compactor = new LateCompactor(fs);
  let store = openStore(fs, options, isElsewhere ? compactor : undefined);
  let model = new ModelEngine();
  let writer = new VersionWriter([store.engine, model]);
  let durable = { versions: 0, index: 0, revision: 0 };
  const count = { restarts: 0, installs: 0, checks: 0 };

  const check = (): void => {
    const mine = answersOf(store.engine).join('\n');
    if (mine !== answersOf(model).join('\n')) expect(mine, seed).toBe(answersOf(model).join('\n'));
    count.checks += 1;
  };
  const reopen = (disk: CrashFileSystem): void => {
    fs = disk;
    compactor = new LateCompactor(fs);
    store = openStore(fs, options, isElsewhere ? compactor : undefined);
    const kept = model.all.slice(0, durable.versions);
    model = new ModelEngine();
    model.all.push(...kept);
    expect(store.newest?.meta.index ?? 0, seed).toBe(durable.index);
    // Which keys live is what the writer has to know; it tells the model again what that knows.
    writer = new VersionWriter([store.engine, model], durable.revision);
    count.restarts += 1;
    check();
  };

  for (let step = 0; step < 60; step++) {
    const choice = random.int(0, 9);
    if (choice <= 3) scatter(writer, random, { count: random.int(1, 50), keys: random.int(1, 200) });
    else if (choice <= 5) {
      const versions = model.all.length;
      save(store, { index: durable.index + 1, term: 1 }, [seed]);
      durable = { versions, index: durable.index + 1, revision: writer.revision };
    } else if (choice === 6) for (let i = random.int(1, 40); i > 0; i--) store.engine.work();
    else if (choice === 7) compactor.finish();
    else if (choice === 8 && random.chance(0.5)) {
      if (random.chance(0.5)) {
        store.close();
        expectTidy(fs);
        reopen(fs);
      } else reopen(fs.crash(random, random.chance(0.2) ? 'worst' : 'any'));
    } else if (choice === 9 && durable.index > 0 && random.chance(0.3)) {
      const disk = newDisk();
      const other = openStore(disk, randomOptions(random));
      const source = openSource(store);
      const incoming = other.receive(identityOf(store, source), []);
      deliver(incoming, partsOf(source), random);
      source.close();
      expect(verdictOf(incoming)).toBe('whole');
      other.install(incoming);
      other.close();
      count.installs += 1;
      reopen(disk.crash(random));
    }
    if (random.chance(0.2)) check();
  }
  check();
  return count;
}

test('a tree that is closed before it has taken what was merged elsewhere leaves nothing behind', () => {
  life('fresh/481922');
});

test('random lives of a tree answer as a list of all versions does', () => {
  const fresh = Date.now() % 1_000_000;
  const total = { restarts: 0, installs: 0, checks: 0 };
  for (let i = 0; i < 30; i++) {
    const seed = i < 22 ? `life/${i}` : `fresh/${fresh + i}`;
    try {
      const { restarts, installs, checks } = life(seed);
      total.restarts += restarts;
      total.installs += installs;
      total.checks += checks;
    } catch (error) {
      throw new Error(`In ${seed}`, { cause: error });
    }
  }
  expect(total.restarts).toBeGreaterThan(50);
  expect(total.installs).toBeGreaterThan(10);
});
