/** Merging, visibility and what a compaction keeps, against naive answers over all versions at once. */
import { describe, expect, test } from 'vitest';
import { at } from '../../../src/lib/assert.ts';
import { Random } from '../../../src/lib/random.ts';
import { mergeRuns, visibleAt, withinHorizon } from '../../../src/storage/lsm/merge.ts';
import type { Run } from '../../../src/storage/lsm/table-format.ts';
import { type Version, isTombstone } from '../../../src/storage/version-engine.ts';
import { below, byOrder, put, tombstone } from './table-support.ts';

/** A run that remembers how far it was read and whether it was ended. */
class Watched implements Run {
  readonly #versions: Iterator<Version>;
  reads = 0;
  isEnded = false;

  constructor(versions: readonly Version[]) {
    this.#versions = versions.values();
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    this.reads++;
    return this.#versions.next();
  }

  return(): IteratorResult<Version> {
    this.isEnded = true;
    return { done: true, value: undefined };
  }
}

/** Many versions of few keys, dealt out to a few runs, some into two of them. */
function deal(random: Random): {
  readonly all: readonly Version[];
  readonly hands: readonly (readonly Version[])[];
} {
  const all: Version[] = [];
  const hands: Version[][] = Array.from({ length: below(random, 7) }, () => []);
  const count = hands.length === 0 ? 0 : below(random, 60);
  for (let revision = 1; revision <= count; revision++) {
    const key = `k${below(random, 12)}`;
    const version = random.chance(0.3) ? tombstone(key, revision) : put(key, revision);
    all.push(version);
    at(hands, below(random, hands.length)).push(version);
    if (random.chance(0.1)) {
      const other = at(hands, below(random, hands.length));
      if (!other.includes(version)) other.push(version);
    }
  }
  return { all: all.toSorted(byOrder), hands: hands.map((hand) => hand.toSorted(byOrder)) };
}

/** A run over one hand, in either direction. */
function run(hand: readonly Version[], isReverse: boolean): Run {
  return (isReverse ? hand.toReversed() : hand).values();
}

function naiveVisible(all: readonly Version[], revision: number): readonly Version[] {
  return all.filter(
    (one) =>
      !isTombstone(one) &&
      one.revision <= revision &&
      !all.some(
        (other) => other.key === one.key && other.revision <= revision && other.revision > one.revision,
      ),
  );
}

function naiveKept(all: readonly Version[], horizon: number, isDeepest: boolean): readonly Version[] {
  return all.filter((one) => {
    if (one.revision > horizon) return true;
    const isShadowed = all.some(
      (other) => other.key === one.key && other.revision <= horizon && other.revision > one.revision,
    );
    return !isShadowed && !(isDeepest && isTombstone(one));
  });
}

describe('mergeRuns()', () => {
  test('gives the versions of all runs in order, each once, in both directions', () => {
    for (let seed = 1; seed <= 600; seed++) {
      const { all, hands } = deal(new Random(seed));
      for (const isReverse of [false, true]) {
        const merged = mergeRuns(
          hands.map((hand) => run(hand, isReverse)),
          isReverse,
        );
        expect([...merged], `seed ${seed}`).toEqual(isReverse ? all.toReversed() : all);
      }
    }
  });

  test('takes a version that several runs have from the first of them', () => {
    const [newer, older] = [put('a', 1, 'newer'), put('a', 1, 'older')];
    for (const isReverse of [false, true]) {
      expect([...mergeRuns([[newer].values(), [older].values()], isReverse)]).toEqual([newer]);
      expect([...mergeRuns([[older].values(), [newer].values()], isReverse)]).toEqual([older]);
    }
  });

  test('reads no further than it must', () => {
    const runs = [new Watched([put('a', 1), put('c', 3)]), new Watched([put('b', 2), put('d', 4)])];
    const merged = mergeRuns(runs);
    merged.next();
    expect(runs.map(({ reads }) => reads)).toEqual([1, 1]);
    merged.next();
    expect(runs.map(({ reads }) => reads)).toEqual([2, 1]);
  });

  test('ends all runs when it is ended, and stays ended', () => {
    const runs = [new Watched([put('a', 1), put('c', 3)]), new Watched([put('b', 2)]), new Watched([])];
    const merged = mergeRuns(runs);
    merged.next();
    merged.return?.();
    expect(runs.map(({ isEnded }) => isEnded)).toEqual([true, true, true]);
    expect(merged.next().done).toBe(true);
  });

  test('ends all runs when one of them throws', () => {
    const good = new Watched([put('b', 2)]);
    const bad: Run = {
      next: () => {
        throw new Error('the disk is gone');
      },
      [Symbol.iterator]: () => bad,
    };
    expect(() => mergeRuns([good, bad]).next()).toThrow('the disk is gone');
    expect(good.isEnded).toBe(true);
  });
});

describe('visibleAt()', () => {
  test('gives of each key the newest version that is not too new and no tombstone, in both directions', () => {
    for (let seed = 1; seed <= 600; seed++) {
      const random = new Random(seed);
      const { all } = deal(random);
      const revision = below(random, 64);
      const expected = naiveVisible(all, revision);
      expect([...visibleAt(run(all, false), revision)], `seed ${seed}`).toEqual(expected);
      expect([...visibleAt(run(all, true), revision, true)], `seed ${seed}`).toEqual(expected.toReversed());
    }
  });

  test('ends its run when it is ended', () => {
    for (const isReverse of [false, true]) {
      const inner = new Watched([put('a', 2), put('b', 1)]);
      const visible = visibleAt(inner, 9, isReverse);
      visible.next();
      visible.return?.();
      expect(inner.isEnded).toBe(true);
    }
  });
});

describe('withinHorizon()', () => {
  test('keeps what is above the horizon and the newest at or below it, and tombstones only while they hide something', () => {
    for (let seed = 1; seed <= 600; seed++) {
      const random = new Random(seed);
      const { all } = deal(random);
      const horizon = below(random, 64);
      for (const isDeepest of [false, true]) {
        const kept = [...withinHorizon(run(all, false), horizon, isDeepest)];
        expect(kept, `seed ${seed}`).toEqual(naiveKept(all, horizon, isDeepest));
      }
    }
  });

  test('changes no read at or above the horizon', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const { all } = deal(random);
      const horizon = below(random, 64);
      const kept = [...withinHorizon(run(all, false), horizon, random.chance(0.5))];
      for (let revision = horizon; revision < 64; revision += 7) {
        expect(naiveVisible(kept, revision), `seed ${seed}`).toEqual(naiveVisible(all, revision));
      }
    }
  });

  test('ends its run when it is ended', () => {
    const inner = new Watched([put('a', 2), put('b', 1)]);
    const kept = withinHorizon(inner, 1, true);
    kept.next();
    kept.return?.();
    expect(inner.isEnded).toBe(true);
  });
});
