/** Connects screen, keyboard and cluster: feeds the reducer, carries out its effects, and paces the frames. */
import type { ClusterClient, ClusterHandle } from '../cluster/api.ts';
import type { ClusterEvent } from '../cluster/view.ts';
import { unreachable } from '../lib/assert.ts';
import { messageOf, OxideError } from '../lib/errors.ts';
import { changeText, makeChange, type Change } from './changes.ts';
import type { FrameSize } from './frame-sink.ts';
import { update } from './key-actions.ts';
import type { Key } from './keys.ts';
import type { Verdict } from './model.ts';
import { requestText, type ClientRequest } from './requests.ts';
import { EVENTS_MAX, initialState, TOAST_MS, type Action, type Effect, type State } from './state.ts';
import { display } from './text.ts';
import { Workload } from './workload.ts';

/** At most eleven frames a second: views come ten times a second. */
const FRAME_MS = 90;
/** How long the user's own requests may take. */
const REQUEST_TIMEOUT_MS = 5000;
const WAITING_MAX = 20;
const OUTPUT_LINE_MAX = 200;

/** What a session needs from outside. `show` draws a state; `suspend` gives the terminal back for a while. */
export interface SessionOptions {
  readonly cluster: Promise<ClusterHandle>;
  readonly nodes: number;
  readonly ascii: boolean;
  readonly size: FrameSize;
  readonly show: (state: State) => void;
  readonly suspend: () => void;
}

interface Running {
  readonly handle: ClusterHandle;
  readonly client: ClusterClient;
  readonly loadClient: ClusterClient;
  readonly workload: Workload;
}

/** One run of the UI. The cluster is not the session's: it stops nothing. */
export class Session {
  readonly #options: SessionOptions;
  readonly #undo: (() => void)[] = [];
  readonly #waiting = new Map<number, { readonly request: string; readonly startedMs: number }>();
  readonly #ended: Promise<void>;
  #end: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  #state: State;
  #queue: ClusterEvent[] = [];
  #running: Running | undefined;
  #frameTimer: NodeJS.Timeout | undefined;
  #toastTimer: NodeJS.Timeout | undefined;
  #lastFrameMs = -FRAME_MS;
  #shown: State | undefined;
  #requestCount = 0;
  #isClosed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#state = initialState({ size: options.size, nodeCount: options.nodes, ascii: options.ascii });
    this.#ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
  }

  /** The present state, for whoever watches. */
  get state(): State {
    return this.#state;
  }

  /** Draws the first frame, then runs until the user quits. Rejects when the cluster cannot start. */
  run(): Promise<void> {
    this.#requestFrame();
    this.#options.cluster.then(
      (handle) => this.#attach(handle),
      (error: unknown) => this.#fail(error),
    );
    return this.#ended;
  }

  /** Ends {@link run}, as `q` does. */
  end(): void {
    this.#end();
  }

  /** Stops timers and listeners. Idempotent. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#frameTimer);
    clearTimeout(this.#toastTimer);
    this.#running?.workload.stop();
    for (const undo of this.#undo.splice(0)) undo();
    // Whoever stops the cluster ends what is still pending there; nobody is left to be told.
    this.#running?.client.close().catch(() => undefined);
    this.#running?.loadClient.close().catch(() => undefined);
  }

  keys(keys: readonly Key[]): void {
    for (const key of keys) this.#dispatch({ kind: 'key', key, nowMs: performance.now() });
  }

  resize(size: FrameSize): void {
    this.#shown = undefined;
    this.#dispatch({ kind: 'resize', size });
  }

  /** Draws the same again: something else has been on the screen. */
  redraw(): void {
    this.#shown = undefined;
    this.#requestFrame();
  }

  /** Something in this process printed: shown as an event instead of across the screen. */
  stray(text: string): void {
    const atMs = this.#state.view?.atMs ?? 0;
    const line = `printed: ${text.trim().slice(0, OUTPUT_LINE_MAX)}`;
    this.#enqueue({ atMs, node: 0, level: 3, kind: 'output', text: line });
  }

  #attach(handle: ClusterHandle): void {
    if (this.#isClosed) return;
    const client = handle.client({ timeoutMs: REQUEST_TIMEOUT_MS });
    const loadClient = handle.client({ timeoutMs: REQUEST_TIMEOUT_MS });
    this.#running = { handle, client, loadClient, workload: new Workload(loadClient) };
    this.#undo.push(handle.onEvent((event) => this.#enqueue(event)));
    this.#undo.push(
      handle.onView((view) => {
        this.#reportProgress();
        this.#dispatch({ kind: 'view', view, nowMs: performance.now() });
      }),
    );
    this.#dispatch({ kind: 'view', view: handle.view(), nowMs: performance.now() });
    this.#dispatch({ kind: 'ready' });
  }

  #enqueue(event: ClusterEvent): void {
    this.#queue.push(event);
    if (this.#queue.length > 2 * EVENTS_MAX) this.#queue = this.#queue.slice(-EVENTS_MAX);
    this.#requestFrame();
  }

  #dispatch(action: Action): void {
    if (this.#isClosed) return;
    this.#takeEvents();
    const { state, effects } = update(this.#state, action);
    if (state.toast !== undefined && state.toast !== this.#state.toast) this.#scheduleToastEnd();
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    this.#requestFrame();
  }

  #takeEvents(): void {
    if (this.#queue.length === 0) return;
    const events = this.#queue;
    this.#queue = [];
    this.#state = update(this.#state, { kind: 'events', events }).state;
  }

  #requestFrame(): void {
    if (this.#isClosed || this.#frameTimer !== undefined) return;
    const waitMs = Math.max(0, this.#lastFrameMs + FRAME_MS - performance.now());
    this.#frameTimer = setTimeout(() => this.#frame(), waitMs);
  }

  #frame(): void {
    this.#frameTimer = undefined;
    this.#takeEvents();
    if (this.#shown === this.#state) return;
    this.#lastFrameMs = performance.now();
    this.#shown = this.#state;
    this.#options.show(this.#state);
  }

  #scheduleToastEnd(): void {
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(
      () => this.#dispatch({ kind: 'tick', nowMs: performance.now() }),
      TOAST_MS + 1,
    );
  }

  #perform(effect: Effect): void {
    if (effect.kind === 'quit') this.#end();
    else if (effect.kind === 'suspend') this.#options.suspend();
    else if (this.#running !== undefined) {
      this.#onCluster(effect, this.#running).catch((error: unknown) => this.#refuse(effect, error));
    }
  }

  async #onCluster(
    effect: Exclude<Effect, { readonly kind: 'quit' | 'suspend' }>,
    running: Running,
  ): Promise<void> {
    const { handle } = running;
    switch (effect.kind) {
      case 'crash':
        return handle.node(effect.node).crash();
      case 'restart':
        return handle.node(effect.node).restart();
      case 'freeze':
        return handle.node(effect.node).freeze();
      case 'thaw':
        return handle.node(effect.node).thaw();
      case 'isolate':
        return handle.isolate(effect.node);
      case 'rejoin':
        return handle.rejoin(effect.node);
      case 'partition':
        return handle.partition(effect.groups);
      case 'heal':
        return handle.heal();
      case 'request':
        return this.#send(effect.request, running.client);
      case 'change':
        return this.#change(effect.change, handle);
      case 'workload':
        if (effect.isOn) running.workload.start();
        else running.workload.stop();
        this.#dispatch({ kind: 'workload', stats: running.workload.stats });
        return;
      default:
        return unreachable(effect);
    }
  }

  #refuse(effect: Effect, error: unknown): void {
    const what = 'node' in effect ? `${effect.kind} n${effect.node}` : effect.kind;
    const text = display(`Cannot ${what}: ${messageOf(error)}`, this.#options.ascii);
    this.#dispatch({ kind: 'toast', text, nowMs: performance.now() });
  }

  async #send(request: ClientRequest, client: ClusterClient): Promise<void> {
    if (this.#waiting.size >= WAITING_MAX) {
      throw new OxideError('overloaded', `${WAITING_MAX} requests are waiting already`);
    }
    await this.#follow(requestText(request), () => ask(request, client));
  }

  /** Not among those that may wait: the reducer lets each kind of change be under way once. */
  async #change(change: Change, handle: ClusterHandle): Promise<void> {
    const outcome = await this.#follow(changeText(change), () => makeChange(change, handle));
    this.#dispatch({ kind: 'changeEnded', change, ...outcome, nowMs: performance.now() });
  }

  /** Runs what the user asked for, and reports on it among the results until it has ended. Never rejects. */
  async #follow(words: string, run: () => Promise<string>): Promise<Outcome> {
    this.#requestCount += 1;
    const id = this.#requestCount;
    const startedMs = performance.now();
    const text = display(words, this.#options.ascii);
    const report = (verdict: Verdict, answer: string): void => {
      const tookMs = performance.now() - startedMs;
      this.#dispatch({ kind: 'result', result: { id, request: text, verdict, answer, tookMs } });
    };
    this.#waiting.set(id, { request: text, startedMs });
    report('waiting', '');
    const { verdict, answer } = await outcomeOf(run);
    const outcome: Outcome = { verdict, answer: display(answer, this.#options.ascii) };
    this.#waiting.delete(id);
    report(outcome.verdict, outcome.answer);
    return outcome;
  }

  /** Requests under way and the workload move on with each view. */
  #reportProgress(): void {
    const nowMs = performance.now();
    for (const [id, { request, startedMs }] of this.#waiting) {
      const result = { id, request, verdict: 'waiting', answer: '', tookMs: nowMs - startedMs } as const;
      this.#dispatch({ kind: 'result', result });
    }
    const workload = this.#running?.workload;
    if (workload !== undefined && (workload.stats.isOn || this.#state.workload.isOn)) {
      this.#dispatch({ kind: 'workload', stats: workload.stats });
    }
  }
}

interface Outcome {
  readonly verdict: Exclude<Verdict, 'waiting'>;
  readonly answer: string;
}

async function outcomeOf(run: () => Promise<string>): Promise<Outcome> {
  try {
    return { verdict: 'ok', answer: await run() };
  } catch (error) {
    const isCertain = error instanceof OxideError && error.code !== 'unknown';
    return { verdict: isCertain ? 'refused' : 'unknown', answer: messageOf(error) };
  }
}

/** Sends a request. @returns the answer in a few words */
async function ask(request: ClientRequest, client: ClusterClient): Promise<string> {
  switch (request.kind) {
    case 'set':
      return `at index ${await client.set(request.key, request.value)}`;
    case 'delete':
      return (await client.delete(request.key)) ? 'deleted' : 'was not there';
    case 'cas': {
      const hasSwapped = await client.cas(request.key, request.expected, request.value);
      return hasSwapped ? 'swapped' : `unchanged: it does not hold ${request.expected}`;
    }
    case 'get': {
      const value = await client.getText(request.key);
      return value === undefined ? 'no such key' : value;
    }
    default:
      return unreachable(request);
  }
}
