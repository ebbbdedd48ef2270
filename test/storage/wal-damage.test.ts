/** What can still be told of a damaged log, and how it is cut so that it opens again. */
import { describe, expect, test } from 'vitest';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { PowerCut, nthCall } from '../../src/sim/disk.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import { SEGMENT_HEADER_BYTES } from '../../src/storage/segment.ts';
import { findDamage, setDamageAside } from '../../src/storage/wal-damage.ts';
import type { WalPlace } from '../../src/storage/wal-damage.ts';
import { newDisk, openWal, put, recovered, texts, worst } from './wal-support.ts';

/** Three segments with the records a1 b1 c1, a2 b2 c2, a3 b3 c3; and where each record begins. */
function threeSegments(): { readonly fs: CrashFileSystem; readonly at: ReadonlyMap<string, number> } {
  const fs = newDisk();
  const { wal } = openWal(fs);
  const at = new Map<string, number>();
  let finished = 0;
  for (const number of [1, 2, 3]) {
    if (number > 1) {
      finished = wal.bytes;
      wal.roll();
    }
    for (const letter of 'abc') {
      at.set(`${letter}${number}`, wal.bytes - finished);
      put(wal, `${letter}${number}`);
      wal.sync();
    }
  }
  wal.close();
  return { fs, at };
}

function flip(fs: CrashFileSystem, path: string, offset: number): void {
  const bytes = fs.peek(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ 4;
  fs.poke(path, bytes);
}

/** The records before and behind the damage in short; undefined when it cannot be told. */
function found(fs: CrashFileSystem): unknown {
  const damage = findDamage(fs, 'wal');
  return damage === undefined ? undefined : [damage.place, texts(damage.before), texts(damage.newest)];
}

const log = (
  place: WalPlace,
): { readonly directory: string; readonly aside: string; readonly place: WalPlace } => ({
  directory: 'wal',
  aside: 'damaged',
  place,
});

describe('findDamage()', () => {
  test('tells what is before a damaged record and what is behind it, within a segment and across segments', () => {
    const { fs, at } = threeSegments();
    const offset = at.get('b2') ?? 0;
    flip(fs, 'wal/000002.wal', offset + 15);
    expect(() => openWal(fs)).toThrow(CorruptionError);
    expect(found(fs)).toEqual([{ segment: 2, offset }, ['a1', 'b1', 'c1', 'a2'], ['c2', 'a3', 'b3', 'c3']]);
  });

  test('names the newest records behind the last of several gaps', () => {
    const { fs, at } = threeSegments();
    const offset = at.get('b1') ?? 0;
    flip(fs, 'wal/000001.wal', offset + 15);
    flip(fs, 'wal/000003.wal', (at.get('a3') ?? 0) + 15);
    expect(found(fs)).toEqual([{ segment: 1, offset }, ['a1'], ['b3', 'c3']]);
  });

  test('goes on behind a damaged header, and counts its records as lost', () => {
    const { fs } = threeSegments();
    flip(fs, 'wal/000002.wal', 3);
    expect(found(fs)).toEqual([
      { segment: 2, offset: 0 },
      ['a1', 'b1', 'c1'],
      ['a2', 'b2', 'c2', 'a3', 'b3', 'c3'],
    ]);
  });

  test('notices records that are missing at the end of a segment', () => {
    const { fs, at } = threeSegments();
    const offset = at.get('c2') ?? 0;
    fs.poke('wal/000002.wal', fs.peek('wal/000002.wal').slice(0, offset));
    expect(found(fs)).toEqual([{ segment: 2, offset }, ['a1', 'b1', 'c1', 'a2', 'b2'], ['a3', 'b3', 'c3']]);
  });

  test('says nothing when the newest record may be damaged', () => {
    for (const broken of ['end', 'tail', 'bare']) {
      const { fs, at } = threeSegments();
      flip(fs, 'wal/000003.wal', (at.get('a3') ?? 0) + 15);
      if (broken === 'end') flip(fs, 'wal/000003.wal', (at.get('c3') ?? 0) + 15);
      const bytes = fs.peek('wal/000003.wal');
      if (broken === 'tail') fs.poke('wal/000003.wal', Uint8Array.from([...bytes, 1, 2, 3]));
      if (broken === 'bare') {
        flip(fs, 'wal/000002.wal', (at.get('c2') ?? 0) + 15);
        fs.poke('wal/000003.wal', bytes.slice(0, SEGMENT_HEADER_BYTES));
      }
      expect(() => openWal(fs), broken).toThrow(CorruptionError);
      expect(found(fs), broken).toBeUndefined();
    }
  });

  test('says nothing of a log that is whole, or merely torn', () => {
    const { fs, at } = threeSegments();
    expect(found(fs)).toBeUndefined();
    flip(fs, 'wal/000003.wal', (at.get('c3') ?? 0) + 15);
    expect(found(fs)).toBeUndefined();
    expect(recovered(fs)).toHaveLength(8);
  });

  test('every flipped bit before the last record: the log is cut right there and opens, or nothing is said', () => {
    const { fs: sound, at } = threeSegments();
    const all = recovered(sound);
    for (const name of ['000001.wal', '000002.wal', '000003.wal']) {
      const size = sound.peek(`wal/${name}`).length;
      const end = name === '000003.wal' ? (at.get('c3') ?? 0) : size;
      for (let offset = 0; offset < end; offset++) {
        const fs = worst(threeSegments().fs);
        flip(fs, `wal/${name}`, offset);
        const damage = findDamage(fs, 'wal');
        if (damage === undefined) {
          // Only what belongs to another format or segment, or a size that nothing can have made.
          expect(offset, `${name} at ${offset}`).toBeLessThan(SEGMENT_HEADER_BYTES);
          continue;
        }
        expect(texts(damage.newest).at(-1)).toBe('c3');
        const before = texts(damage.before);
        setDamageAside(fs, log(damage.place));
        expect(recovered(fs), `${name} at ${offset}`).toEqual(before);
        expect(all.slice(0, before.length)).toEqual(before);
      }
    }
  });
});

describe('setDamageAside()', () => {
  test('keeps what it cuts for people, at most eight segments', () => {
    const { fs } = threeSegments();
    fs.makeDirectory('damaged');
    for (let number = 1; number <= 9; number++) fs.poke(`damaged/00000${number}.wal`, new Uint8Array(1));
    const whole = fs.peek('wal/000002.wal');
    setDamageAside(fs, log({ segment: 2, offset: 40 }));
    expect(fs.list('wal')).toEqual(['000001.wal', '000002.wal']);
    expect(fs.peek('wal/000002.wal')).toEqual(whole.slice(0, 40));
    expect(fs.list('damaged')).toHaveLength(8);
    expect(fs.peek('damaged/000002.wal')).toEqual(whole);
  });

  test('needs no room for the copy', () => {
    const { fs } = threeSegments();
    fs.capacityBytes = fs.usedBytes;
    setDamageAside(fs, log({ segment: 2, offset: 41 }));
    expect(fs.peek('wal/000002.wal')).toHaveLength(41);
  });

  test('a power cut at any call of it is completed by the next', () => {
    const place = { segment: 2, offset: 41 };
    for (const offset of [0, 41]) {
      for (let n = 1; ; n++) {
        const { fs } = threeSegments();
        fs.intercept = nthCall(fs.calls + n, { kind: 'powerCut' });
        try {
          setDamageAside(fs, log({ ...place, offset }));
          expect(n).toBeGreaterThan(5);
          break;
        } catch (error) {
          expect(error).toBeInstanceOf(PowerCut);
        }
        const after = fs.crash(new Random(n));
        setDamageAside(after, log({ ...place, offset }));
        const { wal, records } = openWal(after);
        expect(texts(records)).toEqual(offset === 0 ? ['a1', 'b1', 'c1'] : ['a1', 'b1', 'c1', 'a2']);
        wal.close();
      }
    }
  });
});
