/**
 * Carries out the disturbances of a run at their times. Each draws whom and how from its own stream, looks at the cluster as
 * it is by then, and undoes itself after a while; so any of them can be left out without changing what the others draw.
 */
import { at, unreachable } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import type { Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { DiskTrouble } from './disk-trouble.ts';
import type { FaultKind, Planned, RunPlan } from './draw.ts';
import { drawChanges } from './member-changes.ts';
import { PARTITIONS, type Pair, partition } from './network.ts';
import { replace } from './replacement.ts';
import type { Disturbance } from './report.ts';
import type { Scheduler } from './scheduler.ts';
import type { Supervisor } from './supervisor.ts';

/** Numbers of requests, far from those of clients. */
const FIRST_ID = 2_000_000_000;

/** One run's trouble. */
export class Nemesis {
  readonly #scheduler: Scheduler;
  readonly #supervisor: Supervisor;
  readonly #plan: RunPlan;
  readonly #script: Disturbance[] = [];
  readonly #counts: Map<FaultKind, number> = new Map();
  readonly #disks: DiskTrouble;
  readonly #replaced: (id: NodeId) => void;
  /** Each waits for a node that cuts its log, and ends its life. */
  readonly #traps: Random[] = [];
  #isStopped = false;
  #nextId = FIRST_ID;

  constructor(options: {
    readonly scheduler: Scheduler;
    readonly supervisor: Supervisor;
    readonly plan: RunPlan;
    readonly replaced: (id: NodeId) => void;
  }) {
    this.#scheduler = options.scheduler;
    this.#supervisor = options.supervisor;
    this.#plan = options.plan;
    this.#replaced = options.replaced;
    const later = (delayMs: number, undo: () => void): void => this.#later(delayMs, undo);
    this.#disks = new DiskTrouble({ ...options, later });
  }

  /** Every disturbance so far that was carried out. */
  get script(): readonly Disturbance[] {
    return this.#script;
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Nodes that may refuse to start, or be refused by others, for what was done to their disks. */
  get damaged(): ReadonlySet<NodeId> {
    return this.#disks.damaged;
  }

  /** Nodes that lost what they promised. They are none of the cluster any more, and nothing is expected of them. */
  get wiped(): ReadonlySet<NodeId> {
    return this.#disks.wiped;
  }

  /** Puts every disturbance into the queue but those with a number in `omit`; their times count from now. */
  begin(omit: ReadonlySet<number>): void {
    for (const planned of this.#plan.disturbances) {
      if (omit.has(planned.number)) continue;
      this.#scheduler.after(planned.atMs, () => {
        if (!this.#isStopped) this.#strike(planned);
      });
    }
  }

  /** No disturbance begins or ends any more. */
  stop(): void {
    this.#isStopped = true;
    this.#disks.end();
  }

  /** A node has shown itself after a turn. `hasCut`: its log lost its end. */
  observed(id: NodeId, hasCut: boolean): void {
    const random = hasCut && !this.#isStopped ? this.#traps.pop() : undefined;
    if (random === undefined) return;
    this.#later(random.ratio() * random.ratio() * 20, () => {
      if (!this.#scheduler.seat(id).isUp) return;
      if (random.chance(0.5)) this.#scheduler.crash(id);
      else this.#disks.cutPower(id, 'any');
    });
  }

  #strike({ number, kind, random }: Planned): void {
    const target = this.#target(random);
    const text = this.#carryOut(kind, target, random);
    if (text === undefined) return;
    this.#script.push({ number, atMs: this.#scheduler.nowMs, text });
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    this.#scheduler.remark(text);
  }

  /** Leaders make the more interesting victims. */
  #target(random: Random): NodeId {
    const anyone = at(this.#plan.nodes, random.int(0, this.#plan.nodes.length - 1));
    const { leader } = this.#scheduler;
    return random.chance(0.4) && leader !== 0 ? leader : anyone;
  }

  /** Undoes something later, unless the run has come to the end of all trouble by then. */
  #later(delayMs: number, undo: () => void): void {
    this.#scheduler.after(delayMs, () => {
      if (!this.#isStopped) undo();
    });
  }

  /** @returns what was done, as a person would say it; undefined when nothing could be */
  #carryOut(kind: FaultKind, id: NodeId, random: Random): string | undefined {
    switch (kind) {
      case 'partition':
      case 'flap':
      case 'noise':
      case 'clog':
      case 'reconnect':
        return this.#disturbLinks(kind, id, random);
      case 'hunt': {
        const times = random.int(2, 8);
        this.#hunt(times, random);
        return `hunt ${times} leaders, one after the other`;
      }
      case 'pause': {
        const durationMs = this.#duration(random) / 2;
        this.#scheduler.pause(id, durationMs);
        return `pause n${id} for ${Math.round(durationMs)} ms`;
      }
      case 'drift': {
        const share = random.chance(0.5) ? at([-1, 1], random.int(0, 1)) : 2 * random.ratio() - 1;
        const rate = 1 + this.#plan.clockSpread * share;
        this.#scheduler.seat(id).clock.setRate(rate, this.#scheduler.nowMs);
        return `let the clock of n${id} go ${rate.toFixed(3)} times as fast`;
      }
      case 'members':
        return this.#changeMembers(random);
      case 'replace':
        return this.#replace(id, random);
      case 'trap':
        for (let i = random.int(1, 3); i > 0; i--) this.#traps.push(random);
        return 'crash whoever drops the end of its log';
      case 'transfer':
        this.#ask({ kind: 'transferLeader', to: random.chance(0.7) ? id : 0 }, random);
        return `hand leadership over to n${id}`;
      case 'crash':
      case 'powerCut':
      case 'blackout':
      case 'wipe':
      case 'bitRot':
        return this.#endNode(kind, id, random);
      case 'cutInCall':
      case 'cutAfterSend':
      case 'ioError':
      case 'shortWrite':
      case 'dropPages':
      case 'fullDisk':
      case 'slowDisk':
        return this.#disks.disturb(kind, id, random, this.#duration(random));
      case 'lyingDisk':
        return this.#disks.lie(id, this.#duration(random), random);
      default:
        return unreachable(kind);
    }
  }

  /** From a blink to several election timeouts. */
  #duration(random: Random): number {
    return this.#plan.electionMs * at([0.3, 1, 3, 10], random.int(0, 3)) * (0.5 + random.ratio());
  }

  #disturbLinks(
    kind: 'partition' | 'flap' | 'noise' | 'clog' | 'reconnect',
    id: NodeId,
    random: Random,
  ): string | undefined {
    const { network } = this.#scheduler;
    const { nodes } = this.#plan;
    if (nodes.length < 2) return undefined;
    const durationMs = this.#duration(random);
    const how = at(PARTITIONS, random.int(0, PARTITIONS.length - 1));
    const pairs = partition(how, nodes, id, random);
    const other = at(nodes, random.int(0, nodes.length - 1));
    const forMs = `for ${Math.round(durationMs)} ms`;
    switch (kind) {
      case 'partition':
        for (const [from, to] of pairs) network.cut(from, to);
        this.#later(durationMs, () => {
          for (const [from, to] of pairs) network.mend(from, to);
        });
        return `partition (${how}) around n${id} ${forMs}`;
      case 'flap':
        this.#flap(pairs, random.int(2, 6), durationMs / 6);
        return `flap (${how}) around n${id} ${forMs}`;
      case 'noise': {
        const { rough } = this.#plan;
        const loss = random.ratio() * 0.3;
        const jitterMs = random.ratio() * this.#plan.electionMs;
        for (const [from, to] of pairs)
          network.setQuality(from, to, { ...rough, loss, jitterMs, duplicate: random.ratio() * 0.3 });
        this.#later(durationMs, () => {
          for (const [from, to] of pairs) network.setQuality(from, to, rough);
        });
        return `make links (${how}) around n${id} lose ${Math.round(loss * 100)} % and take up to ${Math.round(jitterMs)} ms ${forMs}`;
      }
      case 'clog':
        for (const [from, to] of pairs) network.clog(from, to, this.#scheduler.nowMs + durationMs);
        return `clog links (${how}) around n${id} ${forMs}`;
      case 'reconnect':
        if (other === id) return undefined;
        this.#scheduler.reconnect(id, other);
        return `break the connection of n${id} and n${other}`;
      default:
        return unreachable(kind);
    }
  }

  #flap(pairs: readonly Pair[], times: number, everyMs: number): void {
    const { network } = this.#scheduler;
    for (const [from, to] of pairs) network.cut(from, to);
    this.#later(everyMs, () => {
      for (const [from, to] of pairs) network.mend(from, to);
      if (times > 1) this.#later(everyMs, () => this.#flap(pairs, times - 1, everyMs));
    });
  }

  /**
   * Whoever leads is cut off or killed, and is back before the next one falls: logs end in entries of many terms that few
   * nodes have (Figure 8 of the paper).
   */
  #hunt(times: number, random: Random): void {
    const scheduler = this.#scheduler;
    const { leader } = scheduler;
    const { nodes, electionMs } = this.#plan;
    if (leader !== 0 && random.chance(0.5)) scheduler.crash(leader);
    else if (leader !== 0) {
      const pairs = partition(random.chance(0.5) ? 'isolate' : 'halves', nodes, leader, random);
      for (const [from, to] of pairs) scheduler.network.cut(from, to);
      this.#later(electionMs * (0.5 + 2 * random.ratio()), () => {
        for (const [from, to] of pairs) scheduler.network.mend(from, to);
      });
    }
    if (times > 1)
      this.#later(electionMs * (0.5 + 2.5 * random.ratio()), () => this.#hunt(times - 1, random));
  }

  /** Asks some node that runs, as an operator would. Nobody waits for the answer. */
  #ask(request: Request, random: Random): void {
    const { up } = this.#scheduler;
    if (up.length === 0) return;
    const { id } = at(up, random.int(0, up.length - 1));
    this.#scheduler.ask(id, { id: this.#nextId++, request, forward: true, done: () => undefined });
  }

  #changeMembers(random: Random): string | undefined {
    const { config } = this.#scheduler;
    if (config === undefined) return undefined;
    const changes = drawChanges(config, this.#plan.nodes, random);
    this.#ask({ kind: 'changeMembers', changes }, random);
    const words = changes.map(({ kind, node }) => `${kind} n${node}`);
    return `change members: ${words.join(', ')}`;
  }

  #replace(id: NodeId, random: Random): string | undefined {
    const shop = {
      scheduler: this.#scheduler,
      supervisor: this.#supervisor,
      electionMs: this.#plan.electionMs,
      ask: (request: Request) => this.#ask(request, random),
      later: (delayMs: number, act: () => void) => this.#later(delayMs, act),
      replaced: this.#replaced,
    };
    return replace(shop, id) ? `replace the machine of n${id}` : undefined;
  }

  #endNode(
    kind: 'crash' | 'powerCut' | 'blackout' | 'wipe' | 'bitRot',
    id: NodeId,
    random: Random,
  ): string | undefined {
    const scheduler = this.#scheduler;
    const mode = random.chance(0.5) ? 'any' : random.chance(0.7) ? 'worst' : 'best';
    switch (kind) {
      case 'crash':
        if (!scheduler.seat(id).isUp) return undefined;
        scheduler.crash(id);
        return `crash n${id}`;
      case 'powerCut':
        if (!scheduler.seat(id).isUp) return undefined;
        this.#disks.cutPower(id, mode);
        return `cut the power of n${id}`;
      case 'blackout':
        for (const seat of scheduler.up) this.#disks.cutPower(seat.id, mode);
        return 'cut the power of all nodes';
      case 'wipe':
      case 'bitRot':
        return this.#disks.damage(kind, id);
      default:
        return unreachable(kind);
    }
  }
}
