/**
 * The port by which a replica's state outlives its process and travels to other replicas: checkpoints. A checkpoint is
 * the whole state machine at one position of the log: the versions in the engine, and the lines in which the machine keeps
 * everything else (sessions, leases, counters). The log may go only up to what a durable checkpoint holds.
 *
 * `memory-store.ts` keeps checkpoints as files that people can read; `lsm/lsm-store.ts` as tables that are there anyway.
 */
import type { SnapshotIdentity } from './incoming-snapshot.ts';
import type { SnapshotFields, Verdict } from './snapshot-file.ts';
import type { VersionEngine } from './version-engine.ts';

/** What a checkpoint says beside the versions, which are in the engine. */
export interface Checkpoint {
  /** Position in the log, members, and what else was given to {@link CheckpointStore.begin}: readers check types. */
  readonly meta: SnapshotFields;
  /** The machine's own lines, as given. */
  readonly state: readonly string[];
}

/** A checkpoint on its way to disk. */
export interface CheckpointWriter {
  /**
   * Writes a bounded slice more. What throws here is a {@link StorageError}; a failed write or sync is not tried again.
   *
   * @returns true once the checkpoint is durable; then it must not be called again
   */
  advance(): boolean;
  /**
   * Gives up: what was there before stays, and the engine has lost nothing. One that is durable already, because a put had to
   * take the time (`VersionEngine.pressurePercent`) and nobody advanced since, stays: `CheckpointStore.newest` tells.
   */
  abort(): void;
}

/** The bytes of the newest checkpoint, on their way to a peer. They are the same from every call to the last. */
export interface SnapshotSource {
  readonly totalBytes: number;
  /**
   * Prepares a slice more, where that takes long. Throws {@link CorruptionError} for a checkpoint that is damaged.
   *
   * @returns whether everything below may be used
   */
  check(): boolean;
  /** CRC-32 of all bytes. */
  readonly crc32: number;
  /** Up to 64 KiB from `offset`, never empty, in memory of their own. Throws {@link CorruptionError} for damaged ones. */
  read(offset: number): Uint8Array;
  close(): void;
}

/** A checkpoint that is arriving from a peer, in parts. What has arrived lies on disk and is there after a restart. */
export interface IncomingCheckpoint {
  readonly identity: SnapshotIdentity;
  /** Everything before this offset has arrived. */
  readonly received: number;
  readonly isComplete: boolean;
  /** How many bytes behind `received` are welcome. */
  readonly windowBytes: number;
  /** Takes a part. @returns false when it lies outside the window and must come again */
  write(offset: number, bytes: Uint8Array): boolean;
  /** Verifies a bounded slice of a complete one, as it lies on disk. */
  verify(): Verdict;
  /** Of one that is verified to its end only. */
  readonly meta: SnapshotFields;
  /** Stops receiving. What has arrived stays on disk, for the next attempt. */
  close(): void;
  /** Stops receiving, and gives back the space. Does nothing to one that was installed. */
  discard(): void;
}

export interface CheckpointStore {
  /** One object for the life of the store. Right after opening it holds the versions of {@link newest} and nothing else. */
  readonly engine: VersionEngine;
  /** The newest durable checkpoint; undefined when there is none. */
  readonly newest: Checkpoint | undefined;
  /** The engine holds as much in memory as it should: a checkpoint would relieve it. False for one that has no other place. */
  readonly isDue: boolean;
  /**
   * Begins a checkpoint of what the engine holds now: everything that is put from now on is not part of it, and no
   * {@link VersionEngine.compact} from now on takes away from it. One at a time, each at a higher index than the newest.
   *
   * @param state of the machine, as of now; the header (`meta`) and each line hold no line break
   */
  begin(meta: SnapshotFields, state: readonly string[]): CheckpointWriter;
  /** Opens the newest checkpoint to be sent; there must be one. It stays whole until closed, whatever comes after it. */
  openSource(): SnapshotSource;
  /**
   * Begins to receive a checkpoint from a peer, or goes on where an earlier attempt ended. Other attempts are given up.
   *
   * @param others what is being received besides; not the same one
   */
  receive(identity: SnapshotIdentity, others: readonly IncomingCheckpoint[]): IncomingCheckpoint;
  /**
   * Takes over one that has arrived whole: from now on the engine holds its versions and nothing else, and knows no
   * horizon. Durable on return; a crash before that leaves the older one. It is of a higher index than the newest, and none
   * is being written then. Throws StorageError: when there was no room (`isFull`), it may be called again with the same one,
   * and until that succeeds the store is asked for nothing but reads and {@link receive}.
   */
  install(incoming: IncomingCheckpoint): Checkpoint;
  /**
   * Removes what was left over by earlier lives. To be called once the newest checkpoint is known to go as far as the log
   * needs it: where it does not, the leftovers may be all that is left of a later one.
   */
  tidy(): void;
  close(): void;
}
