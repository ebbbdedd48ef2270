/** Writes frames to the terminal without ever blocking the main thread, and final words synchronously. */
import { write, writeSync } from 'node:fs';
import type { FrameOutput } from './frame-sink.ts';

const STDOUT = 1;
const RETRY_MS = 10;
/** Attempts to get the last words to a terminal that takes nothing (each a short spin); then it is left as it is. */
const LAST_WORDS_ATTEMPTS_MAX = 2000;

/**
 * A {@link FrameOutput} on file descriptor 1. Node writes to a terminal synchronously, so that a stopped or slow one
 * (Ctrl-S, ssh) would stop the whole cluster's main thread; here a pool thread waits instead. On Windows only Node's
 * own stream translates for the console, and there it does not block.
 */
export function ttyOutput(): FrameOutput {
  if (process.platform === 'win32') {
    const direct = process.stdout.write.bind(process.stdout);
    return { write: (text, done) => void direct(text, () => done()) };
  }
  return { write: (text, done) => writeAll(Buffer.from(text), done) };
}

function writeAll(bytes: Uint8Array, done: () => void): void {
  write(STDOUT, bytes, 0, bytes.length, null, (error, written) => {
    if (error !== null) {
      // A terminal that is gone takes no frames; SIGHUP ends the process.
      if (error.code === 'EAGAIN') setTimeout(() => writeAll(bytes, done), RETRY_MS);
      else done();
    } else if (written < bytes.length) {
      writeAll(bytes.subarray(written), done);
    } else {
      done();
    }
  });
}

/** Writes `text` at once, also while the process is ending. Errors of a vanished terminal are of no use to anyone. */
export function writeNow(text: string): void {
  let bytes: Uint8Array = Buffer.from(text);
  for (let attempt = 0; attempt < LAST_WORDS_ATTEMPTS_MAX && bytes.length > 0; attempt++) {
    try {
      bytes = bytes.subarray(writeSync(STDOUT, bytes));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return;
    }
  }
}
