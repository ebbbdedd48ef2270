/**
 * The versions of one key that has more than one, oldest first. Versions are added at one end and dropped at the other,
 * both in constant time on average, however many there are.
 */
import { assert, defined } from '../lib/assert.ts';
import type { Version } from './version-engine.ts';

/** Room at the front that is worth giving back. */
const GONE_MAX = 32;

export class KeyHistory {
  /** Those before `#first` are gone. */
  #versions: (Version | undefined)[];
  #first = 0;

  /** @param versions oldest first, at least one; belongs to the history from now on */
  constructor(versions: Version[]) {
    this.#versions = versions;
  }

  get count(): number {
    return this.#versions.length - this.#first;
  }

  get oldest(): Version {
    return this.#at(this.#first);
  }

  get newest(): Version {
    return this.#at(this.#versions.length - 1);
  }

  /** The newest version at or below `revision`; undefined without any. */
  get(revision: number): Version | undefined {
    const { newest } = this;
    if (newest.revision <= revision) return newest;
    const above = this.#aboveIndex(revision);
    return above === this.#first ? undefined : this.#at(above - 1);
  }

  /** The oldest version above `revision`; undefined without any. */
  above(revision: number): Version | undefined {
    return this.#versions[this.#aboveIndex(revision)];
  }

  add(version: Version): void {
    this.#versions.push(version);
  }

  /** Lets the oldest go. It is not the only one. */
  dropOldest(): void {
    assert(this.count > 1, 'A history is never empty');
    this.#versions[this.#first] = undefined;
    this.#first += 1;
    if (this.#first < GONE_MAX || this.#first * 2 < this.#versions.length) return;
    this.#versions = this.#versions.slice(this.#first);
    this.#first = 0;
  }

  /** Index of the first version above `revision`. */
  #aboveIndex(revision: number): number {
    let low = this.#first;
    let high = this.#versions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#at(middle).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #at(index: number): Version {
    return defined(this.#versions[index], 'a version that is kept');
  }
}
