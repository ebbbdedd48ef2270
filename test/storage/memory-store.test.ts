import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { CheckpointWriter } from '../../src/storage/checkpoint.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { checkpointStoreConformance } from '../conformance/checkpoint-store.ts';
import { DIRECTORY, contentsOf, newDisk, save, scribble, transfer } from '../support/checkpoints.ts';
import { snapshotBytes } from '../support/snapshots.ts';
import { EVERYTHING, NOW, VersionWriter, shown, workOut } from '../support/version-model.ts';

function open(fs: CrashFileSystem): MemoryStore {
  return new MemoryStore({ fs, directory: DIRECTORY });
}

function pathOf(index: number): string {
  return `${DIRECTORY}/snapshot-${String(index).padStart(20, '0')}.jsonl`;
}

/** A disk with one checkpoint of these lines. */
function diskOf(index: number, lines: readonly string[], header: object = {}): CrashFileSystem {
  const fs = newDisk();
  fs.poke(pathOf(index), snapshotBytes({ index, term: 1, ...header }, lines));
  return fs;
}

function line(key: string, revision: number): string {
  return JSON.stringify({ key, value: '', revision, sub: 0, created: 1, version: 1 });
}

checkpointStoreConformance('MemoryStore', open);

describe('MemoryStore', () => {
  test('writes what people can read', () => {
    const fs = newDisk();
    const store = open(fs);
    const writer = new VersionWriter([store.engine]);
    writer.next();
    writer.put('color', utf8('blue'), -17n);
    writer.put('\xff', Uint8Array.of(0xfe));
    writer.next();
    writer.put('color', utf8('green "é"'));
    writer.delete('size');
    save(store, { index: 3, term: 1, config: [1] }, ['{"sessions":0}']);
    expect(
      Buffer.from(fs.peek(pathOf(3)))
        .toString()
        .split('\n')
        .slice(0, -2),
    ).toEqual([
      '{"format":2,"stateLines":1,"index":3,"term":1,"config":[1]}',
      '{"sessions":0}',
      '{"key":"color","value":"green \\"é\\"","revision":2,"sub":0,"created":1,"version":2}',
      '{"key":"color","value":"blue","revision":1,"sub":0,"created":1,"version":1,"lease":"-17"}',
      '{"key":"size","deleted":true,"revision":2,"sub":1}',
      '{"key":{"base64":"/w=="},"value":{"base64":"/g=="},"revision":1,"sub":1,"created":1,"version":1}',
    ]);
  });

  test('the same history gives the same bytes, however much of it is gone already', () => {
    const files = [false, true].map((isWorkedOut) => {
      const fs = newDisk();
      const store = open(fs);
      scribble(new VersionWriter([store.engine]), new Random('same'), 300);
      store.engine.compact(200);
      if (isWorkedOut) workOut(store.engine);
      save(store, { index: 3, term: 1 });
      return Buffer.from(fs.peek(pathOf(3))).toString();
    });
    expect(files[0]).toBe(files[1]);
  });

  test('opens what came before versions: every row becomes the first version of its key, the rest is state', () => {
    const rows = ['{"key":"a","value":"1"}', '{"key":{"base64":"/w=="},"value":{"base64":"/g=="}}'];
    const session = '{"session":17,"ackedBelow":3,"answers":[]}';
    for (const header of [{ format: 1 }, { format: undefined }]) {
      const store = open(diskOf(40, [...rows, session], header));
      expect(store.newest).toEqual({ meta: { index: 40, term: 1 }, state: [session] });
      expect(Array.from(store.engine.changes(EVERYTHING, 0, NOW), shown)).toEqual(
        [
          { key: 'a', sub: 0, value: utf8('1') },
          { key: '\xff', sub: 1, value: Uint8Array.of(0xfe) },
        ].map((row) => shown({ ...row, revision: 40, created: 40, version: 1, lease: 0n })),
      );
      // Whoever gets it from here, as it is, has the same.
      const target = open(newDisk());
      target.install(transfer(store, target, new Random(1)));
      expect(contentsOf(target)).toEqual(contentsOf(store));
      save(store, { index: 41, term: 1 }, store.newest?.state);
      target.install(transfer(store, target, new Random(1)));
      expect(contentsOf(target)).toEqual(contentsOf(store));
    }
  });

  test('refuses rows and versions that are out of order, double, or behind the state', () => {
    const [a, b] = ['{"key":"a","value":"1"}', '{"key":"b","value":"1"}'];
    for (const lines of [
      [b, a],
      [a, a],
      ['{"session":1}', a],
    ])
      expect(() => open(diskOf(4, lines))).toThrow(/^Cannot restore checkpoint: line 2: it is out of order$/);
    const header = { format: 2, stateLines: 0 };
    for (const lines of [
      [line('b', 1), line('a', 2)],
      [line('a', 1), line('a', 2)],
      [line('a', 2), line('a', 2)],
    ])
      expect(() => open(diskOf(4, lines, header))).toThrow('line 2: it is out of order');
    expect(() => open(diskOf(4, [line('a', 1)], { format: 2, stateLines: 2 }))).toThrow(CorruptionError);
    expect(() => open(diskOf(4, [line('a', 1)], { format: 2 }))).toThrow(/how many lines are state$/);
  });

  test('a checkpoint is written though nothing of it is found for long', () => {
    const fs = newDisk();
    const store = open(fs);
    const writer = new VersionWriter([store.engine]);
    const steps = store.begin({ index: 1, term: 1 }, []);
    for (let i = 0; i < 20_000; i++) {
      writer.next();
      writer.put(String(i), utf8(''));
    }
    let count = 1;
    while (!steps.advance()) count += 1;
    expect(count).toBeGreaterThan(15);
    expect(contentsOf(open(fs)).answers).toEqual([]);
  });

  test('a checkpoint that is done, given up or failed holds no history any more', () => {
    const fs = newDisk();
    const store = open(fs);
    const writer = new VersionWriter([store.engine]);
    const ends = [
      (steps: CheckpointWriter) => steps.abort(),
      (steps: CheckpointWriter) => {
        fs.intercept = () => ({ kind: 'error', errno: 'ENOSPC' });
        expect(() => steps.advance()).toThrow(StorageError);
        fs.intercept = undefined;
      },
      (steps: CheckpointWriter) => {
        while (!steps.advance());
      },
    ];
    for (const end of ends) {
      scribble(writer, new Random('held'), 100);
      const steps = store.begin({ index: 1, term: 1 }, []);
      store.engine.compact(writer.revision);
      workOut(store.engine);
      const held = store.engine.versions;
      end(steps);
      workOut(store.engine);
      expect(store.engine.versions).toBeLessThan(held);
      expect(fs.openFiles).toBe(0);
    }
  });

  test('checkpoints only go forward, one at a time, and say nothing of their layout', () => {
    const store = open(newDisk());
    save(store, { index: 5, term: 1 });
    expect(() => store.begin({ index: 5, term: 2 }, [])).toThrow('only go forward');
    expect(() => store.begin({ index: 6, term: 2, stateLines: 1 }, [])).toThrow('for the store to say');
    const steps = store.begin({ index: 6, term: 2 }, []);
    expect(() => store.begin({ index: 7, term: 2 }, [])).toThrow('One checkpoint');
    steps.abort();
    expect(() => steps.advance()).toThrow('is left alone');
    store.close();
  });

  test('close() gives up what is being written, and leaves no file open', () => {
    const fs = newDisk();
    const store = open(fs);
    const steps = store.begin({ index: 6, term: 2 }, ['x']);
    const scan = store.engine.scan(EVERYTHING, NOW);
    steps.advance();
    store.close();
    expect(fs.openFiles).toBe(0);
    expect(scan.next().done).toBe(true);
    expect(open(fs).newest).toBeUndefined();
  });
});
