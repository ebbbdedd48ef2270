import { describe, expect, it } from 'vitest';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Command, Result } from '../../src/kv/command.ts';
import { KvMachine, RECENT_KEYS_MAX } from '../../src/kv/machine.ts';
import { fromLatin1, latin1, textOf, utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { HOSTILE_BYTES, HOSTILE_KEYS } from './hostile.ts';
import { MapEngine } from './map-engine.ts';

const INFINITE = Number.POSITIVE_INFINITY;

function newMachine(): KvMachine {
  return new KvMachine(new MapEngine());
}

/** Applies one command as the next entry. */
function apply(machine: KvMachine, command: Command): Result {
  return machine.apply(machine.applied + 1, encodeCommand(command));
}

function set(machine: KvMachine, key: string, value: string): Result {
  return apply(machine, { kind: 'set', key, value: utf8(value) });
}

function openSession(machine: KvMachine): { readonly id: number } {
  const result = apply(machine, { kind: 'openSession' });
  return { id: result.kind === 'session' ? result.id : 0 };
}

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : textOf(bytes);
}

/** A machine restored from the snapshot of another. */
function restored(machine: KvMachine): KvMachine {
  const copy = newMachine();
  copy.restore(machine.applied, machine.snapshotLines());
  return copy;
}

/** A command drawn from few keys and values, so that all cases meet. */
function drawCommand(random: Random, sessions: readonly number[]): Exclude<Command, { kind: 'operation' }> {
  const key = HOSTILE_KEYS.at(random.int(0, HOSTILE_KEYS.length - 1)) ?? '';
  const draw = (): Uint8Array => HOSTILE_BYTES.at(random.int(0, 5)) ?? utf8('');
  const value = draw();
  const expected = random.chance(0.3) ? undefined : draw();
  const kind = random.int(0, 9);
  const plain: Exclude<Command, { kind: 'operation' }> =
    kind < 5
      ? { kind: 'set', key, value }
      : kind < 7
        ? { kind: 'delete', key }
        : { kind: 'cas', key, expected, value };
  if (random.chance(0.01)) return { kind: 'openSession' };
  if (sessions.length === 0 || random.chance(0.5)) return plain;
  const id = sessions.at(random.int(0, sessions.length - 1)) ?? 1;
  const seq = random.int(1, 200);
  return { ...plain, session: { id, seq, ackedBelow: random.int(0, 40) } };
}

/** Applies `count` drawn commands to every machine and expects equal results. */
function drive(machines: readonly KvMachine[], random: Random, count: number): void {
  const sessions: number[] = [];
  for (let i = 0; i < count; i++) {
    const payload = encodeCommand(drawCommand(random, sessions));
    const [first, ...others] = machines.map((machine) => machine.apply(machine.applied + 1, payload));
    for (const other of others) expect(other).toEqual(first);
    if (first?.kind === 'session') sessions.push(first.id);
  }
}

describe('KvMachine.apply()', () => {
  it('sets, reads and deletes', () => {
    const machine = newMachine();
    expect(set(machine, 'x', '5')).toEqual({ kind: 'ok', index: 1 });
    expect(text(machine.get('x'))).toBe('5');
    expect(apply(machine, { kind: 'delete', key: 'x' })).toEqual({ kind: 'ok', index: 2, existed: true });
    expect(machine.get('x')).toBeUndefined();
    expect(apply(machine, { kind: 'delete', key: 'x' })).toEqual({ kind: 'ok', index: 3, existed: false });
    expect(machine.count).toBe(0);
  });

  it('sets on a matching compare-and-set only', () => {
    const machine = newMachine();
    const cas = (expected: string | undefined, value: string): Result =>
      apply(machine, {
        kind: 'cas',
        key: 'x',
        expected: expected === undefined ? undefined : utf8(expected),
        value: utf8(value),
      });
    expect(cas('1', '2')).toEqual({ kind: 'mismatch', index: 1, actual: undefined });
    expect(machine.get('x')).toBeUndefined();
    expect(cas(undefined, '1')).toEqual({ kind: 'ok', index: 2 });
    expect(cas(undefined, '9')).toEqual({ kind: 'mismatch', index: 3, actual: utf8('1') });
    expect(cas('12', '9')).toEqual({ kind: 'mismatch', index: 4, actual: utf8('1') });
    expect(cas('1', '2')).toEqual({ kind: 'ok', index: 5 });
    expect(text(machine.get('x'))).toBe('2');
  });

  it('tells an empty value from an absent key', () => {
    const machine = newMachine();
    set(machine, 'x', '');
    expect(machine.get('x')).toEqual(new Uint8Array(0));
    const result = apply(machine, { kind: 'cas', key: 'x', expected: undefined, value: utf8('1') });
    expect(result).toEqual({ kind: 'mismatch', index: 2, actual: new Uint8Array(0) });
    expect(apply(machine, { kind: 'cas', key: 'x', expected: utf8(''), value: utf8('1') }).kind).toBe('ok');
  });

  it('keeps no view of the payload', () => {
    const machine = newMachine();
    const payload = encodeCommand({ kind: 'set', key: 'x', value: utf8('abc') });
    machine.apply(1, payload);
    payload.fill(0);
    expect(text(machine.get('x'))).toBe('abc');
    expect(machine.get('x')?.buffer.byteLength).toBe(3);
  });

  it('gives a mismatch its own copy of the value', () => {
    const machine = newMachine();
    set(machine, 'x', 'abc');
    const result = apply(machine, { kind: 'cas', key: 'x', expected: undefined, value: utf8('') });
    if (result.kind === 'mismatch') result.actual?.fill(0);
    expect(text(machine.get('x'))).toBe('abc');
  });

  it('asserts consecutive indexes', () => {
    const machine = newMachine();
    set(machine, 'x', '1');
    const payload = encodeCommand({ kind: 'delete', key: 'x' });
    expect(() => machine.apply(1, payload)).toThrow('one after the other');
    expect(() => machine.apply(3, payload)).toThrow('one after the other');
    expect(() => machine.noop(3)).toThrow('one after the other');
    machine.noop(2);
    expect(machine.apply(3, payload)).toEqual({ kind: 'ok', index: 3, existed: true });
  });

  it('stops at bytes that are no command, having applied nothing', () => {
    const machine = newMachine();
    expect(() => machine.apply(1, utf8('nonsense'))).toThrow(CorruptionError);
    expect(machine.applied).toBe(0);
  });

  it('agrees with a plain Map over 20,000 random commands', () => {
    const machine = newMachine();
    const random = new Random('model');
    const model = new Map<string, string>();
    for (let i = 1; i <= 20_000; i++) {
      const command = drawCommand(random, []);
      const result = apply(machine, command);
      if (command.kind === 'openSession') {
        expect(result).toEqual({ kind: 'session', id: i });
        continue;
      }
      const actual = model.get(command.key);
      if (command.kind === 'delete') {
        expect(result).toEqual({ kind: 'ok', index: i, existed: model.delete(command.key) });
      } else if (command.kind === 'cas' && actual !== (command.expected && latin1(command.expected))) {
        expect(result).toEqual({
          kind: 'mismatch',
          index: i,
          actual: actual === undefined ? undefined : fromLatin1(actual),
        });
      } else {
        expect(result).toEqual({ kind: 'ok', index: i });
        model.set(command.key, latin1(command.value));
      }
    }
    expect(machine.count).toBe(model.size);
    const rows = machine.scan('', 1_000, INFINITE).rows.map(({ key, value }) => [key, latin1(value)]);
    expect(rows).toEqual([...model].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
});

function filled(): KvMachine {
  const machine = newMachine();
  for (const key of ['a', 'b1', 'b2', 'b3', 'c', 'b\xff', '\xff', '\xff\xff']) set(machine, key, `<${key}>`);
  return machine;
}
const scanned = (
  machine: KvMachine,
  prefix: string,
  limit: number,
  bytesMax: number,
): (string | boolean)[] => {
  const { rows, more } = machine.scan(prefix, limit, bytesMax);
  return [...rows.map(({ key }) => key), more];
};

describe('KvMachine.scan()', () => {
  it('gives the rows under a prefix in byte order', () => {
    const machine = filled();
    expect(scanned(machine, 'b', 10, INFINITE)).toEqual(['b1', 'b2', 'b3', 'b\xff', false]);
    expect(scanned(machine, '\xff', 10, INFINITE)).toEqual(['\xff', '\xff\xff', false]);
    expect(scanned(machine, '', 100, INFINITE)).toHaveLength(9);
    expect(scanned(machine, 'd', 10, INFINITE)).toEqual([false]);
  });

  it('says whether there is more at its row limit', () => {
    const machine = filled();
    expect(scanned(machine, 'b', 3, INFINITE)).toEqual(['b1', 'b2', 'b3', true]);
    expect(scanned(machine, 'b', 4, INFINITE)).toEqual(['b1', 'b2', 'b3', 'b\xff', false]);
    expect(scanned(machine, 'b', 0, INFINITE)).toEqual([true]);
    expect(scanned(machine, 'd', 0, INFINITE)).toEqual([false]);
  });

  it('stops once its rows hold bytesMax, with at least one row', () => {
    const machine = filled();
    expect(scanned(machine, 'b', 10, 0)).toEqual(['b1', true]);
    expect(scanned(machine, 'b', 10, 6)).toEqual(['b1', true]);
    expect(scanned(machine, 'b', 10, 7)).toEqual(['b1', 'b2', true]);
    expect(scanned(machine, 'a', 10, 0)).toEqual(['a', false]);
  });

  it("crosses the engine's pages", () => {
    const machine = newMachine();
    for (let i = 0; i < 600; i++) set(machine, String(i).padStart(4, '0'), '');
    for (const limit of [255, 256, 257, 511, 512, 513, 599, 600, 601]) {
      const page = machine.scan('0', limit, INFINITE);
      expect(page.rows.map(({ key }) => Number(key))).toEqual(
        Array.from({ length: Math.min(limit, 600) }, (_, i) => i),
      );
      expect(page.more).toBe(limit < 600);
    }
  });
});

describe('KvMachine.stateHash()', () => {
  it('depends on the rows, not on the way to them', () => {
    const a = newMachine();
    const b = newMachine();
    const empty = a.stateHash();
    set(a, 'x', '1');
    set(a, 'y', '2');
    set(b, 'y', '0');
    set(b, 'z', '9');
    set(b, 'x', '1');
    expect(a.stateHash()).not.toBe(b.stateHash());
    apply(b, { kind: 'delete', key: 'z' });
    set(b, 'y', '2');
    expect(a.stateHash()).toBe(b.stateHash());
    expect(a.stateHash()).toMatch(/^[0-9a-f]{16}$/);
    for (const key of ['x', 'y']) apply(a, { kind: 'delete', key });
    expect(a.stateHash()).toBe(empty);
  });

  it('tells apart rows that run together the same', () => {
    const hashes = [
      [['ab', 'c']],
      [['a', 'bc']],
      [['', 'abc']],
      [['abc', '']],
      [
        ['a', 'c'],
        ['b', 'd'],
      ],
      [
        ['a', 'd'],
        ['b', 'c'],
      ],
      [['a', '\0']],
      [['a', '\0\0']],
      [['a\0', '']],
      [],
    ].map((rows) => {
      const machine = newMachine();
      for (const [key = '', value = ''] of rows) set(machine, key, value);
      return machine.stateHash();
    });
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it('has no collision in either half over 20,000 similar rows', () => {
    const high = new Set<string>();
    const low = new Set<string>();
    for (let i = 0; i < 20_000; i++) {
      const machine = newMachine();
      set(machine, 'key', String(i));
      high.add(machine.stateHash().slice(0, 8));
      low.add(machine.stateHash().slice(8));
    }
    // By the birthday bound, one such run in twenty has a collision in a 32-bit half.
    expect(high.size).toBeGreaterThanOrEqual(19_999);
    expect(low.size).toBeGreaterThanOrEqual(19_999);
  });
});

describe('KvMachine on two replicas', () => {
  it('gives equal results, hashes and snapshots for equal commands', () => {
    const machines = [newMachine(), newMachine()];
    drive(machines, new Random('determinism'), 5_000);
    const [a = newMachine(), b = newMachine()] = machines;
    expect(a.stateHash()).toBe(b.stateHash());
    expect([...a.snapshotLines()]).toEqual([...b.snapshotLines()]);
    expect(a.sessionCount).toBeGreaterThan(10);
  });
});

describe('KvMachine.snapshotLines(), restore()', () => {
  it('shows the state of its call, whatever is applied while the lines are walked', () => {
    const machine = newMachine();
    const { id } = openSession(machine);
    set(machine, 'a', '1');
    set(machine, 'b', '2');
    const before = [...machine.snapshotLines()];
    const lines = machine.snapshotLines();
    const walked = [lines.next().value];
    set(machine, 'a', '9');
    set(machine, 'c', '9');
    apply(machine, { kind: 'delete', key: 'b' });
    apply(machine, { kind: 'set', key: 'd', value: utf8('9'), session: { id, seq: 1, ackedBelow: 1 } });
    expect([...walked, ...lines]).toEqual(before);
  });

  it('round-trip every byte string, readable where it is text', () => {
    const machine = newMachine();
    HOSTILE_KEYS.forEach((key, i) =>
      apply(machine, { kind: 'set', key, value: HOSTILE_BYTES.at(-1 - i) ?? utf8('') }),
    );
    for (let b = 0; b < 256; b++)
      apply(machine, { kind: 'set', key: String.fromCharCode(b), value: Uint8Array.of(b) });
    set(machine, 'color', 'grün');
    const lines = [...machine.snapshotLines()];
    expect(lines).toContain('{"key":"color","value":"grün"}');
    expect(lines).toContain('{"key":{"base64":"/w=="},"value":{"base64":"/w=="}}');
    for (const line of lines) expect(line).not.toMatch(/[\r\n]/);
    const copy = restored(machine);
    expect(copy.stateHash()).toBe(machine.stateHash());
    expect([...copy.snapshotLines()]).toEqual(lines);
    expect([copy.applied, copy.count, copy.bytes]).toEqual([machine.applied, machine.count, machine.bytes]);
  });

  it('restore a machine that goes on exactly as the original', () => {
    const machine = newMachine();
    drive([machine], new Random('before'), 3_000);
    const copy = restored(machine);
    expect([...copy.snapshotLines()]).toEqual([...machine.snapshotLines()]);
    drive([machine, copy], new Random('after'), 3_000);
    expect(copy.stateHash()).toBe(machine.stateHash());
    expect([...copy.snapshotLines()]).toEqual([...machine.snapshotLines()]);
  });

  it('replace what was there before', () => {
    const machine = newMachine();
    set(machine, 'x', '1');
    const other = newMachine();
    drive([other], new Random('other'), 500);
    other.restore(machine.applied, machine.snapshotLines());
    expect(other.stateHash()).toBe(machine.stateHash());
    expect([other.count, other.sessionCount, other.applied]).toEqual([1, 0, 1]);
    expect(other.recentKeys(5)).toEqual(['x']);
  });

  it.each([
    ['no JSON', ['{"key":"a"'], 'line 1: '],
    ['no object', ['[]'], 'line 1: not an object'],
    ['null', ['null'], 'line 1: not an object'],
    ['a missing field', ['{"key":"a"}'], 'fields are key, expected key, value'],
    ['a further field', ['{"key":"a","value":"b","x":1}'], 'expected key, value'],
    ['a key of another type', ['{"key":1,"value":"b"}'], 'line 1: not an object'],
    ['a lone surrogate', ['{"key":"\\ud800","value":"b"}'], 'lone surrogate'],
    ['malformed base64', ['{"key":"a","value":{"base64":"/w="}}'], 'base64 is malformed'],
    ['base64 of plain text', ['{"key":"a","value":{"base64":"YQ=="}}'], 'text would do'],
    ['rows out of order', ['{"key":"b","value":""}', '{"key":"a","value":""}'], 'line 2: row out of order'],
    ['a row twice', ['{"key":"a","value":""}', '{"key":"a","value":""}'], 'line 2: row out of order'],
    [
      'a row after a session',
      ['{"session":1,"ackedBelow":0,"answers":[]}', '{"key":"a","value":""}'],
      'line 2: row out',
    ],
    [
      'a session from the future',
      ['{"session":11,"ackedBelow":0,"answers":[]}'],
      'session 11 cannot be there',
    ],
    [
      'a session twice',
      ['{"session":1,"ackedBelow":0,"answers":[]}', '{"session":1,"ackedBelow":0,"answers":[]}'],
      'line 2: session 1 cannot',
    ],
    [
      'an acknowledged answer',
      ['{"session":1,"ackedBelow":3,"answers":[{"seq":2,"kind":"ok","index":2}]}'],
      'session 1 cannot be there',
    ],
    [
      'an answer twice',
      [
        '{"session":1,"ackedBelow":0,"answers":[{"seq":2,"kind":"ok","index":2},{"seq":2,"kind":"ok","index":2}]}',
      ],
      'answer 2 is there twice',
    ],
    [
      'an answer of unknown kind',
      ['{"session":1,"ackedBelow":0,"answers":[{"seq":2,"kind":"?","index":2}]}'],
      'unknown',
    ],
    ['a fractional number', ['{"session":1.5,"ackedBelow":0,"answers":[]}'], 'session is not an integer'],
    ['answers that are no list', ['{"session":1,"ackedBelow":0,"answers":{}}'], 'answers are not a list'],
  ])('refuse %s', (_, lines, message) => {
    expect(() => newMachine().restore(10, lines)).toThrow(message);
    expect(() => newMachine().restore(10, lines)).toThrow(CorruptionError);
  });

  it('refuse, or take for what they say, lines with any one character changed', () => {
    const machine = newMachine();
    drive([machine], new Random('lines'), 300);
    const lines = [...machine.snapshotLines()];
    const random = new Random('line fuzz');
    let refusedCount = 0;
    for (let round = 0; round < 2_000; round++) {
      const i = random.int(0, lines.length - 1);
      const line = lines.at(i) ?? '';
      const at = random.int(0, line.length - 1);
      const changed = lines.with(
        i,
        line.slice(0, at) + String.fromCharCode(random.int(32, 126)) + line.slice(at + 1),
      );
      const copy = newMachine();
      try {
        copy.restore(machine.applied, changed);
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        refusedCount += 1;
        continue;
      }
      // What was accepted is a state whose own snapshot says the same.
      const again = [...copy.snapshotLines()].map((each) => JSON.stringify(JSON.parse(each)));
      expect(again).toEqual(changed.map((each) => JSON.stringify(JSON.parse(each))));
    }
    expect(refusedCount).toBeGreaterThan(200);
  });
});

describe('KvMachine.recentKeys()', () => {
  it('gives the live keys written last, newest first', () => {
    const machine = newMachine();
    for (const key of ['a', 'b', 'c', 'a']) set(machine, key, '1');
    expect(machine.recentKeys(2)).toEqual(['a', 'c']);
    apply(machine, { kind: 'delete', key: 'a' });
    expect(machine.recentKeys(9)).toEqual(['c', 'b']);
    set(machine, 'a', '2');
    expect(machine.recentKeys(9)).toEqual(['a', 'c', 'b']);
    expect(machine.recentKeys(0)).toEqual([]);
  });

  it('remembers a bounded number and fills up in key order', () => {
    const machine = newMachine();
    for (let i = 0; i < RECENT_KEYS_MAX + 8; i++) set(machine, `k${100 + i}`, '1');
    const keys = machine.recentKeys(RECENT_KEYS_MAX + 2);
    expect(keys.slice(0, 2)).toEqual(['k139', 'k138']);
    expect(keys.slice(RECENT_KEYS_MAX)).toEqual(['k100', 'k101']);
    expect(restored(machine).recentKeys(2)).toEqual(['k100', 'k101']);
  });
});
