/** The keys that were written lately, for people. */

/** Most recently written keys remembered for the screen. */
export const RECENT_KEYS_MAX = 32;

export class RecentKeys {
  /** Written last comes last. */
  readonly #keys = new Set<string>();
  #newest: string | undefined;

  /** Notes that a key was written. */
  note(key: string): void {
    if (this.#newest === key) return;
    this.#newest = key;
    this.#keys.delete(key);
    this.#keys.add(key);
    if (this.#keys.size <= RECENT_KEYS_MAX) return;
    for (const oldest of this.#keys) {
      this.#keys.delete(oldest);
      return;
    }
  }

  /** Notes that a key does not exist any more. */
  forget(key: string): void {
    this.#keys.delete(key);
    if (this.#newest === key) this.#newest = undefined;
  }

  /** Up to `n` keys, the newest first. */
  newest(n: number): readonly string[] {
    return [...this.#keys].toReversed().slice(0, n);
  }

  clear(): void {
    this.#keys.clear();
    this.#newest = undefined;
  }
}
