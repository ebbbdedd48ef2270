/**
 * Client sessions: they make a retried command harmless (Ongaro's thesis §6.3). The table is part of the replicated
 * state: it changes only by applied commands, so every replica holds the same sessions in the same order.
 *
 * It remembers answers; it does not apply anything.
 */
import { assert, unreachable } from '../lib/assert.ts';
import type { CommandSession, OperationAnswer, Result } from './command.ts';
import { decodeOperationResult } from './result-codec.ts';

/** Sessions held at once. Opening one more evicts the least recently used. */
export const SESSIONS_MAX = 10_000;
/** Answers one session may have unacknowledged. A command beyond is refused until its client acknowledges some. */
export const SESSION_ANSWERS_MAX = 4_096;
/** Bytes one session's unacknowledged answers may hold before further commands are refused. */
export const SESSION_ANSWER_BYTES_MAX = 8_388_608;
/** Bytes all answers may hold; beyond, the least recently used sessions are evicted. */
export const SESSIONS_BYTES_MAX = 67_108_864;

/** What one remembered answer is taken to cost besides the value in it. */
const ANSWER_BYTES = 64;

/** A result worth remembering: its command was decided. The others left no trace and may be tried again. */
export type Answer =
  | Extract<Result, { kind: 'ok' | 'mismatch' }>
  /** The result in its binary form (result-codec.ts): few are ever asked for again, and this keeps nothing else in memory. */
  | { readonly kind: 'operation'; readonly index: number; readonly encoded: Uint8Array };

/** What the table says about a command before it is applied. */
export type Admission =
  /** First seen: apply it, then {@link SessionTable.remember} the answer. */
  | { readonly kind: 'new' }
  /** Decided before, with `result`; or refused. Either way it must not be applied. */
  | { readonly kind: 'settled'; readonly result: Result | OperationAnswer };

/** A session as a snapshot holds it. */
export interface SessionState {
  readonly id: number;
  readonly ackedBelow: number;
  /** In the order in which they were given. */
  readonly answers: ReadonlyMap<number, Answer>;
}

interface Session {
  readonly id: number;
  ackedBelow: number;
  readonly answers: Map<number, Answer>;
  bytes: number;
}

const ADMIT: Admission = { kind: 'new' };

/** The session table. Deterministic: equal calls in equal order give equal tables. */
export class SessionTable {
  /** Least recently used first: a use moves the session to the end. Use is judged by log order, never by a clock. */
  readonly #sessions = new Map<number, Session>();
  #newest: Session | undefined;
  #bytes = 0;

  /** Number of sessions. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Opens session `id`, evicting the least recently used one when the table is full. `id` is new. */
  open(id: number): void {
    if (this.#sessions.size >= SESSIONS_MAX) this.#evictOldest();
    this.#add({ id, ackedBelow: 0, answers: new Map(), bytes: 0 });
  }

  /** Judges a command, counts it as a use of its session, and forgets the answers that it acknowledges. */
  admit(tag: CommandSession): Admission {
    const session = this.#sessions.get(tag.id);
    if (session === undefined) return { kind: 'settled', result: { kind: 'sessionExpired', id: tag.id } };
    this.#touch(session);
    if (tag.ackedBelow > session.ackedBelow) this.#acknowledge(session, tag.ackedBelow);
    if (tag.seq < session.ackedBelow) {
      return refusal(
        tag.id,
        `Answer ${tag.seq} was already acknowledged: all below ${session.ackedBelow} are`,
      );
    }
    const answer = session.answers.get(tag.seq);
    if (answer !== undefined) return { kind: 'settled', result: resultOf(answer) };
    if (session.answers.size >= SESSION_ANSWERS_MAX || session.bytes >= SESSION_ANSWER_BYTES_MAX) {
      return refusal(
        tag.id,
        `Too many unacknowledged answers: ${session.answers.size} of ${session.bytes} bytes`,
      );
    }
    return ADMIT;
  }

  /** Keeps the answer of the command that was just admitted as new. The answer belongs to the table from now on. */
  remember(tag: CommandSession, answer: Answer): void {
    const session = this.#sessions.get(tag.id);
    assert(session !== undefined, 'Only an admitted command is remembered');
    assert(!session.answers.has(tag.seq), 'A command is decided once');
    const bytes = answerBytes(answer);
    session.answers.set(tag.seq, answer);
    session.bytes += bytes;
    this.#bytes += bytes;
    while (this.#bytes > SESSIONS_BYTES_MAX && this.#sessions.size > 1) this.#evictOldest();
  }

  /** All sessions, least recently used first. The table must not change while they are walked. */
  states(): IterableIterator<SessionState> {
    return this.#sessions.values();
  }

  /** Adds a session from a snapshot, behind those added before. @returns false when it breaks a rule of the table */
  restore(state: SessionState): boolean {
    if (this.#sessions.has(state.id) || this.#sessions.size >= SESSIONS_MAX) return false;
    if (state.answers.size > SESSION_ANSWERS_MAX) return false;
    const session: Session = { id: state.id, ackedBelow: state.ackedBelow, answers: new Map(), bytes: 0 };
    for (const [seq, answer] of state.answers) {
      if (seq < state.ackedBelow) return false;
      session.answers.set(seq, answer);
      session.bytes += answerBytes(answer);
    }
    this.#bytes += session.bytes;
    this.#add(session);
    return true;
  }

  clear(): void {
    this.#sessions.clear();
    this.#newest = undefined;
    this.#bytes = 0;
  }

  #add(session: Session): void {
    assert(!this.#sessions.has(session.id), 'A session is opened once');
    this.#sessions.set(session.id, session);
    this.#newest = session;
  }

  #touch(session: Session): void {
    if (this.#newest === session) return;
    this.#sessions.delete(session.id);
    this.#sessions.set(session.id, session);
    this.#newest = session;
  }

  #acknowledge(session: Session, ackedBelow: number): void {
    const before = session.bytes;
    // A client chooses both numbers, so the walk is bounded by the answers held, not by how far it jumped.
    if (ackedBelow - session.ackedBelow <= session.answers.size) {
      for (let seq = session.ackedBelow; seq < ackedBelow; seq++) forget(session, seq);
    } else {
      for (const seq of session.answers.keys()) if (seq < ackedBelow) forget(session, seq);
    }
    session.ackedBelow = ackedBelow;
    this.#bytes -= before - session.bytes;
  }

  #evictOldest(): void {
    for (const session of this.#sessions.values()) {
      this.#sessions.delete(session.id);
      this.#bytes -= session.bytes;
      return;
    }
  }
}

function forget(session: Session, seq: number): void {
  const answer = session.answers.get(seq);
  if (answer === undefined) return;
  session.answers.delete(seq);
  session.bytes -= answerBytes(answer);
}

function resultOf(answer: Answer): Result | OperationAnswer {
  if (answer.kind !== 'operation') return answer;
  return { kind: 'operation', index: answer.index, result: decodeOperationResult(answer.encoded) };
}

function answerBytes(answer: Answer): number {
  switch (answer.kind) {
    case 'ok':
      return ANSWER_BYTES;
    case 'mismatch':
      return ANSWER_BYTES + (answer.actual?.length ?? 0);
    case 'operation':
      return ANSWER_BYTES + answer.encoded.length;
    default:
      return unreachable(answer);
  }
}

function refusal(id: number, why: string): Admission {
  return { kind: 'settled', result: { kind: 'sessionRefused', id, why } };
}
