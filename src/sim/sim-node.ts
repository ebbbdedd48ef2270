/**
 * One node of a simulation, whichever thread it lives on: the real `Node` over a disk that forgets. It carries out the
 * calls of the scheduler and tells everything that came of them. The disk outlives the node.
 */
import { AssertionError, assert, defined, unreachable } from '../lib/assert.ts';
import { CorruptionError, StorageError, messageOf } from '../lib/errors.ts';
import { Random } from '../lib/random.ts';
import { decodeFrame, encodeFrame } from '../net/codec.ts';
import type { Envelope, Reply } from '../net/protocol.ts';
import { Node } from '../node/node.ts';
import type { NodeId } from '../raft/entry.ts';
import { DataDirectory } from '../storage/data-directory.ts';
import type { FileSystem } from '../storage/fs.ts';
import { openStore } from '../storage/open-store.ts';
import { damage } from './damage.ts';
import { CrashFileSystem, type CrashMode, type Fault, PowerCut } from './disk.ts';
import {
  type Breaker,
  type DiskState,
  type DownCause,
  type Grant,
  HEALTHY_DISK,
  type HostCall,
  type HostResult,
  type NodePlan,
} from './host.ts';
import { Watcher } from './sight.ts';

const DIRECTORY = 'data';
const CLUSTER = 'simulation';

type Turn = Extract<HostCall, { readonly kind: 'turn' }>;

/** A place for a node: its disk, and the node while it runs. */
export class SimNode {
  readonly #breaker: Breaker;
  /** Of the disk: what survives a power cut. */
  readonly #random: Random;
  #fs = new CrashFileSystem();
  #disk: DiskState = HEALTHY_DISK;
  #capacityBytes = Infinity;
  #calls = 0;
  #node: Node | undefined;
  #watcher: Watcher | undefined;
  #life = 0;
  #isAwake = false;
  #turnMs = 0;
  #diskMs = 0;
  #sent: { readonly to: NodeId; readonly bytes: Uint8Array }[] = [];
  #replies: { readonly id: number; readonly reply: Reply }[] = [];
  #granted: Grant[] = [];
  #messages = 0;
  /** Requests without a reply. */
  readonly #open: Set<number> = new Set();

  /** @param seed of the run; every node draws from it under its own name */
  constructor(id: NodeId, seed: string, breaker: Breaker) {
    this.#breaker = breaker;
    this.#random = new Random(`${seed}/disk/${id}`);
  }

  /** Carries out one call. What the node throws is part of the result; a call that makes no sense is thrown. */
  call(call: HostCall): HostResult {
    switch (call.kind) {
      case 'start':
        return this.#attempt(() => this.#start(call.plan, call.life, call.nowMs));
      case 'turn':
        return this.#attempt(() => this.#turn(call));
      case 'crash':
        return this.#down('told', 'crashed');
      case 'cutPower':
        this.#losePower(call.mode);
        return this.#down('told', 'lost power');
      case 'wipe':
        this.#fs = new CrashFileSystem();
        return this.#down('told', 'was wiped');
      case 'disk':
        this.#setDisk(call.state);
        return { kind: 'done', what: 'the disk is changed' };
      case 'damage':
        assert(this.#node === undefined, 'Only the disk of a stopped node is damaged');
        return { kind: 'done', what: this.#damage() };
      default:
        return unreachable(call);
    }
  }

  #attempt(run: () => void): HostResult {
    this.#diskMs = 0;
    this.#isAwake = false;
    try {
      run();
    } catch (error) {
      if (error instanceof PowerCut) this.#losePower('any');
      return this.#down(causeOf(error), reasonOf(error));
    }
    return this.#up();
  }

  #start(plan: NodePlan, life: number, nowMs: number): void {
    assert(this.#node === undefined, 'The node runs already');
    this.#life = life;
    this.#turnMs = nowMs;
    const directory = DataDirectory.open({
      fs: this.#fs,
      path: DIRECTORY,
      cluster: CLUSTER,
      nodeId: plan.id,
      engine: plan.storage.kind,
      owner: { pid: plan.id, startedAt: life, token: 'simulation' },
      isAlive: () => false,
      newIncarnation: () => `n${plan.id}-${life}`,
    });
    const { rules, duties } = this.#breaker(plan.broken);
    const env = {
      fs: this.#fs,
      transport: {
        send: (to: NodeId, envelopes: readonly Envelope[]) => this.#send(life, to, envelopes),
      },
      openStore: (fs: FileSystem, path: string) => openStore({ fs, directory: path, choice: plan.storage }),
      random: new Random(`${plan.seed}/node/${plan.id}/${life}`),
      // A slow sync holds the thread up in the middle of a turn.
      nowMs: () => this.#turnMs + this.#diskMs,
      wake: () => {
        if (this.#life === life) this.#isAwake = true;
      },
      beforeSync: () => undefined,
    };
    const node = new Node(env, { ...plan, rules, duties, ...placeOf(directory) }, nowMs);
    this.#node = node;
    this.#watcher = new Watcher(node);
    this.#isAwake = true;
  }

  #turn(turn: Turn): void {
    const node = defined(this.#node, 'running node');
    this.#turnMs = turn.nowMs;
    for (const peer of turn.connected) node.connected(peer);
    for (const { from, bytes } of turn.frames)
      node.receive(from, defined(decodeFrame(bytes), 'a frame that can be read'));
    for (const { id, request, forward } of turn.requests) {
      this.#open.add(id);
      node.submit(request, { forward }, (reply) => {
        assert(this.#open.delete(id), `Request ${id} was answered twice`);
        this.#replies.push({ id, reply });
      });
    }
    this.#isAwake = false;
    node.turn(turn.nowMs, turn.heardEverything);
  }

  #send(life: number, to: NodeId, envelopes: readonly Envelope[]): void {
    if (life !== this.#life) return;
    this.#sent.push({ to, bytes: encodeFrame(envelopes) });
    for (const envelope of envelopes) {
      if (envelope.kind !== 'raft') continue;
      this.#messages += 1;
      const { message } = envelope;
      if (message.kind === 'voteReply' && message.granted && !message.pre)
        this.#granted.push({ term: message.term, candidate: message.to });
      if (message.kind === 'vote' && !message.pre)
        this.#granted.push({ term: message.term, candidate: message.from });
    }
  }

  #up(): HostResult {
    const node = defined(this.#node, 'running node');
    return {
      kind: 'up',
      ...this.#take(),
      deadlineMs: this.#isAwake ? this.#turnMs : node.deadlineMs,
      diskMs: this.#diskMs,
      events: node.takeEvents().events,
      seen: defined(this.#watcher, 'watcher').look(),
    };
  }

  #down(cause: DownCause, reason: string): HostResult {
    this.#node = undefined;
    this.#watcher = undefined;
    this.#life += 1; // what is left of the node may send nothing
    this.#open.clear();
    return { kind: 'down', reason, cause, ...this.#take() };
  }

  #take(): {
    readonly sent: readonly { readonly to: NodeId; readonly bytes: Uint8Array }[];
    readonly replies: readonly { readonly id: number; readonly reply: Reply }[];
    readonly granted: readonly Grant[];
    readonly messages: number;
  } {
    const taken = {
      sent: this.#sent,
      replies: this.#replies,
      granted: this.#granted,
      messages: this.#messages,
    };
    this.#sent = [];
    this.#replies = [];
    this.#granted = [];
    this.#messages = 0;
    return taken;
  }

  #losePower(mode: CrashMode): void {
    this.#fs = this.#fs.crash(this.#random, mode);
    this.#attach();
  }

  #damage(): string {
    this.#fs.intercept = undefined;
    const what = damage(this.#fs, DIRECTORY, this.#random);
    this.#attach();
    return what;
  }

  #setDisk(state: DiskState): void {
    this.#disk = state;
    this.#calls = 0;
    this.#capacityBytes = this.#fs.usedBytes + state.freeBytes;
    this.#attach();
  }

  /** Makes the disk at hand behave as it was told; a disk after a power cut is another object. */
  #attach(): void {
    const { faults, syncMs, lies } = this.#disk;
    this.#fs.capacityBytes = this.#capacityBytes;
    if (faults.length === 0 && syncMs === 0 && !lies) {
      this.#fs.intercept = undefined;
      return;
    }
    this.#fs.intercept = ({ kind }): Fault | undefined => {
      this.#calls += 1;
      const isSync = kind === 'sync' || kind === 'syncDirectory';
      if (isSync) this.#diskMs += syncMs;
      if (isSync && lies) return { kind: 'lie' };
      const due = this.#disk.faults.find((fault) =>
        fault.kind === undefined
          ? fault.atCall === this.#calls
          : fault.kind === kind && fault.atCall <= this.#calls,
      );
      if (due === undefined) return undefined;
      this.#disk = { ...this.#disk, faults: this.#disk.faults.filter((fault) => fault !== due) };
      return due.fault;
    };
  }
}

function placeOf({ incarnation }: DataDirectory): {
  readonly cluster: string;
  readonly directory: string;
  readonly incarnation: string;
} {
  return { cluster: CLUSTER, directory: DIRECTORY, incarnation };
}

function causeOf(error: unknown): DownCause {
  if (error instanceof PowerCut) return 'powerCut';
  if (error instanceof CorruptionError) return 'corruption';
  return error instanceof StorageError ? 'storage' : 'bug';
}

function reasonOf(error: unknown): string {
  if (error instanceof AssertionError) return `broke an assertion: ${error.message}`;
  return messageOf(error);
}
