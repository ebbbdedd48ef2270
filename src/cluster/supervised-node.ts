/** A node of a cluster across the lives of its thread: start, crash, freeze, restart, wipe. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { MessagePort } from 'node:worker_threads';
import { OxideError, StorageError, messageOf } from '../lib/errors.ts';
import type { ClusterNode } from './api.ts';
import type { CompactionPool } from './compaction-pool.ts';
import type { Report } from './driver.ts';
import type { EventLevel, NodeAccount, NodeState, NodeView } from './view.ts';
import { WorkerHandle, type WorkerPlan } from './worker-handle.ts';

const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 10_000;
/** A node that keeps dying this soon after it started stays down: whatever kills it would kill it again. */
const YOUNG_MS = 10_000;
const YOUNG_DEATHS_MAX = 3;

/** How long a thread may take to end before it is ended. */
const REPAIR_STOP_MS = 2000;
/** A disk that damages what it is given this often, and within this time, is not given more. */
const REPAIRS_MAX = 3;
const REPAIRS_WITHIN_MS = 600_000;

/** An event on its way to the cluster's stream. */
export interface NodeNews {
  readonly epochMs: number;
  readonly level: EventLevel;
  readonly kind: string;
  readonly text: string;
}

export interface SupervisedNodeOptions {
  readonly plan: WorkerPlan;
  /** Merges tables for all nodes of this process. */
  readonly compactions: CompactionPool;
  readonly autoRestart: boolean;
  /** The picture changed in a way that people wait for. */
  readonly onChange: () => void;
  readonly onEvent: (news: NodeNews) => void;
  /** The thread runs: connect it. */
  readonly onUp: () => void;
  /** The thread is gone. @param isBack whether another follows at once, without its damaged data */
  readonly onDown: (isBack: boolean) => void;
  /** Asks the node for a snapshot. @returns the last index that it holds */
  readonly compact: () => Promise<number>;
}

export class SupervisedNode implements ClusterNode {
  readonly #options: SupervisedNodeOptions;
  #worker: WorkerHandle | undefined;
  #state: NodeState = 'stopped';
  #stateSinceMs: number = performance.now();
  #reason = '';
  #client = '';
  #account: NodeAccount | undefined;
  /** Counts the threads that this node has had. */
  #life = 0;
  #youngDeaths = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  /** Settles when the thread of a life whose data were damaged is gone, and the next one runs. */
  #repairing: Promise<void> | undefined;
  /** When damage was found. */
  #damagesMs: readonly number[] = [];
  /** Ends the thread on purpose, so that no policy restarts it. */
  #isWanted = false;

  constructor(options: SupervisedNodeOptions) {
    this.#options = options;
  }

  get id(): number {
    return this.#options.plan.id;
  }

  /** Where it keeps its data. */
  get directory(): string {
    return this.#options.plan.directory;
  }

  get state(): NodeState {
    return this.#state;
  }

  get client(): string {
    return this.#client;
  }

  /** What the node last told of itself. */
  get account(): NodeAccount | undefined {
    return this.#account;
  }

  /** Whether its thread can be talked to, now or once it thaws. */
  get isUp(): boolean {
    return this.#state === 'running' || this.#state === 'frozen';
  }

  /** Starts the thread. Rejects with a StartError when the node cannot start. */
  async start(): Promise<void> {
    this.#isWanted = true;
    clearTimeout(this.#restartTimer);
    this.#enter('starting', '');
    const startedMs = performance.now();
    // Randomness of its own for each life: request ids of two lives must not meet.
    this.#life += 1;
    const plan = { ...this.#options.plan, seed: `${this.#options.plan.seed}/${this.#life}` };
    const worker = new WorkerHandle(plan, this.#options.compactions, (report) => this.#take(worker, report));
    this.#worker = worker;
    void worker.exited.then((reason) => this.#died(worker, reason, performance.now() - startedMs));
    this.#client = await worker.started;
    if (this.#worker !== worker) return;
    this.#enter('running', '');
    this.#options.onUp();
  }

  async crash(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#isWanted = this.#options.autoRestart;
    this.#news(0, 'crash', 'crashes: memory gone, disk stays');
    await worker.terminate('crashed on purpose');
  }

  async restart(): Promise<void> {
    if (this.#state === 'starting') {
      await this.#worker?.started;
      return;
    }
    if (this.isUp) await this.#worker?.stop(2000);
    this.#news(0, 'restart', 'restarts from its disk');
    await this.start();
  }

  freeze(): void {
    if (this.#state !== 'running')
      throw new OxideError('unavailable', `Node ${this.id} is ${this.#state}, not running`);
    this.#worker?.freeze();
    this.#news(0, 'freeze', 'freezes, as in a long garbage collection');
    this.#enter('frozen', 'frozen on purpose');
  }

  thaw(): void {
    if (this.#state !== 'frozen')
      throw new OxideError('unavailable', `Node ${this.id} is ${this.#state}, not frozen`);
    this.#worker?.thaw();
    this.#news(0, 'thaw', 'thaws');
    this.#enter('running', '');
  }

  async wipe(): Promise<void> {
    this.#isWanted = false;
    clearTimeout(this.#restartTimer);
    await this.#repairing;
    await this.#worker?.terminate('wiped on purpose');
    rmSync(this.#options.plan.directory, { recursive: true, force: true });
    this.#account = undefined;
    this.#news(0, 'wipe', 'loses its data directory');
    this.#enter('crashed', 'its data directory was wiped');
  }

  compact(): Promise<number> {
    return this.#options.compact();
  }

  /** Stops the node cleanly, for good. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isWanted = false;
    clearTimeout(this.#restartTimer);
    await this.#repairing;
    await this.#worker?.stop(timeoutMs);
    this.#removeLock();
    this.#enter('stopped', '');
  }

  /** Gives the thread a channel to a peer. A thread that dies meanwhile gets a new one when it comes back. */
  connect(peer: number, port: MessagePort): void {
    this.#worker?.transfer(port, (control, moved) => control.connect(peer, moved)).catch(() => undefined);
  }

  attachClient(port: MessagePort): void {
    this.#worker?.transfer(port, (control, moved) => control.attachClient(moved)).catch(() => undefined);
  }

  /** The node for people; `cut` and `group` are the network's to tell, `standing` the leader's. */
  view(nowMs: number): Omit<NodeView, 'cut' | 'group' | 'standing'> {
    return {
      id: this.id,
      state: this.#state,
      reason: this.#reason,
      stateMs: nowMs - this.#stateSinceMs,
      client: this.#client,
      account: this.#account,
    };
  }

  #take(worker: WorkerHandle, report: Report): void {
    if (worker !== this.#worker) return;
    for (const { atMs, level, kind, text } of report.events) {
      this.#options.onEvent({ epochMs: report.clockOriginMs + atMs, level, kind, text });
    }
    const isNewRole =
      report.account.role !== this.#account?.role || report.account.leader !== this.#account.leader;
    this.#account = report.account;
    if (isNewRole) this.#options.onChange();
    if (report.mustRestart) this.#repairing = this.#repair(worker);
  }

  /** Ends the thread, which is no death, and starts it again: then the node begins without what was damaged. */
  async #repair(worker: WorkerHandle): Promise<void> {
    const nowMs = performance.now();
    this.#damagesMs = [...this.#damagesMs.filter((atMs) => atMs > nowMs - REPAIRS_WITHIN_MS), nowMs];
    this.#worker = undefined;
    this.#enter('starting', 'its data were damaged');
    this.#options.onDown(true);
    try {
      await worker.stop(REPAIR_STOP_MS);
      if (this.#damagesMs.length > REPAIRS_MAX)
        throw new StorageError(`Its disk has damaged its data ${this.#damagesMs.length} times in a row`);
      // Stopped, wiped or restarted meanwhile.
      if (this.#isWanted && this.#worker === undefined) await this.start();
    } catch (error) {
      this.#enter('crashed', messageOf(error));
      this.#news(1, 'down', `cannot start again: ${messageOf(error)}`);
      this.#options.onDown(false);
    }
  }

  #died(worker: WorkerHandle, reason: string, livedMs: number): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    if (this.#state === 'stopped') return;
    const wasUp = this.isUp;
    this.#enter('crashed', reason);
    this.#news(1, 'down', `is down: ${reason}`);
    if (wasUp) this.#options.onDown(false);
    this.#options.onChange();
    if (!this.#isWanted || !this.#options.autoRestart || !wasUp) return;
    this.#youngDeaths = livedMs < YOUNG_MS ? this.#youngDeaths + 1 : 1;
    if (this.#youngDeaths > YOUNG_DEATHS_MAX)
      return this.#news(1, 'down', `stays down: it died ${this.#youngDeaths} times in a row`);
    const delayMs = Math.min(RESTART_MS_MIN * 2 ** (this.#youngDeaths - 1), RESTART_MS_MAX);
    this.#restartTimer = setTimeout(() => {
      this.start().catch((error: unknown) =>
        this.#news(1, 'down', `cannot start again: ${messageOf(error)}`),
      );
    }, delayMs);
  }

  /** A thread that was terminated could not give its lock back, and this process, whose lock it is, may live on. */
  #removeLock(): void {
    const { directory, lockToken } = this.#options.plan;
    try {
      for (const name of readdirSync(directory)) {
        if (name.startsWith('LOCK.') && name.endsWith(`.${lockToken}`)) rmSync(join(directory, name));
      }
    } catch {
      // No directory, or none that can be read: whoever opens it next is told what is wrong with it.
    }
  }

  #enter(state: NodeState, reason: string): void {
    this.#state = state;
    this.#reason = reason;
    this.#stateSinceMs = performance.now();
  }

  #news(level: EventLevel, kind: string, text: string): void {
    this.#options.onEvent({ epochMs: performance.timeOrigin + performance.now(), level, kind, text });
    this.#options.onChange();
  }
}
