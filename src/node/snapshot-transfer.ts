/**
 * Where snapshots between nodes meet the rest of the node: takes what peers say of them, gives the core what has arrived,
 * tells it when a follower has its snapshot, and says how much of the log must stay for those that are catching up.
 * What throws here is a disk that failed or cannot be trusted: the node stops for it.
 */
import { defined, unreachable } from '../lib/assert.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { EngineKind, Envelope } from '../net/protocol.ts';
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { Config } from '../raft/membership.ts';
import type { Raft } from '../raft/raft.ts';
import type { Rules } from '../raft/rules.ts';
import { type Checkpoints, configOfSnapshot } from './checkpoints.ts';
import { LogRetention, type SavedSnapshot } from './log-retention.ts';
import type { LogStore } from './log-store.ts';
import { type ArrivedSnapshot, type ReceiverView, SnapshotReceiver } from './snapshot-receiver.ts';
import { type EndedTransfer, SnapshotSender } from './snapshot-sender.ts';
import type { NodeEvent } from './status.ts';

/** What nodes say to each other about snapshots. */
export type SnapshotEnvelope = Extract<
  Envelope,
  { readonly kind: 'snapshotPart' | 'snapshotAck' | 'snapshotEnd' }
>;

/** The node around it. */
export interface TransferHost {
  readonly raft: Raft;
  readonly rules: Rules;
  /** The members as of a snapshot that names none. */
  readonly foundersConfig: () => Config;
  readonly store: LogStore;
  readonly checkpoints: Checkpoints;
  /** Says something with everything else that this turn has to say. */
  readonly send: (to: NodeId, envelope: Envelope) => void;
  /** Sends a frame at once. */
  readonly sendFrame: (to: NodeId, envelopes: readonly Envelope[]) => void;
  readonly tell: (level: NodeEvent['level'], kind: string, text: string) => void;
  readonly wake: () => void;
}

export class SnapshotTransfer {
  readonly #host: TransferHost;
  readonly #sender: SnapshotSender = new SnapshotSender();
  readonly #receiver: SnapshotReceiver;
  readonly #retention: LogRetention = new LogRetention();
  /** Snapshots that were given to the core, by index: two leaders may each send one, and it takes one at most. */
  readonly #arrived: Map<LogIndex, ArrivedSnapshot> = new Map();

  constructor(host: TransferHost) {
    this.#host = host;
    this.#receiver = new SnapshotReceiver(host.checkpoints);
  }

  /** When {@link advance} next has something to do. */
  get deadlineMs(): number {
    return this.#sender.deadlineMs;
  }

  /** The connection to a peer is new. */
  connected(peer: NodeId, nowMs: number): void {
    this.#sender.connected(peer, nowMs);
  }

  /** Anything came from this peer. */
  heard(from: NodeId, nowMs: number): void {
    this.#sender.heard(from, nowMs);
  }

  take(from: NodeId, envelope: SnapshotEnvelope, nowMs: number): void {
    switch (envelope.kind) {
      case 'snapshotPart': {
        const answer = this.#receiver.receive(from, envelope, this.#view(nowMs));
        if (answer !== undefined) this.#host.send(from, answer);
        if (answer?.kind === 'snapshotEnd' && answer.outcome === 'unreadable')
          this.#tellUnreadable(from, envelope.engine);
        return;
      }
      case 'snapshotAck':
        return this.#sender.acknowledge(from, envelope, nowMs);
      case 'snapshotEnd':
        return this.#sender.end(from, envelope, nowMs);
      default:
        return unreachable(envelope);
    }
  }

  /** Goes on verifying what leaders have sent, and gives the core what is whole. */
  takeArrivals(nowMs: number): void {
    if (this.#receiver.isIdle) return;
    const { arrived, replies } = this.#receiver.advance(this.#view(nowMs));
    for (const { to, end } of replies) this.#host.send(to, end);
    for (const snapshot of arrived) this.#arrive(snapshot, nowMs);
    if (this.#receiver.isVerifying) this.#host.wake();
  }

  /** The snapshot that the core took. */
  arrivedAt(index: LogIndex): ArrivedSnapshot {
    return defined(this.#arrived.get(index), 'the snapshot that the core took');
  }

  /** The core has nothing more to write, and nothing waits: what it wanted of the arrived snapshots is installed, for good. */
  settleArrivals(): void {
    if (this.#arrived.size === 0) return;
    const { commit } = this.#host.raft.status;
    for (const snapshot of this.#arrived.values()) {
      const outcome = snapshot.position.index <= commit ? 'installed' : 'deposed';
      const end = this.#receiver.settle(snapshot, outcome);
      if (end !== undefined) this.#host.send(snapshot.from, end);
    }
    this.#arrived.clear();
  }

  /** The core asks that a follower be sent the newest snapshot. */
  start(peer: NodeId, nowMs: number): void {
    const { checkpoints, raft, tell } = this.#host;
    const { position, kind: engine } = checkpoints;
    const { term, first } = raft.status;
    const snapshot = { position, engine, logBase: first - 1, open: () => checkpoints.openSource() };
    const isNew = this.#sender.start(peer, term, snapshot, nowMs);
    if (isNew) tell(2, 'snapshot', `sends n${peer} its snapshot at ${position.index}`);
  }

  /** Goes on sending: each part in a frame of its own, behind everything else that was said. */
  advance(nowMs: number): void {
    const { raft, sendFrame, wake } = this.#host;
    if (!raft.isLeader) return this.#sender.clear();
    if (this.#sender.isIdle) return;
    const { term, peers } = raft.status;
    // After a long time the core looks again where a follower stands, and asks for the snapshot once more if it must:
    // meanwhile the transfer goes on. It is of no use any more when the log follows.
    const behind = new Set(peers.filter(({ mode }) => mode !== 'replicate').map(({ id }) => id));
    // It may say that it goes on before it says why it can.
    for (const [peer, index] of this.#sender.positions)
      if (!behind.has(peer)) this.#retention.delivered(peer, index, nowMs);
    const isNeeded = (peer: NodeId, of: number): boolean => of === term && behind.has(peer);
    const { parts, ended } = this.#sender.advance(nowMs, isNeeded);
    for (const { to, part } of parts) sendFrame(to, [part]);
    for (const transfer of ended) this.#end(transfer, nowMs);
    if (ended.length > 0 || this.#sender.deadlineMs <= nowMs) wake();
  }

  /** Where the log may be cut behind a snapshot that was just saved. */
  logFloor(saved: SavedSnapshot): LogIndex {
    const { raft, store } = this.#host;
    const { peers } = raft.status;
    const { walBytes } = store;
    return this.#retention.floor({ ...saved, peers, walBytes, sending: this.#sender.positions });
  }

  /** Ends everything and closes the files. What has arrived in part stays on disk. */
  clear(): void {
    this.#sender.clear();
    this.#receiver.clear();
    this.#arrived.clear();
  }

  /** There is no room for what is arriving. */
  giveUpArrivals(): void {
    this.#receiver.giveUp();
  }

  #arrive(snapshot: ArrivedSnapshot, nowMs: number): void {
    const { from, term, position } = snapshot;
    const config = this.#configIn(snapshot);
    if (config === undefined) return;
    if (!this.#arrived.has(position.index)) this.#arrived.set(position.index, snapshot);
    this.#host.raft.step(nowMs, {
      kind: 'snapshotArrived',
      snapshot: { from, term, position, config },
    });
  }

  /**
   * The members that it names. One that names nonsense is refused like one that is damaged: it is the fault of a peer, and
   * this node's disk is as good as before.
   */
  #configIn(snapshot: ArrivedSnapshot): Config | undefined {
    try {
      return configOfSnapshot(snapshot.file.meta) ?? this.#host.foundersConfig();
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      const end = this.#receiver.settle(snapshot, 'damaged');
      if (end !== undefined) this.#host.send(snapshot.from, end);
      this.#host.tell(1, 'snapshot', `refuses the snapshot of n${snapshot.from}: ${error.message}`);
      return undefined;
    }
  }

  #tellUnreadable(from: NodeId, engine: EngineKind): void {
    const { checkpoints, tell } = this.#host;
    if (engine === checkpoints.kind) return;
    const why = `its data are kept by the engine "${engine}", and here they are by "${checkpoints.kind}"`;
    tell(1, 'snapshot', `refuses the snapshot of n${from}: ${why}`);
  }

  #end({ peer, ok, position, why }: EndedTransfer, nowMs: number): void {
    const { raft, tell } = this.#host;
    if (ok) this.#retention.delivered(peer, position.index, nowMs);
    else tell(1, 'snapshot', `gives up sending n${peer} the snapshot at ${position.index}: ${why}`);
    raft.step(nowMs, { kind: 'snapshotSent', peer, ok });
  }

  #view(nowMs: number): ReceiverView {
    const { raft, rules, checkpoints } = this.#host;
    const { term, commit } = raft.status;
    return {
      nowMs,
      term,
      engine: checkpoints.kind,
      wants: (index) => rules.wantsSnapshot(index, commit),
      isInstalling: this.#arrived.size > 0,
    };
  }
}
