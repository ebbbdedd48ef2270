import { beforeEach, describe, expect, it } from 'vitest';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Command, CommandSession, OperationAnswer, Result } from '../../src/kv/command.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';
import type { Answer } from '../../src/kv/sessions.ts';
import {
  SESSION_ANSWER_BYTES_MAX,
  SESSION_ANSWERS_MAX,
  SESSIONS_BYTES_MAX,
  SESSIONS_MAX,
  SessionTable,
} from '../../src/kv/sessions.ts';
import { textOf, utf8 } from '../../src/lib/bytes.ts';

let engine: MemoryEngine;
let machine: StateMachine;
beforeEach(() => {
  engine = new MemoryEngine();
  machine = new StateMachine(engine);
});

function apply(command: Command): Result | OperationAnswer {
  return machine.apply(machine.applied + 1, encodeCommand(command));
}

function open(): number {
  const result = apply({ kind: 'openSession' });
  if (result.kind !== 'session') expect.fail(`no session: ${result.kind}`);
  return result.id;
}

function set(id: number, seq: number, value: string, ackedBelow = 0): Result | OperationAnswer {
  return apply({ kind: 'set', key: 'x', value: utf8(value), session: { id, seq, ackedBelow } });
}

function stored(): string | undefined {
  const bytes = machine.get('x');
  return bytes === undefined ? undefined : textOf(bytes);
}

function mismatchOf(bytes: number): Answer {
  return { kind: 'mismatch', index: 1, actual: new Uint8Array(bytes) };
}

function tagOf(seq: number, ackedBelow = 0): CommandSession {
  return { id: 1, seq, ackedBelow };
}

describe('a session', () => {
  it('has the index of its entry as id', () => {
    machine.noop(1);
    expect(open()).toBe(2);
    expect(open()).toBe(3);
    expect(machine.sessionCount).toBe(2);
  });

  it('answers a retry with the first answer and applies nothing', () => {
    const id = open();
    const first = set(id, 1, 'a');
    expect(first).toEqual({ kind: 'ok', index: 2 });
    set(id, 2, 'b');
    const hash = machine.stateHash();
    expect(set(id, 1, 'a')).toEqual(first);
    expect(stored()).toBe('b');
    expect(machine.stateHash()).toBe(hash);
    expect(machine.applied).toBe(4);
  });

  it('answers a retry by its number, whatever the retry says', () => {
    const id = open();
    const first = set(id, 1, 'a');
    expect(apply({ kind: 'delete', key: 'x', session: { id, seq: 1, ackedBelow: 0 } })).toEqual(first);
    expect(stored()).toBe('a');
  });

  it('answers a retried delete with what the first one saw', () => {
    const id = open();
    set(id, 1, 'a');
    const session = { id, seq: 2, ackedBelow: 0 };
    const first = apply({ kind: 'delete', key: 'x', session });
    expect(first).toEqual({ kind: 'ok', index: 3, existed: true });
    expect(apply({ kind: 'delete', key: 'x', session })).toEqual(first);
  });

  it('answers a retried mismatch with the value seen then', () => {
    const id = open();
    set(id, 1, 'then');
    const session = { id, seq: 2, ackedBelow: 0 };
    const cas: Command = { kind: 'cas', key: 'x', expected: utf8('now'), value: utf8('z'), session };
    const first = apply(cas);
    expect(first).toEqual({ kind: 'mismatch', index: 3, actual: utf8('then') });
    set(id, 3, 'now');
    expect(apply(cas)).toEqual(first);
    expect(stored()).toBe('now');
  });

  it('takes numbers in any order', () => {
    const id = open();
    expect(set(id, 5, 'five')).toEqual({ kind: 'ok', index: 2 });
    expect(set(id, 3, 'three')).toEqual({ kind: 'ok', index: 3 });
    expect(set(id, 5, 'five')).toEqual({ kind: 'ok', index: 2 });
    expect(stored()).toBe('three');
  });

  it('refuses a number below those acknowledged, and applies nothing', () => {
    const id = open();
    set(id, 1, 'a');
    set(id, 2, 'b', 2);
    const why = 'Answer 1 was already acknowledged: all below 2 are';
    expect(set(id, 1, 'a')).toEqual({ kind: 'sessionRefused', id, why });
    expect(stored()).toBe('b');
  });

  it('never takes an acknowledgement back', () => {
    const id = open();
    set(id, 10, 'a', 10);
    expect(set(id, 9, 'b', 0).kind).toBe('sessionRefused');
    expect(set(id, 10, 'c', 0)).toEqual({ kind: 'ok', index: 2 });
  });

  it('forgets acknowledged answers over any distance at once', () => {
    const id = open();
    for (const seq of [1, 2, 1_000_000]) set(id, seq, 'a');
    expect(set(id, Number.MAX_SAFE_INTEGER, 'b', Number.MAX_SAFE_INTEGER)).toEqual({ kind: 'ok', index: 5 });
    const lines = [...machine.stateLines()];
    expect(lines.at(-1)).toBe(
      `{"session":1,"ackedBelow":${Number.MAX_SAFE_INTEGER},"answers":[{"seq":${Number.MAX_SAFE_INTEGER},"kind":"ok","index":5}]}`,
    );
  });

  it('is expired when it was never opened, and applies nothing', () => {
    expect(set(99, 1, 'a')).toEqual({ kind: 'sessionExpired', id: 99 });
    expect(stored()).toBeUndefined();
    expect(machine.applied).toBe(1);
  });

  it('shares nothing with another session', () => {
    const a = open();
    const b = open();
    expect(set(a, 1, 'a')).toEqual({ kind: 'ok', index: 3 });
    expect(set(b, 1, 'b')).toEqual({ kind: 'ok', index: 4 });
    expect(stored()).toBe('b');
  });

  it('refuses beyond SESSION_ANSWERS_MAX until some are acknowledged', () => {
    const id = open();
    for (let seq = 1; seq <= SESSION_ANSWERS_MAX; seq++) expect(set(id, seq, 'a').kind).toBe('ok');
    const next = SESSION_ANSWERS_MAX + 1;
    expect(set(id, next, 'b').kind).toBe('sessionRefused');
    expect(stored()).toBe('a');
    expect(set(id, 1, 'a')).toEqual({ kind: 'ok', index: 2 });
    expect(set(id, next, 'b', 2).kind).toBe('ok');
    expect(stored()).toBe('b');
  });

  it('gives the same answers after a snapshot and a restore', () => {
    const id = open();
    const answers = [1, 2, 3].map((seq) => set(id, seq, `v${seq}`));
    const session = { id, seq: 4, ackedBelow: 2 };
    const cas: Command = { kind: 'cas', key: 'x', expected: Uint8Array.of(0xff), value: utf8('z'), session };
    const mismatch = apply(cas);
    const copy = new StateMachine(engine);
    copy.restore(machine.applied, machine.stateLines());
    machine = copy;
    expect(set(id, 1, 'v1').kind).toBe('sessionRefused');
    expect(set(id, 2, 'v2')).toEqual(answers[1]);
    expect(set(id, 3, 'v3')).toEqual(answers[2]);
    expect(apply(cas)).toEqual(mismatch);
    expect(stored()).toBe('v3');
  });
});

describe('the session table', () => {
  it('evicts the least recently used session when one too many is opened', () => {
    const first = open();
    const second = open();
    for (let i = 2; i < SESSIONS_MAX; i++) open();
    expect(set(first, 1, 'a').kind).toBe('ok');
    const newest = open();
    expect(machine.sessionCount).toBe(SESSIONS_MAX);
    expect(set(second, 1, 'b')).toEqual({ kind: 'sessionExpired', id: second });
    expect(set(first, 1, 'a').kind).toBe('ok');
    expect(set(newest, 1, 'c').kind).toBe('ok');
  });

  it('counts a retry and a refused command as use', () => {
    const ids = Array.from({ length: SESSIONS_MAX }, () => open());
    const [first = 0, second = 0, third = 0] = ids;
    set(first, 1, 'a');
    set(second, 2, 'b', 2);
    for (const id of ids.slice(3)) set(id, 1, 'c');
    expect(set(first, 1, 'a').kind).toBe('ok');
    expect(set(second, 1, 'b').kind).toBe('sessionRefused');
    open();
    open();
    expect(set(first, 1, 'a').kind).toBe('ok');
    expect(set(second, 2, 'b').kind).toBe('ok');
    expect(set(third, 1, 'c').kind).toBe('sessionExpired');
  });

  it('keeps the order of use across a restore', () => {
    const ids = Array.from({ length: SESSIONS_MAX }, () => open());
    const [first = 0, second = 0] = ids;
    set(first, 1, 'a');
    const copy = new StateMachine(engine);
    copy.restore(machine.applied, machine.stateLines());
    machine = copy;
    open();
    expect(set(second, 1, 'b').kind).toBe('sessionExpired');
    expect(set(first, 1, 'a').kind).toBe('ok');
  });
});

describe('SessionTable', () => {
  it('refuses a session that holds SESSION_ANSWER_BYTES_MAX until some are acknowledged', () => {
    const table = new SessionTable();
    table.open(1);
    expect(table.admit(tagOf(1)).kind).toBe('new');
    table.remember(tagOf(1), mismatchOf(SESSION_ANSWER_BYTES_MAX));
    expect(table.admit(tagOf(2))).toMatchObject({ kind: 'settled', result: { kind: 'sessionRefused' } });
    expect(table.admit(tagOf(1))).toMatchObject({ kind: 'settled', result: { kind: 'mismatch' } });
    expect(table.admit(tagOf(2, 2)).kind).toBe('new');
  });

  it('evicts least recently used sessions beyond SESSIONS_BYTES_MAX', () => {
    const table = new SessionTable();
    const count = SESSIONS_BYTES_MAX / SESSION_ANSWER_BYTES_MAX;
    for (let id = 1; id <= count; id++) {
      table.open(id);
      const tag = { id, seq: 1, ackedBelow: 0 };
      expect(table.admit(tag).kind).toBe('new');
      table.remember(tag, mismatchOf(SESSION_ANSWER_BYTES_MAX));
    }
    const ids = [...table.states()].map(({ id }) => id);
    expect(ids).toEqual(Array.from({ length: count - 1 }, (_, i) => i + 2));
  });
});
