/**
 * The replicated commands. A command's bytes are the payload of a log entry; kv/command-codec.ts holds the binary form.
 * Keys are latin-1 strings (lib/bytes.ts); values are bytes.
 */
import type { Operation, OperationResult } from './operation.ts';

/** See net/protocol.ts: makes a retried write harmless (thesis §6.3). */
export interface CommandSession {
  readonly id: number;
  readonly seq: number;
  readonly ackedBelow: number;
}

export type Command =
  | {
      readonly kind: 'set';
      readonly key: string;
      readonly value: Uint8Array;
      readonly session?: CommandSession;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly session?: CommandSession }
  /** Sets `key` only if it holds `expected`; `expected` undefined: only if it is absent. */
  | {
      readonly kind: 'cas';
      readonly key: string;
      readonly expected: Uint8Array | undefined;
      readonly value: Uint8Array;
      readonly session?: CommandSession;
    }
  /** Opens a session; its id is the index of this entry. The least recently used session goes when the table is full. */
  | { readonly kind: 'openSession' }
  | { readonly kind: 'operation'; readonly operation: Operation; readonly session?: CommandSession };

/** The deterministic answer to a command: the same on every replica. */
export type Result =
  | { readonly kind: 'ok'; readonly index: number; readonly existed?: boolean }
  | { readonly kind: 'mismatch'; readonly index: number; readonly actual: Uint8Array | undefined }
  | { readonly kind: 'session'; readonly id: number }
  /** The session was evicted, or was never opened: the command was not applied. */
  | { readonly kind: 'sessionExpired'; readonly id: number }
  /** The answer was already acknowledged, or the session holds too many unacknowledged answers: not applied. */
  | { readonly kind: 'sessionRefused'; readonly id: number; readonly why: string };

/** The deterministic answer to an operation. It may be a refusal. */
export interface OperationAnswer {
  readonly kind: 'operation';
  readonly index: number;
  readonly result: OperationResult;
}
