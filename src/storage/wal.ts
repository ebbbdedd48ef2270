/**
 * The write-ahead log: one sequence of records for all shards of a node, in numbered segment files. It knows nothing of
 * Raft: a record is a type, a shard and bytes. Recovery is in recovery.ts, the format in segment.ts and record.ts.
 *
 *   wal/000001.wal   header | record | record | …
 *   wal/000002.wal   header | record | …            ← appended to
 */
import { assert, defined } from '../lib/assert.ts';
import { StorageError, messageOf } from '../lib/errors.ts';
import type { File, FileSystem } from './fs.ts';
import { RecordEncoder } from './record.ts';
import { recoverLog } from './recovery.ts';
import type { SegmentFile, WalCut } from './recovery.ts';
import { SEGMENT_HEADER_BYTES, encodeSegmentHeader, segmentName } from './segment.ts';
import type { WalRecord } from './segment.ts';

export type { WalCut } from './recovery.ts';
export type { WalRecord } from './segment.ts';

/** Size from which a segment is due to be followed by another. */
export const SEGMENT_BYTES_MAX: number = 16 * 1024 * 1024;

/** Offsets are stored in 32 bits. */
const OFFSET_MAX = 0xffff_ffff;

export interface WalOptions {
  readonly fs: FileSystem;
  /** Must exist. */
  readonly directory: string;
  /** Default {@link SEGMENT_BYTES_MAX}. A segment may end up larger: by what is appended before the caller rolls. */
  readonly segmentBytesMax?: number;
}

export interface WalOpening {
  readonly wal: Wal;
  /** Everything in the log, in the order written. Payloads share memory with whole segments. */
  readonly records: readonly WalRecord[];
  /** What was removed from the end because it never became durable; undefined when nothing was. */
  readonly cut: WalCut | undefined;
}

/**
 * Every method throws {@link StorageError} once one has failed: after a failed write or sync nobody knows what is on
 * disk, and trying again can seem to work without writing anything.
 *
 * One failure is not final, and {@link Wal.hasFailed} stays false: {@link Wal.append} or {@link Wal.roll} that finds no
 * room. What it had begun is cut off, the log is as it was before, and the same call may be made again. A sync that finds
 * none is final like any other.
 */
export class Wal {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #segmentBytesMax: number;
  readonly #encoder = new RecordEncoder();
  /** Finished segments, oldest first, up to the current one exclusive. */
  #finished: readonly SegmentFile[];
  #segment: number;
  #file: File;
  /** Size of the current segment. */
  #size: number;
  /** All of the current segment below this offset is durable. */
  #synced: number;
  #failure: unknown;
  #isClosed = false;

  /**
   * Opens the log in a directory, creating segment 1 in an empty one. On return all records are durable.
   *
   * Throws {@link CorruptionError}, naming file and offset, when what was durable is damaged or missing. Cannot notice
   * that whole segments are missing at either end: the owner of the snapshots checks the first, nobody can the last.
   */
  static open(options: WalOptions): WalOpening {
    const { fs, directory } = options;
    const { segments, records, cut } = recoverLog(fs, directory);
    const last = segments.at(-1);
    const file =
      last === undefined
        ? createSegment(fs, directory, 1, 0)
        : fs.open(`${directory}/${segmentName(last.number)}`, 'readWrite');
    const current = last ?? { number: 1, bytes: SEGMENT_HEADER_BYTES };
    const wal = new Wal(options, segments.slice(0, -1), current, file);
    return { wal, records, cut };
  }

  private constructor(
    options: WalOptions,
    finished: readonly SegmentFile[],
    current: SegmentFile,
    file: File,
  ) {
    this.#fs = options.fs;
    this.#directory = options.directory;
    this.#segmentBytesMax = options.segmentBytesMax ?? SEGMENT_BYTES_MAX;
    this.#finished = finished;
    this.#segment = current.number;
    this.#file = file;
    this.#size = current.bytes;
    this.#synced = current.bytes;
  }

  /** Number of the segment that is appended to. */
  get segment(): number {
    return this.#segment;
  }

  /** Number of the oldest segment on disk. */
  get firstSegment(): number {
    return this.#finished[0]?.number ?? this.#segment;
  }

  /** Whether a failure was final: every later call fails. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** Size of all segments on disk. */
  get bytes(): number {
    let total = this.#size;
    for (const segment of this.#finished) total += segment.bytes;
    return total;
  }

  /** Whether the current segment has reached its size. The caller then calls {@link roll} and restates what it needs. */
  get shouldRoll(): boolean {
    return this.#size >= this.#segmentBytesMax;
  }

  /** Whether something was appended since the last sync. */
  get isDirty(): boolean {
    return this.#synced < this.#size;
  }

  /**
   * Appends one record whose payload is `parts` laid end to end, in one write call. Not durable before {@link sync}.
   * `parts` are copied.
   *
   * @param type 1..255
   * @param shard 0..65535
   */
  append(type: number, shard: number, parts: readonly Uint8Array[]): void {
    this.#run('append to', () => {
      const place = { segment: this.#segment, offset: this.#size };
      const record = this.#encoder.encode({ ...place, type, shard, synced: this.#synced }, parts);
      assert(this.#size + record.length <= OFFSET_MAX, 'Segment over the size that an offset can name');
      this.#fitting(
        () => this.#file.write(record, this.#size),
        // Nothing of it may stand before the next record.
        () => this.#file.truncate(this.#size),
      );
      this.#size += record.length;
    });
  }

  /** Makes everything appended durable: one fdatasync, or none when there is nothing new. */
  sync(): void {
    this.#run('sync', () => this.#syncFile());
  }

  /**
   * Finishes the current segment and starts the next. On return everything appended is durable and the new segment
   * exists. The caller restates there, before it appends anything else, what must survive {@link removeBefore}.
   */
  roll(): void {
    this.#run('roll', () => {
      this.#syncFile();
      const next = this.#fitting(
        () => beginSegment(this.#fs, this.#directory, this.#segment + 1, this.#size),
        () => this.#removeNext(),
      );
      completeSegment(this.#fs, this.#directory, next);
      this.#file.close();
      this.#finished = [...this.#finished, { number: this.#segment, bytes: this.#size }];
      this.#segment += 1;
      this.#file = next;
      this.#size = SEGMENT_HEADER_BYTES;
      this.#synced = SEGMENT_HEADER_BYTES;
    });
  }

  /**
   * Deletes every segment with a number below `segment`, which must not be above the current one. What they held must
   * be durable elsewhere: the caller has synced whatever restates it.
   *
   * @param countMax the oldest so many, when there are more: each takes the disk a while
   */
  removeBefore(segment: number, countMax: number = Infinity): void {
    assert(segment <= this.#segment, 'The current segment cannot be removed');
    let count = 0;
    this.#run('remove segments of', () => {
      assert(
        !this.isDirty || this.firstSegment >= segment,
        'What replaces removed segments must be durable first',
      );
      // One directory sync each: a power cut may keep any part of the removals since the last, and a gap is corruption.
      for (
        let first = this.#finished[0];
        first !== undefined && first.number < segment && count < countMax;
        first = this.#finished[0]
      ) {
        count += 1;
        this.#fs.remove(`${this.#directory}/${segmentName(first.number)}`);
        this.#fs.syncDirectory(this.#directory);
        this.#finished = this.#finished.slice(1);
      }
    });
  }

  /** Syncs, unless something failed before, and closes. A second call does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      if (this.#failure === undefined) this.#syncFile();
    } finally {
      this.#file.close();
    }
  }

  #syncFile(): void {
    if (this.#synced === this.#size) return;
    this.#file.sync();
    this.#synced = this.#size;
  }

  /** What was made of the next segment before there was no room. */
  #removeNext(): void {
    const path = `${this.#directory}/${segmentName(this.#segment + 1)}`;
    if (this.#fs.exists(path)) this.#fs.remove(path);
    this.#fs.syncDirectory(this.#directory);
  }

  /** Makes a call that may find no room, and undoes it then. */
  #fitting<T>(call: () => T, undo: () => void): T {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof StorageError) || !error.isFull) throw error;
      undo();
      throw new NoRoom(error.message, { cause: error });
    }
  }

  #run(action: string, call: () => void): void {
    assert(!this.#isClosed, 'The log is closed');
    if (this.#failure !== undefined) {
      const first = messageOf(this.#failure);
      throw new StorageError(
        `Cannot ${action} log "${this.#directory}": it failed before and is not trusted: ${first}`,
        {
          cause: this.#failure,
        },
      );
    }
    try {
      call();
    } catch (error) {
      if (!(error instanceof NoRoom)) this.#failure = defined(error, 'error');
      throw error;
    }
  }
}

/** A write found no room, and what it left was cut off. */
class NoRoom extends StorageError {}

/** A new segment with nothing but its header, durable under its name. */
function createSegment(fs: FileSystem, directory: string, number: number, previousBytes: number): File {
  const file = beginSegment(fs, directory, number, previousBytes);
  completeSegment(fs, directory, file);
  return file;
}

function beginSegment(fs: FileSystem, directory: string, number: number, previousBytes: number): File {
  const file = fs.open(`${directory}/${segmentName(number)}`, 'create');
  try {
    file.write(encodeSegmentHeader(number, previousBytes), 0);
  } catch (error) {
    file.close();
    throw error;
  }
  return file;
}

/** Makes a new segment durable, or closes it. */
function completeSegment(fs: FileSystem, directory: string, file: File): void {
  try {
    file.sync();
    fs.syncDirectory(directory);
  } catch (error) {
    file.close();
    throw error;
  }
}
