/** CRC-32 (IEEE 802.3, as in zlib and gzip), eight bytes a step ("slicing-by-8", Kounavis and Berry 2005). */
import { at } from './assert.ts';

const TABLES: readonly Uint32Array[] = buildTables();
const T0: Uint32Array = at(TABLES, 0);
const T1: Uint32Array = at(TABLES, 1);
const T2: Uint32Array = at(TABLES, 2);
const T3: Uint32Array = at(TABLES, 3);
const T4: Uint32Array = at(TABLES, 4);
const T5: Uint32Array = at(TABLES, 5);
const T6: Uint32Array = at(TABLES, 6);
const T7: Uint32Array = at(TABLES, 7);

/**
 * The checksum of `bytes[start..end)`.
 *
 * @param seed the checksum of what came before, to continue it; 0 to begin
 */
export function crc32(bytes: Uint8Array, start = 0, end: number = bytes.length, seed = 0): number {
  let crc = ~seed;
  let i = start;
  for (const last = end - 7; i < last; i += 8) {
    crc ^=
      byte(bytes, i) | (byte(bytes, i + 1) << 8) | (byte(bytes, i + 2) << 16) | (byte(bytes, i + 3) << 24);
    crc =
      word(T7, crc & 0xff) ^
      word(T6, (crc >>> 8) & 0xff) ^
      word(T5, (crc >>> 16) & 0xff) ^
      word(T4, crc >>> 24) ^
      word(T3, byte(bytes, i + 4)) ^
      word(T2, byte(bytes, i + 5)) ^
      word(T1, byte(bytes, i + 6)) ^
      word(T0, byte(bytes, i + 7));
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ word(T0, (crc ^ byte(bytes, i)) & 0xff);
  return ~crc >>> 0;
}

/**
 * The checksum of two byte strings laid end to end, from the checksum of each: `first` is multiplied by x^(8 length),
 * modulo the polynomial (Adler, `crc32_combine` of zlib). Takes time logarithmic in the length.
 *
 * @param secondBytes length of the second byte string
 */
export function crc32Combine(first: number, second: number, secondBytes: number): number {
  let shift = ONE;
  let power = 3; // x^(2^3): one byte
  for (let left = secondBytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = multiply(word(POWERS, power % 32), shift);
    power += 1;
  }
  return (multiply(shift, first) ^ second) >>> 0;
}

/** Polynomials modulo that of the checksum, highest bit first: 1 and x. */
const ONE = 0x80000000;
const X = 0x40000000;

/** At k: x^(2^k). The sequence repeats after 32 squarings. */
const POWERS: Uint32Array = buildPowers();

function buildPowers(): Uint32Array {
  const powers = new Uint32Array(32);
  let power = X;
  for (let k = 0; k < 32; k++) {
    powers[k] = power;
    power = multiply(power, power);
  }
  return powers;
}

/** The product of two polynomials, modulo that of the checksum. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 31; bit >= 0; bit--) {
    if ((a >>> bit) & 1) product ^= b;
    b = b & 1 ? (b >>> 1) ^ 0xedb88320 : b >>> 1;
  }
  return product >>> 0;
}

function byte(bytes: Uint8Array, i: number): number {
  return bytes[i] ?? 0;
}

function word(table: Uint32Array, i: number): number {
  return table[i] ?? 0;
}

function buildTables(): readonly Uint32Array[] {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  const first = at(tables, 0);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    first[n] = c >>> 0;
  }
  for (let k = 1; k < 8; k++) {
    const previous = at(tables, k - 1);
    const table = at(tables, k);
    for (let n = 0; n < 256; n++) {
      const c = at(previous, n);
      table[n] = ((c >>> 8) ^ at(first, c & 0xff)) >>> 0;
    }
  }
  return tables;
}
