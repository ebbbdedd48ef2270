/** Exit codes, and the two errors by which a command ends early: wrong usage, and a failure told in one sentence. */
import { CorruptionError, messageOf, OxideError, StorageError } from '../lib/errors.ts';
import type { ErrorCode } from '../lib/errors.ts';

/** What the process returns to its shell. `usage` and `internal` are those of BSD's sysexits. */
export const EXIT: {
  readonly ok: 0;
  /** Not found, refused, violated, or could not start. */
  readonly failed: 1;
  readonly usage: 64;
  readonly internal: 70;
  /** 128 + SIGINT. */
  readonly interrupted: 130;
} = { ok: 0, failed: 1, usage: 64, internal: 70, interrupted: 130 };

/** The command line is wrong. `hint` says what to type instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly hint: string;

  constructor(message: string, hint = '') {
    super(message);
    this.hint = hint;
  }
}

/** The command was understood and failed, in one sentence. `code` is what `--json` shows. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: string;

  constructor(
    code: ErrorCode | 'start_failed' | 'stopped',
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
    this.code = code;
  }
}

/** How an error is shown: exit code, code for `--json`, and one sentence without its final period. */
export interface Explanation {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
}

/** Sorts anything thrown into an exit code and a sentence. What is not an expected failure is a bug in Oxide-KV. */
export function explain(error: unknown): Explanation {
  if (error instanceof UsageError) return { exitCode: EXIT.usage, code: 'usage', message: error.message };
  if (error instanceof CommandError)
    return { exitCode: EXIT.failed, code: error.code, message: error.message };
  if (error instanceof OxideError)
    return { exitCode: EXIT.failed, code: error.code, message: sentence(error) };
  if (error instanceof CorruptionError)
    return { exitCode: EXIT.failed, code: 'corrupt', message: error.message };
  if (error instanceof StorageError) {
    return { exitCode: EXIT.failed, code: 'storage_failed', message: error.message };
  }
  const message = `Internal error: ${messageOf(error)} (OXIDE_KV_DEBUG=1 shows where)`;
  return { exitCode: EXIT.internal, code: 'internal', message };
}

function sentence(error: OxideError): string {
  if (error.code !== 'unknown' || error.message.includes('may or may not')) return error.message;
  return `Outcome unknown, it may or may not have happened: ${error.message}`;
}

const BUGS: ReadonlySet<string> = new Set([
  'AssertionError',
  'TypeError',
  'ReferenceError',
  'RangeError',
  'SyntaxError',
]);

/**
 * The failure of a cluster or node to start, as a sentence: a data directory in use, an unknown version, a taken port,
 * corruption. Errors that crossed a thread have lost their class, so they are told apart by name; bugs pass unchanged.
 */
export function startFailure(error: unknown): unknown {
  if (error instanceof UsageError || error instanceof CommandError || error instanceof OxideError)
    return error;
  if (!(error instanceof Error) || BUGS.has(error.name)) return error;
  return new CommandError('start_failed', error.message, { cause: error });
}
