/** The plainest engine with versions: a list, searched from end to end. The reference for tests of what stands above an engine. */
import type { EngineStats, KeyRange, Version, VersionEngine } from '../../src/storage/version-engine.ts';

export class ModelEngine implements VersionEngine {
  readonly pressurePercent = 0;
  #versions: Version[] = [];
  #compactTo = 0;

  get stats(): EngineStats {
    return { kind: 'memory', versions: this.#versions.length, bytes: 0 };
  }

  get(key: string, revision: number): Version | undefined {
    return this.#versions.findLast((version) => version.key === key && version.revision <= revision);
  }

  put(version: Version): void {
    const last = this.#versions.at(-1);
    const isAbove =
      last === undefined ||
      version.revision > last.revision ||
      (version.revision === last.revision && version.sub > last.sub);
    if (!isAbove) throw new Error(`version ${version.revision}.${version.sub} is not above the last one`);
    if (this.get(version.key, version.revision)?.revision === version.revision)
      throw new Error(`revision ${version.revision} changes ${version.key} twice`);
    this.#versions.push(version);
  }

  scan(range: KeyRange, revision: number, isReverse = false): IterableIterator<Version> {
    const newest = new Map<string, Version>();
    for (const version of this.#versions) {
      if (version.revision <= revision && isIn(range, version.key)) newest.set(version.key, version);
    }
    const sorted = [...newest.values()]
      .filter((version) => version.version > 0)
      .toSorted((a, b) => (a.key < b.key ? -1 : 1));
    return (isReverse ? sorted.toReversed() : sorted).values();
  }

  changes(range: KeyRange, after: number, upTo: number): IterableIterator<Version> {
    return this.#versions
      .filter(({ key, revision }) => revision > after && revision <= upTo && isIn(range, key))
      .toSorted((a, b) => (a.key === b.key ? b.revision - a.revision : a.key < b.key ? -1 : 1))
      .values();
  }

  /** Drops at once whatever may go. */
  compact(revision: number): void {
    this.#compactTo = Math.max(this.#compactTo, revision);
    this.#versions = this.#versions.filter((version) => {
      if (version.revision > this.#compactTo) return true;
      return version.version > 0 && this.get(version.key, this.#compactTo) === version;
    });
  }

  work(): boolean {
    return false;
  }

  /** Every version that is held, in the order of their revisions. */
  get versions(): readonly Version[] {
    return this.#versions;
  }
}

function isIn(range: KeyRange, key: string): boolean {
  return key >= range.start && (range.end === undefined || key < range.end);
}
