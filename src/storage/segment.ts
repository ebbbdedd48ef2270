/**
 * What is in one segment file of the write-ahead log: its header, its records, and what a bad record in it means.
 * Pure: works on the bytes of the whole file.
 *
 *   offset  size  field
 *   0       8     magic, "OXIDEWAL"
 *   8       4     format version, u32 little-endian (so are all)
 *   12      4     number of this segment
 *   16      4     final size of the segment before; 0 for segment 1. A segment cut short between two records is found by it
 *   20      4     CRC-32 of the bytes before
 *   24      …     records (record.ts)
 */
import { equalBytes } from '../lib/bytes.ts';
import { crc32 } from './checksum.ts';
import { laterFormat } from './later-format.ts';
import { RECORD_HEADER_BYTES, decodeRecord, hex32, peekRecord } from './record.ts';

export const SEGMENT_HEADER_BYTES = 24;
export const SEGMENT_FORMAT = 1;

const MAGIC = Uint8Array.from('OXIDEWAL', (c) => c.charCodeAt(0));

/**
 * How many bytes the search behind a bad record may checksum. Real tails need a few records' worth; only bytes made to
 * look like records at every offset come near this, and they must not hold up a start for hours.
 */
export const SEARCH_BYTES_MAX: number = 1 << 30;

/** A record of the log. `payload` is a view into memory that the caller of recovery owns. */
export interface WalRecord {
  /** Number of the segment that holds it. */
  readonly segment: number;
  /** What the record is: 1..255, chosen by the writer. */
  readonly type: number;
  readonly shard: number;
  readonly payload: Uint8Array;
}

/** `000012.wal`. */
export function segmentName(number: number): string {
  return `${String(number).padStart(6, '0')}.wal`;
}

/** The number of a segment's file name, or undefined when it is not one. */
export function segmentNumber(name: string): number | undefined {
  const digits = /^(\d{6,9})\.wal$/.exec(name)?.[1];
  if (digits === undefined) return undefined;
  const number = Number(digits);
  return number > 0 && segmentName(number) === name ? number : undefined;
}

/** The header of segment `number`, whose predecessor ended with `previousBytes`. */
export function encodeSegmentHeader(number: number, previousBytes: number): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC, 0);
  view.setUint32(8, SEGMENT_FORMAT, true);
  view.setUint32(12, number, true);
  view.setUint32(16, previousBytes, true);
  view.setUint32(20, crc32(bytes, 0, 20), true);
  return bytes;
}

/**
 * Why there is no header. `damaged`: the bytes are not what was written; otherwise they are whole, but belong to another
 * format or another segment. `isLater`: the format is one of a later program.
 */
export interface BadHeader {
  readonly reason: string;
  readonly damaged: boolean;
  readonly isLater?: boolean;
}

/** What the header of segment `number` says, or the reason why it is not one. */
export function decodeSegmentHeader(
  bytes: Uint8Array,
  number: number,
): { readonly previousBytes: number } | BadHeader {
  if (bytes.length < SEGMENT_HEADER_BYTES)
    return { reason: `its header is cut at ${bytes.length} bytes`, damaged: true };
  const view = new DataView(bytes.buffer, bytes.byteOffset, SEGMENT_HEADER_BYTES);
  const actual = crc32(bytes, 0, 20);
  const expected = view.getUint32(20, true);
  if (actual !== expected) {
    return { reason: `header checksum is ${hex32(actual)}, expected ${hex32(expected)}`, damaged: true };
  }
  if (!equalBytes(bytes.subarray(0, 8), MAGIC)) return { reason: 'it is not a log segment', damaged: false };
  const format = view.getUint32(8, true);
  if (format > SEGMENT_FORMAT)
    return { reason: laterFormat(format, SEGMENT_FORMAT), damaged: false, isLater: true };
  if (format < SEGMENT_FORMAT) return { reason: `its format is ${format}, which never was`, damaged: false };
  const found = view.getUint32(12, true);
  if (found !== number) return { reason: `it says it is segment ${found}`, damaged: false };
  return { previousBytes: view.getUint32(16, true) };
}

/** A segment read from its header to its end, or to its first bad record. */
export interface SegmentScan {
  readonly records: readonly WalRecord[];
  /** Offset behind the last good record. */
  readonly end: number;
  /** Highest offset below which a record proves everything durable; 0 when none does. */
  readonly proven: number;
  /** Why the bytes at `end` are no record; undefined at the end of the file. */
  readonly bad: string | undefined;
}

/** Reads the records behind a good header. */
export function scanSegment(bytes: Uint8Array, number: number): SegmentScan {
  const records: WalRecord[] = [];
  let end = SEGMENT_HEADER_BYTES;
  let proven = 0;
  while (end < bytes.length) {
    const record = decodeRecord(bytes, { segment: number, offset: end });
    if (typeof record === 'string') return { records, end, proven, bad: record };
    const { type, shard, payload } = record;
    records.push({ segment: number, type, shard, payload });
    proven = Math.max(proven, record.synced);
    end += record.bytes;
  }
  return { records, end, proven, bad: undefined };
}

/**
 * Decides whether the bad bytes at `bad` of the last segment are a torn tail or damage. Writes that were never synced
 * may be lost, torn or reordered by a power cut (etcd issue 6378: the second append survived and the first did not), so
 * a later good record alone proves nothing; one that was written when the bytes at `bad` were known durable does.
 *
 * @returns `torn`, or the offset of the record that proves damage, or `undecided` when the search became too long
 */
export function judgeTail(
  bytes: Uint8Array,
  number: number,
  bad: number,
): 'torn' | 'undecided' | { readonly offset: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let searched = 0;
  for (let offset = bad + 1; offset <= bytes.length - RECORD_HEADER_BYTES; offset++) {
    const { length, synced } = peekRecord(view, offset);
    if (synced <= bad || synced > offset || length > bytes.length - offset - RECORD_HEADER_BYTES) continue;
    searched += length;
    if (searched > SEARCH_BYTES_MAX) return 'undecided';
    if (typeof decodeRecord(bytes, { segment: number, offset }) !== 'string') return { offset };
  }
  return 'torn';
}
