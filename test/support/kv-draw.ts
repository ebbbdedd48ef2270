/** Operations and queries drawn from few keys, values, leases and revisions, so that all cases meet. */
import type {
  Compare,
  CompareResult,
  Operation,
  Put,
  RangeQuery,
  SortOrder,
  SortTarget,
  Txn,
  TxnStep,
} from '../../src/kv/operation.ts';
import { keyOnly } from '../../src/kv/operation.ts';
import { at } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Random } from '../../src/lib/random.ts';
import type { KeyRange } from '../../src/storage/version-engine.ts';

const KEYS: readonly string[] = ['a', 'aa', 'b', 'c', '__proto__', '\0', '\xff', '\xff\xff'];
const TARGETS: readonly SortTarget[] = ['key', 'version', 'createRevision', 'modRevision', 'value'];
const ORDERS: readonly SortOrder[] = ['none', 'ascending', 'descending'];
const RESULTS: readonly CompareResult[] = ['equal', 'notEqual', 'greater', 'less'];

/** One of `list`. */
export function pick<T>(random: Random, list: readonly T[]): T {
  return at(list, random.int(0, list.length - 1));
}

export function drawRange(random: Random): KeyRange {
  const start = pick(random, KEYS);
  const kind = random.int(0, 9);
  if (kind < 5) return keyOnly(start);
  if (kind === 5) return { start: '', end: undefined };
  return { start, end: kind === 6 ? undefined : pick(random, KEYS) };
}

export function drawRangeQuery(random: Random, revision: number): RangeQuery {
  const bound = (): number => (random.chance(0.8) ? 0 : random.int(0, revision + 1));
  return {
    kind: 'range',
    range: drawRange(random),
    revision: random.chance(0.5) ? 0 : random.int(Math.max(-1, revision - 20), revision + 1),
    limit: random.chance(0.5) ? 0 : random.int(-1, 4),
    sortTarget: random.chance(0.5) ? 'key' : pick(random, TARGETS),
    sortOrder: pick(random, ORDERS),
    minModRevision: bound(),
    maxModRevision: bound(),
    minCreateRevision: bound(),
    maxCreateRevision: bound(),
    keysOnly: random.chance(0.2),
    countOnly: random.chance(0.1),
  };
}

export function drawPut(random: Random): Put {
  const ignoreValue = random.chance(0.1);
  const ignoreLease = random.chance(0.1);
  const isBad = random.chance(0.05);
  return {
    kind: 'put',
    key: random.chance(0.02) ? '' : pick(random, KEYS),
    value: utf8(ignoreValue && !isBad ? '' : pick(random, ['', '0', '1', '10', '2'])),
    lease: ignoreLease && !isBad ? 0n : drawLease(random),
    prevKv: random.chance(0.5),
    ignoreValue,
    ignoreLease,
  };
}

function drawLease(random: Random): bigint {
  return random.chance(0.6) ? 0n : BigInt(random.int(1, 4) - 6);
}

function drawCompare(random: Random, revision: number): Compare {
  const range = drawRange(random);
  const result = pick(random, RESULTS);
  const kind = pick(random, ['version', 'createRevision', 'modRevision', 'value', 'lease'] as const);
  if (kind === 'value') return { kind, range, result, operand: utf8(pick(random, ['', '1', '10'])) };
  if (kind === 'lease') return { kind, range, result, operand: drawLease(random) };
  return { kind, range, result, operand: random.chance(0.5) ? random.int(0, 2) : random.int(-1, revision) };
}

export function drawTxn(random: Random, revision: number, depth = 0): Txn {
  const draw = <T>(max: number, one: () => T): T[] => Array.from({ length: random.int(0, max) }, one);
  const step = (): TxnStep => {
    const kind = random.int(0, 9);
    if (kind < 3) return drawRangeQuery(random, revision);
    if (kind < 6) return drawPut(random);
    if (kind < 8 || depth > 2) return { kind: 'deleteRange', range: drawRange(random), prevKv: true };
    return drawTxn(random, revision, depth + 1);
  };
  return {
    kind: 'txn',
    compares: draw(2, () => drawCompare(random, revision)),
    success: draw(3, step),
    failure: draw(3, step),
  };
}

/** @param revision of the store, about */
export function drawOperation(random: Random, revision: number): Operation {
  const kind = random.int(0, 99);
  const id = BigInt(random.int(1, 4) - 6);
  if (kind < 45) return drawPut(random);
  if (kind < 55) return { kind: 'deleteRange', range: drawRange(random), prevKv: random.chance(0.5) };
  if (kind < 80) return drawTxn(random, revision);
  if (kind < 82) return { kind: 'compact', revision: random.int(revision - 20, revision + 1) };
  if (kind < 90) return { kind: 'leaseGrant', id, ttlSeconds: random.int(-1, 100) };
  if (kind < 94) return { kind: 'leaseRevoke', id };
  if (kind < 97) return { kind: 'leaseKeepAlive', id };
  return { kind: 'leaseCheckpoint', remaining: [{ id, remainingMs: random.int(1, 90_000) }] };
}
