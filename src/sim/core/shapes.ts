/**
 * Small scripts of shapes that are known to break wrong implementations, changed a little at random each time they are
 * played: random trouble alone finds them late.
 */
import { at, unreachable } from '../../lib/assert.ts';
import type { Random } from '../../lib/random.ts';
import type { Link } from './links.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import { type LinkMove, type Move, type NodeMove, SHAPES, type Who } from './shape-list.ts';
import type { Trouble } from './trouble.ts';

/** How often a node is told to stand until it wins, and how long apart in election timeouts: before others think of it. */
const ELECT_TRIES = 12;
const ELECT_EVERY = 0.13;
/** A replay is of the newest messages. */
const REPLAYED_MAX = 12;

/** Plays a shape, changed at random. */
export function playShape(trouble: Trouble): string {
  const { random, world } = trouble;
  const shape = pick(random, SHAPES);
  // Those who may vote come first: the moves speak of them.
  const { config } = (world.leader ?? pick(random, world.nodes)).memory;
  const order = shuffled(random, world.nodes);
  const voters = order.filter(({ id }) => config.voters.includes(id));
  // Most begin with a leader; where there is one already, the others would not elect another.
  if (random.chance(0.8)) voters.sort((a, b) => Number(b === world.leader) - Number(a === world.leader));
  const others = order.filter(({ id }) => !config.voters.includes(id));
  const n = Math.max(1, voters.length);
  const moves = mutated(random, shape.moves(n), n);
  trouble.count('shape');
  new Play(trouble, [...voters, ...others]).go(moves, 0);
  return `play ${shape.name} in ${moves.length} moves`;
}

/** What a script did to a node and will take back. */
interface Undo {
  readonly node: SimNode;
  readonly what: 'cut' | 'hold' | 'mute' | 'rest';
  readonly undo: () => void;
}

/** A script under way. */
class Play {
  readonly #trouble: Trouble;
  readonly #order: readonly SimNode[];
  #undo: Undo[] = [];

  constructor(trouble: Trouble, order: readonly SimNode[]) {
    this.#trouble = trouble;
    this.#order = order;
  }

  /** Carries out the moves from `from` on, up to the next wait, and goes on behind it. */
  go(moves: readonly Move[], from: number): void {
    for (let i = from; i < moves.length; i++) {
      const move = at(moves, i);
      if (move.kind === 'wait') {
        const ms = move.units * this.#trouble.unitMs * (0.5 + this.#trouble.random.ratio());
        return this.#trouble.later(ms, () => this.go(moves, i + 1));
      }
      this.#carryOut(move);
    }
    this.#heal();
    for (const node of this.#order) if (node.raft === undefined) this.#trouble.world.start(node);
  }

  #carryOut(move: Exclude<Move, { readonly kind: 'wait' }>): void {
    const { world, random } = this.#trouble;
    switch (move.kind) {
      case 'heal':
        return this.#heal();
      case 'replay': {
        const chosen = world.post.recent(move.what).slice(-REPLAYED_MAX);
        for (let i = 0; i < Math.min(6, chosen.length); i++)
          world.post.carry(pick(random, chosen), this.#trouble.span(0.5));
        return;
      }
      case 'only': {
        const others = new Set(move.others.map((who) => this.#node(who)));
        const node = this.#node(move.who);
        const isSpared = ({ from, to }: Link): boolean =>
          others.has(world.node(from === node.id ? to : from));
        return this.#onLinks(node, 'cut', isSpared, (link, by) => {
          link.cuts += by;
        });
      }
      case 'propose':
      case 'read':
        return world.ask(
          this.#node(move.who),
          move.kind,
          move.count,
          random.int(4, world.plan.payloadBytesMax),
        );
      case 'elect':
        return this.#elect(this.#node(move.who), ELECT_TRIES);
      case 'transfer':
        return world.transfer(this.#node(move.who), this.#node(move.to).id);
      case 'isolate':
      case 'join':
      case 'hold':
      case 'release':
      case 'mute':
      case 'gag':
        return this.#rewire(move, this.#node(move.who));
      case 'crash':
      case 'start':
      case 'pause':
      case 'resume':
      case 'compact':
      case 'stick':
      case 'unstick':
      case 'slow':
      case 'hurry':
        return this.#handle(move.kind, this.#node(move.who));
      default:
        return unreachable(move);
    }
  }

  /** Changes how a node is connected. */
  #rewire(move: LinkMove, node: SimNode): void {
    const isOutward = ({ to }: Link): boolean => to !== node.id;
    const isInward = ({ to }: Link): boolean => to === node.id;
    switch (move.kind) {
      case 'isolate':
        return this.#onLinks(
          node,
          'cut',
          () => false,
          (link, by) => {
            link.cuts += by;
          },
        );
      case 'join':
        return this.#heal(node, 'cut');
      case 'hold':
        return this.#onLinks(node, 'hold', isOutward, (link, by) => {
          link.holds += by;
          if (link.holds === 0) link.letGo();
        });
      case 'release':
        return this.#heal(node, 'hold');
      case 'mute':
        return this.#onLinks(node, 'mute', isOutward, (link, by) => link.mute(move.what, by));
      case 'gag':
        return this.#onLinks(node, 'mute', isInward, (link, by) => link.mute(move.what, by));
      default:
        return unreachable(move);
    }
  }

  /** Does something to a node itself. */
  #handle(kind: NodeMove['kind'], node: SimNode): void {
    const { world, random } = this.#trouble;
    switch (kind) {
      case 'crash':
        return world.crash(node, random.int(0, node.disk.outstanding));
      case 'start':
        if (node.raft === undefined) world.start(node);
        return;
      case 'pause':
        world.pause(node);
        this.#undo.push({ node, what: 'rest', undo: () => world.resume(node, random.chance(0.3)) });
        return;
      case 'resume':
        return world.resume(node, false);
      case 'compact':
        return world.compact(node, 0);
      case 'stick':
        node.isStuck = true;
        this.#undo.push({ node, what: 'rest', undo: () => this.#unstick(node) });
        return;
      case 'unstick':
        return this.#unstick(node);
      case 'slow':
      case 'hurry':
        world.observer.probes.add('clocks run unevenly');
        return node.setRate(world.time.nowMs, 1 + world.plan.clockSpread * (kind === 'hurry' ? 1 : -1));
      default:
        return unreachable(kind);
    }
  }

  #unstick(node: SimNode): void {
    node.isStuck = false;
    this.#trouble.world.sync(node);
  }

  /** Tells a node to stand, again while it has not won. */
  #elect(node: SimNode, times: number): void {
    if (times === 0 || node.role === 'leader') return;
    if (node.raft !== undefined && node.role !== 'candidate')
      this.#trouble.world.give(node, { kind: 'campaign' });
    this.#trouble.later(this.#trouble.unitMs * ELECT_EVERY, () => this.#elect(node, times - 1));
  }

  /** Changes the links of a node except those that `spares` names, until the script heals. */
  #onLinks(
    node: SimNode,
    what: Undo['what'],
    spares: (link: Link) => boolean,
    change: (link: Link, by: 1 | -1) => void,
  ): void {
    const links = this.#trouble.world.post.links.all.filter(
      (link) => (link.from === node.id || link.to === node.id) && !spares(link),
    );
    for (const link of links) change(link, 1);
    const undo = (): void => {
      for (const link of links) change(link, -1);
    };
    this.#undo.push({ node, what, undo });
  }

  /** Takes back what was done: everything, or one thing to one node. */
  #heal(node?: SimNode, what?: Undo['what']): void {
    const isMeant = (done: Undo): boolean => node === undefined || (done.node === node && done.what === what);
    const meant = this.#undo.filter(isMeant);
    this.#undo = this.#undo.filter((done) => !isMeant(done));
    for (const { undo } of meant) undo();
  }

  #node(who: Who): SimNode {
    const { leader } = this.#trouble.world;
    if (who === 'leader') return leader ?? at(this.#order, 0);
    return at(this.#order, who % this.#order.length);
  }
}

/** Some moves left out, some told to another, some in another order. */
function mutated(random: Random, moves: readonly Move[], n: number): readonly Move[] {
  const p = pick(random, [0, 0.05, 0.2]);
  const changed: Move[] = [];
  for (const move of moves) {
    if (random.chance(p)) continue;
    changed.push('who' in move && random.chance(p) ? { ...move, who: random.int(0, n - 1) } : move);
  }
  for (let i = 1; i < changed.length; i++) {
    if (!random.chance(p / 2)) continue;
    const before = at(changed, i - 1);
    changed[i - 1] = at(changed, i);
    changed[i] = before;
  }
  return changed;
}

function shuffled<T>(random: Random, list: readonly T[]): readonly T[] {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.int(0, i);
    const kept = at(order, i);
    order[i] = at(order, j);
    order[j] = kept;
  }
  return order;
}
