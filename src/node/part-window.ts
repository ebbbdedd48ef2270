/**
 * Which parts of a snapshot are under way to one receiver, which of them are lost, and how many may be under way at once.
 * It knows offsets and times, no bytes.
 *
 * A part is lost when one that was sent after it has arrived (no transport reorders), or when nothing arrives for several
 * round trips. How much may be under way is for window-climb.ts to find out.
 */
import { assert } from '../lib/assert.ts';
import { SNAPSHOT_SLICE_BYTES } from '../storage/snapshot-file.ts';
import { WindowClimb } from './window-climb.ts';

const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 2000;
/** Deviations of the round trip, beyond its mean, without an answer until everything under way counts as lost (RFC 6298). */
const RETRY_DEVIATIONS = 4;

interface Sent {
  readonly offset: number;
  readonly end: number;
  /** Counts sendings. */
  order: number;
  sentMs: number;
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
  readonly #climb: WindowClimb;
  /** The newest that was sent when the last round trip ended. */
  #roundOrder = 0;
  /** Bytes that have arrived, those sent twice included. */
  #delivered = 0;
  /** Smoothed, and how far from it round trips are on average. */
  #roundTripMs: number | undefined;
  #deviationMs = 0;
  #retryMs = RETRY_MS_MIN;
  #retryAtMs: number;
  /** Nothing has come back for long: one part is sent at a time. */
  #isSilent = false;

  /** @param options.offset everything before it is at the receiver already */
  constructor(options: { readonly totalBytes: number; readonly offset: number; readonly nowMs: number }) {
    this.#totalBytes = options.totalBytes;
    this.#acknowledged = options.offset;
    this.#next = options.offset;
    this.#limit = options.offset;
    this.#retryAtMs = options.nowMs + RETRY_MS_MIN;
    this.#climb = new WindowClimb(options.nowMs);
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
    if (newestOrder > this.#roundOrder) {
      this.#roundOrder = this.#order;
      this.#climb.roundEnded(nowMs, this.#delivered);
    }
    for (const sent of this.#sent.values()) {
      const isRefused = answer.partBytes === 0 && sent.offset === answer.partOffset && !sent.isRepeated;
      if (sent.order < newestOrder || isRefused) sent.isLost = true;
    }
    if (isNews) {
      this.#isSilent = false;
      const patienceMs = (this.#roundTripMs ?? 0) + RETRY_DEVIATIONS * this.#deviationMs;
      this.#retryMs = Math.min(Math.max(RETRY_MS_MIN, patienceMs), RETRY_MS_MAX);
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
    const limit = this.#isSilent ? 0 : this.#climb.bytes;
    const hasRoom = (bytes: number): boolean => underWay === 0 || underWay + bytes <= limit;
    const lost = [...this.#sent.values()].filter((sent) => sent.isLost);
    for (const sent of lost.toSorted((a, b) => a.offset - b.offset)) {
      if (!hasRoom(sent.end - sent.offset)) return offsets;
      underWay += sent.end - sent.offset;
      Object.assign(sent, { order: ++this.#order, sentMs: nowMs, isRepeated: true, isLost: false });
      offsets.push(sent.offset);
    }
    while (this.#next < Math.min(this.#limit, this.#totalBytes)) {
      const offset = this.#next;
      const sliceEnd = (Math.floor(offset / SNAPSHOT_SLICE_BYTES) + 1) * SNAPSHOT_SLICE_BYTES;
      const end = Math.min(sliceEnd, this.#limit, this.#totalBytes);
      if (!hasRoom(end - offset)) return offsets;
      if (this.#sent.size === 0) this.#retryAtMs = nowMs + this.#retryMs;
      underWay += end - offset;
      const state = { sentMs: nowMs, isRepeated: false, isLost: false };
      this.#sent.set(offset, { offset, end, order: ++this.#order, ...state });
      this.#next = end;
      offsets.push(offset);
    }
    return offsets;
  }

  /** Silence: everything under way counts as lost, and one part goes out to see. */
  #giveUpAll(nowMs: number): void {
    for (const sent of this.#sent.values()) sent.isLost = true;
    this.#isSilent = true;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
    this.#retryAtMs = nowMs + this.#retryMs;
  }

  /** A part that was sent twice says nothing about the round trip (Karn and Partridge 1987). */
  #measure(sent: Sent, nowMs: number): void {
    if (sent.isRepeated) return;
    const roundTripMs = nowMs - sent.sentMs;
    if (this.#roundTripMs === undefined) {
      this.#roundTripMs = roundTripMs;
      this.#deviationMs = roundTripMs / 2;
      return;
    }
    this.#deviationMs = (this.#deviationMs * 3 + Math.abs(roundTripMs - this.#roundTripMs)) / 4;
    this.#roundTripMs = (this.#roundTripMs * 7 + roundTripMs) / 8;
  }
}
