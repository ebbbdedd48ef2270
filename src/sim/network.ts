/**
 * The network between simulated nodes: decides for every frame whether, when and how often it arrives. A directed link has a
 * latency with a heavy tail, and may lose, repeat, replay, reorder, hold back and refuse. Frames are bytes to it, but for
 * one thing: requests of clients and introductions are never repeated, as no transport does (net/transport.ts).
 */
import { at, defined, unreachable } from '../lib/assert.ts';
import { Random } from '../lib/random.ts';
import { decodeFrame, encodeFrame } from '../net/codec.ts';
import type { NodeId } from '../raft/entry.ts';

/** How a directed link behaves. */
export interface LinkQuality {
  /** No frame is faster. */
  readonly latencyMsMin: number;
  /** A usual frame is up to this much slower. */
  readonly jitterMs: number;
  /** Probability of a frame that takes `tailFactor` times as long. */
  readonly tail: number;
  readonly tailFactor: number;
  readonly loss: number;
  /** Probability that what may be repeated in a frame comes twice. */
  readonly duplicate: number;
  /** Probability that a frame is followed by one from long ago. */
  readonly replay: number;
  /** Probability that a frame may overtake those before it. */
  readonly reorder: number;
  /** Frames under way at once; more are lost. */
  readonly framesMax: number;
}

/** A frame that will arrive. */
export interface Arrival {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

/** Frames remembered for a replay. */
const REMEMBERED = 16;
/** Between two frames of one link that keep their order. */
const GAP_MS = 0.001;

interface Link {
  readonly random: Random;
  quality: LinkQuality;
  /** How many causes cut it at the moment. */
  cuts: number;
  /** Nothing arrives before this. */
  cloggedUntilMs: number;
  lastArrivalMs: number;
  framesUnderWay: number;
  /** Frames sent before this one belong to a connection that is gone. */
  firstFrame: number;
  nextFrame: number;
  readonly remembered: Uint8Array[];
}

/** All links. */
export class Network {
  readonly #links: ReadonlyMap<NodeId, ReadonlyMap<NodeId, Link>>;
  /** What happened to frames, by kind. */
  readonly counts: {
    delivered: number;
    lost: number;
    duplicated: number;
    replayed: number;
    refused: number;
  } = { delivered: 0, lost: 0, duplicated: 0, replayed: 0, refused: 0 };

  /** @param options.seed of the run; every link draws from a stream of its own */
  constructor(options: {
    readonly nodes: readonly NodeId[];
    readonly seed: string;
    readonly quality: LinkQuality;
  }) {
    const { nodes, seed, quality } = options;
    this.#links = new Map(
      nodes.map((from) => [
        from,
        new Map(
          nodes
            .filter((to) => to !== from)
            .map((to) => [to, newLink(new Random(`${seed}/link/${from}-${to}`), quality)]),
        ),
      ]),
    );
  }

  /** Changes how a link behaves. */
  setQuality(from: NodeId, to: NodeId, quality: LinkQuality): void {
    this.#link(from, to).quality = quality;
  }

  qualityOf(from: NodeId, to: NodeId): LinkQuality {
    return this.#link(from, to).quality;
  }

  /** Adds a cause for the link to be cut. Each needs its own {@link mend}. */
  cut(from: NodeId, to: NodeId): void {
    this.#link(from, to).cuts += 1;
  }

  mend(from: NodeId, to: NodeId): void {
    const link = this.#link(from, to);
    link.cuts = Math.max(0, link.cuts - 1);
  }

  /** Holds everything on the link back until a time; then it comes at once, in order. */
  clog(from: NodeId, to: NodeId, untilMs: number): void {
    const link = this.#link(from, to);
    link.cloggedUntilMs = Math.max(link.cloggedUntilMs, untilMs);
  }

  /** The connection is a new one: what is under way on it is lost. */
  reset(from: NodeId, to: NodeId): void {
    const link = this.#link(from, to);
    link.firstFrame = link.nextFrame;
  }

  /** Takes away every cut and clog, and gives every link one quality. What is under way stays as late as it is. */
  heal(quality: LinkQuality): void {
    for (const links of this.#links.values()) {
      for (const link of links.values()) {
        link.cuts = 0;
        link.cloggedUntilMs = 0;
        link.lastArrivalMs = 0;
        link.quality = quality;
      }
    }
  }

  isCut(from: NodeId, to: NodeId): boolean {
    return this.#link(from, to).cuts > 0;
  }

  /** Takes a frame. @returns when it arrives, with whatever comes besides; `frame` is for {@link arrive} */
  send(
    from: NodeId,
    to: NodeId,
    bytes: Uint8Array,
    nowMs: number,
  ): { readonly frame: number; readonly arrivals: readonly Arrival[] } {
    const link = this.#link(from, to);
    const { random, quality } = link;
    const frame = link.nextFrame++;
    if (link.cuts > 0 || link.framesUnderWay >= quality.framesMax || random.chance(quality.loss)) {
      this.counts.lost += 1;
      return { frame, arrivals: [] };
    }
    const arrivals: Arrival[] = [{ atMs: arrivalOf(link, nowMs), bytes }];
    if (quality.duplicate > 0 && random.chance(quality.duplicate)) this.#repeat(link, bytes, nowMs, arrivals);
    if (quality.replay > 0) {
      const old = link.remembered[random.int(0, REMEMBERED - 1)];
      if (old !== undefined && random.chance(quality.replay)) {
        this.counts.replayed += 1;
        arrivals.push({ atMs: nowMs + random.ratio() * 10 * quality.jitterMs, bytes: old });
      }
      if (random.chance(0.1)) remember(link, bytes);
    }
    link.framesUnderWay += arrivals.length;
    return { frame, arrivals };
  }

  /** A frame is there. @returns whether it is let in */
  arrive(from: NodeId, to: NodeId, frame: number): boolean {
    const link = this.#link(from, to);
    link.framesUnderWay -= 1;
    const isLetIn = link.cuts === 0 && frame >= link.firstFrame;
    if (isLetIn) this.counts.delivered += 1;
    else this.counts.refused += 1;
    return isLetIn;
  }

  #repeat(link: Link, bytes: Uint8Array, nowMs: number, arrivals: Arrival[]): void {
    const again = repeatable(bytes);
    if (again === undefined) return;
    this.counts.duplicated += 1;
    arrivals.push({ atMs: arrivalOf(link, nowMs), bytes: again });
  }

  #link(from: NodeId, to: NodeId): Link {
    return defined(this.#links.get(from)?.get(to), `link from ${from} to ${to}`);
  }
}

function newLink(random: Random, quality: LinkQuality): Link {
  return {
    random,
    quality,
    cuts: 0,
    cloggedUntilMs: 0,
    lastArrivalMs: 0,
    framesUnderWay: 0,
    firstFrame: 0,
    nextFrame: 0,
    remembered: [],
  };
}

function arrivalOf(link: Link, nowMs: number): number {
  const { random, quality } = link;
  const factor = quality.tail > 0 && random.chance(quality.tail) ? quality.tailFactor : 1;
  const usual = quality.latencyMsMin + random.ratio() * quality.jitterMs;
  let atMs = Math.max(nowMs + usual * factor, link.cloggedUntilMs);
  const mayOvertake = quality.reorder > 0 && random.chance(quality.reorder);
  if (!mayOvertake) atMs = Math.max(atMs, link.lastArrivalMs + GAP_MS);
  link.lastArrivalMs = Math.max(link.lastArrivalMs, atMs);
  return atMs;
}

function remember(link: Link, bytes: Uint8Array): void {
  const again = repeatable(bytes);
  if (again === undefined) return;
  if (link.remembered.length < REMEMBERED) link.remembered.push(again);
  else link.remembered[link.random.int(0, REMEMBERED - 1)] = again;
}

/** What of a frame a bad network may bring twice: messages that carry their own term. Undefined for nothing. */
function repeatable(bytes: Uint8Array): Uint8Array | undefined {
  const envelopes = defined(decodeFrame(bytes), 'a frame that can be read');
  const again = envelopes.filter(
    ({ kind }) => kind === 'raft' || kind === 'snapshotPart' || kind === 'snapshotAck',
  );
  if (again.length === envelopes.length) return bytes;
  return again.length === 0 ? undefined : encodeFrame(again);
}

/** Directed pairs between nodes: all, and those that a partition cuts. */
export type Pair = readonly [from: NodeId, to: NodeId];

/** Every directed pair of different nodes. */
export function pairsOf(nodes: readonly NodeId[]): readonly Pair[] {
  return nodes.flatMap((from) => nodes.filter((to) => to !== from).map((to): Pair => [from, to]));
}

/** The ways in which a network falls apart. */
export const PARTITIONS = ['halves', 'isolate', 'oneWay', 'bridge', 'ring', 'link'] as const;

export type PartitionKind = (typeof PARTITIONS)[number];

/**
 * The pairs that a partition cuts.
 *
 * @param center whom it is about: isolated, cut in one direction, or the bridge
 */
export function partition(
  kind: PartitionKind,
  nodes: readonly NodeId[],
  center: NodeId,
  random: Random,
): readonly Pair[] {
  const others = shuffled(
    nodes.filter((id) => id !== center),
    random,
  );
  const order = [center, ...others];
  const all = pairsOf(nodes);
  switch (kind) {
    case 'halves': {
      const size = random.int(1, Math.max(1, nodes.length - 1));
      const half = new Set(order.slice(0, size));
      return all.filter(([from, to]) => half.has(from) !== half.has(to));
    }
    case 'isolate':
      return all.filter(([from, to]) => from === center || to === center);
    case 'oneWay': {
      const isDeaf = random.chance(0.5);
      return all.filter(([from, to]) => (isDeaf ? to : from) === center);
    }
    case 'bridge': {
      // Two halves that only the center can reach.
      const half = new Set(others.slice(0, Math.floor(others.length / 2)));
      return all.filter(([from, to]) => from !== center && to !== center && half.has(from) !== half.has(to));
    }
    case 'ring': {
      // Each sees a majority, and no two the same one; three nodes are too few for that.
      const reach = Math.ceil(Math.floor(nodes.length / 2) / 2);
      return all.filter(([from, to]) => {
        const apart = Math.abs(order.indexOf(from) - order.indexOf(to));
        return Math.min(apart, nodes.length - apart) > reach;
      });
    }
    case 'link': {
      const other = others[0];
      if (other === undefined) return [];
      const isBothWays = random.chance(0.5);
      return isBothWays
        ? [
            [center, other],
            [other, center],
          ]
        : [[center, other]];
    }
    default:
      return unreachable(kind);
  }
}

/** The same elements in an order drawn from `random`. */
export function shuffled<T>(list: readonly T[], random: Random): readonly T[] {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = random.int(0, i);
    const kept = at(result, i);
    result[i] = at(result, j);
    result[j] = kept;
  }
  return result;
}
