/**
 * Starts nodes that went down, after a while, and ends those whose disk failed: what an operator's init system does. A node
 * that is given up stays down.
 */
import { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Scheduler } from './scheduler.ts';

/** The shortest rest of a process between two lives. */
const QUICK_MS = 20;

/** Restarts the nodes of one run. */
export class Supervisor {
  readonly #scheduler: Scheduler;
  readonly #electionMs: number;
  readonly #randoms: ReadonlyMap<NodeId, Random>;
  /** A start is under way for them. */
  readonly #waiting: Set<NodeId> = new Set();
  readonly #givenUp: Set<NodeId> = new Set();
  /** Starts that were asked for before the last {@link hold} do not happen. */
  #epoch = 0;
  #isHeld = false;

  /** @param options.seed of the run; @param options.electionMs what is long and what is short depends on it */
  constructor(
    scheduler: Scheduler,
    { seed, electionMs }: { readonly seed: string; readonly electionMs: number },
  ) {
    this.#scheduler = scheduler;
    this.#electionMs = electionMs;
    this.#randoms = new Map(scheduler.seats.map(({ id }) => [id, new Random(`${seed}/supervisor/${id}`)]));
  }

  /** Nodes that will never be started again. */
  get givenUp(): ReadonlySet<NodeId> {
    return this.#givenUp;
  }

  giveUp(id: NodeId): void {
    this.#givenUp.add(id);
  }

  /** A node is down. */
  wentDown(id: NodeId): void {
    const random = this.#randoms.get(id);
    if (random === undefined || this.#isHeld || this.#waiting.has(id)) return;
    const slowMs = this.#electionMs * (0.2 + 10 * random.ratio() * random.ratio());
    this.startAfter(id, random.chance(0.4) ? QUICK_MS : slowMs);
  }

  /** A node that runs can do nothing any more: its disk failed. */
  diskFailed(id: NodeId): void {
    const random = this.#randoms.get(id);
    if (random === undefined || this.#waiting.has(id)) return;
    const life = this.#scheduler.seat(id).life;
    this.#scheduler.after(10 + random.ratio() * 500, () => {
      const seat = this.#scheduler.seat(id);
      if (seat.isUp && seat.life === life) this.#scheduler.crash(id);
    });
  }

  startAfter(id: NodeId, delayMs: number): void {
    const epoch = this.#epoch;
    this.#waiting.add(id);
    this.#scheduler.after(delayMs, () => {
      if (epoch !== this.#epoch) return;
      this.#waiting.delete(id);
      if (!this.#scheduler.seat(id).isUp && !this.#givenUp.has(id)) this.#scheduler.start(id);
    });
  }

  /** Ends a {@link hold}. */
  release(): void {
    this.#isHeld = false;
  }

  /** From now on nodes stay down unless {@link startAfter} says otherwise. */
  hold(): void {
    this.#epoch += 1;
    this.#waiting.clear();
    this.#isHeld = true;
  }
}
