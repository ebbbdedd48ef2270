/**
 * Runs a node in real time on its thread: decides when it takes a turn, answers clients on MessagePorts, reports to the
 * supervisor. Everything about threads and clocks that the node must not know.
 */
import type { MessagePort } from 'node:worker_threads';
import { decodeRequests, encodeReplies, type ReplyItem } from '../net/codec.ts';
import { postFrame } from '../net/frame-port.ts';
import type { Node } from '../node/node.ts';
import type { NodeEvent, NodeAccount } from '../node/status.ts';

/** What a thread reports to its supervisor, ten times a second. */
export interface Report {
  readonly kind: 'report';
  /** Epoch milliseconds at which the clock of `events` reads 0. */
  readonly clockOriginMs: number;
  readonly account: NodeAccount;
  readonly events: readonly NodeEvent[];
  /** Events that did not fit. */
  readonly eventsLost: number;
  /** Its data are damaged, and its peers will make them good once it is started again. */
  readonly mustRestart: boolean;
}

const REPORT_EVERY_MS = 100;
/** setTimeout fires at once for more than 2^31 ms. */
const TIMER_MS_MAX = 60_000;

export class Driver {
  readonly #node: Node;
  /** Not 0: the thread must stand still. Shared with the supervisor. */
  readonly #freeze: Int32Array;
  readonly #reports: MessagePort;
  readonly #clients: Map<MessagePort, ReplyItem[]> = new Map();
  #isScheduled = false;
  /** Silence was seen, and everything that had arrived meanwhile has been read since. */
  #isSilenceSure = false;
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Infinity;
  #reporter: NodeJS.Timeout;
  #isStopped = false;
  #reportedLeader = 0;

  constructor(options: { readonly node: Node; readonly freeze: Int32Array; readonly reports: MessagePort }) {
    this.#node = options.node;
    this.#freeze = options.freeze;
    this.#reports = options.reports;
    this.#reporter = setInterval(() => this.#report(), REPORT_EVERY_MS);
    this.wake();
  }

  /** Schedules a turn behind everything that is arriving now, so that one turn takes all of it. */
  wake(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(() => this.#run());
  }

  /** Stands still while the supervisor says so: a faithful garbage-collection pause. */
  standStill(): void {
    while (Atomics.load(this.#freeze, 0) !== 0) Atomics.wait(this.#freeze, 0, 1);
  }

  /** Serves a client in this process. */
  attachClient(port: MessagePort): void {
    this.#clients.set(port, []);
    port.on('message', (frame: unknown) => {
      const items = frame instanceof Uint8Array ? decodeRequests(frame) : undefined;
      if (items === undefined) return port.close();
      for (const { id, request } of items) {
        this.#node.submit(request, { forward: true }, (reply) => {
          this.#clients.get(port)?.push({ id, reply });
          this.wake();
        });
      }
    });
    port.on('close', () => this.#clients.delete(port));
  }

  /** Ends the node's requests, tells the clients, and stops the timers. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#reporter);
    this.#node.stop();
    this.answerClients();
    for (const port of this.#clients.keys()) port.close();
  }

  #run(): void {
    this.#isScheduled = false;
    if (this.#isStopped) return;
    this.standStill();
    const nowMs = performance.now();
    const isSilent = nowMs >= this.#node.raftDeadlineMs;
    // After a stall Node.js runs expired timers before it reads what has arrived meanwhile. A leader's heartbeat may be
    // waiting in the port: read first, believe the silence only if it is still there afterwards.
    this.#node.turn(nowMs, !isSilent || this.#isSilenceSure);
    this.#isSilenceSure = false;
    if (isSilent && performance.now() >= this.#node.raftDeadlineMs) this.#listenOnceMore();
    this.answerClients();
    // People wait for a leader: that news does not wait for the next report.
    if (this.#node.leader !== this.#reportedLeader || this.#node.mustRestart) this.#report();
    this.#setTimer();
  }

  #listenOnceMore(): void {
    this.#isScheduled = true;
    setImmediate(() =>
      setImmediate(() => {
        this.#isSilenceSure = true;
        this.#run();
      }),
    );
  }

  /** Sends the replies that have gathered. */
  answerClients(): void {
    for (const [port, replies] of this.#clients) {
      if (replies.length === 0) continue;
      postFrame(port, encodeReplies(replies));
      replies.length = 0;
    }
  }

  #setTimer(): void {
    const deadlineMs = this.#node.deadlineMs;
    // An earlier timer is left alone: it fires, finds nothing to do, and sets the next one.
    if (deadlineMs >= this.#timerMs || deadlineMs === Infinity) return;
    clearTimeout(this.#timer);
    this.#timerMs = deadlineMs;
    const delayMs = Math.min(Math.max(0, Math.ceil(deadlineMs - performance.now())), TIMER_MS_MAX);
    this.#timer = setTimeout(() => {
      this.#timerMs = Infinity;
      this.wake();
    }, delayMs);
  }

  #report(): void {
    this.#reportedLeader = this.#node.leader;
    // First the account: what goes wrong while it is taken is an event.
    const account = this.#node.account(performance.now());
    const { events, lost } = this.#node.takeEvents();
    const report: Report = {
      kind: 'report',
      clockOriginMs: performance.timeOrigin,
      account,
      events,
      eventsLost: lost,
      mustRestart: this.#node.mustRestart,
    };
    this.#reports.postMessage(report);
  }
}
