/**
 * Seeded pseudo-random numbers: xoshiro128** 1.1 (Blackman and Vigna, public domain), seeded by splitmix32.
 * The only randomness of the pure folders, so that one seed repeats one run.
 */

/** A stream of pseudo-random numbers. Not for secrets. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** @param seed any number or text; equal seeds give equal streams */
  constructor(seed: number | string) {
    let state = hash(String(seed));
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return z ^ (z >>> 16);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next() | 1; // the all-zero state is a fixed point
  }

  /** A 32-bit unsigned integer. */
  uint32(): number {
    const result = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = rotate(this.#d, 11);
    return result;
  }

  /** A number in [0, 1). */
  ratio(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** An integer in [min, max], both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.ratio() * (max - min + 1));
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.ratio() < p;
  }

  /** A new stream of its own, so that draws in one place do not shift those in another. */
  fork(label: string): Random {
    return new Random(`${this.uint32()}/${label}`);
  }
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

/** FNV-1a over UTF-16 code units; good enough to spread seeds. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h | 0;
}
