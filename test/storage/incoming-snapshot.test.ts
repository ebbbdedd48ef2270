/** What arrives in parts is on disk as it was sent, whatever order the parts came in and whatever became of the process. */
import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../src/lib/bytes.ts';
import { StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { CrashFileSystem, nthCall } from '../../src/sim/disk.ts';
import { AHEAD_MAX, INCOMING_WINDOW_BYTES } from '../../src/storage/arrival-window.ts';
import { IncomingSnapshot } from '../../src/storage/incoming-snapshot.ts';
import { SNAPSHOT_SLICE_BYTES } from '../../src/storage/snapshot-file.ts';
import { identityOf, slicesOf, snapshotBytes } from '../support/snapshots.ts';

const POSITION = { index: 9, term: 2 };
const DIRECTORY = 'snapshots';

function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(DIRECTORY);
  fs.syncDirectory('.');
  return fs;
}

/** A snapshot of about so many bytes. */
function bytesOf(length: number): Uint8Array {
  const lines = Array.from({ length: Math.ceil(length / 1000) }, (_, i) => `${i} `.padEnd(999, 'x'));
  return snapshotBytes(POSITION, lines);
}

function open(fs: CrashFileSystem, bytes: Uint8Array): IncomingSnapshot {
  return new IncomingSnapshot(fs, DIRECTORY, identityOf(POSITION, bytes));
}

function verified(incoming: IncomingSnapshot): string {
  for (;;) {
    const verdict = incoming.verify();
    if (verdict.kind !== 'more') return verdict.kind;
  }
}

describe('IncomingSnapshot', () => {
  test('takes five parts in every order, each twice, and ends with what was sent', () => {
    const bytes = bytesOf(4.5 * SNAPSHOT_SLICE_BYTES);
    const slices = slicesOf(bytes);
    expect(slices).toHaveLength(5);
    for (const order of permutations([0, 1, 2, 3, 4])) {
      const fs = newDisk();
      const incoming = open(fs, bytes);
      for (const i of [...order, ...order]) {
        const [offset, slice] = slices[i] ?? [0, bytes];
        expect(incoming.write(offset, slice)).toBe(true);
      }
      expect(verified(incoming)).toBe('whole');
      expect(equalBytes(fs.peek(incoming.path), bytes)).toBe(true);
    }
  });

  test.each(['size', 'truncate'] as const)(
    'leaves no file open when going on with an earlier attempt fails at %s',
    (kind) => {
      const bytes = bytesOf(4 * SNAPSHOT_SLICE_BYTES);
      const fs = newDisk();
      open(fs, bytes).close();
      fs.intercept = nthCall(1, { kind: 'error', errno: 'EIO' }, kind);
      expect(() => open(fs, bytes)).toThrow(StorageError);
      expect(fs.openFiles).toBe(0);
    },
  );

  test('counts as received only what has no gap before it', () => {
    const bytes = bytesOf(4 * SNAPSHOT_SLICE_BYTES);
    const incoming = open(newDisk(), bytes);
    const size = SNAPSHOT_SLICE_BYTES;
    const write = (i: number): number => {
      incoming.write(i * size, bytes.subarray(i * size, (i + 1) * size));
      return incoming.received / size;
    };
    expect([write(1), write(2), write(0)]).toEqual([0, 0, 3]);
    expect(incoming.isComplete).toBe(false);
    expect(() => incoming.verify()).toThrow('Only a complete snapshot');
  });

  test('takes nothing outside its window, and nothing behind the end', () => {
    const bytes = bytesOf(3 * INCOMING_WINDOW_BYTES);
    const incoming = open(newDisk(), bytes);
    expect(incoming.windowBytes).toBe(INCOMING_WINDOW_BYTES);
    expect(incoming.write(INCOMING_WINDOW_BYTES - 3, new Uint8Array(4))).toBe(false);
    expect(incoming.write(INCOMING_WINDOW_BYTES - 3, new Uint8Array(3))).toBe(true);
    const short = open(newDisk(), bytesOf(100));
    expect(short.write(0, new Uint8Array(short.identity.totalBytes + 1))).toBe(false);
  });

  test('bounds the pieces behind a gap', () => {
    const incoming = open(newDisk(), bytesOf(INCOMING_WINDOW_BYTES));
    let taken = 0;
    for (let i = 1; i < 1000; i++) if (incoming.write(2 * i, new Uint8Array(1))) taken += 1;
    expect(taken).toBe(AHEAD_MAX);
  });

  test('goes on after a restart, and after a power cut, with nothing that was not sent', () => {
    const bytes = bytesOf(48 * 1024 * 1024);
    const slices = slicesOf(bytes);
    const random = new Random('incoming');
    let resumed = 0;
    for (let run = 0; run < 8; run++) {
      let fs = newDisk();
      let incoming = open(fs, bytes);
      fs.syncDirectory(DIRECTORY);
      const untilPart = random.int(1, slices.length - 1);
      for (let i = 0; i < untilPart; i++) {
        // Some parts come early, some of them are lost.
        const early = slices[i + random.int(0, 8)];
        if (early !== undefined) incoming.write(...early);
        incoming.write(...(slices[i] ?? [0, bytes]));
      }
      if (run % 4 === 0) incoming.close();
      else fs = fs.crash(random);
      incoming = open(fs, bytes);
      if (incoming.received > 0) resumed += 1;
      const held = fs.peek(incoming.path).subarray(0, incoming.received);
      if (!equalBytes(held, bytes.subarray(0, incoming.received))) expect.fail(`run ${run}`);
      for (const [offset, slice] of slices) if (offset >= incoming.received) incoming.write(offset, slice);
      expect(verified(incoming)).toBe('whole');
    }
    expect(resumed).toBeGreaterThan(2);
  });

  test('finds every single damaged byte of a small snapshot, and a snapshot of another position', () => {
    const bytes = bytesOf(50);
    for (let i = 0; i < bytes.length; i++) {
      const damaged = bytes.slice();
      damaged[i] = (damaged[i] ?? 0) ^ 0x10;
      const incoming = open(newDisk(), bytes);
      incoming.write(0, damaged);
      expect(verified(incoming), `byte ${i}`).toBe('damaged');
    }
    for (const position of [
      { index: 8, term: 2 },
      { index: 9, term: 1 },
    ]) {
      const incoming = new IncomingSnapshot(newDisk(), DIRECTORY, identityOf(position, bytes));
      incoming.write(0, bytes);
      expect(verified(incoming)).toBe('damaged');
    }
  });

  test('finds that all together are not what was offered, whole as they may be', () => {
    const bytes = bytesOf(50);
    const identity = { ...identityOf(POSITION, bytes), crc32: 7 };
    const incoming = new IncomingSnapshot(newDisk(), DIRECTORY, identity);
    incoming.write(0, bytes);
    expect(verified(incoming)).toBe('damaged');
  });

  test('says of a later format that it is one', () => {
    const bytes = snapshotBytes({ ...POSITION, format: 3 }, []);
    const incoming = open(newDisk(), bytes);
    incoming.write(0, bytes);
    expect(incoming.verify()).toEqual({
      kind: 'newer',
      why: 'its format is 3, this program reads up to 2; start a later version of it',
    });
  });

  test('leaves its file on close, and removes it on discard, once', () => {
    const fs = newDisk();
    const bytes = bytesOf(100);
    open(fs, bytes).close();
    expect(fs.list(DIRECTORY)).toHaveLength(1);
    const incoming = open(fs, bytes);
    incoming.discard();
    incoming.discard();
    incoming.close();
    expect(fs.list(DIRECTORY)).toEqual([]);
    expect(fs.openFiles).toBe(0);
  });
});

function permutations(items: readonly number[]): readonly (readonly number[])[] {
  if (items.length === 0) return [[]];
  return items.flatMap((first) =>
    permutations(items.filter((item) => item !== first)).map((rest) => [first, ...rest]),
  );
}
