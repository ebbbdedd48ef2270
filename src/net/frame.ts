/**
 * A frame: many small messages carried as one byte string between threads or nodes. What the messages mean is for
 * codec.ts; this file lays them out and, on the way back, checks every field that is asked for.
 *
 *   offset  size  field
 *   0       1     what the frame holds, with the version of the format
 *   1       4     length of the fields, u32 little-endian
 *   5       n     the fields in MessagePack: an array of messages, each an array of numbers, booleans and texts
 *   5 + n   rest  the byte strings of all messages, end to end; a field holds the length of each
 *
 * Byte strings stay out of the MessagePack part: they are copied once instead of three times, and a frame of 256 writes
 * encodes about three times as fast.
 *
 * This is the only file that imports msgpackr, and it imports the build without the native add-on.
 */
import { Packr, RESET_BUFFER_MODE } from 'msgpackr/pack';
import { assert } from '../lib/assert.ts';

/** A field of a message. A byte string is represented by its length. */
export type Field = number | boolean | string;

/** Characters of one text field. */
export const TEXT_CHARS_MAX = 1_024;

const HEAD_BYTES = 5;

/* Nothing but plain arrays: no shared record structures, no extension types, undefined and maps never occur. */
const packr = new Packr({
  useRecords: false,
  moreTypes: false,
  structuredClone: false,
  mapsAsObjects: false,
});

/** Collects messages, then lays them out as a frame. For one frame only. */
export class FrameWriter {
  readonly #messages: (readonly Field[])[] = [];
  readonly #parts: Uint8Array[] = [];
  #partBytes = 0;

  /** Adds a message: its fields in the order in which the reader asks for them. */
  add(fields: readonly Field[]): void {
    this.#messages.push(fields);
  }

  /** Sets a byte string aside and returns the field that stands for it. The bytes are not copied before {@link finish}. */
  bytes(bytes: Uint8Array): number {
    this.#parts.push(bytes);
    this.#partBytes += bytes.length;
    return bytes.length;
  }

  /** A text field. The text is at most {@link TEXT_CHARS_MAX} characters. */
  text(text: string): string {
    assert(text.length <= TEXT_CHARS_MAX, 'Text too long for a frame');
    return text;
  }

  /** The frame, in an ArrayBuffer of its own and of exactly its size: it can be transferred to another thread. */
  finish(kind: number): Uint8Array<ArrayBuffer> {
    const fields = packr.pack(this.#messages, RESET_BUFFER_MODE); // msgpackr's own memory: copied below
    const frame = new Uint8Array(HEAD_BYTES + fields.length + this.#partBytes);
    frame[0] = kind;
    new DataView(frame.buffer).setUint32(1, fields.length, true);
    frame.set(fields, HEAD_BYTES);
    let offset = HEAD_BYTES + fields.length;
    for (const part of this.#parts) {
      frame.set(part, offset);
      offset += part.length;
    }
    assert(offset === frame.length, 'Byte strings changed while they were encoded');
    return frame;
  }
}

/**
 * Reads a frame message by message, field by field. A field of the wrong type or out of range gives a harmless
 * stand-in and sets `failed`, which stays set: whoever reads looks at {@link isMessageDone} once, after the last field.
 */
export class FrameReader {
  readonly #frame: Uint8Array;
  readonly #messages: readonly unknown[];
  #nextMessage = 0;
  #fields: readonly unknown[] = [];
  #nextField = 0;
  #offset: number;
  #failed = false;

  private constructor(frame: Uint8Array, messages: readonly unknown[], offset: number) {
    this.#frame = frame;
    this.#messages = messages;
    this.#offset = offset;
  }

  /** Opens a frame of this kind; undefined when the bytes are no such frame. */
  static open(frame: Uint8Array, kind: number): FrameReader | undefined {
    if (frame.length < HEAD_BYTES || frame[0] !== kind) return undefined;
    const length = new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getUint32(1, true);
    if (HEAD_BYTES + length > frame.length) return undefined;
    const fields = frame.subarray(HEAD_BYTES, HEAD_BYTES + length);
    if (!isMessageList(fields)) return undefined;
    const messages: unknown = packr.unpack(fields);
    if (!Array.isArray(messages)) return undefined;
    return new FrameReader(frame, messages, HEAD_BYTES + length);
  }

  /** A field was not what it had to be. */
  get failed(): boolean {
    return this.#failed;
  }

  /** There are fields of this message left. */
  get hasField(): boolean {
    return this.#nextField < this.#fields.length;
  }

  /** Every field of this message was read, and each was what it had to be. */
  get isMessageDone(): boolean {
    return !this.#failed && this.#nextField === this.#fields.length;
  }

  /** Every message was read, and no byte is left over. */
  get isFrameDone(): boolean {
    return (
      !this.#failed && this.#nextMessage === this.#messages.length && this.#offset === this.#frame.length
    );
  }

  /** Goes on to the next message. @returns false when there is none */
  next(): boolean {
    const fields = this.#messages[this.#nextMessage];
    if (fields === undefined) return false;
    this.#nextMessage += 1;
    this.#nextField = 0;
    this.#fields = Array.isArray(fields) ? fields : [];
    return true;
  }

  /** An integer from `min` to `max`, both included. */
  integer(min = 0, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#fields[this.#nextField++];
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max)
      return value + 0; // -0 is 0
    this.#failed = true;
    return min;
  }

  /** Any number but NaN; infinities are numbers. */
  number(): number {
    const value = this.#fields[this.#nextField++];
    if (typeof value === 'number' && !Number.isNaN(value)) return value;
    this.#failed = true;
    return 0;
  }

  /** A value made no sense to whoever read it: the message is bad. */
  reject(): void {
    this.#failed = true;
  }

  flag(): boolean {
    const value = this.#fields[this.#nextField++];
    if (typeof value === 'boolean') return value;
    this.#failed = true;
    return false;
  }

  text(): string {
    const value = this.#fields[this.#nextField++];
    if (typeof value === 'string' && value.length <= TEXT_CHARS_MAX) return value;
    this.#failed = true;
    return '';
  }

  /** A byte string of at most `bytesMax` bytes: a view of the frame, which it keeps alive. */
  bytes(bytesMax: number): Uint8Array {
    const start = this.#offset;
    const length = this.integer(0, Math.min(bytesMax, this.#frame.length - start));
    if (!this.#failed) this.#offset = start + length;
    return this.#frame.subarray(start, this.#offset);
  }

  /** The name that the next field is the number of. */
  name<T extends string>(names: NumberedNames<T>): T {
    const name = names.nameOf(this.integer());
    if (name !== undefined) return name;
    this.#failed = true;
    return names.first;
  }
}

/** A closed set of names, each with the number that stands for it in a frame. */
export class NumberedNames<T extends string> {
  readonly #numbers: Readonly<Record<T, number>>;
  readonly #names: ReadonlyMap<number, T>;
  /** Any one of the names. */
  readonly first: T;

  /** @param numbers one number for every name, none twice */
  constructor(numbers: Readonly<Record<T, number>>) {
    const names = Object.keys(numbers).filter((name): name is T => Object.hasOwn(numbers, name));
    const [first] = names;
    assert(first !== undefined, 'A set of names is not empty');
    this.first = first;
    this.#numbers = numbers;
    this.#names = new Map(names.map((name) => [numbers[name], name]));
    assert(this.#names.size === names.length, 'Two names have one number');
  }

  numberOf(name: T): number {
    return this.#numbers[name];
  }

  nameOf(number: number): T | undefined {
    return this.#names.get(number);
  }
}

/**
 * Whether `bytes` is, in MessagePack, one array of arrays of numbers, booleans and texts, and nothing behind it. Asked
 * before msgpackr sees the bytes: so what comes from outside reaches none of its extensions (records compiled to code,
 * regular expressions, references, dates), and cannot make it nest deeply or allocate more than the input accounts for.
 */
function isMessageList(bytes: Uint8Array): boolean {
  const list = arrayHead(bytes, 0);
  if (list === undefined) return false;
  let offset = list.next;
  for (let i = 0; i < list.count; i++) {
    const message = arrayHead(bytes, offset);
    if (message === undefined) return false;
    offset = message.next;
    for (let k = 0; k < message.count; k++) {
      offset = scalarEnd(bytes, offset);
      if (offset > bytes.length) return false;
    }
  }
  return offset === bytes.length;
}

/** The array that begins at `offset`: its length, possible within the bytes left, and where its elements begin. */
function arrayHead(
  bytes: Uint8Array,
  offset: number,
): { readonly count: number; readonly next: number } | undefined {
  const token = byte(bytes, offset);
  let count = token - 0x90;
  let next = offset + 1;
  if (token === 0xdc) {
    count = byte(bytes, offset + 1) * 0x100 + byte(bytes, offset + 2);
    next = offset + 3;
  } else if (token === 0xdd) {
    const high = byte(bytes, offset + 1) * 0x100 + byte(bytes, offset + 2);
    count = high * 0x1_0000 + byte(bytes, offset + 3) * 0x100 + byte(bytes, offset + 4);
    next = offset + 5;
  } else if (token < 0x90 || token > 0x9f) {
    return undefined;
  }
  return next + count <= bytes.length ? { count, next } : undefined;
}

/** Where the number, boolean or text that begins at `offset` ends; beyond the bytes when there is none. */
function scalarEnd(bytes: Uint8Array, offset: number): number {
  const token = byte(bytes, offset);
  if (token < 0x80 || token >= 0xe0) return offset + 1; // small integers
  if (token >= 0xa0 && token <= 0xbf) return offset + 1 + (token - 0xa0); // short text
  switch (token) {
    case 0xc2: // false
    case 0xc3: // true
      return offset + 1;
    case 0xcc: // unsigned, 1 byte
    case 0xd0: // signed, 1 byte
      return offset + 2;
    case 0xcd:
    case 0xd1:
      return offset + 3;
    case 0xce:
    case 0xd2:
      return offset + 5;
    case 0xcb: // 64-bit float
      return offset + 9;
    case 0xd9: // text, length of 1 byte
      return offset + 2 + byte(bytes, offset + 1);
    case 0xda: // text, length of 2 bytes
      return offset + 3 + byte(bytes, offset + 1) * 0x100 + byte(bytes, offset + 2);
    default:
      return Number.POSITIVE_INFINITY;
  }
}

function byte(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}
