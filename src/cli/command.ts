/** What a command is, and what it is given to work with. */
import type { Args, OptionSpec, Syntax } from './args.ts';
import type { Output } from './output.ts';

/** The world of a command: streams, environment, stdin. Tests give their own. */
export interface Context {
  readonly out: Output;
  readonly err: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdinIsTty: boolean;
  /** Everything on standard input. Rejects with `too_large` beyond `bytesMax`. */
  readStdin(bytesMax: number): Promise<Uint8Array>;
  /** Watches for SIGINT, SIGTERM and SIGHUP from now on, for commands that run until they are stopped. */
  watchSignals(): StopSignal;
}

/** A request to stop from outside. */
export interface StopSignal {
  /** Resolves at the first signal. A second one ends the process at once with 130. */
  readonly stopped: Promise<void>;
  /** Restores the default handling. */
  release(): void;
}

/** One line of the examples in the help. */
export interface Example {
  /** What to type. */
  readonly line: string;
  /** What it does, in a few words. */
  readonly why: string;
}

/** A command of the table in main.ts. */
export interface Command extends Syntax {
  /** Paragraphs of the help. */
  readonly description: readonly string[];
  readonly examples: readonly Example[];
  /** @returns the exit code. Throws UsageError, CommandError, OxideError; anything else is a bug. */
  run(args: Args, context: Context): Promise<number>;
}

/** Where client commands connect, and how they print. */
export const CLIENT_OPTIONS: readonly OptionSpec[] = [
  {
    name: 'endpoint',
    short: 'e',
    value: 'HOST:PORT',
    list: true,
    help: 'A node to ask; repeat it or use commas (default $OXIDE_KV_ENDPOINT or 127.0.0.1:9001)',
  },
  { name: 'timeout', value: 'MS', help: 'Give up after this many milliseconds (default 10000)' },
  { name: 'json', help: 'Print JSON, errors included' },
];

/** How keys and values are written, for commands that take them. */
export const DATA_OPTIONS: readonly OptionSpec[] = [
  { name: 'base64', help: 'Values are base64, as arguments and in the output' },
  { name: 'base64-key', help: 'Keys are base64, as arguments and in the output' },
];
