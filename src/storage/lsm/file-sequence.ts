/** Several files as one sequence of bytes that is written from the start to the end, with parts ahead of their turn. */
import { assert } from '../../lib/assert.ts';
import type { File, FileSystem } from '../fs.ts';

/** A file of the sequence. */
export interface SequencePart {
  readonly path: string;
  /** Its share of the sequence. */
  readonly bytes: number;
}

interface Placed extends SequencePart {
  readonly start: number;
}

export class FileSequence {
  readonly totalBytes: number;
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #parts: readonly Placed[];
  readonly #open = new Map<Placed, File>();
  #hasNewNames = false;

  /** @param parts at least one; each file holds a byte at least, and none has to be there yet */
  constructor(fs: FileSystem, directory: string, parts: readonly SequencePart[]) {
    this.#fs = fs;
    this.#directory = directory;
    let start = 0;
    this.#parts = parts.map((part) => {
      const placed = { ...part, start };
      start += part.bytes;
      return placed;
    });
    this.totalBytes = start;
  }

  /** Behind the last byte that any of the files has. */
  get highest(): number {
    for (const part of this.#parts.toReversed()) {
      if (!this.#fs.exists(part.path)) continue;
      const size = this.#file(part).size();
      if (size > 0) return Math.min(part.start + size, this.totalBytes);
    }
    return 0;
  }

  /** Cuts everything from `end` on. @returns where the bytes end now: earlier, when a file is shorter than it should be */
  cut(end: number): number {
    let left = end;
    for (const part of this.#parts) {
      const wanted = Math.max(0, Math.min(part.bytes, left - part.start));
      if (!this.#fs.exists(part.path)) {
        if (wanted > 0) left = part.start;
        continue;
      }
      const file = this.#file(part);
      const size = file.size();
      if (size > wanted) file.truncate(wanted);
      if (size < wanted) left = part.start + size;
      this.#close(part, file);
    }
    return left;
  }

  write(offset: number, bytes: Uint8Array): void {
    assert(offset + bytes.length <= this.totalBytes, 'Nothing lies behind the last file');
    for (const part of this.#between(offset, offset + bytes.length)) {
      const from = Math.max(offset, part.start);
      const to = Math.min(offset + bytes.length, part.start + part.bytes);
      this.#file(part).write(bytes.subarray(from - offset, to - offset), from - part.start);
    }
  }

  /** Makes everything durable that was written, and closes files that are whole: all below `whole` has been written. */
  sync(whole: number): void {
    for (const [part, file] of this.#open) {
      file.sync();
      if (part.start + part.bytes <= whole) this.#close(part, file);
    }
    if (!this.#hasNewNames) return;
    this.#fs.syncDirectory(this.#directory);
    this.#hasNewNames = false;
  }

  close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }

  #close(part: Placed, file: File): void {
    this.#open.delete(part);
    file.close();
  }

  #between(start: number, end: number): readonly Placed[] {
    let low = 0;
    let high = this.#parts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const part = this.#parts[middle];
      if (part !== undefined && part.start + part.bytes <= start) low = middle + 1;
      else high = middle;
    }
    let last = low;
    while ((this.#parts[last]?.start ?? end) < end) last += 1;
    return this.#parts.slice(low, last);
  }

  #file(part: Placed): File {
    const open = this.#open.get(part);
    if (open !== undefined) return open;
    const isThere = this.#fs.exists(part.path);
    const file = this.#fs.open(part.path, isThere ? 'readWrite' : 'create');
    this.#hasNewNames ||= !isThere;
    this.#open.set(part, file);
    return file;
  }
}
