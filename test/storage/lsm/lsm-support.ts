/** Shared by the tests of the tree: odd sizes, and what must be true of its directory. */
import { expect } from 'vitest';
import { utf8 } from '../../../src/lib/bytes.ts';
import { Random } from '../../../src/lib/random.ts';
import { CrashFileSystem } from '../../../src/sim/disk.ts';
import { compactNow } from '../../../src/storage/lsm/compaction.ts';
import { allTables } from '../../../src/storage/lsm/levels.ts';
import { LsmStore } from '../../../src/storage/lsm/lsm-store.ts';
import { Manifest } from '../../../src/storage/lsm/manifest.ts';
import {
  LSM_OPTIONS,
  type Compactor,
  type LsmOptions,
  type TableMeta,
} from '../../../src/storage/lsm/table-format.ts';
import type { EngineStats } from '../../../src/storage/version-engine.ts';
import { deliver, identityOf, openSource, partsOf, save, verdictOf } from '../../support/checkpoints.ts';
import { tidied } from '../../support/tidied.ts';
import { ModelEngine, VersionWriter, workOut } from '../../support/version-model.ts';

export const DIRECTORY = 'data/lsm';

/** Everything is small, so that little data makes many tables on many levels. */
export const TINY: LsmOptions = {
  ...LSM_OPTIONS,
  memtableBytesMax: 4000,
  tableBytesMax: 600,
  blockBytes: 128,
  cacheBytesMax: 4096,
  level0Tables: 2,
  level0TablesMax: 6,
  level1Bytes: 1500,
  levelFactor: 3,
  openTablesMax: 3,
};

/** Sizes that no sane person would choose, and some that one would. */
export function randomOptions(random: Random): LsmOptions {
  const level0Tables = random.int(1, 4);
  return {
    memtableBytesMax: random.int(400, 40_000),
    tableBytesMax: random.int(1, 6000),
    blockBytes: random.int(64, 4096),
    bloomBitsPerKey: random.int(1, 12),
    cacheBytesMax: random.chance(0.3) ? 0 : random.int(0, 100_000),
    level0Tables,
    level0TablesMax: level0Tables + random.int(1, 5),
    level1Bytes: random.int(1, 10_000),
    levelFactor: random.int(2, 10),
    openTablesMax: random.int(1, 10),
  };
}

export function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory('data');
  fs.syncDirectory('.');
  return fs;
}

export function openStore(fs: CrashFileSystem, options: LsmOptions = TINY, compactor?: Compactor): LsmStore {
  return tidied(openUntidied(fs, options, compactor));
}

/** Opened, and nobody knows yet whether it fits to the log. */
export function openUntidied(
  fs: CrashFileSystem,
  options: LsmOptions = TINY,
  compactor?: Compactor,
): LsmStore {
  return new LsmStore({
    fs,
    directory: DIRECTORY,
    options,
    manifestEditBytesMax: 2000,
    ...(compactor !== undefined && { compactor }),
  });
}

/** All files of a directory with their bytes. */
export function imageOf(fs: CrashFileSystem): ReadonlyMap<string, string> {
  return new Map(
    fs.list(DIRECTORY).map((name) => [name, Buffer.from(fs.peek(`${DIRECTORY}/${name}`)).toString('latin1')]),
  );
}

/** The files that a tree may have, from its manifest alone: I22. Closed stores only. */
export function expectedFiles(fs: CrashFileSystem): readonly string[] {
  const manifest = new Manifest({ fs, directory: DIRECTORY });
  const { state, name } = manifest;
  manifest.close();
  const numbers = Array.from(allTables(state.levels), ({ meta }) => `${pad(meta.number)}.sst`);
  const files = ['CURRENT', name, ...numbers];
  if (state.checkpoint !== undefined) files.push(`${pad(state.checkpoint.number)}.state`);
  return files.toSorted();
}

/** What must be true of a directory right after an open and a close: nothing is missing, nothing is left over. */
export function expectTidy(fs: CrashFileSystem): void {
  const present = fs.list(DIRECTORY).filter((name) => !name.startsWith('incoming-'));
  const expected = expectedFiles(fs);
  const arrivals = fs.list(DIRECTORY).length - present.length;
  if (arrivals === 0) expect(present).toEqual(expected);
  else for (const name of expected) expect(present).toContain(name);
}

/** Ascending revisions over some keys, with deletes. */
export function scatter(
  writer: VersionWriter,
  random: Random,
  how: { readonly count: number; readonly keys?: number; readonly valueBytes?: number },
): void {
  const { count, keys = 100, valueBytes = 20 } = how;
  for (let i = 0; i < count; i++) {
    writer.next();
    const key = `key${String(random.int(0, keys - 1)).padStart(5, '0')}`;
    if (random.chance(0.2)) writer.delete(key);
    else writer.put(key, utf8('v'.repeat(random.int(0, valueBytes))));
  }
}

/** Does jobs when told to, like a thread elsewhere. */
export class LateCompactor implements Compactor {
  readonly #fs: CrashFileSystem;
  #waiting: (() => void)[] = [];

  constructor(fs: CrashFileSystem) {
    this.#fs = fs;
  }

  get count(): number {
    return this.#waiting.length;
  }

  run(...[job, done]: Parameters<Compactor['run']>): void {
    this.#waiting.push(() => done(compactNow(this.#fs, job)));
  }

  finish(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
  }
}

/** A description of a table for tests without files. */
export function metaOf(number: number, more: Partial<TableMeta> = {}): TableMeta {
  return {
    number,
    bytes: 100,
    crc32: 0,
    first: 'a',
    last: 'z',
    revisionMin: number,
    revisionMax: number,
    versions: 10,
    obsolete: 0,
    ...more,
  };
}

function pad(number: number): string {
  return String(number).padStart(6, '0');
}

export type LsmStats = Extract<EngineStats, { readonly kind: 'lsm' }>;

export function statsOf(store: LsmStore): LsmStats {
  const { stats } = store.engine;
  return stats.kind === 'lsm' ? stats : expect.fail('not a tree');
}

export function tablesOf(store: LsmStore): readonly number[] {
  return statsOf(store).levels.map((level) => level.tables);
}

/** A store with tables on some levels, and a model of it. */
export function grown(
  options: LsmOptions = TINY,
  how: { readonly fs?: CrashFileSystem; readonly rounds?: number; readonly keys?: number } = {},
) {
  const { fs = newDisk(), rounds = 10, keys = 100 } = how;
  const store = openStore(fs, options);
  const model = new ModelEngine();
  const writer = new VersionWriter([store.engine, model]);
  const random = new Random('grown');
  for (let index = 1; index <= rounds; index++) {
    scatter(writer, random, { count: 60, keys });
    save(store, { index, term: 1 }, [`state ${index}`]);
    workOut(store.engine);
  }
  return { fs, store, model, writer, random, index: rounds };
}

/** Sends a checkpoint and installs it. */
export function install(from: LsmStore, to: LsmStore): void {
  const source = openSource(from);
  const incoming = to.receive(identityOf(from, source), []);
  deliver(incoming, partsOf(source), new Random('way'));
  source.close();
  expect(verdictOf(incoming)).toBe('whole');
  to.install(incoming);
}
