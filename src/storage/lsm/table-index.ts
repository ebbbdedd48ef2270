/**
 * The index of a table in memory: which data block to look into. Of each block's last key a few bytes lie in one array of numbers,
 * where the search goes without touching a key; only where they are equal are whole keys compared.
 */
import type { Block, BlockHandle } from './block.ts';

/** Bytes of a key that make one number: as many as a double holds. */
const DIGEST_BYTES = 6;

/** Built over an index block when a table is opened. */
export class TableIndex {
  readonly handles: readonly BlockHandle[];
  readonly #block: Block;
  readonly #first: string;
  readonly #last: string;
  /** How many first characters all keys of the table have in common. */
  readonly common: number;
  readonly #digests: Float64Array;

  /** @param range first and last key of the table. Throws {@link CorruptionError} for handles or keys that cannot be read. */
  constructor(block: Block, range: { readonly first: string; readonly last: string }) {
    this.#block = block;
    this.#first = range.first;
    this.#last = range.last;
    this.common = commonPrefix(range.first, range.last);
    this.handles = block.handles();
    this.#digests = new Float64Array(this.handles.length);
    for (let i = 0; i < this.handles.length; i++) this.#digests[i] = digest(block.firstKey(i), this.common);
  }

  /** The first block whose last key and revision are not before (key, revision); `handles.length` when there is none. */
  find(key: string, revision: number): number {
    if (key < this.#first) return 0;
    if (key > this.#last) return this.handles.length;
    // Between the first and the last key, it shares what they have in common.
    const digests = this.#digests;
    const sought = digest(key, this.common);
    let low = 0;
    let high = digests.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((digests[middle] ?? 0) < sought) low = middle + 1;
      else high = middle;
    }
    if (low === digests.length || digests[low] !== sought) return low;
    let end = low + 1;
    for (let reach = 1; end < digests.length && digests[end] === sought; reach *= 2) end += reach;
    return this.#block.lowerBound(key, revision, this.common, low, Math.min(end, digests.length));
  }
}

/** The bytes of `key` behind its first `skip` as a number: keys with different ones are in the order of these. */
function digest(key: string, skip: number): number {
  let value = 0;
  for (let i = skip; i < skip + DIGEST_BYTES; i++)
    value = value * 0x100 + (i < key.length ? key.charCodeAt(i) : 0);
  return value;
}

function commonPrefix(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}
