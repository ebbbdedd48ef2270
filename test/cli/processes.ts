/** Runs the built `oxide-kv` as a child process, as a shell would. */
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export const BIN = fileURLToPath(new URL('../../dist/bin/oxide-kv.js', import.meta.url));

export interface Finished {
  /** Exit code, or the signal's name. */
  readonly end: number | string;
  readonly out: string;
  readonly err: string;
}

/** A child process and what it has printed so far. */
export class Cli {
  readonly child: ChildProcessWithoutNullStreams;
  readonly finished: Promise<Finished>;
  readonly #out: Buffer[] = [];
  readonly #err: Buffer[] = [];
  #isOver = false;
  #isLate = false;
  #wake: () => void = () => {};

  constructor(
    args: readonly string[],
    options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
  ) {
    const { OXIDE_KV_ENDPOINT: _, ...inherited } = process.env;
    this.child = spawn(process.execPath, [BIN, ...args], {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...inherited, ...options.env },
    });
    this.child.stdout.on('data', (chunk: Buffer) => this.#take(this.#out, chunk));
    this.child.stderr.on('data', (chunk: Buffer) => this.#take(this.#err, chunk));
    this.child.stdin.on('error', () => undefined); // the child may end before it has read everything
    this.finished = new Promise((resolve) => {
      this.child.on('close', (code, signal) => {
        this.#isOver = true;
        this.#wake();
        resolve({ end: code ?? signal ?? 'unknown', out: this.out, err: this.err });
      });
    });
  }

  get out(): string {
    return Buffer.concat(this.#out).toString('utf8');
  }

  get err(): string {
    return Buffer.concat(this.#err).toString('utf8');
  }

  /** Waits until standard output holds a match. Rejects when the process ends without one, or says nothing of it for `withinMs`. */
  async printed(pattern: RegExp, withinMs: number = 40_000): Promise<RegExpExecArray> {
    const timer = setTimeout(() => {
      this.#isLate = true;
      this.#wake();
    }, withinMs);
    try {
      for (;;) {
        const match = pattern.exec(this.out);
        if (match !== null) return match;
        const state = this.#isOver ? 'Ended' : this.#isLate ? `${withinMs} ms` : undefined;
        if (state !== undefined)
          throw new Error(`${state} without ${pattern}\nout: ${this.out}\nerr: ${this.err}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished> {
    this.child.kill(signal);
    return await this.finished;
  }

  #take(parts: Buffer[], chunk: Buffer): void {
    parts.push(chunk);
    this.#wake();
  }
}

/** Runs one command to its end. */
export async function cli(
  args: readonly string[],
  options: { readonly stdin?: string | Uint8Array; readonly env?: Record<string, string> } = {},
): Promise<Finished> {
  const process = new Cli(args, options);
  process.child.stdin.end(options.stdin ?? '');
  return await process.finished;
}

/** The first of `count` consecutive ports that are free now, below the range that systems hand out by themselves. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = 12_000 + Math.floor(Math.random() * 1000) * 16;
    const ports = Array.from({ length: count }, (_, i) => first + i);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`No ${count} free ports`);
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
