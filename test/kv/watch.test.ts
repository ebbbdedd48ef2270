import { describe, expect, it } from 'vitest';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Operation } from '../../src/kv/operation.ts';
import { contains } from '../../src/kv/operation.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import { WATCHERS_MAX, type WatchEvent, type WatchOptions, type Watcher } from '../../src/kv/watch.ts';
import { at, defined } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';
import type { VersionEngine } from '../../src/storage/version-engine.ts';
import { drawOperation, drawRange } from '../support/kv-draw.ts';
import { KvModel, type LedgerEvent } from '../support/kv-model.ts';
import { ModelEngine } from '../support/model-engine.ts';

const EVERYTHING: WatchOptions = {
  range: { start: '', end: undefined },
  startRevision: 0,
  noPut: false,
  noDelete: false,
  prevKv: true,
};

function apply(machine: StateMachine, operation: Operation): void {
  machine.apply(machine.applied + 1, encodeCommand({ kind: 'operation', operation }));
}

function put(key: string, value: string | Uint8Array): Operation {
  const bytes = typeof value === 'string' ? utf8(value) : value;
  const flags = { prevKv: false, ignoreValue: false, ignoreLease: false };
  return { kind: 'put', key, value: bytes, lease: 0n, ...flags };
}

function revisionOf(event: WatchEvent): number {
  return event.kind === 'put' ? event.row.modRevision : event.revision;
}

/** A consumer that keeps what it was given. */
class Consumer {
  readonly options: WatchOptions;
  readonly from: number;
  readonly events: WatchEvent[] = [];
  endedAt: number | undefined;
  wakes = 0;
  /** Whether there may be something: at the beginning, after a wake, and after a take that gave something. */
  isAwake = true;
  #isWoken = false;
  readonly #watcher: Watcher;

  constructor(machine: StateMachine, options: WatchOptions) {
    this.options = options;
    this.from = options.startRevision === 0 ? machine.revision + 1 : options.startRevision;
    const watcher = machine.watches.watch(options, () => {
      if (this.#isWoken) throw new Error('woken twice without a take between');
      this.#isWoken = true;
      this.isAwake = true;
      this.wakes += 1;
    });
    this.#watcher = defined(watcher, 'room for a watcher');
  }

  /** Takes once. @returns whether anything came */
  take(limitBytes: number, revision: number): boolean {
    const taken = this.#watcher.take(limitBytes);
    this.#isWoken = false;
    this.isAwake = taken !== undefined;
    if (taken === undefined) return false;
    if (taken.kind === 'compacted') {
      this.endedAt = taken.compactedRevision;
      return true;
    }
    expect(taken.events.length).toBeGreaterThan(0);
    const first = revisionOf(at(taken.events, 0));
    const before = this.events.at(-1);
    if (before !== undefined) expect(first, 'a revision is not split').toBeGreaterThan(revisionOf(before));
    expect(taken.revision).toBe(revision);
    expect(this.#watcher.progress).toBeGreaterThanOrEqual(
      revisionOf(at(taken.events, taken.events.length - 1)),
    );
    this.events.push(...taken.events);
    return true;
  }

  /** What the ledger says it should have been given, up to `upTo`. */
  wanted(ledger: readonly LedgerEvent[], upTo: number): readonly WatchEvent[] {
    const { range, noPut, noDelete, prevKv } = this.options;
    return ledger
      .filter(({ revision, key }) => revision >= this.from && revision <= upTo && contains(range, key))
      .filter(({ row }) => (row === undefined ? !noDelete : !noPut))
      .map(({ revision, key, row, previous }): WatchEvent => {
        const was = prevKv ? previous : undefined;
        return row === undefined
          ? { kind: 'delete', key, revision, previous: was }
          : { kind: 'put', row, previous: was };
      });
  }
}

function drawOptions(random: Random, revision: number): WatchOptions {
  return {
    range: drawRange(random),
    startRevision: random.chance(0.4) ? 0 : random.int(1, revision + 10),
    noPut: random.chance(0.15),
    noDelete: random.chance(0.15),
    prevKv: random.chance(0.5),
  };
}

describe('WatchHub', () => {
  it.each(['model', 'memory'])(
    'gives every watcher exactly the ledger, however it takes and whatever is compacted, on the %s engine',
    (name) => {
      let ended = 0;
      let given = 0;
      for (let seed = 1; seed <= 8; seed++) {
        const random = new Random(`watch ${seed}`);
        const engine: VersionEngine = name === 'model' ? new ModelEngine() : new MemoryEngine();
        const machine = new StateMachine(engine);
        const model = new KvModel();
        const consumers: Consumer[] = [];
        const limit = (): number => (random.chance(0.5) ? random.int(1, 100) : 1_000);
        for (let i = 0; i < 400; i++) {
          const operation = drawOperation(random, model.revision);
          apply(machine, operation);
          model.apply(operation);
          if (random.chance(0.3)) engine.work();
          if (random.chance(0.05)) consumers.push(new Consumer(machine, drawOptions(random, model.revision)));
          // An installed state: the same versions, and a machine that has forgotten what came lately.
          if (random.chance(0.02)) machine.restore(machine.applied, machine.stateLines());
          for (const consumer of consumers)
            if (consumer.isAwake && random.chance(0.2)) consumer.take(limit(), model.revision);
        }
        for (const consumer of consumers) {
          for (let i = 0; i < 10_000 && consumer.isAwake; i++) consumer.take(limit(), model.revision);
          const last = consumer.events.at(-1);
          const upTo =
            consumer.endedAt === undefined ? model.revision : last === undefined ? 0 : revisionOf(last);
          expect(consumer.events, `seed ${seed}`).toEqual(consumer.wanted(model.ledger, upTo));
          if (consumer.endedAt !== undefined) {
            ended += 1;
            const isOvertaken =
              consumer.wanted(model.ledger, consumer.endedAt - 1).length > consumer.events.length;
            expect(isOvertaken || consumer.from < consumer.endedAt, `seed ${seed}`).toBe(true);
          }
          given += consumer.events.length;
        }
      }
      expect(ended).toBeGreaterThan(5);
      expect(given).toBeGreaterThan(2_000);
    },
  );

  it('goes on over a state of another replica that has got further, or ends where that is compacted', () => {
    const engine = new ModelEngine();
    const machine = new StateMachine(engine);
    apply(machine, put('a', '1'));
    const sleeper = new Consumer(machine, EVERYTHING);
    expect(sleeper.take(1e9, 2)).toBe(false);
    const past = new Consumer(machine, { ...EVERYTHING, startRevision: 2 });
    const future = new Consumer(machine, { ...EVERYTHING, startRevision: 6 });
    expect(future.take(1e9, 2)).toBe(false);
    const other = new Consumer(machine, { ...EVERYTHING, range: { start: 'z', end: undefined } });
    expect(other.take(1e9, 2)).toBe(false);

    const source = new ModelEngine();
    const leader = new StateMachine(source);
    for (const value of ['1', '2', '3', '4', '5']) apply(leader, put('a', value));
    apply(leader, { kind: 'compact', revision: 3 });
    for (const version of source.versions) if (version.revision > 2) engine.put(version);
    machine.restore(leader.applied, leader.stateLines());
    expect([sleeper.wakes, future.wakes, other.wakes]).toEqual([1, 1, 1]);
    sleeper.take(1e9, 6);
    expect(sleeper.events.map(revisionOf)).toEqual([3, 4, 5, 6]);
    past.take(1e9, 6);
    expect(past.endedAt).toBe(3);
    future.take(1e9, 6);
    expect(future.events.map(revisionOf)).toEqual([6]);
    expect(other.take(1e9, 6)).toBe(false);
    apply(machine, put('z', '1'));
    expect([sleeper.wakes, other.wakes]).toEqual([2, 2]);
  });

  it('does not end a watcher over a compaction of what was none of its own', () => {
    const machine = new StateMachine(new ModelEngine());
    const idle = new Consumer(machine, { ...EVERYTHING, range: { start: 'z', end: undefined } });
    for (const value of ['1', '2', '3', '4']) apply(machine, put('a', value));
    apply(machine, { kind: 'compact', revision: 4 });
    // The state of a replica that is one revision ahead.
    const lines = machine.stateLines().map((line) => line.replace('"revision":5', '"revision":6'));
    machine.restore(machine.applied, lines);
    expect(idle.take(1e9, 6)).toBe(false);
    expect(idle.endedAt).toBeUndefined();
  });

  it('lets a watcher that nobody takes from fall behind, and gives it all the same everything', () => {
    const machine = new StateMachine(new MemoryEngine());
    const slow = new Consumer(machine, { ...EVERYTHING, prevKv: false });
    expect(slow.take(1, 1)).toBe(false);
    const value = new Uint8Array(100_000);
    for (let i = 0; i < 300; i++) apply(machine, put(`k${i % 7}`, value));
    expect(slow.wakes).toBe(1);
    for (let i = 0; i < 1_000 && slow.take(250_000, machine.revision); i++);
    expect(slow.events.map(revisionOf)).toEqual(Array.from({ length: 300 }, (_, i) => i + 2));
  });

  it('refuses beyond WATCHERS_MAX, and takes another once one is closed', () => {
    const machine = new StateMachine(new ModelEngine());
    const watchers = Array.from({ length: WATCHERS_MAX }, () =>
      machine.watches.watch(EVERYTHING, () => undefined),
    );
    expect(watchers.every((watcher) => watcher !== undefined)).toBe(true);
    expect(machine.watches.watch(EVERYTHING, () => undefined)).toBeUndefined();
    watchers.at(-1)?.close();
    watchers.at(-1)?.close();
    expect(machine.watches.count).toBe(WATCHERS_MAX - 1);
    expect(machine.watches.watch(EVERYTHING, () => undefined)).toBeDefined();
  });

  it('may be taken from within a wake', () => {
    const machine = new StateMachine(new ModelEngine());
    const seen: number[] = [];
    const watcher: Watcher | undefined = machine.watches.watch(EVERYTHING, () => {
      const taken = watcher?.take(1);
      if (taken?.kind === 'events') seen.push(...taken.events.map(revisionOf));
      expect(watcher?.take(1)).toBeUndefined();
    });
    for (const value of ['1', '2', '3']) apply(machine, put('a', value));
    expect(seen).toEqual([2, 3, 4]);
  });
});
