/**
 * One random run of a network of Raft cores, repeated by its seed: an unkind phase in which anything may be lost,
 * doubled, late, reordered, crashed, partitioned or slow, then a kind one in which everything must come right in time.
 */
import { at } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';
import type { RaftConfig } from '../../src/raft/config.ts';
import type { NodeId } from '../../src/raft/entry.ts';
import type { Event } from '../../src/raft/messages.ts';
import { membersOf } from '../../src/raft/membership.ts';
import { RULES, type Rules } from '../../src/raft/rules.ts';
import { addedAsWitnesses, drawChanges } from '../../src/sim/member-changes.ts';
import { type CommittedConfig, bury } from './raft-burial.ts';
import { type Happening, type Packet, RaftNetwork, type RaftNode } from './raft-network.ts';

export interface FuzzOptions {
  readonly seed: number;
  /** Random actions of the unkind phase. */
  readonly steps: number;
  /** Members come and go, and in the end some nodes are gone for good. */
  readonly members?: boolean;
  /** Some nodes keep no data. Then nobody is gone in the end: what only one copy holds, only that copy can lead with. */
  readonly witnesses?: boolean;
  readonly rules?: Rules;
  readonly onHappening?: (happening: Happening) => void;
}

/** What a run did, to show that it did something. */
export interface FuzzReport {
  readonly elections: number;
  readonly committed: number;
  readonly crashes: number;
  readonly truncations: number;
  readonly snapshots: number;
  readonly reads: number;
  /** Of the reads, those by lease and those at a node that did not lead. */
  readonly leases: number;
  readonly followerReads: number;
  readonly transfers: number;
  readonly sleeps: number;
  readonly stalls: number;
  /** Changes of members that were done, and those that were taken back with their entry. */
  readonly changes: number;
  readonly rolledBack: number;
  /** Nodes that were gone when everything had to come right. */
  readonly buried: number;
  /** Entries committed with a witness in the majority. */
  readonly witnessed: number;
}

/** Everything that was not delivered in the kind phase within this simulated time is a failure of liveness. */
const HEAL_MS_MAX = 5_000;
const PACKETS_MAX = 400;

/** The network did not come right after it was healed. */
export class LivenessFailure extends Error {
  override readonly name = 'LivenessFailure';
}

/** Runs one seed. Throws at the first violation, and when the healed network does not come right in time. */
export function fuzz(options: FuzzOptions): FuzzReport {
  const run = new FuzzRun(options);
  for (let i = 0; i < options.steps; i++) run.act();
  run.heal();
  return run.report;
}

interface Knobs {
  readonly drop: number;
  readonly duplicate: number;
  readonly crash: number;
  readonly partition: number;
  readonly heldDisks: boolean;
  readonly compact: number;
  readonly campaign: number;
  readonly transfer: number;
  readonly unreachable: number;
  readonly change: number;
}

class FuzzRun {
  readonly #random: Random;
  readonly #network: RaftNetwork;
  readonly #knobs: Knobs;
  #groups: ReadonlyMap<NodeId, number> = new Map();
  #names = 0;
  #committed: CommittedConfig | undefined;
  #gone: ReadonlySet<NodeId> = new Set();
  #counts = {
    elections: 0,
    crashes: 0,
    truncations: 0,
    snapshots: 0,
    reads: 0,
    leases: 0,
    followerReads: 0,
    transfers: 0,
    sleeps: 0,
    stalls: 0,
    changes: 0,
    rolledBack: 0,
    buried: 0,
    witnessed: 0,
  };

  constructor(options: FuzzOptions) {
    const random = new Random(options.seed);
    this.#random = random;
    // Swarm: each run turns some kinds of trouble off, so that others go further (Groce and others 2012).
    const some = (p: number): number => (random.chance(0.5) ? 0 : random.ratio() * p);
    this.#knobs = {
      drop: some(0.3),
      duplicate: some(0.3),
      crash: some(0.06),
      partition: some(0.05),
      heldDisks: random.chance(0.7),
      compact: some(0.1),
      campaign: some(0.15),
      transfer: some(0.15),
      unreachable: some(0.05),
      change: options.members === true ? 0.02 + random.ratio() * 0.1 : 0,
    };
    const nodes = at([1, 2, 3, 3, 3, 4, 5, 5], random.int(0, 7)) + (options.members === true ? 2 : 0);
    const founders = options.members === true ? random.int(1, Math.min(5, nodes)) : nodes;
    const voters = Array.from({ length: founders }, (_, i) => i + 1);
    this.#network = new RaftNetwork({
      nodes,
      voters,
      witnesses: options.witnesses === true ? someWitnesses(random.fork('witnesses'), nodes, voters) : [],
      seed: options.seed,
      config: { ...smallWindows(random), ...someFeatures(random) },
      priorities: somePriorities(random, nodes),
      ...(options.rules === undefined ? {} : { rules: options.rules }),
      onHappening: (happening) => {
        this.#count(happening);
        options.onHappening?.(happening);
      },
    });
    this.#network.isCut = (packet) => this.#groups.get(packet.from) !== this.#groups.get(packet.to);
    if (this.#knobs.heldDisks) for (const node of this.#network.nodes) node.isHeld = random.chance(0.6);
  }

  get report(): FuzzReport {
    return { ...this.#counts, committed: this.#network.invariants.committed };
  }

  /** One random thing happens. */
  act(): void {
    const random = this.#random;
    const network = this.#network;
    const knobs = this.#knobs;
    const node = at(network.nodes, random.int(0, network.nodes.length - 1));
    if (random.chance(knobs.crash)) return this.#crashOrRestart(node);
    if (random.chance(knobs.partition)) return this.#partition();
    if (node.raft === undefined) return;
    if (random.chance(knobs.campaign)) return network.step(node.id, { kind: 'campaign' });
    if (random.chance(knobs.transfer)) return this.#transfer();
    if (knobs.change > 0 && random.chance(knobs.change)) return this.#changeMembers();
    if (random.chance(knobs.unreachable))
      return network.step(node.id, { kind: 'unreachable', peer: random.int(1, network.nodes.length) });
    if (random.chance(knobs.compact)) return network.compact(node.id, random.int(0, node.applied.length));
    switch (random.int(0, 9)) {
      case 0:
        return this.#passTime(node);
      case 1:
        return this.#ask(node);
      case 2:
      case 3:
        if (node.isHeld) network.persist(node.id, random.chance(0.5) ? 1 : Infinity);
        return;
      default:
        return this.#move();
    }
  }

  /** Everything works from now on: a leader, an answer to a new command, and equal logs, within a bounded time. */
  heal(): void {
    const network = this.#network;
    this.#groups = new Map();
    const hasWitnesses = network.nodes.some(({ isWitness }) => isWitness);
    if (this.#committed !== undefined && !hasWitnesses && this.#random.chance(0.7))
      this.#gone = bury(network, this.#committed, this.#random);
    this.#counts.buried = this.#gone.size;
    for (const node of network.nodes) {
      if (this.#gone.has(node.id)) continue;
      node.isHeld = false;
      if (node.raft === undefined) network.restart(node.id);
      else network.persist(node.id);
    }
    const limitMs = network.nowMs + HEAL_MS_MAX;
    let asked = false;
    this.#settle();
    while (!this.#isRight(asked)) {
      const nextMs = Math.min(...network.running.map((node) => node.core.deadlineMs));
      // All of them may be asleep, until somebody asks.
      const isQuiet = nextMs === Infinity && !asked;
      if (nextMs > limitMs && !isQuiet) throw new LivenessFailure(this.#describe(asked));
      if (!isQuiet) network.advance(Math.max(nextMs, network.nowMs), () => this.#settle());
      const { leader } = network;
      if (
        asked ||
        leader === undefined ||
        this.#membersOf(leader).some((node) => node.core.leader !== leader.id)
      )
        continue;
      asked = true;
      network.propose(leader.id, 'healed');
      network.read(leader.id, 'healed-read');
      this.#settle();
    }
  }

  #isRight(asked: boolean): boolean {
    if (!asked || this.#network.requests.some((request) => request.outcome === undefined)) return false;
    const { leader } = this.#network;
    if (leader === undefined) return false;
    const { outgoing, promoting, witnesses } = leader.core.config;
    // A witness stays a learner where its vote would be one too many.
    const isOwed = (id: NodeId): boolean => !this.#gone.has(id) && !witnesses.includes(id);
    if (outgoing.length > 0 || promoting.some(isOwed)) return false;
    const { hash, index } = leader.memory.last;
    return this.#membersOf(leader).every(
      (node) =>
        node.memory.last.hash === hash && node.status?.commit === index && node.applied.length === index,
    );
  }

  /** Those who are still there. */
  #membersOf(leader: RaftNode): readonly RaftNode[] {
    const members = membersOf(leader.core.config);
    return this.#network.running.filter(({ id }) => members.includes(id));
  }

  #describe(asked: boolean): string {
    const open = this.#network.requests.filter((request) => request.outcome === undefined).length;
    const logs = this.#network.nodes.map((node) => {
      const { status } = node;
      return `n${node.id} ${status?.role} t${status?.term} commit ${status?.commit} last ${status?.last.index}`;
    });
    return `${asked ? 'asked' : 'no leader to ask'}, ${open} requests open; ${logs.join('; ')}`;
  }

  #settle(): void {
    const network = this.#network;
    for (let turns = 0; network.packets.length > 0; turns++) {
      if (turns > 10_000) throw new LivenessFailure('The network never becomes quiet');
      network.deliver(network.packets.slice(0, 1));
    }
  }

  #crashOrRestart(node: RaftNode): void {
    if (node.raft === undefined) return this.#network.restart(node.id);
    this.#counts.crashes += 1;
    if (this.#random.chance(0.1)) this.#network.failDisk(node.id);
    this.#network.crash(node.id, this.#random.int(0, node.writes.length));
    if (this.#random.chance(0.6)) this.#network.restart(node.id);
  }

  #partition(): void {
    const groups = this.#random.chance(0.4) ? 1 : 2;
    this.#groups = new Map(this.#network.nodes.map((node) => [node.id, this.#random.int(1, groups)]));
  }

  /** Time passes for all, but only this node's timer is looked at: clocks and threads are not even. */
  #passTime(node: RaftNode): void {
    const network = this.#network;
    network.nowMs += this.#random.chance(0.1) ? this.#random.int(0, 600) : this.#random.int(0, 60);
    if (!network.running.includes(node)) return;
    network.step(node.id, { kind: 'tick' });
  }

  #ask(node: RaftNode): void {
    const network = this.#network;
    // Mostly somebody who believes to lead, be it in an old term.
    const leaders = network.running.filter((other) => other.core.isLeader);
    const believed = leaders.length === 0 ? node : at(leaders, this.#random.int(0, leaders.length - 1));
    const to = this.#random.chance(0.8) ? believed : node;
    if (this.#random.chance(0.4)) {
      const mode = this.#random.chance(0.5) ? 'index' : 'lease';
      return network.readBy(mode, to.id, `r${(this.#names += 1)}`);
    }
    const names = Array.from({ length: this.#random.int(1, 3) }, () => `c${(this.#names += 1)}`);
    return network.propose(to.id, ...names);
  }

  #transfer(): void {
    const network = this.#network;
    const leaders = network.running.filter((other) => other.core.isLeader);
    if (leaders.length === 0) return;
    const leader = at(leaders, this.#random.int(0, leaders.length - 1));
    network.transfer(leader.id, `t${(this.#names += 1)}`, this.#random.int(0, network.nodes.length));
  }

  #changeMembers(): void {
    const network = this.#network;
    const leaders = network.running.filter((other) => other.core.isLeader);
    if (leaders.length === 0) return;
    const leader = at(leaders, this.#random.int(0, leaders.length - 1));
    const all = network.nodes.map(({ id }) => id);
    const drawn = drawChanges(leader.core.config, all, this.#random);
    const changes = addedAsWitnesses(drawn, (id) => network.node(id).isWitness);
    network.changeMembers(leader.id, `m${(this.#names += 1)}`, ...changes);
  }

  /** Some of what is on its way to one node arrives, in one turn. */
  #move(): void {
    const network = this.#network;
    const random = this.#random;
    if (network.packets.length > PACKETS_MAX) network.drop(network.packets.slice(0, PACKETS_MAX / 2));
    if (network.packets.length === 0) return;
    const chosen = at(network.packets, this.#position());
    if (random.chance(this.#knobs.drop)) return network.drop([chosen]);
    if (random.chance(this.#knobs.duplicate)) network.packets.push({ ...chosen });
    const batch: Packet[] = [chosen];
    if (random.chance(0.3)) {
      for (const packet of network.packets)
        if (packet.to === chosen.to && random.chance(0.3)) batch.push(packet);
    }
    network.deliver([...new Set(batch)]);
  }

  /** Mostly the oldest packet, at times any. */
  #position(): number {
    const { length } = this.#network.packets;
    return this.#random.chance(0.6) ? 0 : this.#random.int(0, length - 1);
  }

  #countOutcome({ node, request }: Extract<Happening, { readonly kind: 'outcome' }>): void {
    const { outcome } = request;
    if (outcome === undefined || !outcome.ok) return;
    if (request.kind === 'change') this.#counts.changes += 1;
    if (outcome.kind === 'transferred') this.#counts.transfers += 1;
    if (outcome.kind !== 'readable') return;
    this.#counts.reads += 1;
    if (outcome.validUntilMs !== undefined) this.#counts.leases += 1;
    if (this.#network.node(node).raft?.isLeader !== true) this.#counts.followerReads += 1;
  }

  #countConfig({ phase, index, config }: Extract<Event, { readonly kind: 'config' }>): void {
    if (phase === 'rolledBack') this.#counts.rolledBack += 1;
    const isNews = phase === 'committed' && index > (this.#committed?.index ?? 0);
    if (isNews) this.#committed = { index, config };
  }

  #count(happening: Happening): void {
    if (happening.kind === 'outcome') return this.#countOutcome(happening);
    if (happening.kind !== 'event') return;
    const { event } = happening;
    if (event.kind === 'role' && event.to === 'leader') this.#counts.elections += 1;
    if (event.kind === 'truncate') this.#counts.truncations += 1;
    if (event.kind === 'quiesce' && event.isQuiesced) this.#counts.sleeps += 1;
    if (event.kind === 'stall') this.#counts.stalls += 1;
    if (event.kind === 'commit' && event.by.some((id) => this.#network.node(id).isWitness))
      this.#counts.witnessed += 1;
    if (event.kind === 'config') this.#countConfig(event);
    if (event.kind === 'snapshot' && happening.node !== event.peer) this.#counts.snapshots += 1;
  }
}

/** Leases and sleep exclude each other; the core does not let them meet. */
function someFeatures(random: Random): Partial<RaftConfig> {
  return {
    leaseReads: random.chance(0.5),
    ...(random.chance(0.5) ? { quiesceAfterMs: random.int(1, 100) } : {}),
    ...(random.chance(0.3) ? { storageStallMs: random.int(50, 500) } : {}),
  };
}

function somePriorities(random: Random, nodes: number): ReadonlyMap<NodeId, number> {
  if (random.chance(0.7)) return new Map();
  return new Map(Array.from({ length: nodes }, (_, i) => [i + 1, random.int(0, 10)] as const));
}

/** Never so many that a majority of the founders could be witnesses alone. */
function someWitnesses(random: Random, nodes: number, founders: readonly NodeId[]): readonly NodeId[] {
  const witnesses: NodeId[] = [];
  for (let id = 1; id <= nodes; id++)
    if (random.chance(0.35) && RULES.keepsData(founders, [...witnesses, id])) witnesses.push(id);
  return witnesses;
}

function smallWindows(random: Random): Partial<RaftConfig> {
  if (random.chance(0.5)) return {};
  return {
    appendBytesMax: random.int(1, 100),
    inflightMessagesMax: random.int(1, 4),
    inflightBytesMax: random.int(1, 200),
    uncommittedBytesMax: random.int(1, 400),
  };
}
