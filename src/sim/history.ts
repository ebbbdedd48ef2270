/**
 * What clients did and were told: the history that a run leaves behind, in memory and as JSON lines, for our own judge
 * (linearizability.ts) and for judges from elsewhere. Judges nothing itself.
 *
 * One object a line, times in nanoseconds as decimal strings, `null` for an absent value:
 *
 *   {"process":1,"op":"set","key":"k","value":"v","start":"10","end":"25","outcome":"ok"}
 *   {"process":2,"op":"get","key":"k","value":null,"start":"11","end":"19","outcome":"ok"}
 *   {"process":2,"op":"cas","key":"k","value":"w","expected":"v","swapped":true,"start":"30","end":"41","outcome":"ok"}
 *   {"process":1,"op":"delete","key":"k","existed":true,"start":"50","end":"62","outcome":"ok"}
 *   {"process":3,"op":"txn","ops":[{"op":"get","key":"a","value":"1"},{"op":"set","key":"b","value":"2"}],…}
 */
import { defined, unreachable } from '../lib/assert.ts';
import { textOf } from '../lib/bytes.ts';
import { LineSplitter } from '../lib/line-splitter.ts';

/**
 * What was asked of one key, with what was answered. Answers count only where the outcome is `ok`; elsewhere they are
 * not looked at.
 */
export type Step =
  /** `value` was seen; undefined: the key was absent. */
  | { readonly kind: 'get'; readonly key: string; readonly value: string | undefined }
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  /** `existed` is undefined when the store does not tell. */
  | { readonly kind: 'delete'; readonly key: string; readonly existed: boolean | undefined }
  /**
   * Sets `value` if the key holds `expected`, where undefined stands for an absent key. `swapped` is undefined only where
   * the outcome is not `ok`: JSON lines without it are refused, because a judge that is told less finds less.
   */
  | {
      readonly kind: 'cas';
      readonly key: string;
      readonly expected: string | undefined;
      readonly value: string;
      readonly swapped: boolean | undefined;
    };

/**
 * One step, or several at one moment, each of which sees what those before it did. A scan is a transaction of a `get`
 * for every key that could have been there. A `cas` that does not hold changes nothing and does not stop the steps behind
 * it: of a transaction that was refused as a whole, record only what it saw.
 */
export type Action = Step | { readonly kind: 'txn'; readonly steps: readonly Step[] };

/**
 * `ok`: happened, with these answers. `fail`: certainly had no effect. `unknown`: a write may take effect once, at any time
 * from its start on, or never.
 */
export type Outcome = 'ok' | 'fail' | 'unknown';

/** One operation of one client. */
export interface Operation {
  /** Who asked; for people, the judge does without. */
  readonly process: number;
  readonly action: Action;
  /** Nanoseconds on a clock that all clients share. */
  readonly start: bigint;
  /** When the answer was there, not before `start`; undefined when none came, which never goes with `ok`. */
  readonly end: bigint | undefined;
  readonly outcome: Outcome;
}

/** What a history may hold when it comes from outside. */
export interface HistoryLimits {
  readonly bytesMax: number;
  readonly lineBytesMax: number;
  readonly operationsMax: number;
  /** Steps of all operations together. */
  readonly stepsMax: number;
}

/** Room for any history that can be judged in one go, and no more memory than a few gigabytes. */
export const HISTORY_LIMITS: HistoryLimits = {
  bytesMax: 536_870_912,
  lineBytesMax: 4_194_304,
  operationsMax: 1_000_000,
  stepsMax: 4_000_000,
};

/** A history that cannot be read. */
export class HistoryError extends Error {
  override readonly name = 'HistoryError';
  /** The first line is 1. */
  readonly line: number;

  constructor(line: number, reason: string) {
    super(`Cannot read history: line ${line}: ${reason}`);
    this.line = line;
  }
}

/**
 * Turns the times of a simulator, in milliseconds, into nanoseconds that never repeat: what was recorded later gets a
 * later time, so that the order of events within one moment, or closer than a nanosecond, is not lost.
 */
export class HistoryClock {
  #last = -1n;

  /** @param nowMs not below that of earlier calls */
  stamp(nowMs: number): bigint {
    const now = BigInt(Math.round(nowMs * 1e6));
    this.#last = now > this.#last ? now : this.#last + 1n;
    return this.#last;
  }
}

/** The steps of an action. */
export function stepsOf(action: Action): readonly Step[] {
  return action.kind === 'txn' ? action.steps : [action];
}

/** The operation as a line without its end. Answers are left out unless the outcome is `ok`. */
export function formatOperation({ process, action, start, end, outcome }: Operation): string {
  const told = outcome === 'ok';
  const what =
    action.kind === 'txn'
      ? { op: 'txn', ops: action.steps.map((step) => stepFields(step, told)) }
      : stepFields(action, told);
  const times = { start: String(start), ...(end === undefined ? {} : { end: String(end) }) };
  return JSON.stringify({ process, ...what, ...times, outcome });
}

/** The history as JSON lines. */
export function formatHistory(history: Iterable<Operation>): string {
  let text = '';
  for (const operation of history) text += `${formatOperation(operation)}\n`;
  return text;
}

function stepFields(step: Step, told: boolean): object {
  const { kind: op, key } = step;
  switch (step.kind) {
    case 'get':
      return { op, key, ...(told ? { value: step.value ?? null } : {}) };
    case 'set':
      return { op, key, value: step.value };
    case 'delete':
      return { op, key, ...(told && step.existed !== undefined ? { existed: step.existed } : {}) };
    case 'cas': {
      const answer = told ? { swapped: defined(step.swapped, 'answer to a cas') } : {};
      return { op, key, value: step.value, expected: step.expected ?? null, ...answer };
    }
    default:
      return unreachable(step);
  }
}

/** Reads JSON lines as they arrive. Fields that the kind of operation has no use for are ignored, and so are empty lines. */
export class HistoryReader {
  readonly #limits: HistoryLimits;
  readonly #lines: LineSplitter;
  readonly #operations: Operation[] = [];
  #byteCount = 0;
  #lineCount = 0;
  #stepCount = 0;

  constructor(limits: HistoryLimits = HISTORY_LIMITS) {
    this.#limits = limits;
    this.#lines = new LineSplitter(limits.lineBytesMax);
  }

  /** How many operations were read so far. */
  get count(): number {
    return this.#operations.length;
  }

  /** Takes further bytes, which may end anywhere. Throws {@link HistoryError}, and is of no use afterwards. */
  push(bytes: Uint8Array): void {
    this.#byteCount += bytes.length;
    this.#lines.push(bytes);
    for (let line = this.#lines.next(); line !== undefined; line = this.#lines.next()) this.#read(line);
    const { bytesMax, lineBytesMax } = this.#limits;
    if (this.#lines.overflowed)
      throw new HistoryError(this.#lineCount + 1, `longer than ${lineBytesMax} bytes`);
    if (this.#byteCount > bytesMax)
      throw new HistoryError(this.#lineCount + 1, `more than ${bytesMax} bytes in all`);
  }

  /** The history, once everything was pushed; its last line may lack its end. Throws {@link HistoryError}. */
  finish(): readonly Operation[] {
    this.#read(this.#lines.unfinished);
    return this.#operations;
  }

  #read(line: Uint8Array): void {
    this.#lineCount += 1;
    const text = textOf(line);
    if (text === undefined) throw new HistoryError(this.#lineCount, 'it is not UTF-8');
    if (text.trim() === '') return;
    const operation = new Fields(parsed(text, this.#lineCount), this.#lineCount).operation();
    this.#stepCount += stepsOf(operation.action).length;
    const { operationsMax, stepsMax } = this.#limits;
    if (this.count === operationsMax)
      throw new HistoryError(this.#lineCount, `more than ${operationsMax} operations`);
    if (this.#stepCount > stepsMax)
      throw new HistoryError(this.#lineCount, `more than ${stepsMax} steps of transactions in all`);
    this.#operations.push(operation);
  }
}

/** Reads a whole history. Throws {@link HistoryError}. */
export function parseHistory(bytes: Uint8Array): readonly Operation[] {
  const reader = new HistoryReader();
  reader.push(bytes);
  return reader.finish();
}

function parsed(text: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HistoryError(line, 'it is not JSON');
  }
}

const TIME = /^-?[0-9]{1,19}$/;

/** The fields of one object, read with their types. What JSON.parse made has no field that was not in the text. */
class Fields {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #line: number;

  constructor(value: unknown, line: number) {
    this.#line = line;
    if (!isRecord(value)) this.#refuse('an object expected');
    this.#fields = value;
  }

  operation(): Operation {
    const outcome = this.#fields['outcome'];
    if (outcome !== 'ok' && outcome !== 'fail' && outcome !== 'unknown')
      this.#refuse(`outcome is ${shown(outcome)}, expected "ok", "fail" or "unknown"`);
    const process = this.#fields['process'];
    if (typeof process !== 'number' || !Number.isSafeInteger(process))
      this.#refuse(`process is ${shown(process)}, expected a whole number`);
    const told = outcome === 'ok';
    const start = this.#time('start');
    const end = told || !this.#isAbsent('end') ? this.#time('end') : undefined;
    if (end !== undefined && end < start) this.#refuse(`end is ${end}, before start ${start}`);
    return { process, action: this.#action(told), start, end, outcome };
  }

  #action(told: boolean): Action {
    if (this.#fields['op'] !== 'txn') return this.step(told, 'op is');
    const list = this.#fields['ops'];
    if (!Array.isArray(list)) this.#refuse(`ops is ${shown(list)}, expected a list`);
    const items: readonly unknown[] = list;
    const steps = items.map((item) => new Fields(item, this.#line).step(told, 'op in ops is'));
    return { kind: 'txn', steps };
  }

  step(told: boolean, what: string): Step {
    const kind = this.#fields['op'];
    switch (kind) {
      case 'get':
        return { kind, key: this.#text('key'), value: told ? this.#textOrNull('value') : undefined };
      case 'set':
        return { kind, key: this.#text('key'), value: this.#text('value') };
      case 'delete': {
        const existed = told && !this.#isAbsent('existed') ? this.#boolean('existed') : undefined;
        return { kind, key: this.#text('key'), existed };
      }
      case 'cas': {
        const swapped = told ? this.#boolean('swapped') : undefined;
        const expected = this.#textOrNull('expected');
        return { kind, key: this.#text('key'), expected, value: this.#text('value'), swapped };
      }
      default:
        return this.#refuse(`${what} ${shown(kind)}, expected "get", "set", "delete", "cas" or "txn"`);
    }
  }

  #time(name: string): bigint {
    const value = this.#fields[name];
    if (typeof value === 'string' && TIME.test(value)) return BigInt(value);
    if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
    return this.#refuse(`${name} is ${shown(value)}, expected nanoseconds as a string of digits`);
  }

  #text(name: string): string {
    const value = this.#fields[name];
    return typeof value === 'string' ? value : this.#refuse(`${name} is ${shown(value)}, expected text`);
  }

  #textOrNull(name: string): string | undefined {
    return this.#fields[name] === null ? undefined : this.#text(name);
  }

  #boolean(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value === 'boolean') return value;
    return this.#refuse(`${name} is ${shown(value)}, expected true or false`);
  }

  #isAbsent(name: string): boolean {
    return this.#fields[name] === undefined || this.#fields[name] === null;
  }

  #refuse(reason: string): never {
    throw new HistoryError(this.#line, reason);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const SHOWN_CHARACTERS_MAX = 40;

/** A value from outside for an error message: never long, never deep. */
function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value !== 'string') return JSON.stringify(value);
  const isLong = value.length > SHOWN_CHARACTERS_MAX;
  return JSON.stringify(isLong ? `${value.slice(0, SHOWN_CHARACTERS_MAX)}…` : value);
}
