/**
 * One run of one seed with whole nodes. First everything may go wrong while clients work; then a majority is left in peace
 * and must recover and serve; then all are, and must become equal. What must hold at every moment is checked after every
 * turn, what clients saw at the end.
 */
import { AssertionError } from '../lib/assert.ts';
import type { Reply, Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { membersOf } from '../raft/membership.ts';
import { type RunPlan, drawRun } from './draw.ts';
import type { Breaker, HostResult, NodeHost, Observation } from './host.ts';
import { InProcessHost } from './in-process-host.ts';
import { Invariants } from './invariants.ts';
import { Leadership } from './leadership.ts';
import { judgeHistory } from './linearizability.ts';
import { type Recoverable, recover } from './liveness.ts';
import { LogHashes } from './log-hashes.ts';
import { Nemesis } from './nemesis.ts';
import { Probes } from './probes.ts';
import type { ProfileName, RunFailure, RunOptions, RunReport, RunResult, RunSeed } from './report.ts';
import { type Audience, Scheduler } from './scheduler.ts';
import { TrafficMeter } from './service.ts';
import { Supervisor } from './supervisor.ts';
import { InvariantViolation, fail } from './violation.ts';
import { Workload } from './workload.ts';

/** Fewer acknowledged operations prove nothing. */
const OPERATIONS_MIN = 20;
/** Steps of the judge; a history it cannot decide by then is left to the other checks. */
const JUDGE_STEPS_MAX = 300_000;
/** Clients that have nothing to do look again this often. */
const IDLE_MS = 1;

type Up = Extract<HostResult, { readonly kind: 'up' }>;
type Down = Extract<HostResult, { readonly kind: 'down' }>;

/** Makes the host of a run. */
export type HostMaker = (options: {
  readonly nodes: readonly NodeId[];
  readonly seed: string;
  readonly breaker: Breaker;
}) => NodeHost;

/** The runs of a profile with whole nodes. @param makeHost where nodes live; on this thread unless told */
export function runNodes(
  profile: ProfileName,
  makeHost: HostMaker = (options) => new InProcessHost(options),
): RunSeed {
  return (options, breaker) => {
    const plan = drawRun(profile, options.seed, options.broken);
    const host = makeHost({ nodes: plan.nodes, seed: plan.node.seed, breaker });
    try {
      return new Simulation({ profile, plan, host, options }).run();
    } finally {
      host.close();
    }
  };
}

/** Everything of one run that its phases need. */
export class Simulation implements Audience, Recoverable {
  readonly plan: RunPlan;
  readonly scheduler: Scheduler;
  readonly supervisor: Supervisor;
  readonly nemesis: Nemesis;
  readonly workload: Workload;
  readonly traffic: TrafficMeter;
  readonly #profile: ProfileName;
  readonly #options: RunOptions;
  readonly #invariants: Invariants;
  readonly #leadership: Leadership;
  readonly #hashes: LogHashes = new LogHashes();
  readonly #probes: Probes;
  /** Nodes that clients ask. */
  #served: readonly NodeId[];
  #mayBegin = true;
  #actAtMs = Infinity;

  constructor(options: {
    readonly profile: ProfileName;
    readonly plan: RunPlan;
    readonly host: NodeHost;
    readonly options: RunOptions;
  }) {
    const { plan, host } = options;
    this.plan = plan;
    this.#profile = options.profile;
    this.#options = options.options;
    this.#served = plan.nodes;
    this.#invariants = new Invariants({ voters: plan.node.voters });
    this.#leadership = new Leadership({ storageStallMs: plan.node.raft.storageStallMs });
    this.#probes = new Probes(plan.nodes);
    const { pace, calm: quality, nodes, node, heartbeatMs, priorities } = plan;
    this.traffic = new TrafficMeter({ members: nodes.length, heartbeatMs });
    const { trace } = options.options;
    this.scheduler = new Scheduler({
      nodes,
      plan: node,
      priorities,
      pace,
      quality,
      host,
      audience: this,
      trace,
    });
    this.supervisor = new Supervisor(this.scheduler, { seed: node.seed, electionMs: plan.electionMs });
    this.nemesis = new Nemesis({
      scheduler: this.scheduler,
      supervisor: this.supervisor,
      plan,
      replaced: (id) => this.#invariants.wiped(id),
    });
    this.workload = new Workload({
      seed: node.seed,
      clients: plan.clients,
      keys: plan.keys,
      timeoutMs: plan.clientTimeoutMs,
      thinkMsMax: plan.thinkMsMax,
      scans: plan.scans,
      submit: (to, id, request, forward) => this.#submit(to, id, request, forward),
    });
  }

  /** Runs all of it. */
  run(): RunResult {
    let failure: RunFailure | undefined;
    try {
      this.#begin();
      this.#trouble();
      recover(this);
      this.#judge();
    } catch (error) {
      failure = this.#failure(error);
    }
    return { report: this.#report(), failure };
  }

  /** Nodes whose disk holds what it should: all that the cluster consists of. */
  get sound(): readonly NodeId[] {
    return this.plan.nodes.filter((id) => !this.nemesis.wiped.has(id) && !this.supervisor.givenUp.has(id));
  }

  /** Clients ask these nodes from now on, and begin nothing new. */
  serve(nodes: readonly NodeId[]): void {
    this.#served = nodes;
    this.#mayBegin = false;
  }

  /** Lets the clients go on; to be called whenever they may have something to do. */
  act(): void {
    const { workload, scheduler } = this;
    const up = this.#served.filter((id) => scheduler.seat(id).isUp && this.#belongs(id));
    workload.act(scheduler.nowMs, up, this.#mayBegin);
    if (workload.isIdle && !this.#mayBegin) return;
    const waitMs = workload.deadlineMs - scheduler.nowMs;
    const atMs = scheduler.nowMs + (waitMs > 0 ? waitMs : IDLE_MS);
    if (atMs >= this.#actAtMs) return;
    this.#actAtMs = atMs;
    scheduler.after(atMs - scheduler.nowMs, () => {
      if (this.#actAtMs !== atMs) return;
      this.#actAtMs = Infinity;
      this.act();
    });
  }

  /** Clients know who waits to be added, or was removed. */
  #belongs(id: NodeId): boolean {
    if (this.plan.nodes.length === this.plan.node.voters.length) return true;
    const { config } = this.scheduler;
    return config === undefined || membersOf(config).includes(id);
  }

  started(node: NodeId, life: number): void {
    this.#hashes.restarted(node);
    this.traffic.started(node);
    if (!this.nemesis.wiped.has(node)) this.#invariants.started(node, life);
    this.#probes.started(node, life, this.scheduler.nowMs);
  }

  observed(node: NodeId, result: Up): void {
    this.traffic.worked(node, result.messages, result.seen.appended.length);
    const observation = this.#hashes.observe(node, result.seen, result.granted);
    if (observation === undefined)
      fail('I5 log matching', `n${node} begins its log behind a position that no log ever had`);
    if (!this.nemesis.wiped.has(node)) this.#judgeTurn(node, result, observation);
    this.#probes.observed(node, observation, result.events, this.#invariants.logOf(node));
    if (observation.storage !== 'failed') return;
    this.supervisor.diskFailed(node);
    this.nemesis.observed(node, observation.cutAfter !== undefined);
  }

  #judgeTurn(node: NodeId, { diskMs, seen }: Up, observation: Observation): void {
    this.#invariants.observed(node, observation);
    const { scheduler, nemesis } = this;
    const others = scheduler.seats.filter(({ id }) => !nemesis.wiped.has(id));
    const turn = { diskMs, appended: seen.appended.length };
    this.#leadership.observed(scheduler.seat(node), turn, others, scheduler.nowMs);
  }

  wentDown(node: NodeId, { cause, reason, granted }: Down, inTurn: boolean): void {
    const isDamaged = this.nemesis.damaged.has(node);
    if (cause === 'corruption' && !isDamaged)
      fail('I19 durability', `n${node} refuses a disk that nobody damaged: ${reason}`);
    const how = { inTurn, granted, ...(cause === 'bug' ? { bug: reason } : {}) };
    if (!this.nemesis.wiped.has(node)) this.#invariants.wentDown(node, how);
    else if (cause === 'bug') fail('I30 assertion', `n${node} died: ${reason}`);
    this.#probes.wentDown(node, { cause, inTurn }, this.scheduler.nowMs);
    if (cause === 'corruption') this.supervisor.giveUp(node);
    else this.supervisor.wentDown(node);
  }

  submitted(id: number, node: NodeId, request: Request): void {
    this.#invariants.submitted(id, request);
    this.#probes.submitted(id, node, request);
    if (request.kind === 'get' || request.kind === 'scan') this.traffic.asked();
  }

  replied(id: number, reply: Reply): void {
    this.#invariants.replied(id, reply);
    this.#probes.replied(id, reply);
  }

  lost(id: number): void {
    this.#invariants.lost(id);
    this.#probes.lost(id);
  }

  #submit(to: NodeId, id: number, request: Request, forward: boolean): void {
    this.scheduler.ask(to, {
      id,
      request,
      forward,
      done: (answer) => {
        if (answer === 'lost') this.workload.lost(id);
        else this.workload.replied(id, answer, this.scheduler.nowMs);
        this.act();
      },
    });
  }

  #begin(): void {
    const { plan, scheduler } = this;
    for (const [i, id] of plan.nodes.entries()) this.supervisor.startAfter(id, i);
    if (!plan.hasWarmUp) return;
    const untilMs = 40 * plan.electionMs + 1000;
    const founders = plan.node.voters.map((id) => scheduler.seat(id));
    const isReady = (): boolean => founders.every(({ sight }) => (sight?.raft.applied ?? 0) >= 1);
    if (!scheduler.run(untilMs, isReady))
      fail('I27 liveness', `no leader in the first ${untilMs} ms, and nothing was wrong`);
  }

  #trouble(): void {
    const { plan, scheduler } = this;
    scheduler.network.heal(plan.rough);
    this.nemesis.begin(this.#options.omit ?? new Set());
    this.act();
    scheduler.run(scheduler.nowMs + plan.roughMs);
    this.nemesis.stop();
  }

  #judge(): void {
    this.workload.checkDurability();
    const verdict = judgeHistory(this.workload.history, { stepsMax: JUDGE_STEPS_MAX });
    if (verdict.kind === 'violation')
      fail('I25 fresh reads', `the operations on ${verdict.keys.join(', ')} have no order`);
  }

  #failure(error: unknown): RunFailure {
    const where = {
      atMs: this.scheduler.nowMs,
      event: this.scheduler.events,
      script: this.nemesis.script,
    };
    if (error instanceof InvariantViolation)
      return { invariant: error.invariant, message: error.message, ...where };
    if (error instanceof AssertionError)
      return { invariant: 'I30 assertion', message: error.message, ...where };
    throw error;
  }

  #report(): RunReport {
    const { ok, failed, unknown } = this.workload.counts;
    return {
      profile: this.#profile,
      seed: this.#options.seed,
      simulatedMs: this.scheduler.nowMs,
      events: this.scheduler.events,
      hash: this.scheduler.hash.hex(),
      operations: { ok, failed, unknown },
      faults: this.nemesis.counts,
      probes: this.#probes.names,
      isVacuous: ok < OPERATIONS_MIN,
    };
  }
}
