import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { incomingName } from '../../src/storage/incoming-snapshot.ts';
import { hex32 } from '../../src/storage/record.ts';
import { SnapshotStore } from '../../src/storage/snapshot-store.ts';
import { CrashFileSystem, PowerCut, nthCall } from '../../src/sim/disk.ts';
import { bring, snapshotBytes } from '../support/snapshots.ts';

const DIRECTORY = 'snapshots';

function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(DIRECTORY);
  fs.syncDirectory('.');
  return fs;
}

function openStore(fs: CrashFileSystem): SnapshotStore {
  return new SnapshotStore({ fs, directory: DIRECTORY });
}

function pathOf(index: number): string {
  return `${DIRECTORY}/snapshot-${String(index).padStart(20, '0')}.jsonl`;
}

function worst(fs: CrashFileSystem): CrashFileSystem {
  return fs.crash(new Random(0), 'worst');
}

describe('SnapshotStore', () => {
  test('an empty store has no snapshot', () => {
    const store = openStore(newDisk());
    expect([store.newest(), store.indexes(), store.open(1)]).toEqual([undefined, [], undefined]);
  });

  test('open() leaves no file open when it fails', () => {
    const fs = newDisk();
    const store = openStore(fs);
    store.save({ index: 1, term: 1 }, []);
    fs.intercept = nthCall(1, { kind: 'error', errno: 'EIO' }, 'size');
    expect(() => store.open(1)).toThrow(StorageError);
    expect(fs.openFiles).toBe(0);
  });

  test('save() is durable, readable, and comes back whole', () => {
    const fs = newDisk();
    const lines = ['{"key":"é\u2028\\n"}', '', '  ', '{"end":true,"lines":0,"crc32":"00000000"}'];
    openStore(fs).save({ index: 12, term: 3, sessions: [1, { id: 2 }] }, lines);
    const after = worst(fs);
    expect(openStore(after).newest()).toEqual({
      meta: { index: 12, term: 3, sessions: [1, { id: 2 }] },
      lines,
    });
    const text = Buffer.from(after.peek(pathOf(12))).toString();
    expect(text).toMatch(
      /^\{"format":1,"index":12,"term":3,"sessions":\[1,\{"id":2\}\]\}\n.*\n\{"end":true,"lines":4,"crc32":"[0-9a-f]{8}"\}\n$/s,
    );
  });

  test('save() takes no lines, and many, in chunks', () => {
    const fs = newDisk();
    const store = openStore(fs);
    store.save({ index: 1, term: 1 }, []);
    expect(store.newest()?.lines).toEqual([]);
    const lines = Array.from({ length: 30_000 }, (_, i) => `{"k":"${i}"}`);
    let writes = 0;
    fs.intercept = (call) => {
      if (call.kind === 'write') writes += 1;
      return undefined;
    };
    store.save({ index: 2, term: 1 }, lines.values());
    expect(store.newest()?.lines.join('\n') === lines.join('\n')).toBe(true);
    const size = fs.peek(pathOf(2)).length;
    expect(writes).toBe(Math.ceil(size / 65_536) + 1);
  });

  test('begin() writes a slice at a time, changes nothing before the last, and can be given up', () => {
    const fs = newDisk();
    const store = openStore(fs);
    store.save({ index: 1, term: 1 }, ['old']);
    const lines = Array.from({ length: 30_000 }, (_, i) => `{"k":"${i}"}`);
    const given = store.begin({ index: 2, term: 1 }, lines);
    expect([given.advance(), given.advance()]).toEqual([false, false]);
    given.abort();
    expect(store.indexes()).toEqual([1]);
    expect(fs.openFiles).toBe(0);
    const writer = store.begin({ index: 3, term: 1 }, lines);
    let steps = 1;
    for (; !writer.advance(); steps++) expect(store.newest()?.lines).toEqual(['old']);
    expect(steps).toBeGreaterThan(5);
    expect(openStore(worst(fs)).newest()?.lines.length).toBe(30_000);
  });

  test('save() refuses lines that would not come back', () => {
    const store = openStore(newDisk());
    for (const line of ['a\nb', '\ud800']) {
      expect(() => store.save({ index: 1, term: 1 }, [line])).toThrow(/snapshot line/);
    }
    expect(store.newest()).toBeUndefined();
  });

  test('save() keeps the newest two, by number and not by name length', () => {
    const fs = newDisk();
    const store = openStore(fs);
    for (const index of [9, 10, 100, 1_000_000]) store.save({ index, term: 1 }, [`at ${index}`]);
    expect(store.indexes()).toEqual([100, 1_000_000]);
    expect(store.newest()?.lines).toEqual(['at 1000000']);
    store.save({ index: 1_000_000, term: 2 }, ['again']);
    expect(store.newest()).toEqual({ meta: { index: 1_000_000, term: 2 }, lines: ['again'] });
  });

  test('save() cut off at every call leaves the old snapshot or the new one', () => {
    let cuts = 0;
    for (let n = 1; ; n++) {
      let isDone = false;
      for (let seed = 0; seed < 12; seed++) {
        const fs = newDisk();
        const store = openStore(fs);
        store.save({ index: 1, term: 1 }, ['first']);
        store.save({ index: 5, term: 1 }, ['old']);
        fs.intercept = nthCall(fs.calls + n, { kind: 'powerCut' });
        let saved = false;
        try {
          store.save({ index: 9, term: 2 }, ['n'.repeat(100_000), 'e', 'w']);
          saved = isDone = true;
        } catch (error) {
          expect(error).toBeInstanceOf(PowerCut);
          cuts += 1;
        }
        const after = fs.crash(new Random(`${n}/${seed}`));
        const index = openStore(after).newest()?.meta.index;
        expect(saved ? [9] : [5, 9]).toContain(index);
        expect(after.list(DIRECTORY).filter((name) => name.endsWith('.tmp'))).toEqual([]);
        // What was shown stays, and another can be saved.
        expect(openStore(worst(after)).newest()?.meta.index).toBe(index);
      }
      if (isDone) break;
    }
    expect(cuts).toBeGreaterThan(12 * 7);
  });

  test('save() with any failing call throws, and the old snapshot or the new one is there', () => {
    for (let n = 1; ; n++) {
      const fs = newDisk();
      const store = openStore(fs);
      store.save({ index: 5, term: 1 }, ['old']);
      fs.intercept = nthCall(fs.calls + n, { kind: 'error', errno: 'ENOSPC' });
      let saved = false;
      try {
        store.save({ index: 9, term: 2 }, ['new']);
        saved = true;
      } catch (error) {
        expect(error).toBeInstanceOf(StorageError);
      }
      fs.intercept = undefined;
      expect(fs.openFiles).toBe(0);
      const shown = openStore(fs).newest();
      expect(saved ? [9] : [5, 9]).toContain(shown?.meta.index);
      // What a store shows is durable, also when the save that wrote it failed on the last call.
      const after = worst(fs);
      expect(openStore(after).newest()).toEqual(shown);
      openStore(after).save({ index: 10, term: 2 }, ['later']);
      expect(openStore(worst(after)).newest()?.lines).toEqual(['later']);
      if (saved) break;
      expect(n).toBeLessThan(20);
    }
  });

  test('every single-bit flip and every truncation of the newest snapshot is corruption', () => {
    const fs = newDisk();
    const store = openStore(fs);
    store.save({ index: 5, term: 1 }, ['old']);
    store.save({ index: 9, term: 2 }, ['{"k":"a"}', '{"k":"b"}']);
    const whole = fs.peek(pathOf(9));
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = whole.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      fs.poke(pathOf(9), damaged);
      expect(() => store.newest(), `bit ${bit}`).toThrow(CorruptionError);
    }
    for (let length = 0; length < whole.length; length++) {
      fs.poke(pathOf(9), whole.slice(0, length));
      expect(() => store.newest(), `length ${length}`).toThrow(
        /^Cannot open snapshot "snapshots\/snapshot-0+9.jsonl": /,
      );
    }
    fs.poke(pathOf(9), Buffer.concat([whole, utf8('\n')]));
    expect(() => store.newest()).toThrow(CorruptionError);
  });

  test('a snapshot under the name of another, and a foreign file, are refused', () => {
    const fs = newDisk();
    const store = openStore(fs);
    store.save({ index: 5, term: 1 }, ['x']);
    fs.poke(pathOf(6), fs.peek(pathOf(5)));
    expect(() => store.newest()).toThrow(/snapshot-0+6.jsonl": it says it is snapshot 5$/);
    fs.remove(pathOf(6));
    fs.poke(`${DIRECTORY}/notes.txt`, utf8('x'));
    expect(() => store.newest()).toThrow(/"notes.txt" does not belong there/);
  });

  test('a new store removes unfinished files', () => {
    const fs = newDisk();
    fs.poke(`${pathOf(7)}.tmp`, utf8('{"index":7'));
    expect(openStore(fs).newest()).toBeUndefined();
    expect(fs.list(DIRECTORY)).toEqual([]);
  });

  test('install() takes what came from another store, durably, with fields of the header that it does not know', () => {
    const bytes = snapshotBytes({ index: 9, term: 2, config: [1, 2, 3] }, ['a', 'b']);
    const fs = newDisk();
    const store = openStore(fs);
    store.save({ index: 5, term: 1 }, ['old']);
    const file = store.install(bring(store, { index: 9, term: 2 }, bytes));
    expect([...file.lines()]).toEqual(['a', 'b']);
    file.close();
    const after = openStore(worst(fs)).newest();
    expect(after).toEqual({ meta: { index: 9, term: 2, config: [1, 2, 3] }, lines: ['a', 'b'] });
    expect(fs.openFiles).toBe(0);
  });

  test('install() takes nothing that is not verified to its end', () => {
    const bytes = snapshotBytes({ index: 9, term: 2 }, ['a', 'b']).slice();
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    const store = openStore(newDisk());
    const incoming = bring(store, { index: 9, term: 2 }, bytes);
    expect(() => store.install(incoming)).toThrow('Only a whole snapshot is installed');
    expect(store.newest()).toBeUndefined();
  });

  test('install() cut off or failing at every call leaves the old snapshot or the new one', () => {
    const bytes = snapshotBytes({ index: 9, term: 2 }, ['n'.repeat(100_000), 'e', 'w']);
    for (const fault of [{ kind: 'powerCut' }, { kind: 'error', errno: 'EIO' }] as const) {
      let failures = 0;
      for (let n = 1, isDone = false; !isDone; n++) {
        const fs = newDisk();
        const store = openStore(fs);
        store.save({ index: 5, term: 1 }, ['old']);
        fs.intercept = nthCall(fs.calls + n, fault);
        try {
          store.install(bring(store, { index: 9, term: 2 }, bytes)).close();
          isDone = true;
        } catch (error) {
          expect(error).toBeInstanceOf(fault.kind === 'error' ? StorageError : PowerCut);
          failures += 1;
        }
        fs.intercept = undefined;
        const after = openStore(fault.kind === 'error' ? fs : fs.crash(new Random(n))).newest();
        expect(isDone ? [9] : [5, 9]).toContain(after?.meta.index);
      }
      expect(failures).toBeGreaterThan(7);
    }
  });

  test('install() that had no room, even to remove what is old, is done by the next try', () => {
    const bytes = snapshotBytes({ index: 9, term: 2 }, ['new']);
    for (const kind of ['rename', 'remove'] as const) {
      const fs = newDisk();
      const store = openStore(fs);
      for (const index of [4, 5]) store.save({ index, term: 1 }, ['old']);
      const incoming = bring(store, { index: 9, term: 2 }, bytes);
      fs.intercept = (call) => (call.kind === kind ? { kind: 'error', errno: 'ENOSPC' } : undefined);
      expect(() => store.install(incoming)).toThrow('ENOSPC');
      fs.intercept = undefined;
      store.install(incoming).close();
      expect(store.indexes(), kind).toEqual([5, 9]);
      expect(openStore(worst(fs)).newest()?.lines, kind).toEqual(['new']);
    }
  });

  test('refuses a snapshot of a later format in a sentence that says so', () => {
    const fs = newDisk();
    const store = openStore(fs);
    fs.poke(pathOf(9), snapshotBytes({ index: 9, term: 2, format: 3, more: true }, ['a']));
    expect(() => store.newest()).toThrow(StorageError);
    expect(() => store.newest()).toThrow(
      /^Cannot open snapshot ".*9.jsonl": its format is 3, this program reads up to 2; start a later version of it$/,
    );
  });

  test('reads a snapshot whose header names no format', () => {
    const fs = newDisk();
    const body = '{"index":9,"term":2,"note":"x"}\na\n';
    const end = `{"end":true,"lines":1,"crc32":"${hex32(crc32(utf8(body)))}"}\n`;
    fs.poke(pathOf(9), utf8(body + end));
    expect(openStore(fs).newest()).toEqual({ meta: { index: 9, term: 2, note: 'x' }, lines: ['a'] });
  });

  test('a new store keeps what is arriving, unless it is older than what is there', () => {
    const fs = newDisk();
    const store = openStore(fs);
    const names = [3, 7].map((index) => incomingName({ index, term: 1, totalBytes: 9, crc32: 1 }));
    for (const name of names) fs.poke(`${DIRECTORY}/${name}`, utf8('x'));
    expect(store.indexes()).toEqual([]);
    store.save({ index: 5, term: 1 }, []);
    expect(fs.list(DIRECTORY).filter((name) => name.endsWith('.part'))).toEqual(names.slice(1));
    openStore(fs);
    expect(fs.list(DIRECTORY).filter((name) => name.endsWith('.part'))).toEqual(names.slice(1));
    store.save({ index: 7, term: 1 }, []);
    expect(fs.list(DIRECTORY).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('receive() keeps on disk what is being received, and nothing else that is on its way', () => {
    const fs = newDisk();
    const store = openStore(fs);
    const identity = { index: 3, term: 1, totalBytes: 9, crc32: 1 };
    const a = store.receive(identity, []);
    const b = store.receive({ ...identity, crc32: 2 }, [a]);
    expect(fs.list(DIRECTORY)).toHaveLength(2);
    a.close();
    store.receive({ ...identity, crc32: 3 }, [b]);
    expect(fs.list(DIRECTORY)).toHaveLength(2);
    expect(fs.exists(a.path)).toBe(false);
    expect(() => store.receive({ ...identity, crc32: 2 }, [b])).toThrow('arrives once at a time');
  });
});
