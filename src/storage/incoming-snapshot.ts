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
import { ArrivalWindow, trustedBytes } from './arrival-window.ts';
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

/** Whether two identities are those of the same bytes. */
export function isSameIdentity(a: SnapshotIdentity, b: SnapshotIdentity): boolean {
  return a.index === b.index && a.term === b.term && a.totalBytes === b.totalBytes && a.crc32 === b.crc32;
}

const NAME = /^incoming-(\d{20})-(\d+)-(\d+)-([0-9a-f]{8})\.part$/;

/** What the names of all files begin with in which a snapshot arrives. */
export function incomingStem({ index, term, totalBytes, crc32 }: SnapshotIdentity): string {
  return `incoming-${String(index).padStart(20, '0')}-${term}-${totalBytes}-${hex32(crc32)}`;
}

/** The name of the file in which a snapshot arrives. */
export function incomingName(identity: SnapshotIdentity): string {
  return `${incomingStem(identity)}.part`;
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
  readonly #window: ArrivalWindow;
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
    this.#window = new ArrivalWindow(identity.totalBytes, isResumed ? this.#keepTrusted() : 0);
  }

  /** Everything before this offset has arrived. */
  get received(): number {
    return this.#window.received;
  }

  get isComplete(): boolean {
    return this.#window.isComplete;
  }

  /** How many bytes behind {@link received} are welcome. */
  get windowBytes(): number {
    return this.#window.windowBytes;
  }

  /** Takes a part. @returns false when it lies outside the window and must come again */
  write(offset: number, bytes: Uint8Array): boolean {
    const verdict = this.#window.judge(offset, bytes.length);
    if (verdict !== 'wanted') return verdict === 'known';
    this.#file.write(bytes, offset);
    if (this.#window.written(offset, bytes.length)) {
      this.#file.sync();
      this.#window.synced();
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

  /** Cuts an earlier attempt down to what may be believed, in whole slices. @returns its size */
  #keepTrusted(): number {
    try {
      const trusted = trustedBytes(Math.min(this.#file.size(), this.identity.totalBytes));
      const size = Math.floor(trusted / SNAPSHOT_SLICE_BYTES) * SNAPSHOT_SLICE_BYTES;
      this.#file.truncate(size);
      return size;
    } catch (error) {
      // Nobody has the object yet who could close it.
      this.#file.close();
      throw error;
    }
  }
}
