/**
 * The state machine: applies committed commands, in log order, to an engine and a session table. Everything it holds is
 * a function of the commands applied, so that replicas that applied the same log are equal (Raft §2).
 *
 * It does no I/O and knows no clock: reads may be as old as `applied`, and whether that is new enough is for the caller.
 */
import { assert, unreachable } from '../lib/assert.ts';
import { equalBytes, prefixEnd } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { Engine, Row } from '../storage/engine.ts';
import { decodeCommand } from './command-codec.ts';
import type { Command, CommandSession, Result } from './command.ts';
import { RowSetHash } from './row-hash.ts';
import { type Answer, SessionTable } from './sessions.ts';
import { corruptLine, parseLine, rowLine } from './snapshot-lines.ts';
import { sessionLine } from './session-lines.ts';

/** Most recently written keys remembered for the screen. */
export const RECENT_KEYS_MAX = 32;

/** Rows fetched from the engine at once: a scan stops by bytes long before its row limit when values are large. */
const SCAN_ROWS_AT_ONCE = 256;

type WriteCommand = Exclude<Command, { kind: 'openSession' | 'operation' }>;

/** A page of rows. Values belong to the engine: do not change them. */
export interface Page {
  readonly rows: readonly Row[];
  /** There are further rows behind these. */
  readonly more: boolean;
}

export class KvMachine {
  readonly #engine: Engine;
  readonly #sessions = new SessionTable();
  readonly #hash = new RowSetHash();
  /** Written last comes last. */
  readonly #recent = new Set<string>();
  #newestKey: string | undefined;
  #applied = 0;

  /** @param engine an empty engine; it belongs to the machine from now on */
  constructor(engine: Engine) {
    assert(engine.count === 0, 'A machine starts on an empty engine');
    this.#engine = engine;
  }

  /** Index of the last entry applied; 0 before the first. */
  get applied(): number {
    return this.#applied;
  }

  /** Number of keys. */
  get count(): number {
    return this.#engine.count;
  }

  /** Bytes of keys and values. */
  get bytes(): number {
    return this.#engine.bytes;
  }

  /** Number of open sessions. */
  get sessionCount(): number {
    return this.#sessions.count;
  }

  /**
   * Applies the command of entry `index`, which must follow `applied`. Keeps nothing of `payload`. The result may be
   * remembered for retries: do not change the bytes in it.
   *
   * @throws CorruptionError when the payload is not a command: this replica must stop. Nothing was applied
   */
  apply(index: number, payload: Uint8Array): Result {
    assert(index === this.#applied + 1, 'Entries are applied one after the other');
    const command = decodeCommand(payload);
    if (command.kind === 'operation')
      throw new CorruptionError('Cannot apply operation: this store has no versions');
    this.#applied = index;
    if (command.kind === 'openSession') {
      this.#sessions.open(index);
      return { kind: 'session', id: index };
    }
    if (command.session === undefined) return this.#write(index, command);
    return this.#writeOnce(index, command, command.session);
  }

  /** Counts entry `index`, which must follow `applied`, as applied; it changes nothing else. */
  noop(index: number): void {
    assert(index === this.#applied + 1, 'Entries are applied one after the other');
    this.#applied = index;
  }

  /** The value of a latin-1 key, or undefined. It belongs to the engine: do not change it. */
  get(key: string): Uint8Array | undefined {
    return this.#engine.get(key);
  }

  /**
   * Rows whose latin-1 key starts with `prefix`, in key order: at most `limit`, and none after their keys and values
   * have reached `bytesMax` bytes. So a page with `limit` of at least 1 is empty only when there are no rows.
   */
  scan(prefix: string, limit: number, bytesMax: number): Page {
    assert(limit >= 0 && bytesMax >= 0, 'A page has a size');
    const end = prefixEnd(prefix);
    const rows: Row[] = [];
    let bytes = 0;
    let start = prefix;
    for (;;) {
      const wanted = Math.min(limit - rows.length + 1, SCAN_ROWS_AT_ONCE);
      const fetched = this.#engine.scan(start, end, wanted);
      for (const row of fetched) {
        if (rows.length >= limit || (rows.length > 0 && bytes >= bytesMax)) return { rows, more: true };
        rows.push(row);
        bytes += row.key.length + row.value.length;
        start = `${row.key}\0`;
      }
      if (fetched.length < wanted) return { rows, more: false };
    }
  }

  /** Up to `n` latin-1 keys that exist: the most recently written first, then, where too few are remembered, others in key order. */
  recentKeys(n: number): readonly string[] {
    const keys = new Set<string>();
    for (const key of [...this.#recent].toReversed()) if (keys.size < n) keys.add(key);
    if (keys.size < n && keys.size < this.#engine.count) {
      for (const row of this.#engine.scan('', undefined, n)) if (keys.size < n) keys.add(row.key);
    }
    return [...keys];
  }

  /** A hash of all rows (not of the sessions), sixteen hexadecimal digits: equal replicas at equal `applied` have equal ones. */
  stateHash(): string {
    return this.#hash.hex();
  }

  /**
   * The whole state, as it is now, as lines of JSON without line ends: rows in key order, then sessions, least recently
   * used first. Equal states give equal lines. The machine may change while they are walked: rows are kept by
   * reference and their values never change; sessions, which are few, are encoded at once.
   */
  snapshotLines(): IterableIterator<string> {
    return linesOf([...this.#engine.rows()], Array.from(this.#sessions.states(), sessionLine));
  }

  /**
   * Replaces the whole state by a snapshot that covers the log up to `index`.
   *
   * @throws CorruptionError when a line is not what {@link snapshotLines} writes, or out of order. The machine then holds
   *   a part of the snapshot and must not be used
   */
  restore(index: number, lines: Iterable<string>): void {
    assert(Number.isSafeInteger(index) && index >= 0, 'Index out of range');
    this.#engine.clear();
    this.#sessions.clear();
    this.#hash.clear();
    this.#recent.clear();
    this.#newestKey = undefined;
    this.#applied = index;
    let number = 0;
    let previousKey: string | undefined;
    for (const line of lines) {
      number += 1;
      const parsed = parseLine(line, number);
      if (parsed.kind === 'session') {
        if (parsed.session.id > index || !this.#sessions.restore(parsed.session)) {
          throw corruptLine(number, `session ${parsed.session.id} cannot be there`);
        }
        continue;
      }
      const { key, value } = parsed.row;
      const isInOrder = this.#sessions.count === 0 && (previousKey === undefined || previousKey < key);
      if (!isInOrder) throw corruptLine(number, 'row out of order');
      previousKey = key;
      this.#engine.put(key, value);
      this.#hash.add(key, value);
    }
  }

  #writeOnce(index: number, command: WriteCommand, tag: CommandSession): Result {
    const admission = this.#sessions.admit(tag);
    if (admission.kind === 'settled') {
      assert(admission.result.kind !== 'operation', 'This store has no operations');
      return admission.result;
    }
    const answer = this.#write(index, command);
    this.#sessions.remember(tag, answer);
    return answer;
  }

  #write(index: number, command: WriteCommand): Exclude<Answer, { kind: 'operation' }> {
    switch (command.kind) {
      case 'set':
        this.#put(command.key, this.#engine.get(command.key), command.value);
        return { kind: 'ok', index };
      case 'delete':
        return { kind: 'ok', index, existed: this.#delete(command.key) };
      case 'cas': {
        const actual = this.#engine.get(command.key);
        const { expected } = command;
        const isMatch =
          actual === undefined || expected === undefined ? actual === expected : equalBytes(actual, expected);
        // Copied, because the answer may outlive the row, and whoever gets it must not reach into the engine.
        if (!isMatch) return { kind: 'mismatch', index, actual: actual?.slice() };
        this.#put(command.key, actual, command.value);
        return { kind: 'ok', index };
      }
      default:
        return unreachable(command);
    }
  }

  /**
   * Sets a key. The value is copied: it is a view of a payload, which is a view of a frame or of a read from the log, and
   * one small value kept would keep all of that in memory.
   */
  #put(key: string, previous: Uint8Array | undefined, value: Uint8Array): void {
    const copy = new Uint8Array(value);
    if (previous !== undefined) this.#hash.remove(key, previous);
    this.#hash.add(key, copy);
    this.#engine.put(key, copy);
    this.#notice(key);
  }

  #delete(key: string): boolean {
    const previous = this.#engine.get(key);
    if (previous === undefined) return false;
    this.#hash.remove(key, previous);
    this.#recent.delete(key);
    if (this.#newestKey === key) this.#newestKey = undefined;
    const existed = this.#engine.delete(key);
    assert(existed, 'The engine had this key a moment ago');
    return true;
  }

  /** Moves a key to the end of the recent ones. */
  #notice(key: string): void {
    if (this.#newestKey === key) return;
    this.#newestKey = key;
    this.#recent.delete(key);
    this.#recent.add(key);
    if (this.#recent.size <= RECENT_KEYS_MAX) return;
    for (const oldest of this.#recent) {
      this.#recent.delete(oldest);
      return;
    }
  }
}

function* linesOf(rows: readonly Row[], sessionLines: readonly string[]): IterableIterator<string> {
  for (const row of rows) yield rowLine(row);
  yield* sessionLines;
}
