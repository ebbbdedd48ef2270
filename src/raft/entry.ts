/**
 * A log entry and its one binary form. An entry is encoded once, by the leader that creates it; the same bytes go to
 * the write-ahead log and to every peer.
 *
 *   offset  size  field
 *   0       4     length of payload, u32 little-endian
 *   4       1     kind: 0 no-op, 1 command, 2 configuration, 3 stub
 *   5       8     term, u64
 *   13      8     index, u64
 *   21      n     payload (empty for a no-op and a stub)
 */
import { concatBytes, readUint64, writeUint64 } from '../lib/bytes.ts';

/** Identifies a node of the cluster: 1 and up, never reused. 0 in a field means "nobody". */
export type NodeId = number;
/** Raft's logical clock, 1 and up; 0 before the first election (Raft §5.1). */
export type Term = number;
/** Position in the log, 1 and up; 0 means "before the log". */
export type LogIndex = number;

/**
 * What an entry carries: a `noop` opens a leader's term (§8), a `command` is opaque to Raft, a `config` says who belongs (§6).
 * A `stub` is what a witness keeps of a command: where it stands and of which term it is.
 */
export type EntryKind = 'noop' | 'command' | 'config' | 'stub';

const KINDS: readonly EntryKind[] = ['noop', 'command', 'config', 'stub'];

/** An entry. Immutable; `encoded` and `payload` share memory and belong to the entry for its life. */
export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: EntryKind;
  /** The state machine's command, or a configuration; empty for a no-op and a stub. */
  readonly payload: Uint8Array;
  /** The whole entry in the binary form above. */
  readonly encoded: Uint8Array;
}

/** Holds one view, not two: a node keeps a hundred thousand entries. */
class EncodedEntry implements Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: EntryKind;
  readonly encoded: Uint8Array;

  constructor(term: Term, index: LogIndex, kind: EntryKind, encoded: Uint8Array) {
    this.term = term;
    this.index = index;
    this.kind = kind;
    this.encoded = encoded;
  }

  get payload(): Uint8Array {
    return this.encoded.subarray(ENTRY_HEADER_BYTES);
  }
}

export const ENTRY_HEADER_BYTES = 21;
const NO_PAYLOAD = new Uint8Array(0);

/** Makes an entry, encoding it. `payload` is copied. */
export function makeEntry(fields: {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: EntryKind;
  readonly payload: Uint8Array;
}): Entry {
  const { term, index, kind, payload } = fields;
  const encoded = new Uint8Array(ENTRY_HEADER_BYTES + payload.length);
  write(new DataView(encoded.buffer), encoded, 0, term, index, kind, payload);
  return new EncodedEntry(term, index, kind, encoded);
}

/** Makes command entries from `first` on, all in one piece of memory, so that they travel and are written in one piece. */
export function makeCommands(term: Term, first: LogIndex, payloads: readonly Uint8Array[]): readonly Entry[] {
  let total = 0;
  for (const payload of payloads) total += ENTRY_HEADER_BYTES + payload.length;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  const entries: Entry[] = [];
  let offset = 0;
  for (const payload of payloads) {
    const index = first + entries.length;
    const end = offset + ENTRY_HEADER_BYTES + payload.length;
    write(view, bytes, offset, term, index, 'command', payload);
    entries.push(new EncodedEntry(term, index, 'command', bytes.subarray(offset, end)));
    offset = end;
  }
  return entries;
}

/**
 * What a witness is sent of `entries`: stubs in place of commands, everything else as it is. No more than `bytesMax`, but
 * always one, if there is one.
 */
export function stubsOf(entries: readonly Entry[], bytesMax: number): readonly Entry[] {
  const taken: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const { term, index } = entry;
    const stub =
      entry.kind === 'command' ? makeEntry({ term, index, kind: 'stub', payload: NO_PAYLOAD }) : entry;
    bytes += stub.encoded.length;
    if (bytes > bytesMax && taken.length > 0) break;
    taken.push(stub);
  }
  return taken;
}

function write(
  view: DataView,
  bytes: Uint8Array,
  offset: number,
  term: Term,
  index: LogIndex,
  kind: EntryKind,
  payload: Uint8Array,
): void {
  view.setUint32(offset, payload.length, true);
  bytes[offset + 4] = KINDS.indexOf(kind);
  writeUint64(view, offset + 5, term);
  writeUint64(view, offset + 13, index);
  bytes.set(payload, offset + ENTRY_HEADER_BYTES);
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
    const kind = KINDS[code];
    if (end > bytes.length || kind === undefined) return undefined;
    if (length > 0 && (kind === 'noop' || kind === 'stub')) return undefined;
    if (!Number.isSafeInteger(term) || !Number.isSafeInteger(index) || term < 1 || index < 1)
      return undefined;
    if (previous !== undefined && (index !== previous.index + 1 || term < previous.term)) return undefined;
    const encoded = bytes.subarray(offset, end);
    previous = new EncodedEntry(term, index, kind, encoded);
    entries.push(previous);
    offset = end;
  }
  return entries;
}

/** Lays entries end to end: the inverse of {@link decodeEntries}. A view where they lie so already, else a copy. */
export function encodeEntries(entries: readonly Entry[]): Uint8Array {
  const [first] = entries;
  if (first === undefined) return new Uint8Array(0);
  const { buffer, byteOffset } = first.encoded;
  let total = 0;
  let isContiguous = true;
  for (const { encoded } of entries) {
    isContiguous &&= encoded.buffer === buffer && encoded.byteOffset === byteOffset + total;
    total += encoded.length;
  }
  if (isContiguous) return new Uint8Array(buffer, byteOffset, total);
  return concatBytes(entries.map((entry) => entry.encoded));
}
