/**
 * The network between the replicas: one record of trouble for each directed link, and what becomes of a message that is
 * sent over it. Troubles add up and are taken back one by one, so that they may overlap.
 */
import { at } from '../../lib/assert.ts';
import { Random } from '../../lib/random.ts';
import type { NodeId } from '../../raft/entry.ts';
import type { Message } from '../../raft/messages.ts';

export type MessageKind = Message['kind'];

/** The trouble of one directed link. Whoever adds to a field takes the same away again. */
export class Link {
  readonly from: NodeId;
  readonly to: NodeId;
  /** Above 0: nothing passes. */
  cuts = 0;
  /** Above 0: what is sent waits. */
  holds = 0;
  readonly held: (() => void)[] = [];
  /** Chance that a message is lost, and that it comes twice. */
  loss = 0;
  doubling = 0;
  minMs = 0;
  spanMs = 0;
  /** Kinds that do not pass, with the number of reasons. */
  readonly muted: Map<MessageKind, number> = new Map();
  /** When the last message arrives; nothing overtakes it on an orderly link. */
  lastMs = 0;
  readonly random: Random;

  constructor(from: NodeId, to: NodeId, random: Random) {
    this.from = from;
    this.to = to;
    this.random = random;
  }

  /** Draws how long a message takes: mostly little, at times much. */
  latency(): number {
    const r = this.random.ratio();
    return this.minMs + this.spanMs * r * r * r;
  }

  mute(kind: MessageKind, by: 1 | -1): void {
    this.muted.set(kind, (this.muted.get(kind) ?? 0) + by);
  }

  isMuted(kind: MessageKind): boolean {
    return this.muted.size > 0 && (this.muted.get(kind) ?? 0) > 0;
  }

  /** Everything passes again; what was held is let go. */
  heal(minMs: number, spanMs: number): void {
    this.cuts = 0;
    this.holds = 0;
    this.loss = 0;
    this.doubling = 0;
    this.minMs = minMs;
    this.spanMs = spanMs;
    this.muted.clear();
    this.letGo();
  }

  /** What was held is on its way again, in order. */
  letGo(): void {
    for (const go of this.held.splice(0)) go();
  }
}

/** All links between nodes 1 to `count`. */
export class Links {
  readonly #count: number;
  readonly #links: readonly Link[];

  constructor(count: number, seed: string) {
    this.#count = count;
    const links: Link[] = [];
    for (let from = 1; from <= count; from++)
      for (let to = 1; to <= count; to++)
        links.push(new Link(from, to, new Random(`${seed}/link${from}-${to}`)));
    this.#links = links;
  }

  of(from: NodeId, to: NodeId): Link {
    return at(this.#links, (from - 1) * this.#count + to - 1);
  }

  /** Every link from one node to another. */
  get all(): readonly Link[] {
    return this.#links.filter(({ from, to }) => from !== to);
  }
}
