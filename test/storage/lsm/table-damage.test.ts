/** Whatever happens to the bytes of a table: it is noticed, and nobody is given a wrong answer. */
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromLatin1 } from '../../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../../src/lib/errors.ts';
import { Random } from '../../../src/lib/random.ts';
import type { File, FileSystem } from '../../../src/storage/fs.ts';
import { BlockCache } from '../../../src/storage/lsm/block-cache.ts';
import type { TableMeta } from '../../../src/storage/lsm/table-format.ts';
import { FOOTER_BYTES } from '../../../src/storage/lsm/table-writer.ts';
import { Table } from '../../../src/storage/lsm/table.ts';
import type { Version } from '../../../src/storage/version-engine.ts';
import { below, newDirectory, put, randomVersions, writeVersions } from './table-support.ts';

const PATH = 'tables/000001.sst';

function refuse(): never {
  throw new Error('a reader does not do that');
}

/** A disk with one file, of bytes that can be changed under whoever reads it. */
function diskOf(bytes: Uint8Array): FileSystem {
  const file: File = {
    read: (offset, length) => bytes.slice(offset, offset + length),
    size: () => bytes.length,
    close: () => undefined,
    write: refuse,
    truncate: refuse,
    sync: refuse,
  };
  return {
    open: () => file,
    exists: refuse,
    list: refuse,
    makeDirectory: refuse,
    rename: refuse,
    remove: refuse,
    syncDirectory: refuse,
  };
}

interface Example {
  readonly versions: readonly Version[];
  readonly bytes: Uint8Array;
  readonly meta: TableMeta;
}

/** A table of about 4 KiB in several blocks. */
function example(seed: number): Example {
  const fs = newDirectory();
  const random = new Random(seed);
  const versions = randomVersions(random, 60).map((version) =>
    version.version === 0 ? version : { ...version, value: fromLatin1('v'.repeat(below(random, 90))) },
  );
  const meta = writeVersions(fs, versions, { blockBytes: 700 });
  return { versions, meta, bytes: fs.peek(PATH) };
}

function tableOf(bytes: Uint8Array, meta: TableMeta): Table {
  return new Table({ fs: diskOf(bytes), directory: 'tables', meta, cache: new BlockCache(2 ** 20) });
}

/** What a call throws; undefined when it throws nothing. */
function thrownBy(call: () => void): unknown {
  try {
    call();
    return undefined;
  } catch (error) {
    return error;
  }
}

function isSame(a: Version | undefined, b: Version | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.key === b.key &&
    a.revision === b.revision &&
    a.sub === b.sub &&
    a.created === b.created &&
    a.version === b.version &&
    a.lease === b.lease &&
    Buffer.compare(a.value, b.value) === 0
  );
}

/** Whether reads of a damaged table throw {@link CorruptionError} or give what was written. */
function answersHonestly({ versions, meta }: Example, bytes: Uint8Array, probe: number): boolean {
  const table = tableOf(bytes, meta);
  const sought = versions[probe % versions.length];
  const reads = [
    () => sought !== undefined && isSame(table.get(sought.key, sought.revision), sought),
    () => [...table.forward()].every((version, i) => isSame(version, versions[i])),
    () => [...table.backward()].every((version, i) => isSame(version, versions[versions.length - 1 - i])),
  ];
  return reads.every((read) => {
    try {
      return read();
    } catch (error) {
      return error instanceof CorruptionError && error.message.includes(`"${PATH}" at offset `);
    }
  });
}

describe('a damaged table', () => {
  // Tens of thousands of errors are thrown here, and most of the time would go into stacks that nobody reads.
  const { stackTraceLimit } = Error;
  beforeAll(() => {
    Error.stackTraceLimit = 0;
  });
  afterAll(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });

  test('verify() notices every flipped bit, and reads never give a wrong answer', () => {
    const whole = example(7);
    expect(whole.bytes.length).toBeGreaterThan(3000);
    tableOf(whole.bytes, whole.meta).verify();
    const bytes = whole.bytes.slice();
    const missed: number[] = [];
    const lies: number[] = [];
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const byte = bytes[bit >> 3] ?? 0;
      bytes[bit >> 3] = byte ^ (1 << (bit & 7));
      if (!(thrownBy(() => tableOf(bytes, whole.meta).verify()) instanceof CorruptionError)) missed.push(bit);
      if (bit % 8 === (bit >> 3) % 8 && !answersHonestly(whole, bytes, bit)) lies.push(bit);
      bytes[bit >> 3] = byte;
    }
    expect(missed).toEqual([]);
    expect(lies).toEqual([]);
  }, 120_000);

  test('is noticed at every length but its own', () => {
    const { bytes, meta } = example(8);
    const missed: number[] = [];
    for (let length = 0; length < bytes.length; length++) {
      const part = bytes.subarray(0, length);
      const thrown = thrownBy(() => tableOf(part, meta).forward().next());
      const verified = thrownBy(() => tableOf(part, meta).verify());
      if (!(thrown instanceof CorruptionError && verified instanceof CorruptionError)) missed.push(length);
    }
    expect(missed).toEqual([]);
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    expect(thrownBy(() => tableOf(longer, meta).forward().next())).toBeInstanceOf(CorruptionError);
  });

  test('is noticed when blocks have changed places or bytes are overwritten', () => {
    const random = new Random(9);
    const whole = example(9);
    for (let i = 0; i < 300; i++) {
      const bytes = whole.bytes.slice();
      const length = 1 + below(random, 600);
      const [from, to] = [below(random, bytes.length), below(random, bytes.length)];
      bytes.set(bytes.slice(from, Math.min(from + length, bytes.length - Math.max(0, to - from))), to);
      if (Buffer.compare(bytes, whole.bytes) === 0) continue;
      const thrown = thrownBy(() => tableOf(bytes, whole.meta).verify());
      expect(thrown, `${length} bytes from ${from} to ${to}`).toBeInstanceOf(CorruptionError);
      expect(answersHonestly(whole, bytes, i), `${length} bytes from ${from} to ${to}`).toBe(true);
    }
  });

  test('is noticed when a block of equal size stands in the place of another', () => {
    const versions = Array.from({ length: 4 }, (_, i) => put('same', 9 - i, `${i}`.repeat(300)));
    const fs = newDirectory();
    const meta = writeVersions(fs, versions, { blockBytes: 300 });
    const bytes = fs.peek(PATH).slice();
    const blockBytes = bytes.indexOf('1'.charCodeAt(0)) - bytes.indexOf('0'.charCodeAt(0));
    bytes.copyWithin(blockBytes, 0, blockBytes);
    expect(() => tableOf(bytes, meta).get('same', 8)).toThrow(
      /^Cannot read table "tables\/000001.sst" at offset \d+: checksum is [0-9a-f]+, expected [0-9a-f]+$/,
    );
  });

  test('is noticed when a whole table of equal size stands in its place', () => {
    const [fs, other] = [newDirectory(), newDirectory()];
    const meta = writeVersions(fs, [put('a', 1, 'mine')]);
    writeVersions(other, [put('a', 2, 'your')]);
    const bytes = other.peek(PATH);
    expect(bytes.length).toBe(meta.bytes);
    expect(() => tableOf(bytes, meta).get('a', 9)).toThrow(/revisionMin is 2, expected 1$/);
  });

  test('rotted while it was open: what is in memory does not hide it from verify()', () => {
    const { bytes, meta, versions } = example(10);
    const table = tableOf(bytes, meta);
    expect([...table.forward()]).toHaveLength(versions.length);
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    expect(() => table.verify()).toThrow(CorruptionError);
  });

  test('a table of a later format is refused by name, and not called damaged', () => {
    const { bytes, meta } = example(11);
    const footer = bytes.subarray(bytes.length - FOOTER_BYTES);
    const view = new DataView(footer.buffer, footer.byteOffset);
    view.setUint32(32, 2, true);
    view.setUint32(36, crc32(footer.subarray(0, 36), bytes.length - FOOTER_BYTES), true);
    const thrown = thrownBy(() => tableOf(bytes, meta).get('a', 1));
    expect(thrown).toBeInstanceOf(StorageError);
    expect(thrown).toHaveProperty(
      'message',
      'Cannot open table "tables/000001.sst": its format is 2, this program reads up to 1; start a later version of it',
    );
  });
});
