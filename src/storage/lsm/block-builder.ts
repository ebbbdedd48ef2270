/** Builds one block of a table at a time. The bytes are described in `table-writer.ts`. */
import { assert } from '../../lib/assert.ts';
import type { Version } from '../version-engine.ts';
import { FLAGS, RESTART_INTERVAL, type BlockKind, TRAILER_BYTES, blockChecksum } from './block.ts';

/** Space that an entry needs besides its key and value: more than its fields can take. */
const ENTRY_ROOM = 80;

/** Collects the entries of a block. The caller adds them in order and seals the block when it is large enough. */
export class BlockBuilder {
  readonly #restartInterval: number;
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;
  #restarts: number[] = [];
  #entriesSinceRestart = 0;
  #previous = '';

  /** @param restartInterval entries from one whole key to the next; 1 gives every entry its whole key */
  constructor(roomBytes: number, restartInterval: number = RESTART_INTERVAL) {
    this.#restartInterval = restartInterval;
    this.#bytes = new Uint8Array(roomBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** Bytes of the block if it were sealed now. */
  get bytes(): number {
    return this.#length + 4 * this.#restarts.length + 4 + TRAILER_BYTES;
  }

  /** An entry of a data block. */
  add(version: Version): void {
    const { revision, sub, created, lease, value } = version;
    const isTombstone = version.version === 0;
    const isFirst = version.version === 1 && created === revision;
    let flags = 0;
    let tail = varintBytes(revision) + 1 + value.length;
    if (isTombstone) flags |= FLAGS.tombstone;
    else if (isFirst) flags |= FLAGS.first;
    else tail += varintBytes(created) + varintBytes(version.version);
    if (sub !== 0) {
      flags |= FLAGS.sub;
      tail += varintBytes(sub);
    }
    if (lease !== 0n) {
      flags |= FLAGS.lease;
      tail += 8;
    }
    this.#begin(version.key, tail);
    this.#varint(revision);
    this.#bytes[this.#length++] = flags;
    if (!isTombstone && !isFirst) {
      this.#varint(created);
      this.#varint(version.version);
    }
    if (sub !== 0) this.#varint(sub);
    if (lease !== 0n) {
      this.#view.setBigInt64(this.#length, lease, true);
      this.#length += 8;
    }
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** An entry of an index block: the last key and revision of a data block, and where that lies. */
  addHandle(key: string, revision: number, offset: number, bytes: number): void {
    this.#begin(key, varintBytes(revision) + varintBytes(offset) + varintBytes(bytes));
    this.#varint(revision);
    this.#varint(offset);
    this.#varint(bytes);
  }

  /**
   * Ends the block, which will stand at `offset` of the file, and begins the next.
   *
   * @returns a view that the next {@link add} overwrites
   */
  seal(kind: BlockKind, offset: number): Uint8Array {
    assert(this.#length > 0, 'A block has at least one entry');
    const total = this.bytes;
    this.#room(total);
    for (const restart of this.#restarts) {
      this.#view.setUint32(this.#length, restart, true);
      this.#length += 4;
    }
    this.#view.setUint32(this.#length, this.#restarts.length, true);
    this.#bytes[this.#length + 4] = kind;
    this.#view.setUint32(total - 4, blockChecksum(this.#bytes, 0, total - 4, offset), true);
    this.#length = 0;
    this.#restarts = [];
    this.#entriesSinceRestart = 0;
    this.#previous = '';
    return this.#bytes.subarray(0, total);
  }

  /** Writes what comes before the tail: how much of the key is that of the one before, and the rest of it. */
  #begin(key: string, tailBytes: number): void {
    this.#room(this.#length + key.length + tailBytes + ENTRY_ROOM);
    let shared = 0;
    if (this.#restarts.length === 0 || this.#entriesSinceRestart === this.#restartInterval) {
      this.#restarts.push(this.#length);
      this.#entriesSinceRestart = 0;
    } else {
      const previous = this.#previous;
      const most = Math.min(previous.length, key.length);
      while (shared < most && previous.charCodeAt(shared) === key.charCodeAt(shared)) shared++;
    }
    this.#entriesSinceRestart++;
    this.#previous = key;
    this.#varint(shared);
    this.#varint(key.length - shared);
    this.#varint(tailBytes);
    const bytes = this.#bytes;
    let at = this.#length;
    let all = 0;
    for (let i = shared; i < key.length; i++) {
      const code = key.charCodeAt(i);
      all |= code;
      bytes[at++] = code;
    }
    assert(all <= 0xff, 'A key is a latin-1 string');
    this.#length = at;
  }

  #varint(value: number): void {
    const bytes = this.#bytes;
    let at = this.#length;
    let rest = value;
    while (rest >= 0x80) {
      bytes[at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    bytes[at++] = rest;
    this.#length = at;
  }

  #room(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(bytes, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Bytes that a safe natural number takes as a varint. */
function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  let bytes = 5;
  for (let rest = Math.floor(value / 0x8_0000_0000); rest > 0; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}
