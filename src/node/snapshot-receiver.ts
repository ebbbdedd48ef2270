/**
 * Snapshots that arrive from leaders (§7): one transfer from each sender, two in all, each written to disk part by part.
 * Every part and the whole are checked before anything of the node changes; a part that is lost, late, damaged or out of
 * place costs that part alone. The end is told only when the snapshot is installed for good.
 */
import { crc32 } from '../storage/checksum.ts';
import { type EngineKind, type Envelope, LIMITS, type SnapshotOutcome } from '../net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { LogPosition } from '../raft/messages.ts';
import type { IncomingCheckpoint } from '../storage/checkpoint.ts';
import { type SnapshotIdentity, isSameIdentity } from '../storage/incoming-snapshot.ts';

type Part = Extract<Envelope, { readonly kind: 'snapshotPart' }>;
type Ack = Extract<Envelope, { readonly kind: 'snapshotAck' }>;
type End = Extract<Envelope, { readonly kind: 'snapshotEnd' }>;

/** A leader and the one that has deposed it may both be sending. */
const INCOMING_MAX = 2;
/** A transfer of which nothing is heard for this long makes room. What has arrived stays on disk. */
const IDLE_MS = 60_000;

/** The part of a store that is needed here. */
export interface IncomingStorage {
  receive(identity: SnapshotIdentity, others: readonly IncomingCheckpoint[]): IncomingCheckpoint;
}

/** A snapshot that arrived whole and verified. It stays the receiver's until it is installed or {@link SnapshotReceiver.settle}d. */
export interface ArrivedSnapshot {
  readonly from: NodeId;
  readonly term: Term;
  readonly position: LogPosition;
  readonly file: IncomingCheckpoint;
}

/** What this node is, for the judgement of a part. */
export interface ReceiverView {
  readonly nowMs: number;
  /** This node's own term. */
  readonly term: Term;
  /** What keeps this node's data: it reads no other's snapshots. */
  readonly engine: EngineKind;
  /** Whether a snapshot that ends at `index` would bring anything (rule `wantsSnapshot`). */
  readonly wants: (index: LogIndex) => boolean;
  /** One that arrived is not in place yet, for want of room: what it brings is not here for good. */
  readonly isInstalling: boolean;
}

/** Orders the transfers of one sender: a leader counts them, and it leads once a term. */
interface Session {
  readonly term: Term;
  readonly transfer: number;
}

interface Incoming {
  session: Session;
  readonly position: LogPosition;
  readonly file: IncomingCheckpoint;
  heardMs: number;
  /** Given to the node. */
  hasArrived: boolean;
}

export class SnapshotReceiver {
  readonly #storage: IncomingStorage;
  readonly #incoming: Map<NodeId, Incoming> = new Map();
  /** The last transfer of each sender that is over, and how it ended: asked again, it is told again. */
  readonly #settled: Map<NodeId, { readonly session: Session; readonly outcome: SnapshotOutcome }> =
    new Map();

  constructor(storage: IncomingStorage) {
    this.#storage = storage;
  }

  /**
   * Takes a part.
   *
   * @returns what to answer; undefined for a part of a transfer that is long over
   * @throws StorageError when it cannot be written
   */
  receive(from: NodeId, part: Part, view: ReceiverView): Ack | End | undefined {
    const { term, transfer } = part;
    const session: Session = { term, transfer };
    const settled = this.#settled.get(from);
    const present = this.#incoming.get(from);
    if (isBefore(session, settled?.session) || isBefore(session, present?.session)) return undefined;
    if (settled !== undefined && !isBefore(settled.session, session))
      return { kind: 'snapshotEnd', term, transfer, outcome: settled.outcome };
    const refusal = refusalOf(part, view);
    // What came of it so far may be what the next leader offers.
    if (refusal === 'deposed') return { kind: 'snapshotEnd', term, transfer, outcome: refusal };
    // The sender asks again, and is told when it is true for good.
    if (refusal === 'installed' && view.isInstalling) return ackOf(part, 0, 0, 0);
    if (refusal !== undefined) return this.#end(from, session, refusal);
    const incoming = this.#transferOf(from, part, view.nowMs);
    // There is no room. The sender asks again after a while.
    if (incoming === undefined) return ackOf(part, 0, 0, 0);
    incoming.heardMs = view.nowMs;
    const { file } = incoming;
    const isSound = part.bytes.length > 0 && crc32(part.bytes) === part.partCrc32;
    const isTaken = isSound && file.write(part.offset, part.bytes);
    return ackOf(part, file.received, file.windowBytes, isTaken ? part.bytes.length : 0);
  }

  /**
   * Goes on with verifying what has arrived: about 1 MiB of each.
   *
   * @returns snapshots that are whole, each once, and refusals of those that are not
   */
  advance(view: ReceiverView): {
    readonly arrived: readonly ArrivedSnapshot[];
    readonly replies: readonly { readonly to: NodeId; readonly end: End }[];
  } {
    const arrived: ArrivedSnapshot[] = [];
    const replies: { readonly to: NodeId; readonly end: End }[] = [];
    for (const [from, incoming] of this.#incoming) {
      const { session, position, file } = incoming;
      if (!file.isComplete) {
        if (view.nowMs - incoming.heardMs > IDLE_MS) this.#pause(from, incoming);
        continue;
      }
      if (incoming.hasArrived) continue;
      const verdict = file.verify();
      if (verdict.kind === 'more') continue;
      if (verdict.kind === 'whole') {
        incoming.hasArrived = true;
        arrived.push({ from, term: session.term, position, file });
      } else {
        const outcome = verdict.kind === 'damaged' ? 'damaged' : 'unreadable';
        replies.push({ to: from, end: this.#end(from, session, outcome) });
      }
    }
    return { arrived, replies };
  }

  /** What became of an arrived snapshot: `installed` only when all up to its position is durable here. @returns what to tell */
  settle(arrived: ArrivedSnapshot, outcome: SnapshotOutcome): End | undefined {
    const incoming = this.#incoming.get(arrived.from);
    if (incoming?.file !== arrived.file) return undefined;
    return this.#end(arrived.from, incoming.session, outcome);
  }

  get isIdle(): boolean {
    return this.#incoming.size === 0;
  }

  /** Something arrived whole and is not verified to its end. */
  get isVerifying(): boolean {
    return [...this.#incoming.values()].some(({ file, hasArrived }) => file.isComplete && !hasArrived);
  }

  /** Stops receiving. What has arrived stays on disk. */
  clear(): void {
    for (const { file } of this.#incoming.values()) file.close();
    this.#incoming.clear();
  }

  /** Gives up what has not arrived whole, and its space. */
  giveUp(): void {
    for (const [from, { file, hasArrived }] of this.#incoming) {
      if (hasArrived) continue;
      file.discard();
      this.#incoming.delete(from);
    }
  }

  /** Ends the transfer of a sender, if there is one. Of a deposed leader the next may have the same snapshot. */
  #end(from: NodeId, session: Session, outcome: SnapshotOutcome): End {
    const file = this.#incoming.get(from)?.file;
    if (outcome === 'deposed') file?.close();
    else file?.discard();
    this.#incoming.delete(from);
    this.#settled.set(from, { session, outcome });
    return { kind: 'snapshotEnd', ...session, outcome };
  }

  #pause(from: NodeId, incoming: Incoming): void {
    incoming.file.close();
    this.#incoming.delete(from);
  }

  /** The transfer that a part belongs to, which may begin with it; undefined when there is no room. */
  #transferOf(from: NodeId, part: Part, nowMs: number): Incoming | undefined {
    const { term, transfer, position, totalBytes } = part;
    const session = { term, transfer };
    const identity = { ...position, totalBytes, crc32: part.crc32 };
    const present = this.#incoming.get(from);
    if (present !== undefined && isSameIdentity(present.file.identity, identity)) {
      present.session = session;
      return present;
    }
    if (present?.hasArrived === true) return undefined;
    if (present !== undefined) {
      present.file.discard();
      this.#incoming.delete(from);
    }
    const file = this.#takeOver(identity, term) ?? this.#begin(identity, term);
    if (file === undefined) return undefined;
    const incoming = { session, position, file, heardMs: nowMs, hasArrived: false };
    this.#incoming.set(from, incoming);
    return incoming;
  }

  /** The same bytes, on their way from a leader whose term is over. */
  #takeOver(identity: SnapshotIdentity, term: Term): IncomingCheckpoint | undefined {
    for (const [other, { file, session, hasArrived }] of this.#incoming) {
      if (!isSameIdentity(file.identity, identity) || session.term >= term || hasArrived) continue;
      this.#incoming.delete(other);
      return file;
    }
    return undefined;
  }

  #begin(identity: SnapshotIdentity, term: Term): IncomingCheckpoint | undefined {
    const others = [...this.#incoming];
    if (others.some(([, { file }]) => isSameIdentity(file.identity, identity))) return undefined;
    if (others.length >= INCOMING_MAX) {
      const [oldest] = others.toSorted(([, a], [, b]) => a.session.term - b.session.term);
      if (oldest === undefined || oldest[1].session.term >= term || oldest[1].hasArrived) return undefined;
      oldest[1].file.discard();
      this.#incoming.delete(oldest[0]);
    }
    return this.#storage.receive(
      identity,
      [...this.#incoming.values()].map(({ file }) => file),
    );
  }
}

/** Why a part is refused, whatever its bytes. */
function refusalOf(part: Part, view: ReceiverView): SnapshotOutcome | undefined {
  if (part.term < view.term) return 'deposed';
  if (part.totalBytes > LIMITS.snapshotBytesMax) return 'tooLarge';
  if (part.engine !== view.engine && view.wants(part.position.index)) return 'unreadable';
  return view.wants(part.position.index) ? undefined : 'installed';
}

function isBefore(session: Session, other: Session | undefined): boolean {
  if (other === undefined) return false;
  return session.term < other.term || (session.term === other.term && session.transfer < other.transfer);
}

function ackOf(part: Part, offset: number, windowBytes: number, partBytes: number): Ack {
  const { term, transfer, offset: partOffset } = part;
  return { kind: 'snapshotAck', term, transfer, offset, windowBytes, partOffset, partBytes };
}
