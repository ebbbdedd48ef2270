/** Bit rot: flips one bit of a stopped node's disk, in a file and at a place where a checksum must notice it. */
import { at } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader, scanSegment, segmentNumber } from '../storage/segment.ts';
import type { CrashFileSystem } from './disk.ts';

/**
 * Flips one bit below `directory`. The end of the log is spared: bytes behind the last proof that they were durable cannot be
 * told from a write that a power cut tore.
 *
 * @param fs without faults while this runs
 * @returns what was done, in words
 */
export function damage(fs: CrashFileSystem, directory: string, random: Random): string {
  const files = rotting(fs, directory);
  if (files.length === 0) return 'found nothing to damage';
  const { path, bytes, end } = at(files, random.int(0, files.length - 1));
  const offset = random.int(0, end - 1);
  const bit = random.int(0, 7);
  const damaged = bytes.slice();
  damaged[offset] = at(bytes, offset) ^ (1 << bit);
  fs.poke(path, damaged);
  return `flipped bit ${bit} at offset ${offset} of "${path}"`;
}

/** The files whose checksums must notice every bit: what is not listed here is spared. */
function rotting(fs: CrashFileSystem, directory: string): readonly Target[] {
  const data = ['snapshots', 'lsm'].flatMap((name) => wholeFiles(fs, `${directory}/${name}`));
  return [...segments(fs, `${directory}/wal`), ...data];
}

interface Target {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Damage lies before this. */
  readonly end: number;
}

function segments(fs: CrashFileSystem, directory: string): readonly Target[] {
  if (!fs.exists(directory)) return [];
  const names = fs.list(directory).filter((name) => segmentNumber(name) !== undefined);
  const targets: Target[] = [];
  for (const [i, name] of names.entries()) {
    const path = `${directory}/${name}`;
    const bytes = fs.peek(path);
    const end = i < names.length - 1 ? bytes.length : provenIn(bytes, segmentNumber(name) ?? 0);
    if (end > 0) targets.push({ path, bytes, end });
  }
  return targets;
}

/** How much of the last segment a record in it proves durable. */
function provenIn(bytes: Uint8Array, number: number): number {
  if (bytes.length < SEGMENT_HEADER_BYTES || 'reason' in decodeSegmentHeader(bytes, number)) return 0;
  return scanSegment(bytes, number).proven;
}

function wholeFiles(fs: CrashFileSystem, directory: string): readonly Target[] {
  if (!fs.exists(directory)) return [];
  return fs
    .list(directory)
    .map((name) => ({ path: `${directory}/${name}`, bytes: fs.peek(`${directory}/${name}`) }))
    .filter(({ bytes }) => bytes.length > 0)
    .map(({ path, bytes }) => ({ path, bytes, end: bytes.length }));
}
