/** What a node has to tell of itself, until somebody takes it. Bounded: what matters least is lost first, and counted. */
import type { NodeEvent } from './status.ts';

/** Events waiting to be told; further ones are counted only. */
const EVENTS_MAX = 512;

export class EventLog {
  #events: NodeEvent[] = [];
  #lost = 0;

  add(event: NodeEvent): void {
    const isFull = this.#events.length >= EVENTS_MAX;
    if ((isFull && event.level > 1) || this.#events.length >= EVENTS_MAX * 2) this.#lost += 1;
    else this.#events.push(event);
  }

  /** Takes the events since the last call, and how many more were lost. */
  take(): { readonly events: readonly NodeEvent[]; readonly lost: number } {
    const taken = { events: this.#events, lost: this.#lost };
    this.#events = [];
    this.#lost = 0;
    return taken;
  }
}
