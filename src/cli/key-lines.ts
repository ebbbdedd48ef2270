/** Lines of keys and values, as `export` writes them and `import` reads them. */
import { latin1, textOf, utf8 } from '../lib/bytes.ts';
import { LIMITS } from '../net/protocol.ts';

/** A key to be set. */
export interface KeyLine {
  /** Latin-1, one character a byte. */
  readonly key: string;
  readonly value: Uint8Array;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Reads a line; a text instead says what is wrong with it. */
export function parseKeyLine(line: Uint8Array): KeyLine | string {
  const text = textOf(line);
  if (text === undefined) return 'it is not UTF-8';
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    return 'it is not a JSON object';
  const members: Readonly<Record<string, unknown>> = { ...fields };
  const unknown = Object.keys(members).find((name) => !/^(?:key|value)(?:Base64)?$/.test(name));
  if (unknown !== undefined) return `field ${JSON.stringify(unknown.slice(0, 40))} is unknown`;
  const key = bytesOf(members, 'key', LIMITS.keyBytesMax);
  if (typeof key === 'string') return key;
  const value = bytesOf(members, 'value', LIMITS.valueBytesMax);
  return typeof value === 'string' ? value : { key: latin1(key), value };
}

function bytesOf(
  members: Readonly<Record<string, unknown>>,
  name: 'key' | 'value',
  bytesMax: number,
): Uint8Array | string {
  const { [name]: text, [`${name}Base64`]: base64 } = members;
  if (text === undefined && base64 === undefined) return `"${name}" is missing`;
  if (text !== undefined && base64 !== undefined) return `"${name}" and "${name}Base64" are both there`;
  if (text !== undefined && (typeof text !== 'string' || /\p{Surrogate}/u.test(text)))
    return `"${name}" is not well-formed text`;
  if (base64 !== undefined && (typeof base64 !== 'string' || !BASE64.test(base64)))
    return `"${name}Base64" is not base64`;
  const bytes = typeof text === 'string' ? utf8(text) : new Uint8Array(Buffer.from(String(base64), 'base64'));
  return bytes.length > bytesMax ? `"${name}" has ${bytes.length} bytes, at most ${bytesMax}` : bytes;
}
