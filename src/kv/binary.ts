/**
 * Fields laid out in bytes, little-endian, and read back with every check that foreign bytes need. What a field means is
 * for operation-codec.ts.
 */
import { assert } from '../lib/assert.ts';
import { latin1 } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';

const HIGH = 0x1_0000_0000;
const CAPACITY_BYTES = 128;

/** Appends fields to a byte string that grows. */
export class BinaryWriter {
  #bytes: Uint8Array = new Uint8Array(CAPACITY_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** One byte, 0 to 255. */
  byte(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xff, 'Not a byte');
    const offset = this.#grow(1);
    this.#bytes[offset] = value;
  }

  /** A length or a count, in four bytes. */
  count(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value < HIGH, 'Not a count');
    const offset = this.#grow(4);
    this.#view.setUint32(offset, value, true);
  }

  /** A safe integer, in eight bytes, two's complement. */
  integer(value: number): void {
    assert(Number.isSafeInteger(value), 'Integer out of the safe range');
    const offset = this.#grow(8);
    const high = Math.floor(value / HIGH);
    this.#view.setUint32(offset, value - high * HIGH, true);
    this.#view.setInt32(offset + 4, high, true);
  }

  /** A signed 64-bit integer. */
  bigInteger(value: bigint): void {
    assert(BigInt.asIntN(64, value) === value, 'Integer out of 64 bits');
    const offset = this.#grow(8);
    this.#view.setBigInt64(offset, value, true);
  }

  /** A byte string, behind its length. */
  bytes(value: Uint8Array): void {
    this.count(value.length);
    const offset = this.#grow(value.length);
    this.#bytes.set(value, offset);
  }

  /** A latin-1 string, behind its length. */
  text(value: string): void {
    this.count(value.length);
    const offset = this.#grow(value.length);
    const bytes = this.#bytes;
    let seen = 0;
    for (let i = 0; i < value.length; i++) {
      const character = value.charCodeAt(i);
      seen |= character;
      bytes[offset + i] = character;
    }
    assert(seen <= 0xff, 'A key holds one byte a character');
  }

  /** What was written, in memory of its own. The writer must not be used any more. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room behind what is there. @returns where it begins */
  #grow(bytes: number): number {
    const offset = this.#length;
    this.#length = offset + bytes;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, offset));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return offset;
  }
}

/** Reads fields one after the other. Whatever is not there, or not as {@link BinaryWriter} writes it, throws `bad_request`. */
export class BinaryReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #offset: number;

  /**
   * @param bytes must not change while what was read is in use: byte strings are views of it
   * @param what names it in messages
   */
  constructor(bytes: Uint8Array, what: string, offset = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#offset = offset;
  }

  byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  /** One byte that has no bits but those of `known`. */
  flags(known: number): number {
    const flags = this.byte();
    if ((flags & ~known) !== 0) throw this.refused(`flags are 0x${flags.toString(16)}`);
    return flags;
  }

  /** A position in a list of `length`. */
  choice(length: number): number {
    const choice = this.byte();
    if (choice >= length) throw this.refused(`choice is ${choice}, expected below ${length}`);
    return choice;
  }

  /**
   * How many items follow.
   *
   * @param max how many there may be
   * @param itemBytesMin no item is shorter: a count that the rest cannot hold is refused before anything is made for it
   */
  count(max: number, itemBytesMin: number): number {
    const count = this.#view.getUint32(this.#take(4), true);
    const left = this.#bytes.length - this.#offset;
    if (count > max || count * itemBytesMin > left) throw this.refused(`${count} items are too many`);
    return count;
  }

  integer(): number {
    const offset = this.#take(8);
    const value = this.#view.getUint32(offset, true) + this.#view.getInt32(offset + 4, true) * HIGH;
    if (!Number.isSafeInteger(value)) throw this.refused('integer out of the safe range');
    return value;
  }

  bigInteger(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  bytes(): Uint8Array {
    const length = this.#view.getUint32(this.#take(4), true);
    const offset = this.#take(length);
    return this.#bytes.subarray(offset, offset + length);
  }

  text(): string {
    return latin1(this.bytes());
  }

  /** Demands that nothing follows. */
  end(): void {
    if (this.#offset < this.#bytes.length) throw this.refused('bytes after its end');
  }

  refused(state: string): OxideError {
    return new OxideError('bad_request', `Cannot decode ${this.#what}: ${state}`);
  }

  #take(length: number): number {
    const offset = this.#offset;
    if (length > this.#bytes.length - offset) throw this.refused(`cut short at byte ${offset}`);
    this.#offset = offset + length;
    return offset;
  }
}
