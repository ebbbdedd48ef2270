/**
 * Several real Raft cores in one thread under virtual time: their disks, the network between them, their clients.
 * Nothing happens by itself: whoever drives it (a script, a test, a random run) delivers, drops, persists and ticks.
 * The invariants are checked after every step.
 *
 * A disk holds what was persisted. A crash loses the writes that were given and not yet persisted, in order from the
 * newest. A snapshot is a position and the list of what was applied up to it.
 *
 * What the disk of a witness holds is shown with the commands that its stubs stand for, so that all logs are compared.
 */
import { assert, at, defined, unreachable } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { RaftConfig } from '../../src/raft/config.ts';
import {
  type Entry,
  type LogIndex,
  type NodeId,
  type Term,
  makeEntry,
  stubsOf,
} from '../../src/raft/entry.ts';
import type {
  Event,
  HardState,
  Input,
  LogPosition,
  Message,
  Outcome,
  Output,
  ReadMode,
  RaftStatus,
  Refusal,
  Write,
} from '../../src/raft/messages.ts';
import {
  type Config,
  type MemberChange,
  bootstrapConfig,
  decodeConfig,
  describeConfig,
} from '../../src/raft/membership.ts';
import { Raft } from '../../src/raft/raft.ts';
import { RULES, type Rules } from '../../src/raft/rules.ts';
import { HashedLog, type HashedPosition } from './hashed-log.ts';
import type { Loss } from './raft-loss.ts';
import { Invariants, type ObservedNode, fail } from './raft-invariants.ts';
import { Stubs } from './raft-stubs.ts';

/** A node's snapshot: everything applied up to a position. */
export interface Snapshot {
  readonly position: HashedPosition;
  readonly config: Config;
  readonly applied: readonly Entry[];
}

/** Something on its way. A `report` tells the sender of a snapshot what became of it; it travels so that it can be late. */
export type Packet = {
  readonly from: NodeId;
  readonly to: NodeId;
  /** Life of the receiver for which a report is meant; others ignore it. */
} & (
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'snapshot'; readonly term: Term; readonly snapshot: Snapshot }
  | { readonly kind: 'report'; readonly ok: boolean; readonly life: number }
);

/** A client's request and what it was told. */
export interface Request {
  readonly id: number;
  readonly node: NodeId;
  readonly kind: 'propose' | 'read' | 'change' | 'transfer';
  readonly name: string;
  /** For a read: what was committed when it began. */
  readonly committedBefore: LogIndex;
  outcome: Outcome | undefined;
}

/** What happened, for a trace. */
export type Happening =
  | { readonly kind: 'sent'; readonly packet: Packet; readonly lost: boolean }
  | { readonly kind: 'event'; readonly node: NodeId; readonly event: Event }
  | { readonly kind: 'outcome'; readonly node: NodeId; readonly request: Request }
  | { readonly kind: 'applied'; readonly node: NodeId; readonly entries: readonly Entry[] }
  | { readonly kind: 'writing'; readonly node: NodeId; readonly write: Write }
  | { readonly kind: 'persisted'; readonly node: NodeId; readonly seq: number }
  | { readonly kind: 'lost'; readonly node: NodeId; readonly writes: number };

/** What a node's disk holds before the first start. */
export interface InitialDisk {
  /** At least the last term of the log. */
  readonly term?: Term;
  readonly vote?: NodeId;
  /** The term of each entry; equal positions hold equal commands. */
  readonly terms?: readonly Term[];
}

export interface NetworkOptions {
  readonly nodes: number;
  readonly seed: number | string;
  readonly config?: Partial<RaftConfig>;
  /** How fast the clock of a node runs; 1 by default. */
  readonly rates?: ReadonlyMap<NodeId, number>;
  /** By node, over `config`. */
  readonly priorities?: ReadonlyMap<NodeId, number>;
  readonly rules?: Rules;
  /** The voters that the cluster begins with; default: all nodes. */
  readonly voters?: readonly NodeId[];
  /** Nodes that are witnesses, whether the cluster begins with them or they wait to be added. */
  readonly witnesses?: readonly NodeId[];
  readonly disks?: ReadonlyMap<NodeId, InitialDisk>;
  readonly onHappening?: (happening: Happening) => void;
}

/** A node's place in the network: the core while it runs, its disk always. */
export class RaftNode implements ObservedNode {
  readonly id: NodeId;
  readonly isWitness: boolean;
  life = 0;
  raft: Raft | undefined;
  memory: HashedLog = new HashedLog();
  readonly disk: { hard: HardState; log: HashedLog; snapshot: Snapshot };
  /** Writes given and not yet persisted. */
  writes: Write[] = [];
  /** Committed entries that wait for the write they came with. */
  waiting: { readonly seq: number; readonly entries: readonly Entry[] }[] = [];
  givenSeq = 0;
  applied: Entry[] = [];
  /** Snapshots that arrived, by position. */
  readonly arrived: Map<string, Snapshot> = new Map();
  /** Its writes persist only when told. */
  isHeld = false;
  /** Its timers do not fire. */
  isFrozen = false;
  /** What its disk has lost. */
  loss: Loss | undefined;

  constructor(id: NodeId, isWitness: boolean) {
    this.id = id;
    this.isWitness = isWitness;
    const position = { index: 0, term: 0, hash: 0 };
    this.disk = {
      hard: { term: 0, vote: 0, commit: 0 },
      log: new HashedLog(),
      snapshot: { position, config: bootstrapConfig([]), applied: [] },
    };
  }

  get status(): RaftStatus | undefined {
    return this.raft?.status;
  }

  /** The running core. */
  get core(): Raft {
    return defined(this.raft, `running node ${this.id}`);
  }
}

export class RaftNetwork {
  readonly nodes: readonly RaftNode[];
  readonly invariants: Invariants;
  readonly requests: Request[] = [];
  readonly #byName: Map<string, Request> = new Map();
  readonly #stubs: Stubs = new Stubs();
  /** Everything on its way, oldest first. Whoever drives may take out, copy and reorder. */
  packets: Packet[] = [];
  /** Whether a packet that is being sent is lost. */
  isCut: (packet: Packet) => boolean = () => false;
  nowMs = 0;
  readonly #options: NetworkOptions;
  readonly #onHappening: (happening: Happening) => void;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#onHappening = options.onHappening ?? (() => undefined);
    this.nodes = Array.from(
      { length: options.nodes },
      (_, i) => new RaftNode(i + 1, options.witnesses?.includes(i + 1) ?? false),
    );
    this.invariants = new Invariants(this.nodes);
    for (const node of this.nodes) {
      this.#format(node, options.disks?.get(node.id) ?? {});
      this.restart(node.id);
    }
  }

  node(id: NodeId): RaftNode {
    return at(this.nodes, id - 1);
  }

  get running(): readonly RaftNode[] {
    return this.nodes.filter((node) => node.raft !== undefined);
  }

  /** The leader of the highest term among running nodes. */
  get leader(): RaftNode | undefined {
    return this.running
      .filter((node) => node.core.isLeader)
      .toSorted((a, b) => b.core.status.term - a.core.status.term)[0];
  }

  /** Gives a running node inputs in one turn: several steps, then everything it has to say. */
  step(id: NodeId, ...inputs: readonly Input[]): void {
    const node = this.node(id);
    for (const input of inputs) node.core.step(this.#clock(node), input);
    this.#drain(node);
  }

  /** Hands packets over, in one turn for each run of packets to the same node. Those to a node that is down are lost. */
  deliver(packets: readonly Packet[]): void {
    this.packets = this.packets.filter((packet) => !packets.includes(packet));
    for (let i = 0; i < packets.length;) {
      const { to } = at(packets, i);
      const node = this.node(to);
      const inputs: Input[] = [];
      for (; i < packets.length && at(packets, i).to === to; i++)
        inputs.push(...this.#arrive(node, at(packets, i)));
      if (inputs.length > 0) this.step(to, ...inputs);
    }
  }

  /** Loses packets on their way. The sender of a snapshot is told; a report itself is the host's own and is not lost. */
  drop(packets: readonly Packet[]): void {
    this.packets = this.packets.filter((packet) => packet.kind === 'report' || !packets.includes(packet));
    for (const packet of packets) if (packet.kind === 'snapshot') this.#report(packet, false);
  }

  /** When the timer of a running node fires, on the clock of the network. */
  deadlineMs(node: RaftNode): number {
    const { deadlineMs } = node.core;
    const atMs = deadlineMs / this.#rate(node);
    // Rounding must not make it early, or the timer would not fire.
    return atMs * this.#rate(node) < deadlineMs ? atMs * (1 + Number.EPSILON) : atMs;
  }

  /** Fires the timers of every running node up to `untilMs`, in order; `then` runs after each. */
  advance(untilMs: number, then: () => void = () => undefined): void {
    for (;;) {
      const due = this.running
        .filter((node) => !node.isFrozen && this.deadlineMs(node) <= untilMs)
        .toSorted((a, b) => this.deadlineMs(a) - this.deadlineMs(b) || a.id - b.id)[0];
      if (due === undefined) break;
      this.nowMs = Math.max(this.nowMs, this.deadlineMs(due));
      this.step(due.id, { kind: 'tick' });
      then();
    }
    this.nowMs = untilMs;
  }

  /** Proposes `name` as a command, which must be unlike all others. */
  propose(id: NodeId, ...names: readonly string[]): void {
    const requests = names.map((name) => this.#request(id, 'propose', name));
    const proposals = requests.map((request) => ({ id: request.id, payload: utf8(request.name) }));
    this.step(id, { kind: 'propose', proposals });
  }

  /** Asks a node to change the members. */
  changeMembers(id: NodeId, name: string, ...changes: readonly MemberChange[]): void {
    this.step(id, { kind: 'changeMembers', id: this.#request(id, 'change', name).id, changes });
  }

  read(id: NodeId, ...names: readonly string[]): void {
    this.readBy('index', id, ...names);
  }

  readBy(mode: ReadMode, id: NodeId, ...names: readonly string[]): void {
    const ids = names.map((name) => this.#request(id, 'read', name).id);
    this.step(id, { kind: 'read', ids, mode });
  }

  /** Asks a node to hand its leadership to another, 0 for whoever is best prepared. */
  transfer(id: NodeId, name: string, to: NodeId): void {
    this.step(id, { kind: 'transfer', id: this.#request(id, 'transfer', name).id, to });
  }

  request(name: string): Request {
    return defined(this.#byName.get(name), `request ${name}`);
  }

  /** Makes the oldest `count` writes of a node durable and tells its core. */
  persist(id: NodeId, count = Infinity): void {
    const node = this.node(id);
    let last = 0;
    for (let left = Math.min(count, node.writes.length); left > 0; left--) {
      last = this.#write(node);
      this.#applyUpTo(node, last);
    }
    if (last === 0) return;
    this.#onHappening({ kind: 'persisted', node: id, seq: last });
    node.core.step(this.#clock(node), { kind: 'persisted', seq: last });
    this.#drain(node);
  }

  /** The disk of a node fails: what it was given is lost, and it says so. */
  failDisk(id: NodeId): void {
    const node = this.node(id);
    node.writes = [];
    node.waiting = [];
    this.step(id, { kind: 'persistFailed' });
  }

  /** Kills a node. Of its unpersisted writes the oldest `kept` reached the disk all the same. */
  crash(id: NodeId, kept = 0): void {
    const node = this.node(id);
    for (let left = Math.min(kept, node.writes.length); left > 0; left--) this.#write(node);
    this.#onHappening({ kind: 'lost', node: id, writes: node.writes.length });
    // Nobody will answer these any more; the client learns that its connection broke.
    for (const request of this.requests)
      if (request.node === id && request.outcome === undefined)
        request.outcome = { id: request.id, ok: false, reason: { kind: 'lostLeadership', mayCommit: true } };
    node.raft = undefined;
    node.writes = [];
    node.waiting = [];
    node.givenSeq = 0;
    node.applied = [];
    node.arrived.clear();
    node.isFrozen = false;
  }

  /** Starts a node from what its disk holds. */
  restart(id: NodeId): void {
    const node = this.node(id);
    assert(node.raft === undefined, 'The node is running');
    const { hard, log, snapshot } = node.disk;
    const { witnesses = [] } = this.#options;
    const voters = this.#options.voters ?? this.nodes.map((other) => other.id);
    const founders = {
      ...bootstrapConfig(voters),
      witnesses: witnesses.filter((each) => voters.includes(each)),
    };
    node.life += 1;
    node.memory = log.copy();
    node.raft = new Raft({
      id,
      voters,
      baseConfig: snapshot.position.index === 0 ? founders : snapshot.config,
      nowMs: this.#clock(node),
      hard,
      abstainBelow: node.loss?.told,
      base: { index: log.base.index, term: log.base.term },
      entries: node.isWitness ? stubsOf(log.entries, Infinity) : log.entries,
      random: new Random(`${this.#options.seed}/n${id}/${node.life}`),
      config: this.#configOf(id),
      rules: this.#options.rules ?? RULES,
    });
    node.applied = [...snapshot.applied];
    // A core that claims more than its snapshot makes the state machine replay the log's tail.
    this.#apply(
      node,
      log.entries.filter((entry) => entry.index <= node.core.status.applied),
    );
    this.#drain(node);
  }

  /** The host takes a snapshot at `index` and lets the log before it go. */
  compact(id: NodeId, index: LogIndex): void {
    const node = this.node(id);
    const { log, snapshot } = node.disk;
    const to = Math.min(index, node.applied.length);
    // A snapshot that is being written may have overtaken it.
    if (to <= snapshot.position.index || to < node.core.status.first - 1) return;
    const term = defined(log.termAt(to), 'term of an applied entry');
    const hash = defined(log.hashAt(to), 'hash of an applied entry');
    const config = node.core.configAt(to);
    node.disk.snapshot = { position: { index: to, term, hash }, config, applied: node.applied.slice(0, to) };
    this.#stubs.keep(node.disk.snapshot);
    log.compact(to);
    node.memory.compact(to);
    this.step(id, { kind: 'compact', index: to });
  }

  #rate(node: RaftNode): number {
    return this.#options.rates?.get(node.id) ?? 1;
  }

  #clock(node: RaftNode): number {
    return this.nowMs * this.#rate(node);
  }

  #configOf(id: NodeId): Partial<RaftConfig> {
    const config = this.#options.config ?? {};
    const priority = this.#options.priorities?.get(id);
    const { isWitness: witness } = this.node(id);
    return priority === undefined ? { ...config, witness } : { ...config, witness, priority };
  }

  #format(node: RaftNode, initial: InitialDisk): void {
    const terms = initial.terms ?? [];
    for (const [i, term] of terms.entries()) {
      const index = i + 1;
      node.disk.log.push(makeEntry({ term, index, kind: 'command', payload: utf8(`${index}@${term}`) }));
    }
    const term = Math.max(initial.term ?? 0, terms.at(-1) ?? 0);
    node.disk.hard = { term, vote: initial.vote ?? 0, commit: 0 };
    node.memory = node.disk.log;
    this.#stubs.note(node.disk.log.entries);
    this.invariants.appended(node, node.disk.log.entries);
  }

  #request(node: NodeId, kind: Request['kind'], name: string): Request {
    assert(!this.#byName.has(name), `A request named ${name} was made before`);
    const committedBefore = this.invariants.committed;
    const request: Request = {
      id: this.requests.length + 1,
      node,
      kind,
      name,
      committedBefore,
      outcome: undefined,
    };
    this.requests.push(request);
    this.#byName.set(name, request);
    return request;
  }

  #arrive(node: RaftNode, packet: Packet): readonly Input[] {
    if (node.raft === undefined) {
      if (packet.kind === 'snapshot') this.#report(packet, false);
      return [];
    }
    switch (packet.kind) {
      case 'message':
        return [{ kind: 'message', message: packet.message }];
      case 'snapshot': {
        const { from, term, snapshot } = packet;
        const { position } = snapshot;
        node.arrived.set(key(position), snapshot);
        this.#report(packet, true);
        return [
          {
            kind: 'snapshotArrived',
            snapshot: {
              from,
              term,
              position: { index: position.index, term: position.term },
              config: snapshot.config,
            },
          },
        ];
      }
      case 'report':
        return packet.life === node.life ? [{ kind: 'snapshotSent', peer: packet.from, ok: packet.ok }] : [];
      default:
        return unreachable(packet);
    }
  }

  #report(packet: Packet, ok: boolean): void {
    const sender = this.node(packet.from);
    this.packets.push({ kind: 'report', from: packet.to, to: packet.from, ok, life: sender.life });
  }

  #drain(node: RaftNode): void {
    const raft = node.core;
    for (let output = raft.drain(); output !== undefined; output = raft.drain()) this.#carryOut(node, output);
    const { status } = raft;
    assert(status.last.index === node.memory.last.index, 'The writes of a core do not describe its log');
    this.invariants.turned(node);
  }

  #carryOut(node: RaftNode, output: Output): void {
    if (output.write !== undefined) this.#given(node, output.write);
    for (const event of output.events) {
      this.#onHappening({ kind: 'event', node: node.id, event });
      this.invariants.event(node, event);
    }
    for (const message of output.send) {
      this.invariants.sent(node, message);
      this.#send({ kind: 'message', from: node.id, to: message.to, message });
    }
    for (const to of output.snapshotTo) {
      const { snapshot } = node.disk;
      this.#send({ kind: 'snapshot', from: node.id, to, term: node.core.status.term, snapshot });
    }
    for (const outcome of output.outcomes) this.#settle(node, outcome);
    if (output.apply.length > 0) node.waiting.push({ seq: node.givenSeq, entries: output.apply });
    if (!node.isHeld) this.persist(node.id);
    if (node.writes.length === 0) this.#applyUpTo(node, node.givenSeq);
  }

  /** A core gave out a write: its log, as the checker knows it, follows. */
  #given(node: RaftNode, given: Write): void {
    this.invariants.kept(node, given.append?.entries ?? []);
    this.#stubs.note(given.append?.entries ?? []);
    const write = node.isWitness ? this.#stubs.filledWrite(given) : given;
    node.givenSeq = write.seq;
    node.writes.push(write);
    if (node.isWitness && write.snapshot !== undefined) {
      const { position } = write.snapshot;
      node.arrived.set(key(position), this.#stubs.beginning(position));
    }
    node.memory.write(write, (position) => this.#snapshotHash(node, position));
    this.invariants.appended(node, write.append?.entries ?? []);
    if (node.isHeld) this.#onHappening({ kind: 'writing', node: node.id, write });
  }

  #send(packet: Packet): void {
    const lost = this.isCut(packet);
    this.#onHappening({ kind: 'sent', packet, lost });
    if (!lost) this.packets.push(packet);
    else if (packet.kind === 'snapshot') this.#report(packet, false);
  }

  #settle(node: RaftNode, outcome: Outcome): void {
    const request = at(this.requests, outcome.id - 1);
    if (request.outcome !== undefined) fail('One Outcome', `request ${request.name} was answered twice`);
    request.outcome = outcome;
    if (outcome.ok && outcome.kind === 'readable' && outcome.index < request.committedBefore)
      fail(
        'Linearizable Read',
        `${request.name} reads at ${outcome.index}, but ${request.committedBefore} was committed before it began`,
      );
    if (outcome.ok && outcome.kind === 'committed') {
      const entry = node.memory.entryAt(outcome.index);
      const isTheirs =
        request.kind === 'change'
          ? entry?.kind === 'config'
          : entry !== undefined && text(entry) === request.name;
      if (entry !== undefined && !isTheirs)
        fail(
          'Honest Outcome',
          `${request.name} is said to be committed at ${outcome.index}, where ${text(entry)} is`,
        );
    }
    this.#onHappening({ kind: 'outcome', node: node.id, request });
  }

  /** Performs a node's oldest write. @returns its number */
  #write(node: RaftNode): number {
    const write = defined(node.writes.shift(), 'a write');
    const { disk } = node;
    if (write.snapshot !== undefined) {
      const snapshot = defined(node.arrived.get(key(write.snapshot.position)), 'a snapshot that arrived');
      disk.snapshot = snapshot;
      if (snapshot.applied.length < node.applied.length)
        fail(
          'Monotonic',
          `a snapshot puts n${node.id} back from ${node.applied.length} to ${snapshot.applied.length}`,
        );
      node.applied = [...snapshot.applied];
      node.raft?.step(this.#clock(node), { kind: 'applied', index: write.snapshot.position.index });
    }
    disk.log.write(write, (position) => this.#snapshotHash(node, position));
    disk.hard = write.hard ?? disk.hard;
    this.invariants.wrote(node);
    return write.seq;
  }

  #snapshotHash(node: RaftNode, position: LogPosition): number {
    return defined(node.arrived.get(key(position)), 'a snapshot that arrived').position.hash;
  }

  #applyUpTo(node: RaftNode, seq: number): void {
    const ready = node.waiting.filter((waiting) => waiting.seq <= seq);
    node.waiting = node.waiting.filter((waiting) => waiting.seq > seq);
    for (const { entries } of ready) this.#apply(node, entries);
  }

  #apply(node: RaftNode, handed: readonly Entry[]): void {
    const entries = node.isWitness ? this.#stubs.filled(handed) : handed;
    for (const entry of entries) {
      assert(entry.index === node.applied.length + 1, 'Entries are applied in order');
      node.applied.push(entry);
      this.invariants.applied(node, entry);
      const request = this.#byName.get(text(entry));
      if (request !== undefined && isCertainRefusal(request))
        fail('Honest Outcome', `${request.name} was refused and is applied`);
    }
    const last = entries.at(-1);
    if (last === undefined) return;
    this.#onHappening({ kind: 'applied', node: node.id, entries: handed });
    node.raft?.step(this.#clock(node), { kind: 'applied', index: last.index });
  }
}

/** The command of an entry as text. */
export function text(entry: Entry): string {
  if (entry.kind === 'noop') return 'no-op';
  if (entry.kind === 'stub') return 'stub';
  const config = entry.kind === 'config' ? decodeConfig(entry.payload) : undefined;
  return config === undefined ? Buffer.from(entry.payload).toString() : `[${describeConfig(config)}]`;
}

/** Whether a refusal says that the request certainly had no effect. */
export function isCertain(reason: Refusal): boolean {
  return reason.kind !== 'lostLeadership' || !reason.mayCommit;
}

function isCertainRefusal({ kind, outcome }: Request): boolean {
  return kind === 'propose' && outcome !== undefined && !outcome.ok && isCertain(outcome.reason);
}

function key(position: LogPosition): string {
  return `${position.index}@${position.term}`;
}
