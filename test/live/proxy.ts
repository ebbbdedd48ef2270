/**
 * One directed link between two nodes, as a TCP proxy on loopback that can be cut, slowed and torn. A node dials the
 * proxy instead of its peer; frames flow one way, so a proxy a pair and direction is a link that can fail by itself.
 */
import { type Server, type Socket, connect, createServer } from 'node:net';
import type { Random } from '../../src/lib/random.ts';

const HOST = '127.0.0.1';
/** Bytes under way on a slow link; beyond, the sender is not read. */
const DELAYED_BYTES_MAX = 4 * 1024 * 1024;

/**
 * What a link does.
 * - `open`: carries everything. With a delay, chunks come in order, in two parts, each after half to one and a half of it.
 * - `held`: carries nothing and loses nothing. What was sent comes late, all at once, when the link opens: a short cut,
 *   as TCP survives it.
 * - `lost`: reads everything and carries nothing. Neither end is told, not even that the other one died; when the link
 *   opens its connections are reset: a long cut, as TCP does not survive it.
 */
export type LinkState =
  | { readonly kind: 'open'; readonly delayMs: number }
  | { readonly kind: 'held' }
  | { readonly kind: 'lost' };

/** A healthy link. */
export const OPEN: LinkState = { kind: 'open', delayMs: 0 };

/** Listens on a port of its own and carries what it is sent to one other port. */
export class LinkProxy {
  readonly #upstreamPort: number;
  readonly #random: Random;
  readonly #server: Server;
  readonly #pipes: Set<Pipe> = new Set();
  #state: LinkState = OPEN;
  #port = 0;

  private constructor(upstreamPort: number, random: Random) {
    this.#upstreamPort = upstreamPort;
    this.#random = random;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  /** Listens on a free port. @param upstreamPort where it carries to; nobody needs to listen there yet */
  static async listen(upstreamPort: number, random: Random): Promise<LinkProxy> {
    const proxy = new LinkProxy(upstreamPort, random);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(0, HOST, () => {
        const address = proxy.#server.address();
        if (address !== null && typeof address === 'object') proxy.#port = address.port;
        resolve();
      });
    });
    return proxy;
  }

  /** Where the sending node dials. */
  get port(): number {
    return this.#port;
  }

  /** Connections that are under way. */
  get connectionCount(): number {
    return this.#pipes.size;
  }

  /** Changes what the link does, for connections of now and of later. */
  set(state: LinkState): void {
    const wasLost = this.#state.kind === 'lost';
    this.#state = state;
    for (const pipe of this.#pipes) {
      // There is a gap in its stream.
      if (wasLost && state.kind !== 'lost') pipe.reset();
      else pipe.set(state);
    }
  }

  /** Resets every connection in the middle of the next chunk that passes, or at once if the link is cut. */
  tear(): void {
    for (const pipe of this.#pipes) pipe.tear();
  }

  /** Ends every connection and stops listening. */
  async close(): Promise<void> {
    for (const pipe of this.#pipes) pipe.reset();
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    const options = { caller: socket, upstreamPort: this.#upstreamPort, random: this.#random };
    const pipe: Pipe = new Pipe(options, this.#state, () => this.#pipes.delete(pipe));
    this.#pipes.add(pipe);
  }
}

interface Delayed {
  readonly chunk: Uint8Array;
  readonly dueMs: number;
}

/** One connection through a proxy. It dials its other end when the link first lets it. */
class Pipe {
  readonly #caller: Socket;
  readonly #upstreamPort: number;
  readonly #random: Random;
  readonly #ended: () => void;
  #state: LinkState;
  #upstream: Socket | undefined;
  #delayed: Delayed[] = [];
  #delayedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The caller has said all it had to say. */
  #isEnding = false;
  /** One end is gone, which the other one learns when the link is open. */
  #isBroken = false;
  #tearing: 'no' | 'next chunk' | 'done' = 'no';
  #isOver = false;

  constructor(
    options: { readonly caller: Socket; readonly upstreamPort: number; readonly random: Random },
    state: LinkState,
    ended: () => void,
  ) {
    this.#caller = options.caller;
    this.#upstreamPort = options.upstreamPort;
    this.#random = options.random;
    this.#ended = ended;
    this.#state = state;
    this.#caller.setNoDelay(true);
    this.#caller.on('data', (chunk) => this.#take(chunk));
    for (const event of ['error', 'close']) this.#caller.on(event, () => this.#broken());
    this.#caller.on('end', () => {
      this.#isEnding = true;
      this.#flush();
    });
    this.set(state);
  }

  set(state: LinkState): void {
    this.#state = state;
    if (this.#isOver) return;
    if (state.kind !== 'open') {
      clearTimeout(this.#timer);
      if (state.kind === 'held') this.#caller.pause();
      else this.#lose();
      return;
    }
    if (this.#isBroken) {
      this.reset();
      return;
    }
    this.#dial();
    this.#flush();
  }

  tear(): void {
    if (this.#state.kind !== 'open') this.reset();
    else if (this.#tearing === 'no') this.#tearing = 'next chunk';
  }

  /** Ends both sides at once. */
  reset(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#delayed = [];
    hangUp(this.#caller);
    if (this.#upstream !== undefined) hangUp(this.#upstream);
    this.#ended();
  }

  #dial(): void {
    if (this.#upstream !== undefined) return;
    const upstream = connect({ host: HOST, port: this.#upstreamPort, noDelay: true });
    this.#upstream = upstream;
    upstream.on('drain', () => this.#flush());
    for (const event of ['error', 'end', 'close']) upstream.on(event, () => this.#broken());
    upstream.resume();
  }

  #lose(): void {
    this.#delayed = [];
    this.#delayedBytes = 0;
    this.#caller.resume();
  }

  #broken(): void {
    this.#isBroken = true;
    if (this.#state.kind === 'open') this.reset();
  }

  #take(chunk: Uint8Array): void {
    if (this.#isOver || this.#state.kind === 'lost') return;
    const delayMs = this.#state.kind === 'open' ? this.#state.delayMs : 0;
    // Frames must be read whatever pieces they come in.
    const cut = delayMs === 0 ? 0 : this.#random.int(0, chunk.length);
    for (const part of [chunk.subarray(0, cut), chunk.subarray(cut)]) {
      if (part.length === 0) continue;
      const earliestMs = this.#delayed.at(-1)?.dueMs ?? 0;
      const dueMs = performance.now() + delayMs * (0.5 + this.#random.ratio());
      this.#delayed.push({ chunk: part, dueMs: Math.max(earliestMs, delayMs === 0 ? 0 : dueMs) });
      this.#delayedBytes += part.length;
    }
    this.#flush();
  }

  /** Sends on what is due, and reads on as far as there is room. */
  #flush(): void {
    clearTimeout(this.#timer);
    const upstream = this.#upstream;
    if (this.#isOver || this.#state.kind !== 'open' || upstream === undefined) return;
    if (this.#tearing === 'done') return;
    const nowMs = performance.now();
    let sent = 0;
    for (const { chunk, dueMs } of this.#delayed) {
      if (dueMs > nowMs || upstream.writableNeedDrain) break;
      sent += 1;
      this.#delayedBytes -= chunk.length;
      if (this.#tearing === 'next chunk') {
        this.#tearing = 'done';
        upstream.write(chunk.subarray(0, chunk.length >> 1), () => this.reset());
        return;
      }
      upstream.write(chunk);
    }
    this.#delayed.splice(0, sent);
    if (this.#delayed.length === 0 && this.#isEnding) return void upstream.end();
    const [next] = this.#delayed;
    if (next !== undefined && next.dueMs > nowMs) {
      this.#timer = setTimeout(() => this.#flush(), next.dueMs - nowMs);
    }
    if (this.#delayedBytes > DELAYED_BYTES_MAX) this.#caller.pause();
    else this.#caller.resume();
  }
}

/** Resets the connection. One that is being opened or shut down cannot be reset, and Node.js would leave it open. */
function hangUp(socket: Socket): void {
  if (socket.connecting || socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
