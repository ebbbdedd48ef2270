/** Power cuts: at every call of short scenarios, and at random calls of long random ones. */
import { describe, expect, test } from 'vitest';

import { Random } from '../../src/lib/random.ts';
import { Wal } from '../../src/storage/wal.ts';
import type { CrashFileSystem, Intercept } from '../../src/sim/disk.ts';
import { PowerCut, nthCall } from '../../src/sim/disk.ts';
import { newDisk, openWal, put, recovered, texts, worst } from './wal-support.ts';

/** Runs `scenario` with the power cut at every call in turn, several times each, and hands each disk to `check`. */
function cutEverywhere(
  setUp: () => CrashFileSystem,
  scenario: (fs: CrashFileSystem, reached: (step: string) => void) => void,
  check: (after: CrashFileSystem, step: string) => void,
): number {
  for (let n = 1; ; n++) {
    let isDone = false;
    for (let seed = 0; seed < 12; seed++) {
      const fs = setUp();
      let step = 'start';
      fs.intercept = nthCall(fs.calls + n, { kind: 'powerCut' });
      try {
        scenario(fs, (reached) => (step = reached));
        isDone = true;
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error;
      }
      check(fs.crash(new Random(`${n}/${seed}`), seed === 0 ? 'worst' : seed === 1 ? 'best' : 'any'), step);
    }
    if (isDone) return n - 1;
  }
}

/** One segment, two synced batches. */
function twoBatches(): CrashFileSystem {
  const fs = newDisk();
  const { wal } = openWal(fs);
  put(wal, 'a');
  wal.sync();
  put(wal, 'b');
  wal.sync();
  return fs.crash(new Random(0), 'best');
}

/** A record in each of five segments. */
function fiveSegments(): CrashFileSystem {
  const fs = newDisk();
  const { wal } = openWal(fs);
  for (const text of ['1', '2', '3', '4']) {
    put(wal, text);
    wal.roll();
  }
  put(wal, '5');
  wal.sync();
  return fs.crash(new Random(0), 'best');
}

describe('Wal, power cut at every call', () => {
  test('creating a log', () => {
    const cuts = cutEverywhere(
      newDisk,
      (fs) => {
        const { wal } = openWal(fs);
        put(wal, 'a');
        wal.sync();
      },
      (after, step) => {
        expect(step).toBe('start');
        expect([[], ['a']]).toContainEqual(recovered(after));
        expect(worst(after).list('wal')).toEqual(['000001.wal']);
      },
    );
    expect(cuts).toBeGreaterThan(6);
  });

  test('roll(), restating and removeBefore() never lose what was synced', () => {
    const whole = ['a', 'b', 'c', 'restated a+b+c'];
    const cuts = cutEverywhere(
      twoBatches,
      (fs, reached) => {
        const { wal } = openWal(fs);
        put(wal, 'c');
        wal.roll();
        reached('rolled');
        put(wal, 'restated a+b+c');
        wal.sync();
        reached('restated');
        wal.removeBefore(2);
        reached('removed');
      },
      (after, step) => {
        const found = recovered(after);
        const leastCount = step === 'start' ? 2 : step === 'rolled' ? 3 : 4;
        if (step === 'removed') expect(found).toEqual(['restated a+b+c']);
        else if (found.length === 1) expect([found, step]).toEqual([['restated a+b+c'], 'restated']);
        else {
          expect(found).toEqual(whole.slice(0, found.length));
          expect(found.length).toBeGreaterThanOrEqual(leastCount);
        }
        expect(recovered(worst(after))).toEqual(found);
      },
    );
    expect(cuts).toBeGreaterThan(12);
  });

  test('removeBefore() over several segments leaves no gap', () => {
    cutEverywhere(
      fiveSegments,
      (fs) => openWal(fs).wal.removeBefore(5),
      (after) => {
        const found = recovered(after);
        expect(['1', '2', '3', '4', '5'].slice(-found.length)).toEqual(found);
        expect(found.at(-1)).toBe('5');
      },
    );
  });

  test('a segment torn at creation, once removed, does not come back behind new records', () => {
    for (let seed = 0; seed < 100; seed++) {
      const before = fiveSegments();
      before.poke('wal/000006.wal', new Uint8Array(3));
      const { wal } = openWal(before);
      put(wal, '6'.repeat(1000));
      const after = before.crash(new Random(`torn creation/${seed}`));
      expect([
        ['1', '2', '3', '4', '5'],
        ['1', '2', '3', '4', '5', '6'.repeat(1000)],
      ]).toContainEqual(recovered(after));
    }
  });

  test('recovery that is itself cut off finds the same the next time', () => {
    for (let seed = 0; seed < 20; seed++) {
      const torn = (): CrashFileSystem => {
        const fs = twoBatches();
        const { wal } = openWal(fs);
        put(wal, 'c'.repeat(2000));
        put(wal, 'd'.repeat(2000));
        return fs.crash(new Random(`torn/${seed}`));
      };
      const expected = recovered(torn());
      cutEverywhere(
        torn,
        (fs) => recovered(fs),
        (after) => expect(recovered(after)).toEqual(expected),
      );
    }
  });
});

/** Drives one log through cuts and failed syncs, and knows what must be in it. */
class Torture {
  readonly #random: Random;
  #fs = newDisk();
  #wal: Wal;
  /** Records that may be in the log, oldest first; the first `#removed` went with their segments, or may have. */
  #expected: string[] = [];
  /** How many of them are durable. */
  #durable = 0;
  /** How many of the oldest may be missing. */
  #removable = 0;
  /** For each segment on disk, how many records of `#expected` came before it. */
  #starts = new Map<number, number>([[1, 0]]);
  #serial = 0;
  cuts = 0;
  torn = 0;

  constructor(seed: string) {
    this.#random = new Random(seed);
    this.#wal = this.#open();
  }

  run(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.#fs.intercept = this.#nextFault();
      try {
        for (let i = 0; i < 60; i++) this.#act();
      } catch (error) {
        if (!(error instanceof PowerCut)) this.#afterFailure();
      }
      this.#restart();
    }
  }

  #act(): void {
    const random = this.#random;
    if (random.chance(0.65)) {
      const text = `${this.#serial++}:`.padEnd(
        random.chance(0.1) ? random.int(500, 3000) : random.int(4, 60),
        '.',
      );
      this.#expected.push(text);
      put(this.#wal, text);
    } else if (this.#wal.shouldRoll || random.chance(0.05)) {
      this.#wal.roll();
      this.#durable = this.#expected.length;
      this.#starts.set(this.#wal.segment, this.#durable);
    } else if (random.chance(0.1)) {
      this.#wal.sync();
      this.#durable = this.#expected.length;
      const to = random.int(this.#wal.firstSegment, this.#wal.segment);
      this.#removable = Math.max(this.#removable, this.#starts.get(to) ?? 0);
      this.#wal.removeBefore(to);
    } else {
      this.#wal.sync();
      this.#durable = this.#expected.length;
    }
  }

  #nextFault(): Intercept {
    const at = this.#fs.calls + this.#random.int(1, 80);
    if (this.#random.chance(0.8)) return nthCall(at, { kind: 'powerCut' });
    return (call) =>
      call.number >= at && call.kind === 'sync' ? { kind: 'dropPages', errno: 'EIO' } : undefined;
  }

  /** The disk failed, and the power stays on: the process ends, and another starts on what the system shows. */
  #afterFailure(): void {
    this.#fs.intercept = undefined;
    try {
      this.#wal.close();
    } catch {
      // Nothing more is expected of it.
    }
  }

  #restart(): void {
    let isStanding = this.#random.chance(0.2);
    for (;;) {
      if (!isStanding || this.#random.chance(0.3)) {
        this.#fs = this.#fs.crash(this.#random);
        this.cuts += 1;
      }
      this.#fs.intercept = this.#random.chance(0.3)
        ? nthCall(this.#fs.calls + this.#random.int(1, 12), { kind: 'powerCut' })
        : undefined;
      try {
        this.#wal = this.#open();
        return;
      } catch (error) {
        if (!(error instanceof PowerCut)) throw error;
        isStanding = false;
      }
    }
  }

  #open(): Wal {
    const { wal, records, cut } = Wal.open({ fs: this.#fs, directory: 'wal', segmentBytesMax: 400 });
    if (cut !== undefined) this.torn += 1;
    const found = texts(records);
    const missing = found[0] === undefined ? this.#expected.length : this.#expected.indexOf(found[0]);
    expect(missing).toBeGreaterThanOrEqual(0);
    if (found.length > 0) expect(missing).toBeLessThanOrEqual(this.#removable);
    expect(found).toEqual(this.#expected.slice(missing, missing + found.length));
    expect(
      found.length === 0 ? this.#durable <= this.#removable : missing + found.length >= this.#durable,
    ).toBe(true);
    // All that was shown is now durable; what was not shown must never come back.
    this.#expected = [...found];
    this.#durable = found.length;
    this.#removable = 0;
    this.#starts = new Map();
    for (let n = wal.firstSegment; n <= wal.segment; n++) {
      this.#starts.set(n, records.filter((record) => record.segment < n).length);
    }
    return wal;
  }
}

describe('Wal, random power cuts and failed syncs', () => {
  test('everything synced is there after every recovery, in order, and nothing cut comes back', () => {
    let cuts = 0;
    let torn = 0;
    for (let seed = 0; seed < 150; seed++) {
      const torture = new Torture(`torture/${seed}`);
      torture.run(12);
      cuts += torture.cuts;
      torn += torture.torn;
    }
    // The test tests nothing unless cuts happen, and leave torn tails.
    expect(cuts).toBeGreaterThan(1500);
    expect(torn).toBeGreaterThan(100);
  });
});
