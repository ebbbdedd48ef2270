/**
 * The configurations that a log holds, newest last. A configuration takes effect when it is appended, not when it is
 * committed (§6), so cutting the log brings back the one before.
 */
import { assert, at, defined } from '../lib/assert.ts';
import type { Entry, LogIndex } from './entry.ts';
import { type Config, decodeConfig } from './membership.ts';

interface Placed {
  readonly index: LogIndex;
  readonly config: Config;
}

export class ConfigStack {
  /** The first is that of the base, which is committed; every other is an entry behind it. */
  #stack: Placed[];

  /** @param base in effect up to the log's base */
  constructor(base: LogIndex, config: Config, entries: readonly Entry[]) {
    this.#stack = [{ index: base, config }];
    for (const entry of entries) this.append(entry);
  }

  /** In effect now. The same object until it changes. */
  get latest(): Config {
    return at(this.#stack, this.#stack.length - 1).config;
  }

  /** Where the one in effect stands in the log. */
  get latestIndex(): LogIndex {
    return at(this.#stack, this.#stack.length - 1).index;
  }

  /** In effect at `index`: what a snapshot up to there must carry. */
  at(index: LogIndex): Config {
    return defined(
      this.#stack.findLast((placed) => placed.index <= index),
      'a configuration at or behind the base',
    ).config;
  }

  /** Takes notice of an entry that was appended. */
  append(entry: Entry): void {
    if (entry.kind !== 'config') return;
    const config = decodeConfig(entry.payload);
    assert(config !== undefined, `Entry ${entry.index} is not a configuration`);
    this.#stack.push({ index: entry.index, config });
  }

  /** Entries behind `after` are gone. */
  cutAfter(after: LogIndex): void {
    while (this.#stack.length > 1 && this.latestIndex > after) this.#stack.pop();
  }

  /** The log forgets entries up to `index`. */
  compact(index: LogIndex): void {
    while (this.#stack.length > 1 && at(this.#stack, 1).index <= index) this.#stack.shift();
  }

  /** The log starts over behind a snapshot that carries `config`; what lies behind it stays. */
  reset(base: LogIndex, config: Config): void {
    this.#stack = [{ index: base, config }, ...this.#stack.filter((placed) => placed.index > base)];
  }
}
