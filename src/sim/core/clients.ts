/** The clients of a simulated run: each asks, pauses, asks again, and does not wait; most know who leads, some insist on who did. */
import { Random } from '../../lib/random.ts';
import type { Event, Message } from '../../raft/messages.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import type { Watcher, World } from './world.ts';

/** Requests of a run, at most: the log stays short enough to be cheap. */
const REQUESTS_MAX = 800;

export class Clients implements Watcher {
  readonly #world: World;
  readonly #eager: Random;
  #isOpen = true;

  constructor(world: World) {
    this.#world = world;
    const { seed, clients, eagerness } = world.plan;
    this.#eager = new Random(`core/${seed}/eager`);
    for (let i = 1; i <= clients; i++) this.#pauseThenAsk(new Random(`core/${seed}/client${i}`));
    if (eagerness > 0) world.watchers.add(this);
  }

  /** Nobody asks any more. */
  close(): void {
    this.#isOpen = false;
    this.#world.watchers.delete(this);
  }

  sent(_node: SimNode, _message: Message): boolean {
    return false;
  }

  /** A client that hears of a new leader asks at once. */
  event(node: SimNode, event: Event): boolean {
    if (event.kind !== 'role' || event.to !== 'leader') return false;
    const random = this.#eager;
    if (!random.chance(this.#world.plan.eagerness)) return false;
    const kind = random.chance(0.6) ? 'read' : 'propose';
    this.#world.time.after(random.ratio() * random.ratio() * 5, () => this.#ask(node, kind, 1, random));
    return false;
  }

  #pauseThenAsk(random: Random): void {
    const { time, plan } = this.#world;
    time.after(plan.thinkMs * 2 * random.ratio(), () => {
      if (!this.#isOpen) return;
      const kind = random.chance(plan.readShare) ? 'read' : 'propose';
      this.#ask(this.#choose(random), kind, random.chance(0.8) ? 1 : random.int(2, 5), random);
      this.#pauseThenAsk(random);
    });
  }

  #ask(node: SimNode, kind: 'read' | 'propose', count: number, random: Random): void {
    const world = this.#world;
    if (!this.#isOpen || world.requests.length >= REQUESTS_MAX) return;
    world.ask(node, kind, count, random.int(4, world.plan.payloadBytesMax));
  }

  /** Mostly somebody who believes to lead, be it in an old term. */
  #choose(random: Random): SimNode {
    const { nodes, leader, plan } = this.#world;
    if (random.chance(0.1)) return pick(random, nodes);
    if (leader !== undefined && !random.chance(plan.stubbornness)) return leader;
    const believed = nodes.filter((node) => node.role === 'leader');
    return believed.length === 0 ? pick(random, nodes) : pick(random, believed);
  }
}
