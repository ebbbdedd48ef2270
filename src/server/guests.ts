/** Who has how many connections to a door: nobody elsewhere shuts out all others. */

/** The two ends of a connection, as the system names them; undefined for one that is gone already. */
export interface Ends {
  readonly remoteAddress?: string | undefined;
  readonly localAddress?: string | undefined;
}

/** Counts connections by the address that they come from. Those from this machine to itself are not counted. */
export class Guests {
  readonly #perAddressMax: number;
  readonly #counts: Map<string, number> = new Map();

  /** @param perAddressMax connections that one address may have at once */
  constructor(perAddressMax: number) {
    this.#perAddressMax = perAddressMax;
  }

  /** @returns what {@link leave} takes; undefined when the address has as many as it may */
  enter({ remoteAddress = '', localAddress }: Ends): string | undefined {
    if (remoteAddress === localAddress) return '';
    const count = this.#counts.get(remoteAddress) ?? 0;
    if (count >= this.#perAddressMax) return undefined;
    this.#counts.set(remoteAddress, count + 1);
    return remoteAddress;
  }

  /** Undoes one {@link enter}. */
  leave(address: string): void {
    const count = this.#counts.get(address) ?? 0;
    if (count > 1) this.#counts.set(address, count - 1);
    else this.#counts.delete(address);
  }
}
