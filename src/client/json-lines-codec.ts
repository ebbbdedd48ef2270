/**
 * The client's side of the JSON-lines language (server/json-codec.ts describes it): requests to text, answers from
 * lines. Keys and values travel as base64, so that any bytes arrive as they are.
 */
import { textOf, utf8 } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';
import type { ErrorCode } from '../lib/errors.ts';
import { LIMITS } from '../net/protocol.ts';
import type { KeyValue, SessionTag } from '../net/protocol.ts';

/** A request as text, checked against every limit; {@link lineOf} makes a line of it for each attempt. */
export interface Prepared {
  /** A `write` goes in a session; a `change` of the cluster may have an effect and has none. */
  readonly kind: 'read' | 'write' | 'change';
  /** The line up to where a session goes. */
  readonly head: string;
  readonly tail: string;
}

/** A node's own account of itself as the door sends it: names in snake_case, see server/json-codec.ts. */
export type StatusDocument = Readonly<Record<string, unknown>>;

/** What one reply line says. */
export type Answer =
  | { readonly kind: 'ok'; readonly index: number; readonly existed: boolean }
  | { readonly kind: 'value'; readonly value: Uint8Array | undefined }
  | { readonly kind: 'rows'; readonly rows: readonly KeyValue[]; readonly more: boolean }
  | { readonly kind: 'session'; readonly id: number }
  /** Of a query or an operation, in binary form. */
  | { readonly kind: 'result'; readonly index: number; readonly result: Uint8Array }
  | { readonly kind: 'leader'; readonly leader: number }
  | { readonly kind: 'status'; readonly status: StatusDocument }
  | { readonly kind: 'mismatch' }
  /** `leader`: `host:port` of the leader's door, when the node knows it. */
  | {
      readonly kind: 'error';
      readonly code: ErrorCode;
      readonly message: string;
      readonly leader: string | undefined;
    };

/** Opens a session. */
export const OPEN_SESSION: Prepared = { kind: 'read', head: '{"OpenSession":{', tail: '}}\n' };
/** Asks a node for its account of itself. */
export const STATUS: Prepared = { kind: 'read', head: '{"Status":{', tail: '}}\n' };

/** A change of the cluster itself. */
export function changeRequest(
  operation: 'AddNode' | 'PromoteNode' | 'RemoveNode' | 'TransferLeader',
  fields: Readonly<Record<string, unknown>>,
): Prepared {
  return { kind: 'change', head: `{"${operation}":${JSON.stringify(fields).slice(0, -1)}`, tail: '}}\n' };
}

/** Asks a node to save a snapshot and to let its log go. */
export const COMPACT: Prepared = { kind: 'read', head: '{"Compact":{', tail: '}}\n' };

/** What a session tag adds to a line at most. */
const SESSION_BYTES_MAX = 96;

const CODES: ReadonlyMap<string, ErrorCode> = new Map(
  (
    [
      'bad_request',
      'too_large',
      'not_leader',
      'unavailable',
      'overloaded',
      'compare_failed',
      'already_member',
      'not_member',
      'cannot_remove_last_server',
      'too_many_members',
      'change_pending',
      'session_expired',
      'storage_failed',
      'storage_full',
      'closed',
      'unknown',
    ] satisfies readonly ErrorCode[]
  ).map((code): [string, ErrorCode] => [code, code]),
);

/**
 * The request of one operation.
 *
 * @param fields bytes by name; null is JSON's null
 * @throws OxideError `too_large` when the whole line would be over the door's limit
 */
export function prepare(
  operation: 'Set' | 'Get' | 'Delete' | 'Scan' | 'Cas' | 'Query' | 'Operation',
  fields: readonly (readonly [name: string, value: Uint8Array | number | null])[],
): Prepared {
  const members = fields.map(([name, value]) => `"${name}":${fieldText(value)}`);
  const isBinary = operation === 'Query' || operation === 'Operation';
  const head = `{"${operation}":{${members.join(',')}${isBinary ? '' : ',"encoding":"base64"'}`;
  if (head.length + SESSION_BYTES_MAX > LIMITS.requestBytesMax) {
    throw new OxideError(
      'too_large',
      `Cannot send request: it takes ${head.length} bytes, requestBytesMax is ${LIMITS.requestBytesMax}`,
    );
  }
  const isRead = operation === 'Get' || operation === 'Scan' || operation === 'Query';
  return { kind: isRead ? 'read' : 'write', head, tail: '}}\n' };
}

function fieldText(value: Uint8Array | number | null): string {
  if (value === null || typeof value === 'number') return String(value);
  return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"`;
}

/** The line of one attempt, with its end. */
export function lineOf(request: Prepared, tag?: SessionTag): string {
  if (tag === undefined) return request.head + request.tail;
  const session = `,"session":{"id":${tag.id},"seq":${tag.seq},"acked_below":${tag.ackedBelow}}`;
  return request.head + session + request.tail;
}

/** @throws OxideError `bad_request` for ill-formed text, `too_large` over the limit */
export function keyBytes(key: string | Uint8Array): Uint8Array {
  return bytesOf(key, 'key', 'keyBytesMax');
}

/** @throws OxideError `bad_request` for ill-formed text, `too_large` over the limit */
export function valueBytes(value: string | Uint8Array): Uint8Array {
  return bytesOf(value, 'value', 'valueBytesMax');
}

function bytesOf(
  data: string | Uint8Array,
  what: string,
  limit: 'keyBytesMax' | 'valueBytesMax',
): Uint8Array {
  if (typeof data === 'string' && /\p{Surrogate}/u.test(data)) {
    // Encoding would turn every lone surrogate into U+FFFD, and two keys into one.
    throw new OxideError('bad_request', `Cannot send ${what}: it holds a lone surrogate`);
  }
  const bytes = typeof data === 'string' ? utf8(data) : data;
  if (bytes.length > LIMITS[limit]) {
    throw new OxideError(
      'too_large',
      `Cannot send ${what}: it takes ${bytes.length} bytes, ${limit} is ${LIMITS[limit]}`,
    );
  }
  return bytes;
}

/** Reads a reply line; undefined when it is not one. */
export function decodeAnswer(line: Uint8Array): Answer | undefined {
  const reply = objectOf(line);
  if (reply === undefined) return undefined;
  if ('error' in reply) {
    const leader = isObject(reply['leader']) ? reply['leader']['client'] : undefined;
    return {
      kind: 'error',
      code: 'not_leader',
      message: String(reply['error']),
      leader: typeof leader === 'string' && leader !== '' ? leader : undefined,
    };
  }
  if (reply['status'] === 'not_found') return { kind: 'value', value: undefined };
  if (reply['status'] === 'error') return decodeError(reply);
  return reply['status'] === 'ok' ? decodeOk(reply) : undefined;
}

function decodeError(reply: StatusDocument): Answer {
  if (reply['code'] === 'compare_failed') return { kind: 'mismatch' };
  // A code from a newer node: whether it means "certainly not" is not known here.
  const code = CODES.get(String(reply['code'])) ?? 'unknown';
  return { kind: 'error', code, message: String(reply['message']), leader: undefined };
}

function decodeOk(reply: StatusDocument): Answer | undefined {
  const [index, session, data] = [reply['index'], reply['session'], reply['data']];
  const result = reply['result'];
  if (isCount(index) && typeof result === 'string')
    return { kind: 'result', index, result: decodeData(result, true) };
  if (isCount(index)) return { kind: 'ok', index, existed: reply['existed'] === true };
  if (isCount(reply['leader'])) return { kind: 'leader', leader: reply['leader'] };
  if (isCount(session)) return { kind: 'session', id: session };
  const isBase64 = reply['encoding'] === 'base64';
  if (typeof data === 'string') return { kind: 'value', value: decodeData(data, isBase64) };
  if (Array.isArray(data)) {
    const rows: KeyValue[] = [];
    for (const row of data) {
      if (!isObject(row) || typeof row['key'] !== 'string' || typeof row['value'] !== 'string')
        return undefined;
      rows.push({ key: decodeData(row['key'], isBase64), value: decodeData(row['value'], isBase64) });
    }
    return { kind: 'rows', rows, more: reply['more'] === true };
  }
  return isObject(data) ? { kind: 'status', status: data } : undefined;
}

function decodeData(text: string, isBase64: boolean): Uint8Array {
  return isBase64 ? new Uint8Array(Buffer.from(text, 'base64')) : utf8(text);
}

function objectOf(line: Uint8Array): StatusDocument | undefined {
  const text = textOf(line);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is StatusDocument {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
