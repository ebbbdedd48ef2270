/**
 * A leader's knowledge of one follower, and the flow control that follows from it (after etcd's tracker).
 *
 *   probe      looking for the last common entry: one append, then silence until a reply or the next heartbeat
 *   replicate  streaming: `next` runs ahead of `match`, bounded by a window of messages and bytes in flight
 *   snapshot   the entry at `next` is compacted: the host sends a snapshot, appends wait
 */
import { assert } from '../lib/assert.ts';
import type { LogIndex, NodeId } from './entry.ts';
import type { PeerProgress, ProgressMode, Round } from './messages.ts';

export interface Window {
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
}

interface Inflight {
  readonly last: LogIndex;
  readonly bytes: number;
}

export class Progress {
  readonly id: NodeId;
  readonly #window: Window;
  mode: ProgressMode = 'probe';
  /** The log up to here is acknowledged. */
  match: LogIndex = 0;
  /** The next entry to send. Always above `match`. */
  next: LogIndex;
  /** Highest probe round this follower has answered. */
  answered: Round = 0;
  /** In probe mode: an append is out, wait. */
  paused = false;
  /** In probe mode: appends sent without an answer; only the first carries entries, the rest just knock. */
  knocks = 0;
  /** When the follower last acknowledged something new, or streaming began. */
  advancedMs: number;
  /** When the follower last answered anything. */
  heardMs: number = -Infinity;
  #inflight: Inflight[] = [];
  #inflightBytes = 0;

  constructor(id: NodeId, next: LogIndex, nowMs: number, window: Window) {
    this.id = id;
    this.next = next;
    this.advancedMs = nowMs;
    this.#window = window;
  }

  get view(): PeerProgress {
    return { id: this.id, mode: this.mode, match: this.match, next: this.next };
  }

  get hasInflight(): boolean {
    return this.#inflight.length > 0;
  }

  get isFull(): boolean {
    return (
      this.#inflight.length >= this.#window.inflightMessagesMax ||
      this.#inflightBytes >= this.#window.inflightBytesMax
    );
  }

  /** Whether it has answered anything in the last `ms`: it is there. */
  hasAnswered(nowMs: number, ms: number): boolean {
    return nowMs - this.heardMs < ms;
  }

  /** Notes an append that ends at `last` and is on its way. */
  sent(last: LogIndex, bytes: number, nowMs: number): void {
    assert(this.mode === 'replicate', 'Only a streaming follower has messages in flight');
    if (this.#inflight.length === 0) this.advancedMs = nowMs;
    this.#inflight.push({ last, bytes });
    this.#inflightBytes += bytes;
    this.next = last + 1;
  }

  /**
   * Takes an acknowledgement up to `match`, already made monotone.
   *
   * @param base the leader's log begins behind it
   * @returns whether it is news
   */
  acknowledged(match: LogIndex, base: LogIndex, nowMs: number): boolean {
    const isNews = match > this.match;
    this.match = match;
    this.next = Math.max(this.next, match + 1);
    let done = 0;
    for (const { last, bytes } of this.#inflight) {
      if (last > match) break;
      this.#inflightBytes -= bytes;
      done += 1;
    }
    if (done > 0) this.#inflight.splice(0, done);
    if (isNews) this.advancedMs = nowMs;
    // Whatever snapshot it has taken, from there on the log goes on (etcd-io/raft #84, #110).
    if (this.mode === 'probe' || (this.mode === 'snapshot' && match >= base)) {
      // Where the logs agree is known now; a guess at `next` (after a snapshot, say) is not needed any more.
      this.next = match + 1;
      this.#become('replicate', nowMs);
    }
    return isNews;
  }

  /**
   * The follower has lost what it had acknowledged behind `index`. What was committed by that stays committed: it abstains
   * from voting until it has it again.
   */
  forget(index: LogIndex): void {
    this.match = Math.min(this.match, index);
  }

  /** Goes back to looking for the last common entry, starting behind `next - 1`. */
  probeFrom(next: LogIndex, nowMs: number): void {
    this.next = Math.max(next, this.match + 1);
    this.#become('probe', nowMs);
  }

  /** The follower needs a snapshot. */
  awaitSnapshot(nowMs: number): void {
    this.#become('snapshot', nowMs);
  }

  #become(mode: ProgressMode, nowMs: number): void {
    this.mode = mode;
    this.paused = false;
    this.knocks = 0;
    this.advancedMs = nowMs;
    this.#inflight = [];
    this.#inflightBytes = 0;
  }
}
