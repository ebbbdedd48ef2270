/** What inspect tells of data directories: whole, torn, damaged at any byte, in use, and of later formats. */
import { describe, expect, test } from 'vitest';
import { inspect, nodeDirectories } from '../../src/offline/inspect.ts';
import { Random } from '../../src/lib/random.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { RECORD_HEADER_BYTES } from '../../src/storage/record.ts';
import { writeSealedJson } from '../../src/storage/sealed-json.ts';
import { DIRECTORY, directoryOf, filesBelow, imageOf, reportOn } from './support.ts';

const SEGMENT_2 = `${DIRECTORY}/wal/000002.wal`;

function flip(fs: CrashFileSystem, path: string, offset: number, mask = 0x01): void {
  const bytes = new Uint8Array(fs.peek(path));
  bytes[offset] = (bytes[offset] ?? 0) ^ mask;
  fs.poke(path, bytes);
}

function refuse(): never {
  throw new Error('Somebody writes');
}

/** A disk on which every attempt to change anything fails. */
function readOnly(fs: FileSystem): FileSystem {
  return {
    open: (path, mode) => (mode === 'read' ? fs.open(path, mode) : refuse()),
    exists: (path) => fs.exists(path),
    list: (directory) => fs.list(directory),
    makeDirectory: refuse,
    rename: refuse,
    remove: refuse,
    syncDirectory: refuse,
  };
}

describe.each(['memory', 'lsm'] as const)('inspect() of a directory with engine %s', (kind) => {
  test('tells owner, log and checkpoint, and changes nothing', () => {
    const fs = directoryOf(kind);
    const before = imageOf(fs);
    for (const verify of [false, true]) {
      const report = reportOn(readOnly(fs), verify);
      expect(report).toMatchObject({
        path: DIRECTORY,
        format: 2,
        identity: { cluster: 'test', nodeId: 1, incarnation: 'first-life', witness: false },
        engine: kind,
        lockHolders: [],
        founders: [1, 2, 3],
        members: { index: 4, text: 'n1 n2 n3' },
        leftovers: [],
        verified: verify,
        findings: [],
      });
      expect(report.log).toMatchObject({
        hard: { term: 2, vote: 3, commit: 6 },
        firstIndex: 1,
        lastIndex: 10,
        firstTerm: 1,
        lastTerm: 2,
      });
      const [first, second] = report.log?.segments ?? [];
      const shard = { shard: 0, firstIndex: 1, lastIndex: 6, firstTerm: 1, lastTerm: 2 };
      expect(first).toMatchObject({ name: '000001.wal', records: 2, tornBytes: 0 });
      expect(first?.shards).toEqual([{ ...shard, records: 2, entries: 7 }]);
      expect(second?.shards).toEqual([
        { ...shard, records: 2, entries: 4, firstIndex: 7, lastIndex: 10, firstTerm: 2 },
      ]);
    }
    expect(imageOf(fs)).toEqual(before);
    expect(fs.openFiles).toBe(0);
  });

  test('sees a byte that was changed, wherever it is', () => {
    const whole = directoryOf(kind);
    const paths = filesBelow(whole, DIRECTORY);
    expect(paths.length).toBeGreaterThan(4);
    for (const path of paths) {
      // A manifest ends with a mark that nothing vouches for: it may be torn.
      const spare = path.includes('MANIFEST') ? RECORD_HEADER_BYTES : 0;
      const length = whole.peek(path).length - spare;
      const unseen: number[] = [];
      for (let offset = 0; offset < length; offset += 3) {
        flip(whole, path, offset);
        const { findings, log } = reportOn(whole, true);
        flip(whole, path, offset);
        const isTorn = log?.segments.some(({ tornBytes }) => tornBytes > 0) === true;
        if (findings.length === 0 && !isTorn) unseen.push(offset);
      }
      expect(unseen, path).toEqual([]);
    }
  });

  test('sees every file that is missing or cut short', () => {
    const files = filesBelow(directoryOf(kind), DIRECTORY);
    for (const path of files) {
      const missing = directoryOf(kind);
      missing.remove(path);
      // Nobody can see that the last segment was there, nor what peers.json said of founders.
      if (path === SEGMENT_2 || path.endsWith('peers.json') || path.endsWith('.jsonl')) continue;
      const report = path.endsWith('node.json') ? undefined : reportOn(missing, false);
      if (report === undefined) expect(nodeDirectories(DIRECTORY, missing)).toEqual([]);
      else expect(report.findings, path).not.toEqual([]);
    }
    for (const path of files) {
      const cut = directoryOf(kind);
      // An edit without the mark behind it may have been torn by a stop.
      if (path.includes('MANIFEST')) continue;
      cut.poke(path, cut.peek(path).slice(0, -1));
      const { findings, log } = reportOn(cut, false);
      const isTorn = log?.segments.some(({ tornBytes }) => tornBytes > 0) === true;
      expect(isTorn || findings.length > 0, path).toBe(true);
    }
  });

  test('tells all of several damages, each with its file', () => {
    const fs = directoryOf(kind);
    const [first = ''] = filesBelow(fs, `${DIRECTORY}/wal`);
    const last = filesBelow(fs, DIRECTORY).find((path) => /\.(?:jsonl|sst)$/.test(path)) ?? '';
    flip(fs, first, 60);
    flip(fs, last, 20);
    flip(fs, `${DIRECTORY}/peers.json`, 20);
    const { findings } = reportOn(fs, true);
    expect(findings.map(({ file }) => `${DIRECTORY}/${file}`)).toEqual([
      `${DIRECTORY}/peers.json`,
      first,
      last,
    ]);
    expect(findings[1]?.message).toMatch(
      /^offset 24: checksum is [0-9a-f]{8}, expected [0-9a-f]{8}; more seg/,
    );
  });
});

describe('inspect()', () => {
  test('counts levels, versions and keys of a tree', () => {
    const { tree } = reportOn(directoryOf('lsm'), true);
    expect(tree?.levels).toMatchObject([
      {
        level: 0,
        tables: 1,
        versions: 3,
        firstKey: 'apple',
        lastKey: '\xff',
        revisionMin: 1,
        revisionMax: 3,
      },
    ]);
    expect(tree?.checkpoint).toMatchObject({ index: 4, term: 1, verified: true });
  });

  test('counts the rows of a snapshot', () => {
    const { snapshots } = reportOn(directoryOf('memory'), false);
    expect(snapshots).toMatchObject([{ index: 4, term: 1, rows: 3, format: 2, verified: false }]);
  });

  test('tells a torn tail from damage', () => {
    const fs = directoryOf('memory');
    fs.poke(SEGMENT_2, Buffer.concat([fs.peek(SEGMENT_2), Buffer.from('half a record')]));
    const { log, findings } = reportOn(fs, true);
    expect(findings).toEqual([]);
    expect(log?.segments.map(({ tornBytes }) => tornBytes)).toEqual([0, 13]);
    expect(log?.lastIndex).toBe(10);
  });

  test('lists what is left over, and refuses what does not belong there', () => {
    const fs = directoryOf('lsm');
    for (const path of ['lsm/000099.sst', 'lsm/MANIFEST-000009', 'snapshots/x.tmp'])
      fs.poke(`${DIRECTORY}/${path}`, new Uint8Array(3));
    expect(reportOn(fs, false).leftovers).toEqual([
      'lsm/000099.sst',
      'lsm/MANIFEST-000009',
      'snapshots/x.tmp',
    ]);
    for (const path of ['lsm/notes.txt', 'wal/notes.txt', 'snapshots/notes.txt'])
      fs.poke(`${DIRECTORY}/${path}`, new Uint8Array(3));
    const message = 'it does not belong there; move it away';
    expect(reportOn(fs, false).findings).toEqual(
      ['wal', 'lsm', 'snapshots'].map((folder) => ({
        file: `${folder}/notes.txt`,
        kind: 'unreadable',
        message,
      })),
    );
  });

  test('names the processes that hold it', () => {
    const fs = directoryOf('memory');
    fs.poke(`${DIRECTORY}/LOCK.77.5.token`, new Uint8Array(0));
    expect(reportOn(fs, false).lockHolders).toEqual([{ pid: 77, startedAt: 5, token: 'token' }]);
  });

  test('a later format is unreadable, not damaged', () => {
    const fs = directoryOf('memory');
    writeSealedJson(fs, DIRECTORY, 'node.json', { format: 99, nodeId: 1 });
    expect(reportOn(fs, false).findings).toMatchObject([
      { file: 'node.json', kind: 'unreadable', message: expect.stringContaining('format is 99') },
    ]);
  });

  test('a log that begins behind the snapshot has a gap', () => {
    const fs = directoryOf('memory');
    fs.remove(`${DIRECTORY}/wal/000001.wal`);
    expect(reportOn(fs, true).findings).toEqual([
      {
        file: 'wal',
        kind: 'damaged',
        message: 'the log begins behind 6, but the newest snapshot ends at 4',
      },
    ]);
  });

  test('bytes at random in place of any file end in findings, never in another error', () => {
    const random = new Random(20_261_123);
    for (let run = 0; run < 200; run++) {
      const fs = directoryOf(random.chance(0.5) ? 'memory' : 'lsm');
      const paths = filesBelow(fs, DIRECTORY);
      const path = paths[random.int(0, paths.length - 1)] ?? '';
      fs.poke(
        path,
        Uint8Array.from({ length: random.int(0, 400) }, () => random.int(0, 255)),
      );
      expect(() => reportOn(fs, true)).not.toThrow();
    }
  });

  test('reports progress in bytes as it goes', () => {
    const fs = directoryOf('lsm');
    const steps = [...inspect({ fs, path: DIRECTORY, verify: true })];
    expect(steps.map(({ file }) => file)).toEqual([
      'wal/000001.wal',
      'wal/000002.wal',
      'lsm/000001.sst',
      'lsm/000002.state',
    ]);
    for (const { file, bytes } of steps) expect(bytes).toBe(fs.peek(`${DIRECTORY}/${file}`).length);
  });

  test('nodeDirectories() finds a node, the nodes of a cluster in order, or nothing', () => {
    const fs = directoryOf('memory');
    expect(nodeDirectories(DIRECTORY, fs)).toEqual([DIRECTORY]);
    expect(nodeDirectories('data', fs)).toEqual([]);
    for (const id of [10, 2]) fs.makeDirectory(`data/node-${id}`);
    fs.poke('data/cluster.json', new Uint8Array(0));
    expect(nodeDirectories('data', fs)).toEqual(['data/node-1', 'data/node-2', 'data/node-10']);
  });
});
