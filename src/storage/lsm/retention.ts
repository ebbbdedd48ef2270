/**
 * When a file that the tree has no use for may go: not before everybody is done who began to read while it was part of it.
 * Each change of the tree begins an epoch; a reader holds the epoch in which it began.
 */
import { assert, at } from '../../lib/assert.ts';

/** A file without a use. */
interface Retired {
  /** Readers that began in this epoch or later do not know the file. */
  readonly epoch: number;
  readonly remove: () => void;
}

export class Retention {
  #epoch = 0;
  /** Epoch → readers that hold it. Epochs ascend, as they were first held in that order. */
  readonly #held = new Map<number, number>();
  #retired: Retired[] = [];

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
  retire(removals: readonly (() => void)[]): void {
    this.#epoch += 1;
    for (const remove of removals) this.#retired.push({ epoch: this.#epoch, remove });
  }

  /** Removes the files that nobody reads. */
  sweep(): void {
    if (this.#retired.length === 0) return;
    const [oldest = Infinity] = this.#held.keys();
    let count = 0;
    while (count < this.#retired.length && at(this.#retired, count).epoch <= oldest) count += 1;
    for (const { remove } of this.#retired.splice(0, count)) remove();
  }
}
