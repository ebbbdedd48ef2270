/**
 * How many bytes should be under way to one receiver: the fewest with which it gets nearly as much as it could. More would
 * only wait in a queue, and heartbeats behind them.
 *
 * Round trips do not tell: between busy threads and disks they are long without any queue. So the window climbs by what
 * arrives (a hill climb, as in PCC: Dong et al. 2015). Twice the window that brings a quarter more is kept; half of it that
 * brings nearly as much is kept too. Threads that are busy now and then make rates uneven, so what is not clear is looked at
 * for longer, and soon it tries again. In the beginning it grows from round to round while these are quick, so that a small
 * snapshot is not sent in steps.
 */
import { INCOMING_WINDOW_BYTES } from '../storage/arrival-window.ts';
import { SNAPSHOT_SLICE_BYTES } from '../storage/snapshot-file.ts';

/** No receiver grants more. */
const WINDOW_BYTES_MAX = INCOMING_WINDOW_BYTES;
const WINDOW_BYTES_MIN = SNAPSHOT_SLICE_BYTES;

/** A rate is taken over at least so many round trips, and so long; over this long one is enough. */
const EPOCH_ROUNDS = 4;
const EPOCH_MS_MIN = 100;
const EPOCH_MS_LONG = 1000;
/** What is not clear after that is looked at for so many round trips, or so long. */
const PATIENT_ROUNDS = 12;
const PATIENT_MS = 3000;
/** A window twice as large must bring so much more. */
const GAIN_MIN = 1.25;
/** It has brought almost twice as much: nothing stands in a queue, and the next attempt may go further. */
const GAIN_FULL = 1.75;
/** It has brought nothing: that is clear. */
const GAIN_NONE = 1.05;
/** A window half as large must bring so much of it. */
const LOSS_MIN = 0.9;
/** It has brought so little that it is clear. */
const LOSS_FULL = 0.6;
/** The link is another one when it brings less than this part of what it did. */
const COLLAPSE = 0.5;
/** Epochs from one attempt to the next. */
const HOLD_MIN = 2;
const HOLD_MAX = 4;

/** In the beginning: a round that takes longer has met a queue, or somebody who is busy. */
const QUICK_ROUND_MS = 20;

type Attempt = 'larger' | 'smaller';

/** The window of one transfer. It knows times and amounts, and sends nothing: whoever does looks at {@link WindowClimb.bytes}. */
export class WindowClimb {
  /** What may be under way. */
  bytes: number = WINDOW_BYTES_MIN;
  /** The window that is being compared with, and what it brings: bytes a millisecond. */
  #usual: { readonly bytes: number; readonly rate: number } | undefined;
  /** What {@link bytes} is instead of it; undefined while nothing is tried. */
  #attempt: Attempt | undefined;
  #next: Attempt = 'larger';
  #heldEpochs = 0;
  #holdEpochs = 0;
  /** Where the present rate begins; undefined until what is sent with the present window arrives. */
  #epoch: { readonly startMs: number; readonly delivered: number; readonly round: number } | undefined;
  #round = 0;
  /** When the round under way began, while the window still grows with every round. */
  #startingMs: number | undefined;

  /** @param nowMs when the first part is sent */
  constructor(nowMs: number) {
    this.#startingMs = nowMs;
  }

  /**
   * A round trip is over: something has arrived that was sent behind the end of the one before.
   *
   * @param delivered bytes that have arrived at the receiver in all
   */
  roundEnded(nowMs: number, delivered: number): void {
    if (this.#startingMs !== undefined) return this.#start(nowMs, this.#startingMs);
    this.#round += 1;
    const epoch = this.#epoch ?? { startMs: nowMs, delivered, round: this.#round };
    this.#epoch = epoch;
    const tookMs = nowMs - epoch.startMs;
    const rounds = this.#round - epoch.round;
    if (rounds === 0 || tookMs < EPOCH_MS_MIN) return;
    if (rounds < EPOCH_ROUNDS && tookMs < EPOCH_MS_LONG) return;
    const { bytes } = this;
    const isPatient = rounds >= PATIENT_ROUNDS || tookMs >= PATIENT_MS;
    const isJudged = this.#judge((delivered - epoch.delivered) / tookMs, isPatient);
    if (!isJudged) return;
    this.#epoch = this.bytes === bytes ? { startMs: nowMs, delivered, round: this.#round } : undefined;
  }

  #start(nowMs: number, startedMs: number): void {
    const isQuick = nowMs - startedMs <= QUICK_ROUND_MS;
    this.bytes = isQuick
      ? Math.min(this.bytes * 2, WINDOW_BYTES_MAX)
      : Math.max(this.bytes / 2, WINDOW_BYTES_MIN);
    this.#startingMs = isQuick && this.bytes < WINDOW_BYTES_MAX ? nowMs : undefined;
  }

  /** @returns false when it is too early to say */
  #judge(rate: number, isPatient: boolean): boolean {
    const usual = this.#usual;
    if (this.#attempt === undefined || usual === undefined) {
      this.#hold(rate);
      return true;
    }
    const verdict = verdictOn(this.#attempt, rate / usual.rate, isPatient);
    if (verdict === 'unclear') return false;
    if (verdict === 'better') {
      this.#holdEpochs = 0;
      this.#usual = { bytes: this.bytes, rate };
      this.#try(this.#attempt, rate / usual.rate >= GAIN_FULL ? 4 : 2);
    } else {
      this.#next = this.#attempt === 'larger' ? 'smaller' : 'larger';
      this.#holdEpochs = Math.min(Math.max(HOLD_MIN, this.#holdEpochs * 2), HOLD_MAX);
      this.bytes = usual.bytes;
      this.#attempt = undefined;
    }
    return true;
  }

  #hold(rate: number): void {
    const before = this.#usual?.rate ?? rate;
    this.#usual = { bytes: this.bytes, rate: (before + rate) / 2 };
    this.#heldEpochs += 1;
    if (rate < before * COLLAPSE) {
      // Only the next rate is all of the new link.
      this.#usual = undefined;
      this.#holdEpochs = 0;
      this.#next = 'smaller';
    } else if (this.#heldEpochs >= this.#holdEpochs) this.#try(this.#next);
  }

  /** Goes on in one direction; at the end of the way it holds, and then tries the other. */
  #try(attempt: Attempt, factor = 2): void {
    const wanted = attempt === 'larger' ? this.bytes * factor : this.bytes / 2;
    const bytes = Math.min(Math.max(wanted, WINDOW_BYTES_MIN), WINDOW_BYTES_MAX);
    this.#heldEpochs = 0;
    if (bytes === this.bytes) {
      this.#attempt = undefined;
      this.#next = attempt === 'larger' ? 'smaller' : 'larger';
      this.#holdEpochs = Math.max(HOLD_MIN, this.#holdEpochs);
      return;
    }
    this.#attempt = attempt;
    this.bytes = bytes;
  }
}

/** What an attempt has shown that brought `gain` times as much as the window before. */
function verdictOn(attempt: Attempt, gain: number, isPatient: boolean): 'better' | 'worse' | 'unclear' {
  if (attempt === 'larger') {
    if (gain >= GAIN_FULL) return 'better';
    if (gain < GAIN_NONE) return 'worse';
    if (!isPatient) return 'unclear';
    return gain >= GAIN_MIN ? 'better' : 'worse';
  }
  if (gain < LOSS_FULL) return 'worse';
  if (!isPatient) return 'unclear';
  // A smaller window that brings much more has not done that: the link is free again.
  return gain >= LOSS_MIN && gain < GAIN_MIN ? 'better' : 'worse';
}
