/**
 * The language of the JSON-lines door: one line to a request, a reply to one line. Knows nothing of sockets.
 *
 *   {"Set":{"key":"a","value":"1"}}                        {"status":"ok","index":7}
 *   {"Get":{"key":"a"}}                                    {"status":"ok","data":"1"} | {"status":"not_found"}
 *   {"Delete":{"key":"a"}}                                 {"status":"ok","index":8,"existed":true}
 *   {"Scan":{"prefix":"a","limit":10}}                     {"status":"ok","data":[{"key":"a","value":"1"}],"more":false}
 *   {"Cas":{"key":"a","expected":"1"|null,"value":"2"}}    {"status":"ok","index":9} |
 *                                                          {"status":"error","code":"compare_failed","message":"…","actual":"3"|null}
 *   "OpenSession" | {"OpenSession":{}}                     {"status":"ok","session":17}
 *   "Status" | {"Status":{}}                               {"status":"ok","data":{"raft":{"id":1,…},"data_bytes":42,…}}
 *
 * Names on the wire are snake_case. `"session":{"id":17,"seq":3,"acked_below":2}` in Set, Delete and Cas makes a retry
 * harmless. `"encoding":"base64"` in a body makes its key, prefix, value and expected base64, and the reply's data
 * too; without it, data that is not UTF-8 comes back as base64. A reply with base64 in it says `"encoding":"base64"`.
 */
import { textOf, utf8 } from '../lib/bytes.ts';
import { unreachable } from '../lib/assert.ts';
import { OxideError } from '../lib/errors.ts';
import { LIMITS } from '../net/protocol.ts';
import type { KeyValue, LeaderHint, NodeStatus, Reply, Request, SessionTag } from '../net/protocol.ts';
import { parseJson, quoted } from './json-parser.ts';
import type { JsonValue } from './json-parser.ts';

/** A request and how its reply is to be written. */
export interface DecodedRequest {
  readonly request: Request;
  /** Write the reply's data as base64 even if it is UTF-8. */
  readonly base64: boolean;
}

/** Rows of a `Scan` without a limit of its own. */
const SCAN_ROWS_DEFAULT = 1000;

const FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['Set', ['key', 'value', 'session', 'encoding']],
  ['Get', ['key', 'encoding']],
  ['Delete', ['key', 'session', 'encoding']],
  ['Scan', ['prefix', 'limit', 'encoding']],
  ['Cas', ['key', 'expected', 'value', 'session', 'encoding']],
  ['OpenSession', []],
  ['Status', []],
]);

/**
 * Reads a request. The bytes in it are its own.
 *
 * @param line without its end
 * @throws OxideError `bad_request` when it is malformed: the sender does not speak this language, and what follows is
 * not to be trusted; `too_large` when it is well-formed and over a limit
 */
export function decodeRequest(line: Uint8Array): DecodedRequest {
  const text = textOf(line);
  if (text === undefined) throw new OxideError('bad_request', 'Cannot read request: it is not UTF-8');
  const { operation, members } = tagged(parseJson(text));
  const body = new Body(operation, members);
  return { request: requestOf(body), base64: body.base64 };
}

function requestOf(body: Body): Request {
  switch (body.operation) {
    case 'Set':
      return { kind: 'set', key: body.key('key'), value: body.value('value'), ...body.session() };
    case 'Get':
      return { kind: 'get', key: body.key('key') };
    case 'Delete':
      return { kind: 'delete', key: body.key('key'), ...body.session() };
    case 'Scan':
      return { kind: 'scan', prefix: body.key('prefix'), limit: body.limit() };
    case 'Cas':
      return {
        kind: 'cas',
        key: body.key('key'),
        expected: body.isNull('expected') ? undefined : body.value('expected'),
        value: body.value('value'),
        ...body.session(),
      };
    case 'OpenSession':
      return { kind: 'openSession' };
    case 'Status':
      return { kind: 'status' };
    default:
      return refuse(
        `unknown operation ${quoted(body.operation)}, known are ${[...FIELDS.keys()].join(', ')}`,
      );
  }
}

/** Takes the external tag off: `{"Get":{…}}`, or `"Status"` for an operation without fields. */
function tagged(value: JsonValue): { operation: string; members: ReadonlyMap<string, JsonValue> } {
  if (typeof value === 'string') return { operation: value, members: new Map() };
  if (!(value instanceof Map)) return refuse('an object with one operation expected');
  const [first, ...others] = [...value];
  if (first === undefined || others.length > 0) {
    return refuse(`one operation expected, found ${value.size}`);
  }
  const [operation, members] = first;
  if (!(members instanceof Map)) return refuse(`the body of ${quoted(operation)} must be an object`);
  return { operation, members };
}

/** The fields of one operation, read with their types and limits. */
class Body {
  readonly operation: string;
  readonly base64: boolean;
  readonly #members: ReadonlyMap<string, JsonValue>;

  constructor(operation: string, members: ReadonlyMap<string, JsonValue>) {
    const known = FIELDS.get(operation);
    for (const name of members.keys()) {
      if (known?.includes(name) === false) refuse(`unknown field ${quoted(name)} in "${operation}"`);
    }
    const encoding = members.get('encoding');
    if (encoding !== undefined && encoding !== 'base64')
      refuse('field "encoding" must be "base64" or left out');
    this.operation = operation;
    this.base64 = encoding === 'base64';
    this.#members = members;
  }

  key(name: string): Uint8Array {
    return this.#bytes(name, LIMITS.keyBytesMax, 'keyBytesMax');
  }

  value(name: string): Uint8Array {
    return this.#bytes(name, LIMITS.valueBytesMax, 'valueBytesMax');
  }

  isNull(name: string): boolean {
    return this.#members.get(name) === null;
  }

  limit(): number {
    if (!this.#members.has('limit')) return SCAN_ROWS_DEFAULT;
    const limit = integer(this.#members, 'limit', 1);
    if (limit > LIMITS.scanRowsMax) tooLarge('limit', limit, 'scanRowsMax', LIMITS.scanRowsMax);
    return limit;
  }

  session(): { readonly session?: SessionTag } {
    const value = this.#members.get('session');
    if (value === undefined) return {};
    if (!(value instanceof Map)) return refuse('field "session" must be an object');
    for (const name of value.keys()) {
      if (!['id', 'seq', 'acked_below'].includes(name)) refuse(`unknown field ${quoted(name)} in "session"`);
    }
    const id = integer(value, 'id', 1);
    const seq = integer(value, 'seq', 1);
    const ackedBelow = integer(value, 'acked_below', 0);
    if (ackedBelow > seq) refuse('field "acked_below" must not be above "seq"');
    return { session: { id, seq, ackedBelow } };
  }

  #bytes(name: string, bytesMax: number, limit: string): Uint8Array {
    const value = this.#members.get(name);
    if (value === undefined) return refuse(`missing field "${name}"`);
    if (typeof value !== 'string') return refuse(`field "${name}" must be a string`);
    const bytes = this.base64 ? fromBase64(value, name) : utf8(value);
    if (bytes.length > bytesMax) tooLarge(name, bytes.length, limit, bytesMax);
    return bytes;
  }
}

function integer(members: ReadonlyMap<string, JsonValue>, name: string, min: number): number {
  const value = members.get(name);
  if (value === undefined) return refuse(`missing field "${name}"`);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    return refuse(`field "${name}" must be an integer from ${min} to 2^53 - 1`);
  }
  return value;
}

/** Only the canonical form: Node's decoder by itself skips whatever it does not know. */
function fromBase64(text: string, name: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) refuse(`field "${name}" is not canonical base64`);
  return new Uint8Array(bytes); // a copy: small buffers are windows into Node's shared pool
}

function refuse(what: string): never {
  throw new OxideError('bad_request', `Cannot read request: ${what}`);
}

function tooLarge(field: string, actual: number, limit: string, max: number): never {
  throw new OxideError('too_large', `Cannot accept request: ${field} is ${actual}, ${limit} is ${max}`);
}

/**
 * Writes a reply as one line, without its end.
 *
 * @param base64 whether the request asked for base64
 */
export function encodeReply(reply: Reply, base64: boolean): string {
  switch (reply.kind) {
    case 'ok':
      return reply.existed === undefined
        ? `{"status":"ok","index":${reply.index}}`
        : `{"status":"ok","index":${reply.index},"existed":${reply.existed}}`;
    case 'value':
      return encodeValue(reply.value, base64);
    case 'rows':
      return encodeRows(reply.rows, reply.more, base64);
    case 'session':
      return `{"status":"ok","session":${reply.id}}`;
    case 'leader':
      return `{"status":"ok","leader":${reply.leader}}`;
    case 'status':
      return JSON.stringify({ status: 'ok', data: wireStatus(reply.status) });
    case 'mismatch':
      return encodeMismatch(reply.actual, base64);
    case 'error':
      if (reply.code === 'not_leader') return encodeNotLeader(reply.leader);
      return JSON.stringify({ status: 'error', code: reply.code, message: reply.message });
    default:
      return unreachable(reply);
  }
}

function encodeValue(value: Uint8Array | undefined, base64: boolean): string {
  if (value === undefined) return '{"status":"not_found"}';
  const text = base64 ? undefined : textOf(value);
  if (text === undefined) return `{"status":"ok","data":"${toBase64(value)}","encoding":"base64"}`;
  return `{"status":"ok","data":${JSON.stringify(text)}}`;
}

/** One encoding for all rows: the first that is not UTF-8 makes all of them base64. */
function encodeRows(rows: readonly KeyValue[], more: boolean, base64: boolean): string {
  const texts: string[] = [];
  for (const row of base64 ? [] : rows) {
    const key = textOf(row.key);
    const value = textOf(row.value);
    if (key === undefined || value === undefined) return encodeRows(rows, more, true);
    texts.push(`{"key":${JSON.stringify(key)},"value":${JSON.stringify(value)}}`);
  }
  if (!base64) return `{"status":"ok","data":[${texts.join(',')}],"more":${more}}`;
  for (const row of rows) texts.push(`{"key":"${toBase64(row.key)}","value":"${toBase64(row.value)}"}`);
  return `{"status":"ok","data":[${texts.join(',')}],"more":${more},"encoding":"base64"}`;
}

function encodeMismatch(actual: Uint8Array | undefined, base64: boolean): string {
  const error = { status: 'error', code: 'compare_failed' };
  if (actual === undefined) {
    return JSON.stringify({ ...error, message: 'Cannot compare and set: the key is absent', actual: null });
  }
  const message = 'Cannot compare and set: the key holds another value';
  const text = base64 ? undefined : textOf(actual);
  if (text !== undefined) return JSON.stringify({ ...error, message, actual: text });
  return JSON.stringify({ ...error, message, actual: toBase64(actual), encoding: 'base64' });
}

function encodeNotLeader(leader: LeaderHint | undefined): string {
  const hint = leader === undefined ? null : { id: leader.id, client: leader.client };
  return JSON.stringify({ error: 'Not a leader. Please connect to the leader node.', leader: hint });
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** {@link NodeStatus} as it is, in snake_case. A timer that never fires is null: JSON has no infinity. */
function wireStatus(status: NodeStatus): object {
  const { raft, leader } = status;
  return {
    raft: {
      id: raft.id,
      role: raft.role === 'preCandidate' ? 'pre_candidate' : raft.role,
      term: raft.term,
      vote: raft.vote,
      leader: raft.leader,
      commit: raft.commit,
      applied: raft.applied,
      first: raft.first,
      last: { index: raft.last.index, term: raft.last.term },
      durable: raft.durable,
      deadline_ms: Number.isFinite(raft.deadlineMs) ? raft.deadlineMs : null,
      peers: raft.peers.map(({ id, mode, match, next }) => ({ id, mode, match, next })),
      votes: raft.votes,
    },
    leader: leader === undefined ? null : { id: leader.id, client: leader.client },
    client: status.client,
    keys: status.keys,
    data_bytes: status.dataBytes,
    wal_bytes: status.walBytes,
    snapshot_index: status.snapshotIndex,
    storage: status.storage,
  };
}
