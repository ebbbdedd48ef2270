/** Keys and values for loading very many: made when they are needed, each key once, far from in order. */
import { Random } from '../../src/lib/random.ts';

const KEY_BYTES = 16;
const VALUE_POOL_BYTES = 2 ** 20;
/** A prime: its multiples visit every number below a count that it does not divide, scattered. */
const STRIDE = 611_953;

export class LoadKeys {
  readonly count: number;
  /** Bytes of a key with its value. */
  readonly entryBytes: number;
  readonly #valueBytes: number;
  readonly #values: Buffer;

  constructor(count: number, valueBytes: number) {
    if (count % STRIDE === 0) throw new Error(`Another number of keys, please: not a multiple of ${STRIDE}`);
    this.count = count;
    this.entryBytes = KEY_BYTES + valueBytes;
    this.#valueBytes = valueBytes;
    const random = new Random(1);
    this.#values = Buffer.alloc(VALUE_POOL_BYTES + valueBytes);
    for (let i = 0; i < this.#values.length; i++) this.#values[i] = random.int(0, 255);
  }

  /** The key that is written as the `i`-th. */
  key(i: number): Buffer {
    const rank = (i * STRIDE) % this.count;
    return Buffer.from(`key-${String(rank).padStart(KEY_BYTES - 4, '0')}`, 'latin1');
  }

  /** Noise: memory of its own, as what arrives from a client is. */
  value(i: number): Buffer {
    const start = (i * 997) % VALUE_POOL_BYTES;
    return Buffer.from(this.#values.subarray(start, start + this.#valueBytes));
  }
}
