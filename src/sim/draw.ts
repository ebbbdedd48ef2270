/**
 * What a seed is made of: the size of the cluster, every constant, which kinds of fault exist at all and when they strike.
 * Swarm testing (Groce and others, 2012): leaving whole kinds of fault out of a run reaches more states than a little of
 * everything in every run.
 */
import { at } from '../lib/assert.ts';
import { Random } from '../lib/random.ts';
import { PRIORITY_MAX, type RaftConfig } from '../raft/config.ts';
import type { NodeId } from '../raft/entry.ts';
import type { LsmOptions } from '../storage/lsm/table-format.ts';
import type { StorageChoice } from '../storage/open-store.ts';
import { clockSpread } from './clock.ts';
import type { NodePlan } from './host.ts';
import type { LinkQuality } from './network.ts';
import type { ProfileName } from './report.ts';
import type { Pace } from './scheduler.ts';

/** The kinds of disturbance. */
export const FAULTS = [
  'partition',
  'flap',
  'hunt',
  'noise',
  'clog',
  'reconnect',
  'pause',
  'drift',
  'crash',
  'powerCut',
  'blackout',
  'cutInCall',
  'cutAfterSend',
  'ioError',
  'shortWrite',
  'dropPages',
  'fullDisk',
  'slowDisk',
  'lyingDisk',
  'trap',
  'wipe',
  'replace',
  'bitRot',
  'members',
  'transfer',
] as const;

export type FaultKind = (typeof FAULTS)[number];

/** A disturbance that is to come. Whom it strikes is decided when it does, by its own stream. */
export interface Planned {
  readonly number: number;
  readonly atMs: number;
  readonly kind: FaultKind;
  readonly random: Random;
}

/** What all nodes of a run are tuned to. */
export interface Tuning extends Omit<
  NodePlan,
  'id' | 'voters' | 'seed' | 'broken' | 'storage' | 'historyRevisions'
> {
  readonly raft: Partial<RaftConfig> & Pick<RaftConfig, 'leaseDrift' | 'storageStallMs'>;
}

/** A whole run, before it begins. */
export interface RunPlan {
  /** The voters of `node.voters`, and those that wait to be added. */
  readonly nodes: readonly NodeId[];
  readonly node: Omit<NodePlan, 'id'> & Pick<Tuning, 'raft'>;
  readonly electionMs: number;
  readonly heartbeatMs: number;
  /** Of each node, in the order of `nodes`. */
  readonly priorities: readonly number[];
  /** How far a clock may be from true time, as a part of it: leases allow for it. */
  readonly clockSpread: number;
  readonly pace: Pace;
  /** Links in good times, and while disturbances come. */
  readonly calm: LinkQuality;
  readonly rough: LinkQuality;
  /** Nodes meet before the first disturbance. Without it nobody knows anybody, and nothing may be wiped. */
  readonly hasWarmUp: boolean;
  readonly roughMs: number;
  readonly clients: number;
  readonly keys: number;
  readonly thinkMsMax: number;
  readonly scans: boolean;
  readonly clientTimeoutMs: number;
  readonly disturbances: readonly Planned[];
}

/** What the profile has nothing to do with. Who may be lost for good depends on who belongs, so both are not in one run. */
const LEFT_OUT: Readonly<Record<ProfileName, readonly FaultKind[]>> = {
  core: ['members', 'replace'],
  full: ['members', 'replace'],
  membership: ['wipe', 'lyingDisk', 'bitRot'],
  disk: ['members', 'replace'],
  lease: ['members', 'replace', 'wipe', 'lyingDisk', 'bitRot'],
};
/** More of what the profile is about. */
const FAVOURED: Readonly<Partial<Record<ProfileName, readonly FaultKind[]>>> = {
  disk: [
    'powerCut',
    'blackout',
    'cutInCall',
    'cutAfterSend',
    'ioError',
    'shortWrite',
    'dropPages',
    'fullDisk',
    'slowDisk',
    'lyingDisk',
    'trap',
    'bitRot',
  ],
  membership: ['members', 'members', 'members', 'replace', 'hunt', 'crash', 'partition', 'transfer', 'pause'],
  lease: ['pause', 'pause', 'drift', 'partition', 'clog', 'hunt', 'slowDisk', 'transfer'],
};
/** Operations that clients would do in a run without trouble, about half of them at least. */
const OPERATIONS_MIN = 100;
const SIZES: readonly number[] = [1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7];

/** Draws a run. Equal seeds give equal runs. */
export function drawRun(profile: ProfileName, seed: number, broken: string | undefined): RunPlan {
  const name = `${profile}/${seed}`;
  const random = new Random(`${name}/plan`);
  const pick = <T>(list: readonly T[]): T => at(list, random.int(0, list.length - 1));
  const size = pick(SIZES);
  const electionMs = pick([400, 700, 1400, 1400, 2500]);
  const heartbeatMs = Math.max(2, Math.floor(electionMs / pick([2, 3, 5, 5, 5])));
  const tuning = drawTuning(profile, random, { electionMs, heartbeatMs });
  const calm: LinkQuality = {
    latencyMsMin: 0.02 + random.ratio() * 0.2,
    jitterMs: random.ratio() * Math.min(5, heartbeatMs / 4),
    tail: 0,
    tailFactor: 1,
    loss: 0,
    duplicate: 0,
    replay: 0,
    reorder: 0,
    framesMax: 100_000,
  };
  const kinds = FAULTS.filter((kind) => random.chance(0.5) && !LEFT_OUT[profile].includes(kind));
  const spares = profile === 'membership' ? random.int(1, 4) : 0;
  const favoured = FAVOURED[profile] ?? [];
  const roughMs = Math.min(40_000, random.int(30, 80) * electionMs);
  const clients = random.int(1, 8);
  const hasWarmUp = random.chance(0.7);
  return {
    nodes: Array.from({ length: size + spares }, (_, i) => i + 1),
    node: {
      ...tuning,
      ...drawStorage(profile, name),
      voters: Array.from({ length: size }, (_, i) => i + 1),
      seed: name,
      broken,
    },
    electionMs,
    heartbeatMs,
    priorities: drawPriorities(new Random(`${name}/priorities`), size + spares),
    clockSpread: clockSpread(tuning.raft.leaseDrift),
    pace: {
      turnMs: 0.02 + random.ratio() * 0.1,
      turnJitterMs: pick([0.1, 0.5, 2]),
      clientMs: pick([0.05, 0.5, 2]),
      timersFirst: random.chance(0.5),
      dropsOldFrames: random.chance(0.5),
    },
    calm,
    rough: roughen(calm, random, electionMs),
    hasWarmUp,
    roughMs,
    clients,
    keys: pick([1, 2, 4, 8, 20]),
    // Few clients in a short run must not do next to nothing.
    thinkMsMax: Math.min(pick([0.2, 1, 1, 4]) * electionMs, (clients * roughMs) / OPERATIONS_MIN),
    scans: random.chance(0.2),
    clientTimeoutMs: tuning.requestTimeoutMs + 2000,
    disturbances: drawDisturbances({ name, roughMs, electionMs, random, kinds: [...kinds, ...favoured] }),
  };
}

/** Mostly all alike; at times each its own. */
function drawPriorities(random: Random, count: number): readonly number[] {
  if (random.chance(0.8)) return Array.from({ length: count }, () => PRIORITY_MAX);
  return Array.from({ length: count }, () => random.int(0, PRIORITY_MAX));
}

/** What a node may be tuned to, silly values included. */
function drawTuning(
  profile: ProfileName,
  random: Random,
  { electionMs, heartbeatMs }: { readonly electionMs: number; readonly heartbeatMs: number },
): Tuning {
  const pick = <T>(list: readonly T[]): T => at(list, random.int(0, list.length - 1));
  const leaseReads = random.chance(profile === 'lease' ? 0.9 : 0.15);
  return {
    raft: {
      electionMs,
      heartbeatMs,
      appendBytesMax: pick([1, 100, 400, 4000, 1_048_576]),
      inflightMessagesMax: pick([1, 2, 8, 256]),
      inflightBytesMax: pick([200, 4000, 8_388_608]),
      leaseReads,
      leaseDrift: pick([0.1, 0.1, 0.3, 0.5]),
      storageStallMs: pick([0.5, 2, 2]) * electionMs,
      quiesceAfterMs: !leaseReads && random.chance(0.2) ? pick([1, 4]) * electionMs : 0,
    },
    requestTimeoutMs: Math.min(4000, pick([4, 8, 20]) * electionMs),
    snapshotEntries: pick([5, 20, 20, 100, 1_000_000]),
    trailingEntries: pick([0, 1, 5, 20, 1000]),
    segmentBytesMax: pick([512, 1024, 4096, 65_536]),
  };
}

/**
 * What keeps the nodes' data. A tree is so small that it flushes and compacts all the time. From a stream of its own, so that
 * everything else of a seed is the same whatever keeps the data.
 */
function drawStorage(
  profile: ProfileName,
  name: string,
): { readonly historyRevisions: number; readonly storage: StorageChoice } {
  const random = new Random(`${name}/storage`);
  const pick = <T>(list: readonly T[]): T => at(list, random.int(0, list.length - 1));
  const historyRevisions = pick([1, 10, 50, 100_000]);
  const options: LsmOptions = {
    memtableBytesMax: pick([2048, 4096, 16_384]),
    tableBytesMax: pick([1024, 2048, 4096]),
    blockBytes: pick([128, 512, 1024]),
    bloomBitsPerKey: pick([1, 10]),
    cacheBytesMax: pick([0, 2048, 1_048_576]),
    level0Tables: pick([1, 2, 4]),
    level0TablesMax: pick([5, 8, 16]),
    level1Bytes: pick([2048, 8192, 65_536]),
    levelFactor: pick([2, 4, 10]),
    openTablesMax: pick([2, 8, 1000]),
  };
  const hasTree = (profile === 'full' || profile === 'disk') && random.chance(0.5);
  return { historyRevisions, storage: hasTree ? { kind: 'lsm', options } : { kind: 'memory' } };
}

/** Links that are bad all the time, in half of the runs. */
function roughen(calm: LinkQuality, random: Random, electionMs: number): LinkQuality {
  const some = (p: number, value: () => number): number => (random.chance(p) ? value() : 0);
  if (random.chance(0.3)) return calm;
  return {
    ...calm,
    jitterMs: calm.jitterMs + some(0.4, () => (random.ratio() * electionMs) / 6),
    tail: some(0.5, () => random.ratio() * 0.02),
    tailFactor: random.int(5, 100),
    loss: some(0.4, () => random.ratio() * random.ratio() * 0.2),
    duplicate: some(0.5, () => random.ratio() * 0.3),
    replay: some(0.4, () => random.ratio() * 0.1),
    reorder: some(0.5, () => random.ratio()),
    framesMax: random.chance(0.2) ? random.int(4, 64) : 100_000,
  };
}

function drawDisturbances(options: {
  readonly name: string;
  readonly roughMs: number;
  readonly electionMs: number;
  readonly random: Random;
  readonly kinds: readonly FaultKind[];
}): readonly Planned[] {
  const { name, roughMs, electionMs, random, kinds } = options;
  if (kinds.length === 0) return [];
  const count = random.int(0, Math.floor(roughMs / (electionMs * at([0.5, 1, 4], random.int(0, 2)))));
  const times = Array.from({ length: count }, () => random.ratio() * roughMs).toSorted((a, b) => a - b);
  return times.map((atMs, i) => ({
    number: i + 1,
    atMs,
    kind: at(kinds, random.int(0, kinds.length - 1)),
    random: new Random(`${name}/disturbance/${i + 1}`),
  }));
}
