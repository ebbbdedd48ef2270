import { describe, expect, it } from 'vitest';
import { decodeCommand, encodeCommand } from '../../src/kv/command-codec.ts';
import { checkOperation } from '../../src/kv/operation-checks.ts';
import { decodeOperation, decodeQuery, encodeOperation, encodeQuery } from '../../src/kv/operation-codec.ts';
import {
  type Operation,
  type OperationResult,
  type Put,
  type Query,
  type QueryResult,
  TXN_OPERATIONS_MAX,
  TXN_TREE_OPERATIONS_MAX,
  type Txn,
  isReadOnly,
  keyOnly,
  keyRange,
  singleKeyOf,
} from '../../src/kv/operation.ts';
import {
  decodeOperationResult,
  decodeQueryResult,
  encodeOperationResult,
  encodeQueryResult,
} from '../../src/kv/result-codec.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import { concatBytes, equalBytes, utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, OxideError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { drawOperation, drawRangeQuery, drawTxn } from '../support/kv-draw.ts';
import { ModelEngine } from '../support/model-engine.ts';

const PUT: Put = {
  kind: 'put',
  key: 'k',
  value: utf8('v'),
  lease: 0n,
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
};

/** A form with its way there and back. */
interface Form<T> {
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => T;
}

const OPERATION: Form<Operation> = { encode: encodeOperation, decode: decodeOperation };
const QUERY: Form<Query> = { encode: encodeQuery, decode: decodeQuery };
const OPERATION_RESULT: Form<OperationResult> = {
  encode: encodeOperationResult,
  decode: decodeOperationResult,
};
const QUERY_RESULT: Form<QueryResult> = { encode: encodeQueryResult, decode: decodeQueryResult };

/** Whether the bytes are refused; if not, they must be the one form of what they say. */
function isRefused<T>({ encode, decode }: Form<T>, bytes: Uint8Array): boolean {
  let value: T;
  try {
    value = decode(bytes);
  } catch (error) {
    if (error instanceof OxideError && error.code === 'bad_request') return true;
    throw error;
  }
  if (!equalBytes(encode(value), bytes)) expect.fail(`two forms: ${Buffer.from(bytes).toString('hex')}`);
  return false;
}

/** Round trip, every truncation, every flipped bit, one byte too many. */
function attack<T>(form: Form<T>, value: T): void {
  const bytes = form.encode(value);
  expect(form.decode(bytes)).toEqual(value);
  for (let length = 0; length < bytes.length; length++) {
    if (!isRefused(form, bytes.subarray(0, length))) expect.fail(`cut to ${length} bytes`);
  }
  expect(isRefused(form, concatBytes([bytes, Uint8Array.of(0)]))).toBe(true);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    isRefused(form, flipped);
  }
}

/** Operations and queries as they come, with what a machine answers. */
function draws(count: number): {
  operations: Operation[];
  queries: Query[];
  results: OperationResult[];
  answers: QueryResult[];
} {
  const random = new Random('codec');
  const machine = new StateMachine(new ModelEngine());
  const all = { operations: [], queries: [], results: [], answers: [] } as ReturnType<typeof draws>;
  for (let i = 0; i < count; i++) {
    const operation = drawOperation(random, machine.revision);
    const answer = machine.apply(i + 1, encodeCommand({ kind: 'operation', operation }));
    if (answer.kind !== 'operation') expect.fail(answer.kind);
    const reads = drawTxn(random, machine.revision);
    const queries: Query[] = [
      drawRangeQuery(random, machine.revision),
      { kind: 'leaseTimeToLive', id: BigInt(random.int(-6, -1)), keys: true },
      { kind: 'leases' },
      { kind: 'hash', revision: random.int(0, machine.revision + 1) },
      ...(isReadOnly(reads) ? [reads] : []),
    ];
    all.operations.push(operation);
    all.results.push(answer.result);
    all.queries.push(...queries);
    all.answers.push(...queries.map((query) => machine.query(query)));
  }
  return all;
}

describe('the codecs of operations, queries and results', () => {
  const { operations, queries, results, answers } = draws(30);

  it('give back every operation, and refuse or take for what they say bytes that are cut or changed', () => {
    for (const operation of operations) attack(OPERATION, operation);
  });

  it('do so for queries', () => {
    for (const query of queries) attack(QUERY, query);
  });

  it('do so for results of operations', () => {
    for (const result of results) attack(OPERATION_RESULT, result);
  });

  it('do so for results of queries', () => {
    for (const answer of answers) attack(QUERY_RESULT, answer);
  });

  it('take numbers up to their limits', () => {
    const max = Number.MAX_SAFE_INTEGER;
    for (const revision of [max, -max, 0, -1, 2 ** 32, -(2 ** 32)]) {
      attack(OPERATION, { kind: 'compact', revision });
    }
    for (const id of [2n ** 63n - 1n, -(2n ** 63n), 1n]) attack(OPERATION, { kind: 'leaseRevoke', id });
    const unsafe = encodeOperation({ kind: 'compact', revision: max });
    expect(() => decodeOperation(unsafe.fill(0xff, 1, 8).fill(0x7f, 8))).toThrow('safe range');
    expect(() => encodeOperation({ kind: 'compact', revision: 2 ** 53 })).toThrow('safe range');
    expect(() => encodeOperation({ kind: 'leaseGrant', id: 0n, ttlSeconds: 1 })).toThrow('has an id');
    expect(() => encodeOperation({ ...PUT, key: 'Ā' })).toThrow('one byte a character');
    expect(() => encodeOperation({ ...PUT, lease: 2n ** 63n })).toThrow('64 bits');
  });

  it('refuse what would make a reader large or deep', () => {
    const huge = Uint8Array.of(0x13, 0xff, 0xff, 0xff, 0xff);
    expect(() => decodeOperation(huge)).toThrow('items are too many');
    const level = Uint8Array.of(0x13, 0, 0, 0, 0, 1, 0, 0, 0);
    const deep = concatBytes(Array.from({ length: 100_000 }, () => level));
    expect(() => decodeOperation(deep)).toThrow(OxideError);
    expect(() =>
      decodeQuery(encodeOperation({ kind: 'txn', compares: [], success: [PUT], failure: [] })),
    ).toThrow('a transaction that writes');
  });

  it('carry an operation in a log entry, with a session or without; there, bad bytes are corruption', () => {
    for (const operation of operations) {
      const plain = { kind: 'operation', operation } as const;
      const session = { id: 3, seq: 4, ackedBelow: 2 };
      expect(decodeCommand(encodeCommand(plain))).toEqual(plain);
      expect(decodeCommand(encodeCommand({ ...plain, session }))).toEqual({ ...plain, session });
      const bytes = encodeCommand({ ...plain, session });
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeCommand(bytes.subarray(0, length))).toThrow(CorruptionError);
      }
    }
  });
});

describe('keyRange()', () => {
  it('means what etcd means by a key and a range end', () => {
    expect(keyRange('', 'x')).toBeUndefined();
    expect(keyRange('a', '')).toEqual({ start: 'a', end: 'a\0' });
    expect(keyRange('a', '\0')).toEqual({ start: 'a', end: undefined });
    expect(keyRange('\0', '\0')).toEqual({ start: '', end: undefined });
    expect(keyRange('a', 'c')).toEqual({ start: 'a', end: 'c' });
    expect(keyRange('c', 'a')).toEqual({ start: 'c', end: 'a' });
    expect(singleKeyOf(keyOnly('a\0'))).toBe('a\0');
    expect(singleKeyOf({ start: 'a', end: 'b\0' })).toBeUndefined();
    expect(singleKeyOf({ start: 'a', end: 'a\0\0' })).toBeUndefined();
  });
});

function puts(count: number): readonly Put[] {
  return Array.from({ length: count }, (_, i) => ({ ...PUT, key: `k${i}` }));
}

function txn(success: Txn['success'], failure: Txn['failure'] = []): Txn {
  return { kind: 'txn', compares: [], success, failure };
}

describe('checkOperation()', () => {
  it('allows a list TXN_OPERATIONS_MAX steps, and what is nested no more than its parents leave', () => {
    expect(checkOperation(txn(puts(TXN_OPERATIONS_MAX), puts(TXN_OPERATIONS_MAX)))).toBeUndefined();
    expect(checkOperation(txn(puts(TXN_OPERATIONS_MAX + 1)))).toBe('tooManyOperations');
    expect(checkOperation(txn([], puts(TXN_OPERATIONS_MAX + 1)))).toBe('tooManyOperations');
    expect(checkOperation(txn([txn(puts(TXN_OPERATIONS_MAX - 1))]))).toBeUndefined();
    expect(checkOperation(txn([txn(puts(TXN_OPERATIONS_MAX))]))).toBe('tooManyOperations');
    const compares = Array.from({ length: TXN_OPERATIONS_MAX + 1 }, () => ({
      kind: 'version' as const,
      range: keyOnly('a'),
      result: 'equal' as const,
      operand: 0,
    }));
    expect(checkOperation({ ...txn([]), compares })).toBe('tooManyOperations');
  });

  it('allows nesting as deep as one step a level, which can be encoded', () => {
    let deep = txn([]);
    for (let i = 0; i < TXN_OPERATIONS_MAX; i++) deep = txn([deep]);
    expect(checkOperation(deep)).toBeUndefined();
    expect(decodeOperation(encodeOperation(deep))).toEqual(deep);
    expect(checkOperation(txn([deep]))).toBe('tooManyOperations');
  });

  it('allows a whole tree no more than TXN_TREE_OPERATIONS_MAX', () => {
    const child = txn(
      Array.from({ length: 64 }, (_, i) => ({
        kind: 'deleteRange',
        range: keyOnly(String(i)),
        prevKv: false,
      })),
    );
    const count = Math.floor(TXN_TREE_OPERATIONS_MAX / 65);
    expect(checkOperation(txn(Array.from({ length: count }, () => child)))).toBeUndefined();
    expect(checkOperation(txn(Array.from({ length: count + 1 }, () => child)))).toBe('tooManyOperations');
  });
});
