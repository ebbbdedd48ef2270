/**
 * Keeps a replica's log: turns the writes of the Raft core into records of the write-ahead log, reads them back after a
 * restart, and lets the log's beginning go once a checkpoint holds it. What the records mean is in log-replay.ts.
 */
import { assert } from '../lib/assert.ts';
import { writeUint64 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import { type Entry, type LogIndex, encodeEntries } from '../raft/entry.ts';
import type { Config } from '../raft/membership.ts';
import type { HardState, LogPosition, LostLog, Write } from '../raft/messages.ts';
import { RULES } from '../raft/rules.ts';
import type { FileSystem } from '../storage/fs.ts';
import type { Wal, WalCut } from '../storage/wal.ts';
import { DUTIES, type Duties } from './duties.ts';
import { type LogOpening, hardStateAfter, openLog, removeLossNote } from './log-damage.ts';
import { RESTART, RESTART_BYTES, type Replay, WRITE, WRITE_HEADER_BYTES, replayAll } from './log-replay.ts';

/** What a replica's log held behind its newest checkpoint. */
export interface Recovered {
  readonly hard: HardState;
  readonly entries: readonly Entry[];
  /** The unsynced tail that a crash left behind and recovery removed. */
  readonly cut: WalCut | undefined;
  /** What it may have acknowledged and has not any more: the core abstains from elections by it. */
  readonly lost: LostLog | undefined;
  /** Why the log was cut at this start, in words. */
  readonly damage: string | undefined;
}

/** What is durable elsewhere: the last position that the newest checkpoint holds, as it is now; zeros without one. */
export interface Covered {
  readonly position: LogPosition;
}

/** Which log, and what holds its beginning. */
export interface LogStoreOptions {
  readonly fs: FileSystem;
  /** Of the node. */
  readonly directory: string;
  /** Looked at whenever it matters. */
  readonly covered: Covered;
  readonly segmentBytesMax?: number;
  /** See `LogOptions`; by default nothing may be lost. */
  readonly mayLose?: (config: Config | undefined) => boolean;
  readonly duties?: Pick<Duties, 'endAfterReplay'>;
}

/** Segments that one turn removes: each takes a sync of the directory, and on a busy disk that is a tenth of a second. */
const REMOVED_AT_ONCE_MAX = 1;

export class LogStore {
  readonly #wal: Wal;
  readonly #covered: Covered;
  /** Highest entry index that each segment has held; a segment may go when all of it is behind the log's base. */
  readonly #segmentLast: Map<number, LogIndex>;
  #hard: HardState;
  /** Segments below are not needed. */
  #keepFrom = 0;
  /** The current segment lacks the record that opens it. */
  #isUnopened = false;

  private constructor(wal: Wal, covered: Covered, hard: HardState, last: Map<number, LogIndex>) {
    this.#wal = wal;
    this.#covered = covered;
    this.#hard = hard;
    this.#segmentLast = last;
  }

  /**
   * Opens the log below `directory`.
   *
   * @throws CorruptionError when what was durable is damaged and may not be lost, or when log and checkpoint do not fit
   *   together
   */
  static open(options: LogStoreOptions): { readonly store: LogStore; readonly recovered: Recovered } {
    const { fs, directory, mayLose = () => false, segmentBytesMax } = options;
    const opening = openLog({
      fs,
      directory,
      mayLose,
      ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }),
    });
    try {
      return LogStore.#begin(opening, options);
    } catch (error) {
      opening.wal.close();
      throw error;
    }
  }

  static #begin(
    { wal, records, cut, loss, damage }: LogOpening,
    { fs, directory, covered, duties = DUTIES }: LogStoreOptions,
  ): { readonly store: LogStore; readonly recovered: Recovered } {
    const { replay, segmentLast } = replayAll(records, directory, duties.endAfterReplay);
    const isBehind = behindCheckpoint(replay, covered.position, directory);
    const hard = loss === undefined ? replay.hard : hardStateAfter(loss, replay.hard);
    const isNews = hard !== replay.hard;
    replay.hard = hard;
    const store = new LogStore(wal, covered, replay.hard, segmentLast);
    // Entries behind the checkpoint will follow, and must not be read as a continuation of the log that was dropped.
    if (!isBehind || isNews) store.#appendRestart(covered.position, isBehind);
    wal.sync();
    const lost =
      loss !== undefined && RULES.mustAbstain(loss.lost, committed(replay)) ? loss.lost : undefined;
    if (loss !== undefined && lost === undefined) removeLossNote(fs, directory);
    return { store, recovered: { hard: replay.hard, entries: replay.entries, cut, lost, damage } };
  }

  /** A failure was final: see {@link Wal}. */
  get hasFailed(): boolean {
    return this.#wal.hasFailed;
  }

  /** Bytes of the log on disk. */
  get walBytes(): number {
    return this.#wal.bytes;
  }

  /**
   * Writes one unit of the core's durable state. Not durable before {@link sync}. Its snapshot, if any, is installed already.
   * May be called again with the same write when it failed and {@link hasFailed} is false: then there was no room.
   */
  write(write: Write): void {
    this.#hard = write.hard ?? this.#hard;
    if (this.#wal.shouldRoll) {
      this.#wal.roll();
      this.#isUnopened = true;
    }
    if (this.#isUnopened) {
      this.#appendRestart(write.snapshot?.position ?? this.#covered.position, true);
      this.#isUnopened = false;
    }
    if (write.snapshot !== undefined) this.#appendRestart(write.snapshot.position, write.snapshot.keepLog);
    const header = new Uint8Array(WRITE_HEADER_BYTES);
    const view = new DataView(header.buffer);
    writeUint64(view, 0, this.#hard.term);
    writeUint64(view, 8, this.#hard.vote);
    writeUint64(view, 16, this.#hard.commit);
    header[24] = write.append === undefined ? 0 : 1;
    writeUint64(view, 25, write.append?.after ?? 0);
    const entries = write.append?.entries ?? [];
    this.#wal.append(WRITE, 0, [header, encodeEntries(entries)]);
    const { segment } = this.#wal;
    this.#segmentLast.set(segment, Math.max(this.#segmentLast.get(segment) ?? 0, entries.at(-1)?.index ?? 0));
  }

  /** Makes every write so far durable. */
  sync(): void {
    this.#wal.sync();
  }

  /**
   * Lets segments go whose entries all lie at or before `index`, which a durable checkpoint holds: one now, and the others
   * with {@link removeSlice}.
   */
  compact(index: LogIndex): void {
    assert(index <= this.#covered.position.index, 'The log may only go where a checkpoint is');
    let keepFrom = this.#wal.segment;
    for (const [segment, last] of [...this.#segmentLast].toSorted(([a], [b]) => b - a)) {
      if (last > index) keepFrom = Math.min(keepFrom, segment);
    }
    for (const segment of this.#segmentLast.keys()) if (segment < keepFrom) this.#segmentLast.delete(segment);
    this.#keepFrom = keepFrom;
    this.removeSlice();
  }

  /** There are segments left that {@link compact} let go. */
  get isRemoving(): boolean {
    return this.#wal.firstSegment < this.#keepFrom;
  }

  /** Removes one of them: all that a leader kept for a follower, in one go, would hold up heartbeats for seconds. */
  removeSlice(): void {
    this.#wal.sync();
    this.#wal.removeBefore(this.#keepFrom, REMOVED_AT_ONCE_MAX);
  }

  close(): void {
    this.#wal.close();
  }

  #appendRestart(base: LogPosition, keep: boolean): void {
    const bytes = new Uint8Array(RESTART_BYTES);
    const view = new DataView(bytes.buffer);
    writeUint64(view, 0, this.#hard.term);
    writeUint64(view, 8, this.#hard.vote);
    writeUint64(view, 16, this.#hard.commit);
    writeUint64(view, 24, base.index);
    writeUint64(view, 32, base.term);
    bytes[40] = keep ? 1 : 0;
    this.#wal.append(RESTART, 0, [bytes]);
  }
}

/** What was found behind the checkpoint that ends at `base`, in words. */
export function describeRecovery(recovered: Recovered, base: LogPosition): string {
  const { hard, entries, cut, lost, damage } = recovered;
  const last = entries.at(-1)?.index ?? base.index;
  const notes = [`starts with term ${hard.term}, log ${base.index + 1}–${last}, commit ${hard.commit}`];
  if (cut !== undefined) notes.push(`an unfinished write of ${cut.bytes} bytes was cut`);
  if (damage !== undefined)
    notes.push(`the log was cut before damage and the rest moved to "damaged": ${damage}`);
  if (lost !== undefined) {
    const end = Number.isFinite(lost.index) ? `entry ${lost.index}` : `an entry behind term ${lost.term}`;
    notes.push(`it does not vote until a leader has committed ${end} here`);
  }
  return notes.join('; ');
}

/** The last entry that is known to be committed. */
function committed({ hard, base, entries }: Replay): LogPosition {
  const index = Math.max(base.index, Math.min(hard.commit, entries.at(-1)?.index ?? 0));
  const entry = entries[index - base.index - 1];
  return entry === undefined ? base : { index, term: entry.term };
}

/** Cuts the log down to what lies behind the snapshot. @returns false when none of it does, and the log starts over */
function behindCheckpoint(replay: Replay, snapshot: LogPosition, directory: string): boolean {
  if (replay.base.index > snapshot.index && replay.hard.term > 0) {
    throw new CorruptionError(
      `Cannot open "${directory}": the log begins behind ${replay.base.index}, but the newest snapshot ends at ${snapshot.index}`,
    );
  }
  const own = replay.entries[snapshot.index - replay.base.index - 1];
  const agrees = snapshot.index === replay.base.index || own?.term === snapshot.term;
  // A snapshot that a peer sent, made durable just before a crash: the log did not come that far.
  replay.entries = agrees ? replay.entries.slice(snapshot.index - replay.base.index) : [];
  replay.base = snapshot;
  replay.hard = {
    term: Math.max(replay.hard.term, snapshot.term),
    vote: replay.hard.term >= snapshot.term ? replay.hard.vote : 0,
    commit: Math.max(replay.hard.commit, snapshot.index),
  };
  return agrees;
}
