/**
 * Carries out the disturbances of a run at their times. Each draws whom and how from its own stream, looks at the cluster as
 * it is by then, and undoes itself after a while; so any of them can be left out without changing what the others draw.
 *
 * It keeps the budget of faults that no replica set survives: directories that are gone or rotten are at most a minority,
 * and of one sort.
 */
import { at, unreachable } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import type { Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { type DiskFault, type Errno } from './disk.ts';
import type { FaultKind, Planned, RunPlan } from './draw.ts';
import { HEALTHY_DISK } from './host.ts';
import { drawChanges } from './member-changes.ts';
import { PARTITIONS, type Pair, partition } from './network.ts';
import type { Disturbance } from './report.ts';
import type { Scheduler } from './scheduler.ts';
import type { Supervisor } from './supervisor.ts';

/** A coming call that a disk fault waits for is at most this far away. */
const CALLS_AHEAD = 60;

/** Numbers of requests, far from those of clients. */
const FIRST_ID = 2_000_000_000;

/** One run's trouble. */
export class Nemesis {
  readonly #scheduler: Scheduler;
  readonly #supervisor: Supervisor;
  readonly #plan: RunPlan;
  readonly #script: Disturbance[] = [];
  readonly #counts: Map<FaultKind, number> = new Map();
  /** Nodes whose disk is gone or rotten. */
  readonly #damaged: Set<NodeId> = new Set();
  readonly #wiped: Set<NodeId> = new Set();
  #isStopped = false;
  #nextId = FIRST_ID;

  constructor(options: {
    readonly scheduler: Scheduler;
    readonly supervisor: Supervisor;
    readonly plan: RunPlan;
  }) {
    this.#scheduler = options.scheduler;
    this.#supervisor = options.supervisor;
    this.#plan = options.plan;
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
    return this.#damaged;
  }

  /** Nodes that lost what they promised. They are none of the cluster any more, and nothing is expected of them. */
  get wiped(): ReadonlySet<NodeId> {
    return this.#wiped;
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
        const rate = 0.95 + random.ratio() * 0.1;
        this.#scheduler.seat(id).clock.setRate(rate, this.#scheduler.nowMs);
        return `let the clock of n${id} go ${rate.toFixed(3)} times as fast`;
      }
      case 'members':
        return this.#changeMembers(random);
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
        return this.#disturbDisk(kind, id, random);
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
        scheduler.cutPower(id, mode);
        return `cut the power of n${id}`;
      case 'blackout':
        for (const seat of scheduler.up) scheduler.cutPower(seat.id, mode);
        return 'cut the power of all nodes';
      case 'wipe':
      case 'bitRot':
        return this.#damage(kind, id);
      default:
        return unreachable(kind);
    }
  }

  #damage(kind: 'wipe' | 'bitRot', id: NodeId): string | undefined {
    const { nodes, hasWarmUp } = this.#plan;
    const isOverBudget = this.#damaged.size + 1 > Math.floor((nodes.length - 1) / 2);
    const isOtherKind = this.#damaged.size > 0 && this.#wiped.size > 0 !== (kind === 'wipe');
    // A node that nobody has met is taken for what it says it is, whatever it was.
    const isUnknown = kind === 'wipe' && !hasWarmUp;
    if (isOverBudget || isOtherKind || isUnknown || this.#damaged.has(id)) return undefined;
    this.#damaged.add(id);
    if (kind === 'wipe') {
      this.#wiped.add(id);
      this.#scheduler.wipe(id);
      this.#supervisor.wentDown(id);
      return `wipe n${id}`;
    }
    this.#scheduler.crash(id);
    return `rot n${id}: ${this.#scheduler.damage(id)}`;
  }

  #disturbDisk(
    kind: 'cutInCall' | 'cutAfterSend' | 'ioError' | 'shortWrite' | 'dropPages' | 'fullDisk' | 'slowDisk',
    id: NodeId,
    random: Random,
  ): string {
    const scheduler = this.#scheduler;
    const atCall = random.int(1, CALLS_AHEAD);
    const errno: Errno = random.chance(0.5) ? 'EIO' : 'ENOSPC';
    const arm = (fault: DiskFault): void => scheduler.setDisk(id, { ...HEALTHY_DISK, faults: [fault] });
    switch (kind) {
      case 'cutInCall':
        arm({ atCall, fault: { kind: 'powerCut' } });
        return `cut the power of n${id} in its ${atCall}. call to the disk`;
      case 'cutAfterSend':
        // A turn sends before it syncs.
        arm({ atCall: random.int(1, 8), kind: 'sync', fault: { kind: 'powerCut' } });
        return `cut the power of n${id} in a sync, with its messages sent`;
      case 'ioError':
        arm({ atCall, fault: { kind: 'error', errno } });
        return `fail the ${atCall}. disk call of n${id} with ${errno}`;
      case 'shortWrite':
        arm({ atCall, kind: 'write', fault: { kind: 'shortWrite', errno, bytes: random.int(0, 80) } });
        return `cut a write of n${id} short`;
      case 'dropPages':
        arm({ atCall, kind: 'sync', fault: { kind: 'dropPages', errno } });
        return `fail a sync of n${id} and forget what it should have written`;
      case 'fullDisk':
      case 'slowDisk': {
        const durationMs = this.#duration(random);
        const freeBytes = kind === 'fullDisk' ? random.int(0, 4000) : Infinity;
        const syncMs = kind === 'slowDisk' ? random.ratio() * random.ratio() * this.#plan.electionMs * 2 : 0;
        scheduler.setDisk(id, { faults: [], syncMs, freeBytes });
        this.#later(durationMs, () => scheduler.setDisk(id, HEALTHY_DISK));
        const what =
          kind === 'fullDisk'
            ? `leave ${freeBytes} bytes on the disk of n${id}`
            : `let each sync of n${id} take ${syncMs.toFixed(1)} ms`;
        return `${what} for ${Math.round(durationMs)} ms`;
      }
      default:
        return unreachable(kind);
    }
  }
}
