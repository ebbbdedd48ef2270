/**
 * What the clients of one run know of each key by what they were told: enough to see, without a search, that an
 * acknowledged write is lost (I19), that a read is stale (I25), or that a write which certainly failed happened.
 * It relies on values that are written once in a run.
 */
import type { LogIndex } from '../raft/entry.ts';
import { fail } from './violation.ts';

/** What had been acknowledged when an operation began: it must not see anything older. */
export interface Begun {
  /** Highest index that any client was told. */
  readonly index: LogIndex;
  /** Highest index of an acknowledged write of the key. */
  readonly keyIndex: LogIndex;
}

type Fate = 'open' | 'unknown' | 'failed' | LogIndex;

interface Key {
  /** The acknowledged write with the highest index. */
  index: LogIndex;
  value: string | undefined;
  /** Deletions of which nobody knows, or not yet. */
  doubtfulDeletes: number;
  /** Acknowledged deletions, the one with the highest index. */
  deleteIndex: LogIndex;
  readonly fates: Map<string, Fate>;
  /** Values that were read before it was known what had become of their write. */
  readonly seen: Set<string>;
}

export class WriteLedger {
  readonly #keys: Map<string, Key> = new Map();
  #index: LogIndex = 0;

  /**
   * An operation begins, and reads nothing older than what the result says.
   *
   * @param write the value that it writes, undefined within for a deletion; undefined for a read
   */
  begin(key: string, write?: { readonly value: string | undefined }): Begun {
    const row = this.#row(key);
    if (write?.value !== undefined) row.fates.set(write.value, 'open');
    else if (write !== undefined) row.doubtfulDeletes += 1;
    return { index: this.#index, keyIndex: row.index };
  }

  /** A write is done, with its place in the log. */
  wrote(key: string, value: string | undefined, index: LogIndex, begun: Begun): void {
    this.decided(key, index, begun);
    const row = this.#row(key);
    if (value === undefined) {
      row.doubtfulDeletes -= 1;
      row.deleteIndex = Math.max(row.deleteIndex, index);
    } else row.fates.set(value, index);
    if (index <= row.index) return;
    row.index = index;
    row.value = value;
  }

  /** A command was decided at `index`, whether it wrote or not: behind everything that was acknowledged before it began. */
  decided(key: string, index: LogIndex, begun: Begun): void {
    if (index <= begun.index)
      fail(
        'I25 fresh reads',
        `a command on ${key} that began behind index ${begun.index} took effect at ${index}`,
      );
    this.#index = Math.max(this.#index, index);
  }

  /** Nobody knows what became of a write. */
  unknown(key: string, value: string | undefined): void {
    if (value !== undefined) this.#row(key).fates.set(value, 'unknown');
  }

  /** A write certainly had no effect. */
  failed(key: string, value: string | undefined): void {
    const row = this.#row(key);
    if (value === undefined) {
      row.doubtfulDeletes -= 1;
      return;
    }
    row.fates.set(value, 'failed');
    if (row.seen.has(value))
      fail('I19 durability', `the write of ${value} to ${key} certainly failed, and it was read before`);
  }

  /** A read is done. */
  read(key: string, value: string | undefined, begun: Begun): void {
    const row = this.#row(key);
    if (value === undefined) {
      const isExplained =
        begun.keyIndex === 0 || row.doubtfulDeletes > 0 || row.deleteIndex >= begun.keyIndex;
      if (!isExplained)
        fail('I25 fresh reads', `${key} was read as absent, though it was written at ${begun.keyIndex}`);
      return;
    }
    const fate = row.fates.get(value);
    if (fate === undefined) fail('I19 durability', `${key} was read as ${value}, which nobody wrote`);
    if (fate === 'failed')
      fail('I19 durability', `${key} was read as ${value}, whose write certainly failed`);
    if (typeof fate !== 'number') row.seen.add(value);
    else if (fate < begun.keyIndex)
      fail(
        'I25 fresh reads',
        `${key} was read as ${value} of ${fate}, though ${begun.keyIndex} had been acknowledged`,
      );
  }

  /** What a key may hold at the end, when nobody writes any more (I19): the last acknowledged value, or one of unknown fate. */
  checkFinal(key: string, value: string | undefined): void {
    const row = this.#row(key);
    if (value === row.value) return;
    const fate = value === undefined ? undefined : row.fates.get(value);
    if (value === undefined ? row.doubtfulDeletes > 0 : fate === 'unknown' || fate === 'open') return;
    fail(
      'I19 durability',
      `${key} holds ${value ?? 'nothing'} in the end; ${row.value ?? 'absence'} was acknowledged last, at ${row.index}`,
    );
  }

  #row(key: string): Key {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const row: Key = {
      index: 0,
      value: undefined,
      doubtfulDeletes: 0,
      deleteIndex: 0,
      fates: new Map(),
      seen: new Set(),
    };
    this.#keys.set(key, row);
    return row;
  }
}
