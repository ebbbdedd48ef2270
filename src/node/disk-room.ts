/**
 * What a node does when its disk is full: the writes of its core wait, in order, until there is room, and what has time is
 * given up and begun again later. The core sees writes that are not durable yet, and so promises nothing and does not lead.
 */
import { StorageError, messageOf } from '../lib/errors.ts';
import type { LogPosition, Write } from '../raft/messages.ts';
import type { LogStore } from './log-store.ts';

/** Between two attempts to write what waits. */
const RETRY_MS = 200;
/** Until background work is begun again, which may need much more room than a write. */
const PAUSE_MS = 1000;
/** Writes that wait at once. The core is given no more than its window while it acknowledges nothing. */
const WAITING_MAX = 4096;

/** What is written, and who hears of it. */
export interface DiskRoomOptions {
  readonly store: Pick<LogStore, 'write' | 'sync' | 'hasFailed'>;
  /**
   * Puts the snapshot of a write in place, before the write itself. Called again for the same one after there was no room;
   * then it does what is left to do, if anything.
   */
  readonly install: (position: LogPosition) => void;
  /** Told in words when room ends and when there is room again. */
  readonly tell: (text: string) => void;
}

export class DiskRoom {
  readonly #store: DiskRoomOptions['store'];
  readonly #install: DiskRoomOptions['install'];
  readonly #tell: DiskRoomOptions['tell'];
  #waiting: Write[] = [];
  #retryAtMs = Infinity;
  #resumeAtMs = Infinity;
  /** Background work was given up, and none has succeeded since. */
  #isShort = false;
  #hasFailed = false;

  constructor({ store, install, tell }: DiskRoomOptions) {
    this.#store = store;
    this.#install = install;
    this.#tell = tell;
  }

  /** No room for the log: nothing that this node writes becomes durable. */
  get isFull(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * A snapshot that the core has taken may not be in place yet: nothing behind it can be applied, and nothing else of the
   * state can be written.
   */
  get isInstalling(): boolean {
    return this.#waiting.some(({ snapshot }) => snapshot !== undefined);
  }

  /** `full`: no room for the log, or for a snapshot. */
  get state(): 'ok' | 'full' | 'failed' {
    if (this.#hasFailed) return 'failed';
    return this.isFull || this.#isShort ? 'full' : 'ok';
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** The disk failed for good: nothing is written any more. */
  fail(): void {
    this.#hasFailed = true;
    this.#waiting = [];
    this.#retryAtMs = Infinity;
    this.#resumeAtMs = Infinity;
  }

  /** Background work was given up a moment ago, and is not to be begun yet. */
  get isPaused(): boolean {
    return this.#resumeAtMs < Infinity;
  }

  /** When it wants to be asked again. */
  get deadlineMs(): number {
    return Math.min(this.#retryAtMs, this.#resumeAtMs);
  }

  /**
   * Makes a write durable, behind those that wait, and its snapshot before it.
   *
   * @returns false when it waits. Throws what is final.
   */
  write(write: Write, nowMs: number): boolean {
    if (this.#waiting.length === 0 && this.#attempt([write], nowMs)) return true;
    if (!this.isFull)
      this.#tell('its disk is full: it promises nothing until there is room, and serves reads');
    const last = this.#waiting.at(-1);
    // A later hard state covers an earlier one.
    if (last !== undefined && last.append === undefined && last.snapshot === undefined) this.#waiting.pop();
    if (this.#waiting.length >= WAITING_MAX)
      throw new StorageError('Cannot hold more writes back: the disk is full');
    this.#waiting.push(write);
    return false;
  }

  /** @returns the newest write that has become durable; undefined when none has. Throws what is final. */
  retry(nowMs: number): number | undefined {
    if (nowMs >= this.#resumeAtMs) this.#resumeAtMs = Infinity;
    if (nowMs < this.#retryAtMs) return undefined;
    const last = this.#waiting.at(-1);
    if (last === undefined || !this.#attempt(this.#waiting, nowMs)) return undefined;
    this.#waiting = [];
    this.#retryAtMs = Infinity;
    this.#tell('its disk has room again: what was kept back is written');
    return last.seq;
  }

  /** Whether something failed for want of room, and nothing else is wrong. */
  isPassing(error: unknown): error is StorageError {
    return error instanceof StorageError && error.isFull && !this.#store.hasFailed;
  }

  /** Does what needs room and has time. Without room it is given up for now. @param what in words */
  orPause(
    what: string,
    nowMs: number,
    work: { readonly run: () => void; readonly giveUp: () => void },
  ): void {
    try {
      work.run();
    } catch (error) {
      if (!this.isPassing(error)) throw error;
      work.giveUp();
      this.#resumeAtMs = nowMs + PAUSE_MS;
      if (!this.#isShort) this.#tell(`gives up ${what} and tries again later: ${messageOf(error)}`);
      this.#isShort = true;
    }
  }

  /** Background work has succeeded. */
  resumed(): void {
    this.#isShort = false;
  }

  #attempt(writes: readonly Write[], nowMs: number): boolean {
    try {
      for (const write of writes) {
        if (write.snapshot !== undefined) this.#install(write.snapshot.position);
        this.#store.write(write);
      }
    } catch (error) {
      if (!this.isPassing(error)) throw error;
      this.#retryAtMs = nowMs + RETRY_MS;
      return false;
    }
    this.#store.sync();
    return true;
  }
}
