/** Every request ends in exactly one reply, and what may have happened is never told to have failed for certain. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { ErrorCode } from '../../src/lib/errors.ts';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import {
  LIMITS,
  type LeaderHint,
  type LeaderRequest,
  type ReadRequest,
  type Reply,
  type WriteRequest,
} from '../../src/net/protocol.ts';
import { PENDING_MAX, Requests } from '../../src/node/requests.ts';
import type { Refusal } from '../../src/raft/messages.ts';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';
import { Desk, FIRST_ID } from './desk.ts';

const KEY = utf8('k');
const SET: WriteRequest = { kind: 'set', key: KEY, value: utf8('v') };
const SESSION_SET: WriteRequest = { ...SET, session: { id: 1, seq: 1, ackedBelow: 1 } };
const GET: ReadRequest = { kind: 'get', key: KEY };
const OPEN: WriteRequest = { kind: 'openSession' };
const SELF: LeaderHint = { id: 1, client: 'here' };
const N2: LeaderHint = { id: 2, client: 'there' };
const N3: LeaderHint = { id: 3, client: 'elsewhere' };
const NOTHING = { proposals: [], reads: [], rereads: [], changes: [], transfers: [], forwards: [] };

function error(code: ErrorCode): Reply {
  return { kind: 'error', code, message: code };
}

/** A machine that has applied `count` sets of `k`. */
function machineAt(count: number): StateMachine {
  const machine = new StateMachine(new MemoryEngine());
  for (let i = 1; i <= count; i++)
    machine.apply(i, encodeCommand({ kind: 'set', key: 'k', value: utf8(`v${i}`) }));
  return machine;
}

describe('Requests on a leader', () => {
  test('proposes a write, and answers with its result once it is applied', () => {
    const desk = new Desk();
    const id = desk.ask(SET);
    const { proposals, reads, forwards } = desk.requests.dispatch(0, SELF, true);
    expect(proposals.map((proposal) => proposal.id)).toEqual([id]);
    expect([reads, forwards]).toEqual([[], []]);
    desk.requests.settle({ id, ok: true, kind: 'committed', index: 7 }, 0, SELF);
    expect(desk.outcome).toBeUndefined();
    desk.requests.applied(6, { kind: 'ok', index: 6 });
    expect(desk.outcome).toBeUndefined();
    desk.requests.applied(7, { kind: 'ok', index: 7 });
    expect(desk.only).toEqual([{ kind: 'ok', index: 7 }]);
    desk.requests.applied(7, { kind: 'ok', index: 7 });
    desk.requests.expire(10_000);
    expect(desk.only).toHaveLength(1);
    expect(desk.requests.count).toBe(0);
  });

  test('answers a read when the state machine has come as far as the core demands, and with what it then holds', () => {
    const desk = new Desk();
    const id = desk.ask(GET);
    expect(desk.requests.dispatch(0, SELF, true).reads).toEqual([id]);
    desk.requests.settle({ id, ok: true, kind: 'readable', index: 3 }, 0, SELF);
    desk.requests.serveReads(machineAt(2), () => 0);
    expect(desk.outcome).toBeUndefined();
    desk.requests.serveReads(machineAt(3), () => 0);
    expect(desk.only).toEqual([{ kind: 'value', value: utf8('v3') }]);
  });

  test('answers a scan by rows and bytes', () => {
    const desk = new Desk();
    const id = desk.ask({ kind: 'scan', prefix: utf8('k'), limit: 5 });
    desk.requests.dispatch(0, SELF, true);
    desk.requests.settle({ id, ok: true, kind: 'readable', index: 1 }, 0, SELF);
    desk.requests.serveReads(machineAt(1), () => 0);
    expect(desk.only).toEqual([{ kind: 'rows', rows: [{ key: KEY, value: utf8('v1') }], more: false }]);
  });

  test.each<{ readonly result: Parameters<Requests['applied']>[1]; readonly code: string }>([
    { result: { kind: 'ok', index: 1, existed: true }, code: 'ok' },
    { result: { kind: 'mismatch', index: 1, actual: undefined }, code: 'mismatch' },
    { result: { kind: 'session', id: 1 }, code: 'session' },
    { result: { kind: 'sessionExpired', id: 1 }, code: 'session_expired' },
    { result: { kind: 'sessionRefused', id: 1, why: 'because' }, code: 'bad_request' },
  ])('tells the result $result.kind as $code', ({ result, code }) => {
    const desk = new Desk();
    const id = desk.ask(SET);
    desk.requests.dispatch(0, SELF, true);
    desk.requests.settle({ id, ok: true, kind: 'committed', index: 1 }, 0, SELF);
    desk.requests.applied(1, result);
    expect(desk.outcome).toBe(code);
  });
});

describe('Requests that the core refuses', () => {
  const LOST: Refusal = { kind: 'lostLeadership', mayCommit: true };
  const LOST_READ: Refusal = { kind: 'lostLeadership', mayCommit: false };
  const NOT_LEADER: Refusal = { kind: 'notLeader', leader: 2 };

  test.each<{
    readonly request: LeaderRequest;
    readonly forward: boolean;
    readonly reason: Refusal;
    readonly outcome: string | undefined;
  }>([
    {
      request: SET,
      forward: true,
      reason: { kind: 'overloaded', uncommittedBytes: 9 },
      outcome: 'overloaded',
    },
    { request: SET, forward: true, reason: { kind: 'storageFailed' }, outcome: 'storage_failed' },
    { request: SET, forward: false, reason: NOT_LEADER, outcome: 'not_leader' },
    { request: SET, forward: true, reason: NOT_LEADER, outcome: undefined },
    { request: SET, forward: true, reason: LOST, outcome: 'unknown' },
    { request: SET, forward: false, reason: LOST, outcome: 'unknown' },
    { request: SESSION_SET, forward: false, reason: LOST, outcome: 'unknown' },
    { request: SESSION_SET, forward: true, reason: LOST, outcome: undefined },
    { request: OPEN, forward: true, reason: LOST, outcome: undefined },
    { request: GET, forward: false, reason: LOST_READ, outcome: 'not_leader' },
    { request: GET, forward: true, reason: LOST_READ, outcome: undefined },
  ])(
    '$request.kind, forwarded: $forward, $reason.kind: $outcome',
    ({ request, forward, reason, outcome }) => {
      const desk = new Desk();
      const id = desk.ask(request, forward);
      desk.requests.dispatch(0, SELF, true);
      desk.refuse(id, reason, N2);
      expect(desk.outcome).toBe(outcome);
      if (outcome === 'not_leader') expect(desk.only[0]).toMatchObject({ leader: N2 });
      if (outcome !== undefined) return;
      // It waits for the next leader, and goes there as it was; of a read, the question where to read.
      const { forwards, reads } = desk.requests.dispatch(1, N2, false);
      expect(forwards).toEqual(request === GET ? [] : [{ to: 2, id, request }]);
      expect(reads).toEqual(request === GET ? [id] : []);
    },
  );
});

describe('a read by lease', () => {
  test('is void when the lease is over once the value is there, and is asked of a majority (P48)', () => {
    const desk = new Desk();
    const id = desk.ask(GET);
    expect(desk.requests.dispatch(0, SELF, true)).toEqual({ ...NOTHING, reads: [id] });
    desk.requests.settle({ id, ok: true, kind: 'readable', index: 1, validUntilMs: 225 }, 1, SELF);
    // The thread stood still in between.
    desk.requests.serveReads(machineAt(1), () => 225);
    expect(desk.only).toEqual([]);
    expect(desk.requests.hasFresh).toBe(true);
    expect(desk.requests.dispatch(226, SELF, true)).toEqual({ ...NOTHING, rereads: [id] });
    desk.requests.settle({ id, ok: true, kind: 'readable', index: 2 }, 227, SELF);
    desk.requests.serveReads(machineAt(2), () => 10_000);
    expect(desk.only).toEqual([{ kind: 'value', value: utf8('v2') }]);
  });

  test('is answered within the lease', () => {
    const desk = new Desk();
    const id = desk.ask(GET);
    desk.requests.dispatch(0, SELF, true);
    desk.requests.settle({ id, ok: true, kind: 'readable', index: 1, validUntilMs: 225 }, 1, SELF);
    desk.requests.serveReads(machineAt(1), () => 224);
    expect(desk.only).toEqual([{ kind: 'value', value: utf8('v1') }]);
  });
});

describe('Requests on a follower', () => {
  test('refuses with the leader as a hint when it must not pass on', () => {
    const desk = new Desk();
    desk.ask(SET, false);
    expect(desk.requests.dispatch(0, N2, false)).toEqual(NOTHING);
    expect(desk.only).toMatchObject([{ code: 'not_leader', leader: N2 }]);
  });

  test('refuses without a hint when it knows no leader', () => {
    const desk = new Desk();
    desk.ask(GET, false);
    desk.requests.dispatch(0, undefined, false);
    expect(desk.only).toEqual([expect.not.objectContaining({ leader: expect.anything() })]);
    expect(desk.outcome).toBe('not_leader');
  });

  test('passes on to the leader and brings the answer back, from nobody else and once', () => {
    const desk = new Desk();
    const id = desk.ask(SET);
    expect(desk.requests.dispatch(0, N2, false).forwards).toEqual([{ to: 2, id, request: SET }]);
    desk.requests.forwarded(3, id, { kind: 'ok', index: 1 }, 0);
    desk.requests.forwarded(2, id + 1, { kind: 'ok', index: 1 }, 0);
    expect(desk.outcome).toBeUndefined();
    desk.requests.forwarded(2, id, { kind: 'ok', index: 9 }, 0);
    desk.requests.forwarded(2, id, { kind: 'ok', index: 10 }, 0);
    expect(desk.only).toEqual([{ kind: 'ok', index: 9 }]);
  });

  test('parks what comes without a leader, and sends it as soon as there is one', () => {
    const desk = new Desk();
    const id = desk.ask(SET);
    expect(desk.requests.dispatch(0, undefined, false).forwards).toEqual([]);
    expect(desk.requests.dispatch(1, undefined, false).forwards).toEqual([]);
    expect(desk.requests.dispatch(2, N3, false).forwards).toEqual([{ to: 3, id, request: SET }]);
  });

  test('reads from its own memory at the index that the leader tells', () => {
    const desk = new Desk();
    const id = desk.ask(GET);
    expect(desk.requests.dispatch(0, N2, false)).toEqual({ ...NOTHING, reads: [id] });
    desk.requests.settle({ id, ok: true, kind: 'readable', index: 3 }, 1, N2);
    desk.requests.serveReads(machineAt(2), () => 2);
    expect(desk.only).toEqual([]);
    desk.requests.serveReads(machineAt(3), () => 3);
    expect(desk.only).toEqual([{ kind: 'value', value: utf8('v3') }]);
  });

  test('passes a read on like a write where it has nothing to read from', () => {
    const requests = new Requests({ timeoutMs: 500, firstId: FIRST_ID, canRead: false });
    const replies: Reply[] = [];
    requests.submit(GET, { forward: true }, (reply) => replies.push(reply));
    const forwards = [{ to: 2, id: FIRST_ID, request: GET }];
    expect(requests.dispatch(0, N2, false)).toEqual({ ...NOTHING, forwards });
    requests.forwarded(2, FIRST_ID, { kind: 'value', value: utf8('theirs') }, 5);
    requests.submit(GET, { forward: false }, (reply) => replies.push(reply));
    expect(requests.dispatch(6, N2, false)).toEqual(NOTHING);
    expect(replies).toMatchObject([{ kind: 'value' }, { kind: 'error', code: 'not_leader', leader: N2 }]);
  });

  test('asks the next leader where to read when the first is lost', () => {
    const desk = new Desk();
    const id = desk.ask(GET);
    desk.requests.dispatch(0, N2, false);
    desk.refuse(id, { kind: 'notLeader', leader: 0 });
    expect(desk.requests.dispatch(1, undefined, false).reads).toEqual([]);
    expect(desk.requests.dispatch(2, N3, false).reads).toEqual([id]);
  });

  test('leaves a read that must not be passed on to the client', () => {
    const desk = new Desk();
    desk.ask(GET, false);
    expect(desk.requests.dispatch(0, N2, false)).toEqual(NOTHING);
    expect(desk.only).toMatchObject([{ code: 'not_leader', leader: N2 }]);
  });

  test('asks again after a while when the leader said that it is none', () => {
    const desk = new Desk();
    const id = desk.ask(SET);
    desk.requests.dispatch(0, N2, false);
    desk.requests.forwarded(2, id, error('not_leader'), 10);
    expect(desk.requests.deadlineMs).toBe(30);
    expect(desk.requests.dispatch(29, N2, false).forwards).toEqual([]);
    expect(desk.requests.dispatch(30, N2, false).forwards).toHaveLength(1);
    // Each attempt had certainly no effect.
    desk.requests.forwarded(2, id, error('overloaded'), 31);
    expect(desk.outcome).toBe('overloaded');
  });

  test('is in doubt once two copies were on their way, though one of them was refused for certain', () => {
    const desk = new Desk();
    const id = desk.ask(SESSION_SET);
    desk.requests.dispatch(0, N2, false);
    // No answer to the first copy; it may have been proposed, and the second may have met a leader deposed since.
    expect(desk.requests.dispatch(500, N2, false).forwards).toHaveLength(1);
    desk.requests.forwarded(2, id, error('not_leader'), 510);
    desk.requests.dispatch(530, undefined, false);
    desk.requests.expire(1_000_000);
    expect(desk.outcome).toBe('unknown');
  });

  test('becomes leader itself with requests parked', () => {
    const desk = new Desk();
    const ids = [desk.ask(SET), desk.ask(GET)];
    desk.requests.dispatch(0, undefined, false);
    const { proposals, reads } = desk.requests.dispatch(1, SELF, true);
    expect([proposals.map(({ id }) => id), reads]).toEqual([[ids[0]], [ids[1]]]);
  });
});

describe('Requests whose leader changes while they are with it', () => {
  test.each([SESSION_SET, OPEN])('$kind is sent to the new one', (request) => {
    const desk = new Desk();
    const id = desk.ask(request);
    desk.requests.dispatch(0, N2, false);
    expect(desk.requests.dispatch(1, undefined, false).forwards).toEqual([]);
    expect(desk.requests.dispatch(2, N3, false).forwards).toEqual([{ to: 3, id, request }]);
    // The old leader's answer is late, and about an attempt that is not the present one.
    desk.requests.forwarded(2, id, error('not_leader'), 3);
    expect(desk.outcome).toBeUndefined();
    desk.requests.forwarded(3, id, { kind: 'ok', index: 4 }, 4);
    expect(desk.outcome).toBe('ok');
  });

  test('a write without a session is not sent twice: its leader may still answer, then it is unknown', () => {
    const desk = new Desk();
    desk.ask(SET);
    desk.requests.dispatch(0, N2, false);
    expect(desk.requests.dispatch(1, N3, false).forwards).toEqual([]);
    desk.requests.expire(499);
    expect(desk.outcome).toBeUndefined();
    desk.requests.expire(500);
    expect(desk.outcome).toBe('unknown');
  });

  test('a write without a session takes the old leader’s late answer', () => {
    const desk = new Desk();
    const id = desk.ask(SET);
    desk.requests.dispatch(0, N2, false);
    desk.requests.dispatch(1, N3, false);
    desk.requests.forwarded(2, id, { kind: 'ok', index: 1 }, 2);
    expect(desk.outcome).toBe('ok');
  });

  test('a lost leader’s write ends before the others when requests may take long', () => {
    const requests = new Requests({ timeoutMs: 60_000, firstId: 1, canRead: true });
    const replies: Reply[][] = [[], []];
    requests.submit(GET, { forward: true }, (reply) => replies[0]?.push(reply));
    requests.submit(SET, { forward: true }, (reply) => replies[1]?.push(reply));
    requests.dispatch(0, N2, false);
    requests.dispatch(10, N3, false);
    requests.expire(1009);
    expect(replies).toEqual([[], []]);
    requests.expire(1010);
    expect(replies).toMatchObject([[], [{ code: 'unknown' }]]);
  });

  test.each<ErrorCode>(['overloaded', 'storage_failed', 'unavailable', 'session_expired', 'bad_request'])(
    'a refusal with %s of the second attempt says nothing about the first',
    (code) => {
      const desk = new Desk();
      const id = desk.ask(SESSION_SET);
      desk.requests.dispatch(0, N2, false);
      desk.requests.dispatch(1, N3, false);
      desk.requests.forwarded(3, id, error(code), 2);
      expect(desk.outcome).toBe('unknown');
    },
  );

  test('nor does a refusal by this node, which leads meanwhile', () => {
    const desk = new Desk();
    const id = desk.ask(SESSION_SET);
    desk.requests.dispatch(0, N2, false);
    desk.requests.dispatch(1, SELF, true);
    desk.refuse(id, { kind: 'overloaded', uncommittedBytes: 1 });
    expect(desk.outcome).toBe('unknown');
  });

  test('a read may fail for certain after any number of attempts', () => {
    const desk = new Desk();
    const id = desk.ask(GET);
    desk.requests.dispatch(0, N2, false);
    desk.requests.dispatch(1, N3, false);
    desk.refuse(id, { kind: 'tooManyReads', readsMax: 1 });
    expect(desk.outcome).toBe('overloaded');
  });

  test('an unknown outcome at the leader is settled by its session, or is unknown here too', () => {
    for (const request of [SESSION_SET, SET]) {
      const desk = new Desk();
      const id = desk.ask(request);
      desk.requests.dispatch(0, N2, false);
      desk.requests.forwarded(2, id, error('unknown'), 1);
      expect(desk.outcome).toBe(request === SET ? 'unknown' : undefined);
      if (request === SET) continue;
      expect(desk.requests.dispatch(50, N2, false).forwards).toHaveLength(1);
      desk.requests.expire(500);
      expect(desk.outcome).toBe('unknown');
    }
  });
});

describe('Requests that run out of time', () => {
  test.each<{ readonly stage: string; readonly request: LeaderRequest; readonly outcome: string }>([
    { stage: 'parked', request: SET, outcome: 'unavailable' },
    { stage: 'parked', request: GET, outcome: 'unavailable' },
    { stage: 'proposed', request: SET, outcome: 'unknown' },
    { stage: 'proposed', request: OPEN, outcome: 'unknown' },
    { stage: 'committed', request: SET, outcome: 'unknown' },
    { stage: 'reading', request: GET, outcome: 'unavailable' },
    { stage: 'readable', request: GET, outcome: 'unavailable' },
    { stage: 'forwarded', request: SET, outcome: 'unknown' },
    { stage: 'forwarded', request: GET, outcome: 'unavailable' },
  ])('$request.kind while $stage: $outcome', ({ stage, request, outcome }) => {
    const desk = new Desk();
    const id = desk.ask(request);
    const isLeader = !['parked', 'forwarded'].includes(stage);
    desk.requests.dispatch(0, stage === 'parked' ? undefined : isLeader ? SELF : N2, isLeader);
    if (stage === 'committed') desk.requests.settle({ id, ok: true, kind: 'committed', index: 5 }, 0, SELF);
    if (stage === 'readable') desk.requests.settle({ id, ok: true, kind: 'readable', index: 5 }, 0, SELF);
    expect(desk.requests.deadlineMs).toBe(stage === 'parked' ? 20 : 500);
    desk.requests.expire(499);
    expect(desk.outcome).toBeUndefined();
    desk.requests.expire(500);
    expect(desk.outcome).toBe(outcome);
    // Whatever comes now comes too late.
    desk.requests.forwarded(2, id, { kind: 'ok', index: 1 }, 501);
    desk.requests.applied(5, { kind: 'ok', index: 5 });
    desk.requests.serveReads(machineAt(5), () => 0);
    desk.requests.dispatch(502, N2, false);
    desk.requests.failAll(() => error('closed'));
    expect(desk.only).toHaveLength(1);
    expect(desk.requests.deadlineMs).toBe(Infinity);
  });
});

describe('Requests to change the cluster', () => {
  const ADD: LeaderRequest = { kind: 'changeMembers', changes: [{ kind: 'add', node: 4, address: '' }] };
  const TRANSFER: LeaderRequest = { kind: 'transferLeader', to: 2 };

  test('go to the core of a leader, and are answered with its outcome', () => {
    const desk = new Desk();
    const ids = [desk.ask(ADD), desk.ask(TRANSFER)] as const;
    expect(desk.requests.dispatch(0, SELF, true)).toEqual({
      ...NOTHING,
      changes: [{ id: ids[0], changes: ADD.kind === 'changeMembers' ? ADD.changes : [] }],
      transfers: [{ id: ids[1], to: 2 }],
    });
    desk.requests.settle({ id: ids[0], ok: true, kind: 'committed', index: 9 }, 1, SELF);
    desk.requests.settle({ id: ids[1], ok: true, kind: 'transferred', leader: 2 }, 1, SELF);
    expect(desk.replies).toEqual([[{ kind: 'ok', index: 9 }], [{ kind: 'leader', leader: 2 }]]);
  });

  test.each([ADD, TRANSFER])('are passed on once: $kind', (request) => {
    const desk = new Desk();
    desk.ask(request);
    expect(desk.requests.dispatch(0, N2, false).forwards).toHaveLength(1);
    for (let nowMs = 10; nowMs < 500; nowMs += 10)
      expect(desk.requests.dispatch(nowMs, N2, false)).toEqual(NOTHING);
    expect(desk.requests.dispatch(500, N3, false)).toEqual(NOTHING);
    desk.requests.expire(500);
    expect(desk.outcome).toBe('unknown');
  });

  test('wait for a leader only a little while, and have certainly not happened then', () => {
    const desk = new Desk(10_000);
    desk.ask(ADD);
    for (let nowMs = 0; nowMs <= 1000; nowMs += 50) desk.requests.dispatch(nowMs, undefined, false);
    expect(desk.outcome).toBeUndefined();
    desk.requests.dispatch(1050, undefined, false);
    expect(desk.outcome).toBe('unavailable');
  });

  test('wait for the first entry of a new leader', () => {
    const desk = new Desk();
    const id = desk.ask(ADD);
    desk.requests.dispatch(0, SELF, true);
    desk.refuse(id, { kind: 'noopUncommitted' });
    expect(desk.outcome).toBeUndefined();
    expect(desk.requests.dispatch(50, SELF, true).changes).toHaveLength(1);
    desk.refuse(id, { kind: 'lostLeadership', mayCommit: true });
    expect(desk.outcome).toBe('unknown');
  });

  test.each<[Refusal, ErrorCode]>([
    [{ kind: 'configPending', index: 7 }, 'change_pending'],
    [{ kind: 'invalidChange', problem: 'already_member', node: 4 }, 'already_member'],
    [{ kind: 'invalidChange', problem: 'named_twice', node: 4 }, 'bad_request'],
    [{ kind: 'transferAborted', to: 2 }, 'unknown'],
  ])('end with a code of their own: %j', (reason, code) => {
    const desk = new Desk();
    const id = desk.ask(ADD);
    desk.requests.dispatch(0, SELF, true);
    desk.refuse(id, reason);
    expect(desk.outcome).toBe(code);
  });
});

describe('Requests that all end at once', () => {
  test('are told apart by whether they may have happened', () => {
    const desk = new Desk();
    const asked: readonly LeaderRequest[] = [SET, GET];
    for (const request of asked) desk.ask(request); // proposed, reading
    desk.requests.dispatch(0, SELF, true);
    for (const request of asked) desk.ask(request); // forwarded
    desk.requests.dispatch(1, N2, false);
    for (const request of asked) desk.ask(request); // fresh
    desk.requests.failAll((isUncertain) => error(isUncertain ? 'unknown' : 'storage_failed'));
    const codes = desk.replies.map((replies) => replies.map((reply) => reply.kind === 'error' && reply.code));
    expect(codes).toEqual([
      ['unknown'],
      ['storage_failed'],
      ['unknown'],
      ['storage_failed'],
      ['storage_failed'],
      ['storage_failed'],
    ]);
    expect(desk.requests.dispatch(2, SELF, true)).toEqual(NOTHING);
  });

  test('a parked write whose earlier attempt may have happened is uncertain', () => {
    const desk = new Desk();
    desk.ask(SESSION_SET);
    desk.requests.dispatch(0, N2, false);
    desk.requests.dispatch(1, undefined, false);
    desk.requests.failAll((isUncertain) => error(isUncertain ? 'unknown' : 'storage_failed'));
    expect(desk.outcome).toBe('unknown');
  });
});

describe('Requests over a limit', () => {
  test('are refused before anything else', () => {
    const desk = new Desk();
    desk.ask({ ...SET, value: new Uint8Array(LIMITS.valueBytesMax + 1) });
    expect(desk.outcome).toBe('too_large');
    expect(desk.requests.count).toBe(0);
  });

  test('are refused when too many wait, and taken again when some have ended', () => {
    const requests = new Requests({ timeoutMs: 500, firstId: 1, canRead: true });
    const counts = new Map<string, number>();
    const ask = (): void =>
      requests.submit(GET, { forward: true }, (reply) => {
        const name = reply.kind === 'error' ? reply.code : reply.kind;
        counts.set(name, (counts.get(name) ?? 0) + 1);
      });
    for (let i = 0; i < PENDING_MAX + 3; i++) ask();
    expect(counts).toEqual(new Map([['overloaded', 3]]));
    requests.dispatch(0, undefined, false);
    requests.expire(500);
    expect(counts.get('unavailable')).toBe(PENDING_MAX);
    ask();
    expect(counts.get('overloaded')).toBe(3);
  });
});
