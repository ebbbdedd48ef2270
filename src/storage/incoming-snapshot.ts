/**
 * A snapshot that is arriving from a peer, on disk: parts are written as they come, in any order within a window, and
 * nothing of them stays in memory. Who sends them and what is said in return is for the node.
 *
 * The file is named after what will be in it, so that a transfer goes on after a restart of either side, and with another
 * sender that has the same bytes:
 *
 *   snapshots/incoming-<index>-<term>-<bytes>-<crc32 of all bytes>.part
 */
import { assert, defined } from '../lib/assert.ts';
import { StorageError } from '../lib/errors.ts';
import type { File, FileSystem } from './fs.ts';
import { hex32 } from './record.ts';
import { SNAPSHOT_SLICE_BYTES, type SnapshotFields, SnapshotFile, type Verdict } from './snapshot-file.ts';

/** Which snapshot: two with the same identity have the same bytes. */
export interface SnapshotIdentity {
  readonly index: number;
  readonly term: number;
  readonly totalBytes: number;
  /** Of all bytes. */
  readonly crc32: number;
}

/** How far behind the first missing byte a part may end. */
export const INCOMING_WINDOW_BYTES: number = 1024 * 1024;
/** Bytes between two syncs, so that the last one has little left to wait for. */
const SYNC_EVERY_BYTES = 1024 * 1024;
/** Parts that may lie behind a gap; further ones come again. */
const AHEAD_MAX = 64;

const NAME = /^incoming-(\d{20})-(\d+)-(\d+)-([0-9a-f]{8})\.part$/;

/** The name of the file in which a snapshot arrives. */
export function incomingName(identity: SnapshotIdentity): string {
  const { index, term, totalBytes, crc32 } = identity;
  return `incoming-${String(index).padStart(20, '0')}-${term}-${totalBytes}-${hex32(crc32)}.part`;
}

/** The index of the snapshot that arrives in a file of this name; undefined for a file of another kind. */
export function incomingIndexOf(name: string): number | undefined {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

export class IncomingSnapshot {
  readonly identity: SnapshotIdentity;
  readonly path: string;
  readonly #fs: FileSystem;
  readonly #file: File;
  #received: number;
  #synced: number;
  /** Parts that lie behind a gap: where each begins and ends. */
  readonly #ahead: Map<number, number> = new Map();
  #check: SnapshotFile | undefined;
  /** The file is closed, or another's. */
  #isDone = false;

  /** Goes on with what is in the directory from an earlier attempt, or begins. At most one object a file. */
  constructor(fs: FileSystem, directory: string, identity: SnapshotIdentity) {
    this.#fs = fs;
    this.identity = identity;
    this.path = `${directory}/${incomingName(identity)}`;
    const isResumed = fs.exists(this.path);
    this.#file = fs.open(this.path, isResumed ? 'readWrite' : 'create');
    this.#received = isResumed ? this.#keepTrusted() : 0;
    this.#synced = this.#received;
  }

  /** Everything before this offset has arrived. */
  get received(): number {
    return this.#received;
  }

  get isComplete(): boolean {
    return this.#received === this.identity.totalBytes;
  }

  /** How many bytes behind {@link received} are welcome. */
  get windowBytes(): number {
    return Math.min(INCOMING_WINDOW_BYTES, this.identity.totalBytes - this.#received);
  }

  /** Takes a part. @returns false when it lies outside the window and must come again */
  write(offset: number, bytes: Uint8Array): boolean {
    const end = offset + bytes.length;
    if (end <= this.#received || this.#ahead.get(offset) === end) return true;
    if (end > this.#received + this.windowBytes) return false;
    const isAhead = offset > this.#received;
    if (isAhead && this.#ahead.size >= AHEAD_MAX) return false;
    this.#file.write(bytes, offset);
    if (isAhead) {
      this.#ahead.set(offset, Math.max(end, this.#ahead.get(offset) ?? 0));
      return true;
    }
    this.#received = end;
    this.#closeGaps();
    if (this.isComplete || this.#received - this.#synced >= SYNC_EVERY_BYTES) {
      this.#file.sync();
      this.#synced = this.#received;
    }
    return true;
  }

  /** Verifies about 1 MiB of a complete file, as it lies on disk. */
  verify(): Verdict {
    assert(this.isComplete, 'Only a complete snapshot can be verified');
    const { index, term, crc32 } = this.identity;
    this.#check ??= new SnapshotFile(this.#file, {
      action: `Cannot install snapshot "${this.path}"`,
      expected: { index, term },
    });
    const verdict = this.#check.verify();
    if (verdict.kind !== 'whole' || this.#check.crc32 === crc32) return verdict;
    return {
      kind: 'damaged',
      why: `checksum of all bytes is ${hex32(this.#check.crc32)}, expected ${hex32(crc32)}`,
    };
  }

  /** The header. Of a snapshot that is verified to its end only. */
  get meta(): SnapshotFields {
    return defined(this.#check, 'a verified snapshot').meta;
  }

  /** The verified file, which belongs to the caller from now on. */
  take(): SnapshotFile {
    assert(!this.#isDone && this.verify().kind === 'whole', 'Only a whole snapshot is installed');
    this.#isDone = true;
    return defined(this.#check, 'a verified snapshot');
  }

  /** Stops receiving. What has arrived stays on disk, for the next attempt. */
  close(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#file.close();
  }

  /** Stops receiving, and gives back the space. Does nothing to a file that was taken. */
  discard(): void {
    if (this.#isDone) return;
    this.close();
    try {
      this.#fs.remove(this.path);
    } catch (error) {
      // It is gone already, or whoever opens the directory next removes it.
      if (!(error instanceof StorageError)) throw error;
    }
  }

  /** Cuts an earlier attempt down to what may be believed. @returns its size */
  #keepTrusted(): number {
    try {
      const size = trusted(this.#file.size(), this.identity.totalBytes);
      this.#file.truncate(size);
      return size;
    } catch (error) {
      // Nobody has the object yet who could close it.
      this.#file.close();
      throw error;
    }
  }

  /** Parts that lay behind a gap and now do not. */
  #closeGaps(): void {
    for (let isGrowing = true; isGrowing;) {
      isGrowing = false;
      for (const [start, end] of this.#ahead) {
        if (start > this.#received) continue;
        this.#ahead.delete(start);
        isGrowing ||= end > this.#received;
        this.#received = Math.max(this.#received, end);
      }
    }
  }
}

/**
 * How much of a file of `size` bytes is what was written, whatever happened meanwhile. After the last sync, which made
 * everything up to some offset durable, at most {@link SYNC_EVERY_BYTES} more came in order, and a window behind them: a
 * power cut may have lost, torn or kept each of those writes, and nothing before.
 */
function trusted(size: number, totalBytes: number): number {
  const durable = Math.min(size, totalBytes) - SYNC_EVERY_BYTES - INCOMING_WINDOW_BYTES;
  return Math.max(0, Math.floor(durable / SNAPSHOT_SLICE_BYTES) * SNAPSHOT_SLICE_BYTES);
}
