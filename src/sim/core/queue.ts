/** The future of a simulated run: a binary heap of events, ordered by time, then by chance, then by age. Decides nothing. */
import { at } from '../../lib/assert.ts';
import type { NodeId } from '../../raft/entry.ts';
import type { Input } from '../../raft/messages.ts';

/**
 * What an event is: `input` hands a core something, `tick` looks at its timer, `turn` empties its inbox, `synced` ends
 * a sync of its disk, `call` does something else.
 */
export type EventKind = 'input' | 'tick' | 'turn' | 'synced' | 'call';

/** One thing that will happen. */
export class SimEvent {
  readonly atMs: number;
  /** Orders events of one time: drawn, so that seeds explore the orders. */
  readonly tie: number;
  readonly kind: EventKind;
  /** Whom it concerns; 0 for nobody. */
  readonly node: NodeId;
  /** The life of the node for which it is meant; 0 for any. */
  readonly life: number;
  readonly input: Input | undefined;
  readonly call: (() => void) | undefined;

  constructor(
    atMs: number,
    tie: number,
    kind: EventKind,
    node: NodeId,
    life: number,
    input: Input | undefined,
    call: (() => void) | undefined,
  ) {
    this.atMs = atMs;
    this.tie = tie;
    this.kind = kind;
    this.node = node;
    this.life = life;
    this.input = input;
    this.call = call;
  }
}

/** A heap of events; the earliest comes out first. */
export class EventQueue {
  readonly #heap: SimEvent[] = [];

  get length(): number {
    return this.#heap.length;
  }

  push(event: SimEvent): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = at(heap, parent);
      if (isBefore(above, event)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = event;
  }

  /** Takes the earliest event out; undefined when nothing is left to happen. */
  pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    const half = heap.length >> 1;
    let i = 0;
    while (i < half) {
      let child = 2 * i + 1;
      let below = at(heap, child);
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, below)) {
        child += 1;
        below = right;
      }
      if (isBefore(last, below)) break;
      heap[i] = below;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

/** Equal times and ties are as good as never drawn; the heap itself is deterministic even then. */
function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);
}
