/**
 * The arithmetic of a byte string that arrives from a peer in pieces: which are wanted, what has arrived without a gap, when
 * it must be made durable, and how much of it may be believed after a crash. It writes nothing: where the bytes go is for
 * whoever asks (`incoming-snapshot.ts`, `lsm/incoming-tables.ts`).
 *
 *   0 ........... received ............ received + windowBytes ........... totalBytes
 *   has arrived   | welcome, also behind a gap | to be sent again later
 */
import { assert } from '../lib/assert.ts';

/** How far behind the first missing byte a piece may end. */
export const INCOMING_WINDOW_BYTES: number = 16 * 1024 * 1024;
/** Bytes between two syncs, so that the last one has little left to wait for. */
export const SYNC_EVERY_BYTES: number = 8 * 1024 * 1024;
/** Pieces that may lie behind a gap; further ones come again. */
export const AHEAD_MAX = 256;

/** What to do with a piece: nothing, as it is there already; write it; or let it come again. */
export type PieceVerdict = 'known' | 'wanted' | 'refused';

/**
 * How much may be believed of what lies on disk up to `highest`, whatever happened meanwhile. After the last sync, which
 * made everything up to some offset durable, at most {@link SYNC_EVERY_BYTES} more came in order, and a window behind them:
 * a power cut may have lost, torn or kept each of those writes, and nothing before.
 */
export function trustedBytes(highest: number): number {
  return Math.max(0, highest - SYNC_EVERY_BYTES - INCOMING_WINDOW_BYTES);
}

export class ArrivalWindow {
  readonly totalBytes: number;
  #received: number;
  #synced: number;
  /** Pieces that lie behind a gap: where each begins and ends. At most {@link AHEAD_MAX}. */
  readonly #ahead: Map<number, number> = new Map();

  /** @param received how much is there, durable, from an earlier attempt */
  constructor(totalBytes: number, received = 0) {
    assert(received <= totalBytes, 'No more has arrived than there is');
    this.totalBytes = totalBytes;
    this.#received = received;
    this.#synced = received;
  }

  /** Everything before this offset has arrived. */
  get received(): number {
    return this.#received;
  }

  get isComplete(): boolean {
    return this.#received === this.totalBytes;
  }

  /** How many bytes behind {@link received} are welcome. */
  get windowBytes(): number {
    return Math.min(INCOMING_WINDOW_BYTES, this.totalBytes - this.#received);
  }

  /** What to do with a piece of `length` bytes at `offset`. One that is `wanted` may begin with bytes that are known. */
  judge(offset: number, length: number): PieceVerdict {
    const end = offset + length;
    if (end <= this.#received || this.#ahead.get(offset) === end) return 'known';
    if (end > this.#received + this.windowBytes) return 'refused';
    return offset > this.#received && this.#ahead.size >= AHEAD_MAX ? 'refused' : 'wanted';
  }

  /** Counts a piece that was wanted and has been written. @returns whether a sync is due: then {@link synced} is to follow */
  written(offset: number, length: number): boolean {
    const end = offset + length;
    assert(end <= this.totalBytes, 'Nothing arrives behind the end');
    if (offset > this.#received) {
      this.#ahead.set(offset, Math.max(end, this.#ahead.get(offset) ?? 0));
      return false;
    }
    this.#received = end;
    this.#closeGaps();
    return this.isComplete || this.#received - this.#synced >= SYNC_EVERY_BYTES;
  }

  /** Everything written so far is durable. */
  synced(): void {
    this.#synced = this.#received;
  }

  /** Counts the pieces that lay behind a gap and now do not. */
  #closeGaps(): void {
    for (let isGrowing = true; isGrowing;) {
      isGrowing = false;
      for (const [start, end] of this.#ahead) {
        if (start > this.#received) continue;
        this.#ahead.delete(start);
        isGrowing ||= end > this.#received;
        this.#received = Math.max(this.#received, end);
      }
    }
  }
}
