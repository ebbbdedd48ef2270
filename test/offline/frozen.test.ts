/**
 * Data directories that earlier programs wrote, kept as they were: every program from now on must find in them exactly
 * what was stored. A new format gets a new file here; the old ones never change.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fromLatin1, latin1, utf8 } from '../../src/lib/bytes.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { DataDirectory } from '../../src/storage/data-directory.ts';
import { openStore } from '../../src/storage/open-store.ts';
import { Solo } from '../node/solo.ts';
import { openRows } from '../../src/offline/rows.ts';
import { imageOf, reportOn } from './support.ts';

const FOLDER = new URL('../fixtures/data/', import.meta.url);
const DIRECTORY = 'data';

interface Frozen {
  /** As latin-1 strings, in key order. */
  readonly rows: readonly (readonly [string, string])[];
  readonly files: ReadonlyMap<string, Uint8Array>;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function bytesOf(text: unknown, base64: unknown): Uint8Array {
  return typeof base64 === 'string' ? new Uint8Array(Buffer.from(base64, 'base64')) : utf8(String(text));
}

function thaw(name: string): Frozen {
  const { rows, files } = fieldsOf(JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')));
  const contents = Object.entries(fieldsOf(files)).map(([path, content]) => {
    const { text, base64 } = fieldsOf(content);
    return [path, bytesOf(text, base64)] as const;
  });
  const list: readonly unknown[] = Array.isArray(rows) ? rows : [];
  return {
    rows: list.map((row) => {
      const { key, keyBase64, value, valueBase64 } = fieldsOf(row);
      return [latin1(bytesOf(key, keyBase64)), latin1(bytesOf(value, valueBase64))];
    }),
    files: new Map(contents),
  };
}

function diskWith({ files }: Frozen, directory: string): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(directory);
  for (const [path, bytes] of files) {
    const slash = path.lastIndexOf('/');
    if (slash > 0) fs.makeDirectory(`${directory}/${path.slice(0, slash)}`);
    fs.poke(`${directory}/${path}`, bytes);
  }
  return fs;
}

const NAMES = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

test('every format is there that any program wrote', () => {
  expect(NAMES).toEqual(['rows.json', 'versions-lsm.json', 'versions-memory.json']);
});

describe.each(NAMES)('the frozen directory %s', (name) => {
  const frozen = thaw(name);

  test('is sound, and reading it changes nothing', () => {
    const fs = diskWith(frozen, 'data/node-1');
    const before = imageOf(fs);
    const report = reportOn(fs, true);
    expect(report.findings).toEqual([]);
    expect(report.identity).toMatchObject({ nodeId: 1, witness: false });
    expect(report.engine).toBe(name === 'versions-lsm.json' ? 'lsm' : 'memory');
    expect(report.founders).toEqual([1]);
    expect(report.log?.lastIndex).toBeGreaterThan(10);
    expect(imageOf(fs)).toEqual(before);
  });

  test('shows its rows without a node, and without a change', () => {
    const fs = diskWith(frozen, 'data/node-1');
    const before = imageOf(fs);
    const { identity, log } = reportOn(fs, false);
    const stored = openRows({ fs, path: 'data/node-1', engine: identity?.engine ?? 'memory', prefix: '' });
    const { commit } = log?.hard ?? { commit: 0 };
    expect(stored.index).toBe(commit);
    // The last write was answered, and its commit was not written down any more.
    expect(commit).toBe((log?.lastIndex ?? 0) - 1);
    expect(Array.from(stored.rows, ({ key, value }) => [key, latin1(value)])).toEqual(
      frozen.rows.filter(([key]) => key !== '\xff'),
    );
    stored.close();
    expect(imageOf(fs)).toEqual(before);
    expect(fs.openFiles).toBe(0);
  });

  test('opens, and a node that runs on it has exactly the known rows, before and after its next start', () => {
    const fs = diskWith(frozen, DIRECTORY);
    const directory = DataDirectory.open({
      fs,
      path: DIRECTORY,
      cluster: undefined,
      nodeId: 1,
      owner: { pid: 1, startedAt: 1, token: 't' },
      isAlive: () => false,
      newIncarnation: () => 'never used',
    });
    expect(directory.fresh).toBe(false);
    for (let life = 1; life <= 2; life++) {
      const solo = new Solo({
        fs,
        voters: [1],
        incarnation: directory.incarnation,
        openStore: (disk, path) =>
          openStore({ fs: disk, directory: path, choice: { kind: directory.engine } }),
      });
      solo.turn(10_000);
      const replies = solo.ask({ kind: 'scan', prefix: new Uint8Array(0), limit: 100 });
      solo.turn();
      const [reply] = replies;
      expect(reply).toMatchObject({ kind: 'rows', more: false });
      const rows = reply?.kind === 'rows' ? reply.rows : [];
      expect(rows.map(({ key, value }) => [latin1(key), latin1(value)])).toEqual(frozen.rows);
      const written = solo.ask({ kind: 'set', key: fromLatin1('color'), value: utf8('red') });
      solo.turn();
      expect(written).toMatchObject([{ kind: 'ok' }]);
    }
  });
});
