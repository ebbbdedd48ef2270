/** The shapes that the nemesis plays: known ways to break a wrong implementation, as data. */
import type { MessageKind } from './links.ts';

/** Whom a move concerns: a place in a random order of the nodes, or whoever leads. */
export type Who = number | 'leader';

/** Changes how a node is connected. */
export type LinkMove =
  /** From now on `who` sends and hears nothing, or everything again. */
  | { readonly kind: 'isolate' | 'join'; readonly who: Who }
  /** What is sent to `who` waits; it comes now. */
  | { readonly kind: 'hold' | 'release'; readonly who: Who }
  /** No message of a kind reaches `who`, or leaves it. */
  | { readonly kind: 'mute' | 'gag'; readonly who: Who; readonly what: MessageKind };

/** Does something to a node itself. `slow` and `hurry` are of its clock, as far as clocks may go. */
export interface NodeMove {
  readonly kind: 'crash' | 'start' | 'pause' | 'resume' | 'compact' | 'stick' | 'unstick' | 'slow' | 'hurry';
  readonly who: Who;
}

export type Move =
  | LinkMove
  | NodeMove
  /** Stands for election until it wins, or the others have had enough. */
  | { readonly kind: 'elect'; readonly who: Who }
  /** From now on `who` is connected to `others` alone. */
  | { readonly kind: 'only'; readonly who: Who; readonly others: readonly Who[] }
  | { readonly kind: 'propose' | 'read'; readonly who: Who; readonly count: number }
  | { readonly kind: 'replay'; readonly what: MessageKind }
  | { readonly kind: 'transfer'; readonly who: Who; readonly to: Who }
  /** Takes back every cut, hold, mute and pause of this script. */
  | { readonly kind: 'heal' }
  | { readonly kind: 'wait'; readonly units: number };

/** A shape has a name, and moves; `n` is the number of nodes. */
export interface Shape {
  readonly name: string;
  readonly moves: (n: number) => readonly Move[];
}

const wait = (units: number): Move => ({ kind: 'wait', units });
const on = (kind: 'isolate' | 'join' | 'hold' | 'release' | 'elect', who: Who): Move => ({ kind, who });
const act = (kind: NodeMove['kind'], who: Who): Move => ({ kind, who });
const ask = (kind: 'propose' | 'read', who: Who, count = 1): Move => ({ kind, who, count });

/** All shapes. Times are in election timeouts. */
export const SHAPES: readonly Shape[] = [
  {
    // Figure 8 of the paper: an entry of an earlier term comes to a majority, and a longer term waits elsewhere.
    name: 'figure 8',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      on('isolate', 0),
      ask('propose', 0, 2),
      { kind: 'gag', who: n - 1, what: 'append' },
      on('elect', n - 1),
      wait(1.7),
      ask('propose', n - 1, 1),
      wait(0.2),
      act('crash', n - 1),
      on('join', 0),
      on('elect', 0),
      wait(1.7),
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
    // A leader that sleeps with answers on their way to it; asked when it wakes, it hears them before anything newer.
    name: 'late answers',
    moves: (n) => [
      on('elect', 0),
      wait(0.4),
      on('hold', 0),
      wait(0.3),
      act('pause', 0),
      wait(1.6),
      on('elect', n - 1),
      wait(0.8),
      ask('propose', 'leader', 2),
      wait(0.4),
      ask('read', 0, 1),
      on('release', 0),
      wait(0.2),
      act('resume', 0),
      wait(0.2),
      { kind: 'heal' },
    ],
  },
  {
    // Leadership is handed over, the message that says so is lost, and comes long after the leader has given it up.
    name: 'late transfer',
    moves: (n) => [
      on('elect', 0),
      wait(0.5),
      { kind: 'mute', who: n - 1, what: 'timeoutNow' },
      { kind: 'transfer', who: 0, to: n - 1 },
      wait(2.2),
      { kind: 'mute', who: 0, what: 'vote' },
      { kind: 'replay', what: 'timeoutNow' },
      wait(0.15),
      ask('propose', 'leader', 1),
      ask('read', 0, 1),
      wait(0.3),
      ask('read', 0, 1),
      { kind: 'heal' },
    ],
  },
  {
    // Leadership is handed over, and the old leader is the last to hear that it has gone.
    name: 'blind handover',
    moves: (n) => [
      on('elect', 0),
      wait(0.5),
      ask('propose', 0, 2),
      wait(0.2),
      { kind: 'mute', who: 0, what: 'vote' },
      { kind: 'transfer', who: 0, to: n - 1 },
      wait(0.1),
      ask('propose', 'leader', 1),
      ask('read', 0, 1),
      wait(0.3),
      { kind: 'heal' },
    ],
  },
  {
    // Two candidates of one term, and voters that restart between their requests.
    name: 'asked twice',
    moves: (n) => [
      act('crash', 0),
      act('start', 0),
      wait(1.1),
      on('elect', 1),
      on('elect', 2),
      wait(0.08),
      act('crash', 1),
      act('crash', 2),
      ...[1, 2, 0, ...Array.from({ length: Math.max(0, n - 3) }, (_, i) => i + 3)].flatMap(
        (who): readonly Move[] => [
          act('crash', who),
          act('start', who),
          { kind: 'replay', what: 'vote' },
          wait(0.04),
        ],
      ),
      { kind: 'replay', what: 'vote' },
      wait(0.3),
      { kind: 'heal' },
    ],
  },
  {
    // A long tail of an old term against a short one of a later term (§5.4.1).
    name: 'long tail',
    moves: () => [
      on('elect', 0),
      wait(0.4),
      on('isolate', 0),
      ask('propose', 0, 12),
      wait(0.6),
      on('elect', 1),
      wait(0.6),
      on('elect', 1),
      wait(0.4),
      ask('propose', 'leader', 1),
      wait(0.3),
      act('pause', 'leader'),
      on('join', 0),
      wait(1),
      on('elect', 0),
      wait(0.6),
      { kind: 'heal' },
    ],
  },
  {
    // The answers on which a lease rests are long on their way, and nothing follows them; then the leader sleeps.
    name: 'late lease',
    moves: () => [
      on('elect', 0),
      wait(0.4),
      on('hold', 0),
      wait(0.1),
      { kind: 'gag', who: 0, what: 'heartbeat' },
      { kind: 'gag', who: 0, what: 'append' },
      wait(0.5),
      on('release', 0),
      wait(0.1),
      act('pause', 0),
      wait(0.3),
      on('elect', 1),
      on('elect', 2),
      wait(0.8),
      ask('propose', 'leader', 1),
      wait(0.2),
      { kind: 'heal' },
    ],
  },
  {
    // The clock of a leader is as slow as allowed, those of the others as fast: what is a promise of one length to them?
    name: 'slow clock',
    moves: (n) => [
      on('elect', 0),
      act('slow', 0),
      ...Array.from({ length: n - 1 }, (_, i) => act('hurry', i + 1)),
      wait(0.6),
      on('isolate', 0),
      wait(0.3),
      on('elect', 1),
      on('elect', 2),
      wait(1.2),
      ask('propose', 'leader', 1),
      ask('read', 0, 1),
      wait(0.2),
      { kind: 'heal' },
    ],
  },
  {
    // Everybody but the leader restarts at once and has forgotten what it promised.
    name: 'forgotten promises',
    moves: (n) => [
      on('elect', 0),
      wait(0.5),
      ...Array.from({ length: n - 1 }, (_, i) => act('crash', i + 1)),
      ...Array.from({ length: n - 1 }, (_, i) => act('start', i + 1)),
      on('isolate', 0),
      wait(0.1),
      on('elect', 1),
      wait(0.5),
      ask('propose', 'leader', 1),
      ask('read', 0, 1),
      wait(0.3),
      { kind: 'heal' },
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
