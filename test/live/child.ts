/** `oxide-kv` as a child process that can be killed, stopped and continued. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const STDERR_CHARACTERS_MAX = 4000;
const LINES_MAX = 200;

/** What this process has started and what has not ended: nothing of it outlives this process. */
const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** The built command, from the compiled campaign as from its source. */
export const BIN: string = join(packageRoot(), 'dist/bin/oxide-kv.js');

/** A running `oxide-kv serve` or `oxide-kv node`. */
export class Child {
  /** Resolves with the first line of standard output; rejects with standard error when there is none. */
  readonly ready: Promise<string>;
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  #stderr = '';
  #lines: string[] = [];
  #isWanted = true;

  /** @param died called with the reason if it ends without {@link Child.end} */
  constructor(args: readonly string[], died: (reason: string) => void = () => undefined) {
    // Out of reach of Ctrl-C: whoever started it decides when it ends.
    const options = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'], detached: true };
    const child = spawn(process.execPath, [BIN, ...args], options);
    living.add(child);
    this.#process = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS_MAX);
    });
    this.#exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        living.delete(child);
        if (this.#isWanted) died(`ended by itself with ${code ?? signal}: ${this.#stderr.trim()}`);
        resolve();
      });
    });
    const line = new Promise<string>((resolve) => {
      let rest = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        const [first] = lines;
        if (first !== undefined) resolve(first);
        this.#lines = [...this.#lines, ...lines].slice(-LINES_MAX);
      });
    });
    const failed = this.#exited.then(() => {
      throw new Error(`oxide-kv ${args.join(' ')} ended before it was ready: ${this.#stderr}`);
    });
    this.ready = Promise.race([line, failed]);
    this.ready.catch(() => undefined);
  }

  /** The last lines of its standard output. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(signal);
  }

  /** Ends it, also if it is stopped. Resolves once it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#isWanted = false;
    this.#process.kill(signal);
    if (signal === 'SIGTERM') this.#process.kill('SIGCONT');
    await this.#exited;
  }
}

/** The first of `count` consecutive ports that are free now, below the range that systems hand out by themselves. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = 12_000 + Math.floor(Math.random() * 1000) * 16;
    const ports = Array.from({ length: count }, (_, i) => first + i);
    // oxlint-disable-next-line no-await-in-loop -- the next block only if this one is taken
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`No ${count} free ports`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}
