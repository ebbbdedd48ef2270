/**
 * One block of a table, as read: found by key, decoded an interval at a time. The bytes are described in
 * `table-writer.ts`. A block in memory stays in its encoded form; what a reader gets out of it is made on the way.
 */
import { latin1 } from '../../lib/bytes.ts';
import { CorruptionError } from '../../lib/errors.ts';
import type { Version } from '../version-engine.ts';
import { crc32 } from '../checksum.ts';

/** Behind the content of each block: its kind, one byte, and its checksum, four. */
export const TRAILER_BYTES = 5;

/** Entries of a data block from one whole key to the next. */
export const RESTART_INTERVAL = 16;

/** What a block is. The number stands in its trailer. */
export const BLOCK_KINDS = { data: 1, filter: 2, index: 3, properties: 4 } as const;

export type BlockKind = (typeof BLOCK_KINDS)[keyof typeof BLOCK_KINDS];

/** What the flags of an entry say. */
export const FLAGS = { tombstone: 1, first: 2, sub: 4, lease: 8 } as const;

const ALL_FLAGS = FLAGS.tombstone | FLAGS.first | FLAGS.sub | FLAGS.lease;
const NO_VALUE = new Uint8Array(0);

/** Small values are copied into pieces of memory of this size: one piece for many is much cheaper than one for each. */
const SLAB_BYTES = 8192;
const SLAB_VALUE_BYTES_MAX = 1024;

/** The checksum of a block that stands at `offset` of its file: its place is part of it, so that a block read from elsewhere is found out. */
export function blockChecksum(bytes: Uint8Array, start: number, end: number, offset: number): number {
  return crc32(bytes, start, end, offset % 0x1_0000_0000);
}

/** Says which bytes of which file are not what was written. */
export function damaged(path: string, offset: number, reason: string): CorruptionError {
  return new CorruptionError(`Cannot read table "${path}" at offset ${offset}: ${reason}`);
}

/** Checks the trailer of a block. @returns its content, a view of `bytes`. Throws {@link CorruptionError}. */
export function openBlock(bytes: Uint8Array, kind: BlockKind, path: string, offset: number): Uint8Array {
  const length = bytes.length;
  if (length < TRAILER_BYTES) throw damaged(path, offset, `the block has only ${length} bytes`);
  const expected = uint32(bytes, length - 4);
  const actual = blockChecksum(bytes, 0, length - 4, offset);
  if (actual !== expected) {
    throw damaged(path, offset, `checksum is ${actual.toString(16)}, expected ${expected.toString(16)}`);
  }
  const found = bytes[length - TRAILER_BYTES];
  if (found !== kind) throw damaged(path, offset, `block of kind ${found}, expected ${kind}`);
  return bytes.subarray(0, length - TRAILER_BYTES);
}

/** Where a data block lies. */
export interface BlockHandle {
  readonly offset: number;
  readonly bytes: number;
}

/* The keys of an interval are spelled out here before they become strings: one string for all of them, of which the keys
 * are slices. Making a string out of bytes costs several times what a slice does. */
let scratch = Buffer.alloc(4096);

/* Where the next small value is copied to. */
let slab = new Uint8Array(SLAB_BYTES);
let slabUsed = 0;

/**
 * The entries of a data or index block. When its memory is *recycled*, other bytes will come to stand there: such a block may be
 * used until the next one is read, and values that it gives out are copies. Else they are views of it.
 */
export class Block {
  readonly isRecycled: boolean;
  readonly #bytes: Uint8Array;
  readonly #path: string;
  readonly #offset: number;
  /** Where the entries end and the restart points begin. */
  readonly #entriesEnd: number;
  readonly restartCount: number;
  /** Where the next field is read. */
  #at = 0;

  /** @param bytes checked ones, of a block at `offset` of the file `path`. Kept. */
  constructor(bytes: Uint8Array, path: string, offset: number, isRecycled = false) {
    this.isRecycled = isRecycled;
    this.#bytes = bytes;
    this.#path = path;
    this.#offset = offset;
    this.restartCount = bytes.length < 4 ? 0 : uint32(bytes, bytes.length - 4);
    this.#entriesEnd = bytes.length - 4 - 4 * this.restartCount;
    if (this.restartCount === 0 || this.#entriesEnd <= 0) throw this.#damaged(0, 'it has no entries');
  }

  /** Bytes that it holds on to. */
  get bytes(): number {
    return this.#bytes.length;
  }

  /**
   * The newest version of `key` at or below `revision` in this block.
   *
   * @param common how many first characters the keys of this block and `key` are known to share
   */
  get(key: string, revision: number, common: number): Version | undefined {
    const bound = this.lowerBound(key, revision, common);
    if (bound > 0) {
      const found = this.#find(bound - 1, key, revision);
      if (found !== undefined) return found;
    }
    // All entries of the interval are older in the order than what is sought: it can only be the first of the next one.
    return bound < this.restartCount ? this.#firstOf(bound, key) : undefined;
  }

  /** How many intervals begin before the place of (key, revision): their first entries have smaller keys, or are newer versions of this one. Looks at those in [from, to). */
  lowerBound(
    key: string,
    revision: number,
    common: number,
    from = 0,
    to: number = this.restartCount,
  ): number {
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBefore(middle, key, revision, common)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Appends the versions of an interval to `into`. */
  decode(restart: number, into: Version[]): void {
    const end = this.#intervalEnd(restart);
    const starts: number[] = [];
    const lengths: number[] = [];
    const tails: number[] = [];
    const begin = this.#restart(restart);
    let entry = begin;
    let keyStart = 0;
    let keyLength = 0;
    let used = 0;
    while (entry < end) {
      this.#at = entry;
      const shared = this.#varint();
      const unshared = this.#varint();
      const tail = this.#varint();
      const suffix = this.#at;
      const next = suffix + unshared + tail;
      if (!(next <= end) || shared > keyLength) throw this.#damaged(entry, 'an entry is out of bounds');
      if (unshared > 0 || shared < keyLength || tails.length === 0) {
        if (used + shared + unshared > scratch.length) growScratch(used + shared + unshared);
        const keys = scratch;
        for (let i = 0; i < shared; i++) keys[used + i] = keys[keyStart + i] ?? 0;
        for (let i = 0; i < unshared; i++) keys[used + shared + i] = this.#bytes[suffix + i] ?? 0;
        keyStart = used;
        keyLength = shared + unshared;
        used += keyLength;
      }
      starts.push(keyStart);
      lengths.push(keyLength);
      tails.push(suffix + unshared, next);
      entry = next;
    }
    const text = scratch.toString('latin1', 0, used);
    const values = this.isRecycled ? this.#bytes.slice(begin, end) : this.#bytes;
    const shift = this.isRecycled ? begin : 0;
    for (let i = 0; i < starts.length; i++) {
      const start = starts[i] ?? 0;
      const key = text.slice(start, start + (lengths[i] ?? 0));
      into.push(this.#version(key, tails[2 * i] ?? 0, tails[2 * i + 1] ?? 0, values, shift));
    }
  }

  /** The key that an interval begins with. */
  firstKey(restart: number): string {
    const length = this.#keyOf(restart);
    return latin1(this.#bytes.subarray(this.#at, this.#at + length));
  }

  /** The handles of an index block, in order. */
  handles(): readonly BlockHandle[] {
    const handles: BlockHandle[] = [];
    for (let restart = 0; restart < this.restartCount; restart++) {
      const entry = this.#keyOf(restart);
      this.#at += entry;
      this.#varint();
      const offset = this.#varint();
      const bytes = this.#varint();
      if (this.#at !== this.#intervalEnd(restart)) throw this.#damaged(this.#at, 'an entry is out of bounds');
      handles.push({ offset, bytes });
    }
    return handles;
  }

  /** Looks for the newest version within one interval, whose first entry comes before it. */
  #find(restart: number, key: string, revision: number): Version | undefined {
    const bytes = this.#bytes;
    const end = this.#intervalEnd(restart);
    let entry = this.#restart(restart);
    /* How many first characters `key` shares with the entry before, which is smaller. An entry that shares more with that
     * one is smaller as well; one that shares less is larger. Only one that shares as much must be compared. */
    let matched = 0;
    while (entry < end) {
      this.#at = entry;
      const shared = this.#varint();
      const unshared = this.#varint();
      const tail = this.#varint();
      const suffix = this.#at;
      const next = suffix + unshared + tail;
      if (!(next <= end)) throw this.#damaged(entry, 'an entry is out of bounds');
      if (shared < matched) return undefined;
      if (shared === matched) {
        const most = Math.min(unshared, key.length - matched);
        let i = 0;
        while (i < most && bytes[suffix + i] === key.charCodeAt(matched + i)) i++;
        matched += i;
        if (i < unshared) {
          if (matched === key.length || (bytes[suffix + i] ?? 0) > key.charCodeAt(matched)) return undefined;
        } else if (matched === key.length) {
          this.#at = suffix + unshared;
          if (this.#varint() <= revision) return this.#version(key, suffix + unshared, next);
        }
      }
      entry = next;
    }
    return undefined;
  }

  /** The first version of an interval if it is one of `key`. */
  #firstOf(restart: number, key: string): Version | undefined {
    const length = this.#keyOf(restart);
    if (length !== key.length || this.#compare(this.#at, length, key, 0) !== 0) return undefined;
    const tail = this.#at + length;
    this.#at = this.#restart(restart);
    this.#varint();
    this.#varint();
    return this.#version(key, tail, tail + this.#varint());
  }

  #isBefore(restart: number, key: string, revision: number, common: number): boolean {
    const length = this.#keyOf(restart);
    const start = this.#at;
    const order = this.#compare(start, length, key, common);
    if (order !== 0) return order < 0;
    this.#at = start + length;
    return this.#varint() > revision;
  }

  /** Compares the key at `start` with `key`, from character `common` on. */
  #compare(start: number, length: number, key: string, common: number): number {
    const bytes = this.#bytes;
    const most = Math.min(length, key.length);
    for (let i = common; i < most; i++) {
      const difference = (bytes[start + i] ?? 0) - key.charCodeAt(i);
      if (difference !== 0) return difference;
    }
    return length - key.length;
  }

  /** Length of the whole key that an interval begins with; `#at` is then where it starts. */
  #keyOf(restart: number): number {
    const entry = this.#restart(restart);
    this.#at = entry;
    const shared = this.#varint();
    const length = this.#varint();
    const tail = this.#varint();
    if (shared !== 0 || !(this.#at + length + tail <= this.#entriesEnd)) {
      throw this.#damaged(entry, 'an entry is out of bounds');
    }
    return length;
  }

  /** The version whose tail is at `start`. Its value is a view of `values`, which are the block's bytes from `shift` on. */
  #version(key: string, start: number, end: number, values?: Uint8Array, shift = 0): Version {
    const bytes = this.#bytes;
    this.#at = start;
    const revision = this.#varint();
    const flags = bytes[this.#at++] ?? 0;
    let created = 0;
    let version = 0;
    if ((flags & FLAGS.first) !== 0) {
      created = revision;
      version = 1;
    } else if ((flags & FLAGS.tombstone) === 0) {
      created = this.#varint();
      version = this.#varint();
    }
    const sub = (flags & FLAGS.sub) === 0 ? 0 : this.#varint();
    let lease = 0n;
    if ((flags & FLAGS.lease) !== 0) {
      lease = int64(bytes, this.#at);
      this.#at += 8;
    }
    const length = end - this.#at;
    if (!(length >= 0) || flags > ALL_FLAGS) throw this.#damaged(start, 'a version is out of bounds');
    let value: Uint8Array = NO_VALUE;
    if (length > 0) {
      value =
        values === undefined
          ? this.#copy(this.#at, length)
          : new Uint8Array(values.buffer, values.byteOffset + this.#at - shift, length);
    }
    return { key, revision, sub, created, version, lease, value };
  }

  /** A value that stays what it is. */
  #copy(start: number, length: number): Uint8Array {
    const bytes = this.#bytes;
    if (!this.isRecycled) return new Uint8Array(bytes.buffer, bytes.byteOffset + start, length);
    if (length > SLAB_VALUE_BYTES_MAX) return bytes.slice(start, start + length);
    if (slabUsed + length > SLAB_BYTES) {
      slab = new Uint8Array(SLAB_BYTES);
      slabUsed = 0;
    }
    const copy = new Uint8Array(slab.buffer, slabUsed, length);
    slabUsed += length;
    for (let i = 0; i < length; i++) copy[i] = bytes[start + i] ?? 0;
    return copy;
  }

  #restart(index: number): number {
    const start = uint32(this.#bytes, this.#entriesEnd + 4 * index);
    if (start >= this.#entriesEnd) throw this.#damaged(this.#entriesEnd, 'a restart point is out of bounds');
    return start;
  }

  #intervalEnd(restart: number): number {
    return restart + 1 < this.restartCount ? this.#restart(restart + 1) : this.#entriesEnd;
  }

  /** Reads a varint. Behind the end of the block all bytes are zero; callers check where they have come to. */
  #varint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.#at++] ?? 0;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 0x80;
    do {
      byte = bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte >= 0x80);
    return value;
  }

  #damaged(at: number, reason: string): CorruptionError {
    return damaged(this.#path, this.#offset + at, reason);
  }
}

function growScratch(bytes: number): void {
  const larger = Buffer.alloc(bytes * 2);
  scratch.copy(larger);
  scratch = larger;
}

function uint32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)) >>>
    0
  );
}

function int64(bytes: Uint8Array, at: number): bigint {
  return at + 8 <= bytes.length
    ? new DataView(bytes.buffer, bytes.byteOffset + at, 8).getBigInt64(0, true)
    : 0n;
}
