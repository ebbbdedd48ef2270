/**
 * Brings a request to a node that can answer it: tries endpoints in turn, follows hints to the leader, and repeats with
 * back-off until the deadline. Repeats everything: its caller must make that harmless.
 */
import { assert, at } from '../lib/assert.ts';
import { OxideError, messageOf } from '../lib/errors.ts';
import type { ErrorCode } from '../lib/errors.ts';
import type { Answer } from './json-lines-codec.ts';
import { Link, parseEndpoint } from './json-lines-link.ts';
import type { Delivery } from './json-lines-link.ts';

/** How a request ended. */
export type Delivered =
  /** `doubtful`: an earlier attempt was lost, and this answer says nothing about that one. */
  | { readonly kind: 'answer'; readonly answer: Answer; readonly doubtful: boolean }
  /** No answer by the deadline, or the router was closed. `doubtful`: some attempt may have had its effect. */
  | {
      readonly kind: 'none';
      readonly doubtful: boolean;
      readonly isClosed: boolean;
      readonly cause: Error | undefined;
    };

/** The node cannot say more; another one, or the same a little later, can. */
const REPEATED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'not_leader',
  'unavailable',
  'overloaded',
  'storage_failed',
  'storage_full',
  'closed',
  'unknown',
]);

const BACKOFF_MS_MIN = 10;
const BACKOFF_MS_MAX = 500;
/** Hints followed at once; further ones wait, since nodes that point at each other know nothing new yet. */
const HOPS_MAX = 3;
const ATTEMPT_MS_MIN = 100;
const LINKS_MAX = 16;

export class Router {
  readonly #endpoints: readonly string[];
  readonly #timeoutMs: number;
  readonly #attemptMs: number;
  readonly #links = new Map<string, Link>();
  readonly #sleepers = new Set<() => void>();
  /** Where the next attempt goes. */
  #target: string;
  #isClosed = false;

  /** @param endpoints `host:port` each, at least one, all well-formed */
  constructor(endpoints: readonly string[], timeoutMs: number) {
    this.#endpoints = endpoints;
    this.#timeoutMs = timeoutMs;
    // A node that hangs must leave time for the others.
    this.#attemptMs = endpoints.length === 1 ? timeoutMs : Math.max(ATTEMPT_MS_MIN, timeoutMs / 4);
    this.#target = at(endpoints, 0);
  }

  /** Connects to the first endpoint that answers, trying each once. @throws OxideError `unavailable` when none does */
  async open(): Promise<void> {
    let cause: unknown;
    for (const endpoint of this.#endpoints) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other is the point
        await this.#link(endpoint).opened;
        this.#target = endpoint;
        return;
      } catch (error) {
        cause = error;
      }
    }
    const message = `Cannot connect to ${this.#endpoints.join(', ')}: ${messageOf(cause)}`;
    throw new OxideError('unavailable', message, { cause });
  }

  /**
   * Sends the request until a node answers for good.
   *
   * @param line makes the line of each attempt
   * @param deadlineMs on the clock of `performance.now()`
   */
  async deliver(line: () => string, deadlineMs: number): Promise<Delivered> {
    let doubtful = false;
    let cause: Error | undefined;
    let hops = 0;
    for (let attempt = 0; ; attempt++) {
      const leftMs = deadlineMs - performance.now();
      if (this.#isClosed || leftMs <= 0) return { kind: 'none', doubtful, isClosed: this.#isClosed, cause };
      const endpoint = this.#target;
      // oxlint-disable-next-line no-await-in-loop -- an attempt follows from the one before
      const delivery = await this.#link(endpoint).send(line(), Math.min(leftMs, this.#attemptMs));
      if (delivery.kind === 'answer' && !isRepeated(delivery.answer)) {
        return { kind: 'answer', answer: delivery.answer, doubtful };
      }
      doubtful ||= isDoubtful(delivery);
      // That the time is over says less than what was answered before.
      if (cause === undefined || delivery.kind === 'answer' || performance.now() < deadlineMs)
        cause = causeOf(delivery);
      if (this.#follow(endpoint, delivery) && hops < HOPS_MAX) {
        hops += 1;
        continue;
      }
      hops = 0;
      const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt, 16));
      // oxlint-disable-next-line no-await-in-loop -- as above
      await this.#sleep(Math.min(backoffMs * (0.5 + Math.random() / 2), deadlineMs - performance.now()));
    }
  }

  /** One attempt at one endpoint (default: the current one), no other. */
  async ask(line: string, endpoint: string = this.#target): Promise<Delivery> {
    return await this.#link(endpoint).send(line, this.#timeoutMs);
  }

  /** Ends what is under way; nothing goes out afterwards. */
  close(): void {
    this.#isClosed = true;
    const reason = new OxideError('closed', 'The client was closed');
    for (const link of this.#links.values()) link.close(reason);
    for (const wake of this.#sleepers) wake();
  }

  /** Chooses where to go after `endpoint` had no answer. @returns whether it is a leader worth asking at once */
  #follow(endpoint: string, delivery: Delivery): boolean {
    const hint =
      delivery.kind === 'answer' && delivery.answer.kind === 'error' ? delivery.answer.leader : undefined;
    if (hint !== undefined && hint !== endpoint && parseEndpoint(hint) !== undefined) {
      this.#target = hint;
      return true;
    }
    if (this.#target === endpoint) {
      const next = (this.#endpoints.indexOf(endpoint) + 1) % this.#endpoints.length;
      this.#target = at(this.#endpoints, next);
    }
    return false;
  }

  /** The open connection to `endpoint`, or a new one. */
  #link(endpoint: string): Link {
    const open = this.#links.get(endpoint);
    if (open !== undefined) return open;
    const address = parseEndpoint(endpoint);
    assert(address !== undefined, 'An endpoint was not checked');
    if (this.#links.size >= LINKS_MAX) this.#closeOldest();
    const link = new Link(address, this.#attemptMs, (closed) => {
      if (this.#links.get(endpoint) === closed) this.#links.delete(endpoint);
    });
    this.#links.set(endpoint, link);
    return link;
  }

  #closeOldest(): void {
    for (const [endpoint, link] of this.#links) {
      if (endpoint === this.#target) continue;
      link.close(new Error('too many connections'));
      return;
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.max(0, ms));
      this.#sleepers.add(wake);
      if (this.#isClosed) wake();
    });
  }
}

function isRepeated(answer: Answer): boolean {
  return answer.kind === 'error' && REPEATED.has(answer.code);
}

function isDoubtful(delivery: Delivery): boolean {
  if (delivery.kind === 'lost') return true;
  return delivery.kind === 'answer' && delivery.answer.kind === 'error' && delivery.answer.code === 'unknown';
}

function causeOf(delivery: Delivery): Error | undefined {
  if (delivery.kind !== 'answer') return delivery.cause;
  if (delivery.answer.kind !== 'error') return undefined;
  return new OxideError(delivery.answer.code, delivery.answer.message);
}
