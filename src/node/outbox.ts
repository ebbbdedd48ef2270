/** Envelopes to peers, gathered into one frame for each until they are sent. */
import type { Envelope } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';

export class Outbox {
  readonly #waiting: Map<NodeId, Envelope[]> = new Map();
  readonly #send: (to: NodeId, envelopes: readonly Envelope[]) => void;

  /** @param send takes a frame; may lose it */
  constructor(send: (to: NodeId, envelopes: readonly Envelope[]) => void) {
    this.#send = send;
  }

  add(to: NodeId, envelope: Envelope): void {
    const waiting = this.#waiting.get(to);
    if (waiting === undefined) this.#waiting.set(to, [envelope]);
    else waiting.push(envelope);
  }

  /** Forgets what waits for a peer. */
  drop(to: NodeId): void {
    this.#waiting.delete(to);
  }

  flush(): void {
    for (const [to, envelopes] of this.#waiting) this.#send(to, envelopes);
    this.#waiting.clear();
  }
}
