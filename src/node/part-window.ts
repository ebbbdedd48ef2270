/**
 * Which parts of a snapshot are under way to one receiver, which of them are lost, and how many may be under way at once.
 * It knows offsets and times, no bytes.
 *
 * A part is lost when one that was sent after it has arrived (no transport reorders), or when nothing arrives for several
 * round trips. The window keeps the link busy and its queue short, after BBR (Cardwell et al. 2016): it is what the link was
 * seen to carry in the best of the last seconds, times the shortest round trip and a little. A thread or disk that is busy
 * now and then makes round trips long; what the link carries it does not change, and so it does not shrink the window.
 */
import { assert } from '../lib/assert.ts';
import { SNAPSHOT_SLICE_BYTES } from '../storage/snapshot-file.ts';

/** Time in the queue for what is under way: a heartbeat behind it waits as long. */
const QUEUED_MS_MAX = 30;
/** The best rate is that of this long and up to twice as long ago. */
const BEST_MS = 1000;
/** Round trips within one turn of a virtual clock take no time. */
const ROUND_TRIP_MS_MIN = 0.1;
const WINDOW_BYTES_MAX = 4 * 1024 * 1024;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2000;
/** Round trips without an answer until everything under way counts as lost. */
const RETRY_ROUND_TRIPS = 3;

interface Sent {
  readonly offset: number;
  readonly end: number;
  /** Counts sendings. */
  order: number;
  sentMs: number;
  /** What had arrived when it was sent. */
  delivered: number;
  isRepeated: boolean;
  isLost: boolean;
}

/** What an acknowledgement says. */
export interface PartAnswer {
  readonly offset: number;
  readonly windowBytes: number;
  readonly partOffset: number;
  readonly partBytes: number;
}

export class PartWindow {
  readonly #totalBytes: number;
  readonly #sent: Map<number, Sent> = new Map();
  #acknowledged: number;
  /** The receiver takes bytes up to here. */
  #limit: number;
  /** The first byte that was never sent. */
  #next: number;
  #order = 0;
  #windowBytes = SNAPSHOT_SLICE_BYTES;
  /** Bytes that have arrived, those sent twice included. */
  #delivered = 0;
  /** Bytes a millisecond, the best since `#bestSinceMs` and the best in the time before that. */
  #best = 0;
  #bestBefore = 0;
  #bestSinceMs: number;
  #roundTripMs: number | undefined;
  #shortestMs = Infinity;
  #retryMs = RETRY_MS_MIN;
  #retryAtMs: number;

  /** @param options.offset everything before it is at the receiver already */
  constructor(options: { readonly totalBytes: number; readonly offset: number; readonly nowMs: number }) {
    this.#totalBytes = options.totalBytes;
    this.#acknowledged = options.offset;
    this.#next = options.offset;
    this.#limit = options.offset;
    this.#retryAtMs = options.nowMs + RETRY_MS_MIN;
    this.#bestSinceMs = options.nowMs;
  }

  /** Everything before it has arrived. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  get isComplete(): boolean {
    return this.#acknowledged === this.#totalBytes;
  }

  /** Nothing is under way, and nothing may be sent: the next word is the receiver's. */
  get isIdle(): boolean {
    return this.#sent.size === 0 && this.#next >= Math.min(this.#limit, this.#totalBytes);
  }

  /** When {@link take} next gives something, unless an acknowledgement comes first. */
  get deadlineMs(): number {
    return this.#retryAtMs;
  }

  /** Where the part that begins at `offset` ends, counted from there. */
  endOf(offset: number): number {
    const sent = this.#sent.get(offset);
    assert(sent !== undefined, 'A part that is under way');
    return sent.end - offset;
  }

  /** Takes an acknowledgement. @returns whether anything new has arrived */
  acknowledge(answer: PartAnswer, nowMs: number): boolean {
    this.#limit = Math.max(this.#limit, answer.offset + answer.windowBytes);
    let newestOrder = 0;
    let isNews = false;
    for (const sent of this.#sent.values()) {
      const isTaken = sent.offset === answer.partOffset && sent.end === answer.partOffset + answer.partBytes;
      if (!isTaken && sent.end > answer.offset) continue;
      this.#delivered += sent.end - sent.offset;
      if (isTaken) this.#measure(sent, nowMs);
      newestOrder = Math.max(newestOrder, sent.order);
      isNews = true;
      this.#sent.delete(sent.offset);
    }
    if (answer.offset > this.#acknowledged) {
      this.#acknowledged = answer.offset;
      this.#next = Math.max(this.#next, answer.offset);
      isNews = true;
    }
    for (const sent of this.#sent.values()) {
      const isRefused = answer.partBytes === 0 && sent.offset === answer.partOffset && !sent.isRepeated;
      if (sent.order < newestOrder || isRefused) sent.isLost = true;
    }
    if (isNews) {
      const roundTripMs = this.#roundTripMs ?? 0;
      this.#retryMs = Math.min(Math.max(RETRY_MS_MIN, RETRY_ROUND_TRIPS * roundTripMs), RETRY_MS_MAX);
      this.#retryAtMs = nowMs + this.#retryMs;
    }
    return isNews;
  }

  /** The offsets of the parts to send now: what is lost first, then what is new. They count as sent. */
  take(nowMs: number): readonly number[] {
    if (this.#sent.size > 0 && nowMs >= this.#retryAtMs) this.#giveUpAll(nowMs);
    const offsets: number[] = [];
    let underWay = 0;
    for (const sent of this.#sent.values()) if (!sent.isLost) underWay += sent.end - sent.offset;
    const hasRoom = (bytes: number): boolean => underWay === 0 || underWay + bytes <= this.#windowBytes;
    const lost = [...this.#sent.values()].filter((sent) => sent.isLost);
    for (const sent of lost.toSorted((a, b) => a.offset - b.offset)) {
      if (!hasRoom(sent.end - sent.offset)) return offsets;
      underWay += sent.end - sent.offset;
      Object.assign(sent, { order: ++this.#order, sentMs: nowMs, isRepeated: true, isLost: false });
      sent.delivered = this.#delivered;
      offsets.push(sent.offset);
    }
    while (this.#next < Math.min(this.#limit, this.#totalBytes)) {
      const offset = this.#next;
      const sliceEnd = (Math.floor(offset / SNAPSHOT_SLICE_BYTES) + 1) * SNAPSHOT_SLICE_BYTES;
      const end = Math.min(sliceEnd, this.#limit, this.#totalBytes);
      if (!hasRoom(end - offset)) return offsets;
      if (this.#sent.size === 0) this.#retryAtMs = nowMs + this.#retryMs;
      underWay += end - offset;
      const state = { sentMs: nowMs, delivered: this.#delivered, isRepeated: false, isLost: false };
      this.#sent.set(offset, { offset, end, order: ++this.#order, ...state });
      this.#next = end;
      offsets.push(offset);
    }
    return offsets;
  }

  /** Silence: everything under way counts as lost, and one part goes out to see. */
  #giveUpAll(nowMs: number): void {
    for (const sent of this.#sent.values()) sent.isLost = true;
    this.#windowBytes = SNAPSHOT_SLICE_BYTES;
    this.#best = 0;
    this.#bestBefore = 0;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
    this.#retryAtMs = nowMs + this.#retryMs;
  }

  /** A part that was sent twice says nothing about the round trip (Karn and Partridge 1987). */
  #measure(sent: Sent, nowMs: number): void {
    if (sent.isRepeated) return;
    const roundTripMs = Math.max(nowMs - sent.sentMs, ROUND_TRIP_MS_MIN);
    this.#shortestMs = Math.min(this.#shortestMs, roundTripMs);
    this.#roundTripMs = ((this.#roundTripMs ?? roundTripMs) * 7 + roundTripMs) / 8;
    if (nowMs - this.#bestSinceMs >= BEST_MS) {
      this.#bestBefore = this.#best;
      this.#best = 0;
      this.#bestSinceMs = nowMs;
    }
    this.#best = Math.max(this.#best, (this.#delivered - sent.delivered) / roundTripMs);
    const carried = Math.max(this.#best, this.#bestBefore) * (this.#shortestMs + QUEUED_MS_MAX);
    this.#windowBytes = Math.min(Math.max(Math.floor(carried), SNAPSHOT_SLICE_BYTES), WINDOW_BYTES_MAX);
  }
}
