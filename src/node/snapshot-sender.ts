/**
 * Snapshots on their way to followers (§7): at most one transfer to each. Parts go one to a frame, within what the receiver
 * grants and what the link carries without a queue, so that heartbeats pass between them. What gets lost is sent again by
 * itself; what the receiver already holds is not sent at all.
 *
 *   verify ──► offer ──► send ──► wait for the end, which comes when the snapshot is installed
 *                ▲         │
 *                └─────────┘   no answer, or a new connection: ask again what is there
 *
 * A slow follower is waited for. A transfer is given up when the follower is silent or nothing moves for long; then the
 * core is told, looks again where the follower stands, and may ask for a snapshot once more.
 */
import { assert } from '../lib/assert.ts';
import { concatBytes } from '../lib/bytes.ts';
import { crc32 } from '../storage/checksum.ts';
import type { EngineKind, Envelope, SnapshotOutcome } from '../net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { LogPosition } from '../raft/messages.ts';
import type { SnapshotSource } from '../storage/checkpoint.ts';
import { SNAPSHOT_SLICE_BYTES } from '../storage/snapshot-file.ts';
import { PartWindow } from './part-window.ts';

type Part = Extract<Envelope, { readonly kind: 'snapshotPart' }>;
type Ack = Extract<Envelope, { readonly kind: 'snapshotAck' }>;
type End = Extract<Envelope, { readonly kind: 'snapshotEnd' }>;

/** An offer without an answer is repeated after this long, then after twice as long, … */
const OFFER_MS_MIN = 100;
const OFFER_MS_MAX = 2000;
/** A follower that says nothing at all for this long is given up. */
const SILENT_MS = 10_000;
/** An answering follower that takes nothing new for this long is given up. */
const STUCK_MS = 60_000;
/** So long at least a follower that has everything may take to install it, silently: its thread is busy. */
const INSTALL_MS_MIN = 30_000;
/** And this much longer for every MiB. */
const INSTALL_MS_PER_MIB = 100;
/** After a refusal the follower is left in peace for this long. */
const REFUSED_MS = 10_000;
/** Damaged on arrival this often, and it counts as a refusal. */
const DAMAGED_MAX = 3;

/** A snapshot shared by the transfers of it. */
interface Source {
  readonly position: LogPosition;
  readonly engine: EngineKind;
  readonly bytes: SnapshotSource;
  isVerified: boolean;
}

interface Outgoing {
  readonly term: Term;
  readonly source: Source;
  transfer: number;
  /** Parts under way; undefined until the receiver has said what it holds. */
  window: PartWindow | undefined;
  /** When to offer (again). */
  offerAtMs: number;
  offerMs: number;
  /** When anything was last heard from this follower. */
  heardMs: number;
  /** When it last took something new, or the transfer began. */
  movedMs: number;
  damagedCount: number;
  /** Refused: it ends when the pause is over. */
  refusal: { readonly why: string; readonly untilMs: number } | undefined;
  /** The receiver says that it is installed. */
  isInstalled: boolean;
}

/** A transfer that is over. The core must be told, exactly once. */
export interface EndedTransfer {
  readonly peer: NodeId;
  readonly ok: boolean;
  readonly position: LogPosition;
  /** In words. */
  readonly why: string;
}

export class SnapshotSender {
  readonly #outgoing: Map<NodeId, Outgoing> = new Map();
  readonly #sources: Map<LogIndex, Source> = new Map();
  #nextTransfer = 1;

  /**
   * Begins a transfer. One under way just goes on while the log continues behind its snapshot, newer ones or not:
   * beginning again for each of them, a slow transfer would never end.
   *
   * @param snapshot `open` is called when it is not open for another transfer; the sender closes it
   * @param snapshot.logBase where the log begins
   * @returns whether it is a new one
   */
  start(
    to: NodeId,
    term: Term,
    snapshot: {
      readonly position: LogPosition;
      readonly logBase: LogIndex;
      readonly engine: EngineKind;
      readonly open: () => SnapshotSource;
    },
    nowMs: number,
  ): boolean {
    const { position, logBase, engine } = snapshot;
    const present = this.#outgoing.get(to);
    if (present?.term === term && present.source.position.index >= logBase) return false;
    const source = this.#sources.get(position.index) ?? {
      position,
      engine,
      bytes: snapshot.open(),
      isVerified: false,
    };
    this.#sources.set(position.index, source);
    this.#outgoing.set(to, {
      term,
      source,
      transfer: this.#nextTransfer++,
      window: undefined,
      offerAtMs: nowMs,
      offerMs: OFFER_MS_MIN,
      heardMs: nowMs,
      movedMs: nowMs,
      damagedCount: 0,
      refusal: undefined,
      isInstalled: false,
    });
    return true;
  }

  /** Anything came from this peer: it is there. */
  heard(from: NodeId, nowMs: number): void {
    const outgoing = this.#outgoing.get(from);
    if (outgoing !== undefined) outgoing.heardMs = nowMs;
  }

  /** The connection to a peer is new: what was under way is lost, and what it holds must be asked anew. */
  connected(peer: NodeId, nowMs: number): void {
    const outgoing = this.#outgoing.get(peer);
    if (outgoing === undefined) return;
    this.#offerAnew(outgoing, nowMs);
    outgoing.heardMs = nowMs;
  }

  acknowledge(from: NodeId, ack: Ack, nowMs: number): void {
    const outgoing = this.#matching(from, ack);
    if (outgoing === undefined || !outgoing.source.isVerified) return;
    const { totalBytes } = outgoing.source.bytes;
    if (ack.offset > totalBytes) return;
    if (outgoing.window === undefined) {
      outgoing.window = new PartWindow({ totalBytes, offset: ack.offset, nowMs });
      outgoing.movedMs = nowMs;
      outgoing.offerMs = OFFER_MS_MIN;
    }
    if (outgoing.window.acknowledge(ack, nowMs)) {
      outgoing.movedMs = nowMs;
      outgoing.offerMs = OFFER_MS_MIN;
    }
    // What remains is to ask whether it is installed, or whether there is room now.
    if (outgoing.window.isIdle) outgoing.offerAtMs = nowMs + outgoing.offerMs;
  }

  /** The receiver says that the transfer is over. */
  end(from: NodeId, end: End, nowMs: number): void {
    const outgoing = this.#matching(from, end);
    if (outgoing === undefined || outgoing.refusal !== undefined) return;
    if (end.outcome === 'installed') {
      outgoing.isInstalled = true;
      return;
    }
    if (end.outcome === 'damaged' && ++outgoing.damagedCount < DAMAGED_MAX)
      return this.#offerAnew(outgoing, nowMs);
    outgoing.refusal = { why: REFUSALS[end.outcome], untilMs: nowMs + REFUSED_MS };
  }

  /**
   * Goes on with all transfers.
   *
   * @param isNeeded whether a snapshot sent to this peer in this term is of use; one that is not is dropped, and nobody told
   * @returns parts to send, each in a frame of its own, and the transfers that are over
   * @throws CorruptionError or StorageError when the own snapshot is damaged or cannot be read: nothing of it was sent
   */
  advance(
    nowMs: number,
    isNeeded: (peer: NodeId, term: Term) => boolean,
  ): {
    readonly parts: readonly { readonly to: NodeId; readonly part: Part }[];
    readonly ended: readonly EndedTransfer[];
  } {
    const parts: { readonly to: NodeId; readonly part: Part }[] = [];
    const ended: EndedTransfer[] = [];
    for (const source of this.#sources.values()) source.isVerified ||= source.bytes.check();
    for (const [peer, outgoing] of this.#outgoing) {
      if (!isNeeded(peer, outgoing.term)) {
        this.#outgoing.delete(peer);
        continue;
      }
      const end = endOf(outgoing, nowMs);
      if (end !== undefined) {
        this.#outgoing.delete(peer);
        ended.push({ peer, position: outgoing.source.position, ...end });
      } else if (outgoing.source.isVerified && outgoing.refusal === undefined) {
        for (const part of partsOf(outgoing, nowMs)) parts.push({ to: peer, part });
      }
    }
    this.#closeUnused();
    return { parts, ended };
  }

  /** When {@link advance} next has something to do; -Infinity for at once. */
  get deadlineMs(): number {
    let deadlineMs = Infinity;
    for (const outgoing of this.#outgoing.values()) {
      if (!outgoing.source.isVerified) return -Infinity;
      deadlineMs = Math.min(deadlineMs, dueMs(outgoing));
    }
    return deadlineMs;
  }

  /** Where the log of each follower will begin when its transfer has succeeded. */
  get positions(): ReadonlyMap<NodeId, LogIndex> {
    return new Map([...this.#outgoing].map(([peer, { source }]) => [peer, source.position.index]));
  }

  get isIdle(): boolean {
    return this.#outgoing.size === 0;
  }

  /** Ends all transfers and closes what they read. */
  clear(): void {
    this.#outgoing.clear();
    for (const { bytes } of this.#sources.values()) bytes.close();
    this.#sources.clear();
  }

  #matching(from: NodeId, answer: { readonly term: Term; readonly transfer: number }): Outgoing | undefined {
    const outgoing = this.#outgoing.get(from);
    return outgoing?.term === answer.term && outgoing.transfer === answer.transfer ? outgoing : undefined;
  }

  /** Under a new number, so that nothing said about what was sent before is taken for an answer. */
  #offerAnew(outgoing: Outgoing, nowMs: number): void {
    outgoing.transfer = this.#nextTransfer++;
    outgoing.window = undefined;
    outgoing.offerAtMs = nowMs;
    outgoing.offerMs = OFFER_MS_MIN;
  }

  /** A verified one stays open while it is the newest: verifying is the dear part of a transfer that is tried again. */
  #closeUnused(): void {
    const newest = Math.max(...this.#sources.keys());
    const used = new Set([...this.#outgoing.values()].map(({ source }) => source));
    for (const [index, source] of this.#sources) {
      if (index === newest || used.has(source)) continue;
      source.bytes.close();
      this.#sources.delete(index);
    }
  }
}

const REFUSALS: Readonly<Record<Exclude<SnapshotOutcome, 'installed'>, string>> = {
  deposed: 'it knows of a later term',
  tooLarge: 'it is over the limit there',
  damaged: 'it arrives damaged again and again',
  unreadable: 'it is of an engine or a format that is not known there',
};

/** Whether a transfer is over, and how. */
function endOf(
  outgoing: Outgoing,
  nowMs: number,
): { readonly ok: boolean; readonly why: string } | undefined {
  if (outgoing.isInstalled) return { ok: true, why: 'it is installed' };
  const { refusal, source } = outgoing;
  if (refusal !== undefined) return nowMs < refusal.untilMs ? undefined : { ok: false, why: refusal.why };
  const silentMs = nowMs - outgoing.heardMs;
  const stuckMs = nowMs - outgoing.movedMs;
  if (outgoing.window?.isComplete === true) {
    const installMs = INSTALL_MS_MIN + (source.bytes.totalBytes / 2 ** 20) * INSTALL_MS_PER_MIB;
    if (stuckMs < installMs) return undefined;
    return { ok: false, why: `it is not installed after ${Math.round(stuckMs)} ms` };
  }
  if (silentMs >= SILENT_MS) return { ok: false, why: `nothing heard for ${Math.round(silentMs)} ms` };
  if (stuckMs >= STUCK_MS) return { ok: false, why: `no progress for ${Math.round(stuckMs)} ms` };
  return undefined;
}

function dueMs(outgoing: Outgoing): number {
  const { refusal, window } = outgoing;
  if (refusal !== undefined) return refusal.untilMs;
  return window === undefined || window.isIdle ? outgoing.offerAtMs : window.deadlineMs;
}

function* partsOf(outgoing: Outgoing, nowMs: number): IterableIterator<Part> {
  const { window, source } = outgoing;
  for (const offset of window?.take(nowMs) ?? []) {
    const length = window?.endOf(offset) ?? 0;
    yield partOf(outgoing, offset, readPart(source.bytes, offset, length));
  }
  if ((window !== undefined && !window.isIdle) || nowMs < outgoing.offerAtMs) return;
  outgoing.offerAtMs = nowMs + outgoing.offerMs;
  outgoing.offerMs = Math.min(outgoing.offerMs * 2, OFFER_MS_MAX);
  yield partOf(outgoing, window?.acknowledged ?? 0, new Uint8Array(0));
}

/** Exactly `length` bytes: a source may give them in pieces. */
function readPart(source: SnapshotSource, offset: number, length: number): Uint8Array {
  const first = source.read(offset);
  if (first.length >= length) return first.subarray(0, length);
  const pieces = [first];
  let bytes = first.length;
  while (bytes < length) {
    const piece = source.read(offset + bytes).subarray(0, length - bytes);
    assert(piece.length > 0, 'A source gives something up to its end');
    pieces.push(piece);
    bytes += piece.length;
  }
  return concatBytes(pieces);
}

function partOf(outgoing: Outgoing, offset: number, bytes: Uint8Array): Part {
  const { term, transfer, source } = outgoing;
  assert(bytes.length <= SNAPSHOT_SLICE_BYTES, 'A part is at most a slice');
  return {
    kind: 'snapshotPart',
    term,
    transfer,
    position: source.position,
    engine: source.engine,
    totalBytes: source.bytes.totalBytes,
    crc32: source.bytes.crc32,
    offset,
    partCrc32: crc32(bytes),
    bytes,
  };
}
