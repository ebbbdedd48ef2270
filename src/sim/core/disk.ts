/**
 * The modelled disk of one replica: what is durable, and the writes that were given and not yet synced. A power cut
 * keeps the oldest of those, as many as chance has it, each as one unit; nothing else is ever lost.
 */
import { assert, defined } from '../../lib/assert.ts';
import type { LogIndex } from '../../raft/entry.ts';
import type { Config } from '../../raft/membership.ts';
import type { HardState, Write } from '../../raft/messages.ts';
import { ModelLog, type ModelSnapshot } from './model-log.ts';

interface Given {
  readonly write: Write;
  /** What the write installs, if it does. */
  readonly snapshot: ModelSnapshot | undefined;
}

export class ModelDisk {
  hard: HardState = { term: 0, vote: 0, commit: 0 };
  snapshot: ModelSnapshot;
  readonly log: ModelLog;
  /** The newest write that was given. */
  givenSeq = 0;
  #given: Given[] = [];

  /** @param config what the cluster begins with */
  constructor(config: Config) {
    this.snapshot = { position: { index: 0, term: 0 }, hash: 0, config };
    this.log = new ModelLog(config);
  }

  get outstanding(): number {
    return this.#given.length;
  }

  /** The oldest write that is not durable. */
  get oldest(): Write | undefined {
    return this.#given[0]?.write;
  }

  /** Whether an outstanding write has entries. */
  get hasOutstandingEntries(): boolean {
    return this.#given.some(({ write }) => write.append !== undefined);
  }

  give(write: Write, snapshot: ModelSnapshot | undefined): void {
    assert(write.seq === this.givenSeq + 1, 'Writes are numbered without gaps');
    this.givenSeq = write.seq;
    this.#given.push({ write, snapshot });
  }

  /**
   * Makes the oldest write durable.
   *
   * @returns the snapshot that it installed, if it did, and the last index of the log that it left as it was
   */
  sync(): { readonly installed: ModelSnapshot | undefined; readonly kept: LogIndex } {
    const { write, snapshot } = defined(this.#given.shift(), 'a write');
    const kept = this.log.write(write, snapshot);
    if (snapshot !== undefined) this.snapshot = snapshot;
    this.hard = write.hard ?? this.hard;
    return { installed: snapshot, kept };
  }

  /** The power goes: what is outstanding is lost. */
  lose(): void {
    this.#given = [];
    this.givenSeq = 0;
  }

  /** Keeps a snapshot at `position`, and of the log what lies behind `from`. */
  keepSnapshot(snapshot: ModelSnapshot, from: LogIndex): void {
    this.snapshot = snapshot;
    this.log.compact(from);
  }
}
