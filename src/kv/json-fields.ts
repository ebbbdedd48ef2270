/**
 * JSON as lines of a state hold it: byte strings and fields, each with exactly one form, and every check on the way back. What
 * a line means is for session-lines.ts and state-lines.ts.
 */
import { textOf, utf8 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';

/** A byte string: its text when it is UTF-8, else `{"base64":"…"}`. */
export function bytesToJson(bytes: Uint8Array): string | { readonly base64: string } {
  return textOf(bytes) ?? { base64: base64ToJson(bytes) };
}

/** Reads what {@link bytesToJson} wrote, in memory of its own. Throws CorruptionError for anything else. */
export function bytesFromJson(json: unknown): Uint8Array {
  if (typeof json === 'string') {
    if (/\p{Surrogate}/u.test(json)) throw new CorruptionError('text has a lone surrogate');
    return utf8(json);
  }
  const fields = fieldsOf(json);
  expectFields(fields, ['base64']);
  const bytes = base64FromJson(fields.get('base64'));
  if (textOf(bytes) !== undefined) throw new CorruptionError('base64 where text would do');
  return bytes;
}

/** A byte string in base64, also where it is text. */
export function base64ToJson(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('base64');
}

/** Reads what {@link base64ToJson} wrote, in memory of its own. Throws CorruptionError for anything else. */
export function base64FromJson(json: unknown): Uint8Array {
  if (typeof json !== 'string') throw new CorruptionError('base64 is not text');
  const bytes = new Uint8Array(Buffer.from(json, 'base64'));
  // Buffer skips what is not base64, so only the way back proves that nothing was lost.
  if (bufferOf(bytes).toString('base64') !== json) throw new CorruptionError('base64 is malformed');
  return bytes;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The fields of a JSON object, as a map: names come from outside. Throws CorruptionError for anything else. */
export function fieldsOf(json: unknown): ReadonlyMap<string, unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new CorruptionError('not an object');
  return new Map(Object.entries(json));
}

/** Throws CorruptionError unless the fields are exactly those named. */
export function expectFields(fields: ReadonlyMap<string, unknown>, names: readonly string[]): void {
  if (fields.size !== names.length || !names.every((name) => fields.has(name))) {
    throw new CorruptionError(`fields are ${[...fields.keys()].join(', ')}, expected ${names.join(', ')}`);
  }
}

/** An integer field of at least `min`. Throws CorruptionError for anything else. */
export function integer(fields: ReadonlyMap<string, unknown>, name: string, min: number): number {
  const value = fields.get(name);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw new CorruptionError(`${name} is not an integer from ${min}`);
  }
  return value;
}
