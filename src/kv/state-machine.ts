/**
 * The state machine: applies committed commands, in log order, to keys with their versions, leases and sessions. Everything
 * it holds is a function of the commands applied, so that replicas that applied the same log are equal (Raft §2).
 *
 * It does no I/O of its own and knows no clock: reads may be as old as `applied`, and whether that is new enough is for the
 * caller. Set, delete and compare-and-set are short ways to say what operations say too: each that changes something uses a
 * revision.
 */
import { assert, unreachable } from '../lib/assert.ts';
import { equalBytes, prefixEnd } from '../lib/bytes.ts';
import type { VersionEngine } from '../storage/version-engine.ts';
import { decodeCommand } from './command-codec.ts';
import type { Command, CommandSession, OperationAnswer, Result } from './command.ts';
import { Executor } from './executor.ts';
import { LeaseTable } from './leases.ts';
import type { Query, QueryResult } from './operation.ts';
import { RecentKeys } from './recent-keys.ts';
import { encodeOperationResult } from './result-codec.ts';
import { RowSetHash } from './row-hash.ts';
import { sessionLine } from './session-lines.ts';
import { type Answer, SessionTable } from './sessions.ts';
import { corruptState, countersLine, leaseLines, parseStateLine } from './state-lines.ts';
import { Store } from './store.ts';
import { WatchHub } from './watch.ts';

type WriteCommand = Exclude<Command, { kind: 'openSession' }>;
type WriteResult = Extract<Result, { kind: 'ok' | 'mismatch' }> | OperationAnswer;

/** A key and its value. */
export interface Row {
  readonly key: string;
  /** Belongs to the engine: do not change it. */
  readonly value: Uint8Array;
}

/** A page of rows. */
export interface Page {
  readonly rows: readonly Row[];
  /** There are further rows behind these. */
  readonly more: boolean;
}

export class StateMachine {
  readonly #store: Store;
  readonly #leases = new LeaseTable();
  readonly #sessions = new SessionTable();
  readonly #executor: Executor;
  readonly #watches: WatchHub;
  readonly #recent = new RecentKeys();
  #applied = 0;

  /** @param engine empty, or about to be named by {@link restore}; it belongs to the machine from now on */
  constructor(engine: VersionEngine) {
    this.#store = new Store(engine);
    this.#executor = new Executor(this.#store, this.#leases);
    this.#watches = new WatchHub(this.#store);
  }

  /** Index of the last entry applied; 0 before the first. */
  get applied(): number {
    return this.#applied;
  }

  /** Of the last write; 1 before the first. */
  get revision(): number {
    return this.#store.revision;
  }

  /** The lowest revision that can be read; 0 while nothing was compacted. */
  get compactedRevision(): number {
    return this.#store.compactedRevision;
  }

  /** Number of keys. */
  get count(): number {
    return this.#store.count;
  }

  /** Bytes of keys and of their newest values. */
  get bytes(): number {
    return this.#store.bytes;
  }

  /** Number of open sessions. */
  get sessionCount(): number {
    return this.#sessions.count;
  }

  /** For the leader's clock, and for reading. It changes by applied commands alone. */
  get leases(): LeaseTable {
    return this.#leases;
  }

  /** Whoever watches this replica. It goes on over {@link restore}. */
  get watches(): WatchHub {
    return this.#watches;
  }

  /**
   * Applies the command of entry `index`, which must follow `applied`. Keeps nothing of `payload`. The result may be
   * remembered for retries, and values in it belong to the engine: do not change the bytes in it.
   *
   * @throws CorruptionError when the payload is not a command: this replica must stop. Nothing was applied
   */
  apply(index: number, payload: Uint8Array): Result | OperationAnswer {
    assert(index === this.#applied + 1, 'Entries are applied one after the other');
    const command = decodeCommand(payload);
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

  /** The value of a latin-1 key now, or undefined. It belongs to the engine: do not change it. */
  get(key: string): Uint8Array | undefined {
    return this.#store.get(key)?.value;
  }

  /**
   * Rows whose latin-1 key starts with `prefix`, in key order: at most `limit`, and none after their keys and values
   * have reached `bytesMax` bytes. So a page with `limit` of at least 1 is empty only when there are no rows.
   */
  scan(prefix: string, limit: number, bytesMax: number): Page {
    assert(limit >= 0 && bytesMax >= 0, 'A page has a size');
    const rows: Row[] = [];
    let bytes = 0;
    for (const { key, value } of this.#store.scan({ start: prefix, end: prefixEnd(prefix) }, this.revision)) {
      if (rows.length >= limit || (rows.length > 0 && bytes >= bytesMax)) return { rows, more: true };
      rows.push({ key, value });
      bytes += key.length + value.length;
    }
    return { rows, more: false };
  }

  /** Answers a query out of what is applied. A transaction in it must be one that only reads. */
  query(query: Query): QueryResult {
    return this.#executor.query(query);
  }

  /** Up to `n` latin-1 keys that exist: the most recently written first, then, where too few are remembered, others in key order. */
  recentKeys(n: number): readonly string[] {
    const keys = new Set(this.#recent.newest(n));
    if (keys.size < n && keys.size < this.count) {
      for (const { key } of this.#store.scan({ start: '', end: undefined }, this.revision)) {
        if (keys.size >= n) break;
        keys.add(key);
      }
    }
    return [...keys];
  }

  /**
   * The revision to propose to compact to, when more than `retainRevisions` can be read and enough more that it is worth
   * an entry; undefined when it is not.
   */
  historyDue(retainRevisions: number): number | undefined {
    assert(retainRevisions >= 1, 'The newest revision stays');
    const due = this.revision - retainRevisions + 1;
    const surplus = due - Math.max(this.compactedRevision, 1);
    return surplus > Math.ceil(retainRevisions / 4) ? due : undefined;
  }

  /**
   * A hash of what exists (rows with all their fields, leases, the revisions; not the sessions), sixteen hexadecimal digits:
   * equal replicas at equal `applied` have equal ones.
   */
  stateHash(): string {
    const hash = new RowSetHash();
    hash.addAll(this.#store.hash);
    hash.addAll(this.#leases.hash);
    hash.addIntegers([this.revision, this.compactedRevision]);
    return hash.hex();
  }

  /**
   * All of the state, as it is now, that is not in the engine: lines of JSON without line ends (state-lines.ts). Equal states
   * give equal lines.
   */
  stateLines(): readonly string[] {
    const lines = [countersLine(this.#store.counters)];
    for (const id of this.#leases.ids()) {
      const lease = this.#leases.get(id);
      assert(lease !== undefined, 'A listed lease is there');
      lines.push(...leaseLines(lease));
    }
    for (const session of this.#sessions.states()) lines.push(sessionLine(session));
    return lines;
  }

  /**
   * Replaces the whole state by one that covers the log up to `index`: its lines, and the versions that the engine holds
   * already. Watchers go on from where they were.
   *
   * @throws CorruptionError when a line is not what {@link stateLines} writes, or out of order. The machine then holds a part
   *   of the state and must not be used
   */
  restore(index: number, lines: readonly string[]): void {
    assert(Number.isSafeInteger(index) && index >= 0, 'Index out of range');
    this.#sessions.clear();
    this.#leases.clear();
    this.#recent.clear();
    this.#applied = index;
    for (const [position, line] of lines.entries()) this.#restoreLine(index, line, position + 1);
    this.#demandEqualLines(lines);
    this.#watches.reset();
  }

  #restoreLine(index: number, line: string, number: number): void {
    const parsed = parseStateLine(line, number);
    switch (parsed.kind) {
      case 'counters':
        if (number !== 1 || !this.#store.restore(parsed.counters)) {
          throw corruptState(number, 'counters cannot be there');
        }
        return;
      case 'lease': {
        const { id, ttlSeconds, remainingMs } = parsed;
        if (!this.#leases.restore(id, ttlSeconds, remainingMs)) {
          throw corruptState(number, `lease ${id} cannot be there`);
        }
        return;
      }
      case 'keys':
        if (!parsed.keys.every((key) => this.#leases.restoreKey(parsed.id, key))) {
          throw corruptState(number, `keys of lease ${parsed.id} cannot be there`);
        }
        return;
      case 'session': {
        const { session } = parsed;
        if (session.id > index || !this.#sessions.restore(session)) {
          throw corruptState(number, `session ${session.id} cannot be there`);
        }
        return;
      }
      default:
        unreachable(parsed);
    }
  }

  /** A state has one form: that it gives the same lines again says that they were whole and in order. */
  #demandEqualLines(lines: readonly string[]): void {
    const own = this.stateLines();
    const length = Math.max(own.length, lines.length);
    for (let i = 0; i < length; i++) {
      if (own[i] !== lines[i]) throw corruptState(i + 1, 'missing, out of order or in another form');
    }
  }

  #writeOnce(index: number, command: WriteCommand, tag: CommandSession): Result | OperationAnswer {
    const admission = this.#sessions.admit(tag);
    if (admission.kind === 'settled') return admission.result;
    const result = this.#write(index, command);
    this.#sessions.remember(tag, answerOf(result));
    return result;
  }

  #write(index: number, command: WriteCommand): WriteResult {
    const result = this.#execute(index, command);
    const changes = this.#store.commit();
    for (const { key, version } of changes) {
      if (version > 0) this.#recent.note(key);
      else this.#recent.forget(key);
    }
    this.#watches.publish(changes);
    return result;
  }

  #execute(index: number, command: WriteCommand): WriteResult {
    switch (command.kind) {
      case 'operation':
        return { kind: 'operation', index, result: this.#executor.apply(command.operation) };
      case 'set':
        this.#set(command.key, command.value);
        return { kind: 'ok', index };
      case 'delete': {
        const previous = this.#store.get(command.key);
        if (previous !== undefined) this.#executor.delete(previous);
        return { kind: 'ok', index, existed: previous !== undefined };
      }
      case 'cas': {
        const actual = this.get(command.key);
        const { expected } = command;
        const isMatch =
          actual === undefined || expected === undefined ? actual === expected : equalBytes(actual, expected);
        // Copied, because the answer may outlive the row, and whoever gets it must not reach into the engine.
        if (!isMatch) return { kind: 'mismatch', index, actual: actual?.slice() };
        this.#set(command.key, command.value);
        return { kind: 'ok', index };
      }
      default:
        return unreachable(command);
    }
  }

  /** Copies the value: it is a view of a payload, and would keep all around it in memory. */
  #set(key: string, value: Uint8Array): void {
    this.#executor.write(key, this.#store.get(key), new Uint8Array(value), 0n);
  }
}

function answerOf(result: WriteResult): Answer {
  if (result.kind !== 'operation') return result;
  return { kind: 'operation', index: result.index, encoded: encodeOperationResult(result.result) };
}
