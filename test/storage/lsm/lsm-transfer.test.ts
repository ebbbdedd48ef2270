/** Checkpoints of the tree on their way from one disk to another. */
import { describe, expect, test } from 'vitest';
import { CorruptionError, StorageError } from '../../../src/lib/errors.ts';
import { Random } from '../../../src/lib/random.ts';
import { nthCall } from '../../../src/sim/disk.ts';
import {
  contentsOf,
  deliver,
  identityOf,
  openSource,
  partsOf,
  save,
  verdictOf,
} from '../../support/checkpoints.ts';
import { VersionWriter, answersOf, workOut } from '../../support/version-model.ts';
import { DIRECTORY, TINY, expectTidy, grown, newDisk, openStore, scatter, tablesOf } from './lsm-support.ts';

describe('sending and receiving', () => {
  test('files go into their places: installing copies and renames nothing but CURRENT', () => {
    const from = grown(TINY, { rounds: 12, keys: 1000 }).store;
    const { fs, store } = grown(TINY, { rounds: 5 });
    const source = openSource(from);
    const incoming = store.receive(identityOf(from, source), []);
    deliver(incoming, partsOf(source), new Random(1));
    source.close();
    expect(verdictOf(incoming)).toBe('whole');
    const written: string[] = [];
    fs.intercept = ({ kind, path }) => {
      if (kind === 'write' || kind === 'rename') written.push(`${kind} ${path.replace(/\d+/, 'n')}`);
      return undefined;
    };
    store.install(incoming);
    fs.intercept = undefined;
    expect(written).toEqual([
      'write data/lsm/MANIFEST-n',
      'write data/lsm/CURRENT.tmp',
      'rename data/lsm/CURRENT',
    ]);
    expect(tablesOf(store)).toEqual(tablesOf(from));
    expect(contentsOf(store)).toEqual(contentsOf(from));
    store.close();
    expectTidy(fs);
  });

  test('a source needs no reading before it begins, and finds damage before the bytes go out', () => {
    const { fs, store } = grown();
    const right = openSource(store);
    const whole = Buffer.concat(partsOf(right).map(([, bytes]) => bytes));
    right.close();
    const reads = { count: 0 };
    fs.intercept = ({ kind }) => {
      if (kind === 'read') reads.count += 1;
      return undefined;
    };
    const source = openSource(store);
    expect([source.totalBytes, source.crc32]).toEqual([right.totalBytes, right.crc32]);
    expect(reads.count).toBe(0);
    const victim = fs.list(DIRECTORY).findLast((name) => name.endsWith('.sst')) ?? expect.fail();
    const bytes = fs.peek(`${DIRECTORY}/${victim}`);
    const damaged = bytes.slice();
    damaged[bytes.length - 1] = (damaged[bytes.length - 1] ?? 0) ^ 1;
    fs.poke(`${DIRECTORY}/${victim}`, damaged);
    let error: unknown;
    let sent = 0;
    try {
      for (const [offset, part] of partsOf(source)) {
        expect(Buffer.compare(part, whole.subarray(offset, offset + part.length))).toBe(0);
        sent += part.length;
      }
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CorruptionError);
    expect(String(error)).toContain(`Cannot send "${DIRECTORY}/${victim}"`);
    expect(sent).toBeLessThan(whole.length);
  });

  test('a source reads each file once on the way, and gives the same bytes again from anywhere', () => {
    const { fs, store } = grown(TINY, { rounds: 12, keys: 1000 });
    const source = openSource(store);
    const reads: string[] = [];
    fs.intercept = ({ kind, path }) => {
      if (kind === 'read') reads.push(path);
      return undefined;
    };
    const whole = Buffer.concat(partsOf(source).map(([, bytes]) => bytes));
    fs.intercept = undefined;
    expect(reads.length).toBeGreaterThan(5);
    expect(new Set(reads).size).toBe(reads.length);
    const random = new Random(2);
    for (let i = 0; i < 500; i++) {
      const offset = random.int(0, whole.length - 1);
      const bytes = source.read(offset);
      expect(bytes.length).toBeGreaterThan(0);
      expect(Buffer.compare(bytes, whole.subarray(offset, offset + bytes.length))).toBe(0);
    }
    source.close();
    store.close();
  });

  test('bytes that must be read again, and have changed since they were compared, do not go out', () => {
    const { fs, store } = grown(TINY, { rounds: 12, keys: 1000 });
    const source = openSource(store);
    partsOf(source);
    const victim = fs.list(DIRECTORY).find((name) => name.endsWith('.sst')) ?? expect.fail();
    const path = `${DIRECTORY}/${victim}`;
    const bytes = fs.peek(path).slice();
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    fs.poke(path, bytes);
    expect(() => partsOf(source)).toThrow(
      `Cannot send "${path}": the bytes from 0 on have changed since they were compared`,
    );
    source.close();
    store.close();
  });

  test.each(['size', 'truncate'] as const)(
    'leaves no file open when going on with an earlier attempt fails at %s',
    (kind) => {
      const from = grown(TINY, { rounds: 12, keys: 1000 }).store;
      const source = openSource(from);
      const identity = identityOf(from, source);
      const fs = newDisk();
      const first = openStore(fs);
      const [header, ...parts] = partsOf(source);
      const early = first.receive(identity, []);
      early.write(...(header ?? expect.fail()));
      for (const [offset, bytes] of parts.slice(0, 1)) early.write(offset, bytes);
      first.close();
      const store = openStore(fs);
      const before = fs.openFiles;
      fs.intercept = (call) => (call.kind === kind ? { kind: 'error', errno: 'EIO' } : undefined);
      expect(() => store.receive(identity, [])).toThrow(StorageError);
      expect(fs.openFiles).toBe(before);
    },
  );

  test('parts that come before the header is whole are refused, and taken when they come again', () => {
    const from = grown(TINY, { rounds: 12, keys: 1000 }).store;
    const source = openSource(from);
    const parts = partsOf(source).flatMap(([offset, bytes]) => [
      [offset, bytes.subarray(0, 10)] as const,
      [offset + 10, bytes.subarray(10)] as const,
    ]);
    const fs = newDisk();
    const store = openStore(fs);
    const incoming = store.receive(identityOf(from, source), []);
    const [first, second, ...rest] = parts;
    if (first === undefined || second === undefined) expect.fail();
    expect(rest.map(([offset, bytes]) => incoming.write(offset, bytes)).filter((isTaken) => isTaken)).toEqual(
      [],
    );
    expect(incoming.write(second[0], second[1])).toBe(false);
    expect(fs.list(DIRECTORY).filter((name) => name.endsWith('.sst'))).toEqual([]);
    expect(incoming.write(first[0], first[1])).toBe(true);
    expect(incoming.received).toBe(10);
    expect(incoming.write(...second)).toBe(true);
    for (const [offset, bytes] of rest.toReversed().slice(-60))
      expect(incoming.write(offset, bytes)).toBe(true);
    for (const [offset, bytes] of rest) incoming.write(offset, bytes);
    expect(verdictOf(incoming)).toBe('whole');
    store.install(incoming);
    expect(contentsOf(store)).toEqual(contentsOf(from));
  });

  test.each([
    ['nothing but zeros', (bytes: Uint8Array) => bytes.fill(0)],
    ['a header that claims to be huge', (bytes: Uint8Array) => bytes.fill(0xff, 12, 16)],
    ['a header that claims to be empty', (bytes: Uint8Array) => bytes.fill(0, 12, 16)],
  ])('%s is found out without a file', (_name, spoil) => {
    const from = grown().store;
    const source = openSource(from);
    const fs = newDisk();
    const store = openStore(fs);
    const before = fs.list(DIRECTORY);
    const incoming = store.receive(identityOf(from, source), []);
    const parts = partsOf(source).map(
      ([offset, bytes], i) => [offset, i === 0 ? spoil(bytes.slice()) : bytes] as const,
    );
    for (const [offset, bytes] of parts) incoming.write(offset, bytes);
    expect(incoming.isComplete).toBe(true);
    expect(incoming.verify().kind).toBe('damaged');
    incoming.discard();
    expect(fs.list(DIRECTORY)).toEqual(before);
  });

  test('what has arrived counts as damage on disk when it rots there before it is verified', () => {
    const from = grown().store;
    const { fs, store } = grown(TINY, { rounds: 2 });
    const source = openSource(from);
    const before = new Set(fs.list(DIRECTORY));
    const incoming = store.receive(identityOf(from, source), []);
    deliver(incoming, partsOf(source), new Random(1));
    const arrived = fs.list(DIRECTORY).filter((name) => !before.has(name) && name.endsWith('.sst'));
    expect(arrived.length).toBe(tablesOf(from).reduce((sum, count) => sum + count, 0));
    const victim = `${DIRECTORY}/${arrived[1] ?? ''}`;
    const bytes = fs.peek(victim);
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    fs.poke(victim, bytes);
    expect(verdictOf(incoming)).toBe('damaged');
    incoming.discard();
    expect(new Set(fs.list(DIRECTORY))).toEqual(before);
  });

  test('a whole arrival survives a restart, and is not received again', () => {
    const from = grown(TINY, { rounds: 12, keys: 1000 }).store;
    const source = openSource(from);
    const identity = identityOf(from, source);
    const fs = newDisk();
    let store = openStore(fs);
    const incoming = store.receive(identity, []);
    for (const [offset, bytes] of partsOf(source)) incoming.write(offset, bytes);
    store.close();
    const numbered = (): number => fs.list(DIRECTORY).filter((name) => name.endsWith('.sst')).length;
    const arrived = numbered();
    store = openStore(fs);
    // Numbers of the arrival are not given to anything else meanwhile.
    scatter(new VersionWriter([store.engine]), new Random('own'), { count: 50 });
    save(store, { index: 1, term: 1 });
    expect(numbered()).toBe(arrived + 1);
    const again = store.receive(identity, []);
    for (const [offset, bytes] of partsOf(source)) again.write(offset, bytes);
    expect(verdictOf(again)).toBe('whole');
    store.install(again);
    expect(contentsOf(store)).toEqual(contentsOf(from));
    store.close();
    expectTidy(fs);
  });

  test('an arrival that is not newer than what is there goes when the store is opened', () => {
    const { store: from, fs: fromDisk } = grown(TINY, { rounds: 5 });
    const source = openSource(from);
    const { fs, store } = grown(TINY, { rounds: 4 });
    const incoming = store.receive(identityOf(from, source), []);
    for (const [offset, bytes] of partsOf(source)) incoming.write(offset, bytes);
    incoming.close();
    save(store, { index: 5, term: 1 });
    store.close();
    openStore(fs).close();
    expect(fs.list(DIRECTORY).filter((name) => name.startsWith('incoming'))).toEqual([]);
    expectTidy(fs);
    expect(fromDisk.list(DIRECTORY).length).toBeGreaterThan(0);
  });

  test('a source keeps its files until it is closed', () => {
    const { fs, store, writer, random, index } = grown();
    const source = openSource(store);
    for (let i = 1; i < 8; i++) {
      scatter(writer, random, { count: 60 });
      save(store, { index: index + i, term: 1 });
      workOut(store.engine);
    }
    const held = fs.list(DIRECTORY).length;
    partsOf(source);
    source.close();
    expect(fs.list(DIRECTORY).length).toBeLessThan(held);
    store.close();
    expectTidy(fs);
  });

  test('a source that is closed after its store leaves the rest to the next opening', () => {
    const { fs, store, writer, random, index } = grown();
    const source = openSource(store);
    scatter(writer, random, { count: 60 });
    save(store, { index: index + 1, term: 1 });
    workOut(store.engine);
    const last = contentsOf(store);
    store.close();
    const held = fs.list(DIRECTORY);
    source.close();
    expect(fs.list(DIRECTORY)).toEqual(held);
    const again = openStore(fs);
    expect(contentsOf(again)).toEqual(last);
    again.close();
    expect(fs.list(DIRECTORY).length).toBeLessThan(held.length);
    expectTidy(fs);
  });

  test('when installing fails, the old tree can be read, and a restart finds it or the new one, whole', () => {
    const from = grown(TINY, { rounds: 12 }).store;
    for (let n = 1; n < 14; n++) {
      const { fs, store, model, index } = grown(TINY, { rounds: 3 });
      // What is in no checkpoint is gone with the process.
      save(store, { index: index + 1, term: 1 });
      const source = openSource(from);
      const incoming = store.receive(identityOf(from, source), []);
      for (const [offset, bytes] of partsOf(source)) incoming.write(offset, bytes);
      source.close();
      expect(verdictOf(incoming)).toBe('whole');
      fs.intercept = nthCall(fs.calls + n, { kind: 'error', errno: 'EIO' });
      let isInstalled = true;
      try {
        store.install(incoming);
      } catch (error) {
        expect(error).toBeInstanceOf(StorageError);
        isInstalled = false;
      }
      fs.intercept = undefined;
      expect(answersOf(store.engine)).toEqual(answersOf(isInstalled ? from.engine : model));
      store.close();
      const found = answersOf(openStore(fs.crash(new Random(n), 'worst')).engine);
      if (isInstalled) expect(found).toEqual(answersOf(from.engine));
      else expect([answersOf(model), answersOf(from.engine)]).toContainEqual(found);
    }
  });
});
