/** Byte strings that break careless code: names of object properties, empty, zero, the last byte, no UTF-8, emoji. */
import { latin1, utf8 } from '../../src/lib/bytes.ts';

export const HOSTILE_BYTES: readonly Uint8Array[] = [
  utf8('__proto__'),
  utf8('constructor'),
  utf8('hasOwnProperty'),
  new Uint8Array(0),
  Uint8Array.of(0),
  Uint8Array.of(0xff),
  Uint8Array.of(0xff, 0xff, 0x00),
  Uint8Array.of(0xef, 0xbb, 0xbf, 0x61),
  Uint8Array.of(0xed, 0xa0, 0x80),
  Uint8Array.of(0xf0, 0x9f, 0x92),
  utf8('🦀🧪'),
  utf8('é́'),
  utf8('line\nbreak\r\u2028"quote"\\'),
  utf8('\u001b[2Jescape'),
  utf8('{"base64":"AA=="}'),
];

/** The same as latin-1 keys. */
export const HOSTILE_KEYS: readonly string[] = HOSTILE_BYTES.map((bytes) => latin1(bytes));
