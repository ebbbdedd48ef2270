/**
 * Keeps a replica's durable state: turns the writes of the Raft core into records of the write-ahead log, reads them
 * back after a restart, and lets the log's beginning go once a snapshot holds it.
 *
 * Records (the payload of a WAL record; integers are u64 little-endian):
 *
 *   type 1  write    term | vote | commit | hasAppend u8 | after | entries, encoded, laid end to end
 *   type 2  restart  term | vote | commit | base index | base term | keep u8: the log starts over behind base. Also
 *                    opens every new segment, with `keep` set, so that older segments can go
 */
import { assert, defined } from '../lib/assert.ts';
import { readUint64, writeUint64 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import { type Entry, type LogIndex, decodeEntries, encodeEntries } from '../raft/entry.ts';
import { type Config, configOf, plainConfig } from '../raft/membership.ts';
import type { HardState, LogPosition, Write } from '../raft/messages.ts';
import type { FileSystem } from '../storage/fs.ts';
import type { IncomingSnapshot, SnapshotIdentity } from '../storage/incoming-snapshot.ts';
import type { SnapshotFields, SnapshotFile } from '../storage/snapshot-file.ts';
import { type Snapshot, SnapshotStore, type SnapshotWriter } from '../storage/snapshot-store.ts';
import { Wal, type WalCut, type WalRecord } from '../storage/wal.ts';
import { DUTIES, type Duties } from './duties.ts';

const WRITE = 1;
const RESTART = 2;
const WRITE_HEADER_BYTES = 33;
const RESTART_BYTES = 41;

/** What a replica's disk held. */
export interface Recovered {
  readonly hard: HardState;
  /** Last position of the newest snapshot; zeros without one. */
  readonly base: LogPosition;
  /** The members as of `base`; undefined without a snapshot that says. */
  readonly config: Config | undefined;
  readonly entries: readonly Entry[];
  readonly snapshot: Snapshot | undefined;
  /** The unsynced tail that a crash left behind and recovery removed. */
  readonly cut: WalCut | undefined;
}

interface Replay {
  hard: HardState;
  base: LogPosition;
  entries: Entry[];
}

export class LogStore {
  readonly #wal: Wal;
  readonly #snapshots: SnapshotStore;
  /** Highest entry index that each segment has held; a segment may go when all of it is behind the log's base. */
  readonly #segmentLast: Map<number, LogIndex>;
  #hard: HardState;
  #snapshot: LogPosition;

  private constructor(
    wal: Wal,
    snapshots: SnapshotStore,
    replay: Replay,
    snapshot: LogPosition,
    last: Map<number, LogIndex>,
  ) {
    this.#wal = wal;
    this.#snapshots = snapshots;
    this.#hard = replay.hard;
    this.#snapshot = snapshot;
    this.#segmentLast = last;
  }

  /**
   * Opens the log and the snapshots below `directory`.
   *
   * @throws CorruptionError when what was durable is damaged, or when log and snapshot do not fit together
   */
  static open(options: {
    readonly fs: FileSystem;
    readonly directory: string;
    readonly segmentBytesMax?: number;
    readonly duties?: Pick<Duties, 'endAfterReplay'>;
  }): { readonly store: LogStore; readonly recovered: Recovered } {
    const { fs, directory, duties = DUTIES } = options;
    const snapshots = new SnapshotStore({ fs, directory: `${directory}/snapshots` });
    const snapshot = snapshots.newest();
    const { wal, records, cut } = Wal.open({
      fs,
      directory: `${directory}/wal`,
      ...(options.segmentBytesMax === undefined ? {} : { segmentBytesMax: options.segmentBytesMax }),
    });
    const replay: Replay = {
      hard: { term: 0, vote: 0, commit: 0 },
      base: { index: 0, term: 0 },
      entries: [],
    };
    const last = new Map<number, LogIndex>();
    for (const record of records) {
      applyRecord(replay, record, { directory, duties });
      last.set(record.segment, Math.max(last.get(record.segment) ?? 0, endOf(replay)));
    }
    const position = { index: snapshot?.meta.index ?? 0, term: snapshot?.meta.term ?? 0 };
    const isBehind = behindSnapshot(replay, position, directory);
    const store = new LogStore(wal, snapshots, replay, position, last);
    if (!isBehind) {
      // Entries behind the snapshot will follow, and must not be read as a continuation of the log that was dropped.
      store.#appendRestart(position, false);
      wal.sync();
    }
    return {
      store,
      recovered: {
        hard: replay.hard,
        base: position,
        config: snapshot === undefined ? undefined : configOfSnapshot(snapshot.meta),
        entries: replay.entries,
        snapshot,
        cut,
      },
    };
  }

  /** Bytes of the log on disk. */
  get walBytes(): number {
    return this.#wal.bytes;
  }

  /** Last index of the newest snapshot; 0 without one. */
  get snapshotIndex(): LogIndex {
    return this.#snapshot.index;
  }

  /** Writes one unit of the core's durable state. Not durable before {@link sync}. Its snapshot, if any, is installed already. */
  write(write: Write): void {
    this.#hard = write.hard ?? this.#hard;
    if (this.#wal.shouldRoll) this.#roll(write.snapshot?.position ?? this.#snapshot);
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

  /** Saves a snapshot of the state machine at `position`, durably. */
  saveSnapshot(position: LogPosition, config: Config, lines: Iterable<string>): void {
    const writer = this.beginSnapshot(position, config, lines);
    while (!writer.advance());
  }

  /** {@link saveSnapshot} in steps, so that a large one does not hold up the node. One at a time. */
  beginSnapshot(position: LogPosition, config: Config, lines: Iterable<string>): SnapshotWriter {
    assert(position.index > this.#snapshot.index, 'Snapshots only go forward');
    const meta = { index: position.index, term: position.term, config: plainConfig(config) };
    const writer = this.#snapshots.begin(meta, lines);
    return {
      advance: () => {
        const isDone = writer.advance();
        if (isDone) this.#snapshot = position;
        return isDone;
      },
      abort: () => writer.abort(),
    };
  }

  /** Receives a snapshot from a peer. @param others see {@link SnapshotStore.receive} */
  receiveSnapshot(identity: SnapshotIdentity, others: readonly IncomingSnapshot[]): IncomingSnapshot {
    return this.#snapshots.receive(identity, others);
  }

  /** Takes over a snapshot that a peer sent, durably. @returns the verified file, which the caller reads and closes */
  installSnapshot(incoming: IncomingSnapshot): SnapshotFile {
    const { index, term } = incoming.identity;
    assert(index > this.#snapshot.index, 'Snapshots only go forward');
    const file = this.#snapshots.install(incoming);
    this.#snapshot = { index, term };
    return file;
  }

  /** Last position of the newest snapshot; zeros without one. */
  get snapshotPosition(): LogPosition {
    return this.#snapshot;
  }

  /** Opens the newest snapshot, to be sent to a peer: not yet verified. There must be one. The caller closes it. */
  openSnapshot(): SnapshotFile {
    return defined(this.#snapshots.open(this.#snapshot.index), 'the newest snapshot');
  }

  /** Lets segments go whose entries all lie at or before `index`, which a durable snapshot holds. */
  compact(index: LogIndex): void {
    assert(index <= this.#snapshot.index, 'The log may only go where a snapshot is');
    let keepFrom = this.#wal.segment;
    for (const [segment, last] of [...this.#segmentLast].toSorted(([a], [b]) => b - a)) {
      if (last > index) keepFrom = Math.min(keepFrom, segment);
    }
    for (const segment of this.#segmentLast.keys()) if (segment < keepFrom) this.#segmentLast.delete(segment);
    this.#wal.sync();
    this.#wal.removeBefore(keepFrom);
  }

  close(): void {
    this.#wal.close();
  }

  #roll(base: LogPosition): void {
    this.#wal.roll();
    this.#appendRestart(base, true);
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

/** The members that a snapshot names. @throws CorruptionError for a field that is there and is no configuration */
export function configOfSnapshot(meta: SnapshotFields): Config | undefined {
  const value = meta['config'];
  if (value === undefined) return undefined;
  const config = configOf(value);
  if (config === undefined)
    throw new CorruptionError(`Cannot read snapshot ${meta.index}: its configuration makes no sense`);
  return config;
}

function endOf(replay: Replay): LogIndex {
  return replay.entries.at(-1)?.index ?? replay.base.index;
}

function applyRecord(
  replay: Replay,
  record: WalRecord,
  how: { readonly directory: string; readonly duties: Pick<Duties, 'endAfterReplay'> },
): void {
  const { payload } = record;
  const { directory, duties } = how;
  const where = `write-ahead log of "${directory}", segment ${record.segment}`;
  const isKnown = record.type === WRITE || record.type === RESTART;
  const minimum = record.type === WRITE ? WRITE_HEADER_BYTES : RESTART_BYTES;
  if (!isKnown || payload.length < minimum) {
    throw new CorruptionError(
      `Cannot read ${where}: record of type ${record.type} with ${payload.length} bytes is unknown`,
    );
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  replay.hard = { term: readUint64(view, 0), vote: readUint64(view, 8), commit: readUint64(view, 16) };
  if (record.type === RESTART) {
    const base = { index: readUint64(view, 24), term: readUint64(view, 32) };
    const isKept = payload[RESTART_BYTES - 1] === 1;
    return restart(replay, base, isKept);
  }
  if (payload[24] !== 1) return;
  const after = readUint64(view, 25);
  const entries = decodeEntries(payload.subarray(WRITE_HEADER_BYTES));
  if (entries === undefined || (entries[0]?.index ?? after + 1) !== after + 1) {
    throw new CorruptionError(
      `Cannot read ${where}: a record holds something other than entries behind ${after}`,
    );
  }
  // Older segments are gone: the log as we can still see it begins here, or further back when this record replaces
  // entries that were in them. Such a base has no term; the newest snapshot must hold what is before it.
  const isSeen = replay.entries.length > 0 || after <= replay.base.index;
  if (!isSeen || (replay.base.term === 0 && after < replay.base.index)) {
    replay.base = { index: after, term: 0 };
    replay.entries = [];
  }
  if (after > endOf(replay))
    throw new CorruptionError(`Cannot read ${where}: entries are missing before ${after + 1}`);
  if (after < replay.base.index) {
    throw new CorruptionError(`Cannot read ${where}: entry ${after + 1} would replace what a snapshot holds`);
  }
  const end = duties.endAfterReplay(after + entries.length, endOf(replay));
  let next = after - replay.base.index;
  for (const entry of entries) replay.entries[next++] = entry;
  replay.entries.length = end - replay.base.index;
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

/** Cuts the log down to what lies behind the snapshot. @returns false when none of it does, and the log starts over */
function behindSnapshot(replay: Replay, snapshot: LogPosition, directory: string): boolean {
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
