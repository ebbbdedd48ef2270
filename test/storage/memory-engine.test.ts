import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';
import type { Version } from '../../src/storage/version-engine.ts';
import { sameAnswers } from '../conformance/same-answers.ts';
import { versionEngineConformance } from '../conformance/version-engine.ts';
import {
  EVERYTHING,
  type EngineSubject,
  ModelEngine,
  NOW,
  VersionWriter,
  answersOf,
  shown,
  workOut,
} from '../support/version-model.ts';

function newEngine(): EngineSubject {
  const engine = new MemoryEngine();
  return { engine, disturb: () => {}, close: () => engine.clear() };
}

/** Replaces its whole content by itself, from time to time, and forgets no answer by it. */
function reloading(random: Random): EngineSubject {
  const engine = new MemoryEngine();
  let horizon = 0;
  let openCount = 0;
  const opened = (iterator: IterableIterator<Version>): IterableIterator<Version> => {
    openCount += 1;
    return iterator;
  };
  return {
    engine: {
      pressurePercent: 0,
      get: (key, revision) => engine.get(key, revision),
      put: (version) => engine.put(version),
      scan: (...args) => opened(engine.scan(...args)),
      changes: (...args) => opened(engine.changes(...args)),
      compact: (revision) => {
        horizon = Math.max(horizon, revision);
        engine.compact(revision);
      },
      work: () => engine.work(),
      get stats() {
        return engine.stats;
      },
    },
    disturb: () => {
      if (openCount > 0 || random.chance(0.5)) return;
      const all = [...engine.frozen()].filter((version) => version !== undefined);
      engine.replace(all);
      engine.compact(horizon);
    },
    close: () => engine.clear(),
  };
}

versionEngineConformance('MemoryEngine', newEngine, { stories: 60, steps: 400 });
sameAnswers('MemoryEngine and one that is reloaded', { a: newEngine, b: reloading });

/** A written engine, and all that was written. */
function written(seed: string, count: number): { engine: MemoryEngine; model: ModelEngine } {
  const engine = new MemoryEngine();
  const model = new ModelEngine();
  const writer = new VersionWriter([engine, model]);
  const random = new Random(seed);
  for (let i = 0; i < count; i++) {
    writer.next();
    const key = String(random.int(0, 99));
    if (random.chance(0.3)) writer.delete(key);
    else writer.put(key, utf8(String(i)));
  }
  return { engine, model };
}

/** What compaction to `horizon` must leave of all versions, in the order of a run. */
function retained(model: ModelEngine, horizon: number): readonly string[] {
  const kept: string[] = [];
  let isCovered = '';
  for (const version of model.changes(EVERYTHING, 0, NOW)) {
    if (isCovered === version.key) continue;
    if (version.revision <= horizon) isCovered = version.key;
    if (version.revision > horizon || version.version > 0) kept.push(shown(version));
  }
  return kept;
}

describe('MemoryEngine', () => {
  test('put() refuses what is not above all before', () => {
    const { engine } = written('order', 10);
    const version = { key: 'x', revision: 20, sub: 3, created: 20, version: 1, lease: 0n, value: utf8('') };
    engine.put(version);
    for (const wrong of [
      { key: 'y' },
      { key: 'y', sub: 2 },
      { key: 'y', revision: 19, sub: 9 },
      { key: 'y', revision: 2 ** 53 },
    ])
      expect(() => engine.put({ ...version, ...wrong })).toThrow(/Revision|revisions/);
    expect(() => engine.put({ ...version, sub: 4 })).toThrow('changes a key at most once');
    expect(engine.get('y', NOW)).toBeUndefined();
  });

  test('work() lets go exactly what compact() allows, and counts what is left', () => {
    for (const horizon of [0, 1, 100, 777, 2000]) {
      const { engine, model } = written('drop', 2000);
      engine.compact(horizon);
      engine.compact(0);
      workOut(engine);
      const kept = retained(model, horizon);
      expect(Array.from(engine.forward(), shown)).toEqual(kept);
      const bytes = [...engine.forward()].reduce((sum, { key, value }) => sum + key.length + value.length, 0);
      expect(engine.stats).toEqual({ kind: 'memory', versions: kept.length, bytes });
    }
  });

  test('work() is done in bounded slices', () => {
    const engine = new MemoryEngine();
    const writer = new VersionWriter([engine]);
    for (let i = 0; i < 20_000; i++) {
      writer.next();
      writer.put(i % 3 === 0 ? 'hot' : String(i % 1000), utf8('x'));
    }
    engine.compact(NOW);
    expect(engine.stats).toMatchObject({ versions: 20_000 });
    const before = engine.versions;
    expect(engine.work()).toBe(true);
    expect(before - engine.versions).toBeLessThan(2000);
    expect(workOut(engine)).toBeGreaterThan(15);
    expect(engine.versions).toBeLessThan(1100);
    expect(engine.work()).toBe(false);
  });

  test('an open iterator holds work() up no longer than it is open', () => {
    const { engine, model } = written('held', 1000);
    const scan = engine.scan(EVERYTHING, 400);
    scan.next();
    engine.compact(900);
    workOut(engine);
    expect(engine.versions).toBe(retained(model, 400).length);
    scan.return?.();
    expect(engine.work()).toBe(false);
    expect(engine.versions).toBe(retained(model, 900).length);
  });

  test('a key whose last version went is not listed any more', () => {
    const { engine, model } = written('gone', 500);
    const writer = new VersionWriter([engine, model], 500);
    for (let key = 0; key < 100; key++) {
      writer.next();
      writer.delete(String(key));
    }
    engine.compact(NOW);
    workOut(engine);
    expect(engine.stats).toEqual({ kind: 'memory', versions: 0, bytes: 0 });
    expect([...engine.forward()]).toEqual([]);
    writer.next();
    writer.put('5', utf8('new'));
    expect([...engine.scan(EVERYTHING, NOW)].map(shown)).toEqual([shown(model.get('5', NOW))]);
  });

  test('forward() and backward() give all versions from a key on, each the other reversed', () => {
    const { engine, model } = written('runs', 1000);
    const all = [...model.changes(EVERYTHING, 0, NOW)];
    expect(Array.from(engine.forward(), shown)).toEqual(all.map(shown));
    expect(Array.from(engine.backward(), shown)).toEqual(all.map(shown).toReversed());
    for (const key of ['', '5', '50', '500', '~']) {
      const above = all.filter((version) => version.key >= key).map(shown);
      const below = all.filter((version) => version.key < key).map(shown);
      expect(Array.from(engine.forward(key), shown)).toEqual(above);
      expect(Array.from(engine.backward(key), shown)).toEqual(below.toReversed());
    }
  });

  test('frozen() is what compaction would leave, whatever is put and dropped while it is read', () => {
    for (const horizon of [0, 300, 1000]) {
      const { engine, model } = written('frozen', 1000);
      const expected = retained(model, horizon);
      engine.compact(horizon);
      const writer = new VersionWriter([engine], 1000);
      const found: string[] = [];
      for (const version of engine.frozen()) {
        if (version !== undefined) found.push(shown(version));
        writer.next();
        writer.put(String(writer.revision % 150), utf8('later'));
        engine.compact(writer.revision);
        engine.work();
      }
      expect(found).toEqual(expected);
    }
  });

  test('frozen() takes nothing of a revision that goes on', () => {
    const engine = new MemoryEngine();
    const writer = new VersionWriter([engine]);
    writer.next();
    writer.put('b', utf8('1'));
    const frozen = engine.frozen();
    writer.put('a', utf8('2'));
    writer.put('c', utf8('3'));
    expect(Array.from(frozen, shown)).toEqual([shown(engine.get('b', 1))]);
  });

  test('frozen() pauses where it finds nothing for long', () => {
    const engine = new MemoryEngine();
    const writer = new VersionWriter([engine]);
    const frozen = engine.frozen();
    for (let i = 0; i < 5000; i++) {
      writer.next();
      writer.put(String(i), utf8(''));
    }
    expect([...frozen]).toEqual([undefined, undefined, undefined, undefined]);
  });

  test('replace() goes on where the other engine was', () => {
    const { engine, model } = written('replace', 1000);
    const copy = new MemoryEngine();
    copy.put({ key: 'old', revision: 5000, sub: 0, created: 5000, version: 1, lease: 0n, value: utf8('') });
    const open = copy.scan(EVERYTHING, NOW);
    copy.replace(engine.forward());
    expect(open.next().done).toBe(true);
    expect(answersOf(copy)).toEqual(answersOf(model));
    expect(copy.stats).toEqual(engine.stats);
    expect(() => copy.put(model.all.at(-1) ?? expect.fail())).toThrow('order of their revisions');
    copy.compact(600);
    workOut(copy);
    expect(Array.from(copy.forward(), shown)).toEqual(retained(model, 600));
    expect(() => copy.replace([...engine.forward()].toReversed())).toThrow('newest comes first');
  });
});
