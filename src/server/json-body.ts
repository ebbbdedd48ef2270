/** The fields of one operation of the JSON-lines door, read with their types and limits. */
import { utf8 } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';
import { LIMITS } from '../net/protocol.ts';
import type { SessionTag } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { quoted } from './json-parser.ts';
import type { JsonValue } from './json-parser.ts';

/** Rows of a `Scan` without a limit of its own. */
const SCAN_ROWS_DEFAULT = 1000;

/** The fields of one operation. Every method throws the OxideError that the client is told. */
export class Body {
  readonly operation: string;
  readonly base64: boolean;
  readonly #members: ReadonlyMap<string, JsonValue>;

  /** @param known names of the fields; undefined for an operation that is not known */
  constructor(
    operation: string,
    members: ReadonlyMap<string, JsonValue>,
    known: readonly string[] | undefined,
  ) {
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

  /** Base64, whatever the encoding of everything else. The line bounds its size. */
  binary(name: string): Uint8Array {
    const value = this.#members.get(name);
    if (value === undefined) return refuse(`missing field "${name}"`);
    return typeof value === 'string' ? fromBase64(value, name) : refuse(`field "${name}" must be a string`);
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

  /** A node, as a number or as its digits. */
  node(name: string): NodeId {
    const value = this.#members.get(name);
    if (value === undefined) return refuse(`missing field "${name}"`);
    return nodeOf(value, name);
  }

  /** {@link node}, or 0 when it is left out. */
  nodeIfAny(name: string): NodeId {
    return this.#members.has(name) ? this.node(name) : 0;
  }

  /** A server that is to join: `{"node_id":"4","addr":"127.0.0.1:8004"}`, `"witness":true` if it keeps no data. */
  server(name: string): { readonly node: NodeId; readonly address: string; readonly witness: boolean } {
    const value = this.#members.get(name);
    if (!(value instanceof Map)) return refuse(`field "${name}" must be an object with "node_id" and "addr"`);
    for (const field of value.keys())
      if (!['node_id', 'addr', 'witness'].includes(field))
        refuse(`unknown field ${quoted(field)} in "${name}"`);
    const id = value.get('node_id');
    const address = value.get('addr');
    if (id === undefined) return refuse('missing field "node_id"');
    if (typeof address !== 'string') return refuse('field "addr" must be a string, as "127.0.0.1:8004"');
    if (address.length > LIMITS.addressCharsMax)
      return tooLarge('addr', address.length, 'addressCharsMax', LIMITS.addressCharsMax);
    if (!/^(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/.test(address))
      return refuse(`field "addr" is ${quoted(address)}, expected host:port`);
    const witness = value.get('witness') ?? false;
    if (typeof witness !== 'boolean') return refuse('field "witness" must be true or false');
    return { node: nodeOf(id, 'node_id'), address, witness };
  }

  flag(name: string): boolean {
    const value = this.#members.get(name) ?? false;
    return typeof value === 'boolean' ? value : refuse(`field "${name}" must be true or false`);
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

function nodeOf(value: JsonValue, name: string): NodeId {
  const id = typeof value === 'string' && /^[1-9]\d{0,9}$/.test(value) ? Number(value) : value;
  if (typeof id === 'number' && Number.isInteger(id) && id >= 1 && id <= LIMITS.nodeIdMax) return id;
  return refuse(`field "${name}" must be the number of a node, from 1 to ${LIMITS.nodeIdMax}`);
}

/** Only the canonical form: Node's decoder by itself skips whatever it does not know. */
function fromBase64(text: string, name: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) refuse(`field "${name}" is not canonical base64`);
  return new Uint8Array(bytes); // a copy: small buffers are windows into Node's shared pool
}

/** Refuses a line that is not in the language of the door. */
export function refuse(what: string): never {
  throw new OxideError('bad_request', `Cannot read request: ${what}`);
}

function tooLarge(field: string, actual: number, limit: string, max: number): never {
  throw new OxideError('too_large', `Cannot accept request: ${field} is ${actual}, ${limit} is ${max}`);
}
