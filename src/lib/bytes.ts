/**
 * Bytes: order, text and fixed-width integers.
 *
 * Keys are bytes and are ordered by bytes. Inside the store a key is held as a *latin-1 string*, one character
 * a byte: JavaScript compares such strings exactly as it would compare the bytes, and a Map finds them by value.
 */
import { assert } from './assert.ts';

const encoder = new TextEncoder();
const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** UTF-8 bytes of well-formed text. Callers check `text.isWellFormed()` on input from outside first. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The text of UTF-8 bytes, or undefined when they are not UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  const text = lossyDecoder.decode(bytes);
  // Not a decoder that throws: bytes that are not text are nothing unusual, and an exception costs more than all of this.
  return !text.includes('\ufffd') || equalBytes(utf8(text), bytes) ? text : undefined;
}

/** Text for people: what is not UTF-8 becomes U+FFFD. Not safe for a terminal by itself. */
export function displayText(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}

/** The latin-1 string of `bytes`: one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** The bytes of a latin-1 string, in memory of their own. */
export function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Whether two byte strings are equal. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Byte order, as the latin-1 strings of both would compare: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/**
 * The smallest latin-1 key greater than every key with this prefix; undefined when there is none
 * (an empty prefix, or one of only 0xff).
 */
export function prefixEnd(prefix: string): string | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const code = prefix.charCodeAt(i);
    if (code < 0xff) return prefix.slice(0, i) + String.fromCharCode(code + 1);
  }
  return undefined;
}

/** Joins byte strings into one, in memory of its own. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let total = 0;
  for (const part of parts) total += part.length;
  const joined = new Uint8Array(total);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

const HIGH = 0x1_0000_0000;

/** Writes a safe non-negative integer as eight bytes, little-endian. */
export function writeUint64(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'Integer out of the safe range');
  view.setUint32(offset, value % HIGH, true);
  view.setUint32(offset + 4, Math.floor(value / HIGH), true);
}

/** Reads what {@link writeUint64} wrote. A value above 2^53 - 1 comes back unsafe: callers that read foreign bytes check. */
export function readUint64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * HIGH;
}
