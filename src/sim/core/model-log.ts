/**
 * A log in which every position carries a hash of everything up to it, so that two logs are compared in one step (the
 * rolling hash of Log Matching). The checker's picture of each core's log and the modelled disks are both made of it.
 */
import { assert, at, defined } from '../../lib/assert.ts';
import { crc32 } from '../../lib/crc32.ts';
import { ENTRY_HEADER_BYTES, type Entry, type LogIndex, type Term } from '../../raft/entry.ts';
import { type Config, decodeConfig } from '../../raft/membership.ts';
import type { LogPosition, Write } from '../../raft/messages.ts';

/** A snapshot is its position: the state up to it is known by the hash of the log. */
export interface ModelSnapshot {
  readonly position: LogPosition;
  readonly hash: number;
  /** In effect at the position. */
  readonly config: Config;
}

interface Placed {
  readonly index: LogIndex;
  readonly config: Config;
}

/** The hash of the log up to `entry`, from that of the log before it. */
export function hashAfter(before: number, entry: Entry): number {
  const what = entry.kind === 'command' ? proposalOf(entry) : crc32(entry.encoded);
  let h = Math.imul(before ^ what, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15) ^ entry.term, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13) ^ entry.index, 0x27d4eb2f);
  return h ^ (h >>> 16);
}

/** The number that a simulated client wrote at the start of a command. */
export function proposalOf(entry: Entry): number {
  const { encoded } = entry;
  const i = ENTRY_HEADER_BYTES;
  return at(encoded, i) | (at(encoded, i + 1) << 8) | (at(encoded, i + 2) << 16) | (at(encoded, i + 3) << 24);
}

export class ModelLog {
  baseIndex: LogIndex = 0;
  baseTerm: Term = 0;
  baseHash = 0;
  /** The configuration at the base, and each behind it. */
  #configs: Placed[];
  #entries: Entry[] = [];
  #hashes: number[] = [];

  /** @param config in effect at the base */
  constructor(config: Config) {
    this.#configs = [{ index: 0, config }];
  }

  /** In effect: the newest in the log, committed or not. */
  get config(): Config {
    return at(this.#configs, this.#configs.length - 1).config;
  }

  /** Where that stands. */
  get configIndex(): LogIndex {
    return at(this.#configs, this.#configs.length - 1).index;
  }

  /** Where the one before that at `index` stands, or the base. */
  configBefore(index: LogIndex): LogIndex {
    return this.#configs.findLast((placed) => placed.index < index)?.index ?? 0;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get lastIndex(): LogIndex {
    return this.baseIndex + this.#entries.length;
  }

  get lastTerm(): Term {
    return this.#entries.at(-1)?.term ?? this.baseTerm;
  }

  get lastHash(): number {
    return this.#hashes.at(-1) ?? this.baseHash;
  }

  /** The hash of the log up to `index`; undefined where the log has nothing or has forgotten it. */
  hashAt(index: LogIndex): number | undefined {
    return index === this.baseIndex ? this.baseHash : this.#hashes[index - this.baseIndex - 1];
  }

  entryAt(index: LogIndex): Entry | undefined {
    return this.#entries[index - this.baseIndex - 1];
  }

  termAt(index: LogIndex): Term | undefined {
    return index === this.baseIndex ? this.baseTerm : this.entryAt(index)?.term;
  }

  /**
   * Carries out a write; `snapshot` is what it installs, if it does.
   *
   * @returns the last index that was kept; entries behind it came or went
   */
  write(write: Write, snapshot: ModelSnapshot | undefined): LogIndex {
    let kept = this.lastIndex;
    if (write.snapshot !== undefined) {
      kept = write.snapshot.position.index;
      this.#install(defined(snapshot, 'what a write installs'), write.snapshot.keepLog);
    }
    if (write.append === undefined) return kept;
    const keep = write.append.after - this.baseIndex;
    assert(keep >= 0 && keep <= this.#entries.length, 'A write leaves a gap in the log');
    kept = Math.min(kept, write.append.after);
    this.#entries.length = keep;
    this.#hashes.length = keep;
    while (this.#configs.length > 1 && at(this.#configs, this.#configs.length - 1).index > write.append.after)
      this.#configs.pop();
    for (const entry of write.append.entries) this.push(entry);
    return kept;
  }

  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'A gap in the log');
    this.#hashes.push(hashAfter(this.lastHash, entry));
    this.#entries.push(entry);
    if (entry.kind !== 'config') return;
    const config = defined(decodeConfig(entry.payload), 'a configuration');
    this.#configs.push({ index: entry.index, config });
  }

  /** Forgets entries up to `index`. */
  compact(index: LogIndex): void {
    if (index <= this.baseIndex) return;
    const count = index - this.baseIndex;
    assert(count <= this.#entries.length, 'Compaction is ahead of the log');
    this.baseTerm = at(this.#entries, count - 1).term;
    this.baseHash = at(this.#hashes, count - 1);
    this.baseIndex = index;
    this.#entries.splice(0, count);
    this.#hashes.splice(0, count);
    while (this.#configs.length > 1 && at(this.#configs, 1).index <= index) this.#configs.shift();
  }

  copy(): ModelLog {
    const log = new ModelLog(this.config);
    log.#configs = this.#configs.slice();
    log.baseIndex = this.baseIndex;
    log.baseTerm = this.baseTerm;
    log.baseHash = this.baseHash;
    log.#entries = this.#entries.slice();
    log.#hashes = this.#hashes.slice();
    return log;
  }

  #install({ position, hash, config }: ModelSnapshot, keepLog: boolean): void {
    const kept = keepLog ? this.#entries.filter((entry) => entry.index > position.index) : [];
    this.baseIndex = position.index;
    this.baseTerm = position.term;
    this.baseHash = hash;
    this.#entries = [];
    this.#hashes = [];
    this.#configs = [{ index: position.index, config }];
    for (const entry of kept) this.push(entry);
  }
}
