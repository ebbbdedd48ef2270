/** What a node's log did since it was last looked at, in time proportional to the change. */
import { at } from '../lib/assert.ts';
import { crc32 } from '../lib/crc32.ts';
import type { Node } from '../node/node.ts';
import type { Entry, LogIndex } from '../raft/entry.ts';
import type { Sight } from './host.ts';

const UNCHANGED = { cutAfter: undefined, appended: [] };

/** Looks at one life of one node, turn after turn. */
export class Watcher {
  readonly #node: Node;
  /** The log as last seen: the entry at `#first + i` is `#entries[i]`. */
  #entries: Entry[] = [];
  #first: LogIndex = 1;
  #hashedAt: LogIndex = -1;
  #stateHash = '';

  constructor(node: Node) {
    this.#node = node;
  }

  /** The changes since the last look; at the first, the whole log. */
  look(): Sight {
    const { raft, storage, isAbstaining, snapshotIndex, base } = this.#node.glance();
    const { cutAfter, appended } = this.#follow(raft.first, raft.last.index);
    if (this.#hashedAt !== raft.applied) {
      this.#hashedAt = raft.applied;
      this.#stateHash = this.#node.stateHash;
    }
    return {
      raft,
      storage,
      isAbstaining,
      base,
      cutAfter,
      appended: appended.map((entry) => ({
        index: entry.index,
        term: entry.term,
        crc: crc32(entry.encoded),
      })),
      snapshotIndex,
      stateHash: this.#stateHash,
    };
  }

  #follow(
    first: LogIndex,
    last: LogIndex,
  ): { readonly cutAfter: LogIndex | undefined; readonly appended: readonly Entry[] } {
    const seenLast = this.#first + this.#entries.length - 1;
    if (first > this.#first) {
      this.#entries.splice(0, first - this.#first);
      this.#first = first;
    }
    const kept = this.#keptUpTo(first, last, Math.min(last, this.#first + this.#entries.length - 1));
    if (kept === last && last === seenLast) return UNCHANGED;
    const appended = last > kept ? this.#node.tail(last - kept) : [];
    this.#entries.length = Math.max(0, kept - this.#first + 1);
    for (const entry of appended) this.#entries.push(entry);
    return { cutAfter: kept < seenLast && first <= seenLast + 1 ? kept : undefined, appended };
  }

  /**
   * The end of the part of the log that is as it was. The core keeps entries that it does not replace, so that sameness is
   * identity; what it replaces, it replaces up to the end.
   */
  #keptUpTo(first: LogIndex, last: LogIndex, shared: LogIndex): LogIndex {
    let kept = shared;
    let step = 1;
    while (kept >= first) {
      const from = Math.max(first, kept - step + 1);
      const tail = this.#node.tail(last - from + 1);
      while (kept >= from && at(tail, kept - from) !== at(this.#entries, kept - this.#first)) kept -= 1;
      if (kept >= from) return kept;
      step *= 4;
    }
    return first - 1;
  }
}
