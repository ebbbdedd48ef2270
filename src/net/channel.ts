/**
 * The transport between threads of one process: one MessagePort to each peer, one frame a send. Link faults are applied
 * here: on sending, and once more on arrival, so that a cut also stops what was on its way.
 */
import type { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';
import { decodeFrame, encodeFrame } from './codec.ts';
import type { LinkTable } from './faults.ts';
import { type FramePort, postFrame } from './frame-port.ts';
import type { Envelope } from './protocol.ts';
import type { Transport } from './transport.ts';

/** Frames that a slow link may hold back at once; further ones are lost, as in a full router. */
const DELAYED_FRAMES_MAX = 4096;

export class ChannelTransport implements Transport {
  readonly #self: NodeId;
  readonly #links: LinkTable;
  readonly #random: Random;
  readonly #later: (delayMs: number, run: () => void) => void;
  readonly #receive: (from: NodeId, envelopes: readonly Envelope[]) => void;
  readonly #disconnected: (peer: NodeId) => void;
  readonly #ports: Map<NodeId, FramePort> = new Map();
  #delayed = 0;

  /**
   * @param options `later`: runs something after a while: the worker's timer; `disconnected`: a port in use was closed by the
   *   other side, whose thread may be gone
   */
  constructor(options: {
    readonly self: NodeId;
    readonly links: LinkTable;
    readonly random: Random;
    readonly later: (delayMs: number, run: () => void) => void;
    readonly receive: (from: NodeId, envelopes: readonly Envelope[]) => void;
    readonly disconnected?: (peer: NodeId) => void;
  }) {
    this.#self = options.self;
    this.#links = options.links;
    this.#random = options.random;
    this.#later = options.later;
    this.#receive = options.receive;
    this.#disconnected = options.disconnected ?? (() => undefined);
  }

  /** Uses `port` for this peer from now on, closing an older one. The port belongs to the transport. */
  connect(peer: NodeId, port: FramePort): void {
    this.#ports.get(peer)?.close();
    this.#ports.set(peer, port);
    port.on('message', (frame) => {
      if (this.#ports.get(peer) !== port || this.#links.isBlocked(peer, this.#self)) return;
      const envelopes = frame instanceof Uint8Array ? decodeFrame(frame) : undefined;
      if (envelopes !== undefined) this.#receive(peer, envelopes);
    });
    port.on('close', () => {
      if (this.#ports.get(peer) !== port) return;
      this.#ports.delete(peer);
      this.#disconnected(peer);
    });
  }

  send(to: NodeId, envelopes: readonly Envelope[]): void {
    const port = this.#ports.get(to);
    if (port === undefined) return;
    const fate = this.#links.fate(this.#self, to, this.#random);
    if (fate.kind === 'drop') return;
    const frame = encodeFrame(envelopes);
    if (fate.kind === 'deliver') return postFrame(port, frame);
    if (this.#delayed >= DELAYED_FRAMES_MAX) return;
    this.#delayed += 1;
    this.#later(fate.delayMs, () => {
      this.#delayed -= 1;
      if (this.#ports.get(to) === port && !this.#links.isBlocked(this.#self, to)) postFrame(port, frame);
    });
  }

  close(): void {
    for (const port of this.#ports.values()) port.close();
    this.#ports.clear();
  }
}
