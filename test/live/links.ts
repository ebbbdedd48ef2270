/** The links between nodes and the shapes in which they fail: who does not hear whom. Nodes count from 0. */
import { assert, defined } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import { LinkProxy, type LinkState, OPEN } from './proxy.ts';

/** What `from` sends does not reach `to`. */
export interface Link {
  readonly from: number;
  readonly to: number;
}

/** Every link of a cluster. */
export function allLinks(nodeCount: number): readonly Link[] {
  const nodes = Array.from({ length: nodeCount }, (_, node) => node);
  return nodes.flatMap((from) => nodes.filter((to) => to !== from).map((to) => ({ from, to })));
}

/** The node and all others do not hear each other. */
export function isolation(node: number, nodeCount: number): readonly Link[] {
  return allLinks(nodeCount).filter(({ from, to }) => from === node || to === node);
}

/** The node is heard by nobody, but hears. */
export function mute(node: number, nodeCount: number): readonly Link[] {
  return allLinks(nodeCount).filter(({ from }) => from === node);
}

/** The node hears nobody, but is heard. */
export function deaf(node: number, nodeCount: number): readonly Link[] {
  return allLinks(nodeCount).filter(({ to }) => to === node);
}

/** The nodes in `half` and the others do not hear each other. */
export function halves(half: ReadonlySet<number>, nodeCount: number): readonly Link[] {
  return allLinks(nodeCount).filter(({ from, to }) => half.has(from) !== half.has(to));
}

/** Two halves that do not hear each other, and one node that both hear and that hears both. */
export function bridge(node: number, nodeCount: number): readonly Link[] {
  const others = Array.from({ length: nodeCount }, (_, i) => i).filter((i) => i !== node);
  const left = new Set(others.slice(0, others.length >> 1));
  return halves(left, nodeCount).filter(({ from, to }) => from !== node && to !== node);
}

/** A proxy for every link of a cluster. */
export class Mesh {
  readonly #proxies: ReadonlyMap<string, LinkProxy>;
  readonly #nodeCount: number;

  private constructor(proxies: ReadonlyMap<string, LinkProxy>, nodeCount: number) {
    this.#proxies = proxies;
    this.#nodeCount = nodeCount;
  }

  /** @param ports where the nodes listen for their peers */
  static async listen(ports: readonly number[], random: Random): Promise<Mesh> {
    const opening = allLinks(ports.length).map(async (link): Promise<[string, LinkProxy]> => {
      const port = defined(ports[link.to], 'the port of a node');
      return [nameOf(link), await LinkProxy.listen(port, random.fork(nameOf(link)))];
    });
    return new Mesh(new Map(await Promise.all(opening)), ports.length);
  }

  /** Where `link.from` dials in order to reach `link.to`. */
  portOf(link: Link): number {
    return this.#proxy(link).port;
  }

  /** Changes some links and leaves the others as they are. */
  set(links: readonly Link[], state: LinkState): void {
    assert(links.length > 0, 'A fault without a link');
    for (const link of links) this.#proxy(link).set(state);
  }

  /** Resets the connections of a link in the middle of a frame. */
  tear(link: Link): void {
    this.#proxy(link).tear();
  }

  /** Makes every link healthy. */
  heal(): void {
    this.set(allLinks(this.#nodeCount), OPEN);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.close()));
  }

  #proxy(link: Link): LinkProxy {
    return defined(this.#proxies.get(nameOf(link)), 'the proxy of a link');
  }
}

function nameOf({ from, to }: Link): string {
  return `${from}>${to}`;
}
