/**
 * The second part of a run: everything that was broken is repaired, first for a majority alone and then for all, and
 * the cluster must come right in bounded time (I27): a leader, twenty answered requests, equal logs, nothing owed.
 */
import { Random } from '../../lib/random.ts';
import { isQuorum, whenPromoted } from './majority.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import type { World } from './world.ts';
import { violated } from './violation.ts';

/** Election timeouts until there must be a leader. One is at most twice `electionMs`. */
const ELECTIONS_MAX = 10;
const OPERATIONS = 20;
/** A healed network and healed disks. */
const LINK_MIN_MS = 0.2;
const LINK_SPAN_MS = 1;
const SYNC = { minMs: 0.2, spanMs: 0.8 };
/** What catching up costs for an entry, at most, when each travels alone: there, to the disk, and back. */
const ENTRY_MS = 5;

export class Healing {
  readonly #world: World;
  readonly #random: Random;
  /** Operations that were acknowledged since the repair. */
  #acknowledged = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = new Random(`core/${world.plan.seed}/healing`);
  }

  /** Repairs and waits. @throws Violation when the cluster does not come right in time */
  run(): void {
    const world = this.#world;
    const { nodes } = world;
    this.#repair();
    const dead = this.#random.chance(0.5) ? this.#minority() : [];
    for (const node of dead) world.crash(node, this.#random.int(0, node.disk.outstanding));
    if (dead.length > 0) world.observer.probes.add('minority left behind for good');
    for (const node of nodes) if (node.raft === undefined && !dead.includes(node)) world.start(node);
    this.#elect();
    this.#operate();
    for (const node of dead) world.start(node);
    this.#converge();
  }

  #repair(): void {
    const world = this.#world;
    world.post.hintLowering = 0;
    world.timerLateMs = 0;
    world.reportLateness = 0;
    for (const link of world.post.links.all) link.heal(LINK_MIN_MS, LINK_SPAN_MS);
    for (const node of world.nodes) {
      node.setRate(world.time.nowMs, 1);
      node.sync = SYNC;
      node.isStuck = false;
      node.isDoomed = false;
      world.resume(node, false);
      if (node.hasFailed) world.crash(node, this.#random.int(0, node.disk.outstanding));
      world.sync(node);
    }
  }

  /** Nodes that may be missing, at random: the others are a majority of every configuration that anybody goes by. */
  #minority(): readonly SimNode[] {
    const { nodes } = this.#world;
    const configs = nodes.flatMap(({ memory, disk }) => [memory.config, disk.log.config]);
    // A learner may become a voter by what it said just before it went.
    const known = [...configs, ...configs.map(whenPromoted)].filter(({ voters }) => voters.length > 0);
    const dead = new Set<SimNode>();
    for (let tries = nodes.length; tries > 0; tries--) {
      const node = pick(this.#random, nodes);
      if (dead.has(node) || this.#random.chance(0.2)) continue;
      // What one copy alone has acknowledged beside witnesses, that copy alone can lead with.
      if (this.#world.plan.witnesses.length > 0 && !node.isWitness) continue;
      dead.add(node);
      if (!known.every((config) => isQuorum(config, (id) => !dead.has(this.#world.node(id)))))
        dead.delete(node);
    }
    return [...dead];
  }

  /** The longest that a node waits for a leader: twice the election timeout, longer where it stands back (a slow disk, a low priority). */
  get #electionsMs(): number {
    const { raft, priorities } = this.#world.plan;
    const patience = priorities.some((priority) => priority < 10) ? 3 : 2;
    return ELECTIONS_MAX * (2 + patience) * raft.electionMs;
  }

  #elect(): void {
    const { world, random } = { world: this.#world, random: this.#random };
    this.#wait(this.#electionsMs, 'no leader', () => {
      if (this.#followed() !== undefined) return true;
      // Who sleeps because nothing happened notices nothing until somebody asks.
      const asleep = world.running.filter(({ core }) => core.deadlineMs === Infinity);
      if (asleep.length > 0) world.ask(pick(random, asleep), 'read', 1, 0);
      return false;
    });
  }

  /** The leader that every running member follows. */
  #followed(): SimNode | undefined {
    const { leader, running } = this.#world;
    if (leader === undefined) return undefined;
    const { voters, outgoing, learners } = leader.memory.config;
    const isFollower = ({ id }: SimNode): boolean =>
      voters.includes(id) || outgoing.includes(id) || learners.includes(id);
    const isLost = running.some((node) => isFollower(node) && node.core.leader !== leader.id);
    return isLost ? undefined : leader;
  }

  #operate(): void {
    const world = this.#world;
    const before = world.requests.counts.ok;
    const entries = world.checker.committedIndex + world.requests.counts.open + OPERATIONS;
    this.#wait(this.#electionsMs + entries * ENTRY_MS, 'not enough answers', () => {
      this.#acknowledged = world.requests.counts.ok - before;
      const missing = OPERATIONS - this.#acknowledged;
      const leader = this.#followed();
      if (missing > 0 && leader !== undefined && leader.owed.size === 0) {
        world.ask(leader, 'propose', Math.min(4, missing), 8);
        world.ask(leader, 'read', 1, 0);
      }
      return missing <= 0;
    });
  }

  #converge(): void {
    const world = this.#world;
    const entries = world.nodes.reduce((most, node) => Math.max(most, node.memory.lastIndex), 0);
    const limitMs = this.#electionsMs + entries * ENTRY_MS + world.plan.transferMs * 4;
    this.#wait(limitMs, 'the logs stay different', () => {
      const leader = this.#followed();
      if (leader === undefined || world.requests.counts.open > 0) return false;
      const { lastHash, lastIndex, config } = leader.memory;
      // A witness stays a learner where its vote would be one too many.
      const isOwed = config.promoting.some((id) => !world.node(id).isWitness);
      if (config.outgoing.length > 0 || isOwed) return false;
      const members = [...config.voters, ...config.learners].map((id) => world.node(id));
      return members.every(
        (node) =>
          node.memory.lastHash === lastHash &&
          node.commit === lastIndex &&
          node.applied === lastIndex &&
          node.disk.log.lastHash === lastHash,
      );
    });
  }

  /** Lets time pass until something is so. */
  #wait(limitMs: number, otherwise: string, isSo: () => boolean): void {
    const world = this.#world;
    const endMs = world.time.nowMs + limitMs;
    const stepMs = world.plan.raft.electionMs / 10;
    while (!isSo()) {
      if (world.time.nowMs >= endMs)
        violated(
          'I27 liveness',
          `${otherwise} for ${Math.round(limitMs)} ms after the repair: ${this.#describe()}`,
        );
      const untilMs = world.time.nowMs + stepMs;
      while (world.next(untilMs));
    }
  }

  #describe(): string {
    const { nodes, requests } = this.#world;
    const states = nodes.map((node) => {
      if (node.raft === undefined) return `n${node.id} down`;
      const { role, term, commit, applied, last } = node.raft.status;
      return `n${node.id} ${role} term ${term} log ${last.index} commit ${commit} applied ${applied}`;
    });
    return `${this.#acknowledged} answered, ${requests.counts.open} open; ${states.join('; ')}`;
  }
}
