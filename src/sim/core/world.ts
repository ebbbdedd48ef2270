/**
 * The world of a simulated run: replicas, disks, links and time. It carries each event to the core that it concerns,
 * carries out what the core says, and shows everything to the checker. It does nothing by itself: clients, nemesis and
 * healing act through its methods.
 */
import { assert, at, defined, unreachable } from '../../lib/assert.ts';
import { Random } from '../../lib/random.ts';
import type { Entry, LogIndex, NodeId, Term } from '../../raft/entry.ts';
import { type MemberChange, bootstrapConfig } from '../../raft/membership.ts';
import type { Event, Input, Message, Outcome, Output, Write } from '../../raft/messages.ts';
import { Raft } from '../../raft/raft.ts';
import type { Rules } from '../../raft/rules.ts';
import { CoreChecker } from './checker.ts';
import type { ModelSnapshot } from './model-log.ts';
import { SimNode } from './node.ts';
import { Observer } from './observer.ts';
import type { CorePlan } from './plan.ts';
import { Post } from './post.ts';
import type { SimEvent } from './queue.ts';
import { type Request, Requests } from './requests.ts';
import { Stability } from './stability.ts';
import { Stubs } from './stubs.ts';
import { Timeline } from './timeline.ts';
import { eventText, messageText, outcomeText } from './trace.ts';
import { violated } from './violation.ts';

/** Whoever wants to act at a moment that the core itself chooses. */
export interface Watcher {
  /** A node has sent something, and the rest of what it said is not carried out yet. @returns true to have it crash now */
  sent(node: SimNode, message: Message): boolean;
  /** A core told what happened in it. @returns true to have it crash once it has sent what it said */
  event(node: SimNode, event: Event): boolean;
}

export class World {
  readonly plan: CorePlan;
  readonly nodes: readonly SimNode[];
  readonly post: Post;
  readonly time: Timeline;
  readonly checker: CoreChecker;
  readonly observer: Observer;
  readonly requests: Requests = new Requests();
  readonly watchers: Set<Watcher> = new Set();
  readonly trace: ((line: string) => void) | undefined;
  /** How late timers come, at most. */
  timerLateMs = 0;
  /** Chance that a disk keeps a report for the next one. */
  reportLateness = 0;
  readonly #stubs: Stubs = new Stubs();
  readonly #rules: Rules;
  readonly #stability: Stability;
  readonly #random: Random;
  /** Snapshots that have arrived anywhere, by index: those of committed states are equal. */
  readonly #snapshots: Map<LogIndex, ModelSnapshot> = new Map();

  constructor(plan: CorePlan, rules: Rules, trace: ((line: string) => void) | undefined) {
    this.plan = plan;
    this.trace = trace;
    this.#rules = rules;
    this.#random = new Random(`core/${plan.seed}/world`);
    this.time = new Timeline(this.#random.fork('order'));
    const { witnesses } = plan;
    const voters = Array.from({ length: plan.voters }, (_, i) => i + 1);
    const founders = {
      ...bootstrapConfig(voters),
      witnesses: witnesses.filter((id) => voters.includes(id)),
    };
    const nobody = bootstrapConfig([]);
    this.nodes = Array.from(
      { length: plan.nodes },
      (_, i) => new SimNode(i + 1, i < plan.voters ? founders : nobody, witnesses.includes(i + 1)),
    );
    this.checker = new CoreChecker(this.nodes);
    this.observer = new Observer(this.nodes);
    this.post = new Post(plan, this.nodes, this.time, this.observer);
    this.#stability = new Stability(plan.nodes);
    for (const node of this.nodes) {
      node.sync = plan.sync;
      this.start(node);
    }
  }

  node(id: NodeId): SimNode {
    return at(this.nodes, id - 1);
  }

  get running(): readonly SimNode[] {
    return this.nodes.filter((node) => node.raft !== undefined);
  }

  /** The running leader of the highest term, if there is one. */
  get leader(): SimNode | undefined {
    let best: SimNode | undefined;
    for (const node of this.nodes)
      if (node.role === 'leader' && (best === undefined || node.term > best.term)) best = node;
    return best;
  }

  /** Runs the next event. @returns false when nothing is left to happen before `untilMs` */
  next(untilMs: number): boolean {
    const event = this.time.next(untilMs);
    if (event === undefined) return false;
    this.#handle(event);
    return true;
  }

  /** Writes a line of the trace. */
  tell(text: () => string): void {
    this.trace?.(`${this.time.nowMs.toFixed(3).padStart(10)}  ${text()}`);
  }

  /** Gives a core an input, after a while or with the next turn. A node that is down, or lives again by then, misses it. */
  give(node: SimNode, input: Input, delayMs = 0): void {
    if (delayMs > 0) this.time.push(delayMs, 'input', node.id, node.life, input);
    else this.#arrive(node, input);
  }

  /** Starts a node from what its disk holds. */
  start(node: SimNode): void {
    assert(node.raft === undefined, 'The node is running');
    const { disk } = node;
    const { position, hash, config } = disk.snapshot;
    disk.log.compact(position.index);
    node.life += 1;
    node.memory = disk.log.copy();
    node.effective = node.memory.config;
    node.term = disk.hard.term;
    node.commit = position.index;
    node.hasFailed = false;
    const nowMs = node.local(this.time.nowMs);
    this.observer.starts(node);
    this.tell(() => `n${node.id} starts in term ${node.term}, its log ends at ${disk.log.lastIndex}`);
    node.raft = new Raft({
      id: node.id,
      voters: config.voters,
      nowMs,
      hard: disk.hard,
      base: position,
      baseConfig: config,
      entries: this.#stubs.given(node, disk.log.entries),
      random: new Random(`core/${this.plan.seed}/n${node.id}/${node.life}`),
      config: {
        ...this.plan.raft,
        priority: at(this.plan.priorities, node.id - 1),
        witness: node.isWitness,
      },
      rules: this.#rules,
    });
    node.applied = position.index;
    node.stateHash = hash;
    node.config = config;
    this.#stability.started(node, nowMs);
    // A core that claims more than its snapshot makes the state machine take the log's tail.
    const { applied } = node.raft.status;
    for (const entry of disk.log.entries) if (entry.index <= applied) this.checker.applied(node, entry);
    this.#settleTurn(node, true);
  }

  /** Ends a node's life. Of what its disk was given the oldest `kept` writes reached it all the same. */
  crash(node: SimNode, kept: number): void {
    const { disk } = node;
    if (node.raft === undefined) return;
    this.observer.crashes(node);
    for (let left = Math.min(kept, disk.outstanding); left > 0; left--) this.#writeOldest(node);
    this.tell(() => `n${node.id} crashes, ${disk.outstanding} writes are lost`);
    disk.lose();
    node.die();
    // Nobody will answer these any more: the client learns that its connection broke.
    for (const id of node.owed) this.requests.end(id, 'unknown');
    node.owed.clear();
  }

  /** A node stands still: its timers do not fire, what arrives waits. Its disk goes on. */
  pause(node: SimNode): void {
    if (node.raft !== undefined) node.isPaused = true;
  }

  /** A node goes on. `timersFirst`: it looks at its timer before what has arrived, as a careless host would. */
  resume(node: SimNode, timersFirst: boolean): void {
    if (node.raft === undefined || !node.isPaused) return;
    node.isPaused = false;
    const nowMs = node.local(this.time.nowMs);
    this.#stability.excused(node, nowMs);
    if (timersFirst) node.core.step(nowMs, { kind: 'tick' });
    this.#turn(node);
    if (node.raft === undefined) return;
    if (!timersFirst) node.core.step(nowMs, { kind: 'tick' });
    // Also when nothing had arrived: its timer may have made it say something.
    this.#settleTurn(node, false);
  }

  /** A client asks `node`; the core gets all of it in one input. A node that is down refuses the connection. */
  ask(node: SimNode, kind: 'propose' | 'read', count: number, payloadBytes: number): void {
    if (node.raft === undefined) return;
    const ids = Array.from({ length: count }, () => this.#begin(kind, node));
    this.tell(() => `a client asks n${node.id}: ${kind} ${ids.join(' ')}`);
    if (kind === 'read') {
      const mode = this.plan.raft.leaseReads === true && count === 1 ? 'lease' : 'index';
      return this.#arrive(node, { kind: 'read', ids, mode });
    }
    const proposals = ids.map((id) => ({ id, payload: payloadOf(id, payloadBytes) }));
    this.#arrive(node, { kind: 'propose', proposals });
  }

  /** An operator asks `node` to change the members. */
  change(node: SimNode, changes: readonly MemberChange[]): void {
    if (node.raft === undefined) return;
    this.#arrive(node, { kind: 'changeMembers', id: this.#begin('change', node), changes });
  }

  /** An operator asks `node` to hand its leadership to `to`; 0 for whom it likes. */
  transfer(node: SimNode, to: NodeId): void {
    if (node.raft === undefined) return;
    this.#arrive(node, { kind: 'transfer', id: this.#begin('transfer', node), to });
  }

  /** The host takes a snapshot of what is applied, and the core forgets the log up to `keeps` entries before its end. */
  compact(node: SimNode, keeps: number): void {
    const { disk, applied } = node;
    if (node.raft === undefined || node.isPaused || node.hasFailed) return;
    const term = disk.log.termAt(applied);
    if (applied <= disk.snapshot.position.index || term === undefined) return;
    const from = Math.max(0, applied - keeps);
    disk.keepSnapshot(
      { position: { index: applied, term }, hash: node.stateHash, config: node.config },
      from,
    );
    node.memory.compact(from);
    this.tell(() => `n${node.id} takes a snapshot at ${applied}`);
    node.core.step(node.local(this.time.nowMs), { kind: 'compact', index: from });
  }

  /** The disk of a node begins to write what it was given, if it can. */
  sync(node: SimNode): void {
    const { disk, sync } = node;
    const isIdle = !node.isSyncing && !node.isStuck && !node.hasFailed;
    if (node.raft === undefined || !isIdle || disk.outstanding === 0) return;
    node.isSyncing = true;
    const delayMs = sync.minMs + sync.spanMs * this.#random.ratio();
    this.time.push(delayMs, 'synced', node.id, node.life, { kind: 'persisted', seq: disk.givenSeq });
  }

  #begin(kind: Request['kind'], node: SimNode): number {
    const { id } = this.requests.begin(kind, node.id, this.checker.committedIndex);
    node.owed.add(id);
    return id;
  }

  #handle(event: SimEvent): void {
    if (event.kind === 'call') return event.call?.();
    const node = this.node(event.node);
    if (node.raft === undefined || (event.life !== 0 && event.life !== node.life)) return;
    switch (event.kind) {
      case 'tick':
        return this.#tick(node, event.atMs);
      case 'turn':
        node.isTurnDue = false;
        if (!node.isPaused) this.#turn(node);
        return;
      case 'synced':
        return this.#synced(node, defined(event.input, 'what was synced'));
      case 'input':
        return this.#arrive(node, defined(event.input, 'an input'));
      default:
        return unreachable(event.kind);
    }
  }

  #arrive(node: SimNode, input: Input): void {
    if (node.raft === undefined) return;
    if (node.isPaused || this.plan.turnMs > 0) {
      node.inbox.push(input);
      if (node.isTurnDue || node.isPaused) return;
      node.isTurnDue = true;
      this.time.push(this.plan.turnMs * this.#random.ratio(), 'turn', node.id, node.life, undefined);
      return;
    }
    this.#step(node, input, true);
    this.#settleTurn(node, false);
  }

  #turn(node: SimNode): void {
    const { inbox } = node;
    if (inbox.length === 0) return;
    node.inbox = [];
    if (inbox.length > 1) this.observer.probes.add('several inputs in one turn');
    for (const input of inbox) this.#step(node, input, inbox.length === 1);
    this.#settleTurn(node, false);
  }

  #step(node: SimNode, input: Input, isAlone: boolean): void {
    const nowMs = node.local(this.time.nowMs);
    if (input.kind === 'message') {
      const { message } = input;
      if (this.trace !== undefined) this.tell(() => `n${node.id} gets ${messageText(message)}`);
      // What a leader believes of others changes without a word.
      if (message.kind === 'appendReply') node.hasNews = true;
      this.observer.arrives(node, message);
      this.#stability.arrives(node, message, nowMs, isAlone, this.plan.raft.electionMs);
    } else if (input.kind === 'persisted') {
      node.persistedSeq = Math.max(node.persistedSeq, input.seq);
      this.#stability.persisted(node, input.seq);
      this.#applyUpTo(node, input.seq);
    }
    node.core.step(nowMs, input);
  }

  #tick(node: SimNode, atMs: number): void {
    if (atMs !== node.tickAtMs) return;
    node.tickAtMs = Infinity;
    if (node.isPaused) return;
    node.lateness = this.#random.ratio();
    const nowMs = node.local(this.time.nowMs);
    const { deadlineMs } = node.core;
    // The way from clock to clock and back rounds.
    if (nowMs + 1e-6 < deadlineMs) return this.#schedule(node);
    node.core.step(Math.max(nowMs, deadlineMs), { kind: 'tick' });
    this.#settleTurn(node, false);
    if (node.raft !== undefined) this.#stability.ticked(node, nowMs, this.plan.raft, this.timerLateMs);
  }

  /** Sees to it that the node looks at its timer when it is due. */
  #schedule(node: SimNode): void {
    const { deadlineMs } = node.core;
    if (deadlineMs === Infinity || node.isPaused) return;
    const delayMs = Math.max(0, node.trueTime(deadlineMs) - this.time.nowMs);
    const lateMs = this.timerLateMs * node.lateness;
    if (this.time.nowMs + delayMs + lateMs >= node.tickAtMs) return;
    node.tickAtMs = this.time.push(delayMs + lateMs, 'tick', node.id, node.life, undefined);
  }

  /** Takes all that a core has to say, and looks at its state when that may have changed. */
  #settleTurn(node: SimNode, isFirst: boolean): void {
    const raft = node.core;
    let isChanged = isFirst || node.hasNews;
    node.hasNews = false;
    for (let output = raft.drain(); output !== undefined; output = raft.drain()) {
      isChanged ||= output.write !== undefined || output.events.length > 0 || output.apply.length > 0;
      if (!this.#carryOut(node, output)) return;
    }
    if (isChanged) this.checker.turned(node, raft.status);
    this.#schedule(node);
  }

  /** @returns false when the node crashed in the middle of it */
  #carryOut(node: SimNode, output: Output): boolean {
    const { write } = output;
    let crashes = false;
    if (write !== undefined) this.#given(node, write);
    const installed = write?.snapshot?.position.index;
    for (const event of output.events) crashes = this.#noted(node, event, installed) || crashes;
    if (output.apply.length > 0) {
      this.checker.handed(node, output.apply);
      const entries = this.#stubs.filled(output.apply);
      node.waiting.push({ seq: node.disk.givenSeq, entries, snapshot: undefined });
    }
    for (const message of output.send) {
      this.checker.sent(node, message);
      this.post.send(message);
      for (const watcher of this.watchers) crashes = watcher.sent(node, message) || crashes;
    }
    if (crashes) {
      // Mostly what it said is more than its disk knows.
      this.crash(node, this.#random.chance(0.25) ? Infinity : 0);
      return false;
    }
    for (const to of output.snapshotTo) this.#sendSnapshot(node, to);
    for (const outcome of output.outcomes) this.#settle(node, outcome);
    if (write !== undefined) this.#persist(node);
    if (node.persistedSeq >= node.disk.givenSeq) this.#applyUpTo(node, node.disk.givenSeq);
    return true;
  }

  /** A core gave out a write: its log, as the checker knows it, follows. */
  #given(node: SimNode, given: Write): void {
    const write = this.#stubs.write(node, given);
    const snapshot = this.#snapshotOf(node, write);
    node.disk.give(write, snapshot);
    this.#stability.gave(node, write.seq, node.local(this.time.nowMs));
    this.observer.given(node, write);
    node.memory.write(write, snapshot);
    if (snapshot !== undefined) node.effective = node.memory.config;
    node.term = write.hard?.term ?? node.term;
    if (snapshot !== undefined) node.waiting.push({ seq: write.seq, entries: [], snapshot });
    this.checker.wrote(node, write);
  }

  #snapshotOf(node: SimNode, write: Write): ModelSnapshot | undefined {
    if (write.snapshot === undefined) return undefined;
    const { position } = write.snapshot;
    if (node.isWitness) {
      // It makes its own, of nothing but where it is.
      const hash = defined(this.checker.hashOf(position.index, position.term), 'hash where a log begins');
      this.observer.probes.add('witness began anew');
      return { position, hash, config: node.core.configAt(position.index) };
    }
    return defined(this.#snapshots.get(position.index), 'a snapshot that arrived');
  }

  /** @param installed where the snapshot ends that came with it */
  #noted(node: SimNode, event: Event, installed: LogIndex | undefined): boolean {
    this.tell(() => `n${node.id} ${eventText(event)}`);
    this.observer.event(node, event);
    this.#stability.event(node, event, node.local(this.time.nowMs));
    if (event.kind === 'config') node.told(event, installed);
    if (event.kind === 'commit')
      this.checker.committed(node, event.index, (entry, id) => this.#committed(node, entry, id));
    if (event.kind === 'role') {
      node.role = event.to;
      node.term = Math.max(node.term, event.term);
      if (event.to === 'leader') {
        this.checker.won(node, event.term);
        this.#checkLeases(node, event.term);
      }
    }
    let crashes = false;
    for (const watcher of this.watchers) crashes = watcher.event(node, event) || crashes;
    return crashes;
  }

  /** A node won: nobody may go on reading by a lease of an earlier term (thesis §6.4.1). */
  #checkLeases(winner: SimNode, term: Term): void {
    for (const node of this.nodes) {
      if (node === winner || node.role !== 'leader' || node.raft === undefined) continue;
      const leftMs = node.raft.status.leaseUntilMs - node.local(this.time.nowMs);
      if (leftMs > 0 && node.term < term)
        violated(
          'I25 linearizable read',
          `n${winner.id} wins term ${term}, and n${node.id} may read by its lease of term ${node.term} for ${Math.round(leftMs)} ms more`,
        );
    }
  }

  #committed(node: SimNode, entry: Entry, proposal: number): void {
    const request = proposal === 0 ? undefined : this.requests.committed(proposal, entry.index);
    this.observer.committed(entry.term, node, request);
  }

  #settle(node: SimNode, outcome: Outcome): void {
    this.tell(() => `n${node.id} answers: ${outcomeText(outcome)}`);
    node.owed.delete(outcome.id);
    const request = this.requests.settle(node.id, outcome, (index) => this.checker.proposalAt(index));
    this.observer.settled(node, request, outcome);
  }

  /** The host sends its newest snapshot, and tells the core what became of it. */
  #sendSnapshot(node: SimNode, to: NodeId): void {
    const { transferMs, transferFailure } = this.plan;
    const link = this.post.links.of(node.id, to);
    const { term, life } = node;
    const { snapshot } = node.disk;
    const { position, config } = snapshot;
    const delayMs = link.latency() + transferMs * link.random.ratio();
    const isLost = link.cuts > 0 || link.random.chance(Math.max(transferFailure, link.loss));
    this.observer.probes.add(isLost ? 'snapshot lost' : 'snapshot sent');
    const arrive = (): boolean => {
      const peer = this.node(to);
      if (peer.raft === undefined) return false;
      if (peer.commit >= position.index) this.observer.probes.add('snapshot came too late');
      this.#snapshots.set(position.index, snapshot);
      this.#arrive(peer, { kind: 'snapshotArrived', snapshot: { from: node.id, term, position, config } });
      return true;
    };
    this.time.after(delayMs, () => {
      const ok = !isLost && arrive();
      if (node.life === life) this.give(node, { kind: 'snapshotSent', peer: to, ok }, link.latency());
    });
    if (!isLost && link.random.chance(link.doubling))
      this.time.after(delayMs * (1 + 10 * link.random.ratio()), arrive);
  }

  /** A write was given: it is done at once, or when the disk comes to it. */
  #persist(node: SimNode): void {
    const isInstant = node.sync.minMs + node.sync.spanMs === 0;
    if (!isInstant || node.isSyncing || node.isStuck || node.isDoomed || node.isPaused)
      return this.sync(node);
    while (node.disk.outstanding > 0) this.#writeOldest(node);
    this.#step(node, { kind: 'persisted', seq: node.disk.givenSeq }, true);
  }

  #synced(node: SimNode, report: Input): void {
    node.isSyncing = false;
    if (node.isStuck) return;
    if (node.isDoomed) {
      node.hasFailed = true;
      node.isDoomed = false;
      this.tell(() => `the disk of n${node.id} fails`);
      this.observer.probes.add('disk failed');
      if (node.role === 'leader') this.observer.probes.add('disk of a leader failed');
      return this.#arrive(node, { kind: 'persistFailed' });
    }
    const upTo = report.kind === 'persisted' ? report.seq : 0;
    for (let write = node.disk.oldest; write !== undefined && write.seq <= upTo; write = node.disk.oldest)
      this.#writeOldest(node);
    this.sync(node);
    // A report that is kept back comes with the next one, or by itself in the end.
    const isLate = this.reportLateness > 0 && this.#random.chance(this.reportLateness);
    if (!isLate) return this.#arrive(node, report);
    if (!node.isSyncing) this.give(node, report, 1 + this.#random.ratio() * this.plan.raft.electionMs);
  }

  #writeOldest(node: SimNode): void {
    const { kept } = node.disk.sync();
    this.checker.persisted(node, kept);
  }

  /** The state machine takes what waited for a write that is durable now. */
  #applyUpTo(node: SimNode, seq: number): void {
    const { waiting, applied } = node;
    let done = 0;
    for (const { seq: needed, entries, snapshot } of waiting) {
      if (needed > seq) break;
      done += 1;
      if (snapshot !== undefined) this.checker.installed(node, snapshot);
      for (const entry of entries) this.checker.applied(node, entry);
    }
    if (done === 0) return;
    waiting.splice(0, done);
    if (node.applied === applied) return;
    node.core.step(node.local(this.time.nowMs), { kind: 'applied', index: node.applied });
    if (node.applied - node.disk.snapshot.position.index >= this.plan.snapshotEntries)
      this.compact(node, this.plan.snapshotKeeps);
  }
}

/** A command: its number and filling. */
function payloadOf(id: number, bytes: number): Uint8Array {
  const payload = new Uint8Array(Math.max(4, bytes));
  for (let i = 0; i < 4; i++) payload[i] = (id >>> (8 * i)) & 0xff;
  return payload;
}
