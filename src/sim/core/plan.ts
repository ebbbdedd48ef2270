/**
 * Draws what a seed is going to be: size, every constant, which kinds of trouble exist at all (Groce and others 2012,
 * swarm testing), and when each disturbance comes. Nothing is decided later but by the stream of its own that each
 * disturbance has.
 */
import { at } from '../../lib/assert.ts';
import { Random } from '../../lib/random.ts';
import type { NodeId } from '../../raft/entry.ts';
import type { RaftOptions } from '../../raft/raft.ts';
import { RULES } from '../../raft/rules.ts';
import { clockSpread } from '../clock.ts';
import type { SyncSpeed } from './node.ts';

/** Trouble that lasts for the whole run. Each is a disturbance of its own, so that it can be left out. */
export const CLIMATES = [
  'losing links',
  'doubling links',
  'slow links',
  'slow disks',
  'uneven clocks',
  'lowered hints',
  'late timers',
  'late reports',
] as const;

/** Trouble that comes and goes. */
export const TROUBLES = [
  'crash',
  'crash all',
  'trap',
  'partition',
  'mute',
  'lose',
  'double',
  'delay',
  'hold',
  'replay',
  'slow disk',
  'stuck disk',
  'failing disk',
  'pause',
  'clock',
  'compact',
  'campaign',
  'unreachable',
  'hints',
  'burst',
  'shape',
  'echo',
  'members',
  'transfer',
] as const;

export type DisturbanceKind = (typeof CLIMATES)[number] | (typeof TROUBLES)[number];

/** Tuning of the cores; what is missing is as the core has it. */
export type Tuning = NonNullable<RaftOptions['config']> & {
  readonly electionMs: number;
  readonly heartbeatMs: number;
  readonly leaseDrift: number;
  readonly storageStallMs: number;
};

/** A disturbance to come. */
export interface Planned {
  readonly number: number;
  readonly atMs: number;
  readonly kind: DisturbanceKind;
}

/** Everything that a run is before it begins. Times in milliseconds. */
export interface CorePlan {
  readonly seed: number;
  /** Nodes, of which the cluster begins with the first `voters`; the others wait to be added. */
  readonly nodes: number;
  readonly voters: number;
  readonly raft: Tuning;
  /** Nodes that keep no data, in some runs. */
  readonly witnesses: readonly NodeId[];
  /** Of each node. */
  readonly priorities: readonly number[];
  /** By how much a clock may run fast or slow, as a part of itself. */
  readonly clockSpread: number;
  /** Entries between two snapshots of a node; Infinity for none. */
  readonly snapshotEntries: number;
  /** Entries that stay in the log behind a snapshot's position. */
  readonly snapshotKeeps: number;
  /** How long inputs gather before a turn takes them, at most; 0: each is a turn. */
  readonly turnMs: number;
  /** Nothing overtakes on a link. */
  readonly isOrderly: boolean;
  readonly linkMinMs: number;
  readonly linkSpanMs: number;
  readonly sync: SyncSpeed;
  /** How long a snapshot takes to a peer, at most, and the chance that it fails. */
  readonly transferMs: number;
  readonly transferFailure: number;
  readonly clients: number;
  /** Mean pause of a client between two requests. */
  readonly thinkMs: number;
  readonly readShare: number;
  readonly payloadBytesMax: number;
  /** Chance that a new leader is asked at once. */
  readonly eagerness: number;
  /** Chance that a client asks whoever believes to lead, and not only the newest leader. */
  readonly stubbornness: number;
  readonly safetyMs: number;
  readonly disturbances: readonly Planned[];
}

/** The fault-free part of a run and its disturbances take this long; healing comes behind it. */
const SAFETY_MS = 28_000;
const DISTURBANCES_MAX = 200;
/** Between a shape and the next, where nothing else is played: in election timeouts, most are over by then. */
const SHAPE_UNITS = 2.5;

/** What the seed decides. */
export function planCore(seed: number): CorePlan {
  const random = new Random(`core/${seed}`);
  const voters = pick(random, [1, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5, 6, 7, 7]);
  const nodes = random.chance(0.6) ? voters : Math.min(8, voters + random.int(1, 3));
  const isOrderly = random.chance(0.5);
  const raft = drawRaft(random, nodes, isOrderly);
  const isFast = random.chance(0.4);
  const linkMinMs = isFast ? 0.1 + random.ratio() : random.ratio() * 5;
  const linkSpanMs = isFast
    ? random.ratio() * 2
    : random.ratio() * pick(random, [5, 20, raft.electionMs / 2]);
  return {
    seed,
    nodes,
    voters,
    raft,
    witnesses: drawWitnesses(new Random(`core/${seed}/witnesses`), nodes, voters),
    priorities: drawPriorities(random, nodes),
    clockSpread: clockSpread(raft.leaseDrift),
    snapshotEntries: pick(random, [Infinity, Infinity, 1, 3, 10, 40, 150]),
    snapshotKeeps: pick(random, [0, 0, 2, 20]),
    turnMs: random.chance(0.7) ? 0 : random.ratio() * pick(random, [2, 10]),
    isOrderly,
    linkMinMs,
    linkSpanMs,
    sync: drawSync(random, raft.electionMs),
    transferMs: random.ratio() * pick(random, [10, 100, raft.electionMs * 4]),
    transferFailure: random.chance(0.5) ? 0 : random.ratio() * 0.5,
    clients: random.int(1, 5),
    thinkMs: pick(random, [100, 300, 300, 700, 700, 1800]),
    readShare: pick(random, [0.1, 0.3, 0.3, 0.6]),
    payloadBytesMax: pick(random, [4, 20, 20, 300]),
    eagerness: random.chance(0.5) ? 0 : random.ratio(),
    stubbornness: random.ratio(),
    safetyMs: SAFETY_MS,
    disturbances: drawDisturbances(random.fork('disturbances'), raft.electionMs, nodes > 1),
  };
}

/** One of `choices`. */
export function pick<T>(random: Random, choices: readonly T[]): T {
  return at(choices, random.int(0, choices.length - 1));
}

function drawRaft(random: Random, nodes: number, isOrderly: boolean): Tuning {
  // Many nodes that beat fast cost much and find nothing more.
  const shortestMs = 14 * nodes;
  const electionMs = Math.max(shortestMs, random.int(200, 900) * pick(random, [0.5, 1, 1, 1, 2]));
  const ratio = random.chance(0.1) ? pick(random, [2, 2.1, 30]) : 2.5 + random.ratio() * 4;
  const isNarrow = random.chance(0.6);
  const leaseReads = random.chance(0.4);
  const appendBytesMax = isNarrow ? pick(random, [1, 1, 60, 200, 1000]) : 1_048_576;
  return {
    electionMs,
    heartbeatMs: Math.min(electionMs / 2, Math.max(shortestMs / 2, electionMs / ratio)),
    appendBytesMax,
    // Where messages overtake each other, a long window of small ones is asked for again and again.
    inflightMessagesMax: isNarrow ? pick(random, isOrderly ? [1, 2, 4, 256] : [1, 2, 4, 8]) : 256,
    inflightBytesMax: isNarrow ? pick(random, [1, 100, 1000, 8_388_608]) : 8_388_608,
    uncommittedBytesMax: random.chance(0.2) ? pick(random, [1, 100, 500]) : 67_108_864,
    leaseReads,
    leaseDrift: pick(random, [0.1, 0.1, 0.3, 0.5]),
    quiesceAfterMs: leaseReads || random.chance(0.8) ? 0 : electionMs * (0.2 + 3 * random.ratio()),
    storageStallMs: electionMs * pick(random, [0.3, 2, 2, 2, 100]),
  };
}

/** Mostly all alike; at times each its own, and one that does not wait. */
function drawPriorities(random: Random, nodes: number): readonly number[] {
  if (random.chance(0.85)) return Array.from({ length: nodes }, () => 10);
  return Array.from({ length: nodes }, () => random.int(0, 10));
}

/** In few runs, and never so many that a majority of the first voters keeps nothing. */
function drawWitnesses(random: Random, nodes: number, voters: number): readonly NodeId[] {
  const witnesses: NodeId[] = [];
  if (!random.chance(0.2)) return witnesses;
  const founders = Array.from({ length: voters }, (_, i) => i + 1);
  for (let id = 1; id <= nodes; id++)
    if (random.chance(0.4) && RULES.keepsData(founders, [...witnesses, id])) witnesses.push(id);
  return witnesses;
}

function drawSync(random: Random, electionMs: number): SyncSpeed {
  if (random.chance(0.35)) return { minMs: 0, spanMs: 0 };
  return { minMs: random.ratio() * 2, spanMs: random.ratio() * pick(random, [1, 5, 20, electionMs / 4]) };
}

/** Which kinds exist, each with one chance in two, how likely each is, and when they come. */
function drawDisturbances(random: Random, electionMs: number, hasMembers: boolean): readonly Planned[] {
  const planned: Planned[] = [];
  const isShapesOnly = random.chance(0.4);
  for (const kind of CLIMATES) {
    if (random.chance(isShapesOnly ? 0.15 : 0.35))
      planned.push({ number: planned.length + 1, atMs: 0, kind });
  }
  if (isShapesOnly) return [...planned, ...drawShapes(random, electionMs, planned.length)];
  const weights = TROUBLES.map((kind) =>
    random.chance(kind === 'shape' ? 0.25 : 0.5) || (kind === 'members' && !hasMembers)
      ? 0
      : (kind === 'shape' ? 3 : 1) * (0.1 + random.ratio()),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const gapMs = electionMs * pick(random, [0.7, 1.5, 3, 6]);
  if (total === 0) return planned;
  let atMs = electionMs * (1 + 3 * random.ratio());
  while (atMs < SAFETY_MS && planned.length < DISTURBANCES_MAX) {
    let left = random.ratio() * total;
    let i = 0;
    for (; i < weights.length - 1; i++) {
      left -= at(weights, i);
      if (left < 0) break;
    }
    planned.push({ number: planned.length + 1, atMs, kind: at(TROUBLES, i) });
    atMs += gapMs * 2 * random.ratio();
  }
  return planned;
}

/** Nothing but shapes, one after the other: each has the stage to itself. */
function drawShapes(random: Random, electionMs: number, before: number): readonly Planned[] {
  const planned: Planned[] = [];
  let atMs = electionMs * (1 + 3 * random.ratio());
  while (atMs < SAFETY_MS && planned.length < DISTURBANCES_MAX) {
    planned.push({ number: before + planned.length + 1, atMs, kind: 'shape' });
    atMs += electionMs * SHAPE_UNITS * (1 + random.ratio());
  }
  return planned;
}
