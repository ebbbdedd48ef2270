/**
 * One client of the JSON-lines door: bytes in, requests to the node, replies out in the order of the requests.
 * Socket events only feed the splitter and the queue of replies; the door's sweep calls {@link JsonConnection.check}.
 *
 *   socket ─► LineSplitter ─► decodeRequest ─► NodeService.submit
 *                                   │                 │ done
 *                                   ▼                 ▼
 *   socket ◄─ one write at a time ◄─ slots, oldest first
 */
import type { Socket } from 'node:net';
import { assert, unreachable } from '../lib/assert.ts';
import { Deque } from '../lib/deque.ts';
import { OxideError } from '../lib/errors.ts';
import { LineSplitter } from '../lib/line-splitter.ts';
import type { NodeService, Reply } from '../net/protocol.ts';
import { decodeRequest } from './json-codec.ts';
import type { DecodedRequest } from './json-codec.ts';
import { encodeReply } from './json-replies.ts';
import type { DoorLimits } from './limits.ts';

/** What a connection needs of its door. */
export interface ConnectionHost {
  readonly service: NodeService;
  readonly forward: boolean;
  readonly limits: DoorLimits;
  /** The door's clock in milliseconds; see {@link DoorLimits}. */
  nowMs(): number;
  /** The connection is gone. Called once. */
  closed(connection: JsonConnection): void;
}

/** The place of one request in the order of replies. */
interface Slot {
  readonly base64: boolean;
  reply: Reply | undefined;
}

/**
 * `open`: reading requests. `ended`: no more requests (the client half-closed, or the door closes), replies still go.
 * `refused`: after a malformed line; what follows it is never looked at.
 */
type Input = 'open' | 'ended' | 'refused';

const WRITE_BYTES_MAX = 262_144;
const HTTP = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|PRI|HTTP\/|Host:)/i;

export class JsonConnection {
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  readonly #lines: LineSplitter;
  readonly #slots: Deque<Slot>;
  #input: Input = 'open';
  #peerEnded = false;
  #outputEnded = false;
  #destroyed = false;
  /** Bytes of replies that are complete and not yet written. */
  #waitingBytes = 0;
  #writing = false;
  /** What is left of a batch longer than one write. */
  #unwritten: Buffer | undefined;
  #flushQueued = false;
  #activeAtMs: number;
  #lineBegunAtMs: number | undefined;
  #writeBegunAtMs = 0;
  #endedAtMs = 0;

  constructor(socket: Socket, host: ConnectionHost) {
    this.#host = host;
    this.#socket = socket;
    this.#lines = new LineSplitter(host.limits.lineBytesMax);
    this.#slots = new Deque(host.limits.inFlightMax + 1); // one more for the refusal of a malformed line
    this.#activeAtMs = host.nowMs();
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('end', () => this.#onEnd());
    socket.on('error', () => {
      // A reset is the client's right; 'close' follows and does the work.
    });
    socket.on('close', () => {
      this.#destroyed = true;
      host.closed(this);
    });
  }

  /** Answers `reply` unasked and closes: the door has no room for this client. */
  refuse(reply: Reply): void {
    this.#input = 'refused';
    this.#answer(reply);
  }

  /** Takes no further requests; closes once the pending replies are written. */
  finish(): void {
    if (this.#input === 'open') this.#input = 'ended';
    this.#endIfDone();
  }

  /** Closes at once; pending replies are lost. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Enforces the time limits. */
  check(): void {
    const { limits } = this.#host;
    const nowMs = this.#host.nowMs();
    if (this.#outputEnded) {
      if (nowMs - this.#endedAtMs > limits.lingerMs) this.destroy();
    } else if (this.#writing) {
      if (nowMs - this.#writeBegunAtMs > limits.writeStallMs) this.destroy();
    } else if (this.#input === 'open' && this.#lineBegunAtMs !== undefined) {
      if (nowMs - this.#lineBegunAtMs > limits.lineMs)
        this.#fail(`line not finished within ${limits.lineMs} ms`);
    } else if (this.#slots.length === 0 && nowMs - this.#activeAtMs > limits.idleMs) {
      this.finish();
    }
  }

  #onData(chunk: Buffer): void {
    this.#activeAtMs = this.#host.nowMs();
    if (this.#input !== 'open') return; // read and forgotten: unread bytes would turn the close into a reset
    this.#lines.push(chunk);
    this.#pump();
  }

  #onEnd(): void {
    this.#peerEnded = true;
    this.#pump();
    this.#endIfDone();
  }

  /** Takes requests while there is room for their replies, and the socket's attention only as long. */
  #pump(): void {
    while (this.#input === 'open' && this.#hasRoom()) {
      const line = this.#lines.next();
      if (line === undefined) {
        this.#afterLastLine();
        break;
      }
      this.#lineBegunAtMs = undefined;
      this.#handle(line);
    }
    if (this.#input === 'open' && !this.#hasRoom()) {
      this.#lineBegunAtMs = undefined; // the client is not late while nobody reads
      this.#socket.pause();
    } else {
      this.#socket.resume();
    }
  }

  /** Judges what has arrived without a line's end. */
  #afterLastLine(): void {
    const { limits } = this.#host;
    if (this.#lines.overflowed) {
      this.#refuseInput(
        'too_large',
        `Cannot read request: the line is over lineBytesMax, which is ${limits.lineBytesMax}`,
      );
      return;
    }
    const rest = this.#lines.unfinished;
    if (rest.length === 0) {
      this.#lineBegunAtMs = undefined;
    } else if (!mayBeginLine(rest[0])) {
      this.#fail(foreign(rest));
      return;
    } else {
      this.#lineBegunAtMs ??= this.#host.nowMs();
    }
    if (!this.#peerEnded) return;
    // `printf '"Status"' | nc` sends no line end. An object shows its own end: a cut one does not parse.
    this.#handle(rest);
    if (this.#input === 'open') this.#input = 'ended';
  }

  #handle(line: Uint8Array): void {
    if (isBlank(line)) return;
    if (!mayBeginLine(line[0])) {
      this.#fail(foreign(line));
      return;
    }
    const decoded = this.#decode(line);
    if (decoded === undefined) return;
    const slot = this.#claim(decoded.base64);
    const { service, forward } = this.#host;
    service.submit(decoded.request, { forward }, (reply) => this.#complete(slot, reply));
  }

  /** The request of a line; undefined when it was refused. */
  #decode(line: Uint8Array): DecodedRequest | undefined {
    try {
      return decodeRequest(line);
    } catch (error) {
      if (!(error instanceof OxideError)) throw error;
      if (error.code === 'bad_request') this.#refuseInput(error.code, error.message);
      else this.#answer({ kind: 'error', code: error.code, message: error.message });
      return undefined;
    }
  }

  /** Takes the next place in the order of replies. */
  #claim(base64: boolean): Slot {
    const slot: Slot = { base64, reply: undefined };
    const claimed = this.#slots.push(slot);
    assert(claimed, 'A request was taken without room for its reply');
    return slot;
  }

  #fail(what: string): void {
    this.#refuseInput('bad_request', `Cannot read request: ${what}`);
  }

  /** The last answer of this connection: nothing behind the offending bytes is executed. */
  #refuseInput(code: 'bad_request' | 'too_large', message: string): void {
    this.#input = 'refused';
    this.#answer({ kind: 'error', code, message });
  }

  #answer(reply: Reply): void {
    this.#complete(this.#claim(false), reply);
  }

  #complete(slot: Slot, reply: Reply): void {
    assert(slot.reply === undefined, 'A request was answered twice');
    slot.reply = reply;
    this.#waitingBytes += sizeOf(reply);
    if (this.#flushQueued || this.#destroyed) return;
    this.#flushQueued = true;
    queueMicrotask(() => {
      this.#flushQueued = false;
      this.#flush();
    });
  }

  /** Writes the replies that are next in order: one write for all that are ready, one write at a time. */
  #flush(): void {
    if (this.#writing || this.#destroyed) return;
    let batch = '';
    while (batch.length < WRITE_BYTES_MAX) {
      const reply = this.#slots.peek()?.reply;
      if (reply === undefined) break;
      const base64 = this.#slots.shift()?.base64 ?? false;
      this.#waitingBytes -= sizeOf(reply);
      batch += `${encodeReply(reply, base64)}\n`;
    }
    if (batch === '') {
      this.#endIfDone();
      return;
    }
    if (batch.length <= WRITE_BYTES_MAX) this.#write(batch);
    else this.#writeLong(Buffer.from(batch));
    this.#pump();
  }

  #write(batch: string | Buffer): void {
    this.#writing = true;
    this.#writeBegunAtMs = this.#host.nowMs();
    this.#socket.write(batch, (error) => this.#onWritten(error));
  }

  /** In pieces, so that a slow reader of a long reply still shows progress. */
  #writeLong(batch: Buffer): void {
    this.#unwritten = batch.length > WRITE_BYTES_MAX ? batch.subarray(WRITE_BYTES_MAX) : undefined;
    this.#write(batch.subarray(0, WRITE_BYTES_MAX));
  }

  #onWritten(error: Error | null | undefined): void {
    this.#writing = false;
    if (error) return; // the socket is being destroyed
    this.#activeAtMs = this.#host.nowMs();
    if (this.#unwritten === undefined) this.#flush();
    else this.#writeLong(this.#unwritten);
  }

  #endIfDone(): void {
    if (this.#input === 'open' || this.#outputEnded || this.#writing || this.#slots.length > 0) return;
    this.#outputEnded = true;
    this.#endedAtMs = this.#host.nowMs();
    this.#socket.end();
    this.#socket.resume();
  }

  #hasRoom(): boolean {
    const { inFlightMax, writeBufferBytesMax } = this.#host.limits;
    return this.#slots.length < inFlightMax && this.#waitingBytes < writeBufferBytesMax;
  }
}

/** An object, a string, or space in front of one. Judged on the first byte: noise need not end its line to be refused. */
function mayBeginLine(byte: number | undefined): boolean {
  return byte === 0x7b || byte === 0x22 || isSpace(byte);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0d;
}

function isBlank(line: Uint8Array): boolean {
  return line.every(isSpace);
}

/** Names a protocol that was not meant for this port. */
function foreign(bytes: Uint8Array): string {
  const begin = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  if (HTTP.test(begin)) return 'this port speaks JSON lines, not HTTP';
  if (begin.startsWith('\u0016\u0003')) return 'this port speaks JSON lines, not TLS';
  return 'this port speaks JSON lines, and a line begins with { or "';
}

/** What a waiting reply costs, roughly. */
function sizeOf(reply: Reply): number {
  switch (reply.kind) {
    case 'value':
      return 64 + (reply.value?.length ?? 0);
    case 'mismatch':
      return 64 + (reply.actual?.length ?? 0);
    case 'result':
      return 64 + reply.result.length;
    case 'rows':
      return reply.rows.reduce((total, row) => total + 64 + row.key.length + row.value.length, 64);
    case 'status':
      return 1024;
    case 'error':
      return 64 + reply.message.length;
    case 'ok':
    case 'session':
    case 'leader':
      return 64;
    default:
      return unreachable(reply);
  }
}
