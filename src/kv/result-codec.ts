/**
 * The binary form of what operations and queries answer, laid out as operation-codec.ts says. Each result has exactly one
 * form.
 */
import { assert, at, unreachable } from '../lib/assert.ts';
import { BinaryReader, BinaryWriter } from './binary.ts';
import {
  type DeleteRangeResult,
  type KeyValue,
  type LeaseInfo,
  type OperationResult,
  type PutResult,
  type QueryResult,
  type RangeResult,
  type Refusal,
  type RefusalReason,
  TXN_OPERATIONS_MAX,
  type TxnResult,
  type TxnStepResult,
} from './operation.ts';

const CODE_PUT = 0x31;
const CODE_DELETE_RANGE = 0x32;
const CODE_TXN = 0x33;
const CODE_COMPACT = 0x34;
const CODE_LEASE_GRANT = 0x35;
const CODE_LEASE_KEEP_ALIVE = 0x36;
const CODE_LEASE_REVOKE = 0x37;
const CODE_LEASE_CHECKPOINT = 0x38;
const CODE_RANGE = 0x41;
const CODE_LEASE_TIME_TO_LIVE = 0x42;
const CODE_LEASES = 0x43;
const CODE_HASH = 0x44;
const CODE_PAGE = 0x45;
const CODE_REFUSED = 0x4f;

const REASONS: readonly RefusalReason[] = [
  'emptyKey',
  'valueProvided',
  'leaseProvided',
  'tooManyOperations',
  'duplicateKey',
  'keyNotFound',
  'leaseNotFound',
  'leaseExists',
  'ttlTooLarge',
  'tooManyLeases',
  'compacted',
  'futureRevision',
  'rangeTooLarge',
];

const DEPTH_MAX = TXN_OPERATIONS_MAX + 1;
/** A list is bounded by the bytes that it lies in. */
const ANY_NUMBER = 0xffff_ffff;
/** Least bytes of a row, of the answer to a step, of a key. */
const ROW_BYTES_MIN = 40;
const STEP_BYTES_MIN = 10;
const KEY_BYTES_MIN = 4;
const ID_BYTES = 8;

/** Encodes the result of an operation, in memory of its own. */
export function encodeOperationResult(result: OperationResult): Uint8Array {
  const writer = new BinaryWriter();
  writeOperationResult(writer, result);
  return writer.finish();
}

/**
 * Decodes the result of an operation. Values in it are views of `bytes`.
 *
 * @throws OxideError `bad_request` when the bytes are not one
 */
export function decodeOperationResult(bytes: Uint8Array): OperationResult {
  const reader = new BinaryReader(bytes, 'result of an operation');
  const result = readOperationResult(reader);
  reader.end();
  return result;
}

/** Encodes the result of a query, in memory of its own. */
export function encodeQueryResult(result: QueryResult): Uint8Array {
  const writer = new BinaryWriter();
  writeQueryResult(writer, result);
  return writer.finish();
}

/**
 * Decodes the result of a query. Values in it are views of `bytes`.
 *
 * @throws OxideError `bad_request` when the bytes are not one
 */
export function decodeQueryResult(bytes: Uint8Array): QueryResult {
  const reader = new BinaryReader(bytes, 'result of a query');
  const result = readQueryResult(reader);
  reader.end();
  return result;
}

function writeOperationResult(writer: BinaryWriter, result: OperationResult): void {
  switch (result.kind) {
    case 'put':
    case 'deleteRange':
    case 'txn':
      return writeStepResult(writer, result);
    case 'compact':
      return writeHead(writer, CODE_COMPACT, result.revision);
    case 'leaseGrant':
    case 'leaseKeepAlive':
      writeHead(
        writer,
        result.kind === 'leaseGrant' ? CODE_LEASE_GRANT : CODE_LEASE_KEEP_ALIVE,
        result.revision,
      );
      writer.bigInteger(result.id);
      return writer.integer(result.ttlSeconds);
    case 'leaseRevoke':
      writeHead(writer, CODE_LEASE_REVOKE, result.revision);
      return writer.bigInteger(result.id);
    case 'leaseCheckpoint':
      return writeHead(writer, CODE_LEASE_CHECKPOINT, result.revision);
    case 'refused':
      return writeRefusal(writer, result);
    default:
      return unreachable(result);
  }
}

function readOperationResult(reader: BinaryReader): OperationResult {
  const code = reader.byte();
  switch (code) {
    case CODE_PUT:
      return readPutResult(reader);
    case CODE_DELETE_RANGE:
      return readDeleteRangeResult(reader);
    case CODE_TXN:
      return readTxnResult(reader, 1);
    case CODE_COMPACT:
      return { kind: 'compact', revision: reader.integer() };
    case CODE_LEASE_GRANT:
    case CODE_LEASE_KEEP_ALIVE: {
      const kind = code === CODE_LEASE_GRANT ? 'leaseGrant' : 'leaseKeepAlive';
      const revision = reader.integer();
      return { kind, revision, id: reader.bigInteger(), ttlSeconds: reader.integer() };
    }
    case CODE_LEASE_REVOKE:
      return { kind: 'leaseRevoke', revision: reader.integer(), id: reader.bigInteger() };
    case CODE_LEASE_CHECKPOINT:
      return { kind: 'leaseCheckpoint', revision: reader.integer() };
    case CODE_REFUSED:
      return readRefusal(reader);
    default:
      throw reader.refused(`kind is 0x${code.toString(16)}`);
  }
}

function writeQueryResult(writer: BinaryWriter, result: QueryResult): void {
  switch (result.kind) {
    case 'range':
    case 'txn':
      return writeStepResult(writer, result);
    case 'page':
      writeHead(writer, CODE_PAGE, result.revision);
      writer.byte(result.more ? 1 : 0);
      return writeRows(writer, result.rows);
    case 'leaseTimeToLive':
      writeHead(writer, CODE_LEASE_TIME_TO_LIVE, result.revision);
      writer.bigInteger(result.id);
      return writeLeaseInfo(writer, result.lease);
    case 'leases':
      writeHead(writer, CODE_LEASES, result.revision);
      writer.count(result.ids.length);
      for (const id of result.ids) writer.bigInteger(id);
      return undefined;
    case 'hash':
      assert(isHash(result.hash), 'A hash is sixteen digits');
      writeHead(writer, CODE_HASH, result.revision);
      writer.integer(result.compactedRevision);
      return writer.text(result.hash);
    case 'refused':
      return writeRefusal(writer, result);
    default:
      return unreachable(result);
  }
}

function readQueryResult(reader: BinaryReader): QueryResult {
  const code = reader.byte();
  switch (code) {
    case CODE_RANGE:
      return readRangeResult(reader);
    case CODE_TXN:
      return readTxnResult(reader, 1);
    case CODE_PAGE: {
      const revision = reader.integer();
      const more = reader.flags(1) !== 0;
      return { kind: 'page', revision, rows: readRows(reader), more };
    }
    case CODE_LEASE_TIME_TO_LIVE: {
      const revision = reader.integer();
      return { kind: 'leaseTimeToLive', revision, id: reader.bigInteger(), lease: readLeaseInfo(reader) };
    }
    case CODE_LEASES: {
      const revision = reader.integer();
      const ids: bigint[] = [];
      for (let left = reader.count(ANY_NUMBER, ID_BYTES); left > 0; left--) ids.push(reader.bigInteger());
      return { kind: 'leases', revision, ids };
    }
    case CODE_HASH: {
      const revision = reader.integer();
      const compactedRevision = reader.integer();
      const hash = reader.text();
      if (!isHash(hash)) throw reader.refused('not a hash');
      return { kind: 'hash', revision, compactedRevision, hash };
    }
    case CODE_REFUSED:
      return readRefusal(reader);
    default:
      throw reader.refused(`kind is 0x${code.toString(16)}`);
  }
}

function writeStepResult(writer: BinaryWriter, result: TxnStepResult): void {
  switch (result.kind) {
    case 'range':
      writeHead(writer, CODE_RANGE, result.revision);
      writer.integer(result.count);
      writer.byte(result.more ? 1 : 0);
      return writeRows(writer, result.rows);
    case 'put':
      writeHead(writer, CODE_PUT, result.revision);
      writer.byte(result.previous === undefined ? 0 : 1);
      return result.previous === undefined ? undefined : writeRow(writer, result.previous);
    case 'deleteRange':
      writeHead(writer, CODE_DELETE_RANGE, result.revision);
      writer.integer(result.deleted);
      return writeRows(writer, result.previous);
    case 'txn':
      writeHead(writer, CODE_TXN, result.revision);
      writer.byte(result.succeeded ? 1 : 0);
      writer.count(result.responses.length);
      for (const response of result.responses) writeStepResult(writer, response);
      return undefined;
    default:
      return unreachable(result);
  }
}

function readStepResult(reader: BinaryReader, depth: number): TxnStepResult {
  const code = reader.byte();
  switch (code) {
    case CODE_RANGE:
      return readRangeResult(reader);
    case CODE_PUT:
      return readPutResult(reader);
    case CODE_DELETE_RANGE:
      return readDeleteRangeResult(reader);
    case CODE_TXN:
      return readTxnResult(reader, depth);
    default:
      throw reader.refused(`kind of answer is 0x${code.toString(16)}`);
  }
}

function readRangeResult(reader: BinaryReader): RangeResult {
  const revision = reader.integer();
  const count = reader.integer();
  const more = reader.flags(1) !== 0;
  return { kind: 'range', revision, rows: readRows(reader), more, count };
}

function readPutResult(reader: BinaryReader): PutResult {
  const revision = reader.integer();
  const previous = reader.flags(1) === 0 ? undefined : readRow(reader);
  return { kind: 'put', revision, previous };
}

function readDeleteRangeResult(reader: BinaryReader): DeleteRangeResult {
  const revision = reader.integer();
  const deleted = reader.integer();
  return { kind: 'deleteRange', revision, deleted, previous: readRows(reader) };
}

function readTxnResult(reader: BinaryReader, depth: number): TxnResult {
  if (depth > DEPTH_MAX) throw reader.refused(`transactions are nested deeper than ${DEPTH_MAX}`);
  const revision = reader.integer();
  const succeeded = reader.flags(1) !== 0;
  const responses: TxnStepResult[] = [];
  for (let left = reader.count(ANY_NUMBER, STEP_BYTES_MIN); left > 0; left--)
    responses.push(readStepResult(reader, depth + 1));
  return { kind: 'txn', revision, succeeded, responses };
}

function writeRefusal(writer: BinaryWriter, refusal: Refusal): void {
  writeHead(writer, CODE_REFUSED, refusal.revision);
  writer.integer(refusal.compactedRevision);
  writer.byte(REASONS.indexOf(refusal.reason));
}

function readRefusal(reader: BinaryReader): Refusal {
  const revision = reader.integer();
  const compactedRevision = reader.integer();
  return { kind: 'refused', reason: at(REASONS, reader.choice(REASONS.length)), revision, compactedRevision };
}

function writeLeaseInfo(writer: BinaryWriter, lease: LeaseInfo | undefined): void {
  writer.byte(lease === undefined ? 0 : 1);
  if (lease === undefined) return;
  writer.integer(lease.grantedTtlSeconds);
  writer.integer(lease.remainingMs);
  writer.count(lease.keys.length);
  for (const key of lease.keys) writer.text(key);
}

function readLeaseInfo(reader: BinaryReader): LeaseInfo | undefined {
  if (reader.flags(1) === 0) return undefined;
  const grantedTtlSeconds = reader.integer();
  const remainingMs = reader.integer();
  const keys: string[] = [];
  for (let left = reader.count(ANY_NUMBER, KEY_BYTES_MIN); left > 0; left--) keys.push(reader.text());
  return { grantedTtlSeconds, remainingMs, keys };
}

function writeRows(writer: BinaryWriter, rows: readonly KeyValue[]): void {
  writer.count(rows.length);
  for (const row of rows) writeRow(writer, row);
}

function readRows(reader: BinaryReader): readonly KeyValue[] {
  const rows: KeyValue[] = [];
  for (let left = reader.count(ANY_NUMBER, ROW_BYTES_MIN); left > 0; left--) rows.push(readRow(reader));
  return rows;
}

function writeRow(writer: BinaryWriter, row: KeyValue): void {
  writer.text(row.key);
  writer.integer(row.createRevision);
  writer.integer(row.modRevision);
  writer.integer(row.version);
  writer.bigInteger(row.lease);
  writer.bytes(row.value);
}

function readRow(reader: BinaryReader): KeyValue {
  return {
    key: reader.text(),
    createRevision: reader.integer(),
    modRevision: reader.integer(),
    version: reader.integer(),
    lease: reader.bigInteger(),
    value: reader.bytes(),
  };
}

function writeHead(writer: BinaryWriter, code: number, revision: number): void {
  writer.byte(code);
  writer.integer(revision);
}

function isHash(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text);
}
