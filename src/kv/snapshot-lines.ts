/**
 * The text form of a state machine's snapshot: one JSON object a line, readable with any tool.
 *
 *   {"key":"color","value":"green"}                                    a row
 *   {"session":17,"ackedBelow":3,"answers":[{"seq":3,"kind":"ok","index":21}]}    a session
 *
 * A byte string is its text when it is UTF-8, otherwise {"base64":"…"}; each byte string has exactly one such form.
 * This file only formats and parses single lines; machine.ts decides what a whole snapshot is.
 */
import { fromLatin1, latin1, textOf, utf8 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { Row } from '../storage/engine.ts';
import type { Answer, SessionState } from './sessions.ts';

/** What one line holds. */
export type SnapshotLine =
  | { readonly kind: 'row'; readonly row: Row }
  | { readonly kind: 'session'; readonly session: SessionState };

/** A row as a line, without a line end. */
export function rowLine(row: Row): string {
  return JSON.stringify({ key: bytesToJson(fromLatin1(row.key)), value: bytesToJson(row.value) });
}

/** A session with its answers as a line, without a line end. */
export function sessionLine(session: SessionState): string {
  const answers: unknown[] = [];
  for (const [seq, answer] of session.answers) answers.push(answerToJson(seq, answer));
  return JSON.stringify({ session: session.id, ackedBelow: session.ackedBelow, answers });
}

/**
 * Reads a line. What it returns is in memory of its own.
 *
 * @param number the line's position, from 1, for the message
 * @throws CorruptionError unless the line is exactly what {@link rowLine} or {@link sessionLine} writes, in any spacing
 */
export function parseLine(line: string, number: number): SnapshotLine {
  try {
    const fields = fieldsOf(JSON.parse(line));
    return fields.has('session') ? parseSession(fields) : parseRow(fields);
  } catch (error) {
    if (!(error instanceof CorruptionError || error instanceof SyntaxError)) throw error;
    throw corruptLine(number, error.message);
  }
}

/** The error for line `number`, which is in a `state` that no snapshot has. */
export function corruptLine(number: number, state: string): CorruptionError {
  return new CorruptionError(`Cannot restore snapshot: line ${number}: ${state}`);
}

function parseRow(fields: ReadonlyMap<string, unknown>): SnapshotLine {
  expectFields(fields, ['key', 'value']);
  const key = latin1(bytesFromJson(fields.get('key')));
  return { kind: 'row', row: { key, value: bytesFromJson(fields.get('value')) } };
}

function parseSession(fields: ReadonlyMap<string, unknown>): SnapshotLine {
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
  return { kind: 'session', session: { id, ackedBelow: integer(fields, 'ackedBelow', 0), answers } };
}

function answerToJson(seq: number, answer: Answer): object {
  if (answer.kind === 'ok') return { seq, ...answer };
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

function bytesToJson(bytes: Uint8Array): string | { readonly base64: string } {
  return textOf(bytes) ?? { base64: bufferOf(bytes).toString('base64') };
}

function bytesFromJson(json: unknown): Uint8Array {
  if (typeof json === 'string') {
    if (/\p{Surrogate}/u.test(json)) throw new CorruptionError('text has a lone surrogate');
    return utf8(json);
  }
  const fields = fieldsOf(json);
  expectFields(fields, ['base64']);
  const text = fields.get('base64');
  if (typeof text !== 'string') throw new CorruptionError('base64 is not text');
  const bytes = new Uint8Array(Buffer.from(text, 'base64'));
  // Buffer skips what is not base64, so only the way back proves that nothing was lost.
  if (bufferOf(bytes).toString('base64') !== text) throw new CorruptionError('base64 is malformed');
  if (textOf(bytes) !== undefined) throw new CorruptionError('base64 where text would do');
  return bytes;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The fields of a JSON object, as a map: names come from outside. */
function fieldsOf(json: unknown): ReadonlyMap<string, unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new CorruptionError('not an object');
  return new Map(Object.entries(json));
}

function expectFields(fields: ReadonlyMap<string, unknown>, names: readonly string[]): void {
  if (fields.size !== names.length || !names.every((name) => fields.has(name))) {
    throw new CorruptionError(`fields are ${[...fields.keys()].join(', ')}, expected ${names.join(', ')}`);
  }
}

function integer(fields: ReadonlyMap<string, unknown>, name: string, min: number): number {
  const value = fields.get(name);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw new CorruptionError(`${name} is not an integer from ${min}`);
  }
  return value;
}
