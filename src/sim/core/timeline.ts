/** The time of a simulated run: what will happen when, and a hash over all that has. */
import type { Random } from '../../lib/random.ts';
import type { NodeId } from '../../raft/entry.ts';
import type { Input } from '../../raft/messages.ts';
import { type EventKind, EventQueue, SimEvent } from './queue.ts';
import { violated } from './violation.ts';

/** A run that makes more events than this never becomes quiet (I26). */
const EVENTS_MAX = 600_000;

export class Timeline {
  nowMs = 0;
  events = 0;
  readonly #queue: EventQueue = new EventQueue();
  readonly #random: Random;
  #hash1 = 0x811c9dc5;
  #hash2 = 0x1b873593;

  /** @param random draws the order of what happens at one time */
  constructor(random: Random) {
    this.#random = random;
  }

  /** Hash of everything so far. */
  get hash(): string {
    return hex(this.#hash1) + hex(this.#hash2);
  }

  /** Has `call` happen after a while. */
  after(delayMs: number, call: () => void): void {
    this.#queue.push(
      new SimEvent(this.nowMs + delayMs, this.#random.uint32(), 'call', 0, 0, undefined, call),
    );
  }

  /** Has something happen to a node. @returns when */
  push(delayMs: number, kind: EventKind, node: NodeId, life: number, input: Input | undefined): number {
    const atMs = this.nowMs + delayMs;
    this.#queue.push(new SimEvent(atMs, this.#random.uint32(), kind, node, life, input, undefined));
    return atMs;
  }

  /** The next event, if it comes before `untilMs`; else time passes up to there. */
  next(untilMs: number): SimEvent | undefined {
    const event = this.#queue.pop();
    if (event === undefined || event.atMs > untilMs) {
      if (event !== undefined) this.#queue.push(event);
      this.nowMs = untilMs;
      return undefined;
    }
    this.nowMs = event.atMs;
    this.events += 1;
    if (this.events > EVENTS_MAX)
      violated('I26 bounded messages', `more than ${EVENTS_MAX} events, and the end is not near`);
    this.mix(Math.floor(event.atMs * 1024), event.kind.charCodeAt(1), event.node);
    return event;
  }

  /** Adds to the hash. */
  mix(a: number, b: number, c: number): void {
    let h = Math.imul(this.#hash1 ^ a, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ b, 0xc2b2ae35);
    this.#hash1 = Math.imul(h ^ (h >>> 13) ^ c, 0x27d4eb2f);
    this.#hash2 = (Math.imul(this.#hash2, 31) + h) | 0;
  }
}

function hex(h: number): string {
  return (h >>> 0).toString(16).padStart(8, '0');
}
