/** Keys and values between the command line and the store: base64 and standard input in; terminal, pipe and JSON out. */
import { displayText, textOf, utf8 } from '../lib/bytes.ts';
import { sanitize } from '../lib/text.ts';
import { LIMITS } from '../net/protocol.ts';
import type { Args } from './args.ts';
import type { Context } from './command.ts';
import { UsageError } from './failure.ts';

/** The key that an argument names. */
export function readKey(text: string, args: Args): Uint8Array {
  return args.has('base64-key') ? fromBase64(text, 'KEY') : utf8(wellFormed(text, 'KEY'));
}

/** The value that an argument names; `-` is all of standard input, exactly as it comes. */
export async function readValue(
  text: string,
  what: string,
  args: Args,
  context: Context,
): Promise<Uint8Array> {
  if (text !== '-') return args.has('base64') ? fromBase64(text, what) : utf8(wellFormed(text, what));
  if (!args.has('base64')) return context.readStdin(LIMITS.valueBytesMax);
  // Four characters for three bytes, and room for line breaks.
  const encoded = await context.readStdin(LIMITS.valueBytesMax * 2);
  return fromBase64(displayText(encoded).replaceAll(/\s/g, ''), 'Standard input');
}

/** Bytes as one printable piece: base64 if asked for, harmless text on a terminal, otherwise exactly as they are. */
export function shown(bytes: Uint8Array, options: ShowOptions): Uint8Array | string {
  if (options.base64) return Buffer.from(bytes).toString('base64');
  return options.exact ? bytes : sanitize(displayText(bytes));
}

export interface ShowOptions {
  readonly base64: boolean;
  /** Not for a terminal, or asked for with `--raw`. */
  readonly exact: boolean;
}

/** `{ key: 'text' }`, or `{ keyBase64: '…' }` for bytes that are not text, and when base64 was asked for. */
export function jsonField(name: 'key' | 'value', bytes: Uint8Array, base64: boolean): Record<string, string> {
  const text = base64 ? undefined : textOf(bytes);
  if (text === undefined) return { [`${name}Base64`]: Buffer.from(bytes).toString('base64') };
  return { [name]: text };
}

function wellFormed(text: string, what: string): string {
  if (!/\p{Surrogate}/u.test(text)) return text;
  throw new UsageError(`${what} is not well-formed text`, 'Use base64 for other bytes');
}

function fromBase64(text: string, what: string): Uint8Array {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  if (!isBase64) throw new UsageError(`${what} is not base64`);
  return new Uint8Array(Buffer.from(text, 'base64'));
}
