/**
 * The text form of versions in a checkpoint: one JSON object a line, readable with any tool.
 *
 *   {"key":"color","value":"green","revision":9,"sub":0,"created":4,"version":3}
 *   {"key":"color","value":"blue","revision":4,"sub":1,"created":4,"version":1,"lease":"-17"}
 *   {"key":"size","deleted":true,"revision":7,"sub":0}
 *
 * A byte string is its text when it is UTF-8, otherwise {"base64":"…"}; a lease is there when there is one, as text,
 * because JSON numbers end at 2^53. Each version has exactly one such form, and nothing else is read.
 *
 * What came before versions had rows, {"key":"color","value":"green"}, and behind them the lines of the sessions. A
 * replica that reads such rows makes of each the first version of its key, at the revision that is the snapshot's index:
 * a number that all who have the same snapshot agree on, above 0, and not above that of any later command.
 */
import { fromLatin1, latin1, textOf, utf8 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { Version } from './version-engine.ts';

type Fields = Readonly<Record<string, unknown>>;

const NOTHING = { bytes: new Uint8Array(0), json: '' } as const;
const SURROGATE = /\p{Surrogate}/u;
// oxlint-disable-next-line no-control-regex -- the control characters are ASCII too
const ASCII = /^[\0-\x7f]*$/;

/** How the lines between header and end are laid out. */
export type LinesLayout =
  /** Rows in key order, then state. */
  | { readonly kind: 'rows'; readonly index: number }
  /** So many lines of state, then versions in key order, of one key the newest first. */
  | { readonly kind: 'versions'; readonly stateLines: number };

/** A version as a line, without a line end. */
export function versionLine(version: Version): string {
  const { key, value } = version;
  return lineOf(version, ASCII.test(key) ? key : bytesToJson(fromLatin1(key)), bytesToJson(value));
}

function lineOf(version: Version, key: unknown, value: unknown): string {
  const { revision, sub, created, lease } = version;
  if (version.version === 0) return JSON.stringify({ key, deleted: true, revision, sub });
  const fields = { key, value, revision, sub, created, version: version.version };
  return JSON.stringify(lease === 0n ? fields : { ...fields, lease: String(lease) });
}

/**
 * Reads the lines of a checkpoint: the versions come out, and the state is collected.
 *
 * @param state receives the lines of state
 * @throws CorruptionError for a line that no writer has written there
 */
export function* readVersions(
  lines: Iterable<string>,
  layout: LinesLayout,
  state: string[],
): IterableIterator<Version> {
  let number = 0;
  let previous: Version | undefined;
  for (const line of lines) {
    number += 1;
    const isRow = layout.kind === 'rows' ? line.startsWith('{"key":') : number > layout.stateLines;
    if (!isRow) {
      state.push(line);
      continue;
    }
    const isRowBehindState = layout.kind === 'rows' && state.length > 0;
    const version =
      layout.kind === 'rows' ? parseRow(line, number, layout.index) : parseVersion(line, number);
    if (isRowBehindState || !isInOrder(previous, version)) throw corrupt(number, 'it is out of order');
    yield version;
    previous = version;
  }
}

/** The version of a line of this position, from 1. @throws CorruptionError unless {@link versionLine} writes that line */
export function parseVersion(line: string, number: number): Version {
  const fields = fieldsOf(line, number);
  const key = bytesFromJson(fields['key']);
  const { revision, sub, created = 0, version = 0, lease = '0' } = fields;
  if (!isCount(revision) || !isCount(sub) || !isCount(created) || !isCount(version) || !isLease(lease))
    throw corrupt(number, 'it is not a version');
  const { bytes, json } = version === 0 ? NOTHING : bytesFromJson(fields['value']);
  const parsed = {
    key: latin1(key.bytes),
    revision,
    sub,
    created,
    version,
    lease: lease === '0' ? 0n : BigInt(lease),
    value: bytes,
  };
  const isSane = revision > 0 && created <= revision && created > 0 === version > 0;
  // What is not exact in any way (fields, spacing, base64 where text would do) shows on the way back.
  if (!isSane || lineOf(parsed, key.json, json) !== line) throw corrupt(number, 'it is not a version');
  return parsed;
}

function parseRow(line: string, number: number, index: number): Version {
  const fields = fieldsOf(line, number);
  const key = bytesFromJson(fields['key']);
  const value = bytesFromJson(fields['value']);
  if (JSON.stringify({ key: key.json, value: value.json }) !== line) throw corrupt(number, 'it is not a row');
  const revision = Math.max(1, index);
  return {
    key: latin1(key.bytes),
    revision,
    sub: number - 1,
    created: revision,
    version: 1,
    lease: 0n,
    value: value.bytes,
  };
}

function isInOrder(previous: Version | undefined, version: Version): boolean {
  if (previous === undefined || previous.key < version.key) return true;
  return previous.key === version.key && previous.revision > version.revision;
}

function bytesToJson(bytes: Uint8Array): string | { readonly base64: string } {
  return textOf(bytes) ?? { base64: bufferOf(bytes).toString('base64') };
}

/** A byte string, and the one form that it has. For what is neither text nor base64 that form is another one. */
function bytesFromJson(json: unknown): { readonly bytes: Uint8Array; readonly json: unknown } {
  if (typeof json === 'string' && !SURROGATE.test(json)) return { bytes: utf8(json), json };
  const isObject = typeof json === 'object' && json !== null && 'base64' in json;
  if (!isObject || typeof json.base64 !== 'string') return NOTHING;
  const bytes = new Uint8Array(Buffer.from(json.base64, 'base64'));
  return { bytes, json: bytesToJson(bytes) };
}

function fieldsOf(line: string, number: number): Fields {
  try {
    const json: unknown = JSON.parse(line);
    return isFields(json) ? json : {};
  } catch {
    throw corrupt(number, 'it is not JSON');
  }
}

function isFields(json: unknown): json is Fields {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isLease(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    /^-?\d{1,19}$/.test(value) &&
    BigInt(value) === BigInt.asIntN(64, BigInt(value))
  );
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function corrupt(number: number, state: string): CorruptionError {
  return new CorruptionError(`Cannot restore checkpoint: line ${number}: ${state}`);
}
