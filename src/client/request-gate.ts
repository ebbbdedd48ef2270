/** Lets a bounded number of requests run at once and a bounded number wait, first come, first served. */
import { Deque } from '../lib/deque.ts';
import { OxideError } from '../lib/errors.ts';

/** Requests at once: what a door takes of one connection before it stops reading. */
const RUNNING_MAX = 128;
const WAITING_MAX = 16_384;
const WAITING_BYTES_MAX = 67_108_864;

interface Waiter {
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: OxideError) => void;
}

/**
 * Nobody waits here for longer than its own deadline, without a timer: all requests have the same time, and those that
 * run began earlier.
 */
export class RequestGate {
  readonly #waiting = new Deque<Waiter>(WAITING_MAX);
  #waitingBytes = 0;
  #runningCount = 0;

  /**
   * Resolves when the request may run; then {@link leave} must follow.
   *
   * @param bytes what the request holds while it waits
   * @throws OxideError `overloaded` when too much waits already, `closed` when the gate closes first
   */
  async enter(bytes: number): Promise<void> {
    if (this.#runningCount < RUNNING_MAX) {
      this.#runningCount += 1;
      return;
    }
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX || this.#waiting.length >= WAITING_MAX) {
      throw new OxideError(
        'overloaded',
        `Cannot take request: ${this.#waiting.length} wait in this client already`,
      );
    }
    this.#waitingBytes += bytes;
    await new Promise<void>((resolve, reject) => this.#waiting.push({ bytes, resolve, reject }));
  }

  /** Hands the place to the next. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#runningCount -= 1;
      return;
    }
    this.#waitingBytes -= next.bytes;
    next.resolve();
  }

  /** Ends all who wait with `closed`. */
  close(): void {
    for (let waiter = this.#waiting.shift(); waiter !== undefined; waiter = this.#waiting.shift()) {
      waiter.reject(new OxideError('closed', 'The client was closed'));
    }
    this.#waitingBytes = 0;
  }
}
