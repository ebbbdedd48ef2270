/**
 * Opens the segments of a write-ahead log after a stop of any kind: reads all records, cuts a torn tail, refuses damage.
 * Running it twice, or being cut off in the middle of it, gives the same records.
 */
import { at } from '../lib/assert.ts';
import { CorruptionError, StorageError } from '../lib/errors.ts';
import { readFile } from './files.ts';
import type { FileSystem } from './fs.ts';
import {
  type BadHeader,
  SEGMENT_HEADER_BYTES,
  decodeSegmentHeader,
  judgeTail,
  scanSegment,
  segmentName,
  segmentNumber,
} from './segment.ts';
import type { WalRecord } from './segment.ts';

/** Bytes removed from the end of the log because they were never wholly durable. */
export interface WalCut {
  readonly segment: number;
  /** Where the cut is; 0 when the whole segment, torn while it was created, was removed. */
  readonly offset: number;
  /** How many bytes were removed. */
  readonly bytes: number;
}

export interface SegmentFile {
  readonly number: number;
  /** Size of the file. */
  readonly bytes: number;
}

export interface Recovery {
  /** The segments on disk, oldest first, numbers consecutive. Empty for a new log. */
  readonly segments: readonly SegmentFile[];
  readonly records: readonly WalRecord[];
  readonly cut: WalCut | undefined;
}

const REMEDY =
  'restore the data directory from a copy, or remove this node from the cluster and add it again under a new id';

/** Recovers the log in `directory`. On return all of it is durable. */
export function recoverLog(fs: FileSystem, directory: string): Recovery {
  // A name made or removed just before the stop may not be durable yet.
  fs.syncDirectory(directory);
  const numbers = segmentNumbers(fs, directory);
  const segments: SegmentFile[] = [];
  const records: WalRecord[] = [];
  for (const number of numbers.slice(0, -1)) {
    const bytes = readFile(fs, pathOf(directory, number));
    const header = decodeSegmentHeader(bytes, number);
    if ('reason' in header) throw badHeader(pathOf(directory, number), header);
    checkPrevious(directory, segments.at(-1), header.previousBytes);
    const scan = scanSegment(bytes, number);
    if (scan.bad !== undefined) throw corrupt(pathOf(directory, number), scan.end, scan.bad);
    for (const record of scan.records) records.push(record);
    segments.push({ number, bytes: bytes.length });
  }
  const last = numbers.at(-1);
  if (last === undefined) return { segments, records, cut: undefined };
  const cut = recoverLast(fs, directory, last, { segments, records });
  return { segments, records, cut };
}

/** The last segment: the only one that may end in bytes that never became durable. Adds to `found`. */
function recoverLast(
  fs: FileSystem,
  directory: string,
  number: number,
  found: { readonly segments: SegmentFile[]; readonly records: WalRecord[] },
): WalCut | undefined {
  const path = pathOf(directory, number);
  const bytes = readFile(fs, path);
  const header = decodeSegmentHeader(bytes, number);
  if ('reason' in header) {
    // The header was durable before anything was written behind it: only a segment without records can be torn there.
    // A segment after the first has its predecessor beside it until it holds records of its own.
    const isBare = bytes.length <= SEGMENT_HEADER_BYTES && (number === 1 || found.segments.length > 0);
    if (!header.damaged || !isBare) throw badHeader(path, header);
    fs.remove(path);
    fs.syncDirectory(directory);
    return { segment: number, offset: 0, bytes: bytes.length };
  }
  checkPrevious(directory, found.segments.at(-1), header.previousBytes);

  const scan = scanSegment(bytes, number);
  if (scan.bad !== undefined) {
    const verdict = judgeTail(bytes, number, scan.end);
    if (verdict === 'undecided') {
      throw corrupt(path, scan.end, `${scan.bad}; it cannot be told whether it was ever durable`);
    }
    if (verdict !== 'torn') {
      throw corrupt(
        path,
        scan.end,
        `${scan.bad}; the record at offset ${verdict.offset} shows that it was durable`,
      );
    }
  }
  renew(fs, path, { from: scan.proven, to: scan.end });
  for (const record of scan.records) found.records.push(record);
  found.segments.push({ number, bytes: scan.end });
  return scan.bad === undefined
    ? undefined
    : { segment: number, offset: scan.end, bytes: bytes.length - scan.end };
}

/**
 * Ends the file at `to` and makes its bytes from `from` durable. They are written again first: after a failed sync the
 * operating system may hold bytes that it believes written and will never write (Rebello et al., "Can Applications
 * Recover from fsync Failures?", 2020), and a sync alone would lie about them. The bytes do not change, so a power cut
 * meanwhile does no harm.
 */
function renew(fs: FileSystem, path: string, range: { readonly from: number; readonly to: number }): void {
  const file = fs.open(path, 'readWrite');
  try {
    if (file.size() > range.to) file.truncate(range.to);
    if (range.to > range.from) file.write(file.read(range.from, range.to - range.from), range.from);
    file.sync();
  } finally {
    file.close();
  }
}

/** The numbers of the segments, ascending. Refuses gaps and files that do not belong there. */
export function segmentNumbers(fs: FileSystem, directory: string): readonly number[] {
  const numbers: number[] = [];
  for (const name of fs.list(directory)) {
    if (name.startsWith('.')) continue; // desktop clutter such as .DS_Store
    const number = segmentNumber(name);
    if (number === undefined) {
      throw new StorageError(`Cannot open log "${directory}": "${name}" does not belong there; move it away`);
    }
    numbers.push(number);
  }
  numbers.sort((a, b) => a - b);
  for (let i = 1; i < numbers.length; i++) {
    const expected = at(numbers, i - 1) + 1;
    if (at(numbers, i) !== expected) {
      throw new CorruptionError(
        `Cannot open log "${directory}": segment "${segmentName(expected)}" is missing; ${REMEDY}`,
      );
    }
  }
  return numbers;
}

function checkPrevious(directory: string, previous: SegmentFile | undefined, bytes: number): void {
  if (previous === undefined || previous.bytes === bytes) return;
  const offset = Math.min(previous.bytes, bytes);
  throw corrupt(
    pathOf(directory, previous.number),
    offset,
    `its size is ${previous.bytes} bytes, expected ${bytes}`,
  );
}

function pathOf(directory: string, number: number): string {
  return `${directory}/${segmentName(number)}`;
}

/** With a segment of a later format nothing is wrong: nothing has to be restored. */
function badHeader(path: string, { reason, isLater = false }: BadHeader): Error {
  return isLater ? new StorageError(`Cannot open segment "${path}": ${reason}`) : corrupt(path, 0, reason);
}

function corrupt(path: string, offset: number, reason: string): CorruptionError {
  return new CorruptionError(
    `Cannot open segment "${path}": damaged at offset ${offset}: ${reason}; ${REMEDY}`,
  );
}
