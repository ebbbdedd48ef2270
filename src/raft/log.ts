/**
 * The replicated log as the core sees it: a base (the end of the last snapshot) and every entry behind it, in memory.
 * It knows what is committed, what the disk holds, and what has not been handed to the host yet; it makes no decision.
 *
 *   base ≤ commit ≤ last        handed ≤ commit        durable ≤ last
 */
import { assert, at } from '../lib/assert.ts';
import { ConfigStack } from './config-stack.ts';
import type { Entry, LogIndex, Term } from './entry.ts';
import type { Config } from './membership.ts';
import type { LogMark, LogPosition } from './messages.ts';

export class RaftLog {
  #base: LogPosition;
  #entries: Entry[];
  #commit: LogIndex;
  #accTerm: Term;
  /** How far the log is known to be that of the leader of `#accTerm`; what lies behind may still be cut. */
  #verified: LogIndex;
  #durable: LogIndex;
  /** The host was given the log up to here; what lies behind goes into the next write. */
  #savedAfter: LogIndex;
  /** Whether the log was cut since the last write, so that entries on disk behind `#savedAfter` are void. */
  #cut = false;
  readonly #configs: ConfigStack;

  /**
   * @param base position of the last snapshot; everything up to it is committed and applied
   * @param config in effect at the base
   * @param entries what the disk holds behind it
   * @param commit known committed when it was written; raised to the base if lower
   */
  constructor(base: LogPosition, config: Config, entries: readonly Entry[], commit: LogIndex) {
    this.#base = base;
    this.#configs = new ConfigStack(base.index, config, entries);
    this.#entries = [...entries];
    assert(entries.length === 0 || at(entries, 0).index === base.index + 1, 'A gap behind the snapshot');
    this.#commit = Math.max(base.index, Math.min(commit, this.last.index));
    this.#accTerm = this.last.term;
    this.#verified = this.last.index;
    this.#durable = this.last.index;
    this.#savedAfter = this.last.index;
  }

  get base(): LogPosition {
    return this.#base;
  }

  get last(): LogPosition {
    const entry = this.#entries.at(-1);
    return entry === undefined ? this.#base : { index: entry.index, term: entry.term };
  }

  get commit(): LogIndex {
    return this.#commit;
  }

  /** The configuration in effect: the newest in the log, committed or not (§6). The same object until it changes. */
  get config(): Config {
    return this.#configs.latest;
  }

  /** Where the configuration in effect stands; the base when no entry behind it has one. */
  get configIndex(): LogIndex {
    return this.#configs.latestIndex;
  }

  /** The configuration in effect at `index`, which is not before the base. */
  configAt(index: LogIndex): Config {
    return this.#configs.at(index);
  }

  /** The log up to here is on this node's disk. */
  get durable(): LogIndex {
    return this.#durable;
  }

  get mark(): LogMark {
    return { accTerm: this.#accTerm, index: this.#verified };
  }

  /** The term at `index`; 0 at index 0; undefined where the log has nothing or has forgotten it. */
  term(index: LogIndex): Term | undefined {
    if (index === this.#base.index) return this.#base.term;
    return this.#entries[index - this.#base.index - 1]?.term;
  }

  /** Entries from `from` on, up to `to`, and no more than `bytesMax` of them (but always one, if there is one). */
  slice(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    assert(from > this.#base.index, 'Entry is behind the snapshot');
    let bytes = 0;
    let end = from - this.#base.index - 1;
    const start = end;
    const limit = Math.min(to, this.last.index) - this.#base.index;
    while (end < limit) {
      bytes += at(this.#entries, end).encoded.length;
      if (bytes > bytesMax && end > start) break;
      end += 1;
    }
    return this.#entries.slice(start, end);
  }

  /**
   * The last position at or before `index` whose term is at most `term`: where two logs may still agree. Skips a whole
   * term of conflicting entries in one step, on both sides (§5.3, last paragraph).
   */
  conflictHint(index: LogIndex, term: Term): LogPosition {
    let i = Math.min(index, this.last.index);
    while (i > this.#base.index && (this.term(i) ?? 0) > term) i -= 1;
    return { index: i, term: this.term(i) ?? 0 };
  }

  /** Adds entries of the leader of `accTerm` behind the last one. */
  append(entries: readonly Entry[], accTerm: Term): void {
    for (const entry of entries) {
      assert(entry.index === this.last.index + 1, 'A gap in the log');
      assert(entry.term >= this.last.term, 'Terms in a log never decrease');
      this.#entries.push(entry);
      this.#configs.append(entry);
    }
    this.accept(accTerm, this.last.index);
  }

  /** Notes that the log now follows the leader of `accTerm`, and equals that leader's up to `verified`. */
  accept(accTerm: Term, verified: LogIndex): void {
    assert(accTerm >= this.#accTerm, 'An older leader was accepted');
    assert(verified <= this.last.index, 'More is verified than the log has');
    this.#verified = accTerm > this.#accTerm ? verified : Math.max(this.#verified, verified);
    this.#accTerm = accTerm;
  }

  /** Drops every entry behind `after`. */
  truncateAfter(after: LogIndex): void {
    assert(after >= this.#commit, 'Truncation would drop a committed entry');
    this.#entries.length = after - this.#base.index;
    this.#configs.cutAfter(after);
    this.#verified = Math.min(this.#verified, after);
    this.#durable = Math.min(this.#durable, after);
    if (after < this.#savedAfter) {
      this.#savedAfter = after;
      this.#cut = true;
    }
  }

  /** Raises the commit index. */
  commitTo(index: LogIndex): void {
    assert(index >= this.#commit, 'Commit index never goes back');
    assert(index <= this.last.index, 'Commit index is behind the end of the log');
    this.#commit = index;
  }

  /** A write up to `mark` is durable. One for the log of an older leader is ignored: the write after it tells. */
  persisted(mark: LogMark): void {
    if (mark.accTerm === this.#accTerm)
      this.#durable = Math.max(this.#durable, Math.min(mark.index, this.last.index));
  }

  /** What the host has not been given yet, or undefined. Calling it counts as giving. */
  takeUnsaved(): { readonly after: LogIndex; readonly entries: readonly Entry[] } | undefined {
    if (!this.#cut && this.#savedAfter === this.last.index) return undefined;
    const after = this.#savedAfter;
    const entries = this.#entries.slice(after - this.#base.index);
    this.#savedAfter = this.last.index;
    this.#cut = false;
    return { after, entries };
  }

  /** Forgets entries up to `index`, which a snapshot holds. */
  compact(index: LogIndex): void {
    if (index <= this.#base.index) return;
    assert(index <= this.#commit && index <= this.#savedAfter, 'Compaction is ahead of commit or disk');
    const term = this.term(index);
    assert(term !== undefined, 'Compaction is ahead of the log');
    this.#entries.splice(0, index - this.#base.index);
    this.#base = { index, term };
    this.#configs.compact(index);
  }

  /** Starts over behind a snapshot that carries `config`; `keepLog`: the entries behind it stay (§7). */
  reset(position: LogPosition, config: Config, keepLog: boolean, accTerm: Term): void {
    if (!keepLog) this.#configs.cutAfter(this.#base.index);
    this.#configs.reset(position.index, config);
    const kept = keepLog ? this.#entries.slice(position.index - this.#base.index) : [];
    // Until the write is done the disk has the old log, of which only the committed part is sure to agree.
    this.#durable = keepLog ? this.#durable : Math.min(this.#durable, this.#commit);
    this.#entries = kept;
    this.#base = position;
    this.#commit = Math.max(this.#commit, position.index);
    this.#savedAfter = keepLog ? Math.max(this.#savedAfter, position.index) : position.index;
    this.#cut = keepLog && this.#cut;
    this.accept(Math.max(this.#accTerm, accTerm), position.index);
  }
}
