/** A context whose streams are held in memory, and which nothing stops. */
import type { Context } from '../../src/cli/command.ts';
import { readAll } from '../../src/cli/context.ts';
import { Output } from '../../src/cli/output.ts';
import type { Sink } from '../../src/cli/output.ts';

/** Collects what is written; `breakPipe` makes it fail as a pipe without a reader does. */
export class MemorySink implements Sink {
  readonly isTTY: boolean;
  readonly #parts: Buffer[] = [];
  #onError: (error: Error) => void = () => {};

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  write(chunk: string | Uint8Array, done?: (error?: Error | null) => void): boolean {
    this.#parts.push(Buffer.from(chunk));
    done?.();
    return true;
  }

  on(_event: 'error', listener: (error: Error) => void): this {
    this.#onError = listener;
    return this;
  }

  /** Memory is never behind. */
  once(): this {
    return this;
  }

  breakPipe(): void {
    this.#onError(new Error('write EPIPE'));
  }
}

export interface FakeContext extends Context {
  readonly outSink: MemorySink;
  readonly errSink: MemorySink;
}

export function fakeContext(options: {
  readonly isTty?: boolean;
  readonly env?: Record<string, string>;
  readonly stdin?: Uint8Array;
}): FakeContext {
  const outSink = new MemorySink(options.isTty);
  const errSink = new MemorySink(options.isTty);
  return {
    outSink,
    errSink,
    out: new Output(outSink),
    err: new Output(errSink),
    env: options.env ?? {},
    stdinIsTty: options.isTty === true,
    readStdin: (bytesMax) => readAll(parts(options.stdin ?? new Uint8Array()), bytesMax),
    watchSignals: () => ({ stopped: new Promise(() => {}), release: () => {} }),
  };
}

async function* parts(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let i = 0; i < bytes.length; i += 3) yield bytes.subarray(i, i + 3);
}
