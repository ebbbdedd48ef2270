/**
 * Rot: every bit of a file flipped, alone, and the file cut at every length. What is read afterwards is refused, or is what
 * was written; only a log may end earlier, where nothing shows that the rest was ever durable.
 */
import { type Image, diskOf } from './images.ts';
import { isTyped, lineOf } from './restart.ts';
import { Violation } from './story.ts';
import type { FileSystem } from '../../src/storage/fs.ts';

/** A file to be damaged, among others that stay whole. */
export interface FlipTarget {
  readonly name: string;
  readonly image: Image;
  readonly path: string;
  /** Opens everything and reads it. */
  readonly recover: (fs: FileSystem) => string;
  /** Contents that may be found when a bit is flipped: those of before, and a log without its last, unsynced batch. */
  readonly afterFlip: readonly string[];
  /** Contents that may be found when the file is cut. */
  readonly afterCut: readonly string[];
}

/** What came of one target. */
export interface FlipRow {
  readonly target: string;
  readonly bytes: number;
  readonly flips: number;
  readonly lengths: number;
  /** Of both: damage that was refused with a typed error. */
  readonly refused: number;
  /** Flips after which a log ended earlier. */
  readonly shortened: number;
  /** Lengths at which it did. */
  readonly shortenedByCut: number;
  /** Everything was there all the same. */
  readonly unchanged: number;
  readonly violations: readonly string[];
}

const VIOLATIONS_MAX = 20;

/**
 * @param stride 1 for every bit and every length, otherwise one of so many: odd, so that all bits of a byte are met
 */
export function attackByFlips(target: FlipTarget, stride: number): FlipRow {
  // Tens of thousands of errors are thrown, and most of the time would go into stacks that nobody reads.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new FlipAttack(target).run(stride);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

class FlipAttack {
  readonly #target: FlipTarget;
  readonly #bytes: Uint8Array;
  readonly #whole: string;
  readonly #violations: string[] = [];
  #refused = 0;
  #shortened = 0;
  #shortenedByCut = 0;
  #unchanged = 0;

  constructor(target: FlipTarget) {
    this.#target = target;
    this.#bytes = target.image.files.get(target.path) ?? new Uint8Array(0);
    this.#whole = target.recover(diskOf(target.image));
  }

  run(stride: number): FlipRow {
    const { name, afterFlip, afterCut } = this.#target;
    const { length } = this.#bytes;
    let flips = 0;
    for (let bit = 0; bit < length * 8; bit += stride) {
      const bytes = this.#bytes.slice();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      flips += 1;
      this.#restart(bytes, afterFlip, () => `bit ${bit & 7} of byte ${bit >> 3} flipped`);
    }
    let lengths = 0;
    for (let end = 0; end < length; end += stride) {
      lengths += 1;
      this.#restart(this.#bytes.slice(0, end), afterCut, () => `cut at ${end} of ${length} bytes`);
    }
    return {
      target: name,
      bytes: length,
      flips,
      lengths,
      refused: this.#refused,
      shortened: this.#shortened,
      shortenedByCut: this.#shortenedByCut,
      unchanged: this.#unchanged,
      violations: this.#violations,
    };
  }

  #restart(bytes: Uint8Array, legal: readonly string[], what: () => string): void {
    const { image, path, recover, name } = this.#target;
    const fs = diskOf({ directories: image.directories, files: new Map(image.files).set(path, bytes) });
    try {
      const found = recover(fs);
      if (found === this.#whole) this.#unchanged += 1;
      else if (!legal.includes(found)) throw new Violation(`a wrong answer: ${found.slice(0, 300)}`);
      else if (bytes.length < this.#bytes.length) this.#shortenedByCut += 1;
      else this.#shortened += 1;
    } catch (error) {
      if (isTyped(error)) this.#refused += 1;
      else if (this.#violations.length < VIOLATIONS_MAX)
        this.#violations.push(`${name}: ${what()}: ${lineOf(error)}`);
    }
    if (fs.openFiles > 0 && this.#violations.length < VIOLATIONS_MAX)
      this.#violations.push(`${name}: ${what()}: ${fs.openFiles} files are left open`);
  }
}
