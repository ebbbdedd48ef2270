/**
 * Small scripts of shapes that are known to break wrong implementations, changed a little at random each time they are
 * played: random trouble alone finds them late.
 */
import { at, unreachable } from '../../lib/assert.ts';
import type { Random } from '../../lib/random.ts';
import type { Link, MessageKind } from './links.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import type { Trouble } from './trouble.ts';

/** Whom a move concerns: a place in a random order of the nodes, or whoever leads. */
type Who = number | 'leader';

type Move =
  /** Stands for election until it wins, or the others have had enough. */
  | { readonly kind: 'elect'; readonly who: Who }
  /** From now on `who` is connected to `others` alone. */
  | { readonly kind: 'only'; readonly who: Who; readonly others: readonly Who[] }
  /** From now on `who` sends and hears nothing, or everything again. */
  | { readonly kind: 'isolate' | 'join'; readonly who: Who }
  /** What is sent to `who` waits; it comes now. */
  | { readonly kind: 'hold' | 'release'; readonly who: Who }
  | { readonly kind: 'mute' | 'unmute'; readonly who: Who; readonly what: MessageKind }
  | { readonly kind: 'propose' | 'read'; readonly who: Who; readonly count: number }
  | {
      readonly kind: 'crash' | 'start' | 'pause' | 'resume' | 'compact' | 'stick' | 'unstick';
      readonly who: Who;
    }
  | { readonly kind: 'replay'; readonly what: MessageKind }
  /** Takes back every cut, hold, mute and pause of this script. */
  | { readonly kind: 'heal' }
  | { readonly kind: 'wait'; readonly units: number };

/** A shape has a name, and moves; `n` is the number of nodes. */
interface Shape {
  readonly name: string;
  readonly moves: (n: number, random: Random) => readonly Move[];
}

const wait = (units: number): Move => ({ kind: 'wait', units });
const on = (kind: 'isolate' | 'join' | 'hold' | 'release' | 'elect', who: Who): Move => ({ kind, who });
const act = (
  kind: 'crash' | 'start' | 'pause' | 'resume' | 'compact' | 'stick' | 'unstick',
  who: Who,
): Move => ({ kind, who });
const ask = (kind: 'propose' | 'read', who: Who, count = 1): Move => ({ kind, who, count });

const SHAPES: readonly Shape[] = [
  {
    // Figure 8 of the paper: an entry of an earlier term on a majority, and a longer term elsewhere.
    name: 'figure 8',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      { kind: 'only', who: 0, others: [1] },
      ask('propose', 0, 2),
      wait(0.2),
      act('crash', 0),
      { kind: 'isolate', who: 1 },
      on('elect', n - 1),
      wait(0.6),
      on('isolate', n - 1),
      ask('propose', n - 1, 2),
      wait(0.1),
      act('crash', n - 1),
      act('start', 0),
      on('join', 0),
      on('join', 1),
      on('elect', 0),
      wait(0.7),
      act('crash', 0),
      act('start', n - 1),
      { kind: 'heal' },
      on('elect', n - 1),
      wait(0.6),
      act('start', 0),
    ],
  },
  {
    // Several candidates of one term, votes late and twice.
    name: 'split vote',
    moves: (n) => [
      act('pause', 'leader'),
      wait(1.2),
      on('elect', 0),
      on('elect', 1),
      on('elect', n - 1),
      { kind: 'replay', what: 'voteReply' },
      wait(0.2),
      { kind: 'replay', what: 'voteReply' },
      { kind: 'heal' },
      wait(0.5),
    ],
  },
  {
    // A replica that hears nothing and asks again and again.
    name: 'disruptive server',
    moves: () => [
      { kind: 'mute', who: 0, what: 'heartbeat' },
      { kind: 'mute', who: 0, what: 'append' },
      wait(3),
      ask('propose', 'leader'),
      wait(1),
      { kind: 'heal' },
      wait(0.3),
      on('elect', 0),
      wait(1),
    ],
  },
  {
    // The same node leads twice with another in between; what it once sent comes late.
    name: 'aba append',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      on('hold', 1),
      ask('propose', 0, 3),
      wait(0.2),
      on('isolate', 0),
      on('elect', n - 1),
      wait(0.8),
      ask('propose', 'leader', 2),
      wait(0.3),
      on('join', 0),
      wait(0.3),
      on('elect', 0),
      on('release', 1),
      wait(0.4),
      { kind: 'replay', what: 'append' },
      { kind: 'replay', what: 'appendReply' },
      wait(0.4),
      { kind: 'heal' },
    ],
  },
  {
    // A candidate that missed what was committed, while those who did not are busy.
    name: 'lagging candidate',
    moves: () => [
      on('isolate', 0),
      ask('propose', 'leader', 4),
      wait(0.5),
      act('pause', 'leader'),
      on('join', 0),
      wait(1.1),
      on('elect', 0),
      wait(0.5),
      on('elect', 0),
      wait(0.5),
      { kind: 'heal' },
    ],
  },
  {
    // A leader that sleeps through an election and is asked when it wakes.
    name: 'sleeping leader',
    moves: () => [
      ask('propose', 'leader'),
      act('pause', 'leader'),
      wait(2.2),
      ask('propose', 'leader', 2),
      wait(0.3),
      ask('read', 0, 1),
      ask('read', 1, 1),
      ask('read', 2, 1),
      { kind: 'heal' },
      wait(0.3),
    ],
  },
  {
    // A leader with a minority behind it, asked for reads while the others go on.
    name: 'minority leader',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      { kind: 'only', who: 0, others: n > 3 ? [1] : [] },
      { kind: 'only', who: 1, others: n > 3 ? [0] : [] },
      wait(1.1),
      on('elect', n - 1),
      wait(0.6),
      ask('propose', n - 1, 2),
      wait(0.3),
      ask('read', 0, 2),
      wait(0.5),
      { kind: 'heal' },
      ask('read', 0, 1),
    ],
  },
  {
    // A long tail that nobody else has, a new leader, a compacted log: snapshots over conflicts.
    name: 'buried tail',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      on('isolate', 0),
      ask('propose', 0, 6),
      on('elect', 1),
      wait(1.3),
      on('elect', 1),
      wait(0.4),
      ask('propose', 'leader', 8),
      wait(0.6),
      ...Array.from({ length: n }, (_, who) => act('compact', who)),
      { kind: 'heal' },
      wait(0.8),
    ],
  },
  {
    // Entries cut and written again while the disk has not come to the first.
    name: 'rewritten on a slow disk',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      act('stick', 1),
      { kind: 'only', who: 0, others: [1] },
      ask('propose', 0, 3),
      wait(0.2),
      on('isolate', 0),
      on('join', 1),
      on('elect', n - 1),
      wait(1.2),
      ask('propose', 'leader', 2),
      wait(0.3),
      act('unstick', 1),
      wait(0.1),
      act('crash', 1),
      act('start', 1),
      { kind: 'heal' },
      wait(0.4),
    ],
  },
];

/** Plays a shape, changed at random. */
export function playShape(trouble: Trouble): string {
  const { random, world } = trouble;
  const shape = pick(random, SHAPES);
  const n = world.nodes.length;
  const moves = mutated(random, shape.moves(n, random), n);
  trouble.count('shape');
  new Play(trouble, shuffled(random, world.nodes)).go(moves, 0);
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
        const chosen = world.recent.filter(({ kind }) => kind === move.what);
        for (let i = 0; i < Math.min(6, chosen.length); i++)
          world.carry(pick(random, chosen), this.#trouble.span(0.5));
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
        return this.#elect(this.#node(move.who), 3);
      case 'mute':
      case 'unmute':
        return this.#onNode(move.kind, this.#node(move.who), move.what);
      default:
        return this.#onNode(move.kind, this.#node(move.who), 'append');
    }
  }

  #onNode(
    kind: Exclude<Move['kind'], 'wait' | 'heal' | 'replay' | 'only' | 'propose' | 'read' | 'elect'>,
    node: SimNode,
    what: MessageKind,
  ): void {
    const { world, random } = this.#trouble;
    const isOutward = ({ to }: Link): boolean => to !== node.id;
    switch (kind) {
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
      case 'release':
        return this.#heal(node, 'hold');
      case 'unmute':
        return this.#heal(node, 'mute');
      case 'hold':
        return this.#onLinks(node, 'hold', isOutward, (link, by) => {
          link.holds += by;
          if (link.holds === 0) link.letGo();
        });
      case 'mute':
        return this.#onLinks(node, 'mute', isOutward, (link, by) => link.mute(what, by));
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
    if (node.raft !== undefined && node.role === 'follower')
      this.#trouble.world.give(node, { kind: 'campaign' });
    this.#trouble.later(this.#trouble.unitMs * 0.3, () => this.#elect(node, times - 1));
  }

  /** Changes the links of a node except those that `spares` names, until the script heals. */
  #onLinks(
    node: SimNode,
    what: Undo['what'],
    spares: (link: Link) => boolean,
    change: (link: Link, by: 1 | -1) => void,
  ): void {
    const links = this.#trouble.world.links.all.filter(
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
