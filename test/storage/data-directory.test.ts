import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { DataDirectory, readIdentity } from '../../src/storage/data-directory.ts';
import type { DataDirectoryOptions, LockOwner } from '../../src/storage/data-directory.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import { CrashFileSystem, PowerCut, nthCall } from '../../src/sim/disk.ts';

const PATH = '/var/data/node-1';
const US: LockOwner = { pid: 100, startedAt: 5000, token: 'us' };
const DEAD: LockOwner = { pid: 7, startedAt: 1, token: 'dead' };
const OTHER: LockOwner = { pid: 1234, startedAt: 6000, token: 'other' };

function open(fs: FileSystem, changes: Partial<DataDirectoryOptions> = {}): DataDirectory {
  return DataDirectory.open({
    fs,
    path: PATH,
    cluster: 'demo',
    nodeId: 1,
    owner: US,
    isAlive: () => false,
    newIncarnation: () => 'first',
    ...changes,
  });
}

function worst(fs: CrashFileSystem): CrashFileSystem {
  return fs.crash(new Random(0), 'worst');
}

describe('DataDirectory', () => {
  test('open() creates the layout with its parents, durably', () => {
    const fs = new CrashFileSystem();
    const directory = open(fs);
    expect(directory).toMatchObject({ path: PATH, cluster: 'demo', incarnation: 'first', fresh: true });
    const after = worst(fs);
    expect(after.list(PATH).filter((name) => !name.startsWith('LOCK'))).toEqual([
      'node.json',
      'snapshots',
      'wal',
    ]);
    expect(after.exists(directory.walPath) && after.exists(directory.snapshotsPath)).toBe(true);
    expect(Buffer.from(after.peek(`${PATH}/node.json`)).toString()).toBe(
      '{"format":2,"cluster":"demo","nodeId":1,"incarnation":"first","crc32":"92e594f6"}\n',
    );
  });

  test('open() keeps the directory of a witness apart from that of a node with data', () => {
    const fs = new CrashFileSystem();
    open(fs, { witness: true }).release();
    expect(Buffer.from(fs.peek(`${PATH}/node.json`)).toString()).toContain('"witness":true');
    const again = open(fs);
    expect(again).toMatchObject({ witness: true, fresh: false });
    again.release();
    expect(() => open(fs, { witness: false })).toThrow(
      `"${PATH}/node.json" belongs to a witness, not to one that keeps data; choose an empty one`,
    );
    const other = new CrashFileSystem();
    open(other).release();
    expect(() => open(other, { witness: true })).toThrow(
      `"${PATH}/node.json" belongs to a node that keeps data, not to a witness; choose an empty one`,
    );
    expect(open(other).witness).toBe(false);
  });

  test.each(['memory', 'lsm'] as const)('open() remembers the engine %s, and refuses the other', (engine) => {
    const fs = new CrashFileSystem();
    open(fs, { engine }).release();
    const again = open(worst(fs));
    expect(again.engine).toBe(engine);
    const other = engine === 'lsm' ? 'memory' : 'lsm';
    expect(() => open(worst(fs), { engine: other })).toThrow(
      `Cannot open data directory "${PATH}": its data are kept by the engine "${engine}", not "${other}"; leave the engine out, or choose another directory`,
    );
  });

  test('open() works below a directory that may not be read', () => {
    const fs = new CrashFileSystem();
    fs.makeDirectory('/var/data');
    fs.intercept = (call) =>
      call.kind === 'syncDirectory' && call.path === '/var' ? { kind: 'error', errno: 'EACCES' } : undefined;
    expect(open(fs).fresh).toBe(true);
  });

  test('open() again keeps the incarnation', () => {
    const fs = new CrashFileSystem();
    open(fs).release();
    const again = open(fs, { newIncarnation: () => expect.fail('asked for another incarnation') });
    expect(again).toMatchObject({ cluster: 'demo', incarnation: 'first', fresh: false });
  });

  test('open() works on the real file system', () => {
    const root = mkdtempSync(`${tmpdir()}/oxide-kv-directory-`);
    const fs = new NodeFileSystem();
    const path = `${root}/a/b`;
    const first = open(fs, { path });
    expect(() => open(fs, { path, owner: OTHER, isAlive: () => true })).toThrow(/in use by process 100/);
    first.release();
    const second = open(fs, { path, owner: OTHER, isAlive: () => true });
    expect(second.fresh).toBe(false);
    second.release();
    expect(fs.list(path)).toEqual(['node.json', 'snapshots', 'wal']);
    rmSync(root, { recursive: true });
  });

  test('open() without a cluster name takes the one that is there', () => {
    const fs = new CrashFileSystem();
    open(fs).release();
    expect(open(fs, { cluster: undefined }).cluster).toBe('demo');
    const nameless = open(fs, { path: '/nameless', cluster: undefined });
    expect(nameless.cluster).toBeUndefined();
    nameless.release();
    expect(open(fs, { path: '/nameless', cluster: 'demo' }).cluster).toBeUndefined();
  });

  test('open() refuses the directory of another node or cluster and changes nothing', () => {
    const fs = new CrashFileSystem();
    open(fs).release();
    const before = fs.list(PATH);
    expect(() => open(fs, { nodeId: 2 })).toThrow(
      new StorageError(
        `Cannot open data directory "${PATH}": "${PATH}/node.json" belongs to node 1, not node 2`,
      ),
    );
    expect(() => open(fs, { cluster: 'prod' })).toThrow(/belongs to cluster "demo", not "prod"$/);
    expect(fs.list(PATH)).toEqual(before);
  });

  test('open() refuses a node.json that is newer, damaged or incomplete, and never overwrites it', () => {
    const cases: readonly (readonly [string, new (message: string) => Error, RegExp])[] = [
      [
        '{"format":3,"anything":true}',
        StorageError,
        /is 3, this program reads up to 2; start a later version/,
      ],
      ['{"format":2,"cluster":"demo","nodeId":1,"incarnation":"x"}', CorruptionError, /with its checksum;/],
      ['', CorruptionError, /it is not a JSON object;/],
      ['{"format":1,"cluster":"demo","nodeId":1,"incarn', CorruptionError, /it is not a JSON object;/],
      ['[]', CorruptionError, /it is not a JSON object;/],
      ['null', CorruptionError, /it is not a JSON object;/],
      ['{"format":1,"cluster":"demo","nodeId":"1","incarnation":"x"}', CorruptionError, /a field is missing/],
      ['{"format":1,"cluster":7,"nodeId":1,"incarnation":"x"}', CorruptionError, /a field is missing/],
      ['{"cluster":"demo","nodeId":1,"incarnation":"x"}', CorruptionError, /with its checksum;/],
      ['\xff', CorruptionError, /it is not UTF-8 text; restore it from a copy, or remove this node/],
    ];
    for (const [text, kind, message] of cases) {
      const fs = new CrashFileSystem();
      fs.makeDirectory(PATH);
      const bytes = Buffer.from(text, 'latin1');
      fs.poke(`${PATH}/node.json`, bytes);
      expect(() => open(fs), text).toThrow(kind);
      expect(() => open(fs), text).toThrow(message);
      expect(() => open(fs), text).toThrow(`"${PATH}/node.json"`);
      expect(fs.list(PATH)).toEqual(['node.json']);
      expect(fs.peek(`${PATH}/node.json`)).toEqual(new Uint8Array(bytes));
    }
  });

  test('open() refuses a directory that holds something else, and leaves no trace there', () => {
    for (const name of ['photo.jpg', 'wal', '.bashrc', 'LOCK']) {
      const fs = new CrashFileSystem();
      fs.makeDirectory(PATH);
      fs.poke(`${PATH}/${name}`, utf8('x'));
      fs.intercept = (call) => (call.kind === 'create' ? expect.fail(`created ${call.path}`) : undefined);
      expect(() => open(fs), name).toThrow(`it holds "${name}" but no "node.json"`);
      expect(fs.list(PATH)).toEqual([name]);
    }
    const fs = new CrashFileSystem();
    fs.poke('file', utf8('x'));
    expect(() => open(fs, { path: 'file' })).toThrow(StorageError);
  });

  test('open() accepts an empty directory and the root of a new volume', () => {
    const fs = new CrashFileSystem();
    fs.makeDirectory(`${PATH}/lost+found`);
    expect(open(fs).fresh).toBe(true);
  });

  test('open() notices every single bit of node.json that flips, and changes nothing', () => {
    const fs = new CrashFileSystem();
    open(fs).release();
    const path = `${PATH}/node.json`;
    const whole = fs.peek(path);
    expect(whole.length).toBeGreaterThan(80);
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const bytes = whole.slice();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      fs.poke(path, bytes);
      expect(() => open(fs), `bit ${bit}`).toThrow(CorruptionError);
      expect(() => open(fs), `bit ${bit}`).toThrow(
        /^Cannot read "[^"]*": .*; restore it from a copy, or remove/,
      );
      expect(fs.peek(path)).toEqual(bytes);
    }
    fs.poke(path, whole);
    expect(open(fs).incarnation).toBe('first');
  });

  test('open() takes a node.json without a checksum, as earlier versions wrote it', () => {
    const fs = new CrashFileSystem();
    open(fs).release();
    const old = utf8('{"format":1,"cluster":"demo","nodeId":1,"incarnation":"of old"}\n');
    fs.poke(`${PATH}/node.json`, old);
    expect(open(fs)).toMatchObject({ incarnation: 'of old', fresh: false });
    expect(fs.peek(`${PATH}/node.json`)).toEqual(old);
  });

  test('readIdentity() tells whose a directory is without locking it', () => {
    const fs = new CrashFileSystem();
    expect(readIdentity(fs, PATH)).toBeUndefined();
    open(fs);
    const calls = fs.list(PATH);
    expect(readIdentity(fs, PATH)).toEqual({
      cluster: 'demo',
      nodeId: 1,
      incarnation: 'first',
      witness: false,
      engine: 'memory',
    });
    expect(fs.list(PATH)).toEqual(calls);
  });

  test('creation cut off at every call opens afterwards, with one incarnation once it was told', () => {
    let cuts = 0;
    for (let n = 1; ; n++) {
      let isDone = false;
      for (let seed = 0; seed < 12; seed++) {
        const fs = new CrashFileSystem();
        fs.intercept = nthCall(n, { kind: 'powerCut' });
        let told: string | undefined;
        try {
          told = open(fs).incarnation;
          isDone = true;
        } catch (error) {
          expect(error).toBeInstanceOf(PowerCut);
          cuts += 1;
        }
        const after = fs.crash(new Random(`${n}/${seed}`));
        const second = open(after, { newIncarnation: () => 'second', owner: { ...US, token: 'restarted' } });
        if (told !== undefined) expect(second.incarnation).toBe(told);
        expect(open(worst(after), { newIncarnation: () => 'third' }).incarnation).toBe(second.incarnation);
      }
      if (isDone) break;
    }
    expect(cuts).toBeGreaterThan(12 * 15);
  });

  test('creation with any failing call throws and works the next time', () => {
    for (let n = 1; ; n++) {
      const fs = new CrashFileSystem();
      fs.intercept = nthCall(n, { kind: 'error', errno: 'EIO' });
      let isDone = false;
      try {
        open(fs);
        isDone = true;
      } catch (error) {
        expect(error).toBeInstanceOf(StorageError);
      }
      fs.intercept = undefined;
      expect(fs.openFiles).toBe(0);
      const second = open(fs, { owner: OTHER, newIncarnation: () => 'second' });
      expect(readIdentity(worst(fs), PATH)?.incarnation).toBe(second.incarnation);
      if (isDone) break;
      expect(n).toBeLessThan(60);
    }
  });
});

describe('DataDirectory lock', () => {
  test('a living holder is named, asked about once, and left alone', () => {
    const fs = new CrashFileSystem();
    open(fs, { owner: OTHER });
    const before = fs.list(PATH);
    const asked: LockOwner[] = [];
    const isAlive = (holder: LockOwner): boolean => asked.push(holder) > 0;
    expect(() => open(fs, { isAlive })).toThrow(
      new StorageError(
        `Cannot open data directory "${PATH}": it is in use by process 1234 (remove "${PATH}/LOCK.1234.6000.other" only if that process is certainly gone)`,
      ),
    );
    expect(asked).toEqual([OTHER]);
    expect(fs.list(PATH)).toEqual(before);
  });

  test('a dead holder is replaced', () => {
    const fs = new CrashFileSystem();
    open(fs, { owner: OTHER });
    open(fs, { isAlive: () => false });
    expect(fs.list(PATH).filter((name) => name.startsWith('LOCK'))).toEqual(['LOCK.100.5000.us']);
  });

  test('an earlier thread of the same process is taken over without asking', () => {
    const fs = new CrashFileSystem();
    open(fs);
    const again = open(fs, { isAlive: () => expect.fail('asked about ourselves') });
    again.release();
    expect(fs.list(PATH)).toEqual(['node.json', 'snapshots', 'wal']);
  });

  test('the same pid with another token is another process', () => {
    const fs = new CrashFileSystem();
    open(fs, { owner: { ...US, token: 'before-reboot' } });
    expect(() => open(fs, { isAlive: () => true })).toThrow(/in use by process 100/);
    expect(open(fs, { isAlive: () => false }).fresh).toBe(false);
  });

  test('release() gives the lock back once', () => {
    const fs = new CrashFileSystem();
    const first = open(fs);
    first.release();
    const second = open(fs);
    first.release();
    expect(fs.list(PATH)).toContain('LOCK.100.5000.us');
    second.release();
  });

  test('an owner that does not fit a file name is a bug', () => {
    for (const token of ['', 'a/b', 'a.b', 'x'.repeat(65)]) {
      expect(() => open(new CrashFileSystem(), { owner: { ...US, token } })).toThrow(/file name/);
    }
  });

  test('two processes that start together never both win, whatever the order of their calls', () => {
    const outcomes = new Set<string>();
    // The second process runs as a whole between two calls of the first.
    for (const isStale of [false, true]) {
      for (let n = 1; n < 40; n++) {
        const fs = new CrashFileSystem();
        const dead = open(fs, { owner: DEAD });
        if (!isStale) dead.release();
        const winners: number[] = [];
        const start = fs.calls;
        fs.intercept = (call) => {
          if (call.number !== start + n) return undefined;
          fs.intercept = undefined;
          attempt(OTHER);
          return undefined;
        };
        const attempt = (owner: LockOwner): void => {
          try {
            open(fs, { owner, isAlive: (holder) => holder.pid !== DEAD.pid });
            winners.push(owner.pid);
          } catch (error) {
            expect(error).toBeInstanceOf(StorageError);
          }
        };
        attempt(US);
        expect(winners.length).toBeLessThanOrEqual(1);
        outcomes.add(winners.join());
      }
    }
    expect(outcomes).toContain('100');
    expect(outcomes).toContain('1234');
  });
});
