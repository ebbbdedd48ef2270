/** Tables are read as they were written, from every place and in both directions. */
import { describe, expect, test } from 'vitest';
import { at } from '../../../src/lib/assert.ts';
import { Random } from '../../../src/lib/random.ts';
import { BlockCache } from '../../../src/storage/lsm/block-cache.ts';
import {
  below,
  naiveGet,
  newDirectory,
  openTable,
  plain,
  put,
  randomKey,
  randomVersions,
  tombstone,
  writeVersions,
} from './table-support.ts';

describe('a table', () => {
  test('larger than what is read ahead gives in one pass what it gives block by block', () => {
    const random = new Random(1);
    const versions = Array.from({ length: 300 }, (_, i) => {
      // Blocks of a few hundred bytes, of some kilobytes, and some that are larger than a piece.
      const bytes = at([100, 3000, 10_000, 100_000], random.chance(0.02) ? 3 : below(random, 3));
      return put(`key-${String(i).padStart(5, '0')}`, i + 1, String.fromCharCode(i % 256).repeat(bytes));
    });
    const fs = newDirectory();
    const meta = writeVersions(fs, versions, { blockBytes: 4096 });
    const table = openTable(fs, meta, new BlockCache(0));
    expect(meta.bytes).toBeGreaterThan(1_000_000);
    table.verify();
    const passed = Array.from(table.pass(), (version) => plain([version])).flat();
    expect(passed).toEqual(plain(versions));
    table.close();
  });

  test('gives back random versions by key, forward and backward, like a naive search', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new Random(seed);
      const versions = randomVersions(random, 1 + below(random, 400));
      const fs = newDirectory();
      const blockBytes = at([64, 200, 1000, 8192], below(random, 4));
      const meta = writeVersions(fs, versions, { blockBytes });
      const table = openTable(fs, meta, new BlockCache(random.chance(0.3) ? 0 : 3000));
      const where = `seed ${seed}`;
      table.verify();
      expect(plain(table.forward()), where).toEqual(plain(versions));
      // What it gives may be used until the next: looked at one by one.
      const passed = Array.from(table.pass(), (version) => plain([version])).flat();
      expect(passed, where).toEqual(plain(versions));
      expect(plain(table.backward()), where).toEqual(plain(versions.toReversed()));
      for (let i = 0; i < 120; i++) {
        const known = at(versions, below(random, versions.length));
        const key = random.chance(0.7) ? known.key : randomKey(random);
        const revision = random.chance(0.7) ? known.revision - below(random, 2) : below(random, 2 ** 42);
        const found = table.get(key, revision);
        const expected = naiveGet(versions, key, revision);
        expect(found === undefined ? [] : plain([found]), where).toEqual(
          expected === undefined ? [] : plain([expected]),
        );
        if (i % 10 > 0) continue;
        expect(plain(table.forward(key)), where).toEqual(plain(versions.filter((one) => one.key >= key)));
        expect(plain(table.backward(key)), where).toEqual(
          plain(versions.filter((one) => one.key < key).toReversed()),
        );
      }
      table.close();
    }
  });

  test('describes itself like its writer did', () => {
    const fs = newDirectory();
    const versions = [put('a', 9), put('a', 4), tombstone('b', 7), put('c', 3), tombstone('c', 2)];
    const meta = writeVersions(fs, versions, { number: 42 });
    expect(meta).toMatchObject({
      number: 42,
      first: 'a',
      last: 'c',
      revisionMin: 2,
      revisionMax: 9,
      versions: 5,
      obsolete: 3,
    });
    expect(meta.bytes).toBe(fs.peek('tables/000042.sst').length);
  });
});
