/**
 * Cuts a stream of bytes into lines. Linear in the input however small its pieces, and never holds more than one
 * unfinished line up to the limit. Knows nothing of what a line means.
 */
import { assert } from './assert.ts';

const LF = 0x0a;
const CR = 0x0d;
const EMPTY = new Uint8Array(0);
/** A buffer above this is given back once its line is done, so that one long line does not cost its room for ever. */
const KEEP_BYTES_MAX = 65_536;

/** Call {@link push} with what arrived, then {@link next} until it returns undefined. */
export class LineSplitter {
  readonly #lineBytesMax: number;
  #chunk: Uint8Array = EMPTY;
  #offset = 0;
  /** The beginning of a line whose end has not arrived: the first `#partialBytes` bytes. */
  #partial: Uint8Array = EMPTY;
  #partialBytes = 0;
  #overflowed = false;

  /** @param lineBytesMax the longest line, without its end */
  constructor(lineBytesMax: number) {
    assert(lineBytesMax > 0, 'A line needs room');
    this.#lineBytesMax = lineBytesMax;
  }

  /** A line went over the limit. Final: the stream has lost its place, and no further line comes out. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** What has arrived of a line without its end; meaningful once {@link next} returned undefined. Valid until the next call. */
  get unfinished(): Uint8Array {
    return this.#partial.subarray(0, this.#partialBytes);
  }

  /** Adds bytes behind the others. They must not change until {@link next} has returned undefined. */
  push(bytes: Uint8Array): void {
    if (this.#overflowed) return;
    if (this.#offset === this.#chunk.length) {
      this.#chunk = bytes;
    } else {
      const left = this.#chunk.subarray(this.#offset);
      this.#chunk = new Uint8Array(left.length + bytes.length);
      this.#chunk.set(left);
      this.#chunk.set(bytes, left.length);
    }
    this.#offset = 0;
  }

  /** The next line without its end (LF, or CR LF); undefined when none is complete. Valid until the next call. */
  next(): Uint8Array | undefined {
    if (this.#overflowed) return undefined;
    const end = this.#chunk.indexOf(LF, this.#offset);
    if (end < 0) {
      this.#keep(this.#chunk.length);
      return undefined;
    }
    if (this.#partialBytes === 0) {
      const line = this.#chunk.subarray(this.#offset, end);
      this.#offset = end + 1;
      return this.#checked(line);
    }
    this.#keep(end);
    this.#offset += 1;
    const line = this.unfinished;
    this.#partialBytes = 0;
    if (this.#partial.length > KEEP_BYTES_MAX) this.#partial = EMPTY;
    return this.#checked(line);
  }

  #checked(line: Uint8Array): Uint8Array | undefined {
    if (this.#overflowed || line.length > this.#lineBytesMax) {
      this.#overflow();
      return undefined;
    }
    return line.at(-1) === CR ? line.subarray(0, -1) : line;
  }

  /** Moves the chunk's bytes up to `end` to the unfinished line. */
  #keep(end: number): void {
    const bytes = this.#chunk.subarray(this.#offset, end);
    const total = this.#partialBytes + bytes.length;
    this.#offset = end;
    if (total > this.#lineBytesMax) {
      this.#overflow();
      return;
    }
    if (total > this.#partial.length) this.#grow(total);
    this.#partial.set(bytes, this.#partialBytes);
    this.#partialBytes = total;
    if (end === this.#chunk.length) this.#forgetChunk();
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(
      Math.min(this.#lineBytesMax, Math.max(needed, 2 * this.#partial.length, 256)),
    );
    larger.set(this.unfinished);
    this.#partial = larger;
  }

  #overflow(): void {
    this.#overflowed = true;
    this.#partial = EMPTY;
    this.#partialBytes = 0;
    this.#forgetChunk();
  }

  #forgetChunk(): void {
    this.#chunk = EMPTY;
    this.#offset = 0;
  }
}
