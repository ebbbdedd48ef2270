/**
 * A sender and a receiver of snapshots with a bad link between them, in virtual time and without nodes. What happens to
 * each envelope is for the test.
 */
import { assert } from '../../src/lib/assert.ts';
import { equalBytes } from '../../src/lib/bytes.ts';
import type { EngineKind, Envelope } from '../../src/net/protocol.ts';
import {
  type ArrivedSnapshot,
  type ReceiverView,
  SnapshotReceiver,
} from '../../src/node/snapshot-receiver.ts';
import { type EndedTransfer, SnapshotSender } from '../../src/node/snapshot-sender.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import type { SnapshotSource } from '../../src/storage/checkpoint.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';

export type Part = Extract<Envelope, { readonly kind: 'snapshotPart' }>;

/** What becomes of one envelope: the delays of its copies in milliseconds; none when it is lost. */
export interface Fate {
  readonly delaysMs: readonly number[];
  readonly isDamaged?: boolean;
}

export const GOOD: Fate = { delaysMs: [1] };
export const POSITION = { index: 9, term: 2 } as const;

const SENDER = 1;
const RECEIVER = 2;
const DIRECTORY = 'snapshots';

function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(DIRECTORY);
  fs.syncDirectory('.');
  return fs;
}

export class TransferRig {
  readonly fs: CrashFileSystem = newDisk();
  readonly ownFs: CrashFileSystem = newDisk();
  sender: SnapshotSender = new SnapshotSender();
  receiver: SnapshotReceiver;
  nowMs = 0;
  term = 3;
  /** The sender's source gives at most so many bytes at once. */
  pieceBytes: number = Infinity;
  /** Of the sender. */
  engine: EngineKind = 'memory';
  /** Of the receiver. */
  commit = 0;
  /** The fate of the nth envelope, counted over both directions. */
  fate: (number: number, envelope: Envelope) => Fate = () => GOOD;
  /** Whether the snapshot is of use to the sender's core. */
  isNeeded = true;
  /** The receiver's node is busy: nothing is installed. */
  isBusy = false;
  sentParts = 0;
  envelopes = 0;
  installs = 0;
  readonly ended: EndedTransfer[] = [];
  readonly bytes: Uint8Array;
  #store: MemoryStore;
  readonly #ownStore: MemoryStore;
  #waiting: ArrivedSnapshot[] = [];
  #onWay: { readonly atMs: number; readonly to: number; readonly envelope: Envelope }[] = [];

  /** @param length about so many bytes are to be sent */
  constructor(length: number) {
    this.#ownStore = new MemoryStore({ fs: this.ownFs, directory: DIRECTORY });
    const lines = Array.from({ length: Math.ceil(length / 1000) }, (_, i) => `${i} `.padEnd(999, 'x'));
    const writer = this.#ownStore.begin(POSITION, lines);
    while (!writer.advance());
    this.bytes = this.ownFs.peek(this.ownPath);
    this.#store = new MemoryStore({ fs: this.fs, directory: DIRECTORY });
    this.receiver = this.#newReceiver();
  }

  get ownPath(): string {
    return `${DIRECTORY}/snapshot-${String(POSITION.index).padStart(20, '0')}.jsonl`;
  }

  get view(): ReceiverView {
    const { nowMs, term, commit } = this;
    return { nowMs, term, engine: 'memory', wants: (index) => index > commit, isInstalling: false };
  }

  /** The core asks for a transfer. */
  start(): this {
    const open = (): SnapshotSource => inPieces(this.#ownStore.openSource(), this.pieceBytes);
    const snapshot = { position: POSITION, engine: this.engine, logBase: 9, open };
    this.sender.start(RECEIVER, this.term, snapshot, this.nowMs);
    return this;
  }

  /** Runs a millisecond at a time until the transfer is over. @returns how it ended; undefined when it is not over by then */
  run(withinMs = 60_000): EndedTransfer | undefined {
    const untilMs = this.nowMs + withinMs;
    while (this.ended.length === 0 && this.nowMs < untilMs) this.step();
    return this.ended[0];
  }

  /** What is due now; then time goes on until anything is due, unless it is over. */
  step(): void {
    this.#deliver();
    const { arrived, replies } = this.receiver.advance(this.view);
    for (const { to, end } of replies) this.#send(to, end);
    this.#waiting.push(...arrived);
    if (!this.isBusy) for (const snapshot of this.#waiting.splice(0)) this.#install(snapshot);
    const { parts, ended } = this.sender.advance(this.nowMs, () => this.isNeeded);
    for (const { to, part } of parts) {
      if (part.bytes.length > 0) this.sentParts += 1;
      this.#send(to, part);
    }
    this.ended.push(...ended);
    if (this.ended.length > 0) return;
    const dueMs = Math.min(this.sender.deadlineMs, ...this.#onWay.map(({ atMs }) => atMs));
    this.nowMs = Math.max(this.nowMs + 1, this.receiver.isVerifying ? 0 : Math.min(dueMs, this.nowMs + 1000));
  }

  /** The receiving process begins anew; the disk is as it was. */
  restartReceiver(): void {
    this.receiver.clear();
    this.#waiting = [];
    this.#store = new MemoryStore({ fs: this.fs, directory: DIRECTORY });
    this.receiver = this.#newReceiver();
    this.sender.connected(RECEIVER, this.nowMs);
  }

  /** The leader restarts, leads a later term, and is asked for the snapshot again. */
  restartSender(): void {
    this.sender.clear();
    this.sender = new SnapshotSender();
    this.term += 1;
    this.start();
  }

  /** Whether what was installed is what was to be sent. */
  get isSame(): boolean {
    return this.installs === 1 && equalBytes(this.fs.peek(this.ownPath), this.bytes);
  }

  #newReceiver(): SnapshotReceiver {
    return new SnapshotReceiver({
      receive: (identity, others) => this.#store.receive(identity, others),
    });
  }

  #install(snapshot: ArrivedSnapshot): void {
    this.#store.install(snapshot.file);
    this.installs += 1;
    this.commit = snapshot.position.index;
    const end = this.receiver.settle(snapshot, 'installed');
    if (end !== undefined) this.#send(SENDER, end);
  }

  #deliver(): void {
    const due = this.#onWay.filter(({ atMs }) => atMs <= this.nowMs);
    this.#onWay = this.#onWay.filter(({ atMs }) => atMs > this.nowMs);
    for (const { envelope } of due.toSorted((a, b) => a.atMs - b.atMs)) this.#take(envelope);
  }

  #take(envelope: Envelope): void {
    if (envelope.kind === 'snapshotPart') {
      const answer = this.receiver.receive(SENDER, envelope, this.view);
      if (answer !== undefined) this.#send(SENDER, answer);
      return;
    }
    this.sender.heard(RECEIVER, this.nowMs);
    if (envelope.kind === 'snapshotAck') this.sender.acknowledge(RECEIVER, envelope, this.nowMs);
    else if (envelope.kind === 'snapshotEnd') this.sender.end(RECEIVER, envelope, this.nowMs);
    else assert(false, 'Another envelope');
  }

  #send(to: number, envelope: Envelope): void {
    const { delaysMs, isDamaged = false } = this.fate(this.envelopes++, envelope);
    const carried = isDamaged ? damaged(envelope) : envelope;
    for (const delayMs of delaysMs) this.#onWay.push({ atMs: this.nowMs + delayMs, to, envelope: carried });
  }
}

/** A source that ends its reads where files end, as that of a tree does. */
function inPieces(source: SnapshotSource, pieceBytes: number): SnapshotSource {
  return {
    get totalBytes() {
      return source.totalBytes;
    },
    get crc32() {
      return source.crc32;
    },
    check: () => source.check(),
    read: (offset) => source.read(offset).subarray(0, pieceBytes),
    close: () => source.close(),
  };
}

/** A part with one bit flipped. */
function damaged(envelope: Envelope): Envelope {
  if (envelope.kind !== 'snapshotPart' || envelope.bytes.length === 0) return envelope;
  const bytes = envelope.bytes.slice();
  bytes[7] = (bytes[7] ?? 0) ^ 1;
  return { ...envelope, bytes };
}
