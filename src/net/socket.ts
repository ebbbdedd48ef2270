/**
 * The transport between processes: plain TCP, one connection each way between two members, frames as stream-frames.ts
 * has them. Both sides of a connection begin with their node id in a frame of its own. A node dials every peer and sends
 * on what it dialled. A node that it does not dial, because it is no member, may call too; it is answered on its own
 * connection. A frame that is too long, damaged or not understood closes the connection. There is no authentication:
 * bind to loopback or to a trusted network.
 */
import { type Server, type Socket, createServer, connect as dial } from 'node:net';
import { displayText, utf8 } from '../lib/bytes.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Address } from './address.ts';
import { decodeFrame, encodeFrame } from './codec.ts';
import type { Envelope } from './protocol.ts';
import { FRAME_BYTES_MAX, FrameSplitter, framed } from './stream-frames.ts';
import type { Transport } from './transport.ts';

/** Bytes waiting for a slow peer; further frames are dropped, and Raft sends again what matters. */
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2000;
/** More than all that is let in: members, strangers, and those who have not said who they are. */
const CONNECTIONS_MAX = 96;
/** Connections of nodes that are no peers; the oldest is closed for a new one. */
const STRANGERS_MAX = 16;
/** Connections that have not said who they are; the oldest is closed for a new one, so that silence shuts nobody out. */
const SILENT_MAX = 32;
/** Whoever calls must say who it is by then. */
const GREETING_MS = 5000;
const GREETING_BYTES_MAX = 64;
/** What is on its way to a peer that was dropped may still leave by then. */
const LINGER_MS = 1000;
const MAGIC = 'oxide-kv peer 1 ';

/** A node to dial. */
export interface SocketPeer {
  readonly id: NodeId;
  /** Undefined: where it always was; a node that was never dialled is not. */
  readonly address: Address | undefined;
}

export interface SocketTransportOptions {
  readonly self: NodeId;
  readonly host: string;
  readonly port: number;
  readonly peers: readonly SocketPeer[];
  /** A connection to or from this node is new: it may have restarted. */
  readonly connected: (peer: NodeId) => void;
  /** The connection that this node dialled broke: the peer may be gone. */
  readonly disconnected?: (peer: NodeId) => void;
  /** `from` is what the caller says it is. */
  readonly receive: (from: NodeId, envelopes: readonly Envelope[]) => void;
  /** Default 5 s. */
  readonly greetingMs?: number;
}

interface Link {
  readonly id: NodeId;
  readonly address: Address;
  socket: Socket | undefined;
  isUp: boolean;
  /** Not dialled any more. */
  isDropped: boolean;
  backoffMs: number;
  timer: NodeJS.Timeout | undefined;
}

/** {@link Transport} over TCP: dials every peer, again and again, and listens for calls. */
export class SocketTransport implements Transport {
  readonly #options: SocketTransportOptions;
  readonly #links: Map<NodeId, Link> = new Map();
  readonly #accepted: Set<Socket> = new Set();
  /** Those of them that have not said who they are, oldest first. */
  readonly #silent: Set<Socket> = new Set();
  /** The newest connection of each node that called, oldest first. */
  readonly #callers: Map<NodeId, Socket> = new Map();
  #server: Server | undefined;
  #isClosed = false;

  private constructor(options: SocketTransportOptions) {
    this.#options = options;
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
    transport.setPeers(options.peers);
    return transport;
  }

  /** Dials these from now on, and no others. */
  setPeers(peers: readonly SocketPeer[]): void {
    if (this.#isClosed) return;
    const wanted = new Map(peers.map((peer) => [peer.id, peer.address]));
    for (const link of this.#links.values()) if (!wanted.has(link.id)) this.#drop(link);
    for (const [id, address] of wanted) {
      const link = this.#links.get(id);
      if (address === undefined || isSame(link?.address, address)) continue;
      if (link !== undefined) this.#drop(link);
      const fresh: Link = {
        id,
        address,
        socket: undefined,
        isUp: false,
        isDropped: false,
        backoffMs: RECONNECT_MS_MIN,
        timer: undefined,
      };
      this.#links.set(id, fresh);
      this.#dial(fresh);
    }
  }

  send(to: NodeId, envelopes: readonly Envelope[]): void {
    const link = this.#links.get(to);
    const socket = link === undefined ? this.#callers.get(to) : link.isUp ? link.socket : undefined;
    if (socket === undefined || socket.destroyed || socket.writableLength > QUEUE_BYTES_MAX) return;
    const frame = encodeFrame(envelopes);
    if (frame.length <= FRAME_BYTES_MAX) return void socket.write(framed(frame));
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

  #drop(link: Link): void {
    link.isDropped = true;
    this.#links.delete(link.id);
    clearTimeout(link.timer);
    const { socket } = link;
    if (socket === undefined || !link.isUp) return void socket?.destroy();
    socket.end();
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  }

  #dial(link: Link): void {
    if (this.#isClosed || link.isDropped) return;
    const socket = dial({ ...link.address, noDelay: true, keepAlive: true });
    link.socket = socket;
    socket.on('connect', () => {
      link.isUp = true;
      link.backoffMs = RECONNECT_MS_MIN;
      socket.write(this.#greeting());
      this.#options.connected(link.id);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      const { isUp } = link;
      link.isUp = false;
      if (this.#isClosed || link.isDropped) return;
      if (isUp) this.#options.disconnected?.(link.id);
      link.timer = setTimeout(() => {
        link.timer = undefined;
        this.#dial(link);
      }, link.backoffMs);
      link.backoffMs = Math.min(link.backoffMs * 2, RECONNECT_MS_MAX);
    });
    this.#listen(socket, (id) => {
      // Another node lives there: it will not go away soon.
      if (id !== link.id) link.backoffMs = RECONNECT_MS_MAX;
      return id === link.id;
    });
  }

  #greeting(): Uint8Array {
    return framed(utf8(`${MAGIC}${this.#options.self}`));
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
    this.#silent.add(socket);
    const [oldest] = this.#silent;
    if (this.#silent.size > SILENT_MAX) oldest?.destroy();
    socket.setNoDelay(true);
    const timer = setTimeout(() => socket.destroy(), this.#options.greetingMs ?? GREETING_MS);
    let caller: NodeId | undefined;
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(timer);
      this.#accepted.delete(socket);
      this.#silent.delete(socket);
      if (caller !== undefined && this.#callers.get(caller) === socket) this.#callers.delete(caller);
    });
    this.#listen(socket, (id) => {
      if (id === undefined || id === this.#options.self) return false;
      clearTimeout(timer);
      this.#silent.delete(socket);
      caller = id;
      this.#welcome(id, socket);
      return true;
    });
  }

  /** A node calls. What its earlier connection still holds is of an earlier life, for all we know. */
  #welcome(id: NodeId, socket: Socket): void {
    this.#callers.get(id)?.destroy();
    this.#callers.delete(id);
    this.#callers.set(id, socket);
    const strangers = [...this.#callers].filter(([caller]) => !this.#links.has(caller));
    const [oldest] = strangers;
    if (strangers.length > STRANGERS_MAX && oldest !== undefined) oldest[1].destroy();
    socket.write(this.#greeting());
    this.#options.connected(id);
    this.#dialAtOnce(id);
  }

  /** Reads a connection. `greeted` is told the id that the other side begins with, and says whether it will do. */
  #listen(socket: Socket, greeted: (id: NodeId | undefined) => boolean): void {
    let peer: NodeId | undefined;
    const frames = new FrameSplitter(GREETING_BYTES_MAX);
    socket.on('data', (chunk) => {
      for (const payload of frames.push(chunk)) {
        if (peer === undefined) {
          const id = payload === undefined ? undefined : idOf(payload);
          if (!greeted(id)) {
            socket.destroy();
            break;
          }
          peer = id;
          frames.payloadBytesMax = FRAME_BYTES_MAX;
          continue;
        }
        const envelopes = payload === undefined ? undefined : decodeFrame(payload);
        // The one that replaced this connection may be of another life.
        if (envelopes === undefined || socket.destroyed) {
          socket.destroy();
          break;
        }
        this.#options.receive(peer, envelopes);
      }
    });
  }
}

/** Who begins a connection with this payload; undefined for somebody who does not speak our language. */
function idOf(payload: Uint8Array): NodeId | undefined {
  const text = displayText(payload);
  const id = Number(text.slice(MAGIC.length));
  return text === `${MAGIC}${id}` && Number.isSafeInteger(id) && id >= 1 ? id : undefined;
}

function isSame(a: Address | undefined, b: Address): boolean {
  return a?.host === b.host && a.port === b.port;
}
