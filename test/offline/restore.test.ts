/** Portable snapshots: what is saved is restored by either engine, with revisions and leases; what is damaged is refused. */
import { describe, expect, test } from 'vitest';
import { fromLatin1, utf8 } from '../../src/lib/bytes.ts';
import { StorageError } from '../../src/lib/errors.ts';
import type { KeyValue } from '../../src/kv/operation.ts';
import { encodeQuery } from '../../src/kv/operation-codec.ts';
import { decodeQueryResult } from '../../src/kv/result-codec.ts';
import type { Query, QueryResult } from '../../src/kv/operation.ts';
import { PortableWriter } from '../../src/offline/portable.ts';
import type { Progress } from '../../src/offline/report.ts';
import { SnapshotToRestore } from '../../src/offline/restore.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { readIdentity } from '../../src/storage/data-directory.ts';
import { openStore } from '../../src/storage/open-store.ts';
import type { EngineKind } from '../../src/storage/version-engine.ts';
import { Solo } from '../node/solo.ts';

const FILE = 'backup.snapshot';

function row(key: string, value: string, modRevision: number, more: Partial<KeyValue> = {}): KeyValue {
  return {
    key,
    value: utf8(value),
    createRevision: modRevision,
    modRevision,
    version: 1,
    lease: 0n,
    ...more,
  };
}

/** Two keys of one revision, bytes that are no text, a lease that is known and one that is not. */
const ROWS = [
  row('apple', 'red', 7, { createRevision: 3, version: 4 }),
  row('pear', 'green', 5, { lease: -7n }),
  row('plum', 'blue', 5, { lease: 99n }),
  row('\xff', '', 2),
];

function textOf(rows: readonly KeyValue[]): string {
  const writer = new PortableWriter();
  const parts = [writer.header(9), writer.rows(rows.slice(0, 1)), writer.rows(rows.slice(1))];
  return parts.join('') + writer.leases([{ id: -7n, ttlSeconds: 60 }]) + writer.end();
}

function diskWith(text: string | Uint8Array): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.poke(FILE, typeof text === 'string' ? utf8(text) : text);
  return fs;
}

function finish<T>(work: Generator<Progress, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

function verify(fs: CrashFileSystem): unknown {
  const source = new SnapshotToRestore(FILE, fs);
  try {
    return finish(source.verify());
  } finally {
    source.close();
  }
}

function restore(fs: CrashFileSystem, engine: EngineKind): void {
  const source = new SnapshotToRestore(FILE, fs);
  finish(source.verify());
  const target = {
    directory: 'data',
    nodeId: 1,
    founders: [1],
    cluster: 'new',
    engine,
    owner: { pid: 1, startedAt: 1, token: 't' },
    newIncarnation: () => 'restored',
  };
  finish(source.restore(target));
  source.close();
}

function start(fs: CrashFileSystem, engine: EngineKind): Solo {
  const solo = new Solo({
    fs,
    voters: [1],
    incarnation: 'restored',
    openStore: (disk, directory) => openStore({ fs: disk, directory, choice: { kind: engine } }),
  });
  solo.turn(10_000);
  return solo;
}

function ask(solo: Solo, query: Query): QueryResult {
  const replies = solo.ask({ kind: 'query', query: encodeQuery(query) });
  solo.turn();
  const [reply] = replies;
  if (reply?.kind !== 'result') throw new Error(`No result: ${JSON.stringify(reply)}`);
  return decodeQueryResult(reply.result);
}

describe.each(['memory', 'lsm'] as const)('a portable snapshot restored with engine %s', (engine) => {
  test('has all rows with their revisions and leases, and goes on from there', () => {
    const fs = diskWith(textOf(ROWS));
    restore(fs, engine);
    expect(fs.openFiles).toBe(0);
    expect(readIdentity(fs, 'data')).toMatchObject({ cluster: 'new', nodeId: 1, engine });
    const everything = { kind: 'page', range: { start: '', end: undefined }, revision: 0 } as const;
    for (let life = 0; life < 2; life++) {
      const solo = start(fs, engine);
      expect(ask(solo, everything)).toEqual({ kind: 'page', revision: 9 + life, rows: ROWS, more: false });
      expect(ask(solo, { kind: 'leases' })).toMatchObject({ ids: [-7n, 99n] });
      const lease = { grantedTtlSeconds: 60, keys: ['pear'] };
      expect(ask(solo, { kind: 'leaseTimeToLive', id: -7n, keys: true })).toMatchObject({ lease });
      expect(ask(solo, { ...everything, revision: 8 })).toMatchObject({ reason: 'compacted' });
      const replies = solo.ask({ kind: 'set', key: fromLatin1('\xff'), value: utf8('') });
      solo.turn();
      expect(replies).toMatchObject([{ kind: 'ok' }]);
      const undone = ROWS.findIndex(({ key }) => key === '\xff');
      ROWS[undone] = row('\xff', '', 10 + life, { createRevision: 2, version: 2 + life });
    }
    ROWS[3] = row('\xff', '', 2);
  });

  test('may be empty', () => {
    const writer = new PortableWriter();
    const fs = diskWith(writer.header(1) + writer.rows([]) + writer.leases([]) + writer.end());
    restore(fs, engine);
    const everything = { kind: 'page', range: { start: '', end: undefined }, revision: 0 } as const;
    expect(ask(start(fs, engine), everything)).toMatchObject({ revision: 1, rows: [] });
  });
});

describe('a portable snapshot', () => {
  test('is refused when any byte was changed, or it was cut anywhere', () => {
    const bytes = utf8(textOf(ROWS));
    expect(verify(diskWith(bytes))).toEqual({ revision: 9, keys: 4, leases: 1 });
    for (let i = 0; i < bytes.length; i++) {
      const flipped = new Uint8Array(bytes);
      flipped[i] = (flipped[i] ?? 0) ^ 1;
      expect(() => verify(diskWith(flipped)), `flipped at ${i}`).toThrow(
        /^Cannot restore "backup.snapshot": (?:line \d+: |its format is )/,
      );
      expect(() => verify(diskWith(bytes.subarray(0, i))), `cut at ${i}`).toThrow(/^Cannot restore/);
    }
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    expect(() => verify(diskWith(longer))).toThrow(/^Cannot restore "backup.snapshot": line 7: /);
  });

  test('of a later format is refused with what to do', () => {
    const text = textOf(ROWS).replace('"oxideKvSnapshot":1', '"oxideKvSnapshot":2');
    expect(() => verify(diskWith(text))).toThrow(
      new StorageError(
        'Cannot restore "backup.snapshot": its format is 2, this program reads up to 1; start a later version of it',
      ),
    );
  });

  test('holds keys in order, none twice, none newer than itself', () => {
    for (const rows of [
      [row('b', '', 2), row('a', '', 3)],
      [row('a', '', 2), row('a', '', 3)],
      [row('a', '', 10)],
    ])
      expect(() => verify(diskWith(textOf(rows)))).toThrow(/it is no key of this snapshot$/);
  });
});
