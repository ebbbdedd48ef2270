/**
 * The obviously right engine of versions, and random stories that two engines are told at once: whatever is asked, both
 * give the same answer.
 */
import { expect } from 'vitest';

import { crc32 } from '../../src/lib/crc32.ts';
import type { Random } from '../../src/lib/random.ts';
import type { EngineStats, KeyRange, Version, VersionEngine } from '../../src/storage/version-engine.ts';

export const EVERYTHING: KeyRange = { start: '', end: undefined };
/** Above every revision. */
export const NOW: number = Number.MAX_SAFE_INTEGER;

/** An engine under test. */
export interface EngineSubject {
  readonly engine: VersionEngine;
  /** Something on which no answer may depend: a flush, a slice of a checkpoint, a job that ends. */
  readonly disturb: () => void;
  readonly close: () => void;
}

/** @param random chooses sizes and whatever else may differ */
export type EngineFactory = (random: Random) => EngineSubject;

/** All versions ever put, in the order of their revisions. Forgets nothing. */
export class ModelEngine implements VersionEngine {
  readonly pressurePercent: number = 0;
  readonly all: Version[] = [];

  get(key: string, revision: number): Version | undefined {
    return this.all.findLast((version) => version.key === key && version.revision <= revision);
  }
  put(version: Version): void {
    this.all.push(version);
  }
  scan(range: KeyRange, revision: number, isReverse = false): IterableIterator<Version> {
    const found = new Map<string, Version>();
    for (const version of this.all)
      if (isIn(range, version.key) && version.revision <= revision) found.set(version.key, version);
    const alive = [...found.values()].filter((version) => version.version > 0).toSorted(byKey);
    return (isReverse ? alive.toReversed() : alive).values();
  }
  changes(range: KeyRange, after: number, upTo: number): IterableIterator<Version> {
    return this.all
      .filter(({ key, revision }) => isIn(range, key) && revision > after && revision <= upTo)
      .toSorted((a, b) => byKey(a, b) || b.revision - a.revision)
      .values();
  }
  compact(): void {}
  work(): boolean {
    return false;
  }
  get stats(): EngineStats {
    return { kind: 'memory', versions: this.all.length, bytes: 0 };
  }
}

function isIn(range: KeyRange, key: string): boolean {
  return key >= range.start && (range.end === undefined || key < range.end);
}

function byKey(a: Version, b: Version): number {
  if (a.key === b.key) return 0;
  return a.key < b.key ? -1 : 1;
}

/** A version in one line: equal ones have equal lines. */
export function shown(version: Version | undefined): string {
  if (version === undefined) return 'nothing';
  const { key, revision, sub, created, value, lease } = version;
  const name = Buffer.from(key, 'latin1').toString('hex');
  return `${name}@${revision}.${sub} created ${created} version ${version.version} lease ${lease} value ${value.length}:${crc32(value)}`;
}

/** All that an engine answers from `horizon` on. */
export function answersOf(engine: VersionEngine, horizon = 0): readonly string[] {
  return [
    ...Array.from(engine.scan(EVERYTHING, horizon), (version) => `at ${horizon}: ${shown(version)}`),
    ...Array.from(engine.changes(EVERYTHING, horizon, NOW), shown),
    ...Array.from(engine.scan(EVERYTHING, NOW, true), (version) => `now: ${shown(version)}`),
  ];
}

/** Works until nothing is left that {@link VersionEngine.work} can do. @returns the number of slices */
export function workOut(engine: VersionEngine): number {
  for (let slices = 1; slices < 1_000_000; slices++) if (!engine.work()) return slices;
  return expect.fail('work() never ends');
}

/** Writes as a state machine does: it knows how each key came to be. */
export class VersionWriter {
  readonly #alive: Map<string, { readonly created: number; readonly version: number }> = new Map();
  readonly #engines: readonly VersionEngine[];
  revision: number;
  #sub = -1;

  constructor(engines: readonly VersionEngine[], revision = 0) {
    this.#engines = engines;
    this.revision = revision;
  }

  /** Begins the next revision. */
  next(by = 1): void {
    this.revision += by;
    this.#sub = -1;
  }

  put(key: string, value: Uint8Array, lease = 0n): Version {
    const { created, version } = this.#alive.get(key) ?? { created: this.revision, version: 0 };
    this.#alive.set(key, { created, version: version + 1 });
    return this.#add({ key, created, version: version + 1, lease, value });
  }

  delete(key: string): Version {
    this.#alive.delete(key);
    return this.#add({ key, created: 0, version: 0, lease: 0n, value: new Uint8Array(0) });
  }

  #add(rest: Omit<Version, 'revision' | 'sub'>): Version {
    this.#sub += 1;
    const version = { ...rest, revision: this.revision, sub: this.#sub };
    for (const engine of this.#engines) engine.put(version);
    return version;
  }
}

const LEASES = [0n, 0n, 0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)];
const FIRST_REVISIONS = [0, 0, 0, 2 ** 31 - 50, 2 ** 32 - 50, 2 ** 53 - 100_000];
const ALPHABETS = ['\0\xff', '\0a\xff', 'ab', '0123456789', '\x7f\x80'].map((text) => text.split(''));
const HELD_MAX = 6;

/** Two iterators that must go the same way, opened at a revision that stays readable for them. */
interface HeldPair {
  readonly what: string;
  readonly a: IterableIterator<Version>;
  readonly b: IterableIterator<Version>;
}

/** One random story. */
export class Story {
  readonly #a: EngineSubject;
  readonly #b: EngineSubject;
  readonly #random: Random;
  readonly #keys: readonly string[];
  readonly #writer: VersionWriter;
  readonly #tombstones: number;
  readonly #batchMax: number;
  readonly #jumpMax: number;
  readonly #valueBytesMax: number;
  readonly #weights: readonly number[];
  #held: HeldPair[] = [];
  #horizon: number;

  constructor(a: EngineSubject, b: EngineSubject, random: Random) {
    this.#a = a;
    this.#b = b;
    this.#random = random;
    const alphabet = pick(random, ALPHABETS);
    const bytesMax = random.int(1, 5);
    const keyCount = pick(random, [1, 5, 40, 300]);
    this.#keys = Array.from({ length: keyCount }, () =>
      Array.from({ length: random.int(1, bytesMax) }, () => pick(random, alphabet)).join(''),
    );
    this.#tombstones = pick(random, [0, 0.1, 0.5, 0.9]);
    this.#batchMax = pick(random, [1, 3, 20]);
    this.#jumpMax = pick(random, [1, 1, 5]);
    this.#valueBytesMax = pick(random, [0, 10, 10, 500]);
    this.#weights = Array.from({ length: 8 }, () => pick(random, [0, 1, 1, 4]));
    const first = pick(random, FIRST_REVISIONS);
    this.#horizon = 0;
    this.#writer = new VersionWriter([a.engine, b.engine], first);
  }

  /** Tells it, and fails at the first answer that differs. @returns the number of answers compared */
  run(steps: number): number {
    let answers = 0;
    for (let step = 0; step < steps; step++) {
      if (this.#random.chance(0.5)) this.#write();
      else answers += this.#act();
    }
    for (const pair of this.#held) answers += this.#advance(pair, Infinity);
    workOut(this.#a.engine);
    workOut(this.#b.engine);
    const whole = answersOf(this.#a.engine, this.#horizon);
    expect(whole).toEqual(answersOf(this.#b.engine, this.#horizon));
    for (const key of this.#keys) this.#get(key);
    return answers + whole.length;
  }

  #write(): void {
    this.#writer.next(this.#random.int(1, this.#jumpMax));
    const keys = new Set(Array.from({ length: this.#random.int(1, this.#batchMax) }, () => this.#key()));
    for (const key of keys) {
      if (this.#random.chance(this.#tombstones)) this.#writer.delete(key);
      else {
        const value = new Uint8Array(this.#random.int(0, this.#valueBytesMax)).fill(this.#random.int(0, 255));
        this.#writer.put(key, value, pick(this.#random, LEASES));
      }
    }
  }

  #act(): number {
    switch (this.#choice()) {
      case 0:
        return this.#get(this.#key());
      case 1: {
        const pair = this.#openScan();
        const answers = this.#advance(pair, this.#random.chance(0.3) ? this.#random.int(0, 10) : Infinity);
        pair.a.return?.();
        pair.b.return?.();
        return answers;
      }
      case 2:
        return this.#hold(this.#openScan());
      case 3:
        return this.#hold(this.#openChanges());
      case 4: {
        const pair = this.#held[this.#random.int(0, this.#held.length - 1)];
        return pair === undefined ? 0 : this.#advance(pair, this.#random.int(1, 20));
      }
      case 5: {
        const to = this.#revision();
        this.#a.engine.compact(to);
        this.#b.engine.compact(to);
        this.#horizon = Math.max(this.#horizon, to);
        return 0;
      }
      case 6:
        for (let i = this.#random.int(1, 5); i > 0; i--) {
          this.#a.engine.work();
          this.#b.engine.work();
        }
        return 0;
      default:
        this.#a.disturb();
        this.#b.disturb();
        return 0;
    }
  }

  #get(key: string): number {
    const revision = this.#random.chance(0.2) ? NOW : this.#revision();
    const [a, b] = [this.#a, this.#b].map(({ engine }) => {
      const version = engine.get(key, revision);
      const mayBeGone = version?.version === 0 && version.revision <= this.#horizon;
      return shown(mayBeGone ? undefined : version);
    });
    if (a !== b) expect.fail(`get(${JSON.stringify(key)}, ${revision}) is ${a}, expected ${b}`);
    return 1;
  }

  #openScan(): HeldPair {
    const range = this.#range();
    const revision = this.#revision();
    const isReverse = this.#random.chance(0.5);
    return {
      what: `scan(${JSON.stringify(range)}, ${revision}, ${isReverse})`,
      a: this.#a.engine.scan(range, revision, isReverse),
      b: this.#b.engine.scan(range, revision, isReverse),
    };
  }

  #openChanges(): HeldPair {
    const range = this.#range();
    const after = this.#revision();
    const upTo = Math.max(after, this.#revision());
    return {
      what: `changes(${JSON.stringify(range)}, ${after}, ${upTo})`,
      a: this.#a.engine.changes(range, after, upTo),
      b: this.#b.engine.changes(range, after, upTo),
    };
  }

  #hold(pair: HeldPair): number {
    this.#held.push(pair);
    const oldest = this.#held.length > HELD_MAX ? this.#held.shift() : undefined;
    if (oldest === undefined) return 0;
    const answers = this.#advance(oldest, this.#random.chance(0.5) ? Infinity : 3);
    oldest.a.return?.();
    oldest.b.return?.();
    return answers;
  }

  #advance({ what, a, b }: HeldPair, limit: number): number {
    for (let i = 0; i < limit; i++) {
      const x = a.next();
      const y = b.next();
      const [left, right] = [x, y].map((it) => (it.done === true ? 'the end' : shown(it.value)));
      if (left !== right) expect.fail(`${what} gives ${left}, expected ${right}`);
      if (x.done === true) return i + 1;
    }
    return limit;
  }

  #choice(): number {
    let left = this.#random.int(
      0,
      this.#weights.reduce((sum, weight) => sum + weight, 0),
    );
    for (const [i, weight] of this.#weights.entries()) {
      left -= weight;
      if (left < 0) return i;
    }
    return 0;
  }

  #key(): string {
    return pick(this.#random, this.#keys);
  }

  /** One that may be read. */
  #revision(): number {
    const now = this.#writer.revision;
    if (this.#random.chance(0.4)) return now;
    // Most revisions lie far behind the first story's beginning otherwise.
    return Math.max(this.#horizon, now - this.#random.int(0, 200));
  }

  #range(): KeyRange {
    if (this.#random.chance(0.3)) return EVERYTHING;
    const end = this.#random.chance(0.3) ? undefined : this.#key();
    return { start: this.#random.chance(0.3) ? '' : this.#key(), end };
  }
}

function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[random.int(0, items.length - 1)];
  return item ?? expect.fail('Nothing to pick from');
}
