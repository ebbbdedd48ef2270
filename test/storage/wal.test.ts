import { describe, expect, test } from 'vitest';

import { concatBytes, utf8 } from '../../src/lib/bytes.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { RECORD_HEADER_BYTES } from '../../src/storage/record.ts';
import { SEGMENT_HEADER_BYTES, encodeSegmentHeader } from '../../src/storage/segment.ts';
import type { Wal } from '../../src/storage/wal.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import { nthCall } from '../../src/sim/disk.ts';
import { diskWith, newDisk, openWal, put, recovered, texts, worst } from './wal-support.ts';

const FIRST = 'wal/000001.wal';

/** One segment, with a sync after each of the groups. */
function segmentOf(groups: readonly (readonly string[])[]): Uint8Array {
  const fs = newDisk();
  const { wal } = openWal(fs);
  for (const group of groups) {
    for (const text of group) put(wal, text);
    wal.sync();
  }
  wal.close();
  return fs.peek(FIRST);
}

/** Three segments with two records each. */
function threeSegments(): CrashFileSystem {
  const fs = newDisk();
  const { wal } = openWal(fs);
  for (const number of [1, 2, 3]) {
    if (number > 1) wal.roll();
    put(wal, `a${number}`);
    wal.sync();
    put(wal, `b${number}`);
    wal.sync();
  }
  wal.close();
  return fs;
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice();
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** Every method refuses, naming the first failure. */
function poisoned(wal: Wal): void {
  for (const call of [() => put(wal, 'x'), () => wal.sync(), () => wal.roll(), () => wal.removeBefore(1)]) {
    expect(call).toThrow(StorageError);
    expect(call).toThrow(/failed before and is not trusted: Cannot .* "wal\/000001.wal": E/);
  }
}

describe('Wal', () => {
  test('Wal.open() creates a log that is durable at once', () => {
    const fs = newDisk();
    const { wal, records, cut } = openWal(fs);
    expect([records, cut, wal.segment, wal.firstSegment, wal.bytes]).toEqual([
      [],
      undefined,
      1,
      1,
      SEGMENT_HEADER_BYTES,
    ]);
    expect(worst(fs).list('wal')).toEqual(['000001.wal']);
  });

  test('append() keeps type, shard and parts, in one write call a record', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    let writes = 0;
    fs.intercept = (call) => {
      if (call.kind === 'write') writes += 1;
      return undefined;
    };
    wal.append(255, 65_535, [utf8('one'), new Uint8Array(0), utf8('two')]);
    wal.append(1, 0, []);
    wal.append(2, 7, [new Uint8Array(3_000_000).fill(9)]);
    expect(writes).toBe(3);
    wal.close();
    const { records } = openWal(fs);
    expect(records.map(({ segment, type, shard }) => [segment, type, shard])).toEqual([
      [1, 255, 65_535],
      [1, 1, 0],
      [1, 2, 7],
    ]);
    expect(texts(records.slice(0, 2))).toEqual(['onetwo', '']);
    expect(records[2]?.payload.length).toBe(3_000_000);
    expect(records[2]?.payload.every((byte) => byte === 9)).toBe(true);
    expect(wal.bytes).toBe(fs.peek(FIRST).length);
  });

  test('sync() makes records durable with one sync call, or none when there is nothing new', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    let syncs = 0;
    fs.intercept = (call) => {
      if (call.kind === 'sync') syncs += 1;
      return undefined;
    };
    put(wal, 'a');
    put(wal, 'b');
    expect(wal.isDirty).toBe(true);
    wal.sync();
    wal.sync();
    expect([syncs, wal.isDirty]).toEqual([1, false]);
    put(wal, 'lost');
    expect(recovered(worst(fs))).toEqual(['a', 'b']);
  });

  test('a reopened log is appended to where it ended', () => {
    const fs = newDisk();
    for (const text of ['a', 'b', 'c']) {
      const { wal } = openWal(fs);
      put(wal, text);
      wal.close();
    }
    expect(recovered(fs)).toEqual(['a', 'b', 'c']);
    expect(fs.openFiles).toBe(0);
  });

  test('shouldRoll, roll() and removeBefore() move the log forward', () => {
    const fs = newDisk();
    const { wal } = openWal(fs, 100);
    put(wal, 'x'.repeat(50));
    expect(wal.shouldRoll).toBe(false);
    put(wal, 'y');
    expect(wal.shouldRoll).toBe(true);
    wal.roll();
    expect([wal.segment, wal.firstSegment, wal.shouldRoll]).toEqual([2, 1, false]);
    put(wal, 'z');
    wal.roll();
    put(wal, 'restated');
    wal.sync();
    expect(texts(openWal(worst(fs)).records)).toEqual(['x'.repeat(50), 'y', 'z', 'restated']);
  });

  test('removeBefore() deletes the oldest first, durably, and counts bytes', () => {
    const fs = threeSegments();
    const { wal } = openWal(fs);
    const before = wal.bytes;
    wal.removeBefore(1);
    expect(wal.bytes).toBe(before);
    wal.removeBefore(3);
    expect([wal.firstSegment, wal.bytes]).toEqual([3, fs.peek('wal/000003.wal').length]);
    wal.close();
    const after = worst(fs);
    expect(after.list('wal')).toEqual(['000003.wal']);
    expect(recovered(after)).toEqual(['a3', 'b3']);
    expect(() => openWal(after).wal.removeBefore(4)).toThrow(/current segment/);
  });

  test('segments beyond 999999 keep their order', () => {
    const fs = newDisk();
    let { wal } = openWal(fs);
    put(wal, 'old');
    wal.close();
    // A log whose first million segments are gone, as after years.
    fs.remove(FIRST);
    fs.poke('wal/999999.wal', encodeSegmentHeader(999_999, 0));
    ({ wal } = openWal(fs));
    put(wal, 'a');
    wal.roll();
    put(wal, 'b');
    wal.close();
    expect(fs.list('wal')).toEqual(['1000000.wal', '999999.wal']);
    expect(recovered(fs)).toEqual(['a', 'b']);
  });
});

describe('Wal.open() and torn tails', () => {
  test('Wal.open() cuts a torn tail at every byte of the last record', () => {
    const whole = segmentOf([['first', 'second'], ['the last one']]);
    const start = whole.length - RECORD_HEADER_BYTES - 'the last one'.length;
    for (let length = start + 1; length < whole.length; length++) {
      const fs = diskWith({ '000001.wal': whole.slice(0, length) });
      const { wal, records, cut } = openWal(fs);
      expect(texts(records)).toEqual(['first', 'second']);
      expect(cut).toEqual({ segment: 1, offset: start, bytes: length - start });
      put(wal, 'next');
      wal.sync();
      expect(recovered(worst(fs))).toEqual(['first', 'second', 'next']);
    }
  });

  test('Wal.open() of a last segment cut at any length keeps a prefix of the records', () => {
    const whole = segmentOf([['a'], ['bb'], ['ccc']]);
    const ends = [SEGMENT_HEADER_BYTES];
    for (const text of ['a', 'bb', 'ccc']) ends.push((ends.at(-1) ?? 0) + RECORD_HEADER_BYTES + text.length);
    for (let length = 0; length <= whole.length; length++) {
      const fs = diskWith({ '000001.wal': whole.slice(0, length) });
      const { wal, records, cut } = openWal(fs);
      const kept = ends.filter((end) => end <= length).length - 1;
      expect(texts(records)).toEqual(['a', 'bb', 'ccc'].slice(0, Math.max(0, kept)));
      expect(cut === undefined).toBe(ends.includes(length));
      put(wal, 'next');
      wal.close();
      expect(recovered(fs)).toEqual([...texts(records), 'next']);
    }
  });

  test('Wal.open() cuts zeros, and garbage, behind the last record', () => {
    const whole = segmentOf([['a'], ['b']]);
    const garbage = Uint8Array.from({ length: 5000 }, (_, i) => (i * 167) & 0xff);
    for (const tail of [new Uint8Array(1), new Uint8Array(4096), garbage]) {
      const { records, cut } = openWal(diskWith({ '000001.wal': concatBytes([whole, tail]) }));
      expect(texts(records)).toEqual(['a', 'b']);
      expect(cut).toEqual({ segment: 1, offset: whole.length, bytes: tail.length });
    }
  });

  test('Wal.open() cuts at a hole in the unsynced tail although a later record survived (etcd 6378)', () => {
    const whole = segmentOf([['synced'], ['lost one', 'survivor']]);
    const hole = SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + 'synced'.length;
    const holed = whole.slice().fill(0, hole, hole + RECORD_HEADER_BYTES + 'lost one'.length);
    const fs = diskWith({ '000001.wal': holed });
    const { wal, records, cut } = openWal(fs);
    expect(texts(records)).toEqual(['synced']);
    expect(cut).toEqual({ segment: 1, offset: hole, bytes: whole.length - hole });
    // The survivor must not come back behind a new record of the lost one's length.
    put(wal, 'new one!');
    wal.sync();
    expect(recovered(worst(fs))).toEqual(['synced', 'new one!']);
  });

  test('Wal.open() finds the same hole to be damage when a later record says it was durable', () => {
    const whole = segmentOf([['synced'], ['lost one', 'survivor'], ['witness']]);
    const hole = SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + 'synced'.length;
    const holed = whole.slice().fill(0, hole, hole + RECORD_HEADER_BYTES + 'lost one'.length);
    const witness = whole.length - RECORD_HEADER_BYTES - 'witness'.length;
    const fs = diskWith({ '000001.wal': holed });
    expect(() => openWal(fs)).toThrow(CorruptionError);
    expect(() => openWal(fs)).toThrow(
      new RegExp(
        `^Cannot open segment "wal/000001.wal": damaged at offset ${hole}: checksum is .*; the record at offset ${witness} shows that it was durable; restore`,
      ),
    );
    expect(fs.peek(FIRST)).toEqual(holed);
  });

  test('records inside a payload are payload, also when the record around them is torn', () => {
    // A client stores a copy of a segment whose records claim durability at matching offsets.
    const inner = segmentOf([['x'], ['y'], ['z']]);
    const fs = newDisk();
    const { wal } = openWal(fs);
    put(wal, 'a');
    wal.sync();
    wal.append(1, 0, [inner.subarray(SEGMENT_HEADER_BYTES), inner]);
    wal.sync();
    wal.close();
    const bytes = fs.peek(FIRST);
    const damaged = bytes.slice();
    damaged[SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + 1] = 0; // the length of the outer record
    expect(texts(openWal(diskWith({ '000001.wal': damaged })).records)).toEqual(['a']);
  });

  test('a segment torn while it was created is removed, and the one before is appended to', () => {
    const fs = threeSegments();
    const header = encodeSegmentHeader(4, fs.peek('wal/000003.wal').length);
    for (let length = 0; length < header.length; length++) {
      for (const tail of [
        header.slice(0, length),
        concatBytes([header.slice(0, length), new Uint8Array(24 - length)]),
      ]) {
        const disk = threeSegments();
        disk.poke('wal/000004.wal', tail);
        const { wal, cut } = openWal(disk);
        expect(wal.segment).toBe(3);
        expect(cut).toEqual({ segment: 4, offset: 0, bytes: tail.length });
        put(wal, 'c3');
        wal.roll();
        put(wal, 'a4');
        wal.close();
        expect(recovered(worst(disk))).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'b3', 'c3', 'a4']);
      }
    }
  });

  test('opening twice changes nothing', () => {
    const fs = diskWith({ '000001.wal': segmentOf([['a'], ['b']]).slice(0, -1) });
    expect(recovered(fs)).toEqual(['a']);
    const image = fs.peek(FIRST);
    expect(recovered(fs)).toEqual(['a']);
    expect(fs.peek(FIRST)).toEqual(image);
    expect(fs.hasPending).toBe(false);
  });
});

describe('Wal.open() and damage', () => {
  test('every single-bit flip before the last record is corruption; in the last record it cuts at worst', () => {
    const all = ['one', 'two', 'three', 'four', 'last'];
    const whole = segmentOf([['one', 'two'], ['three'], ['four'], ['last']]);
    const lastStart = whole.length - RECORD_HEADER_BYTES - 'last'.length;
    let refused = 0;
    let cuts = 0;
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const fs = diskWith({ '000001.wal': flipped(whole, bit) });
      if (bit >> 3 < lastStart) {
        expect(() => openWal(fs), `bit ${bit}`).toThrow(CorruptionError);
        refused += 1;
      } else {
        const { records, cut } = openWal(fs);
        expect(texts(records), `bit ${bit}`).toEqual(all.slice(0, -1));
        expect(cut?.offset).toBe(lastStart);
        cuts += 1;
      }
    }
    expect([refused, cuts]).toEqual([lastStart * 8, (whole.length - lastStart) * 8]);
  });

  test('every single-bit flip in a segment that is not the last is corruption', () => {
    const fs = threeSegments();
    const names = ['000001.wal', '000002.wal'];
    for (const name of names) {
      const whole = fs.peek(`wal/${name}`);
      for (let bit = 0; bit < whole.length * 8; bit++) {
        fs.poke(`wal/${name}`, flipped(whole, bit));
        expect(() => openWal(fs), `${name} bit ${bit}`).toThrow(CorruptionError);
      }
      fs.poke(`wal/${name}`, whole);
    }
    expect(recovered(fs)).toHaveLength(6);
  });

  test('a segment that is not the last, cut at any length or made longer, is corruption', () => {
    const fs = threeSegments();
    const whole = fs.peek('wal/000002.wal');
    for (let length = 0; length < whole.length; length++) {
      fs.poke('wal/000002.wal', whole.slice(0, length));
      expect(() => openWal(fs), `length ${length}`).toThrow(CorruptionError);
    }
    fs.poke('wal/000002.wal', concatBytes([whole, new Uint8Array(1)]));
    expect(() => openWal(fs)).toThrow(/"wal\/000002.wal": damaged at offset/);
  });

  test('a missing segment is corruption', () => {
    const fs = threeSegments();
    fs.remove('wal/000002.wal');
    expect(() => openWal(fs)).toThrow(CorruptionError);
    expect(() => openWal(fs)).toThrow(/segment "000002.wal" is missing/);
  });

  test('a segment under the name of another is corruption', () => {
    const fs = threeSegments();
    fs.poke('wal/000004.wal', fs.peek('wal/000003.wal'));
    expect(() => openWal(fs)).toThrow(/"wal\/000004.wal": damaged at offset 0: it says it is segment 3/);
  });

  test('a record in the place of one of another segment is not a record', () => {
    const fs = threeSegments();
    const bytes = fs.peek('wal/000003.wal');
    bytes.set(fs.peek('wal/000002.wal').subarray(SEGMENT_HEADER_BYTES), SEGMENT_HEADER_BYTES);
    fs.poke('wal/000003.wal', bytes);
    const { records, cut } = openWal(fs);
    expect(texts(records)).toEqual(['a1', 'b1', 'a2', 'b2']);
    expect(cut).toEqual({
      segment: 3,
      offset: SEGMENT_HEADER_BYTES,
      bytes: bytes.length - SEGMENT_HEADER_BYTES,
    });
  });

  test('a header torn on the only segment above 1 is corruption: its predecessor went only after it had records', () => {
    const fs = diskWith({ '000005.wal': new Uint8Array(3) });
    expect(() => openWal(fs)).toThrow(CorruptionError);
    expect(fs.list('wal')).toEqual(['000005.wal']);
  });

  test('a newer format and a foreign file are refused by name', () => {
    const header = encodeSegmentHeader(1, 0);
    const view = new DataView(header.buffer);
    view.setUint32(8, 2, true);
    view.setUint32(20, crc32(header, 0, 20), true);
    expect(() => openWal(diskWith({ '000001.wal': header }))).toThrow(
      /its format is 2, this program reads up to 1; start a later version of it$/,
    );
    for (const name of ['000001.wal.bak', '1.wal', '0000001.wal', '000000.wal', 'notes']) {
      const fs = diskWith({ [name]: new Uint8Array(0) });
      expect(() => openWal(fs), name).toThrow(StorageError);
      expect(fs.list('wal')).toEqual([name]);
    }
    expect(recovered(diskWith({ '.DS_Store': utf8('x') }))).toEqual([]);
  });

  test('garbage in place of the only segment is corruption, and is not touched', () => {
    for (let seed = 1; seed < 50; seed++) {
      const bytes = Uint8Array.from({ length: 24 + seed }, (_, i) => Math.imul(i + seed, 0x9e3779b9) >>> 24);
      const fs = diskWith({ '000001.wal': bytes });
      expect(() => openWal(fs)).toThrow(CorruptionError);
      expect(fs.peek(FIRST)).toEqual(bytes);
    }
  });
});

describe('Wal and a failing disk', () => {
  test('a failed sync is final: nothing is tried again', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    put(wal, 'durable');
    wal.sync();
    put(wal, 'dropped');
    fs.intercept = (call) => (call.kind === 'sync' ? { kind: 'dropPages', errno: 'EIO' } : undefined);
    expect(() => wal.sync()).toThrow('Cannot sync "wal/000001.wal": EIO: i/o error');
    fs.intercept = undefined;
    const calls = fs.calls;
    poisoned(wal);
    wal.close();
    expect(fs.calls).toBe(calls);
    expect(fs.openFiles).toBe(0);
  });

  test('after a failed sync a reopened log makes durable what it shows, although the system dropped the pages', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    put(wal, 'durable');
    wal.sync();
    put(wal, 'dropped');
    fs.intercept = nthCall(3, { kind: 'dropPages', errno: 'EIO' }, 'sync');
    expect(() => wal.sync()).toThrow(/EIO/);
    wal.close();
    const second = openWal(fs);
    expect(texts(second.records)).toEqual(['durable', 'dropped']);
    put(second.wal, 'later');
    second.wal.sync();
    expect(recovered(worst(fs))).toEqual(['durable', 'dropped', 'later']);
  });

  test('append() that finds no room cuts what it wrote, and the log goes on when there is room', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    put(wal, 'synced');
    wal.sync();
    put(wal, 'not synced');
    const { bytes } = wal;
    fs.capacityBytes = bytes + 10;
    for (let tries = 0; tries < 3; tries++) {
      expect(() => put(wal, 'does not fit')).toThrow(/Cannot write "wal\/000001.wal": ENOSPC/);
      expect([fs.peek(FIRST).length, wal.bytes, wal.hasFailed]).toEqual([bytes, bytes, false]);
    }
    expect(() => put(wal, 'does not fit')).toThrow(expect.objectContaining({ isFull: true }));
    wal.sync();
    expect(recovered(worst(fs))).toEqual(['synced', 'not synced']);
  });

  test('a record that found no room is there after its second try, and nothing else', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    put(wal, 'fits');
    fs.capacityBytes = wal.bytes + 20;
    expect(() => put(wal, 'does not')).toThrow(/ENOSPC/);
    fs.capacityBytes = Infinity;
    put(wal, 'fits now');
    wal.sync();
    expect(recovered(worst(fs))).toEqual(['fits', 'fits now']);
  });

  test('a full disk is final when a sync meets it, or when what was written cannot be cut off', () => {
    for (const kind of ['sync', 'truncate'] as const) {
      const fs = newDisk();
      const { wal } = openWal(fs);
      put(wal, 'a');
      fs.intercept = (call) => (call.kind === kind ? { kind: 'error', errno: 'ENOSPC' } : undefined);
      if (kind === 'truncate') fs.capacityBytes = wal.bytes + 10;
      expect(() => (kind === 'sync' ? wal.sync() : put(wal, 'b')), kind).toThrow(/ENOSPC/);
      fs.intercept = undefined;
      fs.capacityBytes = Infinity;
      expect(wal.hasFailed).toBe(true);
      poisoned(wal);
    }
  });

  test('roll() that finds no room leaves the log as it was, and is made again', () => {
    for (const kind of ['create', 'write'] as const) {
      const fs = newDisk();
      const { wal } = openWal(fs);
      put(wal, 'a');
      fs.intercept = (call) => (call.kind === kind ? { kind: 'error', errno: 'ENOSPC' } : undefined);
      expect(() => wal.roll(), kind).toThrow(/ENOSPC/);
      fs.intercept = undefined;
      expect([wal.segment, wal.hasFailed, fs.list('wal')]).toEqual([1, false, ['000001.wal']]);
      put(wal, 'b');
      wal.roll();
      put(wal, 'c');
      wal.close();
      expect(fs.openFiles).toBe(0);
      expect(recovered(worst(fs))).toEqual(['a', 'b', 'c']);
    }
  });

  test('any other failure of roll() is final, and the log reopens', () => {
    for (const kind of ['create', 'write', 'sync', 'syncDirectory'] as const) {
      const fs = newDisk();
      const { wal } = openWal(fs);
      put(wal, 'a');
      wal.sync();
      const errno = kind === 'create' || kind === 'write' ? 'EIO' : 'ENOSPC';
      fs.intercept = (call) => (call.kind === kind ? { kind: 'error', errno } : undefined);
      expect(() => wal.roll(), kind).toThrow(errno);
      fs.intercept = undefined;
      expect(() => put(wal, 'b')).toThrow(/not trusted/);
      wal.close();
      expect(fs.openFiles).toBe(0);
      const second = openWal(fs);
      put(second.wal, 'b');
      second.wal.close();
      expect(recovered(worst(fs))).toEqual(['a', 'b']);
    }
  });

  test('close() reports a failed sync and closes all the same', () => {
    const fs = newDisk();
    const { wal } = openWal(fs);
    put(wal, 'a');
    fs.intercept = (call) => (call.kind === 'sync' ? { kind: 'error', errno: 'EIO' } : undefined);
    expect(() => wal.close()).toThrow(/EIO/);
    wal.close();
    expect(fs.openFiles).toBe(0);
    expect(() => put(wal, 'b')).toThrow(/closed/);
  });

  test('Wal.open() that fails at any call leaves no file open and opens later', () => {
    const whole = segmentOf([['a'], ['b']]).slice(0, -1);
    for (let n = 1; ; n++) {
      const fs = diskWith({ '000001.wal': whole });
      fs.intercept = nthCall(fs.calls + n, { kind: 'error', errno: 'EIO' });
      let opened = false;
      try {
        openWal(fs).wal.close();
        opened = true;
      } catch (error) {
        expect(error).toBeInstanceOf(StorageError);
      }
      fs.intercept = undefined;
      expect(fs.openFiles).toBe(0);
      expect(recovered(fs)).toEqual(['a']);
      if (opened) break;
      expect(n).toBeLessThan(20);
    }
  });
});
