/**
 * Faults of links, decided frame by frame: deliver, drop or delay. The table lies in memory that all threads of a
 * process share, so that a cut takes effect at once and also while a node is frozen.
 */
import { assert } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';

/** Most nodes a table has room for: more than any cluster has, since no id is used twice while there are others. */
export const NODES_MAX = 64;
const FIELDS = 3;
const BLOCKED = 0;
const LOSS_PER_MILLION = 1;
const DELAY_MS = 2;
const MILLION = 1_000_000;

/** What becomes of one frame. */
export type Fate =
  | { readonly kind: 'deliver' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'delay'; readonly delayMs: number };

const DELIVER: Fate = { kind: 'deliver' };
const DROP: Fate = { kind: 'drop' };

/** The faults of every directed link between nodes 1 to {@link NODES_MAX}. */
export class LinkTable {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  /** @param buffer of another table, to share it; a healthy new one by default */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(NODES_MAX * NODES_MAX * FIELDS * 4)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  set(
    from: NodeId,
    to: NodeId,
    faults: { readonly blocked: boolean; readonly loss: number; readonly delayMs: number },
  ): void {
    assert(faults.loss >= 0 && faults.loss <= 1 && faults.delayMs >= 0, 'Link faults out of range');
    const cell = cellOf(from, to);
    Atomics.store(this.#cells, cell + LOSS_PER_MILLION, Math.round(faults.loss * MILLION));
    Atomics.store(this.#cells, cell + DELAY_MS, Math.round(faults.delayMs));
    Atomics.store(this.#cells, cell + BLOCKED, faults.blocked ? 1 : 0);
  }

  isBlocked(from: NodeId, to: NodeId): boolean {
    return Atomics.load(this.#cells, cellOf(from, to) + BLOCKED) === 1;
  }

  /** Decides about a frame that is sent now. */
  fate(from: NodeId, to: NodeId, random: Random): Fate {
    const cell = cellOf(from, to);
    if (Atomics.load(this.#cells, cell + BLOCKED) === 1) return DROP;
    const loss = Atomics.load(this.#cells, cell + LOSS_PER_MILLION);
    if (loss > 0 && random.chance(loss / MILLION)) return DROP;
    const delayMs = Atomics.load(this.#cells, cell + DELAY_MS);
    return delayMs === 0 ? DELIVER : { kind: 'delay', delayMs };
  }
}

function cellOf(from: NodeId, to: NodeId): number {
  assert(from >= 1 && from <= NODES_MAX && to >= 1 && to <= NODES_MAX, 'Node is outside the link table');
  return ((from - 1) * NODES_MAX + (to - 1)) * FIELDS;
}
