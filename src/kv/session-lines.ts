/**
 * A session with its answers as a line of JSON:
 *
 *   {"session":17,"ackedBelow":3,"answers":[{"seq":3,"kind":"ok","index":21}]}
 */
import { CorruptionError, OxideError } from '../lib/errors.ts';
import {
  base64FromJson,
  base64ToJson,
  bytesFromJson,
  bytesToJson,
  expectFields,
  fieldsOf,
  integer,
} from './json-fields.ts';
import { decodeOperationResult } from './result-codec.ts';
import type { Answer, SessionState } from './sessions.ts';

/** A session with its answers as a line, without a line end. */
export function sessionLine(session: SessionState): string {
  const answers: unknown[] = [];
  for (const [seq, answer] of session.answers) answers.push(answerToJson(seq, answer));
  return JSON.stringify({ session: session.id, ackedBelow: session.ackedBelow, answers });
}

/** Reads the fields of what {@link sessionLine} wrote, in memory of its own. Throws CorruptionError for anything else. */
export function parseSession(fields: ReadonlyMap<string, unknown>): SessionState {
  expectFields(fields, ['session', 'ackedBelow', 'answers']);
  const list = fields.get('answers');
  if (!Array.isArray(list)) throw new CorruptionError('answers are not a list');
  const answers = new Map<number, Answer>();
  for (const item of list) {
    const answerFields = fieldsOf(item);
    const seq = integer(answerFields, 'seq', 1);
    if (answers.has(seq)) throw new CorruptionError(`answer ${seq} is there twice`);
    answers.set(seq, parseAnswer(answerFields));
  }
  const id = integer(fields, 'session', 1);
  return { id, ackedBelow: integer(fields, 'ackedBelow', 0), answers };
}

function answerToJson(seq: number, answer: Answer): object {
  if (answer.kind === 'ok') return { seq, ...answer };
  if (answer.kind === 'operation') {
    return { seq, kind: answer.kind, index: answer.index, result: base64ToJson(answer.encoded) };
  }
  const { kind, index, actual } = answer;
  return actual === undefined ? { seq, kind, index } : { seq, kind, index, actual: bytesToJson(actual) };
}

function parseAnswer(fields: ReadonlyMap<string, unknown>): Answer {
  const index = integer(fields, 'index', 1);
  if (fields.get('kind') === 'mismatch') {
    const hasActual = fields.has('actual');
    expectFields(fields, hasActual ? ['seq', 'kind', 'index', 'actual'] : ['seq', 'kind', 'index']);
    return { kind: 'mismatch', index, actual: hasActual ? bytesFromJson(fields.get('actual')) : undefined };
  }
  if (fields.get('kind') === 'operation') {
    expectFields(fields, ['seq', 'kind', 'index', 'result']);
    return { kind: 'operation', index, encoded: resultFromJson(fields.get('result')) };
  }
  if (fields.get('kind') !== 'ok') throw new CorruptionError('unknown kind of answer');
  const existed = fields.get('existed');
  expectFields(
    fields,
    existed === undefined ? ['seq', 'kind', 'index'] : ['seq', 'kind', 'index', 'existed'],
  );
  if (existed === undefined) return { kind: 'ok', index };
  if (typeof existed !== 'boolean') throw new CorruptionError('existed is not true or false');
  return { kind: 'ok', index, existed };
}

/** Proves at once that a result can be read: later, when a client asks again, nothing could be done about it. */
function resultFromJson(json: unknown): Uint8Array {
  const encoded = base64FromJson(json);
  try {
    decodeOperationResult(encoded);
  } catch (error) {
    if (!(error instanceof OxideError)) throw error;
    throw new CorruptionError(error.message, { cause: error });
  }
  return encoded;
}
