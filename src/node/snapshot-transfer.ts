/**
 * Snapshots between nodes (§7): sent in parts with a small window, so that heartbeats and appends pass between them,
 * and checked as a whole before anything of the receiver changes.
 */
import { assert } from '../lib/assert.ts';
import { crc32 } from '../lib/crc32.ts';
import { type Envelope, LIMITS } from '../net/protocol.ts';
import type { NodeId, Term } from '../raft/entry.ts';
import type { LogPosition } from '../raft/messages.ts';

type Part = Extract<Envelope, { readonly kind: 'snapshotPart' }>;

/** Parts on their way to one follower. */
const WINDOW_PARTS = 4;
/** Without an acknowledgement for this long, the follower is given up until it asks again. */
const STALLED_MS = 2000;

interface Outgoing {
  readonly transfer: number;
  readonly term: Term;
  readonly position: LogPosition;
  readonly bytes: Uint8Array;
  readonly crc32: number;
  sent: number;
  acknowledged: number;
  progressMs: number;
}

/** The sending side: at most one transfer to each follower. */
export class SnapshotSender {
  readonly #outgoing: Map<NodeId, Outgoing> = new Map();
  #nextTransfer = 1;

  /** Begins a transfer, replacing an older one. `bytes` must not change. */
  start(
    to: NodeId,
    term: Term,
    snapshot: { readonly position: LogPosition; readonly bytes: Uint8Array },
    nowMs: number,
  ): void {
    const { position, bytes } = snapshot;
    this.#outgoing.set(to, {
      transfer: this.#nextTransfer++,
      term,
      position,
      bytes,
      crc32: crc32(bytes),
      sent: 0,
      acknowledged: 0,
      progressMs: nowMs,
    });
  }

  acknowledge(from: NodeId, transfer: number, offset: number, nowMs: number): void {
    const outgoing = this.#outgoing.get(from);
    if (outgoing?.transfer !== transfer || offset > outgoing.sent || offset <= outgoing.acknowledged) return;
    outgoing.acknowledged = offset;
    outgoing.progressMs = nowMs;
  }

  /** The next parts that fit into the window. */
  parts(): readonly { readonly to: NodeId; readonly part: Part }[] {
    const parts: { readonly to: NodeId; readonly part: Part }[] = [];
    for (const [to, outgoing] of this.#outgoing) {
      const windowEnd = outgoing.acknowledged + WINDOW_PARTS * LIMITS.snapshotPartBytesMax;
      while (outgoing.sent < outgoing.bytes.length && outgoing.sent < windowEnd) {
        const end = Math.min(outgoing.sent + LIMITS.snapshotPartBytesMax, outgoing.bytes.length);
        parts.push({ to, part: partOf(outgoing, end) });
        outgoing.sent = end;
      }
    }
    return parts;
  }

  /** Transfers that ended since the last call: all acknowledged, or stalled. */
  ended(nowMs: number): readonly { readonly peer: NodeId; readonly ok: boolean }[] {
    const ended: { readonly peer: NodeId; readonly ok: boolean }[] = [];
    for (const [peer, outgoing] of this.#outgoing) {
      const ok = outgoing.acknowledged === outgoing.bytes.length;
      if (ok || nowMs - outgoing.progressMs > STALLED_MS) ended.push({ peer, ok });
    }
    for (const { peer } of ended) this.#outgoing.delete(peer);
    return ended;
  }

  get isIdle(): boolean {
    return this.#outgoing.size === 0;
  }

  clear(): void {
    this.#outgoing.clear();
  }
}

function partOf(outgoing: Outgoing, end: number): Part {
  return {
    kind: 'snapshotPart',
    transfer: outgoing.transfer,
    term: outgoing.term,
    position: outgoing.position,
    offset: outgoing.sent,
    totalBytes: outgoing.bytes.length,
    crc32: outgoing.crc32,
    bytes: outgoing.bytes.subarray(outgoing.sent, end),
  };
}

/** A snapshot that arrived whole. */
export interface ArrivedSnapshot {
  readonly from: NodeId;
  readonly term: Term;
  readonly position: LogPosition;
  readonly bytes: Uint8Array;
}

/** The receiving side: one transfer at a time, the newest wins. */
export class SnapshotReceiver {
  #from: NodeId = 0;
  #transfer = 0;
  #crc32 = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #received = 0;

  /**
   * Takes a part. Parts of one transfer come in order; a lost one ends the transfer, and the sender starts again.
   *
   * @returns the acknowledgement to send, if any, and the snapshot once it is whole and its checksum agrees
   */
  receive(
    from: NodeId,
    part: Part,
  ): { readonly ack: number | undefined; readonly arrived: ArrivedSnapshot | undefined } {
    // A sender that restarted counts its transfers anew: the checksum tells them apart.
    const isNew = from !== this.#from || part.transfer !== this.#transfer || part.crc32 !== this.#crc32;
    if (isNew && part.offset === 0 && part.totalBytes <= LIMITS.snapshotBytesMax) {
      this.#from = from;
      this.#transfer = part.transfer;
      this.#crc32 = part.crc32;
      this.#bytes = new Uint8Array(part.totalBytes);
      this.#received = 0;
    } else if (isNew) return { ack: undefined, arrived: undefined };
    const fits =
      part.totalBytes === this.#bytes.length && part.offset + part.bytes.length <= this.#bytes.length;
    if (part.offset !== this.#received || !fits) return { ack: undefined, arrived: undefined };
    this.#bytes.set(part.bytes, part.offset);
    this.#received += part.bytes.length;
    if (this.#received < this.#bytes.length) return { ack: this.#received, arrived: undefined };
    const bytes = this.#bytes;
    this.#clear();
    if (crc32(bytes) !== part.crc32) return { ack: undefined, arrived: undefined };
    assert(bytes.length === part.totalBytes, 'A snapshot changed its size');
    return { ack: bytes.length, arrived: { from, term: part.term, position: part.position, bytes } };
  }

  #clear(): void {
    this.#from = 0;
    this.#transfer = 0;
    this.#bytes = new Uint8Array(0);
    this.#received = 0;
  }
}
