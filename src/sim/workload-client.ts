/**
 * One simulated client: one operation at a time, repeated as far as a careful client may repeat it, and ended with what
 * it can know: done, certainly not done, or unknown. It decides what to ask; when and over what is for the workload.
 */
import { at, unreachable } from '../lib/assert.ts';
import { displayText, utf8 } from '../lib/bytes.ts';
import type { Random } from '../lib/random.ts';
import type { KeyValue, Reply, Request, SessionTag } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Action, HistoryClock, Operation, Outcome, Step } from './history.ts';
import { fail } from './violation.ts';
import type { Begun, WriteLedger } from './write-ledger.ts';

/** Attempts at one operation before it is given up. */
const ATTEMPTS_MAX = 6;
const BACKOFF_MS_MAX = 40;

/** What clients share. */
export interface ClientWorld {
  readonly keys: readonly string[];
  readonly prefix: string;
  readonly ledger: WriteLedger;
  readonly timeoutMs: number;
  readonly thinkMsMax: number;
  readonly scans: boolean;
  /** A value that was never written. */
  newValue(): string;
  newProcess(): number;
  readonly clock: HistoryClock;
  /** Hands a request to a node. @returns its id */
  send(node: NodeId, request: Request, forward: boolean): number;
  /** An operation is over. Opening a session is none. */
  ended(operation: Operation): void;
}

/** What a client wants; `key` is the prefix of a scan. */
type Plan =
  | { readonly kind: 'openSession' }
  | { readonly kind: 'get' | 'scan' | 'delete'; readonly key: string }
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  | {
      readonly kind: 'cas';
      readonly key: string;
      readonly value: string;
      readonly expected: string | undefined;
    };

interface Task {
  readonly plan: Plan;
  readonly request: Request;
  readonly begun: Begun;
  /** Of a scan: the same for every key. */
  readonly begunKeys: readonly Begun[];
  readonly start: bigint;
  readonly isFinal: boolean;
  attempts: number;
  mayHaveHappened: boolean;
}

export class WorkloadClient {
  readonly #world: ClientWorld;
  readonly #random: Random;
  readonly #usesSession: boolean;
  #process: number;
  #session: { readonly id: number; nextSeq: number } | undefined;
  #task: Task | undefined;
  /** The request that waits for its answer. */
  #asked: number | undefined;
  /** The node to ask next, as the last refusal said. */
  #hint: NodeId = 0;
  #lastSeen: Map<string, string | undefined> = new Map();
  /** When it next has something to do: give up waiting, try again, or think of something new. */
  wakeMs: number = 0;

  constructor(world: ClientWorld, random: Random, usesSession: boolean) {
    this.#world = world;
    this.#random = random;
    this.#usesSession = usesSession;
    this.#process = world.newProcess();
  }

  get isIdle(): boolean {
    return this.#task === undefined;
  }

  /** The request that waits for its answer. */
  get asked(): number | undefined {
    return this.#asked;
  }

  /** Does what is due. @param up nodes that may be asked; @param mayBegin whether it may think of something new */
  act(nowMs: number, up: readonly NodeId[], mayBegin: boolean): void {
    if (nowMs < this.wakeMs) return;
    const task = this.#task;
    if (task === undefined) {
      if (!mayBegin) return;
      const began = this.#begin(nowMs, this.#plan(), false);
      return this.#attempt(began, nowMs, up);
    }
    if (this.#asked === undefined) return this.#attempt(task, nowMs, up);
    this.#noAnswer(nowMs);
  }

  /** Reads one key, until it has an answer. It must be idle. */
  readFinally(key: string, nowMs: number): void {
    this.#begin(nowMs, { kind: 'get', key }, true);
    this.wakeMs = nowMs;
  }

  /** Its request was answered. */
  replied(reply: Reply, nowMs: number): void {
    const task = this.#task;
    this.#asked = undefined;
    if (task === undefined) return;
    if (reply.kind === 'error') return this.#refused(task, reply, nowMs);
    this.#succeeded(task, reply, nowMs);
  }

  /** No answer will come: the node died, or the client has waited long enough. */
  noAnswer(nowMs: number): void {
    if (this.#asked !== undefined) this.#noAnswer(nowMs);
  }

  #noAnswer(nowMs: number): void {
    this.#asked = undefined;
    const task = this.#task;
    if (task === undefined) return;
    task.mayHaveHappened = true;
    this.#again(task, nowMs);
  }

  #plan(): Plan {
    if (this.#usesSession && this.#session === undefined) return { kind: 'openSession' };
    const random = this.#random;
    const world = this.#world;
    const key = at(world.keys, random.int(0, world.keys.length - 1));
    const draw = random.int(0, 99);
    if (draw < 30) return { kind: 'get', key };
    if (draw < 36 && world.scans) return { kind: 'scan', key: world.prefix };
    if (draw < 46) return { kind: 'delete', key };
    const value = world.newValue();
    if (draw < 66) return { kind: 'cas', key, value, expected: this.#lastSeen.get(key) };
    return { kind: 'set', key, value };
  }

  #begin(nowMs: number, plan: Plan, isFinal: boolean): Task {
    const task: Task = {
      plan,
      request: this.#request(plan),
      begun: this.#beginLedger(plan),
      begunKeys: plan.kind === 'scan' ? this.#world.keys.map((key) => this.#world.ledger.begin(key)) : [],
      start: this.#world.clock.stamp(nowMs),
      isFinal,
      attempts: 0,
      mayHaveHappened: false,
    };
    this.#task = task;
    return task;
  }

  #beginLedger(plan: Plan): Begun {
    const { ledger } = this.#world;
    if (plan.kind === 'openSession') return { index: 0, keyIndex: 0 };
    return ledger.begin(plan.key, isWrite(plan) ? { value: writtenBy(plan) } : undefined);
  }

  #request(plan: Plan): Request {
    switch (plan.kind) {
      case 'openSession':
        return { kind: 'openSession' };
      case 'get':
        return { kind: 'get', key: utf8(plan.key) };
      case 'scan':
        return { kind: 'scan', prefix: utf8(plan.key), limit: 1000 };
      case 'delete':
        return { kind: 'delete', key: utf8(plan.key), ...this.#tag() };
      case 'set':
        return { kind: 'set', key: utf8(plan.key), value: utf8(plan.value), ...this.#tag() };
      case 'cas': {
        const expected = plan.expected === undefined ? undefined : utf8(plan.expected);
        return { kind: 'cas', key: utf8(plan.key), expected, value: utf8(plan.value), ...this.#tag() };
      }
      default:
        return unreachable(plan);
    }
  }

  #tag(): { readonly session?: SessionTag } {
    const session = this.#session;
    if (session === undefined) return {};
    const seq = session.nextSeq++;
    return { session: { id: session.id, seq, ackedBelow: seq } };
  }

  #attempt(task: Task, nowMs: number, up: readonly NodeId[]): void {
    const hinted = up.includes(this.#hint) ? this.#hint : undefined;
    const node = hinted ?? up[this.#random.int(0, up.length - 1)];
    this.#hint = 0;
    if (node === undefined) {
      this.wakeMs = nowMs + BACKOFF_MS_MAX;
      return;
    }
    task.attempts += 1;
    this.wakeMs = nowMs + this.#world.timeoutMs;
    this.#asked = this.#world.send(node, task.request, this.#random.chance(0.7));
  }

  #refused(task: Task, reply: Extract<Reply, { kind: 'error' }>, nowMs: number): void {
    if (reply.code === 'unknown') task.mayHaveHappened = true;
    if (reply.code === 'session_expired') {
      this.#session = undefined;
      return this.#giveUp(task, nowMs);
    }
    this.#hint = reply.leader?.id ?? 0;
    this.#again(task, nowMs);
  }

  /** Tries again where that is harmless, else ends. */
  #again(task: Task, nowMs: number): void {
    const isHarmless =
      !isWrite(task.plan) ||
      !task.mayHaveHappened ||
      ('session' in task.request && task.request.session !== undefined);
    if (isHarmless && (task.isFinal || task.attempts < ATTEMPTS_MAX)) {
      this.wakeMs = nowMs + this.#random.int(0, BACKOFF_MS_MAX);
      return;
    }
    this.#giveUp(task, nowMs);
  }

  #succeeded(task: Task, reply: Reply, nowMs: number): void {
    const { plan, begun } = task;
    if (plan.kind === 'openSession') {
      if (reply.kind === 'session') this.#session = { id: reply.id, nextSeq: 1 };
      return this.#rest(nowMs);
    }
    const { ledger } = this.#world;
    if (reply.kind === 'ok') {
      ledger.wrote(plan.key, writtenBy(plan), reply.index, begun);
      this.#lastSeen.set(plan.key, writtenBy(plan));
      return this.#end(task, nowMs, actionOf(plan, reply.existed));
    }
    if (reply.kind === 'mismatch') {
      const actual = textOrAbsent(reply.actual);
      ledger.decided(plan.key, reply.index, begun);
      ledger.failed(plan.key, writtenBy(plan));
      if (plan.kind === 'cas' && actual === plan.expected)
        fail('I7 state machine safety', `a compare-and-set of ${plan.key} was refused for what it expected`);
      return this.#read(task, actual, nowMs);
    }
    if (reply.kind === 'value') return this.#read(task, textOrAbsent(reply.value), nowMs);
    if (reply.kind === 'rows') return this.#scanned(task, reply.rows, nowMs);
    task.mayHaveHappened = true;
    this.#giveUp(task, nowMs);
  }

  #scanned(task: Task, rows: readonly KeyValue[], nowMs: number): void {
    const { keys, ledger } = this.#world;
    const values = new Map(rows.map((row) => [displayText(row.key), displayText(row.value)]));
    const steps: Step[] = [];
    for (const [i, key] of keys.entries()) {
      const value = values.get(key);
      ledger.read(key, value, at(task.begunKeys, i));
      steps.push({ kind: 'get', key, value });
    }
    this.#end(task, nowMs, { kind: 'txn', steps });
  }

  #read(task: Task, value: string | undefined, nowMs: number): void {
    if (task.plan.kind === 'openSession') return;
    const { key } = task.plan;
    // What a final read may find is judged when all are there: an old value then is a lost write, not a stale read.
    if (!task.isFinal) this.#world.ledger.read(key, value, task.begun);
    this.#lastSeen.set(key, value);
    // What a compare-and-set that did not hold says is what it saw.
    this.#end(task, nowMs, { kind: 'get', key, value });
  }

  #end(task: Task, nowMs: number, action: Action): void {
    const end = this.#world.clock.stamp(nowMs);
    this.#world.ended({ process: this.#process, action, start: task.start, end, outcome: 'ok' });
    this.#rest(nowMs);
  }

  /** It ends without an answer, or with a refusal. */
  #giveUp(task: Task, nowMs: number): void {
    const { plan, start, mayHaveHappened } = task;
    if (plan.kind !== 'openSession') {
      const outcome: Outcome = mayHaveHappened && isWrite(plan) ? 'unknown' : 'fail';
      if (outcome === 'unknown') this.#world.ledger.unknown(plan.key, writtenBy(plan));
      else if (isWrite(plan)) this.#world.ledger.failed(plan.key, writtenBy(plan));
      const end = outcome === 'fail' ? this.#world.clock.stamp(nowMs) : undefined;
      this.#world.ended({ process: this.#process, action: actionOf(plan, undefined), start, end, outcome });
    }
    // To a judge the old process may still be at it.
    if (mayHaveHappened) this.#process = this.#world.newProcess();
    this.#rest(nowMs);
  }

  #rest(nowMs: number): void {
    this.#task = undefined;
    this.wakeMs = nowMs + this.#random.int(0, this.#world.thinkMsMax);
  }
}

function isWrite(plan: Plan): boolean {
  return plan.kind === 'set' || plan.kind === 'cas' || plan.kind === 'delete';
}

/** The value that a write leaves behind; undefined for a deletion. */
function writtenBy(plan: Plan): string | undefined {
  return plan.kind === 'set' || plan.kind === 'cas' ? plan.value : undefined;
}

function actionOf(
  plan: Exclude<Plan, { readonly kind: 'openSession' }>,
  existed: boolean | undefined,
): Action {
  const { key } = plan;
  switch (plan.kind) {
    case 'get':
    case 'scan':
      return { kind: 'get', key, value: undefined };
    case 'set':
      return { kind: 'set', key, value: plan.value };
    case 'delete':
      return { kind: 'delete', key, existed };
    case 'cas':
      return { kind: 'cas', key, expected: plan.expected, value: plan.value, swapped: true };
    default:
      return unreachable(plan);
  }
}

function textOrAbsent(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : displayText(bytes);
}
