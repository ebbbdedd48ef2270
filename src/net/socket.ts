/**
 * The transport between processes: plain TCP, one connection each way between two nodes, frames of
 *
 *   length u32 little-endian | crc32 u32 of the payload | payload
 *
 * A connection begins with the sender's node id in a frame of its own. A node dials every peer and sends only on what
 * it dialled; it receives on what it accepted. A frame that is too long, damaged or not understood closes the
 * connection. There is no authentication: bind to loopback or to a trusted network.
 */
import { type Server, type Socket, createServer, connect as dial } from 'node:net';
import { concatBytes, displayText, utf8 } from '../lib/bytes.ts';
import { crc32 } from '../lib/crc32.ts';
import type { NodeId } from '../raft/entry.ts';
import { decodeFrame, encodeFrame } from './codec.ts';
import type { Envelope } from './protocol.ts';
import type { Transport } from './transport.ts';

const HEADER_BYTES = 8;
/** A frame: an append at its limit, or a burst of forwarded requests. */
const FRAME_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes waiting for a slow peer; further frames are dropped, and Raft sends again what matters. */
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2000;
const CONNECTIONS_MAX = 64;
const MAGIC = 'oxide-kv peer 1 ';

export interface SocketTransportOptions {
  readonly self: NodeId;
  readonly host: string;
  readonly port: number;
  readonly peers: readonly { readonly id: NodeId; readonly host: string; readonly port: number }[];
  /** A connection to or from this peer is new: it may have restarted. */
  readonly connected: (peer: NodeId) => void;
  readonly receive: (from: NodeId, envelopes: readonly Envelope[]) => void;
}

interface Link {
  readonly id: NodeId;
  readonly host: string;
  readonly port: number;
  socket: Socket | undefined;
  isUp: boolean;
  backoffMs: number;
  timer: NodeJS.Timeout | undefined;
}

/** {@link Transport} over TCP: dials every peer, again and again, and listens for their calls. */
export class SocketTransport implements Transport {
  readonly #options: SocketTransportOptions;
  readonly #links: ReadonlyMap<NodeId, Link>;
  readonly #accepted: Set<Socket> = new Set();
  #server: Server | undefined;
  #isClosed = false;

  private constructor(options: SocketTransportOptions) {
    this.#options = options;
    this.#links = new Map(
      options.peers.map((peer) => [
        peer.id,
        { ...peer, socket: undefined, isUp: false, backoffMs: RECONNECT_MS_MIN, timer: undefined },
      ]),
    );
  }

  /** Listens, and begins to dial every peer. Rejects when the address is taken. */
  static async listen(options: SocketTransportOptions): Promise<SocketTransport> {
    const transport = new SocketTransport(options);
    const server = createServer((socket) => transport.#accept(socket));
    server.maxConnections = CONNECTIONS_MAX;
    transport.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, options.host, () => {
        server.off('error', reject);
        resolve();
      });
    });
    for (const link of transport.#links.values()) transport.#dial(link);
    return transport;
  }

  send(to: NodeId, envelopes: readonly Envelope[]): void {
    const link = this.#links.get(to);
    if (link?.socket === undefined || !link.isUp || link.socket.writableLength > QUEUE_BYTES_MAX) return;
    const frame = encodeFrame(envelopes);
    if (frame.length <= FRAME_BYTES_MAX) return void link.socket.write(framed(frame));
    // A burst of large requests: the peer would hang up on it, and again on the next.
    const half = Math.ceil(envelopes.length / 2);
    if (half === envelopes.length) return;
    this.send(to, envelopes.slice(0, half));
    this.send(to, envelopes.slice(half));
  }

  /** Closes every connection and stops listening. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const link of this.#links.values()) {
      clearTimeout(link.timer);
      link.socket?.destroy();
    }
    for (const socket of this.#accepted) socket.destroy();
    const server = this.#server;
    if (server !== undefined) await new Promise<void>((resolve) => void server.close(() => resolve()));
  }

  #dial(link: Link): void {
    if (this.#isClosed) return;
    const socket = dial({ host: link.host, port: link.port, noDelay: true, keepAlive: true });
    link.socket = socket;
    socket.on('connect', () => {
      link.isUp = true;
      link.backoffMs = RECONNECT_MS_MIN;
      socket.write(framed(utf8(`${MAGIC}${this.#options.self}`)));
      this.#options.connected(link.id);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      link.isUp = false;
      if (this.#isClosed) return;
      link.timer = setTimeout(() => {
        link.timer = undefined;
        this.#dial(link);
      }, link.backoffMs);
      link.backoffMs = Math.min(link.backoffMs * 2, RECONNECT_MS_MAX);
    });
    // Nothing is said on a connection that we dialled, but it must be read for its end to be seen.
    socket.resume();
  }

  /** A peer that has just dialled us is there: nothing is won by waiting before we dial it. */
  #dialAtOnce(peer: NodeId): void {
    const link = this.#links.get(peer);
    if (link?.timer === undefined) return;
    clearTimeout(link.timer);
    link.timer = undefined;
    link.backoffMs = RECONNECT_MS_MIN;
    this.#dial(link);
  }

  #accept(socket: Socket): void {
    this.#accepted.add(socket);
    socket.setNoDelay(true);
    let peer: NodeId | undefined;
    const frames = new FrameSplitter();
    socket.on('data', (chunk) => {
      for (const payload of frames.push(chunk)) {
        if (peer === undefined) {
          peer = payload === undefined ? undefined : this.#greeted(payload);
          if (peer !== undefined) continue;
        }
        const envelopes = payload === undefined || peer === undefined ? undefined : decodeFrame(payload);
        if (envelopes === undefined || peer === undefined) {
          socket.destroy();
          break;
        }
        this.#options.receive(peer, envelopes);
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#accepted.delete(socket));
  }

  /** Takes the first frame of a connection. @returns whose it is; undefined for nobody we know */
  #greeted(payload: Uint8Array): NodeId | undefined {
    const text = payload.length < 64 ? displayText(payload) : '';
    const id = Number(text.slice(MAGIC.length));
    if (text !== `${MAGIC}${id}` || !this.#links.has(id)) return undefined;
    this.#options.connected(id);
    this.#dialAtOnce(id);
    return id;
  }
}

function framed(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crc32(payload), true);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** Cuts a stream into frames. Chunks of a frame are joined once, when it is whole. */
export class FrameSplitter {
  #parts: Uint8Array[] = [];
  #bytes = 0;
  /** Length of the frame that is being gathered, header included; undefined while the header is incomplete. */
  #needed: number | undefined;
  #isBroken = false;

  /** Whole payloads, in order; undefined, and nothing ever after, when the stream is not one of frames. */
  *push(chunk: Uint8Array): IterableIterator<Uint8Array | undefined> {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    while (!this.#isBroken) {
      this.#needed ??= this.#readLength();
      if (this.#needed !== undefined && this.#needed > HEADER_BYTES + FRAME_BYTES_MAX) break;
      if (this.#needed === undefined || this.#bytes < this.#needed) return;
      const all = this.#joined();
      const payload = all.slice(HEADER_BYTES, this.#needed);
      if (crc32(payload) !== new DataView(all.buffer, all.byteOffset).getUint32(4, true)) break;
      const rest = all.subarray(this.#needed);
      this.#parts = [rest];
      this.#bytes = rest.length;
      this.#needed = undefined;
      yield payload;
    }
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#parts = [];
    yield undefined;
  }

  #readLength(): number | undefined {
    if (this.#bytes < HEADER_BYTES) return undefined;
    const all = this.#joined();
    return HEADER_BYTES + new DataView(all.buffer, all.byteOffset).getUint32(0, true);
  }

  #joined(): Uint8Array {
    const all =
      this.#parts.length === 1 && this.#parts[0] !== undefined ? this.#parts[0] : concatBytes(this.#parts);
    this.#parts = [all];
    return all;
  }
}
