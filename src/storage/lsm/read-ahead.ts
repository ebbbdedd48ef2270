/** A file that is read from front to back: in large pieces, into memory that is used again. */
import type { File } from '../fs.ts';

/** A merge reads many tables at once, each with memory of its own. */
const PIECE_BYTES = 64 * 1024;

/** The file belongs to the caller, who keeps it open meanwhile. Any order of reads is right; from front to back is fast. */
export class ReadAhead {
  readonly #file: File;
  /** What is wanted of the file ends here. */
  readonly #end: number;
  #memory: Uint8Array = new Uint8Array(0);
  /** What is in memory: these bytes of the file, from this offset on. */
  #piece: Uint8Array = new Uint8Array(0);
  #offset = 0;

  /** @param end an offset: nothing from there on is read ahead */
  constructor(file: File, end: number) {
    this.#file = file;
    this.#end = end;
  }

  /** Reads up to `length` bytes at `offset`; shorter only at the end of the file. @returns a view, until the next call */
  read(offset: number, length: number): Uint8Array {
    const isHere = offset >= this.#offset && offset + length <= this.#offset + this.#piece.length;
    if (!isHere) this.#next(offset, length);
    return this.#piece.subarray(offset - this.#offset, offset - this.#offset + length);
  }

  #next(offset: number, length: number): void {
    const wanted = Math.max(length, Math.min(PIECE_BYTES, this.#end - offset));
    if (this.#memory.length < wanted) this.#memory = new Uint8Array(Math.max(wanted, PIECE_BYTES));
    this.#piece = this.#file.read(offset, wanted, this.#memory.subarray(0, wanted));
    this.#offset = offset;
  }
}
