/** The plainest engine: a Map, sorted when asked. The reference for tests of what stands above an engine. */
import type { Engine, Row } from '../../src/storage/engine.ts';

export class MapEngine implements Engine {
  readonly #values = new Map<string, Uint8Array>();
  bytes = 0;

  get count(): number {
    return this.#values.size;
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  put(key: string, value: Uint8Array): void {
    this.delete(key);
    this.#values.set(key, value);
    this.bytes += key.length + value.length;
  }

  delete(key: string): boolean {
    const value = this.#values.get(key);
    if (value === undefined) return false;
    this.bytes -= key.length + value.length;
    return this.#values.delete(key);
  }

  scan(start: string, end: string | undefined, limit: number): readonly Row[] {
    return this.#sorted()
      .filter(({ key }) => key >= start && (end === undefined || key < end))
      .slice(0, limit);
  }

  rows(): IterableIterator<Row> {
    return this.#sorted().values();
  }

  clear(): void {
    this.#values.clear();
    this.bytes = 0;
  }

  #sorted(): Row[] {
    const rows: Row[] = [];
    for (const [key, value] of this.#values) rows.push({ key, value });
    return rows.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }
}
