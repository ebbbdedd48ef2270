/**
 * How requests are laid out as fields of a frame: a code, then what the variant needs. A session is the last three
 * fields, present or absent together.
 */
import { unreachable } from '../lib/assert.ts';
import type { MemberChange } from '../raft/membership.ts';
import type { Field, FrameReader, FrameWriter } from './frame.ts';
import { NumberedNames } from './frame.ts';
import type { Request, SessionTag } from './protocol.ts';
import { LIMITS } from './protocol.ts';

const SET = 1;
const DELETE = 2;
const CAS_VALUE = 3;
const CAS_ABSENT = 4;
const OPEN_SESSION = 5;
const GET = 6;
const SCAN = 7;
const STATUS = 8;
const CHANGE_MEMBERS = 9;
const TRANSFER_LEADER = 10;
const COMPACT = 11;
const OPERATION = 12;
const QUERY = 13;

const CHANGES = new NumberedNames<MemberChange['kind']>({
  add: 1,
  addLearner: 2,
  promote: 3,
  remove: 4,
  addWitness: 5,
});

/** The fields of a request. Its byte strings go to `writer`. */
export function requestFields(request: Request, writer: FrameWriter): readonly Field[] {
  switch (request.kind) {
    case 'set': {
      const fields = [SET, writer.bytes(request.key), writer.bytes(request.value)];
      return withSession(fields, request.session);
    }
    case 'delete':
      return withSession([DELETE, writer.bytes(request.key)], request.session);
    case 'cas': {
      const key = writer.bytes(request.key);
      const fields =
        request.expected === undefined
          ? [CAS_ABSENT, key, writer.bytes(request.value)]
          : [CAS_VALUE, key, writer.bytes(request.expected), writer.bytes(request.value)];
      return withSession(fields, request.session);
    }
    case 'operation':
      return withSession([OPERATION, writer.bytes(request.operation)], request.session);
    case 'query':
      return [QUERY, writer.bytes(request.query)];
    case 'openSession':
      return [OPEN_SESSION];
    case 'get':
      return [GET, writer.bytes(request.key)];
    case 'scan':
      return [SCAN, writer.bytes(request.prefix), request.limit];
    case 'status':
      return [STATUS];
    case 'changeMembers': {
      const fields: Field[] = [CHANGE_MEMBERS, request.changes.length];
      for (const change of request.changes) {
        const address = 'address' in change ? change.address : '';
        fields.push(CHANGES.numberOf(change.kind), change.node, writer.text(address));
      }
      return fields;
    }
    case 'transferLeader':
      return [TRANSFER_LEADER, request.to];
    case 'compact':
      return [COMPACT];
    default:
      return unreachable(request);
  }
}

/** Reads a request; undefined when its code is unknown or it is over a limit. Its byte strings are views of the frame. */
export function readRequest(reader: FrameReader): Request | undefined {
  switch (reader.integer()) {
    case SET: {
      const key = readKey(reader);
      const value = readValue(reader);
      if (key.length + value.length > LIMITS.requestBytesMax) return undefined;
      const session = readSession(reader);
      return session === undefined ? { kind: 'set', key, value } : { kind: 'set', key, value, session };
    }
    case DELETE: {
      const key = readKey(reader);
      const session = readSession(reader);
      return session === undefined ? { kind: 'delete', key } : { kind: 'delete', key, session };
    }
    case CAS_VALUE:
      return readCas(reader, true);
    case CAS_ABSENT:
      return readCas(reader, false);
    case OPERATION: {
      const operation = reader.bytes(LIMITS.requestBytesMax);
      const session = readSession(reader);
      return session === undefined
        ? { kind: 'operation', operation }
        : { kind: 'operation', operation, session };
    }
    case QUERY:
      return { kind: 'query', query: reader.bytes(LIMITS.requestBytesMax) };
    case OPEN_SESSION:
      return { kind: 'openSession' };
    case GET:
      return { kind: 'get', key: readKey(reader) };
    case SCAN:
      return { kind: 'scan', prefix: readKey(reader), limit: reader.integer(0, LIMITS.scanRowsMax) };
    case STATUS:
      return { kind: 'status' };
    case CHANGE_MEMBERS:
      return readChanges(reader);
    case TRANSFER_LEADER:
      return { kind: 'transferLeader', to: reader.integer(0, LIMITS.nodeIdMax) };
    case COMPACT:
      return { kind: 'compact' };
    default:
      return undefined;
  }
}

function readChanges(reader: FrameReader): Request {
  const count = reader.integer(0, LIMITS.memberChangesMax);
  const changes: MemberChange[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    const kind = reader.name(CHANGES);
    const node = reader.integer(1, LIMITS.nodeIdMax);
    const address = reader.text();
    const isAddition = kind === 'add' || kind === 'addLearner' || kind === 'addWitness';
    if (address.length > LIMITS.addressCharsMax || (!isAddition && address !== '')) reader.reject();
    changes.push(isAddition ? { kind, node, address } : { kind, node });
  }
  return { kind: 'changeMembers', changes };
}

function readCas(reader: FrameReader, hasExpected: boolean): Request | undefined {
  const key = readKey(reader);
  const expected = hasExpected ? readValue(reader) : undefined;
  const value = readValue(reader);
  if (key.length + (expected?.length ?? 0) + value.length > LIMITS.requestBytesMax) return undefined;
  const session = readSession(reader);
  return session === undefined
    ? { kind: 'cas', key, expected, value }
    : { kind: 'cas', key, expected, value, session };
}

function readKey(reader: FrameReader): Uint8Array {
  return reader.bytes(LIMITS.keyBytesMax);
}

function readValue(reader: FrameReader): Uint8Array {
  return reader.bytes(LIMITS.valueBytesMax);
}

function withSession(fields: number[], session: SessionTag | undefined): readonly Field[] {
  if (session !== undefined) fields.push(session.id, session.seq, session.ackedBelow);
  return fields;
}

function readSession(reader: FrameReader): SessionTag | undefined {
  if (!reader.hasField) return undefined;
  return { id: reader.integer(1), seq: reader.integer(1), ackedBelow: reader.integer() };
}
