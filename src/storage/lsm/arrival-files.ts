/**
 * The files of a checkpoint that is arriving from a peer, beside those of the tree and under numbers that are taken for
 * them, so that taking it over is one edit of the manifest and no file has to move:
 *
 *   incoming-<index>-<term>-<bytes>-<crc32>.part            its header, as long as that is not whole
 *   incoming-<index>-<term>-<bytes>-<crc32>-000123.header   its header, durable; 000123 is the number of the state file, and
 *                                                           the tables have the numbers that follow, in the header's order
 */
import { at } from '../../lib/assert.ts';
import { readFile } from '../files.ts';
import type { FileSystem } from '../fs.ts';
import { type SnapshotIdentity, incomingStem } from '../incoming-snapshot.ts';
import { PREFIX_BYTES, type StreamHeader, decodeHeader } from './checkpoint-stream.ts';
import { statePath } from './file-names.ts';
import { allTables } from './levels.ts';
import { tablePath } from './table-format.ts';
import type { TreeState } from './tree-state.ts';

/** A checkpoint whose header is there. */
export interface Arrival {
  /** File of the header. */
  readonly name: string;
  readonly identity: SnapshotIdentity;
  readonly header: StreamHeader;
  readonly headerBytes: number;
  /** Numbers of its files: from the first, below the next. */
  readonly firstNumber: number;
  readonly nextNumber: number;
}

const HEADER_NAME = /^incoming-(\d{20})-(\d+)-(\d+)-([0-9a-f]{8})-(\d{6,})\.header$/;

/** The name of an unfinished header. */
export function partName(identity: SnapshotIdentity): string {
  return `${incomingStem(identity)}.part`;
}

/** The name of a whole header. */
export function headerName(identity: SnapshotIdentity, firstNumber: number): string {
  return `${incomingStem(identity)}-${String(firstNumber).padStart(6, '0')}.header`;
}

/** Paths of the files of an arrival, in the order in which their bytes come. */
export function arrivalPaths(
  directory: string,
  firstNumber: number,
  header: StreamHeader,
): readonly string[] {
  const tables = header.tables.map((_, i) => tablePath(directory, firstNumber + 1 + i));
  return [statePath(directory, firstNumber), ...tables];
}

/** The arrivals in a directory that can go on. What else is called like one is of no use: it was taken over, is old or damaged. */
export function findArrivals(fs: FileSystem, directory: string, state: TreeState): readonly Arrival[] {
  const live = new Set<number>();
  for (const { meta } of allTables(state.levels)) live.add(meta.number);
  if (state.checkpoint !== undefined) live.add(state.checkpoint.number);
  const arrivals: Arrival[] = [];
  for (const name of fs.list(directory)) {
    const arrival = readArrival(fs, directory, name);
    if (arrival === undefined || arrival.identity.index <= (state.checkpoint?.index ?? -1)) continue;
    let isFree = true;
    for (let number = arrival.firstNumber; number < arrival.nextNumber; number++) {
      if (live.has(number)) isFree = false;
    }
    if (!isFree) continue;
    for (let number = arrival.firstNumber; number < arrival.nextNumber; number++) live.add(number);
    arrivals.push(arrival);
  }
  return arrivals;
}

function readArrival(fs: FileSystem, directory: string, name: string): Arrival | undefined {
  const parts = HEADER_NAME.exec(name);
  if (parts === null) return undefined;
  const identity: SnapshotIdentity = {
    index: Number(parts[1]),
    term: Number(parts[2]),
    totalBytes: Number(parts[3]),
    crc32: Number.parseInt(at(parts, 4), 16),
  };
  const firstNumber = Number(parts[5]);
  if (headerName(identity, firstNumber) !== name) return undefined;
  const bytes = readFile(fs, `${directory}/${name}`);
  if (bytes.length < PREFIX_BYTES) return undefined;
  const decoded = decodeHeader(bytes, identity);
  if (decoded.kind !== 'header') return undefined;
  const { header } = decoded;
  const nextNumber = firstNumber + 1 + header.tables.length;
  return { name, identity, header, headerBytes: bytes.length, firstNumber, nextNumber };
}
