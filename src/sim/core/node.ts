/** One replica of a simulated run: a real core while it lives, its disk always, its own clock, and what is known of it from outside. */
import { defined } from '../../lib/assert.ts';
import type { Entry, LogIndex, NodeId, Term } from '../../raft/entry.ts';
import type { Config } from '../../raft/membership.ts';
import type { Event, Input, Role } from '../../raft/messages.ts';
import type { Raft } from '../../raft/raft.ts';
import { ModelDisk } from './disk.ts';
import { ModelLog, type ModelSnapshot } from './model-log.ts';

/** How long the syncs of a disk take: `minMs` and up to `spanMs` more. Both 0: within the turn. */
export interface SyncSpeed {
  minMs: number;
  spanMs: number;
}

type ConfigEvent = Extract<Event, { kind: 'config' }>;

interface Waiting {
  readonly seq: number;
  readonly entries: readonly Entry[];
  readonly snapshot: ModelSnapshot | undefined;
}

export class SimNode {
  readonly id: NodeId;
  readonly isWitness: boolean;
  /** Counts starts. */
  life = 0;
  raft: Raft | undefined;
  /** The core's log as its writes have described it. */
  memory: ModelLog;
  readonly disk: ModelDisk;

  /** From the core's outputs. */
  role: Role = 'follower';
  term: Term = 0;
  commit: LogIndex = 0;
  /** The state machine: entries up to here, and a hash of them. */
  applied: LogIndex = 0;
  stateHash = 0;
  /** The newest configuration that the core has told of. */
  effective: Config;
  /** The configuration in effect at `applied`. */
  config: Config;
  /** What the state machine takes once the write with this number is durable: a snapshot, then entries. */
  waiting: Waiting[] = [];
  /** The core was told that writes up to this one are durable. */
  persistedSeq = 0;
  /** Requests that it owes an answer. */
  readonly owed: Set<number> = new Set();

  /** Its core may have changed in a way that no output tells. */
  hasNews = false;
  /** Waits for the next turn. */
  inbox: Input[] = [];
  isTurnDue = false;
  isPaused = false;
  /** When its next look at the timer is due, on the true clock. */
  tickAtMs: number = Infinity;
  /** How late its next look is, as a share of the latest. */
  lateness = 0;
  isSyncing = false;
  /** Its syncs do not end. */
  isStuck = false;
  /** Its next sync fails. */
  isDoomed = false;
  hasFailed = false;
  sync: SyncSpeed = { minMs: 0, spanMs: 0 };

  /** The clock: at true time `anchorMs` it showed `anchorLocalMs`, and runs at `rate` since. */
  #anchorMs = 0;
  #anchorLocalMs = 0;
  #rate = 1;

  /** @param config what the cluster begins with */
  constructor(id: NodeId, config: Config, isWitness = false) {
    this.id = id;
    this.isWitness = isWitness;
    this.config = config;
    this.effective = config;
    this.memory = new ModelLog(config);
    this.disk = new ModelDisk(config);
  }

  /**
   * The core told of members.
   * @param installed where a snapshot ends that came with the same output: what lies before its end is of the past
   */
  told({ phase, index, config }: ConfigEvent, installed: LogIndex | undefined): void {
    if (phase !== 'committed' && (installed === undefined || index > installed)) this.effective = config;
  }

  /** Its life ends: what it had in memory is gone. */
  die(): void {
    this.raft = undefined;
    this.role = 'follower';
    this.inbox = [];
    this.waiting = [];
    this.persistedSeq = 0;
    this.isTurnDue = false;
    this.isPaused = false;
    this.isSyncing = false;
    this.isDoomed = false;
    this.tickAtMs = Infinity;
  }

  /** The running core. */
  get core(): Raft {
    return defined(this.raft, 'a running core');
  }

  get rate(): number {
    return this.#rate;
  }

  /** What this node's clock shows at true time `nowMs`. */
  local(nowMs: number): number {
    return this.#anchorLocalMs + (nowMs - this.#anchorMs) * this.#rate;
  }

  /** The true time at which this node's clock will show `localMs`. */
  trueTime(localMs: number): number {
    return this.#anchorMs + (localMs - this.#anchorLocalMs) / this.#rate;
  }

  /** From `nowMs` on the clock runs at `rate`. */
  setRate(nowMs: number, rate: number): void {
    this.#anchorLocalMs = this.local(nowMs);
    this.#anchorMs = nowMs;
    this.#rate = rate;
  }
}
