/** What the engines are measured with: the same keys, values and orders for each, out of a few large arrays. */
import { Random } from '../../src/lib/random.ts';

export const KEY_BYTES = 16;
export const VALUE_BYTES = 100;

const VALUE_POOL_BYTES = 2 ** 20;

/** In which order keys are written: as they sort, or shuffled. */
export type Order = 'sequential' | 'random';

/**
 * Keys of 16 bytes by their rank. The even ones are those that are written; the odd ones lie between them and are in no engine.
 * They are digits behind a common beginning, as keys in real stores have one.
 */
export class EngineData {
  readonly count: number;
  readonly #keys: Buffer;
  readonly #values: Buffer;
  readonly #order: Uint32Array;
  readonly #random: Random;

  constructor(options: { readonly count: number; readonly order: Order; readonly seed: number }) {
    const { count, order, seed } = options;
    this.count = count;
    this.#random = new Random(seed);
    this.#keys = Buffer.alloc(2 * count * KEY_BYTES);
    for (let rank = 0; rank < 2 * count; rank++) {
      this.#keys.write(`key-${String(rank).padStart(KEY_BYTES - 4, '0')}`, rank * KEY_BYTES, 'latin1');
    }
    this.#values = Buffer.alloc(VALUE_POOL_BYTES + VALUE_BYTES);
    for (let i = 0; i < this.#values.length; i++) this.#values[i] = this.#random.int(0, 255);
    this.#order = Uint32Array.from({ length: count }, (_, i) => i);
    if (order === 'random') this.#shuffle();
  }

  /** The number of the key that is written as the `i`-th. */
  written(i: number): number {
    return this.#order[i] ?? 0;
  }

  /** So many numbers of keys, drawn at random. */
  draw(length: number): Uint32Array {
    return Uint32Array.from({ length }, () => this.#random.int(0, this.count - 1));
  }

  /** A key as bytes: a view. `isThere` false: one right behind it that nobody writes. */
  keyBytes(number: number, isThere = true): Buffer {
    const start = (2 * number + (isThere ? 0 : 1)) * KEY_BYTES;
    return this.#keys.subarray(start, start + KEY_BYTES);
  }

  /** The same as a latin-1 string. */
  keyText(number: number, isThere = true): string {
    const start = (2 * number + (isThere ? 0 : 1)) * KEY_BYTES;
    return this.#keys.toString('latin1', start, start + KEY_BYTES);
  }

  /** A value of noise: a view. */
  value(number: number): Buffer {
    const start = (number * 997) % VALUE_POOL_BYTES;
    return this.#values.subarray(start, start + VALUE_BYTES);
  }

  #shuffle(): void {
    const order = this.#order;
    for (let i = order.length - 1; i > 0; i--) {
      const other = this.#random.int(0, i);
      const held = order[i] ?? 0;
      order[i] = order[other] ?? 0;
      order[other] = held;
    }
  }
}
