/** Range queries: which rows of a state one gives, in which order. */
import { unreachable } from '../lib/assert.ts';
import { compareBytes } from '../lib/bytes.ts';
import type { KeyRange, Version } from '../storage/version-engine.ts';
import {
  type KeyValue,
  PAGE_BYTES_MAX,
  PAGE_ROWS_MAX,
  type PageQuery,
  type PageResult,
  type RangeQuery,
  type RangeResult,
  singleKeyOf,
} from './operation.ts';
import type { Store } from './store.ts';

/** A version as clients see it. */
export function keyValueOf(version: Version): KeyValue {
  return {
    key: version.key,
    createRevision: version.created,
    modRevision: version.revision,
    version: version.version,
    lease: version.lease,
    value: version.value,
  };
}

/**
 * Answers a range query, whose revision must be readable. The whole range is walked, because every answer counts its keys.
 *
 * @param bytesMax of keys and values that may be collected
 * @returns undefined when more had to be collected
 */
export function readRange(store: Store, query: RangeQuery, bytesMax: number): RangeResult | undefined {
  const revision = query.revision <= 0 ? store.readRevision : query.revision;
  const result = new Collector(query, bytesMax);
  const key = singleKeyOf(query.range);
  if (key !== undefined) {
    const version = store.at(key, revision);
    if (version !== undefined) result.add(version);
  } else {
    const isNewest = revision === store.readRevision;
    const countKnown = isNewest && isEverything(query.range) ? store.count : undefined;
    collect(store, query, revision, countKnown, result);
  }
  return result.finish(store.readRevision);
}

/** Answers a page query, whose revision must be readable: stops with the page. */
export function readPage(store: Store, { range, revision }: PageQuery): PageResult {
  const rows: KeyValue[] = [];
  const page = (more: boolean): PageResult => ({ kind: 'page', revision: store.readRevision, rows, more });
  if (range.end !== undefined && range.end <= range.start) return page(false);
  let bytes = 0;
  for (const version of store.scan(range, revision <= 0 ? store.readRevision : revision)) {
    if (rows.length >= PAGE_ROWS_MAX || bytes >= PAGE_BYTES_MAX) return page(true);
    rows.push(keyValueOf(version));
    bytes += version.key.length + version.value.length;
  }
  return page(false);
}

function collect(
  store: Store,
  query: RangeQuery,
  revision: number,
  countKnown: number | undefined,
  result: Collector,
): void {
  const { range, sortTarget, sortOrder } = query;
  if (countKnown !== undefined) {
    result.count = countKnown;
    if (query.countOnly) return;
  }
  // An end before the start gives nothing: engines need not know what such a range means.
  if (range.end !== undefined && range.end <= range.start) return;
  const isReverse = sortTarget === 'key' && sortOrder === 'descending';
  for (const version of store.scan(range, revision, isReverse)) {
    if (result.isOverfull || (countKnown !== undefined && result.more)) break;
    result.add(version);
  }
  if (countKnown !== undefined) result.count = countKnown;
}

/** Takes the versions of a range, in key order or the other way round, and keeps what the answer needs. */
class Collector {
  readonly #query: RangeQuery;
  readonly #isSorted: boolean;
  readonly #rows: Version[] = [];
  #bytesLeft: number;
  count = 0;
  more = false;

  constructor(query: RangeQuery, bytesMax: number) {
    this.#query = query;
    this.#isSorted = query.sortTarget === 'key';
    this.#bytesLeft = bytesMax;
  }

  get isOverfull(): boolean {
    return this.#bytesLeft < 0;
  }

  add(version: Version): void {
    this.count += 1;
    const { limit, countOnly, keysOnly } = this.#query;
    if (countOnly || !passes(version, this.#query)) return;
    // Rows that are to be sorted are all needed before the limit can cut any off.
    if (this.#isSorted && limit > 0 && this.#rows.length >= limit) {
      this.more = true;
      return;
    }
    this.#bytesLeft -= version.key.length + (keysOnly ? 0 : version.value.length);
    this.#rows.push(version);
  }

  finish(revision: number): RangeResult | undefined {
    if (this.isOverfull) return undefined;
    const { limit, keysOnly } = this.#query;
    let versions: readonly Version[] = this.#rows;
    if (!this.#isSorted) {
      versions = versions.toSorted(orderOf(this.#query));
      if (limit > 0 && versions.length > limit) {
        versions = versions.slice(0, limit);
        this.more = true;
      }
    }
    const rows = versions.map(keysOnly ? withoutValue : keyValueOf);
    return { kind: 'range', revision, rows, more: this.more, count: this.count };
  }
}

const NOTHING = new Uint8Array(0);

function withoutValue(version: Version): KeyValue {
  return { ...keyValueOf(version), value: NOTHING };
}

function isEverything(range: KeyRange): boolean {
  return range.start === '' && range.end === undefined;
}

function passes(version: Version, query: RangeQuery): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = query;
  if (minModRevision !== 0 && version.revision < minModRevision) return false;
  if (maxModRevision !== 0 && version.revision > maxModRevision) return false;
  if (minCreateRevision !== 0 && version.created < minCreateRevision) return false;
  return maxCreateRevision === 0 || version.created <= maxCreateRevision;
}

/** The order of rows that do not come in it. Rows that are equal in it stay in key order. */
function orderOf(query: RangeQuery): (a: Version, b: Version) => number {
  const ascending = ascendingBy(query);
  return query.sortOrder === 'descending' ? (a, b) => ascending(b, a) : ascending;
}

function ascendingBy({ sortTarget }: RangeQuery): (a: Version, b: Version) => number {
  switch (sortTarget) {
    case 'key':
      return (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
    case 'version':
      return (a, b) => a.version - b.version;
    case 'createRevision':
      return (a, b) => a.created - b.created;
    case 'modRevision':
      return (a, b) => a.revision - b.revision;
    case 'value':
      return (a, b) => compareBytes(a.value, b.value);
    default:
      return unreachable(sortTarget);
  }
}
