/**
 * What is left of a write-ahead log that recovery refuses as damaged: what is intact before the damage, and what is intact
 * behind it, which proves the damage and says how far the log went. Whoever finds copies elsewhere can go on with the
 * first if the second is known; nobody else may (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage",
 * FAST 2018).
 */
import { StorageError } from '../lib/errors.ts';
import { parentOf, readFile, replaceFile } from './files.ts';
import type { FileSystem } from './fs.ts';
import { RECORD_HEADER_BYTES, decodeRecord, peekRecord } from './record.ts';
import { segmentNumbers } from './recovery.ts';
import {
  SEARCH_BYTES_MAX,
  SEGMENT_HEADER_BYTES,
  decodeSegmentHeader,
  judgeTail,
  segmentName,
} from './segment.ts';
import type { WalRecord } from './segment.ts';

/** Segments kept for people, the newest. */
const ASIDE_FILES_MAX = 8;

/** Where the log is to end. */
export interface WalPlace {
  readonly segment: number;
  /** Behind the last good record; 0: the segment goes with the rest. */
  readonly offset: number;
}

export interface WalDamage {
  readonly place: WalPlace;
  /** All records before the damage. */
  readonly before: readonly WalRecord[];
  /** The newest records of the log, at least one, with nothing missing between them or behind them. */
  readonly newest: readonly WalRecord[];
}

/**
 * Looks at a log that recovery has refused, and changes nothing.
 *
 * @returns undefined when there is no damage that a later record proves, or when the newest record may be among what is
 *   damaged
 * @throws CorruptionError when a whole segment is missing, StorageError when the log cannot be read
 */
export function findDamage(fs: FileSystem, directory: string): WalDamage | undefined {
  const search = new Search();
  const numbers = segmentNumbers(fs, directory);
  const last = numbers.at(-1);
  for (const number of numbers) {
    const bytes = readFile(fs, `${directory}/${segmentName(number)}`);
    if (!search.take(number, bytes, number === last)) return undefined;
  }
  const { place, before, newest } = search;
  return place === undefined || newest.length === 0 ? undefined : { place, before, newest };
}

/**
 * Ends the log at `place`, durably, and moves what is behind it to the directory `aside`, which is created. The segment of
 * the damage itself is copied there if there is room. After a crash in the middle of it, the same call completes it.
 */
export function setDamageAside(
  fs: FileSystem,
  log: { readonly directory: string; readonly aside: string; readonly place: WalPlace },
): void {
  const { directory, aside, place } = log;
  fs.makeDirectory(aside);
  // Before anything is moved there: a directory that is lost takes all of it along.
  fs.syncDirectory(parentOf(aside));
  const name = segmentName(place.segment);
  const path = `${directory}/${name}`;
  if (place.offset > 0) copyIfLonger(fs, log);
  // The newest first, so that no segment is missing in the middle, and each durably before the next.
  const later = segmentNumbers(fs, directory).filter((number) =>
    place.offset > 0 ? number > place.segment : number >= place.segment,
  );
  for (const number of later.toReversed()) {
    fs.rename(`${directory}/${segmentName(number)}`, `${aside}/${segmentName(number)}`);
    fs.syncDirectory(aside);
    fs.syncDirectory(directory);
  }
  if (place.offset > 0) {
    const file = fs.open(path, 'readWrite');
    try {
      if (file.size() > place.offset) file.truncate(place.offset);
      file.sync();
    } finally {
      file.close();
    }
  }
  for (const oldest of fs.list(aside).slice(0, -ASIDE_FILES_MAX)) fs.remove(`${aside}/${oldest}`);
  fs.syncDirectory(aside);
}

/** Keeps a copy of the segment that is about to be cut. People may want it, and nothing depends on it. */
function copyIfLonger(
  fs: FileSystem,
  log: { readonly directory: string; readonly aside: string; readonly place: WalPlace },
): void {
  const name = segmentName(log.place.segment);
  const bytes = readFile(fs, `${log.directory}/${name}`);
  if (bytes.length <= log.place.offset) return;
  try {
    replaceFile(fs, log.aside, name, [bytes]);
  } catch (error) {
    if (!(error instanceof StorageError) || !error.isFull) throw error;
  }
}

/** Reads segment after segment and keeps what is before the first gap, and what is behind the last. */
class Search {
  place: WalPlace | undefined;
  readonly before: WalRecord[] = [];
  newest: WalRecord[] = [];
  #previous: { readonly number: number; readonly bytes: number } | undefined;
  #searchedBytes = 0;

  /** @returns false when nothing can be said of this log */
  take(number: number, bytes: Uint8Array, isLast: boolean): boolean {
    const header = decodeSegmentHeader(bytes, number);
    const previous = this.#previous;
    this.#previous = { number, bytes: bytes.length };
    if ('reason' in header) {
      if (!header.damaged) return false;
      // A segment that was torn while it was created never held a record.
      if (isLast && bytes.length <= SEGMENT_HEADER_BYTES) return true;
      this.#gap({ segment: number, offset: 0 });
    } else if (previous !== undefined && previous.bytes !== header.previousBytes) {
      // Records are missing at the end of the segment before; too many there is nothing that damage can do.
      if (previous.bytes > header.previousBytes && this.place === undefined) return false;
      this.#gap({ segment: previous.number, offset: previous.bytes });
    }
    return this.#takeRecords(number, bytes, isLast);
  }

  #takeRecords(number: number, bytes: Uint8Array, isLast: boolean): boolean {
    let offset = SEGMENT_HEADER_BYTES;
    while (offset < bytes.length) {
      const record = decodeRecord(bytes, { segment: number, offset });
      if (typeof record === 'string') {
        const isProven = this.place !== undefined || !isLast || isDamage(bytes, number, offset);
        if (!isProven) return false;
        this.#gap({ segment: number, offset });
        const next = this.#next(number, bytes, offset + 1);
        if (next === undefined) return this.#searchedBytes <= SEARCH_BYTES_MAX;
        offset = next;
        continue;
      }
      const { type, shard, payload } = record;
      (this.place === undefined ? this.before : this.newest).push({ segment: number, type, shard, payload });
      offset += record.bytes;
    }
    return true;
  }

  #gap(place: WalPlace): void {
    this.place ??= place;
    this.newest = [];
  }

  /** Where the next good record stands. */
  #next(number: number, bytes: Uint8Array, from: number): number | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let offset = from; offset <= bytes.length - RECORD_HEADER_BYTES; offset++) {
      const { length, synced } = peekRecord(view, offset);
      if (synced > offset || length > bytes.length - offset - RECORD_HEADER_BYTES) continue;
      this.#searchedBytes += length;
      if (this.#searchedBytes > SEARCH_BYTES_MAX) return undefined;
      if (typeof decodeRecord(bytes, { segment: number, offset }) !== 'string') return offset;
    }
    return undefined;
  }
}

function isDamage(bytes: Uint8Array, number: number, offset: number): boolean {
  return typeof judgeTail(bytes, number, offset) !== 'string';
}
