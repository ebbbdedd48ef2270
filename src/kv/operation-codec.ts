/**
 * The binary form of operations, as log entries and frames carry them, and of queries. Each has exactly one form:
 *
 *   byte strings    length u32, bytes                 integers   eight bytes, two's complement
 *   key range       0 start · 1 start end · 2 key     lists      count u32, items
 *
 * all little-endian, behind one byte for the kind. The codes are in the switches below; result-codec.ts has those of the
 * answers.
 */
import { assert, at, unreachable } from '../lib/assert.ts';
import type { KeyRange } from '../storage/version-engine.ts';
import { BinaryReader, BinaryWriter } from './binary.ts';
import {
  type Compare,
  type CompareResult,
  type DeleteRange,
  type LeaseCheckpoint,
  type LeaseGrant,
  type Operation,
  type Put,
  type Query,
  type RangeQuery,
  type SortOrder,
  type SortTarget,
  TXN_OPERATIONS_MAX,
  type Txn,
  type TxnStep,
  isReadOnly,
  keyOnly,
  singleKeyOf,
} from './operation.ts';

/**
 * Items that a list of a transaction or a checkpoint may have here: more than the state machine allows, so that a
 * transaction that is too large gets its own answer.
 */
const LIST_MAX = 4_096;
/** A transaction deeper than this has more operations than any may have. */
const DEPTH_MAX = TXN_OPERATIONS_MAX + 1;

const CODE_PUT = 0x11;
const CODE_DELETE_RANGE = 0x12;
const CODE_TXN = 0x13;
const CODE_COMPACT = 0x14;
const CODE_LEASE_GRANT = 0x15;
const CODE_LEASE_KEEP_ALIVE = 0x16;
const CODE_LEASE_REVOKE = 0x17;
const CODE_LEASE_CHECKPOINT = 0x18;
const CODE_RANGE = 0x21;
const CODE_LEASE_TIME_TO_LIVE = 0x22;
const CODE_LEASES = 0x23;
const CODE_HASH = 0x24;
const CODE_PAGE = 0x25;

const RANGE_FROM = 0;
const RANGE_BETWEEN = 1;
const RANGE_KEY = 2;

const FLAG_PREV_KV = 1;
const FLAG_IGNORE_VALUE = 2;
const FLAG_IGNORE_LEASE = 4;
const FLAG_KEYS_ONLY = 1;
const FLAG_COUNT_ONLY = 2;
const FLAG_KEYS = 1;

const SORT_TARGETS: readonly SortTarget[] = ['key', 'version', 'createRevision', 'modRevision', 'value'];
const SORT_ORDERS: readonly SortOrder[] = ['none', 'ascending', 'descending'];
const COMPARE_RESULTS: readonly CompareResult[] = ['equal', 'notEqual', 'greater', 'less'];
const COMPARE_KINDS: readonly Compare['kind'][] = [
  'version',
  'createRevision',
  'modRevision',
  'value',
  'lease',
];

/** Least bytes of a compare, of a step and of what is left of a lease. */
const COMPARE_BYTES_MIN = 11;
const STEP_BYTES_MIN = 7;
const REMAINING_BYTES = 16;

/**
 * Encodes an operation, in memory of its own. Its numbers must be in range, its keys latin-1, and
 * operation-checks.ts must find nothing wrong with it: a transaction of any depth cannot be encoded.
 */
export function encodeOperation(operation: Operation): Uint8Array {
  const writer = new BinaryWriter();
  writeOperation(writer, operation);
  return writer.finish();
}

/**
 * Decodes an operation that begins at `offset` and ends with `bytes`. Values in it are views of `bytes`, which must not
 * change while they are in use.
 *
 * @throws OxideError `bad_request` when the bytes are not one
 */
export function decodeOperation(bytes: Uint8Array, offset = 0): Operation {
  const reader = new BinaryReader(bytes, 'operation', offset);
  const operation = readOperation(reader);
  reader.end();
  return operation;
}

/** Encodes a query, in memory of its own. */
export function encodeQuery(query: Query): Uint8Array {
  const writer = new BinaryWriter();
  switch (query.kind) {
    case 'range':
    case 'txn':
      assert(query.kind === 'range' || isReadOnly(query), 'A query does not write');
      writeStep(writer, query, 1);
      break;
    case 'page':
      writer.byte(CODE_PAGE);
      writeKeyRange(writer, query.range);
      writer.integer(query.revision);
      break;
    case 'leaseTimeToLive':
      writer.byte(CODE_LEASE_TIME_TO_LIVE);
      writer.bigInteger(query.id);
      writer.byte(query.keys ? FLAG_KEYS : 0);
      break;
    case 'leases':
      writer.byte(CODE_LEASES);
      break;
    case 'hash':
      writer.byte(CODE_HASH);
      writer.integer(query.revision);
      break;
    default:
      unreachable(query);
  }
  return writer.finish();
}

/**
 * Decodes a query. Values in it are views of `bytes`.
 *
 * @throws OxideError `bad_request` when the bytes are not one, or for a transaction that could write
 */
export function decodeQuery(bytes: Uint8Array): Query {
  const reader = new BinaryReader(bytes, 'query');
  const query = readQuery(reader);
  reader.end();
  return query;
}

function readQuery(reader: BinaryReader): Query {
  const code = reader.byte();
  switch (code) {
    case CODE_RANGE:
      return readRangeQuery(reader);
    case CODE_TXN: {
      const txn = readTxn(reader, 1);
      if (!isReadOnly(txn)) throw reader.refused('a transaction that writes');
      return txn;
    }
    case CODE_PAGE:
      return { kind: 'page', range: readKeyRange(reader), revision: reader.integer() };
    case CODE_LEASE_TIME_TO_LIVE:
      return { kind: 'leaseTimeToLive', id: reader.bigInteger(), keys: reader.flags(FLAG_KEYS) !== 0 };
    case CODE_LEASES:
      return { kind: 'leases' };
    case CODE_HASH:
      return { kind: 'hash', revision: reader.integer() };
    default:
      throw reader.refused(`kind is 0x${code.toString(16)}`);
  }
}

function writeOperation(writer: BinaryWriter, operation: Operation): void {
  switch (operation.kind) {
    case 'put':
    case 'deleteRange':
    case 'txn':
      return writeStep(writer, operation, 1);
    case 'compact':
      writer.byte(CODE_COMPACT);
      return writer.integer(operation.revision);
    case 'leaseGrant':
      assert(operation.id !== 0n, 'A lease has an id');
      writer.byte(CODE_LEASE_GRANT);
      writer.bigInteger(operation.id);
      return writer.integer(operation.ttlSeconds);
    case 'leaseKeepAlive':
      writer.byte(CODE_LEASE_KEEP_ALIVE);
      return writer.bigInteger(operation.id);
    case 'leaseRevoke':
      writer.byte(CODE_LEASE_REVOKE);
      return writer.bigInteger(operation.id);
    case 'leaseCheckpoint':
      return writeLeaseCheckpoint(writer, operation);
    default:
      return unreachable(operation);
  }
}

function readOperation(reader: BinaryReader): Operation {
  const code = reader.byte();
  switch (code) {
    case CODE_PUT:
      return readPut(reader);
    case CODE_DELETE_RANGE:
      return readDeleteRange(reader);
    case CODE_TXN:
      return readTxn(reader, 1);
    case CODE_COMPACT:
      return { kind: 'compact', revision: reader.integer() };
    case CODE_LEASE_GRANT:
      return readLeaseGrant(reader);
    case CODE_LEASE_KEEP_ALIVE:
      return { kind: 'leaseKeepAlive', id: reader.bigInteger() };
    case CODE_LEASE_REVOKE:
      return { kind: 'leaseRevoke', id: reader.bigInteger() };
    case CODE_LEASE_CHECKPOINT:
      return readLeaseCheckpoint(reader);
    default:
      throw reader.refused(`kind is 0x${code.toString(16)}`);
  }
}

function writeStep(writer: BinaryWriter, step: TxnStep, depth: number): void {
  switch (step.kind) {
    case 'range':
      return writeRangeQuery(writer, step);
    case 'put':
      return writePut(writer, step);
    case 'deleteRange':
      writer.byte(CODE_DELETE_RANGE);
      writeKeyRange(writer, step.range);
      return writer.byte(step.prevKv ? FLAG_PREV_KV : 0);
    case 'txn':
      return writeTxn(writer, step, depth);
    default:
      return unreachable(step);
  }
}

function readStep(reader: BinaryReader, depth: number): TxnStep {
  const code = reader.byte();
  switch (code) {
    case CODE_RANGE:
      return readRangeQuery(reader);
    case CODE_PUT:
      return readPut(reader);
    case CODE_DELETE_RANGE:
      return readDeleteRange(reader);
    case CODE_TXN:
      return readTxn(reader, depth);
    default:
      throw reader.refused(`kind of step is 0x${code.toString(16)}`);
  }
}

function writePut(writer: BinaryWriter, put: Put): void {
  writer.byte(CODE_PUT);
  writer.text(put.key);
  writer.bytes(put.value);
  writer.bigInteger(put.lease);
  writer.byte(
    (put.prevKv ? FLAG_PREV_KV : 0) |
      (put.ignoreValue ? FLAG_IGNORE_VALUE : 0) |
      (put.ignoreLease ? FLAG_IGNORE_LEASE : 0),
  );
}

function readPut(reader: BinaryReader): Put {
  const key = reader.text();
  const value = reader.bytes();
  const lease = reader.bigInteger();
  const flags = reader.flags(FLAG_PREV_KV | FLAG_IGNORE_VALUE | FLAG_IGNORE_LEASE);
  return {
    kind: 'put',
    key,
    value,
    lease,
    prevKv: (flags & FLAG_PREV_KV) !== 0,
    ignoreValue: (flags & FLAG_IGNORE_VALUE) !== 0,
    ignoreLease: (flags & FLAG_IGNORE_LEASE) !== 0,
  };
}

function readDeleteRange(reader: BinaryReader): DeleteRange {
  return { kind: 'deleteRange', range: readKeyRange(reader), prevKv: reader.flags(FLAG_PREV_KV) !== 0 };
}

function writeRangeQuery(writer: BinaryWriter, query: RangeQuery): void {
  writer.byte(CODE_RANGE);
  writeKeyRange(writer, query.range);
  writer.integer(query.revision);
  writer.integer(query.limit);
  writer.byte(SORT_TARGETS.indexOf(query.sortTarget));
  writer.byte(SORT_ORDERS.indexOf(query.sortOrder));
  writer.integer(query.minModRevision);
  writer.integer(query.maxModRevision);
  writer.integer(query.minCreateRevision);
  writer.integer(query.maxCreateRevision);
  writer.byte((query.keysOnly ? FLAG_KEYS_ONLY : 0) | (query.countOnly ? FLAG_COUNT_ONLY : 0));
}

function readRangeQuery(reader: BinaryReader): RangeQuery {
  const range = readKeyRange(reader);
  const revision = reader.integer();
  const limit = reader.integer();
  const sortTarget = at(SORT_TARGETS, reader.choice(SORT_TARGETS.length));
  const sortOrder = at(SORT_ORDERS, reader.choice(SORT_ORDERS.length));
  const minModRevision = reader.integer();
  const maxModRevision = reader.integer();
  const minCreateRevision = reader.integer();
  const maxCreateRevision = reader.integer();
  const flags = reader.flags(FLAG_KEYS_ONLY | FLAG_COUNT_ONLY);
  return {
    kind: 'range',
    range,
    revision,
    limit,
    sortTarget,
    sortOrder,
    minModRevision,
    maxModRevision,
    minCreateRevision,
    maxCreateRevision,
    keysOnly: (flags & FLAG_KEYS_ONLY) !== 0,
    countOnly: (flags & FLAG_COUNT_ONLY) !== 0,
  };
}

function writeTxn(writer: BinaryWriter, txn: Txn, depth: number): void {
  assert(depth <= DEPTH_MAX, 'A transaction has a bounded depth');
  writer.byte(CODE_TXN);
  writer.count(txn.compares.length);
  for (const compare of txn.compares) writeCompare(writer, compare);
  for (const branch of [txn.success, txn.failure]) {
    assert(branch.length <= LIST_MAX, 'A branch has a bounded length');
    writer.count(branch.length);
    for (const step of branch) writeStep(writer, step, depth + 1);
  }
}

function readTxn(reader: BinaryReader, depth: number): Txn {
  if (depth > DEPTH_MAX) throw reader.refused(`transactions are nested deeper than ${DEPTH_MAX}`);
  const compares: Compare[] = [];
  for (let left = reader.count(LIST_MAX, COMPARE_BYTES_MIN); left > 0; left--)
    compares.push(readCompare(reader));
  const success = readBranch(reader, depth);
  return { kind: 'txn', compares, success, failure: readBranch(reader, depth) };
}

function readBranch(reader: BinaryReader, depth: number): readonly TxnStep[] {
  const steps: TxnStep[] = [];
  for (let left = reader.count(LIST_MAX, STEP_BYTES_MIN); left > 0; left--)
    steps.push(readStep(reader, depth + 1));
  return steps;
}

function writeCompare(writer: BinaryWriter, compare: Compare): void {
  writer.byte(COMPARE_KINDS.indexOf(compare.kind));
  writer.byte(COMPARE_RESULTS.indexOf(compare.result));
  writeKeyRange(writer, compare.range);
  if (compare.kind === 'value') writer.bytes(compare.operand);
  else if (compare.kind === 'lease') writer.bigInteger(compare.operand);
  else writer.integer(compare.operand);
}

function readCompare(reader: BinaryReader): Compare {
  const kind = at(COMPARE_KINDS, reader.choice(COMPARE_KINDS.length));
  const result = at(COMPARE_RESULTS, reader.choice(COMPARE_RESULTS.length));
  const range = readKeyRange(reader);
  if (kind === 'value') return { kind, range, result, operand: reader.bytes() };
  if (kind === 'lease') return { kind, range, result, operand: reader.bigInteger() };
  return { kind, range, result, operand: reader.integer() };
}

function readLeaseGrant(reader: BinaryReader): LeaseGrant {
  const id = reader.bigInteger();
  if (id === 0n) throw reader.refused('a lease without an id');
  return { kind: 'leaseGrant', id, ttlSeconds: reader.integer() };
}

function writeLeaseCheckpoint(writer: BinaryWriter, checkpoint: LeaseCheckpoint): void {
  assert(checkpoint.remaining.length <= LIST_MAX, 'A checkpoint has a bounded number of leases');
  writer.byte(CODE_LEASE_CHECKPOINT);
  writer.count(checkpoint.remaining.length);
  for (const { id, remainingMs } of checkpoint.remaining) {
    assert(remainingMs >= 1, 'Something is left of the lease');
    writer.bigInteger(id);
    writer.integer(remainingMs);
  }
}

function readLeaseCheckpoint(reader: BinaryReader): LeaseCheckpoint {
  const remaining = [];
  for (let left = reader.count(LIST_MAX, REMAINING_BYTES); left > 0; left--) {
    const id = reader.bigInteger();
    const remainingMs = reader.integer();
    if (remainingMs < 1) throw reader.refused(`${remainingMs} ms are left of a lease, expected at least 1`);
    remaining.push({ id, remainingMs });
  }
  return { kind: 'leaseCheckpoint', remaining };
}

function writeKeyRange(writer: BinaryWriter, range: KeyRange): void {
  const key = singleKeyOf(range);
  if (key !== undefined) {
    writer.byte(RANGE_KEY);
    return writer.text(key);
  }
  writer.byte(range.end === undefined ? RANGE_FROM : RANGE_BETWEEN);
  writer.text(range.start);
  if (range.end !== undefined) writer.text(range.end);
}

function readKeyRange(reader: BinaryReader): KeyRange {
  const form = reader.choice(3);
  const start = reader.text();
  if (form === RANGE_KEY) return keyOnly(start);
  if (form === RANGE_FROM) return { start, end: undefined };
  const range = { start, end: reader.text() };
  if (singleKeyOf(range) !== undefined) throw reader.refused('a range that has a shorter form');
  return range;
}
