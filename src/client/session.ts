/** The client's half of a session (thesis §6.3): numbers its writes and knows which answers it has. */
import { assert } from '../lib/assert.ts';
import type { SessionTag } from '../net/protocol.ts';

/** How far a write may run ahead of the oldest one without an answer: far below what the store remembers for a session. */
const WINDOW = 1024;

export class Session {
  readonly id: number;
  #nextSeq = 1;
  /** Numbers in use, ascending: a Set keeps the order in which they were added. */
  readonly #unanswered = new Set<number>();
  #waiting: (() => void)[] = [];

  constructor(id: number) {
    this.id = id;
  }

  /** Takes the next number, waiting while the oldest unanswered write holds up the window. {@link end} gives it back. */
  async begin(): Promise<number> {
    // oxlint-disable-next-line no-await-in-loop -- waits for another write each time
    while (!this.hasRoom) await new Promise<void>((wake) => this.#waiting.push(wake));
    return this.take();
  }

  /** Whether {@link take} may be called now. */
  get hasRoom(): boolean {
    return this.#nextSeq < this.#ackedBelow() + WINDOW;
  }

  /** Takes the next number at once. {@link end} gives it back. */
  take(): number {
    assert(this.hasRoom, 'The window is full');
    const seq = this.#nextSeq;
    this.#nextSeq += 1;
    this.#unanswered.add(seq);
    return seq;
  }

  /** What goes with every attempt of write `seq`. */
  tag(seq: number): SessionTag {
    return { id: this.id, seq, ackedBelow: this.#ackedBelow() };
  }

  /**
   * The write has its answer or is given up, and is never sent again. What may still be on its way is then refused by
   * the store, once a later write has told it.
   */
  end(seq: number): void {
    const removed = this.#unanswered.delete(seq);
    assert(removed, 'A write ends once');
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #ackedBelow(): number {
    const [oldest] = this.#unanswered;
    return oldest ?? this.#nextSeq;
  }
}
