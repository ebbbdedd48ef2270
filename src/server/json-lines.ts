/**
 * The JSON-lines door: a TCP port of one node, run inside its thread. Accepts and bounds connections and keeps their
 * time; json-connection.ts serves one, json-codec.ts holds the language.
 */
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { assert } from '../lib/assert.ts';
import { messageOf } from '../lib/errors.ts';
import type { NodeService } from '../net/protocol.ts';
import { Guests } from './guests.ts';
import { JsonConnection } from './json-connection.ts';
import type { ConnectionHost } from './json-connection.ts';
import { DOOR_LIMITS } from './limits.ts';
import type { DoorLimits } from './limits.ts';

/** What a door needs. */
export interface JsonLinesDoorOptions {
  readonly host: string;
  /** 0 takes any free port; see {@link JsonLinesDoor.port}. */
  readonly port: number;
  readonly service: NodeService;
  /** Pass requests on to the leader; false answers "Not a leader" with its address. */
  readonly forward: boolean;
  /** Replaces single bounds of {@link DOOR_LIMITS}. */
  readonly limits?: Partial<DoorLimits>;
}

/** The port could not be opened. `code` is the system's: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`… */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: string;

  constructor(code: string, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

const BACKLOG = 1024;
const SWEEP_MS_MAX = 1_000;
const KEEP_ALIVE_MS = 60_000;

/** An open door. Owns its port, its connections and one timer until {@link close}. */
export class JsonLinesDoor {
  readonly port: number;
  readonly #server: Server;
  readonly #host: ConnectionHost;
  /** Connections being served, and the address that each counts for. */
  readonly #connections = new Map<JsonConnection, string>();
  readonly #guests: Guests;
  readonly #refused = new Set<JsonConnection>();
  readonly #sweepMs: number;
  readonly #sweep: NodeJS.Timeout;
  #nowMs = 0;
  #sweptAtMs: number = performance.now();
  #closing: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * Opens the port.
   *
   * @throws ListenError when the system refuses it
   */
  static async listen(options: JsonLinesDoorOptions): Promise<JsonLinesDoor> {
    const { host, port } = options;
    const server = createServer({
      allowHalfOpen: true, // `nc` closes its side first and still wants its answers
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(host, port, error)));
      server.listen({ host, port, backlog: BACKLOG }, resolve);
    });
    return new JsonLinesDoor(server, options);
  }

  private constructor(server: Server, options: JsonLinesDoorOptions) {
    const address = server.address();
    assert(address !== null && typeof address === 'object', 'A listening server has an address');
    const limits = { ...DOOR_LIMITS, ...options.limits };
    this.port = address.port;
    this.#server = server;
    this.#guests = new Guests(limits.connectionsPerAddressMax);
    this.#host = {
      service: options.service,
      forward: options.forward,
      limits,
      nowMs: () => this.#nowMs,
      closed: (connection) => {
        const guest = this.#connections.get(connection);
        if (guest !== undefined) this.#guests.leave(guest);
        this.#connections.delete(connection);
        this.#refused.delete(connection);
        this.#resolveIfEmpty();
      },
    };
    server.removeAllListeners('error');
    server.on('error', () => {
      // Accepting one connection failed, for want of descriptors perhaps. The port stays open for the next.
    });
    server.on('connection', (socket) => this.#accept(socket));
    const shortestMs = Math.min(limits.idleMs, limits.lineMs, limits.writeStallMs, limits.lingerMs);
    this.#sweepMs = Math.max(5, Math.min(SWEEP_MS_MAX, shortestMs / 4));
    this.#sweep = setInterval(() => this.#check(), this.#sweepMs);
    this.#sweep.unref();
  }

  /** Connections being served. */
  get connections(): number {
    return this.#connections.size;
  }

  /**
   * Closes the port. Requests already taken get their replies for up to `lingerMs`; then every connection is reset.
   * Idempotent; resolves when all of them are gone.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const portClosed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const emptied = new Promise<void>((resolve) => (this.#onEmpty = resolve));
    this.#resolveIfEmpty();
    for (const connection of this.#connections.keys()) connection.finish();
    const lastCall = setTimeout(() => {
      for (const connection of [...this.#connections.keys(), ...this.#refused]) connection.destroy();
    }, this.#host.limits.lingerMs);
    await Promise.all([portClosed, emptied]);
    clearTimeout(lastCall);
    clearInterval(this.#sweep);
  }

  #resolveIfEmpty(): void {
    if (this.#connections.size === 0 && this.#refused.size === 0) this.#onEmpty?.();
  }

  #accept(socket: Socket): void {
    if (this.#closing !== undefined) return void socket.destroy();
    const { connectionsMax, connectionsPerAddressMax } = this.#host.limits;
    if (this.#connections.size >= connectionsMax)
      return this.#refuse(socket, `connectionsMax is ${connectionsMax}`);
    const guest = this.#guests.enter(socket);
    if (guest === undefined)
      return this.#refuse(socket, `connectionsPerAddressMax is ${connectionsPerAddressMax}`);
    this.#connections.set(new JsonConnection(socket, this.#host), guest);
  }

  #refuse(socket: Socket, why: string): void {
    if (this.#refused.size >= this.#host.limits.refusedMax) return void socket.destroy();
    const connection = new JsonConnection(socket, this.#host);
    this.#refused.add(connection);
    connection.refuse({ kind: 'error', code: 'overloaded', message: `Cannot accept connection: ${why}` });
  }

  /**
   * Advances the door's clock by at most two sweeps: after the thread stood still, what clients sent meanwhile is read
   * before anyone is judged late.
   */
  #check(): void {
    const nowMs = performance.now();
    this.#nowMs += Math.min(nowMs - this.#sweptAtMs, 2 * this.#sweepMs);
    this.#sweptAtMs = nowMs;
    for (const connection of this.#connections.keys()) connection.check();
    for (const connection of this.#refused) connection.check();
  }
}

function listenError(host: string, port: number, error: NodeJS.ErrnoException): ListenError {
  const code = error.code ?? 'UNKNOWN';
  const reason = code === 'EADDRINUSE' ? 'the address is in use' : messageOf(error);
  return new ListenError(code, `Cannot listen on ${host}:${port}: ${reason} (${code})`, error);
}
