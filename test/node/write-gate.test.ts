/** Writes are slowed down in proportion to what came before, and wait instead of being refused. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { LeaderHint, Request, WriteRequest } from '../../src/net/protocol.ts';
import { WriteGate } from '../../src/node/write-gate.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { Desk } from './desk.ts';
import { Solo } from './solo.ts';

const SET: WriteRequest = { kind: 'set', key: utf8('k'), value: utf8('v') };
const GET: Request & { readonly kind: 'get' } = { kind: 'get', key: utf8('k') };
const SELF: LeaderHint = { id: 1, client: 'here' };
const OTHER: LeaderHint = { id: 2, client: 'there' };

/** A gate through which 10,000 bytes a millisecond came for long, and that is asked to slow down now. */
function gateUnder(pressurePercent: number, bytesPerMs = 10_000): WriteGate {
  const gate = new WriteGate(0);
  for (let nowMs = 1; nowMs <= 60_000; nowMs++) {
    gate.look(nowMs, 0);
    gate.applied(bytesPerMs);
  }
  gate.look(60_001, pressurePercent);
  return gate;
}

/** Bytes a millisecond that come through in ten seconds, when as much comes as may, in writes of so many bytes. */
function rateThrough(gate: WriteGate, pressurePercent: number, writeBytes = 1000): number {
  let bytes = 0;
  for (let nowMs = 60_001; nowMs <= 70_000; nowMs++) {
    gate.look(nowMs, pressurePercent);
    while (gate.state === 'open') {
      gate.took(writeBytes);
      bytes += writeBytes;
    }
  }
  return bytes / 10_000;
}

/** A gate that is shut until 50. */
function shutGate(): WriteGate {
  const gate = new WriteGate(0);
  gate.look(0, 50);
  gate.took(50 * 512);
  expect([gate.state, gate.opensAtMs]).toEqual(['shut', 50]);
  return gate;
}

function refusingGate(): WriteGate {
  const gate = new WriteGate(0);
  gate.look(0, 100);
  return gate;
}

describe('WriteGate', () => {
  test.each([
    [20, 8000],
    [50, 5000],
    [80, 2000],
    [99, 100],
  ])('lets in, with %i percent of pressure, %i of 10,000 bytes', (percent, expected) => {
    const rate = rateThrough(gateUnder(percent), percent);
    expect(rate / expected).toBeGreaterThan(0.95);
    expect(rate / expected).toBeLessThan(1.05);
  });

  test('takes a large write, and makes up for it afterwards', () => {
    const rate = rateThrough(gateUnder(50), 50, 1_000_000);
    expect(rate).toBeGreaterThan(4500);
    expect(rate).toBeLessThan(5500);
  });

  test('is open without pressure, whatever came', () => {
    const gate = gateUnder(50);
    gate.took(1e9);
    expect(gate.state).toBe('shut');
    gate.look(60_002, 0);
    expect(gate.state).toBe('open');
  });

  test('refuses with all of the pressure', () => {
    expect(gateUnder(100).state).toBe('refusing');
  });

  test('lets a megabyte a second in at least, if nothing is known of the rate', () => {
    const gate = gateUnder(50, 0);
    expect(rateThrough(gate, 50)).toBeCloseTo(512, -2);
  });

  test('keeps the rate in mind while it slows down: what is applied then is no measure, neither then nor afterwards', () => {
    const gate = gateUnder(50);
    for (let nowMs = 60_002; nowMs <= 70_000; nowMs++) {
      gate.look(nowMs, 50);
      gate.applied(5000);
    }
    gate.look(70_001, 0);
    gate.look(70_002, 80);
    let bytes = 0;
    for (let nowMs = 70_003; nowMs <= 80_002; nowMs++) {
      gate.look(nowMs, 80);
      for (; gate.state === 'open'; bytes += 1000) gate.took(1000);
    }
    expect(bytes / 10_000 / 2000).toBeGreaterThan(0.95);
    expect(bytes / 10_000 / 2000).toBeLessThan(1.05);
  });
});

describe('Requests at a gate', () => {
  test('takes no write while its engine is stalled, and says so for certain; reads go on', () => {
    const desk = new Desk();
    desk.ask(SET);
    expect(desk.requests.dispatch(0, SELF, true, refusingGate()).proposals).toEqual([]);
    expect(desk.only).toEqual([
      { kind: 'error', code: 'overloaded', message: 'The leader is behind with compacting its tables' },
    ]);
    const read = desk.ask(GET);
    expect(desk.requests.dispatch(0, SELF, true, refusingGate()).reads).toEqual([read]);
    const later = desk.ask(SET);
    expect(desk.requests.dispatch(0, SELF, true, new WriteGate(0)).proposals.map(({ id }) => id)).toEqual([
      later,
    ]);
  });

  test('lets writes wait while the gate is shut, in their order, and asks to be called when it opens; reads go on', () => {
    const desk = new Desk();
    const gate = shutGate();
    const [first, second] = [desk.ask(SET), desk.ask(SET)];
    const read = desk.ask(GET);
    expect(desk.requests.dispatch(30, SELF, true, gate)).toMatchObject({ proposals: [], reads: [read] });
    expect(desk.requests.deadlineMs).toBe(50);
    const third = desk.ask(SET);
    expect(desk.requests.dispatch(40, SELF, true, gate).proposals).toEqual([]);
    gate.look(50, 20);
    const { proposals } = desk.requests.dispatch(50, SELF, true, gate);
    expect(proposals.map(({ id }) => id)).toEqual([first, second, third]);
    expect(desk.requests.deadlineMs).toBeGreaterThan(50);
  });

  test('refuses what waited at the gate when the engine can take no more, and passes it on to the next leader', () => {
    const desk = new Desk();
    desk.ask(SET);
    desk.requests.dispatch(30, SELF, true, shutGate());
    expect(desk.requests.dispatch(40, SELF, true, refusingGate()).proposals).toEqual([]);
    expect(desk.only).toMatchObject([{ code: 'overloaded' }]);
    const id = desk.ask(SET);
    desk.requests.dispatch(60, SELF, true, shutGate());
    const { forwards } = desk.requests.dispatch(70, OTHER, false, shutGate());
    expect(forwards.map((forward) => [forward.to, forward.id])).toEqual([[OTHER.id, id]]);
    expect(desk.requests.deadlineMs).toBeGreaterThan(100);
  });

  test('ends a write that waits at the gate for too long: it certainly did not happen', () => {
    const desk = new Desk();
    desk.ask(SET);
    desk.requests.dispatch(30, SELF, true, shutGate());
    desk.requests.expire(100_000);
    expect(desk.only).toMatchObject([{ kind: 'error', code: 'unavailable' }]);
    expect(desk.requests.dispatch(100_000, SELF, true, new WriteGate(0)).proposals).toEqual([]);
  });
});

describe('a node whose engine falls behind', () => {
  test('takes writes at a part of the rate of before, answers reads, and refuses writes when it must', () => {
    let pressurePercent = 0;
    const solo = new Solo({
      voters: [1],
      openStore: (fs, path) => {
        const store = new MemoryStore({ fs, directory: `${path}/snapshots` });
        Object.defineProperty(store.engine, 'pressurePercent', { get: () => pressurePercent });
        return store;
      },
    });
    solo.turn(10_000);
    const write = { ...SET, value: new Uint8Array(10_000) };
    for (let i = 0; i < 5000; i++) {
      solo.ask(write);
      solo.turn(2);
    }
    // 5,000 bytes a millisecond came; half of it may come now.
    pressurePercent = 50;
    const replies = Array.from({ length: 500 }, () => solo.ask(write));
    const answered = (): number => replies.filter(([reply]) => reply?.kind === 'ok').length;
    for (let nowMs = 0; nowMs < 800; nowMs += 2) solo.turn(2);
    expect(answered()).toBeGreaterThan(150);
    expect(answered()).toBeLessThan(230);
    const read = solo.ask(GET);
    solo.turn(1);
    expect(read).toMatchObject([{ kind: 'value' }]);
    pressurePercent = 100;
    const refused = solo.ask(write);
    solo.turn(1);
    expect(refused).toMatchObject([{ code: 'overloaded' }]);
    pressurePercent = 0;
    const taken = solo.ask(write);
    solo.turn(1);
    expect(taken).toMatchObject([{ kind: 'ok' }]);
    expect(replies.every((all) => all.length === 1)).toBe(true);
  });
});
