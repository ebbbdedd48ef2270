/**
 * What clients may be told: every request is answered at most once, with an error of the closed list if with one, a write
 * has a place in the log of its own, and a session gives the same answer to the same command (I18, I30).
 */
import type { ErrorCode } from '../lib/errors.ts';
import type { Reply, Request, SessionTag } from '../net/protocol.ts';
import type { LogIndex } from '../raft/entry.ts';
import { fail } from './violation.ts';

/** The error codes that exist. A record, so that the compiler misses a code that is left out. */
const CODES: Readonly<Record<ErrorCode, true>> = {
  bad_request: true,
  too_large: true,
  not_leader: true,
  unavailable: true,
  overloaded: true,
  compare_failed: true,
  already_member: true,
  not_member: true,
  cannot_remove_last_server: true,
  too_many_members: true,
  change_pending: true,
  session_expired: true,
  storage_failed: true,
  storage_full: true,
  closed: true,
  unknown: true,
};
const KNOWN_CODES: ReadonlySet<string> = new Set(Object.keys(CODES));

/** The kinds of answer, besides a refusal, that suit each kind of request. */
const SUITABLE: ReadonlyMap<string, readonly string[]> = new Map([
  ['get', ['value']],
  ['scan', ['rows']],
  ['set', ['ok']],
  ['delete', ['ok']],
  ['cas', ['ok', 'mismatch']],
  ['openSession', ['session']],
  ['changeMembers', ['ok']],
  ['transferLeader', ['leader']],
  ['status', ['status']],
  ['compact', ['ok']],
]);

interface Asked {
  readonly request: Request;
  readonly session: SessionTag | undefined;
}

export class Answers {
  readonly #asked: Map<number, Asked> = new Map();
  /** The answer to each (session, seq), as text, until the client has acknowledged it. */
  readonly #sessions: Map<number, Map<number, string>> = new Map();
  /** Which write was told which index. */
  readonly #indexes: Map<LogIndex, string> = new Map();

  /** A request was handed to a node. `id` is never used again. */
  asked(id: number, request: Request): void {
    const session = 'session' in request ? request.session : undefined;
    this.#asked.set(id, { request, session });
    if (session === undefined) return;
    const answers = this.#sessions.get(session.id);
    if (answers === undefined) return;
    for (const seq of answers.keys()) if (seq < session.ackedBelow) answers.delete(seq);
  }

  /** The node that had the request is gone: there will be no answer. */
  lost(id: number): void {
    this.#asked.delete(id);
  }

  answered(id: number, reply: Reply): void {
    const asked = this.#asked.get(id);
    if (asked === undefined) fail('I30 one answer', `request ${id} was answered twice or was never asked`);
    this.#asked.delete(id);
    if (reply.kind === 'error') {
      if (!KNOWN_CODES.has(reply.code))
        fail('I30 classified errors', `request ${id} ended with "${reply.code}": ${reply.message}`);
      return;
    }
    const { kind } = asked.request;
    if (SUITABLE.get(kind)?.includes(reply.kind) === false)
      fail('I30 one answer', `a ${kind} was answered with ${reply.kind}`);
    const isWrite = kind === 'set' || kind === 'delete' || kind === 'cas';
    if (!isWrite || (reply.kind !== 'ok' && reply.kind !== 'mismatch')) return;
    const write = asked.session === undefined ? `request ${id}` : nameOf(asked.session);
    const other = this.#indexes.get(reply.index);
    if (other !== undefined && other !== write)
      fail('I18 exactly once', `${write} was told the index ${reply.index}, as ${other} was before`);
    this.#indexes.set(reply.index, write);
    if (asked.session !== undefined) this.#compare(asked.session, reply);
  }

  /** Forgets which writes had places below `index`: nobody can be told one of them any more but by a session. */
  forgetBelow(index: LogIndex): void {
    for (const told of this.#indexes.keys()) if (told < index) this.#indexes.delete(told);
  }

  #compare(session: SessionTag, reply: Reply): void {
    const answers = this.#sessions.get(session.id) ?? new Map<number, string>();
    this.#sessions.set(session.id, answers);
    const text = JSON.stringify(reply, (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    );
    const known = answers.get(session.seq);
    if (known === undefined) answers.set(session.seq, text);
    else if (known !== text)
      fail('I18 exactly once', `${nameOf(session)} was answered with ${known}, then with ${text}`);
  }
}

function nameOf(session: SessionTag): string {
  return `command ${session.seq} of session ${session.id}`;
}
