/**
 * Several whole nodes in one thread under virtual time: their disks, the network between them, crashes and restarts
 * through the real recovery. It runs events in the order of their times and draws every chance from one seed; what
 * goes wrong and when is for whoever drives it.
 *
 * Frames are encoded and decoded as between real threads, so that nodes share no memory. A node is busy for a while
 * after each turn; what arrives meanwhile is in its next one.
 */
import { assert, at, defined } from '../../src/lib/assert.ts';
import { StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { decodeFrame, encodeFrame } from '../../src/net/codec.ts';
import type { Envelope, Reply, Request } from '../../src/net/protocol.ts';
import type { Duties } from '../../src/node/duties.ts';
import type { NodeOptions } from '../../src/node/env.ts';
import { Node } from '../../src/node/node.ts';
import type { RaftConfig } from '../../src/raft/config.ts';
import type { NodeId } from '../../src/raft/entry.ts';
import type { Rules } from '../../src/raft/rules.ts';
import { DataDirectory } from '../../src/storage/data-directory.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { type StorageChoice, openStore } from '../../src/storage/open-store.ts';
import { CrashFileSystem, type CrashMode, PowerCut } from '../../src/sim/disk.ts';
import { type WatchedEngine, WatchedStore } from './watched-store.ts';

export interface NodeNetworkOptions {
  readonly nodes: number;
  /** The voters that the cluster begins with; by default all nodes. */
  readonly voters?: readonly NodeId[];
  readonly seed: number | string;
  readonly raft?: Partial<RaftConfig>;
  readonly rules?: Rules;
  readonly duties?: Duties;
  readonly requestTimeoutMs?: number;
  readonly snapshotEntries?: number;
  readonly trailingEntries?: number;
  readonly segmentBytesMax?: number;
  readonly historyRevisions?: number;
  /** By default in memory. */
  readonly storage?: StorageChoice;
}

/** What a directed link does to frames. */
export interface LinkCondition {
  readonly blocked: boolean;
  /** Probability of losing a frame. */
  readonly loss: number;
  /** Probability that the node messages of a frame come a second time. Requests of clients never do: see {@link NodeNetwork}. */
  readonly duplicate: number;
  /** A frame takes up to this long. */
  readonly delayMsMax: number;
  /** Frames may overtake each other. */
  readonly reorder: boolean;
}

export const HEALTHY: LinkCondition = {
  blocked: false,
  loss: 0,
  duplicate: 0,
  delayMsMax: 1,
  reorder: false,
};

/** A request that was handed to a node. `order` numbers of the network tell which came first. */
export interface Submission {
  readonly node: NodeId;
  readonly request: Request;
  readonly beganOrder: number;
  /** Undefined while there is no answer; `lost`: the node crashed first. */
  outcome: Reply | 'lost' | undefined;
  endedOrder: number;
}

/** A node's place in the network: the node while it runs, its disk always. */
export class NodeHost {
  readonly id: NodeId;
  /** How often it was started. */
  life = 0;
  fs: CrashFileSystem = new CrashFileSystem();
  node: Node | undefined;
  engine: WatchedEngine | undefined;
  /** It takes no turn before this. */
  busyUntilMs = 0;
  /** Its thread stands in a call of its disk until then. */
  stalledUntilMs = 0;
  isAwake = false;
  /** Requests without an answer in this life. */
  readonly open: Set<Submission> = new Set();
  /** Why it went down. */
  reason = 'was never started';

  constructor(id: NodeId) {
    this.id = id;
  }

  get isUp(): boolean {
    return this.node !== undefined;
  }

  /** The running node. */
  get running(): Node {
    return defined(this.node, `running node ${this.id} (it ${this.reason})`);
  }

  get nextTurnMs(): number {
    if (this.node === undefined) return Infinity;
    return Math.max(this.busyUntilMs, this.isAwake ? 0 : this.node.deadlineMs);
  }
}

interface Frame {
  readonly atMs: number;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly bytes: Uint8Array;
}

const DIRECTORY = 'data';
const EVENTS_AT_ONE_TIME_MAX = 10_000;

/**
 * The network. A frame may be lost, late, overtaken and, as far as nodes talk to each other on their own account,
 * duplicated. Forwarded requests are not duplicated, and no transport does it: a write without a session would happen twice.
 */
export class NodeNetwork {
  readonly #hosts: NodeHost[] = [];
  nowMs = 0;
  /** Called for every value that a node puts into its engine. */
  onPut: (node: NodeId, key: string, value: Uint8Array) => void = () => undefined;
  /** Sees and may replace what a node sends; undefined loses it. */
  onSend: (from: NodeId, to: NodeId, envelopes: readonly Envelope[]) => readonly Envelope[] | undefined = (
    _from,
    _to,
    envelopes,
  ) => envelopes;
  /** Called after every turn that left the node running. */
  afterTurn: (host: NodeHost) => void = () => undefined;
  /** What is kept of a disk that loses power in the middle of a call. */
  crashMode: CrashMode = 'any';
  readonly #options: NodeNetworkOptions;
  readonly #random: Random;
  readonly #voters: readonly NodeId[];
  readonly #conditions: Map<string, LinkCondition> = new Map();
  readonly #lastArrivalMs: Map<string, number> = new Map();
  /** On their way, by arrival. */
  #frames: Frame[] = [];
  #order = 0;
  #eventsNow = 0;

  /** Starts all nodes. */
  constructor(options: NodeNetworkOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#voters = options.voters ?? Array.from({ length: options.nodes }, (_, i) => i + 1);
    for (let id = 1; id <= options.nodes; id++) this.#hosts.push(new NodeHost(id));
    for (const host of this.hosts) this.start(host.id);
  }

  get hosts(): readonly NodeHost[] {
    return this.#hosts;
  }

  /** Starts another node, which waits to be added. @returns its id */
  join(): NodeId {
    const id = this.#hosts.length + 1;
    this.#hosts.push(new NodeHost(id));
    this.start(id);
    return id;
  }

  host(id: NodeId): NodeHost {
    return at(this.hosts, id - 1);
  }

  get up(): readonly NodeHost[] {
    return this.hosts.filter((host) => host.isUp);
  }

  /** The leader of the highest term among running nodes. */
  get leader(): NodeHost | undefined {
    return this.up
      .filter((host) => host.running.status().raft.role === 'leader')
      .toSorted((a, b) => b.running.status().raft.term - a.running.status().raft.term)[0];
  }

  /** Sets the condition of the link in one direction. */
  link(from: NodeId, to: NodeId, condition: Partial<LinkCondition>): void {
    this.#conditions.set(`${from}-${to}`, { ...HEALTHY, ...condition });
  }

  /** Cuts every link between different groups, both ways, and repairs those within. */
  partition(groups: readonly (readonly NodeId[])[]): void {
    for (const { id: from } of this.hosts) {
      for (const { id: to } of this.hosts) {
        const isTogether = groups.some((group) => group.includes(from) && group.includes(to));
        this.link(from, to, { blocked: !isTogether });
      }
    }
  }

  /** Cuts one node off, both ways. */
  isolate(id: NodeId): void {
    this.partition([[id], this.hosts.map((host) => host.id).filter((other) => other !== id)]);
  }

  /** Repairs every link. */
  heal(): void {
    this.#conditions.clear();
  }

  /**
   * Starts a node from its disk.
   *
   * @returns whether it runs; not when the disk refused or lost power meanwhile. Whatever else is wrong is thrown
   */
  start(id: NodeId): boolean {
    const host = this.host(id);
    assert(!host.isUp, 'The node runs already');
    host.life += 1;
    try {
      host.node = this.#open(host);
    } catch (error) {
      this.#down(host, error);
      return false;
    }
    host.isAwake = true;
    for (const other of this.up) {
      if (other === host) continue;
      other.running.connected(id);
      host.running.connected(other.id);
    }
    return true;
  }

  /** The process ends: memory gone, disk as it is. */
  crash(id: NodeId): void {
    this.#end(this.host(id), 'crashed');
  }

  /** The power goes: memory gone, and what the disk had not synced. */
  cutPower(id: NodeId, mode: CrashMode = 'any'): void {
    const host = this.host(id);
    this.#end(host, 'lost power');
    host.fs = host.fs.crash(this.#random, mode);
  }

  /** The process ends and the data directory is gone. */
  wipe(id: NodeId): void {
    const host = this.host(id);
    this.#end(host, 'was wiped');
    host.fs = new CrashFileSystem();
  }

  /** The node takes no turn for a while; what is sent to it waits. */
  freeze(id: NodeId, untilMs: number): void {
    const host = this.host(id);
    host.busyUntilMs = Math.max(host.busyUntilMs, untilMs);
  }

  /** Called in a call of a node's disk: it takes until then, and what the turn still does happens afterwards. */
  stall(id: NodeId, untilMs: number): void {
    this.host(id).stalledUntilMs = untilMs;
    this.freeze(id, untilMs);
  }

  /** Hands a request to a running node. */
  submit(id: NodeId, request: Request, forward = true): Submission {
    const host = this.host(id);
    const submission: Submission = {
      node: id,
      request,
      beganOrder: this.#order++,
      outcome: undefined,
      endedOrder: Infinity,
    };
    host.open.add(submission);
    host.running.submit(request, { forward }, (reply) => {
      assert(submission.outcome === undefined, `Request ${request.kind} was answered twice`);
      this.#settle(host, submission, reply);
    });
    return submission;
  }

  /** Runs events up to `untilMs`. */
  run(untilMs: number): void {
    while (this.#step(untilMs));
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** Runs until `isDone`, looking after every event. @returns false when it is not by `withinMs` from now */
  runUntil(isDone: () => boolean, withinMs: number): boolean {
    const untilMs = this.nowMs + withinMs;
    while (!isDone()) if (!this.#step(untilMs)) return false;
    return true;
  }

  /** Hands a request to a node and runs until it is answered. */
  ask(id: NodeId, request: Request, withinMs = 20_000): Reply {
    const submission = this.submit(id, request);
    this.runUntil(() => submission.outcome !== undefined, withinMs);
    const { outcome } = submission;
    assert(outcome !== undefined && outcome !== 'lost', `No answer of n${id} to ${request.kind}`);
    return outcome;
  }

  #open(host: NodeHost): Node {
    const { id, life } = host;
    const directory = DataDirectory.open({
      fs: host.fs,
      path: DIRECTORY,
      cluster: 'test',
      nodeId: id,
      engine: this.#options.storage?.kind,
      owner: { pid: id, startedAt: life, token: 'test' },
      isAlive: () => false,
      newIncarnation: () => `n${id}-${life}`,
    });
    const { raft, rules, duties, segmentBytesMax, trailingEntries, historyRevisions } = this.#options;
    const options: NodeOptions = {
      id,
      voters: this.#voters.includes(id) ? this.#voters : [],
      cluster: 'test',
      incarnation: directory.incarnation,
      directory: DIRECTORY,
      requestTimeoutMs: this.#options.requestTimeoutMs ?? 2000,
      snapshotEntries: this.#options.snapshotEntries ?? 100_000,
      ...(raft === undefined ? {} : { raft }),
      ...(rules === undefined ? {} : { rules }),
      ...(duties === undefined ? {} : { duties }),
      ...(trailingEntries === undefined ? {} : { trailingEntries }),
      ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }),
      ...(historyRevisions === undefined ? {} : { historyRevisions }),
    };
    const { storage: choice = { kind: 'memory' } } = this.#options;
    const env = {
      fs: host.fs,
      transport: {
        send: (to: NodeId, envelopes: readonly Envelope[]) => {
          if (host.life === life) this.#send(id, to, envelopes);
        },
      },
      openStore: (fs: FileSystem, path: string) => {
        const store = new WatchedStore(openStore({ fs, directory: path, choice }), (key, value) =>
          this.onPut(id, key, value),
        );
        host.engine = store.engine;
        return store;
      },
      random: new Random(`${this.#options.seed}/${id}/${life}`),
      nowMs: () => Math.max(this.nowMs, host.stalledUntilMs),
      wake: () => {
        if (host.life === life) host.isAwake = true;
      },
      beforeSync: () => undefined,
    };
    return new Node(env, options, this.nowMs);
  }

  /** Runs the next event, a frame's arrival or a turn. @returns false when there is none up to `untilMs` */
  #step(untilMs: number): boolean {
    const host = this.#nextHost();
    const turnMs = host.nextTurnMs;
    const frame = this.#frames[0];
    const isFrame = frame !== undefined && frame.atMs <= turnMs;
    const atMs = Math.max(this.nowMs, isFrame ? frame.atMs : turnMs);
    if (atMs > untilMs) return false;
    this.#eventsNow = atMs > this.nowMs ? 0 : this.#eventsNow + 1;
    assert(this.#eventsNow < EVENTS_AT_ONE_TIME_MAX, 'Time does not go on');
    this.nowMs = atMs;
    if (isFrame) this.#arrive(frame);
    else this.#turn(host);
    return true;
  }

  #arrive(frame: Frame): void {
    this.#frames.shift();
    const envelopes = defined(decodeFrame(frame.bytes), 'a frame that can be read');
    if (this.#condition(frame.from, frame.to).blocked) return;
    this.host(frame.to).node?.receive(frame.from, envelopes);
  }

  #turn(host: NodeHost): void {
    host.isAwake = false;
    try {
      host.running.turn(this.nowMs);
    } catch (error) {
      this.#down(host, error);
      return;
    }
    host.busyUntilMs = Math.max(host.busyUntilMs, this.nowMs + 0.05 + this.#random.ratio() * 0.5);
    this.afterTurn(host);
  }

  #nextHost(): NodeHost {
    let next = at(this.hosts, 0);
    let nextMs = next.nextTurnMs;
    for (const host of this.hosts) {
      const turnMs = host.nextTurnMs;
      if (turnMs < nextMs) {
        next = host;
        nextMs = turnMs;
      }
    }
    return next;
  }

  #send(from: NodeId, to: NodeId, all: readonly Envelope[]): void {
    const envelopes = this.onSend(from, to, all);
    const { blocked, loss, duplicate } = this.#condition(from, to);
    if (envelopes === undefined || blocked || this.#random.chance(loss)) return;
    this.#carry(from, to, envelopes);
    if (!this.#random.chance(duplicate)) return;
    const own = envelopes.filter(({ kind }) => kind !== 'forward' && kind !== 'forwarded');
    if (own.length > 0) this.#carry(from, to, own);
  }

  #carry(from: NodeId, to: NodeId, envelopes: readonly Envelope[]): void {
    const { delayMsMax, reorder } = this.#condition(from, to);
    const link = `${from}-${to}`;
    const earliestMs = reorder ? 0 : (this.#lastArrivalMs.get(link) ?? 0);
    const sentMs = Math.max(this.nowMs, this.host(from).stalledUntilMs);
    const atMs = Math.max(earliestMs, sentMs + 0.02 + this.#random.ratio() * delayMsMax);
    this.#lastArrivalMs.set(link, Math.max(atMs, this.#lastArrivalMs.get(link) ?? 0));
    const frame: Frame = { atMs, from, to, bytes: encodeFrame(envelopes) };
    let i = this.#frames.length;
    while (i > 0 && at(this.#frames, i - 1).atMs > atMs) i -= 1;
    this.#frames.splice(i, 0, frame);
  }

  #condition(from: NodeId, to: NodeId): LinkCondition {
    return this.#conditions.get(`${from}-${to}`) ?? HEALTHY;
  }

  /** A node went down by what its disk did. Anything else is a bug. */
  #down(host: NodeHost, error: unknown): void {
    if (error instanceof PowerCut) {
      this.#end(host, 'lost power in a call');
      host.fs = host.fs.crash(this.#random, this.crashMode);
    } else if (error instanceof StorageError) this.#end(host, `stopped: ${error.message}`);
    else throw error;
  }

  #end(host: NodeHost, reason: string): void {
    host.node = undefined;
    host.engine = undefined;
    host.reason = reason;
    host.isAwake = false;
    host.busyUntilMs = this.nowMs;
    host.stalledUntilMs = 0;
    for (const submission of host.open) this.#settle(host, submission, 'lost');
  }

  #settle(host: NodeHost, submission: Submission, outcome: Reply | 'lost'): void {
    host.open.delete(submission);
    submission.outcome = outcome;
    submission.endedOrder = this.#order++;
  }
}
