/** The context of a command on the real process: its streams, its environment, its signals. */
import { isatty } from 'node:tty';
import type { Context, StopSignal } from './command.ts';
import { concatBytes } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';
import { EXIT } from './failure.ts';
import { Output } from './output.ts';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Made once a process: it listens for errors of the standard streams. */
export function processContext(): Context {
  return {
    out: new Output(process.stdout),
    err: new Output(process.stderr),
    env: process.env,
    stdinIsTty: isatty(0),
    readStdin: (bytesMax) => readAll(process.stdin, bytesMax),
    watchSignals,
  };
}

/** Reads a stream to its end. Rejects with `too_large` as soon as it exceeds `bytesMax`. */
export async function readAll(stream: AsyncIterable<unknown>, bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of stream) {
    const part = chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk));
    total += part.length;
    if (total > bytesMax)
      throw new OxideError('too_large', `Standard input is longer than ${bytesMax} bytes`);
    parts.push(part);
  }
  return concatBytes(parts);
}

function watchSignals(): StopSignal {
  const listening = new AbortController();
  const stopped = new Promise<void>((resolve) => {
    let count = 0;
    const onSignal = (signal: NodeJS.Signals): void => {
      // A terminal that is closed says so more than once: its shell does, too.
      if (signal !== 'SIGHUP') count += 1;
      // Whoever presses Ctrl-C twice does not want to wait for a clean stop.
      if (count > 1) process.exit(EXIT.interrupted);
      resolve();
    };
    for (const signal of SIGNALS) process.on(signal, onSignal);
    listening.signal.addEventListener('abort', () => {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    });
  });
  return { stopped, release: () => listening.abort() };
}
