/**
 * A log entry and its one binary form. An entry is encoded once, by the leader that creates it; the same bytes go to
 * the write-ahead log and to every peer.
 *
 *   offset  size  field
 *   0       4     length of payload, u32 little-endian
 *   4       1     kind: 0 no-op, 1 command
 *   5       8     term, u64
 *   13      8     index, u64
 *   21      n     payload (empty for a no-op)
 */
import { assert } from '../lib/assert.ts';
import { readUint64, writeUint64 } from '../lib/bytes.ts';

/** Identifies a node of the cluster: 1 and up, never reused. 0 in a field means "nobody". */
export type NodeId = number;
/** Raft's logical clock, 1 and up; 0 before the first election (Raft §5.1). */
export type Term = number;
/** Position in the log, 1 and up; 0 means "before the log". */
export type LogIndex = number;

/** What an entry carries: a `noop` opens a leader's term (§8), a `command` is opaque to Raft. */
export type EntryKind = 'noop' | 'command';

/** An entry. Immutable; `encoded` and `payload` share memory and belong to the entry for its life. */
export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: EntryKind;
  /** The state machine's command; empty for a no-op. */
  readonly payload: Uint8Array;
  /** The whole entry in the binary form above. */
  readonly encoded: Uint8Array;
}

export const ENTRY_HEADER_BYTES = 21;

/** Makes an entry, encoding it. `payload` is copied. */
export function makeEntry(fields: {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: EntryKind;
  readonly payload: Uint8Array;
}): Entry {
  const { term, index, kind } = fields;
  const length = fields.payload.length;
  const encoded = new Uint8Array(ENTRY_HEADER_BYTES + length);
  const view = new DataView(encoded.buffer);
  view.setUint32(0, length, true);
  encoded[4] = kind === 'noop' ? 0 : 1;
  writeUint64(view, 5, term);
  writeUint64(view, 13, index);
  encoded.set(fields.payload, ENTRY_HEADER_BYTES);
  return { term, index, kind, payload: encoded.subarray(ENTRY_HEADER_BYTES), encoded };
}

/**
 * Reads entries laid end to end. The entries are views into `bytes`, which the caller must not change afterwards.
 *
 * @returns undefined when the bytes are not a sequence of whole, well-formed entries with consecutive indexes
 */
export function decodeEntries(bytes: Uint8Array): readonly Entry[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Entry[] = [];
  let offset = 0;
  let previous: Entry | undefined;
  while (offset < bytes.length) {
    if (bytes.length - offset < ENTRY_HEADER_BYTES) return undefined;
    const length = view.getUint32(offset, true);
    const end = offset + ENTRY_HEADER_BYTES + length;
    const code = view.getUint8(offset + 4);
    const term = readUint64(view, offset + 5);
    const index = readUint64(view, offset + 13);
    if (end > bytes.length || code > 1 || (code === 0 && length > 0)) return undefined;
    if (!Number.isSafeInteger(term) || !Number.isSafeInteger(index) || term < 1 || index < 1)
      return undefined;
    if (previous !== undefined && (index !== previous.index + 1 || term < previous.term)) return undefined;
    const encoded = bytes.subarray(offset, end);
    const kind = code === 0 ? 'noop' : 'command';
    previous = { term, index, kind, payload: encoded.subarray(ENTRY_HEADER_BYTES), encoded };
    entries.push(previous);
    offset = end;
  }
  return entries;
}

/** Lays entries end to end: the inverse of {@link decodeEntries}. */
export function encodeEntries(entries: readonly Entry[]): Uint8Array {
  let total = 0;
  for (const entry of entries) total += entry.encoded.length;
  const bytes = new Uint8Array(total);
  let offset = 0;
  for (const entry of entries) {
    bytes.set(entry.encoded, offset);
    offset += entry.encoded.length;
  }
  assert(offset === total, 'Entries changed while they were encoded');
  return bytes;
}
