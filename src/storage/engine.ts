/**
 * The engine port: an ordered map from keys to values under the state machine. Keys are latin-1 strings, one character
 * a byte (lib/bytes.ts), so that string order is byte order. Synchronous; one owner; no locking.
 */

/** A row of the store. `value` belongs to the engine: do not change it. */
export interface Row {
  readonly key: string;
  readonly value: Uint8Array;
}

export interface Engine {
  /** The value, or undefined when the key is absent. */
  get(key: string): Uint8Array | undefined;
  /** Sets a key. The engine keeps `value` without copying: the caller must not change it afterwards. */
  put(key: string, value: Uint8Array): void;
  /** Removes a key. @returns whether it was there */
  delete(key: string): boolean;
  /** Rows with `start <= key < end` in key order, at most `limit`; `end` undefined means to the end of the store. */
  scan(start: string, end: string | undefined, limit: number): readonly Row[];
  /** Number of keys. */
  readonly count: number;
  /** Bytes of keys and values held. */
  readonly bytes: number;
  /** All rows in key order. The engine must not change while it is walked. */
  rows(): IterableIterator<Row>;
  /** Removes everything. */
  clear(): void;
}
