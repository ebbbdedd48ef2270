/**
 * The text form of a state machine's snapshot: one JSON object a line, readable with any tool.
 *
 *   {"key":"color","value":"green"}                                    a row
 *   {"session":17,"ackedBelow":3,"answers":[{"seq":3,"kind":"ok","index":21}]}    a session
 *
 * A byte string is its text when it is UTF-8, otherwise {"base64":"…"}; each byte string has exactly one such form.
 * This file only formats and parses single lines; machine.ts decides what a whole snapshot is.
 */
import { fromLatin1, latin1 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { Row } from '../storage/engine.ts';
import { bytesFromJson, bytesToJson, expectFields, fieldsOf } from './json-fields.ts';
import { parseSession } from './session-lines.ts';
import type { SessionState } from './sessions.ts';

/** What one line holds. */
export type SnapshotLine =
  | { readonly kind: 'row'; readonly row: Row }
  | { readonly kind: 'session'; readonly session: SessionState };

/** A row as a line, without a line end. */
export function rowLine(row: Row): string {
  return JSON.stringify({ key: bytesToJson(fromLatin1(row.key)), value: bytesToJson(row.value) });
}

/**
 * Reads a line. What it returns is in memory of its own.
 *
 * @param number the line's position, from 1, for the message
 * @throws CorruptionError unless the line is exactly what {@link rowLine} or `sessionLine` writes, in any spacing
 */
export function parseLine(line: string, number: number): SnapshotLine {
  try {
    const fields = fieldsOf(JSON.parse(line));
    return fields.has('session') ? { kind: 'session', session: parseSession(fields) } : parseRow(fields);
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
