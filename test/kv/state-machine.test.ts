import { describe, expect, it } from 'vitest';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Command } from '../../src/kv/command.ts';
import type { Operation, OperationResult, Put } from '../../src/kv/operation.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import { defined } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';
import { drawOperation, drawRangeQuery } from '../support/kv-draw.ts';
import { KvModel } from '../support/kv-model.ts';
import { ModelEngine } from '../support/model-engine.ts';

function applyCommand(machine: StateMachine, command: Command): ReturnType<StateMachine['apply']> {
  return machine.apply(machine.applied + 1, encodeCommand(command));
}

function apply(machine: StateMachine, operation: Operation): OperationResult {
  const answer = applyCommand(machine, { kind: 'operation', operation });
  if (answer.kind !== 'operation') expect.fail(answer.kind);
  return answer.result;
}

function put(key: string, value: string, lease = 0n): Put {
  const flags = { prevKv: false, ignoreValue: false, ignoreLease: false };
  return { kind: 'put', key, value: utf8(value), lease, ...flags };
}

/** An operation in the session that was opened first. */
function once(seq: number, operation: Operation): Command {
  return { kind: 'operation', operation, session: { id: 1, seq, ackedBelow: 0 } };
}

/** A machine that goes on from the lines of another, on the same versions. */
function restored(machine: StateMachine, versions: ModelEngine): StateMachine {
  const engine = new ModelEngine();
  for (const version of versions.versions) engine.put(version);
  const copy = new StateMachine(engine);
  copy.restore(machine.applied, machine.stateLines());
  return copy;
}

describe('StateMachine', () => {
  it.each(['model', 'memory'])(
    'agrees with a copy of the map for every revision, on the %s engine',
    (name) => {
      for (let seed = 1; seed <= 6; seed++) {
        const random = new Random(`revisions ${seed}`);
        const engine = name === 'model' ? new ModelEngine() : new MemoryEngine();
        const machine = new StateMachine(engine);
        const model = new KvModel();
        for (let i = 0; i < 400; i++) {
          const operation = drawOperation(random, model.revision);
          expect(apply(machine, operation), `seed ${seed}, operation ${i}`).toEqual(model.apply(operation));
          expect(machine.revision).toBe(model.revision);
          if (random.chance(0.3)) engine.work();
          const query = drawRangeQuery(random, model.revision);
          const isReadable = query.revision <= 0 || query.revision >= model.compactedRevision;
          if (isReadable && query.revision <= model.revision) {
            expect(machine.query(query), `seed ${seed}, query ${i}`).toEqual(model.range(query));
          } else {
            expect(machine.query(query).kind).toBe('refused');
          }
        }
        let bytes = 0;
        for (const { key, value } of model.rows.values()) bytes += key.length + value.length;
        expect([machine.count, machine.bytes]).toEqual([model.rows.size, bytes]);
      }
    },
  );

  it('gives equal lines and hashes for equal commands, and goes on from its lines as if nothing had been', () => {
    const random = new Random('restore');
    const engines = [new ModelEngine(), new ModelEngine()] as const;
    const machine = new StateMachine(engines[0]);
    let other = new StateMachine(engines[1]);
    let source = engines[1];
    const sessions: number[] = [];
    for (let i = 0; i < 600; i++) {
      const operation = drawOperation(random, machine.revision);
      const id = sessions.at(random.int(0, Math.max(0, sessions.length - 1)));
      const session =
        id === undefined ? {} : { session: { id, seq: random.int(1, 40), ackedBelow: random.int(0, 9) } };
      const command: Command = random.chance(0.02)
        ? { kind: 'openSession' }
        : { kind: 'operation', operation, ...(random.chance(0.5) ? session : {}) };
      const result = applyCommand(machine, command);
      expect(applyCommand(other, command)).toEqual(result);
      if (result.kind === 'session') sessions.push(result.id);
      expect(other.stateHash()).toBe(machine.stateHash());
      if (i % 40 !== 0) continue;
      expect(other.stateLines()).toEqual(machine.stateLines());
      const engine = new ModelEngine();
      for (const version of source.versions) engine.put(version);
      const next = new StateMachine(engine);
      next.restore(other.applied, other.stateLines());
      expect(next.stateHash()).toBe(machine.stateHash());
      expect(next.query({ kind: 'hash', revision: 0 })).toEqual(machine.query({ kind: 'hash', revision: 0 }));
      other = next;
      source = engine;
    }
    expect(machine.sessionCount).toBeGreaterThan(3);
    expect(machine.revision).toBeGreaterThan(150);
  });

  it('hashes every field, the leases and the revisions', () => {
    const hashes = new Set<string>();
    const lines: readonly (readonly Operation[])[] = [
      [],
      [put('a', '1')],
      [put('a', '2')],
      [put('b', '1')],
      [put('a', '1'), put('a', '1')],
      [put('b', '1'), put('a', '1')],
      [{ kind: 'leaseGrant', id: 7n, ttlSeconds: 60 }],
      [{ kind: 'leaseGrant', id: 7n, ttlSeconds: 61 }],
      [{ kind: 'leaseGrant', id: -7n, ttlSeconds: 60 }],
      [{ kind: 'leaseGrant', id: 7n + 2n ** 32n, ttlSeconds: 60 }],
      [{ kind: 'leaseGrant', id: 7n, ttlSeconds: 60 }, put('a', '1', 7n)],
      [{ kind: 'leaseGrant', id: 7n, ttlSeconds: 60 }, put('a', '1')],
      [
        { kind: 'leaseGrant', id: 7n, ttlSeconds: 60 },
        { kind: 'leaseCheckpoint', remaining: [{ id: 7n, remainingMs: 5 }] },
      ],
      [{ kind: 'compact', revision: 1 }],
      [put('a', '1'), { kind: 'deleteRange', range: { start: 'a', end: 'b' }, prevKv: false }],
    ];
    for (const operations of lines) {
      const machine = new StateMachine(new ModelEngine());
      for (const operation of operations) apply(machine, operation);
      hashes.add(machine.stateHash());
    }
    expect(hashes.size).toBe(lines.length);
  });

  it('remembers the answer of an operation, refusals too, over a restore', () => {
    const engine = new ModelEngine();
    let machine = new StateMachine(engine);
    applyCommand(machine, { kind: 'openSession' });
    const first = applyCommand(machine, once(1, { ...put('a', '1'), prevKv: true }));
    const refused = applyCommand(machine, once(2, put('a', '2', 9n)));
    const deleted = applyCommand(
      machine,
      once(3, { kind: 'deleteRange', range: { start: '', end: undefined }, prevKv: true }),
    );
    apply(machine, { kind: 'leaseGrant', id: 9n, ttlSeconds: 5 });
    machine = restored(machine, engine);
    const { revision } = machine;
    expect(applyCommand(machine, once(1, put('a', '1')))).toEqual(first);
    expect(applyCommand(machine, once(2, put('a', '2', 9n)))).toEqual(refused);
    expect(applyCommand(machine, once(3, put('a', '3')))).toEqual(deleted);
    expect(machine.revision).toBe(revision);
    expect(refused).toMatchObject({ result: { kind: 'refused', reason: 'leaseNotFound' } });
  });

  it('refuses lines that are cut, doubled, out of order or changed in any one character', () => {
    const engine = new ModelEngine();
    const machine = new StateMachine(engine);
    applyCommand(machine, { kind: 'openSession' });
    apply(machine, { kind: 'leaseGrant', id: 7n, ttlSeconds: 60 });
    apply(machine, { kind: 'leaseGrant', id: -8n, ttlSeconds: 60 });
    apply(machine, put('\xff', '1', 7n));
    apply(machine, put('k', '1', 7n));
    const lines = machine.stateLines();
    const restore = (given: readonly string[]): (() => void) => {
      return () => new StateMachine(engine).restore(machine.applied, given);
    };
    expect(restore(lines)).not.toThrow();
    for (let i = 0; i < lines.length; i++) {
      const line = defined(lines[i], 'line');
      // Without a lease that has no keys, or without a session, it is another state, and a state all the same.
      const isNeeded = line.includes('"revision"') || line.includes('"lease":"7"');
      if (isNeeded) expect(restore(lines.toSpliced(i, 1)), line).toThrow(CorruptionError);
      expect(restore(lines.toSpliced(i, 0, line))).toThrow(CorruptionError);
      if (i > 0)
        expect(restore([...lines.slice(1, i + 1), ...lines.slice(0, 1), ...lines.slice(i + 1)])).toThrow(
          CorruptionError,
        );
      for (let at = 0; at < line.length; at++) {
        const changed = `${line.slice(0, at)}~${line.slice(at + 1)}`;
        const isText = /"(?:keyList|hash)"/.test(line);
        if (!isText) expect(restore(lines.with(i, changed)), changed).toThrow(CorruptionError);
      }
    }
    expect(restore([])).toThrow(CorruptionError);
  });

  it('refuses what is no command, and has applied nothing', () => {
    const machine = new StateMachine(new ModelEngine());
    expect(() => machine.apply(1, Uint8Array.of(0x15, 0, 0x99))).toThrow(CorruptionError);
    expect(machine.applied).toBe(0);
  });

  it('says when so much history has gathered that it is worth a compaction', () => {
    const machine = new StateMachine(new ModelEngine());
    for (let i = 0; i < 12; i++) apply(machine, put('a', String(i)));
    expect(machine.historyDue(10)).toBeUndefined();
    for (let i = 0; i < 2; i++) apply(machine, put('a', String(i)));
    const due = defined(machine.historyDue(10), 'revision');
    expect(machine.revision - due).toBe(9);
    expect(apply(machine, { kind: 'compact', revision: due }).kind).toBe('compact');
    expect(machine.historyDue(10)).toBeUndefined();
  });

  it('lists the keys that were written last, and others where those are too few', () => {
    const engine = new ModelEngine();
    const machine = new StateMachine(engine);
    for (const key of ['c', 'a', 'b', 'd']) apply(machine, put(key, '1'));
    apply(machine, put('a', '2'));
    apply(machine, { kind: 'deleteRange', range: { start: 'd', end: undefined }, prevKv: false });
    expect(machine.recentKeys(2)).toEqual(['a', 'b']);
    expect(machine.recentKeys(9)).toEqual(['a', 'b', 'c']);
    expect(restored(machine, engine).recentKeys(2)).toEqual(['a', 'b']);
  });

  it('pages through a prefix by rows and by bytes', () => {
    const machine = new StateMachine(new MemoryEngine());
    for (const key of ['p1', 'p2', 'p3', 'q1']) apply(machine, put(key, '12345678'));
    expect(machine.scan('p', 9, 1e9).rows.map(({ key }) => key)).toEqual(['p1', 'p2', 'p3']);
    expect(machine.scan('p', 2, 1e9)).toMatchObject({ more: true, rows: [{ key: 'p1' }, { key: 'p2' }] });
    expect(machine.scan('p', 9, 1)).toMatchObject({ more: true, rows: [{ key: 'p1' }] });
    expect(machine.scan('p', 3, 30)).toMatchObject({ more: false });
  });
});
