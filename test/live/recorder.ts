/**
 * The history of a campaign: what clients asked and were told, group of keys by group of keys, in memory until the group
 * is judged and in a file for judges from elsewhere. A group is used for some hundred operations and then laid aside for
 * a fresh one, since the judge's work grows with the operations on one key.
 */
import { type WriteStream, createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { assert, at } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import { type Action, type Operation, type Outcome, formatOperation } from '../../src/sim/history.ts';

/** Before every key that is recorded. */
export const HISTORY_PREFIX = 'history/';
/** Groups that clients work on at any time. */
const GROUPS_ACTIVE = 10;
const KEYS_PER_GROUP = 3;
/** Operations of one group before it is laid aside; those under way then still come in. */
const OPERATIONS_PER_GROUP = 400;

/** A few keys with a common prefix, which one scan reads together. */
export interface Group {
  /** Of all its keys, and of no other group's. */
  readonly prefix: string;
  readonly keys: readonly string[];
  /** What was last seen or written, by key: the guess of the next compare-and-set. */
  readonly seen: Map<string, string | undefined>;
  readonly operations: Operation[];
  /** Operations begun, those under way included. */
  begun: number;
  /** On the clock of `performance.now()`; undefined while it is in use. */
  laidAsideMs: number | undefined;
}

/** How many operations ended how. */
export interface OperationCounts {
  readonly ok: number;
  readonly failed: number;
  readonly unknown: number;
}

/** Hands out groups and keeps what happened in them. */
export class Recorder {
  readonly #file: WriteStream;
  readonly #active: Group[] = [];
  #laidAside: Group[] = [];
  readonly #counts: Record<Outcome, number> = { ok: 0, fail: 0, unknown: 0 };
  #groupCount = 0;
  #fileError: Error | undefined;

  /** @param path of the file, which is overwritten */
  constructor(path: string) {
    this.#file = createWriteStream(path);
    this.#file.on('error', (error) => {
      this.#fileError = error;
    });
    for (let i = 0; i < GROUPS_ACTIVE; i++) this.#active.push(this.#newGroup());
  }

  get counts(): OperationCounts {
    return { ok: this.#counts.ok, failed: this.#counts.fail, unknown: this.#counts.unknown };
  }

  /** A group to work on. The caller begins an operation on it at once. */
  choose(random: Random): Group {
    const index = random.int(0, this.#active.length - 1);
    const group = at(this.#active, index);
    if (group.begun < OPERATIONS_PER_GROUP) return group;
    group.laidAsideMs = performance.now();
    this.#laidAside.push(group);
    const fresh = this.#newGroup();
    this.#active[index] = fresh;
    return fresh;
  }

  /**
   * Runs an operation and records how it ended. Never rejects.
   *
   * @param asked for the case that no answer comes
   * @param run resolves with the operation and its answers; rejects with what `outcomeOf` understands
   */
  async record(
    group: Group,
    operation: {
      readonly process: number;
      readonly asked: Action;
      readonly run: () => Promise<Action>;
      readonly outcomeOf: (error: unknown) => 'fail' | 'unknown';
    },
  ): Promise<Outcome> {
    const { process: client, asked, run, outcomeOf } = operation;
    group.begun += 1;
    const start = process.hrtime.bigint();
    let action = asked;
    let outcome: Outcome = 'ok';
    try {
      action = await run();
    } catch (error) {
      outcome = outcomeOf(error);
    }
    const end = outcome === 'unknown' ? undefined : process.hrtime.bigint();
    const done: Operation = { process: client, action, start, end, outcome };
    group.operations.push(done);
    this.#counts[outcome] += 1;
    this.#file.write(`${formatOperation(done)}\n`);
    return outcome;
  }

  /** Takes the groups that were laid aside before `untilMs` and wait for no answer: their histories are complete. */
  takeComplete(untilMs: number): readonly Group[] {
    const isComplete = (group: Group): boolean =>
      group.operations.length === group.begun &&
      group.laidAsideMs !== undefined &&
      group.laidAsideMs < untilMs;
    const complete = this.#laidAside.filter(isComplete);
    this.#laidAside = this.#laidAside.filter((group) => !isComplete(group));
    return complete;
  }

  /** Takes every group there is. Nothing may be under way. */
  takeAll(): readonly Group[] {
    const all = [...this.#laidAside.splice(0), ...this.#active.splice(0)];
    for (const group of all) assert(group.operations.length === group.begun, 'An operation has not ended');
    return all;
  }

  /** Completes the file. Rejects when it could not be written. */
  async close(): Promise<void> {
    this.#file.end();
    if (this.#fileError === undefined && !this.#file.closed) await once(this.#file, 'close');
    if (this.#fileError !== undefined) throw this.#fileError;
  }

  #newGroup(): Group {
    this.#groupCount += 1;
    const prefix = `${HISTORY_PREFIX}${this.#groupCount}/`;
    return {
      prefix,
      keys: Array.from({ length: KEYS_PER_GROUP }, (_, i) => `${prefix}${i}`),
      seen: new Map(),
      operations: [],
      begun: 0,
      laidAsideMs: undefined,
    };
  }
}
