/**
 * What simulated clients do: a few of them, each at one operation at a time, over few keys, so that they get in each
 * other's way. It knows nothing of the scheduler: requests go out through a function, answers come in through methods.
 */
import { Random } from '../lib/random.ts';
import type { Reply, Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { HistoryClock, type Operation } from './history.ts';
import { type ClientWorld, WorkloadClient } from './workload-client.ts';
import { WriteLedger } from './write-ledger.ts';

export interface WorkloadOptions {
  readonly seed: string;
  /** 1 to 8: more would keep a linearizability checker searching. */
  readonly clients: number;
  /** 1 to 20. */
  readonly keys: number;
  /** How long a client waits for one answer; longer than a node takes to give up, or it learns nothing from errors. */
  readonly timeoutMs: number;
  /** Longest pause of a client between two operations. */
  readonly thinkMsMax: number;
  /** Whether clients scan: it makes all keys one object to a judge of histories, which then has more to search. */
  readonly scans: boolean;
  /** Hands a request to a node. `id` is never used again; the answer comes later, to {@link Workload.replied}. */
  readonly submit: (node: NodeId, id: number, request: Request, forward: boolean) => void;
}

/** Clients of one run. Deterministic: equal seeds and equal answers give equal requests. */
export class Workload {
  readonly #options: WorkloadOptions;
  readonly #clients: readonly WorkloadClient[];
  readonly #keys: readonly string[];
  readonly #ledger: WriteLedger = new WriteLedger();
  readonly #history: Operation[] = [];
  /** Who waits for which answer. */
  readonly #asking: Map<number, WorkloadClient> = new Map();
  readonly #counts = { ok: 0, failed: 0, unknown: 0 };
  #nowMs = 0;
  #nextId = 1;
  #nextProcess = 0;
  #nextValue = 1;
  /** Keys that are still to be read for the last time; undefined before {@link finalReads}. */
  #finalKeys: string[] | undefined;
  readonly #finalValues: Map<string, string | undefined> = new Map();

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#keys = Array.from({ length: options.keys }, (_, i) => `k${i}`);
    const random = new Random(`${options.seed}/workload`);
    const world = this.#world();
    this.#clients = Array.from(
      { length: options.clients },
      (_, i) => new WorkloadClient(world, random.fork(`client ${i}`), i % 2 === 0),
    );
  }

  /** Operations that have ended, in the order of their ends. */
  get history(): readonly Operation[] {
    return this.#history;
  }

  /** How operations ended; reads without an answer count as failed. */
  get counts(): { readonly ok: number; readonly failed: number; readonly unknown: number } {
    return this.#counts;
  }

  /** Whether no operation is under way and no final read is left. */
  get isIdle(): boolean {
    return (this.#finalKeys ?? []).length === 0 && this.#clients.every((client) => client.isIdle);
  }

  /** When {@link act} next has something to do. */
  get deadlineMs(): number {
    let deadlineMs = Infinity;
    for (const client of this.#clients) deadlineMs = Math.min(deadlineMs, client.wakeMs);
    return deadlineMs;
  }

  /**
   * Lets every client do what is due: begin, try again, give up.
   *
   * @param up nodes that clients may ask
   * @param mayBegin whether new operations may begin
   */
  act(nowMs: number, up: readonly NodeId[], mayBegin: boolean): void {
    this.#nowMs = nowMs;
    for (const client of this.#clients) {
      const before = client.asked;
      if (client.isIdle && this.#finalKeys !== undefined) {
        const key = this.#finalKeys.pop();
        if (key !== undefined) client.readFinally(key, nowMs);
      }
      client.act(nowMs, up, mayBegin && this.#finalKeys === undefined);
      const { asked } = client;
      if (before !== undefined && before !== asked) this.#asking.delete(before);
      if (asked !== undefined && asked !== before) this.#asking.set(asked, client);
    }
  }

  /** A node answered. Answers that nobody waits for any more are ignored. */
  replied(id: number, reply: Reply, nowMs: number): void {
    this.#nowMs = nowMs;
    const client = this.#asking.get(id);
    if (client === undefined) return;
    this.#asking.delete(id);
    client.replied(reply, nowMs);
  }

  /** The node that had the request is down. */
  lost(id: number): void {
    const client = this.#asking.get(id);
    if (client === undefined) return;
    this.#asking.delete(id);
    client.noAnswer(this.#nowMs);
  }

  /** No new operations from here on: every key is read once more as soon as a client is free, for {@link checkDurability}. */
  finalReads(): void {
    this.#finalKeys ??= this.#keys.toReversed();
  }

  /** Whether every key holds, by its final read, what it may hold (I19). Throws the violation. */
  checkDurability(): void {
    for (const [key, value] of this.#finalValues) this.#ledger.checkFinal(key, value);
  }

  #world(): ClientWorld {
    const { timeoutMs, thinkMsMax, scans } = this.#options;
    return {
      keys: this.#keys,
      prefix: 'k',
      ledger: this.#ledger,
      timeoutMs,
      thinkMsMax,
      scans,
      newValue: () => `v${this.#nextValue++}`,
      newProcess: () => this.#nextProcess++,
      clock: new HistoryClock(),
      send: (node, request, forward) => {
        const id = this.#nextId++;
        this.#options.submit(node, id, request, forward);
        return id;
      },
      ended: (operation) => this.#ended(operation),
    };
  }

  #ended(operation: Operation): void {
    const { action, outcome } = operation;
    if (outcome === 'ok') this.#counts.ok += 1;
    else if (outcome === 'fail') this.#counts.failed += 1;
    else this.#counts.unknown += 1;
    // A read without an answer says nothing.
    if (outcome === 'ok' || action.kind !== 'get') this.#history.push(operation);
    if (this.#finalKeys !== undefined && action.kind === 'get' && outcome === 'ok')
      this.#finalValues.set(action.key, action.value);
  }
}
