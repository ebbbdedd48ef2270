/**
 * Disturbances of disks: calls that fail, disks that are full or slow, that lie about syncs, rot, or are gone.
 *
 * It keeps the budget of faults that no replica set survives: directories that are gone or rotten are at most a minority,
 * and of one sort. A disk that lied and lost power belongs to them: its node has forgotten votes and acknowledgements and
 * cannot know it, and two of three such logs are a majority that never heard of an acknowledged write. What is owed then
 * is that it starts, or refuses, without harm to itself; so it does that with nobody to talk to, and the machine is
 * replaced by an empty one.
 */
import { at, unreachable } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';
import type { CrashMode, DiskFault, Errno } from './disk.ts';
import type { RunPlan } from './draw.ts';
import { HEALTHY_DISK } from './host.ts';
import type { Scheduler } from './scheduler.ts';
import type { Supervisor } from './supervisor.ts';

/** A coming call that a disk fault waits for is at most this far away. */
const CALLS_AHEAD = 60;

/** What goes wrong with a disk that goes on afterwards. */
export type DiskKind =
  | 'cutInCall'
  | 'cutAfterSend'
  | 'ioError'
  | 'shortWrite'
  | 'dropPages'
  | 'fullDisk'
  | 'slowDisk';

/** The disks of one run. */
export class DiskTrouble {
  readonly #scheduler: Scheduler;
  readonly #supervisor: Supervisor;
  readonly #plan: RunPlan;
  readonly #later: (delayMs: number, undo: () => void) => void;
  readonly #damaged: Set<NodeId> = new Set();
  readonly #wiped: Set<NodeId> = new Set();
  #sort: 'gone' | 'rotten' | undefined;
  /** Their disks lie, and have not lost power since. */
  readonly #lying: Map<NodeId, Random> = new Map();
  /** They run on what a lying disk has left, alone. */
  readonly #forgetful: Set<NodeId> = new Set();

  /** @param options.later does something later, unless trouble is over by then */
  constructor(options: {
    readonly scheduler: Scheduler;
    readonly supervisor: Supervisor;
    readonly plan: RunPlan;
    readonly later: (delayMs: number, undo: () => void) => void;
  }) {
    this.#scheduler = options.scheduler;
    this.#supervisor = options.supervisor;
    this.#plan = options.plan;
    this.#later = options.later;
  }

  /** Nodes that may refuse to start, or be refused by others, for what was done to their disks. */
  get damaged(): ReadonlySet<NodeId> {
    return this.#damaged;
  }

  /** Nodes that lost what they promised. They are none of the cluster any more, and nothing is expected of them. */
  get wiped(): ReadonlySet<NodeId> {
    return this.#wiped;
  }

  /** Trouble is over: no node with half a memory is left. */
  end(): void {
    for (const id of this.#forgetful) this.#scheduler.wipe(id, false);
    this.#forgetful.clear();
  }

  /** Cuts the power of a node that runs; a disk that lied shows it now. */
  cutPower(id: NodeId, mode: CrashMode): void {
    const random = this.#lying.get(id);
    if (random === undefined) this.#scheduler.cutPower(id, mode);
    else this.#endLie(id, random);
  }

  /** @returns what was done; undefined when it would be more than a cluster survives */
  damage(kind: 'wipe' | 'bitRot', id: NodeId): string | undefined {
    if (!this.#mayDamage(id, kind === 'wipe' ? 'gone' : 'rotten')) return undefined;
    if (kind === 'wipe') {
      this.#wiped.add(id);
      this.#scheduler.wipe(id, false);
      this.#supervisor.wentDown(id);
      return `wipe n${id}`;
    }
    this.#scheduler.crash(id);
    return `rot n${id}: ${this.#scheduler.damage(id)}`;
  }

  /** A disk says that it has synced, and has not, until the power goes. @returns as {@link damage} */
  lie(id: NodeId, durationMs: number, random: Random): string | undefined {
    if (!this.#mayDamage(id, 'gone')) return undefined;
    this.#lying.set(id, random);
    this.#scheduler.setDisk(id, { ...HEALTHY_DISK, lies: true });
    this.#later(durationMs, () => this.#endLie(id, random));
    return `let the disk of n${id} lie about syncs for ${Math.round(durationMs)} ms, and cut its power`;
  }

  /** @returns what was done; undefined for a disk that has another part to play */
  disturb(kind: DiskKind, id: NodeId, random: Random, durationMs: number): string | undefined {
    if (this.#lying.has(id) || this.#forgetful.has(id)) return undefined;
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
      case 'slowDisk':
        return this.#limit(kind, id, random, durationMs);
      default:
        return unreachable(kind);
    }
  }

  #limit(kind: 'fullDisk' | 'slowDisk', id: NodeId, random: Random, durationMs: number): string {
    const scheduler = this.#scheduler;
    const { electionMs } = this.#plan;
    const freeBytes = kind === 'fullDisk' ? random.int(0, 4000) : Infinity;
    const syncMs = kind === 'slowDisk' ? random.ratio() * random.ratio() * electionMs * 4 : 0;
    scheduler.setDisk(id, { ...HEALTHY_DISK, syncMs, freeBytes });
    this.#later(durationMs, () => {
      if (!this.#lying.has(id)) scheduler.setDisk(id, HEALTHY_DISK);
    });
    const what =
      kind === 'fullDisk'
        ? `leave ${freeBytes} bytes on the disk of n${id}`
        : `let each sync of n${id} take ${syncMs.toFixed(1)} ms`;
    return `${what} for ${Math.round(durationMs)} ms`;
  }

  #mayDamage(id: NodeId, sort: 'gone' | 'rotten'): boolean {
    const { nodes, hasWarmUp } = this.#plan;
    const isOverBudget = this.#damaged.size + 1 > Math.floor((nodes.length - 1) / 2);
    // A node that nobody has met is taken for what it says it is, whatever it was.
    const isUnknown = sort === 'gone' && !hasWarmUp;
    if (isOverBudget || isUnknown || this.#damaged.has(id)) return false;
    if (this.#sort !== undefined && this.#sort !== sort) return false;
    this.#sort = sort;
    this.#damaged.add(id);
    return true;
  }

  #endLie(id: NodeId, random: Random): void {
    if (!this.#lying.delete(id)) return;
    const scheduler = this.#scheduler;
    const others = this.#plan.nodes.filter((other) => other !== id);
    this.#wiped.add(id);
    this.#forgetful.add(id);
    for (const other of others) {
      scheduler.network.cut(id, other);
      scheduler.network.cut(other, id);
      scheduler.network.reset(id, other);
    }
    scheduler.setDisk(id, HEALTHY_DISK);
    scheduler.cutPower(id, at(['any', 'any', 'worst'] as const, random.int(0, 2)));
    this.#supervisor.wentDown(id);
    this.#later(this.#plan.electionMs * (2 + 4 * random.ratio()), () => this.#replace(id, others));
  }

  #replace(id: NodeId, others: readonly NodeId[]): void {
    if (!this.#forgetful.delete(id)) return;
    this.#scheduler.wipe(id, false);
    this.#supervisor.wentDown(id);
    for (const other of others) {
      this.#scheduler.network.mend(id, other);
      this.#scheduler.network.mend(other, id);
    }
  }
}
