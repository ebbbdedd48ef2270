/** One simulated node by itself: what a call to it says, and what its disk does to it. */
import { describe, expect, test } from 'vitest';
import { at } from '../../src/lib/assert.ts';
import { textOf, utf8 } from '../../src/lib/bytes.ts';
import { breaker } from '../../src/lessons/breaker.ts';
import { encodeFrame } from '../../src/net/codec.ts';
import type { Envelope, Request } from '../../src/net/protocol.ts';
import {
  type DiskState,
  HEALTHY_DISK,
  type HostCall,
  type HostResult,
  type NodePlan,
} from '../../src/sim/host.ts';
import { SimNode } from '../../src/sim/sim-node.ts';

const PLAN: NodePlan = {
  id: 1,
  voters: [1],
  seed: 'test',
  raft: { electionMs: 100, heartbeatMs: 20 },
  requestTimeoutMs: 1000,
  snapshotEntries: 1_000_000,
  trailingEntries: 10,
  segmentBytesMax: 512,
  historyRevisions: 100_000,
  storage: { kind: 'memory' },
  broken: undefined,
};

type Up = Extract<HostResult, { readonly kind: 'up' }>;

/** A node with its time. */
class Rig {
  readonly #node = new SimNode(1, 'test', breaker);
  readonly #plan: NodePlan;
  #nowMs = 0;
  #life = 0;
  #nextId = 1;

  constructor(plan: Partial<NodePlan> = {}) {
    this.#plan = { ...PLAN, ...plan };
  }

  start(): HostResult {
    this.#life += 1;
    return this.#node.call({ kind: 'start', plan: this.#plan, life: this.#life, nowMs: this.#nowMs });
  }

  turn(requests: readonly Request[] = [], afterMs = 1): HostResult {
    this.#nowMs += afterMs;
    return this.#node.call({
      kind: 'turn',
      nowMs: this.#nowMs,
      heardEverything: true,
      connected: [],
      frames: [],
      requests: requests.map((request) => ({ id: this.#nextId++, request, forward: true })),
    });
  }

  /** Starts it, which must succeed, and lets it win the election that nobody else is in. */
  lead(): void {
    up(this.start());
    up(this.turn());
    up(this.turn([], 1000));
    expect(up(this.turn()).seen.raft.role).toBe('leader');
  }

  disk(state: Partial<DiskState>): void {
    this.#node.call({ kind: 'disk', state: { ...HEALTHY_DISK, ...state } });
  }

  call(call: HostCall): HostResult {
    return this.#node.call(call);
  }
}

function up(result: HostResult): Up {
  if (result.kind !== 'up') throw new Error(`The node is ${JSON.stringify(result)}`);
  return result;
}

function set(key: string, value: string): Request {
  return { kind: 'set', key: utf8(key), value: utf8(value) };
}

function valueIn({ replies }: Up): string | undefined {
  const { reply } = at(replies, 0);
  return reply.kind === 'value' && reply.value !== undefined ? textOf(reply.value) : undefined;
}

describe('SimNode', () => {
  test('answers requests in its turns and shows what came to its log', () => {
    const rig = new Rig();
    rig.lead();
    const wrote = up(rig.turn([set('a', '1')]));
    expect(wrote.replies).toMatchObject([{ id: 1, reply: { kind: 'ok' } }]);
    const { appended, raft, stateHash } = wrote.seen;
    expect(appended).toMatchObject([{ index: raft.last.index, term: raft.term }]);
    const idle = up(rig.turn());
    expect(idle.seen).toMatchObject({ appended: [], cutAfter: undefined, stateHash });
    expect(valueIn(up(rig.turn([{ kind: 'get', key: utf8('a') }])))).toBe('1');
  });

  test('keeps what it has acknowledged through the worst of power cuts', () => {
    const rig = new Rig();
    rig.lead();
    up(rig.turn([set('a', '1')]));
    expect(rig.call({ kind: 'cutPower', mode: 'worst' })).toMatchObject({ kind: 'down', cause: 'told' });
    rig.lead();
    expect(valueIn(up(rig.turn([{ kind: 'get', key: utf8('a') }])))).toBe('1');
  });

  test('shows its whole log at the first sight of a life', () => {
    const rig = new Rig();
    rig.lead();
    const before = up(rig.turn([set('a', '1'), set('b', '2')])).seen.raft.last.index;
    rig.call({ kind: 'crash' });
    const { seen } = up(rig.start());
    expect(seen.appended.map(({ index }) => index)).toEqual(Array.from({ length: before }, (_, i) => i + 1));
  });

  test('is empty once it was wiped', () => {
    const rig = new Rig();
    rig.lead();
    rig.call({ kind: 'wipe' });
    expect(up(rig.start()).seen.raft).toMatchObject({ term: 0, last: { index: 0 } });
  });

  test('dies in the call at which the power is cut', () => {
    const rig = new Rig();
    rig.lead();
    rig.disk({ faults: [{ atCall: 1, kind: 'sync', fault: { kind: 'powerCut' } }] });
    expect(rig.turn([set('a', '1')])).toMatchObject({ kind: 'down', cause: 'powerCut', replies: [] });
    up(rig.start());
  });

  test('has a failed disk after an error, once, and a new life heals it', () => {
    const rig = new Rig();
    rig.lead();
    rig.disk({ faults: [{ atCall: 1, kind: 'write', fault: { kind: 'error', errno: 'EIO' } }] });
    const failed = up(rig.turn([set('a', '1')]));
    expect(failed.seen.storage).toBe('failed');
    expect(failed.replies).toMatchObject([{ reply: { kind: 'error' } }]);
    rig.call({ kind: 'crash' });
    rig.lead();
    expect(up(rig.turn([set('a', '2')])).replies).toMatchObject([{ reply: { kind: 'ok' } }]);
  });

  test('says that the disk is full, and leads again when there is room', () => {
    const rig = new Rig();
    rig.lead();
    rig.disk({ freeBytes: 20 });
    expect(up(rig.turn([set('a', 'x'.repeat(100))])).seen.storage).toBe('full');
    rig.call({ kind: 'crash' });
    rig.disk({});
    rig.lead();
  });

  test('says how long a slow disk held it up', () => {
    const rig = new Rig();
    rig.lead();
    expect(up(rig.turn([set('a', '1')])).diskMs).toBe(0);
    rig.disk({ syncMs: 30 });
    expect(up(rig.turn([set('a', '2')])).diskMs).toBeGreaterThanOrEqual(30);
    rig.disk({});
    expect(up(rig.turn([set('a', '3')])).diskMs).toBe(0);
  });

  test('refuses a disk with a flipped bit', () => {
    const rig = new Rig();
    rig.lead();
    for (let i = 0; i < 20; i++) up(rig.turn([set(`key ${i}`, 'value')]));
    rig.call({ kind: 'crash' });
    const done = rig.call({ kind: 'damage' });
    expect(done).toMatchObject({ kind: 'done', what: expect.stringMatching(/^flipped bit/) });
    expect(rig.start()).toMatchObject({ kind: 'down', cause: 'corruption' });
  });

  test('calls a bug what is no fault of a disk', () => {
    const rig = new Rig();
    rig.lead();
    const bad = { from: 2, bytes: new Uint8Array([1, 2, 3]) };
    const turn = { kind: 'turn', nowMs: 5000, heardEverything: true, connected: [], requests: [] } as const;
    expect(rig.call({ ...turn, frames: [bad] })).toMatchObject({ kind: 'down', cause: 'bug' });
  });

  test('follows the broken rule that it is given, and tells which votes left it before it fell', () => {
    const fell = { kind: 'down', cause: 'powerCut' };
    expect(votesAtTheEnd(undefined)).toMatchObject({ ...fell, granted: [] });
    expect(votesAtTheEnd('promises-before-the-disk')).toMatchObject({
      ...fell,
      granted: [{ term: 8, candidate: 2 }],
    });
  });
});

const HELLO: Envelope = {
  kind: 'hello',
  cluster: 'simulation',
  founders: [1, 2, 3],
  incarnation: 'n2-1',
  since: 0,
  client: '',
  greeted: true,
  settled: true,
};

/** A turn in which n2 asks for a vote. */
function voteIn(term: number, before: readonly Envelope[]): HostCall {
  const last = { index: 0, term: 0 };
  const vote: Envelope = { kind: 'raft', message: { kind: 'vote', pre: false, from: 2, to: 1, term, last } };
  const frames = [{ from: 2, bytes: encodeFrame([...before, vote]) }];
  return { kind: 'turn', nowMs: term, heardEverything: true, connected: [], frames, requests: [] };
}

/** What comes of a vote that the node gives while it loses its power. */
function votesAtTheEnd(broken: string | undefined): HostResult {
  const node = new SimNode(1, 'test', breaker);
  node.call({ kind: 'start', plan: { ...PLAN, voters: [1, 2, 3], broken }, life: 1, nowMs: 0 });
  expect(node.call(voteIn(7, [HELLO]))).toMatchObject({ granted: [{ term: 7, candidate: 2 }] });
  const faults = [{ atCall: 1, kind: 'sync', fault: { kind: 'powerCut' } }] as const;
  node.call({ kind: 'disk', state: { ...HEALTHY_DISK, faults } });
  return node.call(voteIn(8, []));
}
