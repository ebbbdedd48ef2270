/**
 * The framing of log records. What a record means is the business of whoever wrote it.
 *
 *   offset  size  field
 *   0       4     length of the payload, u32 little-endian (so are all)
 *   4       4     checksum: CRC-32 of [segment number u32, offset of the record u32, length u32], then of all that follows
 *   8       1     type, 1..255
 *   9       2     shard, u16
 *   11      4     synced: the offset in this segment below which all was known durable when the record was written
 *   15      n     payload
 *
 * The place of the record goes into its checksum without being stored: a record copied, moved, or written inside a
 * payload by a client is not a record. `synced` tells a torn tail from corruption: see wal.ts.
 */
import { assert } from '../lib/assert.ts';
import { crc32 } from './checksum.ts';

export const RECORD_HEADER_BYTES = 15;

/** The largest payload of a record. Far above any request limit; it bounds what a damaged length can claim. */
export const RECORD_PAYLOAD_BYTES_MAX: number = 1 << 28;

/** Buffers up to this size are kept between records; a larger one is used once. */
const KEPT_BYTES_MAX = 1 << 20;

/** Where a record stands: part of its checksum. */
export interface RecordPlace {
  readonly segment: number;
  /** Offset of the record's first byte in the segment. */
  readonly offset: number;
}

/** A record as read back. `payload` is a view into the bytes given to {@link decodeRecord}. */
export interface DecodedRecord {
  readonly type: number;
  readonly shard: number;
  readonly synced: number;
  readonly payload: Uint8Array;
  /** Header and payload. */
  readonly bytes: number;
}

/** Encodes records into one buffer that is used again and again. */
export class RecordEncoder {
  #buffer = new Uint8Array(4096);

  /**
   * One record whose payload is `parts` laid end to end.
   *
   * @returns a view that the next call overwrites
   */
  encode(
    fields: RecordPlace & { readonly type: number; readonly shard: number; readonly synced: number },
    parts: readonly Uint8Array[],
  ): Uint8Array {
    assert(
      Number.isInteger(fields.type) && fields.type >= 1 && fields.type <= 255,
      'Record type out of range',
    );
    assert(
      Number.isInteger(fields.shard) && fields.shard >= 0 && fields.shard <= 0xffff,
      'Shard out of range',
    );
    assert(fields.synced <= fields.offset, 'A record cannot be durable before it is written');
    let length = 0;
    for (const part of parts) length += part.length;
    assert(length <= RECORD_PAYLOAD_BYTES_MAX, 'Record payload over the limit');

    const total = RECORD_HEADER_BYTES + length;
    const buffer = this.#room(total);
    const view = new DataView(buffer.buffer);
    view.setUint32(0, length, true);
    buffer[8] = fields.type;
    view.setUint16(9, fields.shard, true);
    view.setUint32(11, fields.synced, true);
    let at = RECORD_HEADER_BYTES;
    for (const part of parts) {
      buffer.set(part, at);
      at += part.length;
    }
    view.setUint32(4, checksum(fields, length, buffer, 0, total), true);
    return buffer.subarray(0, total);
  }

  #room(bytes: number): Uint8Array {
    if (bytes <= this.#buffer.length) return this.#buffer;
    const larger = new Uint8Array(Math.max(bytes, this.#buffer.length * 2));
    if (larger.length <= KEPT_BYTES_MAX) this.#buffer = larger;
    return larger;
  }
}

/** The record at `place.offset` of a segment's `bytes`, or the reason why there is none. */
export function decodeRecord(bytes: Uint8Array, place: RecordPlace): DecodedRecord | string {
  const { offset } = place;
  const left = bytes.length - offset;
  if (left < RECORD_HEADER_BYTES) return `only ${left} bytes are left`;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, left);
  const length = view.getUint32(0, true);
  if (length > RECORD_PAYLOAD_BYTES_MAX || length > left - RECORD_HEADER_BYTES) {
    return `length ${length} is more than the ${left - RECORD_HEADER_BYTES} bytes left`;
  }
  const total = RECORD_HEADER_BYTES + length;
  const expected = view.getUint32(4, true);
  const actual = checksum(place, length, bytes, offset, offset + total);
  if (actual !== expected) return `checksum is ${hex32(actual)}, expected ${hex32(expected)}`;
  const type = view.getUint8(8);
  const synced = view.getUint32(11, true);
  if (type === 0 || synced > offset) return 'its fields are out of range';
  const payload = bytes.subarray(offset + RECORD_HEADER_BYTES, offset + total);
  return { type, shard: view.getUint16(9, true), synced, payload, bytes: total };
}

/** What the search for survivors behind a bad record needs to know before it pays for a checksum. */
export function peekRecord(
  view: DataView,
  offset: number,
): { readonly length: number; readonly synced: number } {
  return { length: view.getUint32(offset, true), synced: view.getUint32(offset + 11, true) };
}

/** Eight hexadecimal digits, as checksums are shown. */
export function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}

const prefix = new Uint8Array(12);
const prefixView = new DataView(prefix.buffer);

function checksum(place: RecordPlace, length: number, bytes: Uint8Array, start: number, end: number): number {
  prefixView.setUint32(0, place.segment, true);
  prefixView.setUint32(4, place.offset, true);
  prefixView.setUint32(8, length, true);
  return crc32(bytes, start + 8, end, crc32(prefix));
}
