/** What every disturbance of a run is made of: its own chance, the world it acts on, and a way to take back what it did. */
import type { Random } from '../../lib/random.ts';
import type { Link } from './links.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import type { World } from './world.ts';

/**
 * One disturbance while it goes on. After the run has healed nothing that it does or takes back has any effect.
 */
export class Trouble {
  readonly world: World;
  readonly random: Random;
  /** The names of the faults that it caused, once each. */
  readonly #isOver: () => boolean;
  readonly #count: (fault: string) => void;

  constructor(world: World, random: Random, isOver: () => boolean, count: (fault: string) => void) {
    this.world = world;
    this.random = random;
    this.#isOver = isOver;
    this.#count = count;
  }

  /** The unit of time of a run: its election timeout. */
  get unitMs(): number {
    return this.world.plan.raft.electionMs;
  }

  /** Between nothing and `units` election timeouts, mostly little. */
  span(units: number): number {
    const r = this.random.ratio();
    return this.unitMs * units * r * r;
  }

  /** A rate for a clock, within what clocks of this run may do, and often the most that they may. */
  clockRate(): number {
    const { random, world } = this;
    const share = random.chance(0.5) ? pick(random, [-1, 1]) : 2 * random.ratio() - 1;
    return 1 + world.plan.clockSpread * share;
  }

  /** Counts a fault of this kind. */
  count(fault: string): void {
    this.#count(fault);
  }

  /** Does something later, unless the run has healed by then. */
  later(delayMs: number, act: () => void): void {
    this.world.time.after(delayMs, () => {
      if (!this.#isOver()) act();
    });
  }

  /** Some node, at times the leader on purpose. */
  victim(): SimNode {
    const { leader, nodes } = this.world;
    return leader !== undefined && this.random.chance(0.4) ? leader : pick(this.random, nodes);
  }

  /** Each node with probability `p`, and at least one. */
  some(p: number): readonly SimNode[] {
    const chosen = this.world.nodes.filter(() => this.random.chance(p));
    return chosen.length > 0 ? chosen : [pick(this.random, this.world.nodes)];
  }

  /** Does something to links, and the opposite when `forMs` have passed. */
  onLinks(links: readonly Link[], forMs: number, change: (link: Link, by: 1 | -1) => void): void {
    for (const link of links) change(link, 1);
    this.later(forMs, () => {
      for (const link of links) change(link, -1);
    });
  }

  /** All links, those of one node, those in one direction, or one. */
  someLinks(): { readonly links: readonly Link[]; readonly where: string } {
    const { all } = this.world.post.links;
    const { id } = this.victim();
    switch (this.random.int(0, 4)) {
      case 0:
        return { links: all, where: 'all links' };
      case 1:
        return {
          links: all.filter(({ from, to }) => from === id || to === id),
          where: `the links of n${id}`,
        };
      case 2:
        return { links: all.filter(({ from }) => from === id), where: `the links from n${id}` };
      case 3:
        return { links: all.filter(({ to }) => to === id), where: `the links to n${id}` };
      default: {
        const { id: to } = pick(this.random, this.world.nodes);
        return { links: all.filter((link) => link.from === id && link.to === to), where: `n${id} to n${to}` };
      }
    }
  }
}

/** Names of nodes as one text: `n1 n3`. */
export function names(nodes: readonly { readonly id: number }[]): string {
  return nodes.map(({ id }) => `n${id}`).join(' ');
}
