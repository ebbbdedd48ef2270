/**
 * A log in which every position carries a checksum of everything up to it, so that two logs are compared in one step
 * (the rolling hash of Log Matching). Test disks and the checker's copies of the cores' logs are both made of it.
 */
import { assert, at, defined } from '../../src/lib/assert.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import type { Entry, LogIndex, Term } from '../../src/raft/entry.ts';
import type { LogPosition, Write } from '../../src/raft/messages.ts';

/** A position with the checksum of the log up to it. */
export interface HashedPosition extends LogPosition {
  readonly hash: number;
}

export class HashedLog {
  #base: HashedPosition = { index: 0, term: 0, hash: 0 };
  #entries: Entry[] = [];
  #hashes: number[] = [];

  get base(): HashedPosition {
    return this.#base;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get last(): HashedPosition {
    const entry = this.#entries.at(-1);
    if (entry === undefined) return this.#base;
    return { index: entry.index, term: entry.term, hash: at(this.#hashes, this.#hashes.length - 1) };
  }

  /** The checksum of the log up to `index`; undefined where the log has nothing or has forgotten it. */
  hashAt(index: LogIndex): number | undefined {
    return index === this.#base.index ? this.#base.hash : this.#hashes[index - this.#base.index - 1];
  }

  entryAt(index: LogIndex): Entry | undefined {
    return this.#entries[index - this.#base.index - 1];
  }

  termAt(index: LogIndex): Term | undefined {
    return index === this.#base.index ? this.#base.term : this.entryAt(index)?.term;
  }

  /** Carries out a write; `snapshotHash` is the checksum that belongs to its snapshot, if it has one. */
  write(write: Write, snapshotHash: (position: LogPosition) => number): void {
    if (write.snapshot !== undefined) {
      const { position, keepLog } = write.snapshot;
      const hash = snapshotHash(position);
      const kept = keepLog ? this.#entries.filter((entry) => entry.index > position.index) : [];
      this.#base = { ...position, hash };
      this.#entries = [];
      this.#hashes = [];
      for (const entry of kept) this.push(entry);
    }
    if (write.append === undefined) return;
    const keep = write.append.after - this.#base.index;
    assert(keep >= 0 && keep <= this.#entries.length, 'A write leaves a gap in the log');
    this.#entries.length = keep;
    this.#hashes.length = keep;
    for (const entry of write.append.entries) this.push(entry);
  }

  push(entry: Entry): void {
    assert(entry.index === this.last.index + 1, 'A gap in the log');
    this.#hashes.push(crc32(entry.encoded, 0, entry.encoded.length, this.last.hash));
    this.#entries.push(entry);
  }

  /** Loses what lies behind `index`. */
  cut(index: LogIndex): void {
    const keep = Math.max(0, index - this.#base.index);
    this.#entries.splice(keep);
    this.#hashes.splice(keep);
  }

  /** Forgets entries up to `index`. */
  compact(index: LogIndex): void {
    if (index <= this.#base.index) return;
    const hash = defined(this.hashAt(index), 'hash of a compacted position');
    const term = defined(this.termAt(index), 'term of a compacted position');
    const count = index - this.#base.index;
    this.#base = { index, term, hash };
    this.#entries.splice(0, count);
    this.#hashes.splice(0, count);
  }

  copy(): HashedLog {
    const log = new HashedLog();
    log.#base = this.#base;
    log.#entries = [...this.#entries];
    log.#hashes = [...this.#hashes];
    return log;
  }
}
