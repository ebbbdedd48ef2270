/**
 * One node: the Raft core, the log store and the state machine, wired into a turn loop. Everything that arrived becomes
 * one batch, one sync, one round of replies. Synchronous: no clock, no promise, no thread; its driver calls `turn`.
 */
import { unreachable } from '../lib/assert.ts';
import { Deque } from '../lib/deque.ts';
import { CorruptionError, StorageError, messageOf } from '../lib/errors.ts';
import type { StateMachine } from '../kv/state-machine.ts';
import type {
  Envelope,
  LeaderHint,
  NodeService,
  NodeStatus,
  Reply,
  Request,
  SubmitOptions,
} from '../net/protocol.ts';
import { RAFT_CONFIG } from '../raft/config.ts';
import type { Entry, NodeId } from '../raft/entry.ts';
import { type Config, bootstrapConfig } from '../raft/membership.ts';
import type { Event, LogPosition, Outcome, Output } from '../raft/messages.ts';
import { Raft } from '../raft/raft.ts';
import { RULES } from '../raft/rules.ts';
import { Backlog } from './backlog.ts';
import type { Checkpoints } from './checkpoints.ts';
import { DiskRoom } from './disk-room.ts';
import { DUTIES, type Duties } from './duties.ts';
import type { Contact, NodeEnv, NodeOptions } from './env.ts';
import { EventLog } from './event-log.ts';
import { install, skipTo } from './installation.ts';
import { Introductions } from './introductions.ts';
import type { LogStore } from './log-store.ts';
import { hasOtherVoters } from './members.ts';
import { openReplica } from './opening.ts';
import { Outbox } from './outbox.ts';
import { Portrait } from './portrait.ts';
import { addressProblem, compacted, stopping, storageFailed, storageFull } from './refusals.ts';
import { isWrite } from './request-kinds.ts';
import { Requests } from './requests.ts';
import { SnapshotSaving } from './snapshot-saving.ts';
import { SnapshotTransfer } from './snapshot-transfer.ts';
import { Repair } from './state-loss.ts';
import { type Glance, type NodeAccount, type NodeEvent, describeEvent } from './status.ts';
import { Upkeep } from './upkeep.ts';
import { WriteGate } from './write-gate.ts';

/** Envelopes waiting for the next turn; what comes on top is dropped, as a network may. */
const INBOX_MAX = 65_536;
/** Output rounds of one turn before the inbox is looked at again. */
const ROUNDS_PER_TURN_MAX = 16;
/** Distance between the request ids of two lives of a node, at least. */
const IDS_PER_LIFE = 2 ** 20;

export class Node implements NodeService {
  readonly #env: NodeEnv;
  readonly #options: NodeOptions;
  readonly #duties: Duties;
  readonly #raft: Raft;
  readonly #store: LogStore;
  readonly #checkpoints: Checkpoints;
  readonly #machine: StateMachine;
  readonly #requests: Requests;
  readonly #introductions: Introductions;
  readonly #snapshots: SnapshotTransfer;
  readonly #inbox: Deque<{ readonly from: NodeId; readonly envelope: Envelope }> = new Deque(INBOX_MAX);
  readonly #outbox: Outbox = new Outbox((to, envelopes) => this.#env.transport.send(to, envelopes));
  /** Peers whose connection broke or is new since the last turn: what was on its way over the old one is lost. */
  readonly #reconnected: Set<NodeId> = new Set();
  readonly #backlog: Backlog;
  readonly #repair: Repair;
  readonly #portrait: Portrait;
  readonly #saving: SnapshotSaving;
  readonly #upkeep: Upkeep;
  /** The members as the introductions know them. */
  #config: Config;
  #client = '';
  readonly #room: DiskRoom;
  readonly #gate: WriteGate;
  readonly #events: EventLog = new EventLog();
  #nowMs: number;
  #timer: { deadlineMs: number; setMs: number };
  #isStopped = false;

  /**
   * Recovers a node from its directory.
   *
   * @param nowMs monotonic time, on the clock of all later turns
   * @throws CorruptionError or StorageError when the directory cannot be trusted or read
   */
  constructor(env: NodeEnv, options: NodeOptions, nowMs: number) {
    this.#env = env;
    this.#options = options;
    this.#duties = options.duties ?? DUTIES;
    const fs = this.#duties.fileSystem(env.fs);
    this.#nowMs = nowMs;
    // The disk is opened last: what fails here leaves no file open.
    this.#introductions = new Introductions({
      ...options,
      fs,
      heartbeatMs: options.raft?.heartbeatMs ?? RAFT_CONFIG.heartbeatMs,
      duties: this.#duties,
    });
    const { directory, segmentBytesMax } = options;
    const hasPeers = (config: Config | undefined): boolean =>
      config === undefined
        ? this.#introductions.acquaintances.length > 0
        : hasOtherVoters(config, options.id);
    const { checkpoints, store, recovered, machine, account } = openReplica({
      fs,
      directory,
      openStore: () => env.openStore(fs, directory),
      hasPeers,
      duties: this.#duties,
      segmentBytesMax,
    });
    this.#repair = new Repair({ fs, directory, hasPeers, tell: (text) => this.#tell(1, 'storage', text) });
    this.#checkpoints = checkpoints;
    this.#store = store;
    this.#machine = machine;
    this.#room = new DiskRoom({
      store,
      install: (position) => this.#installSnapshot(position),
      tell: (text) => this.#tell(1, 'disk', text),
    });
    this.#gate = new WriteGate(nowMs);
    const base = checkpoints.position;
    this.#raft = new Raft({
      id: options.id,
      voters: this.#introductions.founders,
      nowMs,
      hard: recovered.hard,
      abstainBelow: recovered.lost,
      base,
      baseConfig: checkpoints.config ?? this.#foundersConfig(),
      entries: recovered.entries,
      random: env.random,
      ...(options.raft === undefined ? {} : { config: options.raft }),
      ...(options.rules === undefined ? {} : { rules: options.rules }),
    });
    this.#timer = { deadlineMs: this.#raft.deadlineMs, setMs: nowMs };
    this.#snapshots = this.#newTransfer();
    this.#saving = this.#newSaving();
    const electionMs = options.raft?.electionMs ?? RAFT_CONFIG.electionMs;
    this.#upkeep = new Upkeep({
      machine: this.#machine,
      historyRevisions: options.historyRevisions,
      electionMsMax: 2 * electionMs,
    });
    // What a leader still owes to an earlier life of this node must not be taken for an answer in this one.
    const firstId = env.random.uint32() * IDS_PER_LIFE;
    const canRead = options.raft?.witness !== true;
    this.#requests = new Requests({ timeoutMs: options.requestTimeoutMs, firstId, canRead });
    this.#backlog = new Backlog(machine, this.#requests, this.#gate);
    this.#portrait = this.#newPortrait();
    this.#config = this.#follow();
    this.#tell(1, 'recover', account);
  }

  #newSaving(): SnapshotSaving {
    const { snapshotEntries, trailingEntries } = this.#options;
    return new SnapshotSaving({
      store: this.#store,
      checkpoints: this.#checkpoints,
      machine: this.#machine,
      raft: this.#raft,
      duties: this.#duties,
      snapshotEntries,
      trailingEntries,
      logFloor: (view) => this.#snapshots.logFloor(view),
      tell: (text) => this.#tell(2, 'snapshot', text),
    });
  }

  #newPortrait(): Portrait {
    return new Portrait({
      raft: this.#raft,
      machine: this.#machine,
      store: this.#store,
      checkpoints: this.#checkpoints,
      room: this.#room,
      leader: () => this.#leader(),
      clientOf: (id) => this.#clientOf(id),
      id: this.#options.id,
      failed: (error) => this.#failStorage(error),
    });
  }

  #newTransfer(): SnapshotTransfer {
    return new SnapshotTransfer({
      raft: this.#raft,
      rules: this.#options.rules ?? RULES,
      foundersConfig: () => this.#foundersConfig(),
      store: this.#store,
      checkpoints: this.#checkpoints,
      send: (to, envelope) => this.#outbox.add(to, envelope),
      sendFrame: (to, envelopes) => this.#env.transport.send(to, envelopes),
      tell: (level, kind, text) => this.#tell(level, kind, text),
      wake: this.#env.wake,
    });
  }

  /** Its data are damaged: this life can do nothing any more, and the next one is repaired by its peers. */
  get mustRestart(): boolean {
    return this.#repair.isDue;
  }

  /** When this node next wants a turn without being woken. */
  get deadlineMs(): number {
    const hello = this.#introductions.deadlineMs;
    const transfer = this.#snapshots.deadlineMs;
    const upkeep = this.#upkeep.deadlineMs;
    const room = this.#room.deadlineMs;
    return Math.min(this.raftDeadlineMs, this.#requests.deadlineMs, hello, transfer, upkeep, room);
  }

  /** Who leads, as far as this node knows; 0 for nobody. */
  get leader(): NodeId {
    return this.#raft.leader;
  }

  /** The part of the deadline that stands for silence: an election or heartbeat timer. See {@link turn}. */
  get raftDeadlineMs(): number {
    return !this.#raft.isLeader && this.#introductions.isUnwanted ? Infinity : this.#raft.deadlineMs;
  }

  /** The members that this node talks to; undefined while it waits to be added and knows none. */
  get contacts(): readonly Contact[] | undefined {
    const { voters, addresses, since } = this.#config;
    if (voters.length === 0) return undefined;
    return this.#introductions.members.map((id) => ({
      id,
      address: addresses.get(id) ?? '',
      since: since.get(id) ?? 0,
    }));
  }

  /** Where clients connect, told to peers; empty without a door. */
  setClient(client: string): void {
    this.#client = client;
    for (const id of this.#introductions.members) this.#outbox.add(id, this.#introductions.hello(id, client));
    this.#env.wake();
  }

  /** The connection to a peer is new. */
  connected(peer: NodeId): void {
    this.#introductions.connected(peer);
    this.#snapshots.connected(peer, this.#env.nowMs());
    this.#outbox.drop(peer);
    this.#reconnected.add(peer);
    this.#env.wake();
  }

  /** The connection to a peer broke: what was on its way is lost, and the peer may be gone. */
  disconnected(peer: NodeId): void {
    this.#reconnected.add(peer);
    this.#env.wake();
  }

  /** Takes envelopes from a peer for the next turn. */
  receive(from: NodeId, envelopes: readonly Envelope[]): void {
    for (const envelope of envelopes) this.#inbox.push({ from, envelope });
    this.#env.wake();
  }

  submit(request: Request, options: SubmitOptions, done: (reply: Reply) => void): void {
    if (request.kind === 'status') return done({ kind: 'status', status: this.status() });
    if (this.#room.hasFailed) return done(storageFailed(false));
    if (this.#isStopped) return done(stopping(false));
    const problem =
      request.kind === 'changeMembers'
        ? addressProblem(this.#options.memberAddresses, request.changes)
        : undefined;
    if (problem !== undefined) return done({ kind: 'error', code: 'bad_request', message: problem });
    if (this.#room.isFull && this.#raft.isLeader && request.kind !== 'compact' && isWrite(request))
      return done(storageFull());
    if (request.kind === 'compact') {
      this.#saving.ask((result) => done(compacted(result)));
    } else this.#requests.submit(this.#duties.request(request), options, done);
    this.#env.wake();
  }

  /**
   * One turn: inbox, requests, timers; then output until there is none: send, write, sync, apply, answer.
   *
   * @param heardEverything whether all input that has arrived is in the inbox. After a stall it may not be, and then no
   *   silence is believed: the election timer waits for the next turn.
   */
  turn(nowMs: number, heardEverything = true): void {
    if (this.#isStopped) return;
    this.#nowMs = nowMs;
    try {
      this.#takeTurn(nowMs, heardEverything);
    } catch (error) {
      this.#failStorage(error);
    }
    if (this.#timer.deadlineMs !== this.#raft.deadlineMs)
      this.#timer = { deadlineMs: this.#raft.deadlineMs, setMs: nowMs };
  }

  #takeTurn(nowMs: number, heardEverything: boolean): void {
    this.#writeWaiting();
    for (const peer of this.#reconnected) this.#raft.step(nowMs, { kind: 'unreachable', peer });
    this.#reconnected.clear();
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift())
      this.#take(next.from, next.envelope);
    for (const id of this.#introductions.due(nowMs))
      this.#outbox.add(id, this.#introductions.hello(id, this.#client));
    this.#receive(() => this.#snapshots.takeArrivals(nowMs));
    this.#dispatchRequests();
    if (heardEverything && nowMs >= this.raftDeadlineMs) this.#raft.step(nowMs, { kind: 'tick' });
    for (let round = 0; round < ROUNDS_PER_TURN_MAX; round++) {
      const output = this.#raft.drain();
      if (output === undefined) {
        if (!this.#room.isInstalling) this.#snapshots.settleArrivals();
        break;
      }
      this.#carryOut(output);
      if (this.#raft.config !== this.#config || output.events.some(({ kind }) => kind === 'config'))
        this.#membersChanged();
      this.#dispatchRequests();
      if (round === ROUNDS_PER_TURN_MAX - 1) this.#env.wake();
    }
    this.#applyCommitted();
    this.#requests.serveReads(this.#machine, this.#env.nowMs);
    this.#requests.expire(nowMs);
    this.#keepUp();
    if (this.#requests.hasFresh) this.#env.wake();
    this.#outbox.flush();
    if (!this.#room.hasFailed) this.#snapshots.advance(nowMs);
    this.#workBehind();
  }

  status(): NodeStatus {
    return this.#portrait.status();
  }

  /** The newest entries of the log, at most `count`, oldest first. */
  tail(count: number): readonly Entry[] {
    return this.#raft.tail(count);
  }

  /** The part of {@link status} that a simulator looks at after every turn. */
  glance(): Glance {
    return this.#portrait.glance();
  }

  /** Hash of all that the state machine holds, but for what sessions remember: of those it has the number. */
  get stateHash(): string {
    return `${this.#machine.stateHash()}/${this.#machine.sessionCount}`;
  }

  /** The node's account of itself for people, at `nowMs`. */
  account(nowMs: number): NodeAccount {
    return this.#portrait.account(nowMs, this.#timer.deadlineMs - this.#timer.setMs);
  }

  /** Takes the events since the last call, and how many more were lost. */
  takeEvents(): { readonly events: readonly NodeEvent[]; readonly lost: number } {
    return this.#events.take();
  }

  /** Ends every request and closes the files. Nothing works afterwards. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#requests.failAll(stopping);
    this.#outbox.flush();
    this.#saving.abort();
    this.#saving.fail(stopping(false).message);
    this.#snapshots.clear();
    this.#checkpoints.close();
    this.#store.close();
  }

  #take(from: NodeId, envelope: Envelope): void {
    if (this.#room.hasFailed) return;
    if (envelope.kind === 'hello') return this.#greet(from, envelope);
    if (!this.#introductions.isKnown(from) && envelope.kind !== 'refusal')
      return this.#introductions.heardStranger(from, this.#nowMs);
    this.#snapshots.heard(from, this.#nowMs);
    switch (envelope.kind) {
      case 'raft':
        // A peer speaks for itself only.
        if (envelope.message.from === from)
          this.#raft.step(this.#nowMs, { kind: 'message', message: envelope.message });
        return;
      case 'forward': {
        const { id, request } = envelope;
        const connection = this.#introductions.connectionOf(from);
        return this.submit(request, { forward: false }, (reply) => {
          // A peer that came back does not wait for it any more.
          if (this.#introductions.connectionOf(from) === connection)
            this.#outbox.add(from, { kind: 'forwarded', id, reply });
        });
      }
      case 'forwarded':
        return this.#requests.forwarded(from, envelope.id, envelope.reply, this.#nowMs);
      case 'refusal':
        if (this.#introductions.refusedBy(from, envelope))
          this.#tell(1, 'refused', `is refused by n${from}: ${envelope.why}`);
        return;
      case 'snapshotPart':
        // The sender repeats what is not acknowledged.
        if (this.#room.isPaused) return;
        return this.#receive(() => this.#snapshots.take(from, envelope, this.#nowMs));
      case 'snapshotAck':
      case 'snapshotEnd':
        return this.#snapshots.take(from, envelope, this.#nowMs);
      default:
        return unreachable(envelope);
    }
  }

  #greet(from: NodeId, hello: Extract<Envelope, { readonly kind: 'hello' }>): void {
    try {
      const { refusal, isAccepted, isNews } = this.#introductions.receive(from, hello);
      if (refusal !== undefined) this.#outbox.add(from, refusal);
      if (refusal !== undefined && isNews) this.#tell(1, 'refuse', `refuses n${from}: ${refusal.why}`);
      if (isAccepted && !hello.settled) this.#outbox.add(from, this.#introductions.hello(from, this.#client));
    } catch (error) {
      // It says hello again.
      if (!this.#room.isPassing(error)) throw error;
    }
  }

  #foundersConfig(): Config {
    return bootstrapConfig(this.#introductions.founders, this.#options.addresses);
  }

  #membersChanged(): void {
    this.#config = this.#follow();
    if (this.contacts !== undefined) this.#env.contactsChanged?.(this.contacts);
  }

  /** Tells the introductions who the members are now. */
  #follow(): Config {
    const { config, configIndex, commit } = this.#raft.status;
    this.#introductions.follow(config, configIndex, configIndex <= commit);
    return config;
  }

  /** Proposes what a leader owes by itself. */
  #keepUp(): void {
    if (this.#room.hasFailed || this.#room.isFull) return;
    const raft = this.#raft;
    // A leader's last entry is one of its own term.
    const term = raft.isLeader ? raft.tail(1)[0]?.term : undefined;
    const proposals = this.#upkeep.look({
      nowMs: this.#nowMs,
      leadsIn: raft.termAt(this.#machine.applied) === term ? term : undefined,
      engineBytes: this.#checkpoints.memoryBytes,
    });
    if (proposals.length === 0) return;
    raft.step(this.#nowMs, { kind: 'propose', proposals });
    this.#env.wake();
  }

  #dispatchRequests(): void {
    this.#gate.look(this.#nowMs, this.#checkpoints.engine.pressurePercent);
    const { proposals, reads, rereads, changes, transfers, forwards } = this.#requests.dispatch(
      this.#nowMs,
      this.#leader(),
      this.#raft.isLeader,
      this.#gate,
    );
    if (proposals.length > 0) this.#raft.step(this.#nowMs, { kind: 'propose', proposals });
    const mode = this.#options.raft?.leaseReads === true ? 'lease' : 'index';
    if (reads.length > 0) this.#raft.step(this.#nowMs, { kind: 'read', ids: reads, mode });
    if (rereads.length > 0) this.#raft.step(this.#nowMs, { kind: 'read', ids: rereads });
    for (const change of changes) this.#raft.step(this.#nowMs, { kind: 'changeMembers', ...change });
    for (const transfer of transfers) this.#raft.step(this.#nowMs, { kind: 'transfer', ...transfer });
    for (const { to, id, request } of forwards) this.#outbox.add(to, { kind: 'forward', id, request });
  }

  /**
   * One output of the core, in the order that is safe and fast: send, so that the followers' disks work beside ours;
   * answer clients, who must not wait for the next batch's sync; write and sync. Entries that nobody here waits for
   * are applied at the end of the turn, behind the acknowledgements that a leader waits for.
   */
  #carryOut(output: Output): void {
    for (const event of output.events) this.#observe(event);
    for (const message of output.send) this.#outbox.add(message.to, { kind: 'raft', message });
    this.#outbox.flush();
    this.#backlog.add(output.apply);
    for (const outcome of output.outcomes) this.#settle(outcome);
    if (output.outcomes.length > 0 && output.write?.snapshot === undefined) {
      this.#applyCommitted();
      this.#requests.serveReads(this.#machine, this.#env.nowMs);
      if (output.write !== undefined) this.#env.beforeSync();
    }
    if (output.write !== undefined && !this.#persist(output)) return;
    for (const peer of output.snapshotTo) this.#snapshots.start(peer, this.#nowMs);
  }

  #settle(outcome: Outcome): void {
    if (this.#upkeep.owns(outcome.id)) this.#upkeep.settle(outcome, this.#nowMs);
    else this.#requests.settle(outcome, this.#nowMs, this.#leader());
  }

  /** @returns false when the disk failed: nothing of this output may be believed */
  #persist(output: Output): boolean {
    const { write } = output;
    if (write === undefined) return true;
    try {
      if (!this.#room.write(write, this.#nowMs)) return true;
    } catch (error) {
      if (!(error instanceof StorageError) || this.#duties.stopsAfter(error)) {
        this.#failStorage(error);
        return false;
      }
    }
    // The disk may have held the thread up, and that is for the core to know.
    this.#nowMs = Math.max(this.#nowMs, this.#env.nowMs());
    this.#raft.step(this.#nowMs, { kind: 'persisted', seq: write.seq });
    return true;
  }

  /** What found no room is tried again. */
  #writeWaiting(): void {
    const seq = this.#room.retry(this.#nowMs);
    if (seq !== undefined) this.#raft.step(this.#nowMs, { kind: 'persisted', seq });
  }

  /** Takes something of a snapshot from a peer, or gives it up for want of room. */
  #receive(run: () => void): void {
    const work = { run, giveUp: (): void => this.#snapshots.giveUpArrivals() };
    this.#room.orPause('receiving a snapshot', this.#nowMs, work);
  }

  /**
   * A failed write or sync is never tried again: nobody knows what is on the disk now. A disk that gives back something
   * else than was written is not trusted either. Any other error is thrown on.
   */
  #failStorage(error: unknown): void {
    if (!(error instanceof StorageError || error instanceof CorruptionError)) throw error;
    this.#room.fail();
    this.#tell(1, 'storage', `stops voting and acknowledging: ${messageOf(error)}`);
    if (error instanceof CorruptionError) this.#repair.ask(error.message, this.#raft.config);
    this.#raft.step(this.#nowMs, { kind: 'persistFailed' });
    while (this.#raft.drain() !== undefined);
    this.#backlog.clear();
    this.#saving.fail(storageFailed(false).message);
    this.#requests.failAll(storageFailed);
    this.#snapshots.clear();
    this.#outbox.flush();
  }

  /** For {@link DiskRoom}. */
  #installSnapshot(position: LogPosition): void {
    // There was no room for what came behind it.
    if (this.#checkpoints.position.index >= position.index) return;
    // An older one of our own would end behind it.
    this.#saving.abort();
    if (this.#options.raft?.witness === true)
      skipTo(position, this.#machine, this.#checkpoints, this.#raft.configAt(position.index));
    else install(this.#snapshots.arrivedAt(position.index).file, this.#machine, this.#checkpoints);
    this.#raft.step(this.#nowMs, { kind: 'applied', index: position.index });
  }

  #applyCommitted(): void {
    if (this.#room.isInstalling) return;
    const index = this.#backlog.apply();
    if (index !== undefined) this.#raft.step(this.#nowMs, { kind: 'applied', index });
  }

  /** A slice of what has time: the snapshot under way, and what the engine has to do in the background. */
  #workBehind(): void {
    if (this.#room.hasFailed || this.#room.isPaused || this.#room.isInstalling) return;
    let hasMore = false;
    const run = (): void => {
      this.#saving.advance(this.#nowMs);
      if (!this.#saving.isBusy) this.#room.resumed();
      hasMore = this.#checkpoints.engine.work() || this.#saving.isBusy;
    };
    const work = { run, giveUp: (): void => this.#saving.abort() };
    this.#room.orPause('a snapshot', this.#nowMs, work);
    if (hasMore) this.#env.wake();
  }

  #leader(): LeaderHint | undefined {
    const id = this.#raft.leader;
    if (id === 0) return undefined;
    return { id, client: this.#clientOf(id) };
  }

  #clientOf(id: NodeId): string {
    return id === this.#options.id ? this.#client : this.#introductions.clientOf(id);
  }

  #observe(event: Event): void {
    const described = describeEvent(event, this.#raft.isLeader);
    this.#tell(described.level, described.kind, described.text);
  }

  #tell(level: NodeEvent['level'], kind: string, text: string): void {
    this.#events.add({ atMs: this.#nowMs, level, kind, text });
  }
}
