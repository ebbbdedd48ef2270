/** A running hash over everything that happens in a run, so that equal runs are told from unequal ones by one comparison. */
import { crc32 } from '../lib/crc32.ts';

const scratch = new DataView(new ArrayBuffer(8));

/** Two 32-bit lanes, stirred by every word. */
export class RunHash {
  #a = 0x2545f491;
  #b = 0x6c078965;

  /** Any number, by its bits. */
  number(value: number): void {
    if (value === (value | 0)) return this.#word(value);
    scratch.setFloat64(0, value);
    this.#word(scratch.getInt32(0));
    this.#word(scratch.getInt32(4));
  }

  text(value: string): void {
    let h = value.length;
    for (let i = 0; i < value.length; i++) h = Math.imul(h ^ value.charCodeAt(i), 0x01000193);
    this.#word(h);
  }

  bytes(value: Uint8Array): void {
    this.#word(crc32(value));
  }

  /** Sixteen hexadecimal digits. */
  hex(): string {
    return hex32(this.#a) + hex32(this.#b);
  }

  #word(word: number): void {
    const k = Math.imul(word, 0xcc9e2d51);
    this.#a = Math.imul(this.#a ^ ((k << 15) | (k >>> 17)), 0x85ebca6b) + 0x1b873593;
    this.#a ^= this.#a >>> 13;
    this.#b = Math.imul((this.#b ^ word) + this.#a, 0xc2b2ae35);
    this.#b ^= this.#b >>> 15;
  }
}

function hex32(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, '0');
}
