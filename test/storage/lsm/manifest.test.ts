/** The manifest: what it says is what was told, or it says what is wrong. */
import { beforeAll, describe, expect, test } from 'vitest';

import { utf8 } from '../../../src/lib/bytes.ts';
import { crc32 } from '../../../src/lib/crc32.ts';
import { CorruptionError, StorageError } from '../../../src/lib/errors.ts';
import { Random } from '../../../src/lib/random.ts';
import { type CrashFileSystem, type Fault, PowerCut, nthCall } from '../../../src/sim/disk.ts';
import { CURRENT, Manifest } from '../../../src/storage/lsm/manifest.ts';
import {
  EMPTY_STATE,
  type TreeEdit,
  type TreeState,
  editOf,
  editState,
  formatEdit,
  parseEdit,
} from '../../../src/storage/lsm/tree-state.ts';
import { RecordEncoder, hex32 } from '../../../src/storage/record.ts';
import { DIRECTORY, metaOf, newDisk } from './lsm-support.ts';

function newDirectory(): CrashFileSystem {
  const fs = newDisk();
  fs.makeDirectory(DIRECTORY);
  fs.syncDirectory('data');
  return fs;
}

function open(fs: CrashFileSystem, editBytesMax = 1_000_000): Manifest {
  return new Manifest({ fs, directory: DIRECTORY, editBytesMax });
}

/** Edit number `n` of a life: a flush each time, and now and then something goes down. */
function edit(n: number): TreeEdit {
  const level0 = { level: 0, meta: metaOf(2 * n, { first: '\0', last: '\xff' }), horizon: 0 };
  const deeper = { level: 1, meta: metaOf(2 * n - 2, { first: '\0', last: '\xff' }), horizon: 3 };
  return {
    added: n === 3 ? [level0, { ...deeper, meta: { ...deeper.meta, number: 5 } }] : [level0],
    removed: n === 3 ? [2, 4] : [],
    checkpoint: { index: 10 * n, term: n, number: 2 * n + 1, bytes: 100, crc32: 7 },
    ...(n > 1 && { horizon: n }),
    nextNumber: 2 * n + 2,
  };
}

/** At k: the state after the first k edits. */
function statesOf(count: number): readonly TreeState[] {
  const states = [EMPTY_STATE];
  for (let n = 1; n <= count; n++) {
    const next = editState(states.at(-1) ?? EMPTY_STATE, edit(n));
    states.push(typeof next === 'string' ? expect.fail(next) : next);
  }
  return states;
}

const STATES = statesOf(6);

function written(count: number, editBytesMax?: number): CrashFileSystem {
  const fs = newDirectory();
  const manifest = open(fs, editBytesMax);
  for (let n = 1; n <= count; n++) manifest.append(edit(n));
  manifest.close();
  return fs;
}

function copyOf(files: ReadonlyMap<string, Uint8Array>): CrashFileSystem {
  const fs = newDirectory();
  for (const [name, bytes] of files) fs.poke(`${DIRECTORY}/${name}`, bytes);
  return fs;
}

function filesOf(fs: CrashFileSystem): ReadonlyMap<string, Uint8Array> {
  return new Map(fs.list(DIRECTORY).map((name) => [name, fs.peek(`${DIRECTORY}/${name}`)]));
}

function stateAt(fs: CrashFileSystem): TreeState {
  const manifest = open(fs);
  const { state } = manifest;
  manifest.close();
  return state;
}

describe('Manifest', () => {
  test('gives back what was appended, in one file or in many', () => {
    for (const editBytesMax of [1, 700, 1_000_000]) {
      let fs = newDirectory();
      for (let n = 1; n <= 6; n++) {
        const manifest = open(fs, editBytesMax);
        expect(manifest.state).toEqual(STATES[n - 1]);
        manifest.append(edit(n));
        expect(manifest.state).toEqual(STATES[n]);
        manifest.close();
        fs = fs.crash(new Random(n), 'worst');
      }
      expect(stateAt(fs)).toEqual(STATES[6]);
    }
  });

  test('a manifest that grew large is replaced by one, and only that is left', () => {
    const fs = written(6, 700);
    const names = fs.list(DIRECTORY);
    expect(names).toEqual([CURRENT, expect.stringMatching(/^MANIFEST-00000[2-9]$/)]);
    expect(stateAt(fs)).toEqual(STATES[6]);
  });

  test('opening it again changes nothing', () => {
    for (const mode of ['best', 'worst', 'any'] as const) {
      const fs = written(4).crash(new Random(mode), mode);
      stateAt(fs);
      const before = filesOf(fs);
      stateAt(fs);
      expect(filesOf(fs)).toEqual(before);
    }
  });

  test('an edit that makes no sense is a bug, and is not written', () => {
    const manifest = open(newDirectory());
    manifest.append(edit(1));
    expect(() => manifest.append({ added: [], removed: [77], nextNumber: 9 })).toThrow('removes table 77');
    expect(() => manifest.append({ added: [], removed: [], nextNumber: 1 })).toThrow(
      'moves the next number back',
    );
    expect(() => manifest.append({ ...edit(2), nextNumber: 4 })).toThrow('says that 4 is free');
    manifest.append(edit(2));
    expect(() => manifest.append({ added: [], removed: [], horizon: 1, nextNumber: 9 })).toThrow(
      'horizon back',
    );
    expect(manifest.state).toEqual(STATES[2]);
  });

  test('a later format is refused in words', () => {
    const files = new Map(filesOf(written(0)));
    const text = formatEdit(editOf(EMPTY_STATE)).replace('"format":1', '"format":2');
    expect(text).toContain('"format":2');
    const record = new RecordEncoder().encode({ type: 1, shard: 0, synced: 0, segment: 1, offset: 0 }, [
      utf8(text),
    ]);
    files.set('MANIFEST-000001', record.slice());
    expect(() => stateAt(copyOf(files))).toThrow(
      new StorageError(
        'Cannot open manifest "data/lsm/MANIFEST-000001": its format is 2, this program reads up to 1; start a later version of it',
      ),
    );
  });

  test('a first start that was cut off is a first start again; a lost CURRENT is damage', () => {
    const files = filesOf(written(0));
    const manifest = files.get('MANIFEST-000001') ?? expect.fail();
    const torn = new Map([
      ['MANIFEST-000001', manifest.slice(0, 20)],
      ['CURRENT.tmp', new Uint8Array(3)],
    ]);
    expect(stateAt(copyOf(torn))).toEqual(EMPTY_STATE);
    for (const other of ['MANIFEST-000002', '000001.sst', '000001.state']) {
      const lost = new Map([...files, [other, manifest]]);
      lost.delete(CURRENT);
      expect(() => stateAt(copyOf(lost))).toThrow('Cannot open manifest "data/lsm/CURRENT": it is missing');
    }
  });

  test('a manifest that CURRENT names and that is not there is damage', () => {
    const files = new Map(filesOf(written(2)));
    files.delete('MANIFEST-000001');
    expect(() => stateAt(copyOf(files))).toThrow('MANIFEST-000001": it is missing');
  });

  test('CURRENT with a sound checksum and nonsense in it is damage', () => {
    const files = new Map(filesOf(written(2)));
    const text = 'MANIFEST-1 5';
    files.set(CURRENT, utf8(`${text} ${hex32(crc32(utf8(text)))}\n`));
    expect(() => stateAt(copyOf(files))).toThrow('it does not name a manifest');
  });
});

describe('parseEdit()', () => {
  test('reads what formatEdit() wrote', () => {
    for (const state of STATES) {
      for (const each of [editOf(state), edit(3)])
        expect(parseEdit(formatEdit(each))).toEqual({ kind: 'edit', edit: each });
    }
  });

  test('refuses an edit in which any field is missing or of another kind', () => {
    const whole: unknown = JSON.parse(formatEdit(edit(3)));
    const wrongs: readonly unknown[] = [undefined, null, -1, 0.5, 'x', '\u0100', {}, [], 2 ** 53, 2 ** 32, 7];
    let refused = 0;
    const visit = (value: unknown, replace: (by: unknown) => unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value)) {
        const put = (by: unknown): unknown => {
          const copy: Record<string, unknown> = { ...value, [key]: by };
          return replace(Array.isArray(value) ? Object.values(copy) : copy);
        };
        for (const wrong of wrongs) {
          const parsed = parseEdit(JSON.stringify(put(wrong)));
          if (parsed.kind !== 'edit') refused += 1;
          else {
            // What is taken is taken as it is, and is of the right kind.
            expect(parseEdit(formatEdit(parsed.edit))).toEqual(parsed);
          }
        }
        visit(inner, put);
      }
    };
    visit(whole, (by) => by);
    expect(refused).toBeGreaterThan(200);
  });
});

describe('Manifest, damaged', () => {
  let files: ReadonlyMap<string, Uint8Array>;
  beforeAll(() => {
    files = filesOf(written(2));
  });

  test('every flipped bit is found, or shows nothing wrong', () => {
    let found = 0;
    let harmless = 0;
    for (const [name, bytes] of files) {
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const fs = copyOf(new Map([...files, [name, flipped]]));
        try {
          if (JSON.stringify(stateAt(fs)) !== JSON.stringify(STATES[2])) expect.fail(`${name}, bit ${bit}`);
          harmless += 1;
        } catch (error) {
          if (!(error instanceof CorruptionError)) throw error;
          if (!error.message.includes(`${DIRECTORY}/`)) expect.fail(error.message);
          found += 1;
        }
      }
    }
    // The last mark vouches for the edit before it, and nothing for the mark.
    expect(harmless).toBe(15 * 8);
    expect(found).toBeGreaterThan(5000);
  });

  test('wherever the manifest is cut off, an earlier state is found whole or it is called damaged', () => {
    const name = 'MANIFEST-000001';
    const bytes = files.get(name) ?? expect.fail();
    const states = STATES.map((state) => JSON.stringify(state));
    let found = 0;
    let lowest = STATES.length;
    for (let length = 0; length < bytes.length; length++) {
      const fs = copyOf(new Map([...files, [name, bytes.slice(0, length)]]));
      try {
        const state = states.indexOf(JSON.stringify(stateAt(fs)));
        expect(state).toBeGreaterThanOrEqual(0);
        lowest = Math.min(lowest, state);
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        found += 1;
      }
    }
    expect(lowest).toBe(0);
    expect(found).toBeGreaterThan(30);
  });

  test('wherever CURRENT is cut off, that is found', () => {
    const bytes = files.get(CURRENT) ?? expect.fail();
    for (let length = 0; length < bytes.length; length++) {
      const fs = copyOf(new Map([...files, [CURRENT, bytes.slice(0, length)]]));
      expect(() => stateAt(fs)).toThrow(CorruptionError);
    }
  });
});

/** Runs a life of edits; each fault stops it. @returns how many edits were durable for certain */
function live(fs: CrashFileSystem, editBytesMax: number, from = 1): number {
  let done = from - 1;
  try {
    const manifest = open(fs, editBytesMax);
    for (let n = from; n <= 6; n++) {
      manifest.append(edit(n));
      done = n;
    }
    manifest.close();
  } catch (error) {
    if (!(error instanceof PowerCut || error instanceof StorageError)) throw error;
  }
  return done;
}

describe('Manifest, power cuts and failures', () => {
  const FAULTS: readonly Fault[] = [
    { kind: 'powerCut' },
    { kind: 'error', errno: 'EIO' },
    { kind: 'shortWrite', errno: 'ENOSPC', bytes: 30 },
    { kind: 'dropPages', errno: 'EIO' },
  ];

  test.each(FAULTS)('%o at every call leaves the last edit or the one under way, and stays so', (fault) => {
    for (const editBytesMax of [1, 700, 1_000_000]) {
      for (let n = 1, calls = Infinity; n <= calls; n++) {
        for (let seed = 0; seed < 6; seed++) {
          const fs = newDirectory();
          const start = fs.calls;
          const nth = nthCall(start + n, fault);
          fs.intercept = (call) => {
            if (fault.kind === 'shortWrite' && call.kind !== 'write') return undefined;
            if (fault.kind === 'dropPages' && call.kind !== 'sync') return undefined;
            return nth(call);
          };
          const done = live(fs, editBytesMax);
          if (done === 6) calls = Math.min(calls, fs.calls - start);
          fs.intercept = undefined;
          const random = new Random(`${n}/${seed}`);
          const isRestart = seed === 2 && fault.kind !== 'powerCut';
          const mode = seed === 0 ? 'worst' : seed === 1 ? 'best' : 'any';
          const after = isRestart ? fs : fs.crash(random, mode);
          const found = stateAt(after);
          const at = STATES.findIndex((state) => JSON.stringify(state) === JSON.stringify(found));
          if (at !== done && at !== done + 1) expect.fail(`call ${n}, seed ${seed}: ${at} after ${done}`);
          // What was found is durable, and life goes on from there.
          const again = after.crash(random, 'worst');
          expect(stateAt(again)).toEqual(found);
          expect(live(again, editBytesMax, at + 1)).toBe(6);
          expect(stateAt(again.crash(random, 'worst'))).toEqual(STATES[6]);
        }
      }
    }
  });

  test('after a failure the next edit goes into a new manifest, whatever became of the last', () => {
    for (const fault of FAULTS.slice(1)) {
      for (let n = 1; n < 12; n++) {
        const fs = newDirectory();
        const manifest = open(fs);
        manifest.append(edit(1));
        fs.intercept = nthCall(fs.calls + n, fault);
        let isFailed = false;
        try {
          manifest.append(edit(2));
        } catch (error) {
          expect(error).toBeInstanceOf(StorageError);
          isFailed = true;
        }
        fs.intercept = undefined;
        if (isFailed) {
          expect(manifest.state).toEqual(STATES[1]);
          manifest.append(edit(2));
        }
        manifest.append(edit(3));
        expect(fs.list(DIRECTORY)).toEqual([CURRENT, manifest.name]);
        manifest.close();
        expect(stateAt(fs.crash(new Random(n), 'worst'))).toEqual(STATES[3]);
      }
    }
  });
});
