/** Shared by the tests of tables: versions in short form, random runs, and the naive answers to compare with. */
import { fromLatin1 } from '../../../src/lib/bytes.ts';
import type { Random } from '../../../src/lib/random.ts';
import { CrashFileSystem } from '../../../src/sim/disk.ts';
import { BlockCache } from '../../../src/storage/lsm/block-cache.ts';
import type { TableMeta } from '../../../src/storage/lsm/table-format.ts';
import { writeTable } from '../../../src/storage/lsm/table-writer.ts';
import { Table } from '../../../src/storage/lsm/table.ts';
import type { Version } from '../../../src/storage/version-engine.ts';

/** A put: the first of its life unless said otherwise. */
export function put(
  key: string,
  revision: number,
  value: string = `${key}@${revision}`,
  more: Partial<Version> = {},
): Version {
  return {
    key,
    revision,
    sub: 0,
    created: revision,
    version: 1,
    lease: 0n,
    value: fromLatin1(value),
    ...more,
  };
}

export function tombstone(key: string, revision: number, sub = 0): Version {
  return { key, revision, sub, created: 0, version: 0, lease: 0n, value: new Uint8Array(0) };
}

/** The order of a run: by key, and of one key the newest first. */
export function byOrder(a: Version, b: Version): number {
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  return b.revision - a.revision;
}

/** Values as numbers, so that versions from different buffers compare equal. */
export function plain(
  versions: Iterable<Version>,
): readonly (Omit<Version, 'value'> & { readonly value: string })[] {
  return [...versions].map((version) => ({
    ...version,
    value: Buffer.from(version.value).toString('latin1'),
  }));
}

/** A natural number below `limit`. */
export function below(random: Random, limit: number): number {
  return random.int(0, limit - 1);
}

/** Keys that are alike in many ways: shared beginnings, one the beginning of another, bytes from 0x00 to 0xff. */
export function randomKey(random: Random): string {
  const letters = ['\u0000', 'a', 'b', '\u007f', '\u0080', '\u00ff'];
  const common = random.chance(0.5) ? 'a-long-beginning-of-many-keys/' : '';
  let key = common;
  const length = below(random, 6);
  for (let i = 0; i < length; i++) key += letters[below(random, letters.length)] ?? '';
  return key;
}

/** About `count` versions of random keys, in the order of a run. */
export function randomVersions(random: Random, count: number): readonly Version[] {
  const versions: Version[] = [];
  for (let i = 0; i < count; i++) {
    const key = randomKey(random);
    const scale = random.chance(0.1) ? 2 ** 40 : 1;
    const revision = (1 + i) * scale + below(random, scale);
    if (versions.some((other) => other.key === key && other.revision === revision)) continue;
    const sub = random.chance(0.2) ? below(random, 300) : 0;
    if (random.chance(0.2)) {
      versions.push(tombstone(key, revision, sub));
      continue;
    }
    const lease = random.chance(0.2)
      ? BigInt.asIntN(64, BigInt(below(random, 2 ** 31)) * -0x1_2345_6789n)
      : 0n;
    const isFirst = random.chance(0.5);
    const value = random.chance(0.02) ? 'v'.repeat(5000) : 'v'.repeat(below(random, 40));
    versions.push(
      put(key, revision, value, {
        sub,
        lease,
        ...(isFirst
          ? {}
          : { created: 1 + below(random, Math.min(revision, 2 ** 31)), version: 2 + below(random, 500) }),
      }),
    );
  }
  return versions.toSorted(byOrder);
}

export function newDirectory(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory('tables');
  return fs;
}

/** A table of these versions, in their order. */
export function writeVersions(
  fs: CrashFileSystem,
  versions: readonly Version[],
  options: { readonly number?: number; readonly blockBytes?: number } = {},
): TableMeta {
  const { number = 1, blockBytes = 512 } = options;
  return writeTable(
    { fs, directory: 'tables', number, blockBytes, bloomBitsPerKey: 10 },
    versions[Symbol.iterator](),
  );
}

export function openTable(
  fs: CrashFileSystem,
  meta: TableMeta,
  cache: BlockCache = new BlockCache(2 ** 20),
): Table {
  return new Table({ fs, directory: 'tables', meta, cache });
}

/** What a table should answer, found without one. */
export function naiveGet(versions: readonly Version[], key: string, revision: number): Version | undefined {
  return versions.find((version) => version.key === key && version.revision <= revision);
}
