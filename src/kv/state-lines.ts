/**
 * What a state machine holds beside the versions in its engine, as lines of JSON, readable with any tool. In this order:
 *
 *   {"revision":12,"compactedRevision":3,"keys":2,"bytes":9,"hash":"0011223344556677"}    the counters, once
 *   {"lease":"-7","ttlSeconds":60,"remainingMs":60000}                                    a lease, by id
 *   {"attachedTo":"-7","keyList":["a","b"]}                                               its keys, in order, some to a line
 *   {"session":17,"ackedBelow":3,"answers":[…]}                                           a session, least recently used first
 *
 * This file formats and parses single lines; state-machine.ts decides what a whole state is.
 */
import { fromLatin1, latin1 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import { bytesFromJson, bytesToJson, expectFields, fieldsOf, integer } from './json-fields.ts';
import type { Lease } from './leases.ts';
import { LEASE_TTL_SECONDS_MAX, LEASE_TTL_SECONDS_MIN } from './operation.ts';
import { parseSession } from './session-lines.ts';
import type { SessionState } from './sessions.ts';
import { FIRST_REVISION, type StoreCounters } from './store.ts';

/** Keys of a lease in one line. */
const KEYS_A_LINE = 256;

/** What one line holds. */
export type StateLine =
  | { readonly kind: 'counters'; readonly counters: StoreCounters }
  | { readonly kind: 'lease'; readonly id: bigint; readonly ttlSeconds: number; readonly remainingMs: number }
  | { readonly kind: 'keys'; readonly id: bigint; readonly keys: readonly string[] }
  | { readonly kind: 'session'; readonly session: SessionState };

/** The counters as a line, without a line end. */
export function countersLine(counters: StoreCounters): string {
  const { revision, compactedRevision, count, bytes, hash } = counters;
  return JSON.stringify({ revision, compactedRevision, keys: count, bytes, hash });
}

/** A lease with its keys as lines, without line ends. */
export function leaseLines(lease: Lease): readonly string[] {
  const { ttlSeconds, remainingMs } = lease;
  const id = String(lease.id);
  const lines = [JSON.stringify({ lease: id, ttlSeconds, remainingMs })];
  const keys = [...lease.keys].toSorted();
  for (let first = 0; first < keys.length; first += KEYS_A_LINE) {
    const keyList = keys.slice(first, first + KEYS_A_LINE).map((key) => bytesToJson(fromLatin1(key)));
    lines.push(JSON.stringify({ attachedTo: id, keyList }));
  }
  return lines;
}

/**
 * Reads a line. What it returns is in memory of its own.
 *
 * @param number the line's position, from 1, for the message
 * @throws CorruptionError unless the line is exactly what is written here, in any spacing
 */
export function parseStateLine(line: string, number: number): StateLine {
  try {
    const fields = fieldsOf(JSON.parse(line));
    if (fields.has('revision')) return parseCounters(fields);
    if (fields.has('lease')) return parseLease(fields);
    if (fields.has('attachedTo')) return parseKeys(fields);
    return { kind: 'session', session: parseSession(fields) };
  } catch (error) {
    if (!(error instanceof CorruptionError || error instanceof SyntaxError)) throw error;
    throw corruptState(number, error.message);
  }
}

/** The error for line `number`, which says something that no state has. */
export function corruptState(number: number, state: string): CorruptionError {
  return new CorruptionError(`Cannot restore state: line ${number}: ${state}`);
}

function parseCounters(fields: ReadonlyMap<string, unknown>): StateLine {
  expectFields(fields, ['revision', 'compactedRevision', 'keys', 'bytes', 'hash']);
  const hash = fields.get('hash');
  if (typeof hash !== 'string' || !/^[0-9a-f]{16}$/.test(hash)) {
    throw new CorruptionError('hash is not sixteen digits');
  }
  const counters = {
    revision: integer(fields, 'revision', FIRST_REVISION),
    compactedRevision: integer(fields, 'compactedRevision', 0),
    count: integer(fields, 'keys', 0),
    bytes: integer(fields, 'bytes', 0),
    hash,
  };
  if (counters.compactedRevision > counters.revision) {
    throw new CorruptionError('compacted beyond its revision');
  }
  return { kind: 'counters', counters };
}

function parseLease(fields: ReadonlyMap<string, unknown>): StateLine {
  expectFields(fields, ['lease', 'ttlSeconds', 'remainingMs']);
  const ttlSeconds = integer(fields, 'ttlSeconds', LEASE_TTL_SECONDS_MIN);
  if (ttlSeconds > LEASE_TTL_SECONDS_MAX) throw new CorruptionError('ttlSeconds is too large');
  return {
    kind: 'lease',
    id: leaseId(fields, 'lease'),
    ttlSeconds,
    remainingMs: integer(fields, 'remainingMs', 1),
  };
}

function parseKeys(fields: ReadonlyMap<string, unknown>): StateLine {
  expectFields(fields, ['attachedTo', 'keyList']);
  const list = fields.get('keyList');
  if (!Array.isArray(list) || list.length === 0 || list.length > KEYS_A_LINE) {
    throw new CorruptionError('keyList is not a list of keys');
  }
  const keys = list.map((item) => latin1(bytesFromJson(item)));
  return { kind: 'keys', id: leaseId(fields, 'attachedTo'), keys };
}

/** An id is text, because JSON's numbers cannot hold all of them. */
function leaseId(fields: ReadonlyMap<string, unknown>, name: string): bigint {
  const text = fields.get(name);
  if (typeof text !== 'string' || !/^-?[1-9]\d{0,18}$/.test(text)) {
    throw new CorruptionError(`${name} is not an id`);
  }
  const id = BigInt(text);
  if (BigInt.asIntN(64, id) !== id) throw new CorruptionError(`${name} is out of 64 bits`);
  return id;
}
