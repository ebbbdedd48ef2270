/**
 * What the records of the write-ahead log mean, and how they add up to a log. Records (the payload of a WAL record;
 * integers are u64 little-endian):
 *
 *   type 1  write    term | vote | commit | hasAppend u8 | after | entries, encoded, laid end to end
 *   type 2  restart  term | vote | commit | base index | base term | keep u8: the log starts over behind base. Also
 *                    opens every new segment, with `keep` set, so that older segments can go
 */
import { readUint64 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import { type Entry, type LogIndex, decodeEntries } from '../raft/entry.ts';
import type { HardState, LogPosition } from '../raft/messages.ts';
import type { WalRecord } from '../storage/wal.ts';

/** Type of a record that holds one write of the core. */
export const WRITE = 1;
/** Type of a record behind which the log starts over, or goes on in a new segment. */
export const RESTART = 2;
/** Bytes of a write before its entries. */
export const WRITE_HEADER_BYTES = 33;
export const RESTART_BYTES = 41;

/** A record of the log, decoded. `entries` undefined: it says only the hard state. */
export type LogRecord =
  | {
      readonly kind: 'write';
      readonly hard: HardState;
      readonly after: LogIndex;
      readonly entries: readonly Entry[] | undefined;
    }
  /** `keep`: what was read before stays. */
  | {
      readonly kind: 'restart';
      readonly hard: HardState;
      readonly base: LogPosition;
      readonly keep: boolean;
    };

/** The log as it adds up; changed by {@link replayRecord}. */
export interface Replay {
  hard: HardState;
  /** Where the log begins: its first entry has the next index. A term of 0 at an index above 0 is unknown. */
  base: LogPosition;
  entries: Entry[];
}

/** A log without records. */
export function emptyReplay(): Replay {
  return { hard: { term: 0, vote: 0, commit: 0 }, base: { index: 0, term: 0 }, entries: [] };
}

/** Index of the last entry, or where the log begins. */
export function endOf(replay: Replay): LogIndex {
  return replay.entries.at(-1)?.index ?? replay.base.index;
}

/** What a record says, its entries as views into `payload`; or, in words, what it is instead. */
export function decodeLogRecord(type: number, payload: Uint8Array): LogRecord | string {
  const isKnown = type === WRITE || type === RESTART;
  const minimum = type === WRITE ? WRITE_HEADER_BYTES : RESTART_BYTES;
  if (!isKnown || payload.length < minimum)
    return `record of type ${type} with ${payload.length} bytes is unknown`;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const hard = { term: readUint64(view, 0), vote: readUint64(view, 8), commit: readUint64(view, 16) };
  if (type === RESTART) {
    const base = { index: readUint64(view, 24), term: readUint64(view, 32) };
    return { kind: 'restart', hard, base, keep: payload[RESTART_BYTES - 1] === 1 };
  }
  const after = readUint64(view, 25);
  if (payload[24] !== 1) return { kind: 'write', hard, after, entries: undefined };
  const entries = decodeEntries(payload.subarray(WRITE_HEADER_BYTES));
  if (entries === undefined || (entries[0]?.index ?? after + 1) !== after + 1)
    return `a record holds something other than entries behind ${after}`;
  return { kind: 'write', hard, after, entries };
}

/**
 * Adds a record to the log before it.
 *
 * @param endAfter the end of the log after it took entries up to the first argument, when it ended at the second
 * @returns in words why it cannot follow what was before it; undefined when it does
 */
export function replayRecord(
  replay: Replay,
  record: LogRecord,
  endAfter: (appended: LogIndex, end: LogIndex) => LogIndex = (appended) => appended,
): string | undefined {
  replay.hard = record.hard;
  if (record.kind === 'restart') {
    restart(replay, record.base, record.keep);
    return undefined;
  }
  const { after, entries } = record;
  if (entries === undefined) return undefined;
  // Older segments are gone: the log as we can still see it begins here, or further back when this record replaces
  // entries that were in them. Such a base has no term; the newest snapshot must hold what is before it.
  const isSeen = replay.entries.length > 0 || after <= replay.base.index;
  if (!isSeen || (replay.base.term === 0 && after < replay.base.index)) {
    replay.base = { index: after, term: 0 };
    replay.entries = [];
  }
  if (after > endOf(replay)) return `entries are missing before ${after + 1}`;
  if (after < replay.base.index) {
    // There was no room for this write when it was made. Before there was, a checkpoint held the beginning of it.
    replay.entries = entries.filter(({ index }) => index > replay.base.index);
    return undefined;
  }
  const end = endAfter(after + entries.length, endOf(replay));
  let next = after - replay.base.index;
  for (const entry of entries) replay.entries[next++] = entry;
  replay.entries.length = end - replay.base.index;
  return undefined;
}

/**
 * Adds up all records of a log.
 *
 * @param directory of the node, for the message of an error
 * @returns the log, and for each segment where the log ended after the last of its records, at most
 * @throws CorruptionError when a record is none of a log, or does not follow those before it
 */
export function replayAll(
  records: readonly WalRecord[],
  directory: string,
  endAfter?: (appended: LogIndex, end: LogIndex) => LogIndex,
): { readonly replay: Replay; readonly segmentLast: Map<number, LogIndex> } {
  const replay = emptyReplay();
  const segmentLast = new Map<number, LogIndex>();
  for (const { type, segment, payload } of records) {
    const record = decodeLogRecord(type, payload);
    const problem = typeof record === 'string' ? record : replayRecord(replay, record, endAfter);
    if (problem !== undefined)
      throw new CorruptionError(
        `Cannot read write-ahead log of "${directory}", segment ${segment}: ${problem}`,
      );
    segmentLast.set(segment, Math.max(segmentLast.get(segment) ?? 0, endOf(replay)));
  }
  return { replay, segmentLast };
}

/** `keep`: what has been read stays; otherwise the log starts over behind `base`. */
function restart(replay: Replay, base: LogPosition, keep: boolean): void {
  if (keep) {
    const end = endOf(replay);
    if (end < base.index || (replay.entries.length === 0 && replay.base.index < base.index)) {
      replay.base = base;
      replay.entries = [];
    }
    return;
  }
  replay.base = base;
  replay.entries = [];
}
