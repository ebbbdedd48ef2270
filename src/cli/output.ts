/** The one way to standard output and error: keeps order, and ends quietly when the reader goes away (EPIPE). */
import { sanitize } from '../lib/text.ts';

/** The part of a stream that output needs; `process.stdout` fits. */
export interface Sink {
  readonly isTTY?: boolean;
  write(chunk: string | Uint8Array, done?: (error?: Error | null) => void): boolean;
  on(event: 'error', listener: (error: Error) => void): unknown;
  once(event: 'drain', listener: () => void): unknown;
}

/** Writes to one stream. After a broken pipe everything is dropped, and {@link Output.closed} resolves. */
export class Output {
  readonly isTty: boolean;
  /** Resolves when nobody reads any more; never rejects. */
  readonly closed: Promise<void>;
  readonly #sink: Sink;
  #isClosed = false;
  #close: () => void = () => {};

  constructor(sink: Sink) {
    this.#sink = sink;
    this.isTty = sink.isTTY === true;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
    // Any write error ends this output: there is no better place left to report it to.
    sink.on('error', () => this.#end());
  }

  /** Whether the reader went away. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Writes exactly these characters or bytes.
   *
   * @returns false when the reader is behind; what was written is held, and `drain` follows
   */
  write(chunk: string | Uint8Array): boolean {
    if (this.#isClosed || chunk.length === 0) return true;
    return this.#sink.write(chunk);
  }

  /** Calls back once when the reader has caught up. */
  once(event: 'drain', listener: () => void): void {
    this.#sink.once(event, listener);
  }

  /** Writes one line of our own words; what came from elsewhere is made harmless first (lib/text.ts). */
  line(text: string): void {
    this.write(`${sanitize(text)}\n`);
  }

  /** Writes one JSON line. */
  json(value: unknown): void {
    this.write(`${jsonText(value)}\n`);
  }

  /** Resolves when all that was written has been handed to the system, or can never be. */
  async flush(): Promise<void> {
    if (this.#isClosed) return;
    await Promise.race([this.closed, new Promise<void>((resolve) => this.#sink.write('', () => resolve()))]);
  }

  #end(): void {
    this.#isClosed = true;
    this.#close();
  }
}

/** JSON in which characters that could act on a terminal are escaped; it parses to the same value. */
export function jsonText(value: unknown): string {
  const json = JSON.stringify(value);
  if (sanitize(json) === json) return json;
  let safe = '';
  for (const c of json) safe += sanitize(c) === c ? c : escapeUnits(c);
  return safe;
}

function escapeUnits(c: string): string {
  let escaped = '';
  for (let i = 0; i < c.length; i++) escaped += `\\u${c.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return escaped;
}
