/**
 * What the manifest says, as data: the durable state of a tree, the edits that lead from one state to the next, and both
 * as JSON. Keys are latin-1 strings, which JSON keeps as they are. What is read is checked field by field: it may come
 * from a damaged disk or, for tables, from a peer.
 */
import { EMPTY_LEVELS, type Levels, type PlacedTable, allTables, editLevels } from './levels.ts';
import { LEVELS_MAX, type TableMeta } from './table-format.ts';

/** The format of manifest and tables that this program writes, and the latest that it reads. */
export const LSM_FORMAT = 1;

/** Where a checkpoint ends in the log, and the file with everything of it that is not a version. */
export interface StateFile {
  readonly index: number;
  readonly term: number;
  /** Names the file: `000123.state`. From the same sequence as the numbers of tables. */
  readonly number: number;
  readonly bytes: number;
  /** Of the whole file. */
  readonly crc32: number;
}

/** Everything durable. */
export interface TreeState {
  readonly levels: Levels;
  /** The newest checkpoint: the tables hold its versions. */
  readonly checkpoint: StateFile | undefined;
  /** History before it may go; as of the checkpoint, so that replaying the log behind it never looks for what is gone. */
  readonly horizon: number;
  /** No file has this number or a higher one, or had it and was named by a manifest. */
  readonly nextNumber: number;
}

/** A step from one state to the next. What is undefined stays. */
export interface TreeEdit {
  readonly added: readonly PlacedTable[];
  readonly removed: readonly number[];
  readonly checkpoint?: StateFile;
  readonly horizon?: number;
  readonly nextNumber: number;
}

/** The state of a new tree. */
export const EMPTY_STATE: TreeState = {
  levels: EMPTY_LEVELS,
  checkpoint: undefined,
  horizon: 0,
  nextNumber: 1,
};

/** The state after `edit`, or the reason why there is none. */
export function editState(state: TreeState, edit: TreeEdit): TreeState | string {
  const levels = editLevels(state.levels, edit);
  if (typeof levels === 'string') return levels;
  const { checkpoint = state.checkpoint, horizon = state.horizon, nextNumber } = edit;
  if (horizon < state.horizon) return `it moves the horizon back to ${horizon}`;
  if (nextNumber < state.nextNumber) return `it moves the next number back to ${nextNumber}`;
  const numbers = edit.added.map(({ meta }) => meta.number);
  if (edit.checkpoint !== undefined) numbers.push(edit.checkpoint.number);
  const high = numbers.find((number) => number >= nextNumber);
  if (high !== undefined) return `it names file ${high}, and says that ${nextNumber} is free`;
  return { levels, checkpoint, horizon, nextNumber };
}

/** A whole state as one edit of an empty one. */
export function editOf(state: TreeState): TreeEdit {
  const { levels, checkpoint, horizon, nextNumber } = state;
  const added = [...allTables(levels)];
  return { added, removed: [], ...(checkpoint !== undefined && { checkpoint }), horizon, nextNumber };
}

/** An edit as JSON, and {@link parseEdit} its inverse. */
export function formatEdit(edit: TreeEdit): string {
  return JSON.stringify({ format: LSM_FORMAT, ...edit });
}

/** What {@link formatEdit} wrote. `newer`: of a format that this program does not read; `bad`: not an edit at all. */
export function parseEdit(
  text: string,
):
  | { readonly kind: 'edit'; readonly edit: TreeEdit }
  | { readonly kind: 'newer'; readonly format: number }
  | { readonly kind: 'bad' } {
  const fields = fieldsOf(parseJson(text));
  const format = fields?.['format'];
  if (fields === undefined || !isCount(format) || format < 1) return { kind: 'bad' };
  if (format > LSM_FORMAT) return { kind: 'newer', format };
  const { added, removed, checkpoint, horizon, nextNumber } = fields;
  const tables = listOf(added, parsePlaced);
  const numbers = listOf(removed, (value) => (isCount(value) ? value : undefined));
  const stateFile = checkpoint === undefined ? undefined : parseStateFile(checkpoint);
  const isWhole =
    tables !== undefined &&
    numbers !== undefined &&
    isCount(nextNumber) &&
    (horizon === undefined || isCount(horizon)) &&
    (checkpoint === undefined) === (stateFile === undefined);
  if (!isWhole) return { kind: 'bad' };
  const edit = {
    added: tables,
    removed: numbers,
    ...(stateFile !== undefined && { checkpoint: stateFile }),
    ...(horizon !== undefined && { horizon }),
    nextNumber,
  };
  return { kind: 'edit', edit };
}

/** A table in its place from JSON; undefined when a field is missing or makes no sense. */
export function parsePlaced(value: unknown): PlacedTable | undefined {
  const { level, horizon, meta } = fieldsOf(value) ?? {};
  const table = parseTable(meta);
  if (table === undefined || !isCount(level) || level >= LEVELS_MAX || !isCount(horizon)) return undefined;
  return { level, meta: table, horizon };
}

/** A value from JSON as an object of unknown fields; undefined when it is something else. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
}

/** Every element of a list by `parse`; undefined when it is no list, or one element is refused. */
export function listOf<T>(value: unknown, parse: (element: unknown) => T | undefined): T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const list: T[] = [];
  for (const element of value) {
    const parsed = parse(element);
    if (parsed === undefined) return undefined;
    list.push(parsed);
  }
  return list;
}

/** JSON, or undefined for text that is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A safe integer from 0. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** A checksum. */
export function isUint32(value: unknown): value is number {
  return isCount(value) && value <= 0xffff_ffff;
}

function parseTable(value: unknown): TableMeta | undefined {
  const { number, bytes, crc32, first, last, revisionMin, revisionMax, versions, obsolete } =
    fieldsOf(value) ?? {};
  if (!isCount(number) || !isCount(bytes) || !isUint32(crc32) || !isKey(first) || !isKey(last))
    return undefined;
  if (!isCount(revisionMin) || !isCount(revisionMax) || !isCount(versions) || !isCount(obsolete))
    return undefined;
  const isSensible =
    number > 0 &&
    bytes > 0 &&
    first <= last &&
    revisionMin <= revisionMax &&
    versions > 0 &&
    obsolete <= versions;
  if (!isSensible) return undefined;
  return { number, bytes, crc32, first, last, revisionMin, revisionMax, versions, obsolete };
}

function parseStateFile(value: unknown): StateFile | undefined {
  const { index, term, number, bytes, crc32 } = fieldsOf(value) ?? {};
  if (!isCount(index) || !isCount(term) || !isCount(number) || !isCount(bytes) || !isUint32(crc32))
    return undefined;
  return { index, term, number, bytes, crc32 };
}

function isKey(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0xff) return false;
  return true;
}
