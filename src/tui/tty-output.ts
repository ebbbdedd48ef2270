/** Writes frames to the terminal without ever waiting for it, and the last words in the right order. */
import { constants, openSync, writeSync } from 'node:fs';
import type { FrameOutput } from './frame-sink.ts';

const STDOUT = 1;
const RETRY_MS = 10;
/** How often the last words are tried, RETRY_MS apart, on a terminal that takes nothing (Ctrl-S). */
const LAST_WORDS_ATTEMPTS_MAX = 50;

/**
 * The terminal on standard output. Node writes to a terminal synchronously, so that a stopped or slow one (Ctrl-S,
 * ssh) would stop the whole cluster's main thread. This opens the terminal a second time, non-blocking, and tries again
 * later with what it did not take. On Windows only Node's own stream translates for the console; it does not block.
 */
export class TtyOutput implements FrameOutput {
  readonly #fd: number;
  readonly #direct: ((text: string, done: () => void) => void) | undefined;
  #rest: Uint8Array = new Uint8Array(0);
  #done: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Make it before anything replaces `process.stdout.write`. */
  constructor() {
    const isWindows = process.platform === 'win32';
    const write = process.stdout.write.bind(process.stdout);
    this.#fd = isWindows ? STDOUT : openTerminal();
    this.#direct = isWindows ? (text, done) => void write(text, () => done()) : undefined;
  }

  write(text: string, done: () => void): void {
    if (this.#direct !== undefined) {
      this.#direct(text, done);
      return;
    }
    this.#rest = Buffer.from(text);
    this.#done = done;
    this.#push();
  }

  /** Drops what the terminal has not taken yet: the write under way counts as done. */
  abandon(): void {
    clearTimeout(this.#timer);
    this.#rest = new Uint8Array(0);
    this.#finish();
  }

  /** Drops what is under way and writes `text` at once, also while the process is ending. Gives up after half a second. */
  writeNow(text: string): void {
    this.abandon();
    let bytes: Uint8Array = Buffer.from(text);
    for (let attempt = 0; attempt < LAST_WORDS_ATTEMPTS_MAX && bytes.length > 0; attempt++) {
      const written = writeSome(this.#fd, bytes);
      if (written === undefined) return;
      bytes = bytes.subarray(written);
      if (bytes.length > 0) sleep(RETRY_MS);
    }
  }

  #push(): void {
    const written = writeSome(this.#fd, this.#rest);
    // A terminal that is gone takes no frames; SIGHUP ends the process.
    this.#rest = written === undefined ? new Uint8Array(0) : this.#rest.subarray(written);
    if (this.#rest.length === 0) this.#finish();
    else this.#timer = setTimeout(() => this.#push(), RETRY_MS);
  }

  #finish(): void {
    const done = this.#done;
    this.#done = undefined;
    done?.();
  }
}

/** A descriptor of its own, so that making it non-blocking touches no other program on this terminal. */
function openTerminal(): number {
  try {
    return openSync('/dev/tty', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // No controlling terminal (a container's console): standard output itself, blocking.
    return STDOUT;
  }
}

/** @returns the number of bytes taken; undefined when the terminal is gone */
function writeSome(fd: number, bytes: Uint8Array): number | undefined {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EAGAIN' ? 0 : undefined;
  }
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
