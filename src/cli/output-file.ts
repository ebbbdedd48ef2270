/** Where a command writes much: standard output, or a file that gets its name only when it is whole. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { messageOf } from '../lib/errors.ts';
import type { Context } from './command.ts';
import { CommandError } from './failure.ts';

/** Ends the name of a file that is not whole yet. */
const PART_SUFFIX = '.part';

/** One output of one command. Ended by {@link commit} or {@link abort}. */
export interface OutputFile {
  /** Resolves when there is room for more. */
  write(chunk: string | Uint8Array): Promise<void>;
  /** Makes it durable and gives it its name, in place of a file that has it already. */
  commit(): void;
  /** Removes what was written; nothing after {@link commit}. */
  abort(): void;
}

/** Opens `path`; `-` is standard output. Throws a {@link CommandError} when the system refuses. */
export function openOutput(path: string, context: Context): OutputFile {
  return path === '-' ? standardOutput(context) : new PartFile(path);
}

function standardOutput({ out }: Context): OutputFile {
  return {
    async write(chunk) {
      if (out.write(chunk) || out.isClosed) return;
      await Promise.race([out.closed, new Promise<void>((resolve) => out.once('drain', () => resolve()))]);
    },
    commit: () => undefined,
    abort: () => undefined,
  };
}

class PartFile implements OutputFile {
  readonly #path: string;
  readonly #part: string;
  #descriptor: number | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#part = `${path}${PART_SUFFIX}`;
    this.#descriptor = attempt('create', this.#part, () => openSync(this.#part, 'w', 0o600));
  }

  async write(chunk: string | Uint8Array): Promise<void> {
    attempt('write', this.#part, () => {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      for (let done = 0; done < bytes.length;) done += writeSync(this.#open, bytes, done);
    });
    // Let signals and sockets have their turn.
    await new Promise<void>((resolve) => void setImmediate(resolve));
  }

  commit(): void {
    attempt('finish', this.#path, () => {
      fsyncSync(this.#open);
      closeSync(this.#open);
      this.#descriptor = undefined;
      renameSync(this.#part, this.#path);
    });
  }

  abort(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
    rmSync(this.#part, { force: true });
  }

  get #open(): number {
    if (this.#descriptor === undefined) throw new Error('the file is closed');
    return this.#descriptor;
  }
}

function attempt<T>(action: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new CommandError('storage_failed', `Cannot ${action} "${path}": ${messageOf(error)}`, {
      cause: error,
    });
  }
}
