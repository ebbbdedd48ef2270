/**
 * The three kinds of error (a bug is an assertion, see assert.ts):
 * an *expected* failure has a code and a retry class; *corruption* and *storage* failures stop the node.
 */

/**
 * What can go wrong with a request. The outcome class decides what a client may do next:
 * every code but `unknown` means that the request certainly had no effect.
 */
export type ErrorCode =
  | 'bad_request' // malformed, wrong type, ill-formed UTF-8
  | 'too_large' // over a named limit
  | 'not_leader' // asked a follower that does not forward
  | 'unavailable' // no leader, never proposed
  | 'overloaded' // a bounded queue is full; retry later
  | 'compare_failed' // compare-and-set saw another value
  | 'already_member' // to be added, and there already
  | 'not_member' // to be changed, and not there
  | 'cannot_remove_last_server' // a cluster needs a voter
  | 'too_many_members' // over the limit of a cluster
  | 'change_pending' // another change of members is under way; retry later
  | 'session_expired' // the session is not in the table any more
  | 'storage_failed' // the node's disk failed; it serves nothing
  | 'storage_full' // the leader's disk has no room; reads go on
  | 'closed' // the client or the cluster was closed
  | 'unknown'; // the write may or may not have happened

/** An expected failure. Text may change; `code` is the API. */
export class OxideError extends Error {
  override readonly name = 'OxideError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Whether the same request may be sent again without a session and without harm. */
  get retryable(): boolean {
    const { code } = this;
    return (
      code === 'not_leader' || code === 'unavailable' || code === 'overloaded' || code === 'change_pending'
    );
  }
}

/** Bytes on disk are not what was written. Never guessed around: the replica stops and names file and offset. */
export class CorruptionError extends Error {
  override readonly name = 'CorruptionError';
}

/** The file system refused: the replica stops acknowledging. A failed sync is never tried again. */
export class StorageError extends Error {
  override readonly name = 'StorageError';

  /** Whether there was no room, on the disk or in a quota: what was asked for may work later, unless a sync has failed. */
  get isFull(): boolean {
    const { cause } = this;
    if (cause instanceof StorageError) return cause.isFull;
    return cause instanceof Error && 'code' in cause && (cause.code === 'ENOSPC' || cause.code === 'EDQUOT');
  }
}

/** Does what must not be tried again when it fails: a {@link StorageError} from it is final, and no lack of room. */
export function onlyOnce<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof StorageError ? new StorageError(error.message) : error;
  }
}

/** The `message` of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
