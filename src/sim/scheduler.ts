/**
 * The scheduler of a simulation: one queue of everything that is to happen, in virtual time. It carries frames between
 * nodes and requests between clients and nodes, gives nodes their turns, and makes true what a nemesis does to them. It
 * draws every chance from one seed and judges nothing: what it saw goes to an audience.
 */
import { assert, at, defined, unreachable } from '../lib/assert.ts';
import { Random } from '../lib/random.ts';
import type { Reply, Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Config } from '../raft/membership.ts';
import type { RaftStatus } from '../raft/messages.ts';
import type { CrashMode } from './disk.ts';
import { EventQueue } from './event-queue.ts';
import { type DiskState, HEALTHY_DISK, type HostResult, type NodeHost, type NodePlan } from './host.ts';
import { type LinkQuality, Network } from './network.ts';
import { RunHash } from './run-hash.ts';
import { Seat, type Waiting } from './seat.ts';
import { type TraceEvent, describeTrace } from './trace.ts';

/** How nodes take their turns. */
export interface Pace {
  /** A turn keeps a node busy for this long, and up to `turnJitterMs` more. */
  readonly turnMs: number;
  readonly turnJitterMs: number;
  /** Between a client and a node, one way. */
  readonly clientMs: number;
  /** After a pause, timers run before what arrived meanwhile is read. */
  readonly timersFirst: boolean;
  /** Frames of a connection are lost when one of its ends starts over. */
  readonly dropsOldFrames: boolean;
}

/** Told everything that happens to nodes, as it happens. */
export interface Audience {
  started(node: NodeId, life: number): void;
  /** After a turn or a start that left the node running. */
  observed(node: NodeId, result: Extract<HostResult, { readonly kind: 'up' }>): void;
  /** `inTurn`: in the middle of a turn or a start. */
  wentDown(node: NodeId, result: Extract<HostResult, { readonly kind: 'down' }>, inTurn: boolean): void;
  submitted(id: number, node: NodeId, request: Request): void;
  replied(id: number, reply: Reply): void;
  /** The node that had the request is gone. */
  lost(id: number): void;
}

/** What a client is told: a reply, or that the node died with the request. */
export type Answer = Reply | 'lost';

type Event =
  | {
      readonly kind: 'frame';
      readonly from: NodeId;
      readonly to: NodeId;
      readonly frame: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'turn'; readonly seat: Seat; readonly stamp: number }
  | { readonly kind: 'request'; readonly to: NodeId; readonly ask: Ask }
  | { readonly kind: 'answer'; readonly ask: Ask; readonly answer: Answer }
  | { readonly kind: 'timer'; readonly run: () => void };

/** A request on its way, and whom to tell. */
export interface Ask {
  readonly id: number;
  readonly request: Request;
  readonly forward: boolean;
  readonly done: (answer: Answer) => void;
}

/** More events at one moment mean that time does not go on. */
const EVENTS_AT_ONE_TIME_MAX = 10_000;
const REFUSED: Reply = { kind: 'error', code: 'unavailable', message: 'Nobody listens there' };

/** Runs nodes in virtual time. */
export class Scheduler {
  readonly network: Network;
  readonly hash: RunHash = new RunHash();
  readonly seats: readonly Seat[];
  nowMs = 0;
  /** Events so far. */
  events = 0;
  readonly #plan: Omit<NodePlan, 'id'>;
  readonly #pace: Pace;
  readonly #host: NodeHost;
  readonly #audience: Audience;
  readonly #trace: ((line: string) => void) | undefined;
  readonly #queue: EventQueue<Event>;
  readonly #random: Random;
  readonly #asks: Map<number, Ask> = new Map();
  #eventsNow = 0;

  /** Starts nothing yet. The host is the caller's to close. */
  constructor(options: {
    readonly nodes: readonly NodeId[];
    readonly plan: Omit<NodePlan, 'id'>;
    /** Of each node, in the order of `nodes`. */
    readonly priorities: readonly number[];
    readonly pace: Pace;
    readonly quality: LinkQuality;
    readonly host: NodeHost;
    readonly audience: Audience;
    readonly trace: ((line: string) => void) | undefined;
  }) {
    const { nodes, plan, quality } = options;
    const { seed } = plan;
    this.#plan = plan;
    this.#pace = options.pace;
    this.#host = options.host;
    this.#audience = options.audience;
    this.#trace = options.trace;
    this.#queue = new EventQueue(new Random(`${seed}/ties`));
    this.#random = new Random(`${seed}/clients`);
    this.network = new Network({ nodes, seed, quality });
    this.seats = nodes.map(
      (id, i) => new Seat(id, new Random(`${seed}/seat/${id}`), at(options.priorities, i)),
    );
  }

  seat(id: NodeId): Seat {
    return defined(
      this.seats.find((seat) => seat.id === id),
      `node ${id}`,
    );
  }

  get up(): readonly Seat[] {
    return this.seats.filter((seat) => seat.isUp);
  }

  /** The running node that believes it leads in the highest term; 0 for none. */
  get leader(): NodeId {
    let leader = 0;
    let term = -1;
    for (const { id, sight } of this.seats) {
      if (sight === undefined || sight.raft.role !== 'leader' || sight.raft.term <= term) continue;
      leader = id;
      term = sight.raft.term;
    }
    return leader;
  }

  /** Who belongs to the cluster, as the leader knows, or without one the node that heard of it last; undefined if nobody does. */
  get config(): Config | undefined {
    const { leader } = this;
    let found: RaftStatus | undefined;
    for (const { sight } of this.seats) {
      if (sight === undefined || sight.raft.config.voters.length === 0) continue;
      if (sight.raft.id === leader) return sight.raft.config;
      if (found === undefined || sight.raft.configIndex > found.configIndex) found = sight.raft;
    }
    return found?.config;
  }

  /** Runs `run` after `delayMs`. */
  after(delayMs: number, run: () => void): void {
    this.#queue.push(this.nowMs + delayMs, { kind: 'timer', run });
  }

  /** Runs events up to `untilMs`, and stops early once `isDone` holds after one. @returns whether it did */
  run(untilMs: number, isDone: () => boolean = () => false): boolean {
    while (this.#queue.nextMs <= untilMs) {
      this.#step();
      if (isDone()) return true;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
    return isDone();
  }

  /** Sends a request to a node. `id` is used once in a run; `done` is called once, unless the node never answers. */
  ask(node: NodeId, ask: Ask): void {
    this.#queue.push(this.nowMs + this.#clientMs(), { kind: 'request', to: node, ask });
  }

  /** Starts a node from its disk. @returns whether it runs */
  start(id: NodeId): boolean {
    const seat = this.seat(id);
    assert(!seat.isUp, `n${id} runs already`);
    seat.life += 1;
    seat.clock.restart(this.nowMs, seat.random.ratio() * 1000);
    this.#audience.started(id, seat.life);
    const nowMs = seat.clock.read(this.nowMs);
    const result = this.#host.call(id, {
      kind: 'start',
      plan: this.#planOf(seat),
      life: seat.life,
      nowMs,
    });
    this.#note({ kind: 'start', node: id, life: seat.life });
    if (result.kind === 'up') {
      seat.isUp = true;
      seat.busyUntilMs = this.nowMs;
      for (const other of this.up) if (other !== seat) this.#connect(seat, other);
    }
    this.#took(seat, result);
    return seat.isUp;
  }

  #planOf({ id, isNewcomer, priority }: Seat): NodePlan {
    const { voters, raft } = this.#plan;
    const isFounder = voters.includes(id) && !isNewcomer;
    return { ...this.#plan, id, voters: isFounder ? voters : [], raft: { ...raft, priority } };
  }

  /** The process ends: memory gone, disk as it is. */
  crash(id: NodeId): void {
    this.#end(id, { kind: 'crash' });
  }

  /** The power goes: memory gone, and what the disk had not synced. */
  cutPower(id: NodeId, mode: CrashMode): void {
    this.#end(id, { kind: 'cutPower', mode });
  }

  /** The process ends, and its directory is gone. `isReplaced`: what starts next knows that it must be added. */
  wipe(id: NodeId, isReplaced: boolean): void {
    this.seat(id).isNewcomer ||= isReplaced;
    this.#end(id, { kind: 'wipe' });
  }

  /** Bit rot on the disk of a stopped node. @returns what happened, in words */
  damage(id: NodeId): string {
    const result = this.#host.call(id, { kind: 'damage' });
    assert(result.kind === 'done', 'Damage is done or not at all');
    this.hash.text(result.what);
    return result.what;
  }

  /** Sets what a node's disk does from now on. */
  setDisk(id: NodeId, state: DiskState): void {
    this.seat(id).syncMs = state.syncMs;
    this.#host.call(id, { kind: 'disk', state });
  }

  /** A node's disk is quick and sound from now on: who stands in a call to it goes on at once. */
  mendDisk(id: NodeId): void {
    this.setDisk(id, HEALTHY_DISK);
    const seat = this.seat(id);
    seat.busyUntilMs = Math.min(seat.busyUntilMs, this.nowMs);
    if (seat.isUp) this.#schedule(seat);
  }

  /** The node stands still, its clock does not; what is sent to it waits. */
  pause(id: NodeId, durationMs: number): void {
    const seat = this.seat(id);
    seat.pausedUntilMs = Math.max(seat.pausedUntilMs, this.nowMs + durationMs);
    seat.isStiff = true;
  }

  /** Ends a pause at once. */
  resume(id: NodeId): void {
    const seat = this.seat(id);
    seat.pausedUntilMs = this.nowMs;
    this.#schedule(seat);
  }

  /** The connection between two nodes breaks, and is made again at once. */
  reconnect(a: NodeId, b: NodeId): void {
    const one = this.seat(a);
    const other = this.seat(b);
    if (!one.isUp || !other.isUp) return;
    this.network.reset(a, b);
    this.network.reset(b, a);
    this.#connect(one, other);
  }

  /** Writes a line of its own into the trace. */
  remark(what: string): void {
    this.hash.text(what);
    this.#note({ kind: 'remark', what });
  }

  #connect(one: Seat, other: Seat): void {
    if (this.#pace.dropsOldFrames) {
      this.network.reset(one.id, other.id);
      this.network.reset(other.id, one.id);
    }
    one.connected.add(other.id);
    other.connected.add(one.id);
    this.#schedule(one);
    this.#schedule(other);
  }

  #step(): void {
    const atMs = this.#queue.nextMs;
    const event = defined(this.#queue.pop(), 'event');
    this.#eventsNow = atMs > this.nowMs ? 0 : this.#eventsNow + 1;
    assert(this.#eventsNow < EVENTS_AT_ONE_TIME_MAX, 'Time does not go on');
    this.nowMs = Math.max(this.nowMs, atMs);
    switch (event.kind) {
      case 'frame':
        return this.#arrive(event);
      case 'turn':
        return this.#turn(event.seat, event.stamp);
      case 'request':
        return this.#hand(event.to, event.ask);
      case 'answer':
        this.#count(4, event.ask.id);
        return event.ask.done(event.answer);
      case 'timer':
        return event.run();
      default:
        return unreachable(event);
    }
  }

  #count(kind: number, detail: number): void {
    this.events += 1;
    this.hash.number(this.nowMs);
    this.hash.number(kind);
    this.hash.number(detail);
  }

  #arrive({ from, to, frame, bytes }: Extract<Event, { readonly kind: 'frame' }>): void {
    const isLetIn = this.network.arrive(from, to, frame);
    const seat = this.seat(to);
    if (!isLetIn || !seat.isUp) return;
    this.#count(1, from * 256 + to);
    this.#note({ kind: 'frame', from, to, bytes });
    seat.frames.push({ from, bytes });
    this.#schedule(seat);
  }

  #hand(to: NodeId, ask: Ask): void {
    const seat = this.seat(to);
    this.#count(2, ask.id);
    if (!seat.isUp) return this.#answer(ask, REFUSED);
    this.#audience.submitted(ask.id, to, ask.request);
    this.#note({ kind: 'request', node: to, id: ask.id, request: ask.request });
    this.#asks.set(ask.id, ask);
    seat.open.add(ask.id);
    seat.requests.push(ask);
    this.#schedule(seat);
  }

  #answer(ask: Ask, answer: Answer): void {
    this.#queue.push(this.nowMs + this.#clientMs(), { kind: 'answer', ask, answer });
  }

  #clientMs(): number {
    return this.#pace.clientMs * (0.5 + this.#random.ratio());
  }

  #schedule(seat: Seat): void {
    const turnMs = seat.nextTurnMs(this.nowMs);
    // A later wish waits for the entry that is there: most timers are put off before they fire.
    if (turnMs >= seat.turnMs) return;
    seat.turnMs = turnMs;
    seat.stamp += 1;
    this.#queue.push(turnMs, { kind: 'turn', seat, stamp: seat.stamp });
  }

  #turn(seat: Seat, stamp: number): void {
    if (stamp !== seat.stamp || !seat.isUp) return;
    seat.turnMs = Infinity;
    if (seat.nextTurnMs(this.nowMs) > this.nowMs) return this.#schedule(seat);
    this.#count(3, seat.id);
    const isTimersOnly = seat.isStiff && this.#pace.timersFirst && seat.hasInput;
    seat.isStiff = false;
    const input = isTimersOnly
      ? { connected: [], frames: [], requests: [] }
      : { connected: [...seat.connected], frames: seat.frames, requests: seat.requests.map(plain) };
    if (!isTimersOnly) {
      seat.connected.clear();
      seat.frames = [];
      seat.requests = [];
    }
    const nowMs = seat.clock.read(this.nowMs);
    this.#note({ kind: 'turn', node: seat.id, ...input, isTimersOnly });
    const heardEverything = !isTimersOnly;
    this.#took(seat, this.#host.call(seat.id, { kind: 'turn', nowMs, heardEverything, ...input }));
  }

  #took(seat: Seat, result: HostResult): void {
    assert(result.kind !== 'done', 'A turn or a start says what came of it');
    this.#hashResult(result);
    this.#note({ kind: 'result', node: seat.id, result });
    for (const { to, bytes } of result.sent) this.#send(seat.id, to, bytes);
    for (const { id, reply } of result.replies) {
      this.#audience.replied(id, reply);
      seat.open.delete(id);
      const ask = this.#asks.get(id);
      this.#asks.delete(id);
      if (ask !== undefined) this.#answer(ask, reply);
    }
    if (result.kind === 'down') return this.#fell(seat, result, true);
    seat.sight = result.seen;
    seat.config = result.seen.raft.config;
    const { turnMs, turnJitterMs } = this.#pace;
    seat.busyUntilMs = this.nowMs + turnMs + seat.random.ratio() * turnJitterMs + result.diskMs;
    seat.wishMs = seat.clock.whenItShows(result.deadlineMs);
    this.#schedule(seat);
    this.#audience.observed(seat.id, result);
  }

  #hashResult(result: Exclude<HostResult, { readonly kind: 'done' }>): void {
    const { hash } = this;
    for (const { to, bytes } of result.sent) {
      hash.number(to);
      hash.bytes(bytes);
    }
    for (const { id, reply } of result.replies) {
      hash.number(id);
      hash.text(reply.kind);
    }
    if (result.kind === 'down') return hash.text(result.reason);
    const { raft, stateHash } = result.seen;
    hash.number(raft.term);
    hash.number(raft.vote);
    hash.number(raft.commit);
    hash.number(raft.last.index);
    hash.number(result.deadlineMs);
    if (result.seen.appended.length > 0 || result.replies.length > 0) hash.text(stateHash);
  }

  #send(from: NodeId, to: NodeId, bytes: Uint8Array): void {
    const { frame, arrivals } = this.network.send(from, to, bytes, this.nowMs);
    for (const arrival of arrivals)
      this.#queue.push(arrival.atMs, { kind: 'frame', from, to, frame, bytes: arrival.bytes });
  }

  #end(
    id: NodeId,
    call: { readonly kind: 'crash' | 'wipe' } | { readonly kind: 'cutPower'; readonly mode: CrashMode },
  ): void {
    const seat = this.seat(id);
    const result = this.#host.call(id, call);
    assert(result.kind === 'down', 'A node that was ended is down');
    if (!seat.isUp) return;
    this.#hashResult(result);
    this.#note({ kind: 'result', node: id, result });
    this.#fell(seat, result, false);
  }

  #fell(seat: Seat, result: Extract<HostResult, { readonly kind: 'down' }>, inTurn: boolean): void {
    const lost = [...seat.open];
    seat.clear();
    for (const id of lost) {
      const ask = this.#asks.get(id);
      this.#asks.delete(id);
      this.#audience.lost(id);
      if (ask !== undefined) this.#answer(ask, 'lost');
    }
    this.#audience.wentDown(seat.id, result, inTurn);
  }

  #note(event: TraceEvent): void {
    if (this.#trace === undefined) return;
    for (const line of describeTrace(this.nowMs, event)) this.#trace(line);
  }
}

/** What of a request goes to the node. */
function plain({ id, request, forward }: Waiting): Waiting {
  return { id, request, forward };
}
