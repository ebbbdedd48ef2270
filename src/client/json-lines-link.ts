/**
 * One TCP connection to a JSON-lines door: lines out, their answers back in order. Says of every request whether it
 * was answered, certainly never sent, or lost on the way. Never retries.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { Deque } from '../lib/deque.ts';
import { LineSplitter } from '../lib/line-splitter.ts';
import { decodeAnswer } from './json-lines-codec.ts';
import type { Answer } from './json-lines-codec.ts';

/** How one attempt ended. `unsent`: no byte of it left. `lost`: it was written, and no answer came. */
export type Delivery =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'unsent'; readonly cause: Error }
  | { readonly kind: 'lost'; readonly cause: Error };

/** A place to connect to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A request between {@link Link.send} and its end. One that timed out stays in line, to take its late answer. */
interface Entry {
  readonly line: string;
  readonly settle: (delivery: Delivery) => void;
  /** Answers that had come when it was written. */
  answersBefore: number;
}

/** Above the longest scan: its rows as base64, and a row that went over. */
const REPLY_BYTES_MAX = 16_777_216;
/** Requests in one connection, those included whose sender gave up. */
const ENTRIES_MAX = 8_192;

/** Opens at once and closes for good with the first failure; its owner makes another. */
export class Link {
  readonly #socket: Socket;
  readonly #onClosed: (link: Link) => void;
  readonly #lines = new LineSplitter(REPLY_BYTES_MAX);
  /** Not written yet. */
  #outbox: Entry[] = [];
  /** Written, without an answer. */
  readonly #sent = new Deque<Entry>(ENTRIES_MAX);
  #answerCount = 0;
  #isConnected = false;
  #flushQueued = false;
  #failure: Error | undefined;
  readonly #opened: Promise<void>;

  /**
   * @param dialMs how long connecting may take
   * @param onClosed called once, when the connection has failed or ended
   */
  constructor(endpoint: Endpoint, dialMs: number, onClosed: (link: Link) => void) {
    this.#onClosed = onClosed;
    this.#socket = connect({ ...endpoint, noDelay: true, keepAlive: true });
    const dial = setTimeout(
      () => this.close(new Error(`no connection within ${Math.round(dialMs)} ms`)),
      dialMs,
    );
    this.#opened = new Promise((resolve, reject) => {
      this.#socket.once('connect', () => {
        clearTimeout(dial);
        this.#isConnected = true;
        this.#flush();
        resolve();
      });
      this.#socket.once('close', () => {
        clearTimeout(dial);
        reject(this.#fail(new Error('the connection was closed')));
      });
    });
    this.#opened.catch(() => undefined); // every request hears of it by itself
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('end', () => this.close(new Error('the connection was closed')));
    this.#socket.on('data', (chunk) => this.#onData(chunk));
  }

  /** Resolves once connected; rejects with the reason if that fails. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  /** @param line with its end */
  send(line: string, timeoutMs: number): Promise<Delivery> {
    return new Promise((resolve) => {
      if (this.#failure !== undefined) {
        resolve({ kind: 'unsent', cause: this.#failure });
        return;
      }
      const timer = setTimeout(() => this.#onTimeout(entry, timeoutMs), timeoutMs);
      const settle = (delivery: Delivery): void => {
        clearTimeout(timer);
        resolve(delivery);
      };
      const entry: Entry = { line, settle, answersBefore: 0 };
      this.#outbox.push(entry);
      this.#queueFlush();
    });
  }

  /** Ends every request in it: those written are `lost`, the others `unsent`. Idempotent. */
  close(reason: Error): void {
    this.#fail(reason);
    this.#socket.destroy();
  }

  #queueFlush(): void {
    if (this.#flushQueued || !this.#isConnected) return;
    this.#flushQueued = true;
    queueMicrotask(() => {
      this.#flushQueued = false;
      this.#flush();
    });
  }

  /** Writes all that waits at once. */
  #flush(): void {
    if (this.#failure !== undefined || this.#outbox.length === 0) return;
    if (this.#outbox.length > this.#sent.limit - this.#sent.length) {
      this.close(new Error('too many requests without an answer'));
      return;
    }
    let text = '';
    for (const entry of this.#outbox) {
      entry.answersBefore = this.#answerCount;
      this.#sent.push(entry);
      text += entry.line;
    }
    this.#outbox = [];
    this.#socket.write(text);
  }

  #onData(chunk: Buffer): void {
    this.#lines.push(chunk);
    for (let line = this.#lines.next(); line !== undefined; line = this.#lines.next()) {
      const answer = decodeAnswer(line);
      if (answer === undefined) {
        this.close(new Error('the answer is not a JSON line of this protocol'));
        return;
      }
      const entry = this.#sent.shift();
      if (entry === undefined) {
        this.close(new Error(answer.kind === 'error' ? answer.message : 'an answer came unasked'));
        return;
      }
      this.#answerCount += 1;
      entry.settle({ kind: 'answer', answer });
    }
    if (this.#lines.overflowed) this.close(new Error('the answer is too long'));
  }

  #onTimeout(entry: Entry, timeoutMs: number): void {
    const cause = new Error(`no answer within ${Math.round(timeoutMs)} ms`);
    const position = this.#outbox.indexOf(entry);
    if (position >= 0) {
      this.#outbox.splice(position, 1);
      entry.settle({ kind: 'unsent', cause });
      return;
    }
    entry.settle({ kind: 'lost', cause });
    // Nothing at all since it was written: the node is stuck or out of reach, and so are all behind it.
    if (entry.answersBefore === this.#answerCount) this.close(cause);
  }

  /** Ends everything with the first reason. @returns that reason */
  #fail(reason: Error): Error {
    if (this.#failure !== undefined) return this.#failure;
    this.#failure = reason;
    this.#onClosed(this);
    for (let entry = this.#sent.shift(); entry !== undefined; entry = this.#sent.shift()) {
      entry.settle({ kind: 'lost', cause: reason });
    }
    for (const entry of this.#outbox) entry.settle({ kind: 'unsent', cause: reason });
    this.#outbox = [];
    return reason;
  }
}

/** Reads `host:port` or `[ipv6]:port`; undefined when it is neither. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535) return undefined;
  return { host, port };
}
