/** The clients of a simulation against a store in memory that answers, refuses, forgets and lies as a test wants. */
import { describe, expect, test } from 'vitest';
import { assert, unreachable } from '../../src/lib/assert.ts';
import { latin1 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { Reply, Request, SessionTag } from '../../src/net/protocol.ts';
import { type Operation, stepsOf } from '../../src/sim/history.ts';
import { judgeHistory } from '../../src/sim/linearizability.ts';
import { Workload, type WorkloadOptions } from '../../src/sim/workload.ts';
import { expectViolation } from './story.ts';

type Write = Extract<Request, { readonly kind: 'set' | 'delete' | 'cas' }>;

interface Ask {
  readonly id: number;
  readonly request: Request;
  readonly forward: boolean;
  readonly node: number;
}

/** A store with sessions, on one thread: what a cluster should look like. */
class Store {
  readonly rows: Map<string, Uint8Array> = new Map();
  readonly #answers: Map<string, Reply> = new Map();
  index = 0;

  answer(request: Request): Reply {
    switch (request.kind) {
      case 'get':
        return { kind: 'value', value: this.rows.get(latin1(request.key)) };
      case 'scan': {
        const rows = [...this.rows].map(([key, value]) => ({ key: Buffer.from(key), value }));
        return { kind: 'rows', rows, more: false };
      }
      case 'openSession':
        this.index += 1;
        return { kind: 'session', id: this.index };
      case 'set':
      case 'delete':
      case 'cas':
        return this.#write(request);
      case 'status':
      case 'operation':
      case 'query':
      case 'compact':
      case 'changeMembers':
      case 'transferLeader':
        throw new Error(`No client asks ${request.kind}`);
      default:
        return unreachable(request);
    }
  }

  #write(request: Write): Reply {
    const { session } = request;
    const name = session === undefined ? undefined : `${session.id}/${session.seq}`;
    const known = name === undefined ? undefined : this.#answers.get(name);
    if (known !== undefined) return known;
    const answer = this.#apply(request);
    if (name !== undefined) this.#answers.set(name, answer);
    return answer;
  }

  #apply(request: Write): Reply {
    const key = latin1(request.key);
    const actual = this.rows.get(key);
    const index = (this.index += 1);
    if (request.kind === 'delete') return { kind: 'ok', index, existed: this.rows.delete(key) };
    if (request.kind === 'cas') {
      const { expected } = request;
      const isMatch =
        actual === undefined || expected === undefined
          ? actual === expected
          : latin1(actual) === latin1(expected);
      if (!isMatch) return { kind: 'mismatch', index, actual };
    }
    this.rows.set(key, request.value);
    return { kind: 'ok', index };
  }
}

/** Clients and a store, with a wire between them that a test holds in its hands. */
class Bench {
  readonly store: Store = new Store();
  readonly asks: Ask[] = [];
  readonly all: Ask[] = [];
  readonly workload: Workload;
  nowMs = 0;

  constructor(options: Partial<WorkloadOptions> = {}) {
    this.workload = new Workload({
      seed: 'bench',
      clients: 4,
      keys: 3,
      timeoutMs: 50,
      thinkMsMax: 10,
      scans: true,
      submit: (node, id, request, forward) => {
        this.asks.push({ node, id, request, forward });
        this.all.push({ node, id, request, forward });
      },
      ...options,
    });
  }

  act(mayBegin = true): void {
    this.workload.act(this.nowMs, [1, 2, 3], mayBegin);
  }

  /** Lets time pass, and gives every request to `answer`; undefined leaves it without one. */
  run(ms: number, answer: (ask: Ask) => Reply | 'lost' | undefined, mayBegin = true): void {
    for (let t = 0; t < ms; t += 5) {
      this.nowMs += 5;
      for (const ask of this.asks.splice(0)) {
        const reply = answer(ask);
        if (reply === 'lost') this.workload.lost(ask.id);
        else if (reply !== undefined) this.workload.replied(ask.id, reply, this.nowMs);
      }
      this.act(mayBegin);
    }
  }

  settle(): void {
    for (let i = 0; i < 10_000 && !this.workload.isIdle; i++)
      this.run(5, ({ request }) => this.store.answer(request), false);
    expect(this.workload.isIdle).toBe(true);
  }
}

function sessionOf(request: Request): SessionTag | undefined {
  return 'session' in request ? request.session : undefined;
}

function isWrite(request: Request): request is Write {
  return request.kind === 'set' || request.kind === 'cas' || request.kind === 'delete';
}

/** Answers, or does not, in every way that there is. */
function moody(store: Store, random: Random): (ask: Ask) => Reply | 'lost' | undefined {
  return ({ request }) => {
    const refusal = { kind: 'error', message: '' } as const;
    switch (random.int(0, 11)) {
      case 0:
        return 'lost';
      case 1:
        store.answer(request);
        return 'lost';
      case 2:
        return undefined;
      case 3:
        store.answer(request);
        return undefined;
      case 4:
        return { ...refusal, code: 'not_leader', leader: { id: 2, client: '' } };
      case 5:
        return { ...refusal, code: 'unavailable' };
      case 6:
        if (isWrite(request)) store.answer(request);
        return isWrite(request) ? { ...refusal, code: 'unknown' } : store.answer(request);
      case 7:
        return sessionOf(request) === undefined
          ? store.answer(request)
          : { ...refusal, code: 'session_expired' };
      default:
        return store.answer(request);
    }
  };
}

/** Runs a bench whose store goes wrong after a while. */
function broken(wrong: (bench: Bench, ask: Ask) => Reply): () => void {
  return () => {
    const bench = new Bench();
    bench.run(1000, ({ request }) => bench.store.answer(request));
    bench.run(5000, (ask) => wrong(bench, ask));
    bench.settle();
    bench.workload.finalReads();
    bench.act(false);
    bench.settle();
    bench.workload.checkDurability();
  };
}

describe('Workload', () => {
  test('works one operation a client, over all keys, in every kind', () => {
    const bench = new Bench();
    let waiting = 0;
    bench.run(5000, (ask) => {
      waiting = Math.max(waiting, bench.asks.length + 1);
      return bench.store.answer(ask.request);
    });
    expect(waiting).toBeLessThanOrEqual(4);
    const kinds = new Set(bench.all.map(({ request }) => request.kind));
    expect([...kinds].toSorted()).toEqual(['cas', 'delete', 'get', 'openSession', 'scan', 'set']);
    const { ok, failed, unknown } = bench.workload.counts;
    expect(ok).toBe(bench.workload.history.length);
    expect(ok).toBeGreaterThan(500);
    expect([failed, unknown]).toEqual([0, 0]);
    const keys = new Set(bench.workload.history.flatMap(({ action }) => stepsOf(action).map((s) => s.key)));
    expect([...keys].toSorted()).toEqual(['k0', 'k1', 'k2']);
    expect(judgeHistory(bench.workload.history).kind).toBe('linearizable');
  });

  test('is the same for the same seed', () => {
    const texts = ['x', 'x', 'y'].map((seed) => {
      const bench = new Bench({ seed });
      bench.run(500, ({ request }) => bench.store.answer(request));
      return JSON.stringify(bench.all);
    });
    expect(texts[0]).toBe(texts[1]);
    expect(texts[0]).not.toBe(texts[2]);
  });

  test.each(Array.from({ length: 20 }, (_, i) => i))(
    'a store in every mood leaves a history that can be ordered, and its keys as they may be (seed %i)',
    (seed) => {
      const bench = new Bench({ seed: `${seed}`, scans: seed % 2 === 0 });
      bench.run(1500, moody(bench.store, new Random(`mood ${seed}`)));
      bench.settle();
      bench.workload.finalReads();
      bench.act(false);
      bench.settle();
      bench.workload.checkDurability();
      expect(judgeHistory(bench.workload.history, { stepsMax: 200_000 }).kind).toBe('linearizable');
      const { ok, failed, unknown } = bench.workload.counts;
      expect(Math.min(ok, failed, unknown)).toBeGreaterThan(0);
      expect(bench.workload.history.length).toBeLessThanOrEqual(ok + failed + unknown);
    },
  );

  test('repeats a write in a session with the same tag, and any other only when it certainly failed', () => {
    const bench = new Bench();
    bench.run(5000, moody(bench.store, new Random('mood')));
    const attempts = new Map<string, Ask[]>();
    for (const ask of bench.all) {
      if (ask.request.kind !== 'set') continue;
      const value = latin1(ask.request.value);
      attempts.set(value, [...(attempts.get(value) ?? []), ask]);
    }
    const repeated = [...attempts.values()].filter((asks) => asks.length > 1);
    expect(repeated.length).toBeGreaterThan(20);
    for (const asks of repeated) {
      const tags = new Set(asks.map(({ request }) => JSON.stringify(sessionOf(request))));
      expect(tags.size).toBe(1);
    }
    const ids = new Set(bench.all.map(({ id }) => id));
    expect(ids.size).toBe(bench.all.length);
  });

  test('never repeats a write without a session that may have happened', () => {
    const bench = new Bench();
    bench.run(2000, ({ request }) => (isWrite(request) ? 'lost' : bench.store.answer(request)));
    const loose = bench.all.filter(({ request }) => isWrite(request) && sessionOf(request) === undefined);
    const values = loose.map(({ request }) => (request.kind === 'set' ? latin1(request.value) : undefined));
    const sets = values.filter((value) => value !== undefined);
    expect(sets.length).toBeGreaterThan(10);
    expect(new Set(sets).size).toBe(sets.length);
  });

  test('follows the hint of a node that does not lead', () => {
    const bench = new Bench({ clients: 1 });
    let refused = 0;
    bench.run(1000, ({ node, request }) => {
      if (node === 3) return bench.store.answer(request);
      refused += 1;
      expect(bench.all.length).toBeGreaterThan(0);
      return { kind: 'error', code: 'not_leader', message: '', leader: { id: 3, client: '' } };
    });
    const first = bench.all.findIndex(({ node }) => node !== 3);
    expect(refused).toBeGreaterThan(5);
    expect(bench.all[first + 1]?.node).toBe(3);
  });

  test('a client of which an operation is unknown goes on as another process', () => {
    const bench = new Bench({ clients: 1 });
    bench.run(20_000, moody(bench.store, new Random('mood')));
    const open = new Set<number>();
    for (const { process, outcome } of bench.workload.history) {
      expect(open.has(process)).toBe(false);
      if (outcome === 'unknown') open.add(process);
    }
    expect(open.size).toBeGreaterThan(3);
  });

  test('gives up waiting, ignores what comes late, and does not begin when it may not', () => {
    const bench = new Bench({ clients: 1, timeoutMs: 100 });
    bench.run(100, () => undefined);
    const [first] = bench.all;
    assert(first !== undefined, 'a first request');
    bench.run(2000, () => undefined);
    expect(bench.all.length).toBeGreaterThan(2);
    bench.workload.replied(first.id, bench.store.answer(first.request), bench.nowMs);
    bench.workload.lost(first.id);
    bench.settle();
    const count = bench.all.length;
    bench.run(500, ({ request }) => bench.store.answer(request), false);
    expect(bench.all.length).toBe(count);
  });

  test('waits while no node is there to be asked', () => {
    const bench = new Bench();
    bench.workload.act(1, [], true);
    expect(bench.all).toEqual([]);
    expect(bench.workload.deadlineMs).toBeGreaterThan(1);
    bench.nowMs = 500;
    bench.act();
    expect(bench.all.length).toBe(4);
  });

  test('says when it next has something to do', () => {
    const bench = new Bench({ clients: 1 });
    bench.act();
    expect(bench.workload.deadlineMs).toBe(50);
    expect(bench.workload.isIdle).toBe(false);
  });
});

describe('a store that breaks its word', () => {
  test('by losing an acknowledged write', () => {
    expectViolation(
      'I19 durability',
      broken((bench, { request }) => {
        if (request.kind !== 'set') return { kind: 'error', code: 'unavailable', message: '' };
        bench.store.index += 1;
        return { kind: 'ok', index: bench.store.index };
      }),
    );
  });

  test('by reading what is over', () => {
    const old = new Map<string, Uint8Array>();
    expectViolation(
      'I25 fresh reads',
      broken((bench, { request }) => {
        if (old.size === 0) for (const [key, value] of bench.store.rows) old.set(key, value);
        if (request.kind !== 'get') return bench.store.answer(request);
        return { kind: 'value', value: old.get(latin1(request.key)) };
      }),
    );
  });

  test('by doing what it refuses', () => {
    expectViolation(
      'I19 durability',
      broken((bench, { request }) => {
        const answer = bench.store.answer(request);
        return request.kind === 'set' ? { kind: 'error', code: 'unavailable', message: '' } : answer;
      }),
    );
  });

  test('by refusing a compare-and-set for what it expected', () => {
    expectViolation(
      'I7 state machine safety',
      broken((bench, { request }) => {
        if (request.kind !== 'cas') return bench.store.answer(request);
        bench.store.index += 1;
        return { kind: 'mismatch', index: bench.store.index, actual: request.expected };
      }),
    );
  });
});

describe('histories', () => {
  test('hold a write of unknown outcome without an end, and a scan as reads of all keys', () => {
    const bench = new Bench();
    bench.run(5000, moody(bench.store, new Random('mood')));
    const { history } = bench.workload;
    const unknown = history.filter(({ outcome }) => outcome === 'unknown');
    expect(unknown.length).toBeGreaterThan(5);
    expect(unknown.every(({ end, action }) => end === undefined && action.kind !== 'get')).toBe(true);
    const scans = history.filter(({ action }) => action.kind === 'txn');
    expect(scans.length).toBeGreaterThan(5);
    for (const { action } of scans)
      expect(stepsOf(action).map((step) => step.key)).toEqual(['k0', 'k1', 'k2']);
    const times = history.flatMap(({ start, end }: Operation) =>
      end === undefined ? [start] : [start, end],
    );
    expect(new Set(times).size).toBe(times.length);
  });
});
