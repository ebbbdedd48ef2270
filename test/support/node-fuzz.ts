/**
 * A random run of a {@link NodeNetwork}: clients with and without sessions work while links, processes and disks fail;
 * then everything is repaired, and the history is judged. One seed is one run.
 */
import { assert, at, defined } from '../../src/lib/assert.ts';
import { latin1, textOf, utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { Reply, Request, SessionTag } from '../../src/net/protocol.ts';
import { RULES, type Rules } from '../../src/raft/rules.ts';
import type { Fault } from '../../src/sim/disk.ts';
import { type Operation, judge } from './history.ts';
import { type NodeHost, NodeNetwork, type Submission } from './node-network.ts';

/** What happened in a run: that the faults it is for did happen. */
export interface FuzzReport {
  readonly acknowledged: number;
  readonly failed: number;
  readonly unknown: number;
  readonly reads: number;
  readonly starts: number;
  readonly powerCuts: number;
  readonly storageFailures: number;
  readonly snapshotsInstalled: number;
  readonly snapshotsSaved: number;
}

const KEYS: readonly string[] = ['a', 'b', 'c', 'd'];
const ATTEMPTS_MAX = 6;
const SLICE_MS = 5;
const CHAOS_MS = 1000;
const RECOVERY_MS = 30_000;

/** An operation of a client: all attempts at it together. */
interface Task {
  readonly key: string;
  readonly value: string | undefined;
  readonly expected: string | undefined;
  readonly isCas: boolean;
  readonly request: Request;
  readonly attempts: Submission[];
}

/** One client: one operation at a time, repeated with its session until it has an answer or is given up. */
class FuzzClient {
  readonly #run: FuzzRun;
  readonly #random: Random;
  readonly #usesSession: boolean;
  #session: { readonly id: number; nextSeq: number } | undefined;
  #task: Task | undefined;
  #lastSeen: string | undefined;

  constructor(run: FuzzRun, random: Random, usesSession: boolean) {
    this.#run = run;
    this.#random = random;
    this.#usesSession = usesSession;
  }

  /** Begins, repeats or ends what it is at. */
  act(mayBegin: boolean): void {
    const task = this.#task;
    if (task === undefined) {
      if (!mayBegin || this.#random.chance(0.3)) return;
      this.#task = this.#begin();
      this.#attempt(this.#task);
      return;
    }
    const last = task.attempts.at(-1);
    if (last === undefined) this.#attempt(task);
    else if (last.outcome !== undefined) this.#answered(task, last.outcome);
  }

  get isIdle(): boolean {
    return this.#task === undefined;
  }

  #begin(): Task {
    const key = at(KEYS, this.#random.int(0, KEYS.length - 1));
    const base = { key, value: undefined, expected: undefined, isCas: false, attempts: [] };
    if (this.#usesSession && this.#session === undefined)
      return { ...base, request: { kind: 'openSession' } };
    const kind = this.#random.int(0, 9);
    if (kind < 3) return { ...base, request: { kind: 'get', key: utf8(key) } };
    const value = this.#run.newValue();
    const session = this.#tag();
    const tagged = session === undefined ? {} : { session };
    if (kind < 5) {
      const expected = this.#lastSeen;
      const request: Request = {
        kind: 'cas',
        key: utf8(key),
        expected: expected === undefined ? undefined : utf8(expected),
        value: utf8(value),
        ...tagged,
      };
      return { ...base, value, expected, isCas: true, request };
    }
    return { ...base, value, request: { kind: 'set', key: utf8(key), value: utf8(value), ...tagged } };
  }

  #tag(): SessionTag | undefined {
    const session = this.#session;
    if (session === undefined) return undefined;
    const seq = session.nextSeq++;
    return { id: session.id, seq, ackedBelow: seq };
  }

  /** Sends it to any node that runs; if none does, the next {@link act} tries again. */
  #attempt(task: Task): void {
    const { up } = this.#run.network;
    const host = up[this.#random.int(0, up.length - 1)];
    if (host === undefined) return;
    task.attempts.push(this.#run.network.submit(host.id, task.request));
  }

  #answered(task: Task, outcome: Reply | 'lost'): void {
    const isAnswer = outcome !== 'lost' && outcome.kind !== 'error';
    const isExpired = outcome !== 'lost' && outcome.kind === 'error' && outcome.code === 'session_expired';
    const mayRepeat = task.value === undefined || this.#session !== undefined || !mayHaveHappened(outcome);
    if (isExpired) this.#session = undefined;
    if (!isAnswer && !isExpired && mayRepeat && task.attempts.length < ATTEMPTS_MAX) {
      this.#attempt(task);
      return;
    }
    this.#task = undefined;
    if (outcome !== 'lost' && outcome.kind === 'session') this.#session = { id: outcome.id, nextSeq: 1 };
    if (outcome !== 'lost' && outcome.kind === 'value')
      this.#lastSeen = outcome.value === undefined ? undefined : textOf(outcome.value);
    this.#run.record(task);
  }
}

function mayHaveHappened(outcome: Reply | 'lost' | undefined): boolean {
  if (outcome === undefined || outcome === 'lost') return true;
  return outcome.kind === 'error' && outcome.code === 'unknown';
}

class FuzzRun {
  readonly network: NodeNetwork;
  readonly #random: Random;
  readonly #clients: FuzzClient[];
  readonly #operations: Operation[] = [];
  readonly #submissions: Submission[] = [];
  /** Values whose write was told to have failed for certain. */
  readonly #failedValues: Set<string> = new Set();
  readonly #putValues: Set<string> = new Set();
  readonly #indexes: Set<number> = new Set();
  /** The state at every applied index, the same on all nodes. */
  readonly #states: Map<number, string> = new Map();
  readonly #downUntilMs: Map<number, number> = new Map();
  #nextValue = 1;
  #counts = {
    acknowledged: 0,
    failed: 0,
    unknown: 0,
    reads: 0,
    starts: 0,
    powerCuts: 0,
    storageFailures: 0,
    snapshotsInstalled: 0,
    snapshotsSaved: 0,
  };

  constructor(seed: number | string, rules: Rules) {
    this.#random = new Random(`${seed}/fuzz`);
    this.network = new NodeNetwork({
      nodes: this.#random.chance(0.8) ? 3 : 5,
      seed,
      rules,
      raft: { electionMs: 100, heartbeatMs: 20, appendBytesMax: 400 },
      requestTimeoutMs: 500,
      snapshotEntries: 20,
      segmentBytesMax: 1024,
    });
    this.network.onPut = (_node, _key, value) => void this.#putValues.add(latin1(value));
    this.network.afterTurn = (host) => this.#look(host);
    this.#clients = Array.from(
      { length: 6 },
      (_, i) => new FuzzClient(this, this.#random.fork(`client ${i}`), i % 2 === 0),
    );
  }

  newValue(): string {
    return `v${this.#nextValue++}`;
  }

  /** Takes a finished operation into the history. */
  record(task: Task): void {
    this.#submissions.push(...task.attempts);
    const last = defined(task.attempts.at(-1), 'attempt');
    const { outcome, endedOrder } = last;
    const { beganOrder } = at(task.attempts, 0);
    const { key, value, expected } = task;
    const times = { key, beganOrder, endedOrder };
    if (outcome !== undefined && outcome !== 'lost' && outcome.kind !== 'error') {
      if (outcome.kind === 'value' || outcome.kind === 'mismatch') {
        const seen = outcome.kind === 'value' ? outcome.value : outcome.actual;
        this.#operations.push({
          ...times,
          kind: 'read',
          value: seen === undefined ? undefined : textOf(seen),
        });
        this.#counts.reads += 1;
      }
      if (outcome.kind === 'ok' || outcome.kind === 'mismatch') {
        assert(!this.#indexes.has(outcome.index), `Two writes were told the index ${outcome.index}`);
        this.#indexes.add(outcome.index);
      }
      if (outcome.kind === 'ok') {
        this.#counts.acknowledged += 1;
        this.#operations.push({ ...times, kind: 'write', value });
        if (task.isCas) this.#operations.push({ ...times, kind: 'read', value: expected });
      } else if (value !== undefined) this.#failedValues.add(value);
      return;
    }
    if (value === undefined) return;
    if (task.attempts.some((attempt) => mayHaveHappened(attempt.outcome))) {
      this.#counts.unknown += 1;
      this.#operations.push({ ...times, kind: 'write', value, endedOrder: Infinity });
    } else {
      this.#counts.failed += 1;
      this.#failedValues.add(value);
    }
  }

  run(): FuzzReport {
    const { network } = this;
    for (let t = SLICE_MS; t <= CHAOS_MS; t += SLICE_MS) {
      this.#disturb();
      for (const client of this.#clients) client.act(true);
      network.run(t);
    }
    this.#repair();
    this.#check();
    return this.#counts;
  }

  /** Equal nodes at equal places, at all times. */
  #look(host: NodeHost): void {
    const { applied } = host.running.status().raft;
    const text = defined(host.engine, 'engine').text;
    const known = this.#states.get(applied);
    assert(
      known === undefined || known === text,
      `n${host.id} at ${applied} holds ${text}, another held ${known}`,
    );
    this.#states.set(applied, text);
    for (const event of host.running.takeEvents().events) {
      if (event.kind === 'storage') this.#counts.storageFailures += 1;
      if (event.text.startsWith('saves a snapshot')) this.#counts.snapshotsSaved += 1;
      if (event.kind === 'snapshot' && event.text.includes('the log')) this.#counts.snapshotsInstalled += 1;
    }
  }

  #disturb(): void {
    const { network } = this;
    const random = this.#random;
    for (const host of network.hosts) {
      if (host.isUp) continue;
      const untilMs = this.#downUntilMs.get(host.id) ?? network.nowMs + random.int(0, 200);
      this.#downUntilMs.set(host.id, untilMs);
      if (network.nowMs < untilMs) continue;
      this.#downUntilMs.delete(host.id);
      if (host.reason.includes('power')) this.#counts.powerCuts += 1;
      this.#counts.starts += 1;
      if (random.chance(0.2)) this.#arm(host);
      else host.fs.intercept = undefined;
      network.start(host.id);
    }
    if (random.chance(0.9)) return;
    const host = at(network.hosts, random.int(0, network.hosts.length - 1));
    const other = at(network.hosts, random.int(0, network.hosts.length - 1));
    switch (random.int(0, 9)) {
      case 0:
        return network.isolate(random.chance(0.5) ? (network.leader?.id ?? host.id) : host.id);
      case 1:
      case 2:
        return network.heal();
      case 3:
      case 4:
        return network.link(host.id, other.id, {
          blocked: random.chance(0.2),
          loss: random.ratio() * 0.3,
          duplicate: random.ratio() * 0.3,
          delayMsMax: random.chance(0.3) ? 80 : 5,
          reorder: random.chance(0.5),
        });
      case 5:
        return network.freeze(host.id, network.nowMs + random.int(10, 400));
      case 6:
        return host.isUp ? network.crash(host.id) : undefined;
      case 7:
        return host.isUp ? network.cutPower(host.id) : undefined;
      default:
        return host.isUp ? this.#arm(host) : undefined;
    }
  }

  /** One of the next calls of this node's disk fails. */
  #arm(host: NodeHost): void {
    const random = this.#random;
    const number = host.fs.calls + random.int(1, 60);
    const fault = this.#fault();
    host.fs.intercept = (call) => {
      if (call.number < number || (fault.kind === 'dropPages' && call.kind !== 'sync')) return undefined;
      if (fault.kind === 'shortWrite' && call.kind !== 'write') return undefined;
      host.fs.intercept = undefined;
      return fault;
    };
  }

  #fault(): Fault {
    const random = this.#random;
    switch (random.int(0, 5)) {
      case 0:
        return { kind: 'error', errno: random.chance(0.5) ? 'EIO' : 'ENOSPC' };
      case 1:
        return { kind: 'dropPages', errno: 'EIO' };
      case 2:
        return { kind: 'shortWrite', errno: 'ENOSPC', bytes: random.int(0, 60) };
      default:
        return { kind: 'powerCut' };
    }
  }

  /** Everything works again, and so must the cluster. */
  #repair(): void {
    const { network } = this;
    network.heal();
    for (const host of network.hosts) {
      host.fs.intercept = undefined;
      if (host.isUp && host.running.status().storage === 'failed') network.crash(host.id);
      if (!host.isUp) assert(network.start(host.id), `n${host.id} does not start again: ${host.reason}`);
    }
    const untilMs = network.nowMs + RECOVERY_MS;
    while (!this.#isSettled()) {
      assert(network.nowMs < untilMs, `The cluster does not recover: ${this.#describe()}`);
      network.run(network.nowMs + SLICE_MS);
    }
  }

  #isSettled(): boolean {
    for (const client of this.#clients) client.act(false);
    if (!this.#clients.every((client) => client.isIdle)) return false;
    const statuses = this.network.hosts.map((host) => host.running.status().raft);
    const [first] = statuses;
    return statuses.every(
      (status) =>
        status.leader !== 0 &&
        status.commit === status.last.index &&
        status.applied === status.commit &&
        status.last.index === first?.last.index,
    );
  }

  #check(): void {
    const { network } = this;
    for (const host of network.hosts) {
      for (const key of KEYS) {
        const request: Request = { kind: 'get', key: utf8(key) };
        const submission = network.submit(host.id, request);
        network.runUntil(() => submission.outcome !== undefined, RECOVERY_MS);
        const base = { key, value: undefined, expected: undefined, isCas: false };
        this.record({ ...base, request, attempts: [submission] });
        const { outcome } = submission;
        assert(
          outcome !== undefined && outcome !== 'lost' && outcome.kind === 'value',
          `n${host.id} does not read ${key} after all is repaired`,
        );
      }
    }
    const texts = new Set(network.hosts.map((host) => defined(host.engine, 'engine').text));
    assert(texts.size === 1, `The nodes differ: ${[...texts].join(' | ')}`);
    assert(
      this.#submissions.every((submission) => submission.outcome !== undefined),
      'A request was never answered',
    );
    for (const value of this.#failedValues)
      assert(!this.#putValues.has(value), `${value} certainly failed, and was applied`);
    const fault = judge(this.#operations);
    assert(fault === undefined, `Not linearizable: ${fault}`);
  }

  #describe(): string {
    const busy = this.#clients.filter((client) => !client.isIdle).length;
    const nodes = this.network.hosts
      .map((host) => {
        if (!host.isUp) return `n${host.id} ${host.reason}`;
        const { role, term, commit, applied, last, peers } = host.running.status().raft;
        const modes = peers.map((peer) => `n${peer.id} ${peer.mode} ${peer.match}`).join(', ');
        return `n${host.id} ${role} term ${term} commit ${commit} applied ${applied} last ${last.index} [${modes}]`;
      })
      .join('; ');
    return `${nodes}; ${busy} clients wait`;
  }
}

/**
 * Runs one seed. Throws when anything that must hold did not.
 *
 * @param rules broken ones, to see that a run finds out
 */
export function fuzz(seed: number | string, rules: Rules = RULES): FuzzReport {
  return new FuzzRun(seed, rules).run();
}
