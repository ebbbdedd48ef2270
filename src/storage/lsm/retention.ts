/**
 * When a file that the tree has no use for may go: not before everybody is done who began to read while it was part of it.
 * Each change of the tree begins an epoch; a reader holds the epoch in which it began.
 */
import { assert } from '../../lib/assert.ts';

/** A file that the tree has no use for any more. */
export interface Unused {
  /** The epoch that it became part of the tree in: who began before does not know it. */
  readonly since: number;
  readonly remove: () => void;
}

interface Retired extends Unused {
  /** Readers that began in this epoch or later do not know the file. */
  readonly until: number;
}

export class Retention {
  #epoch = 0;
  /** Epoch → readers that hold it. */
  readonly #held = new Map<number, number>();
  #retired: Retired[] = [];

  /** The present one: files that become part of the tree now are known to those who hold from now on. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Files that wait for readers. */
  get waiting(): number {
    return this.#retired.length;
  }

  /** Begins to read what is there now. @returns what {@link release} takes */
  hold(): number {
    this.#held.set(this.#epoch, (this.#held.get(this.#epoch) ?? 0) + 1);
    return this.#epoch;
  }

  /** Ends one {@link hold}. The files go with the next {@link sweep}. */
  release(epoch: number): void {
    const count = this.#held.get(epoch);
    assert(count !== undefined, 'An epoch is released once for each hold');
    if (count === 1) this.#held.delete(epoch);
    else this.#held.set(epoch, count - 1);
  }

  /** Begins an epoch: whoever holds from now on knows nothing of these files. */
  retire(files: readonly Unused[]): void {
    this.#epoch += 1;
    for (const file of files) this.#retired.push({ ...file, until: this.#epoch });
  }

  /** Removes the files that nobody reads: also those that came and went while somebody reads what was before them. */
  sweep(): void {
    if (this.#retired.length === 0) return;
    const held = [...this.#held.keys()];
    const isHeld = ({ since, until }: Retired): boolean =>
      held.some((epoch) => epoch >= since && epoch < until);
    const unused = this.#retired.filter((file) => !isHeld(file));
    if (unused.length === 0) return;
    this.#retired = this.#retired.filter((file) => isHeld(file));
    for (const { remove } of unused) remove();
  }
}
