/** Carries messages between the replicas, over links with their trouble, and remembers the last of each kind. */
import type { Message } from '../../raft/messages.ts';
import { type Link, Links, type MessageKind } from './links.ts';
import type { SimNode } from './node.ts';
import type { Observer } from './observer.ts';
import type { CorePlan } from './plan.ts';
import type { Timeline } from './timeline.ts';

/** Messages of each kind that are remembered. */
const RECENT_MAX = 96;
/** Between two messages on an orderly link, at least. */
const APART_MS = 0.001;

export class Post {
  readonly links: Links;
  /** Chance that a reject's hint is lowered to what a slower peer would say. */
  hintLowering = 0;
  readonly #nodes: readonly SimNode[];
  readonly #time: Timeline;
  readonly #observer: Observer;
  readonly #isOrderly: boolean;
  readonly #recent: Map<MessageKind, { next: number; readonly ring: Message[] }> = new Map();

  constructor(plan: CorePlan, nodes: readonly SimNode[], time: Timeline, observer: Observer) {
    this.#nodes = nodes;
    this.#time = time;
    this.#observer = observer;
    this.#isOrderly = plan.isOrderly;
    this.links = new Links(nodes.length, `core/${plan.seed}`);
    for (const link of this.links.all) {
      link.minMs = plan.linkMinMs;
      link.spanMs = plan.linkSpanMs;
    }
  }

  /** The last messages of a kind that were sent, whatever became of them; the oldest first. */
  recent(kind: MessageKind): readonly Message[] {
    const kept = this.#recent.get(kind);
    return kept === undefined ? [] : [...kept.ring.slice(kept.next), ...kept.ring.slice(0, kept.next)];
  }

  /** A message is on its way, whoever sent it and when. It reaches any life of its receiver. */
  carry(message: Message, delayMs: number): void {
    this.#time.push(delayMs, 'input', message.to, 0, { kind: 'message', message });
  }

  /** Sends a message over its link, with the link's trouble. */
  send(message: Message): void {
    const { from, to, term, kind } = message;
    this.#time.mix(from * 16 + to, term, kind.length);
    this.#remember(message);
    const link = this.links.of(from, to);
    if (link.cuts > 0 || link.isMuted(kind)) return;
    const sent =
      kind === 'appendReject' && this.hintLowering > 0 ? this.#withLowerHint(message, link) : message;
    if (link.loss > 0 && link.random.chance(link.loss)) return;
    if (link.holds > 0) {
      link.held.push(() => this.carry(sent, link.latency()));
      return;
    }
    const { nowMs } = this.#time;
    const latencyMs = link.latency();
    const arrivesMs = this.#isOrderly
      ? Math.max(link.lastMs + APART_MS, nowMs + latencyMs)
      : nowMs + latencyMs;
    link.lastMs = Math.max(link.lastMs, arrivesMs);
    this.carry(sent, arrivesMs - nowMs);
    if (link.doubling > 0 && link.random.chance(link.doubling))
      this.carry(sent, latencyMs * (1 + 10 * link.random.ratio()));
  }

  #remember(message: Message): void {
    let kept = this.#recent.get(message.kind);
    if (kept === undefined) {
      kept = { next: 0, ring: [] };
      this.#recent.set(message.kind, kept);
    }
    kept.ring[kept.next] = message;
    kept.next = (kept.next + 1) % RECENT_MAX;
  }

  /** The same reject with a position further back, as a peer might say that looks less far. */
  #withLowerHint(message: Message, { random }: Link): Message {
    if (message.kind !== 'appendReject' || !random.chance(this.hintLowering)) return message;
    const memory = this.#nodes[message.from - 1]?.memory;
    if (memory === undefined) return message;
    const index = random.int(memory.baseIndex, Math.max(memory.baseIndex, message.hint.index));
    const term = memory.termAt(index);
    if (term === undefined || index >= message.hint.index) return message;
    this.#observer.probes.add('hint lowered');
    return { ...message, hint: { index, term } };
  }
}
