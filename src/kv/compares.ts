/** Which branch a transaction takes. */
import { unreachable } from '../lib/assert.ts';
import { compareBytes } from '../lib/bytes.ts';
import type { Version } from '../storage/version-engine.ts';
import { type Compare, type CompareResult, type Txn, type TxnStep, singleKeyOf } from './operation.ts';
import type { Store } from './store.ts';

/** The branches that a transaction and those nested in them take. */
export interface TxnPath {
  readonly succeeded: boolean;
  readonly steps: readonly TxnStep[];
  /** For each step that is a transaction its own path, in their order. */
  readonly nested: readonly TxnPath[];
}

/** Decides all branches at once, for the store as it is now: what one branch writes decides nothing in another. */
export function decide(store: Store, txn: Txn): TxnPath {
  const succeeded = txn.compares.every((compare) => holds(store, compare));
  const steps = succeeded ? txn.success : txn.failure;
  const nested: TxnPath[] = [];
  for (const step of steps) if (step.kind === 'txn') nested.push(decide(store, step));
  return { succeeded, steps, nested };
}

function holds(store: Store, compare: Compare): boolean {
  const { range } = compare;
  const key = singleKeyOf(range);
  if (key !== undefined) return holdsFor(store.get(key), compare);
  let isEmpty = true;
  if (range.end === undefined || range.end > range.start) {
    for (const version of store.scan(range, store.readRevision)) {
      isEmpty = false;
      if (!holdsFor(version, compare)) return false;
    }
  }
  return isEmpty ? holdsFor(undefined, compare) : true;
}

function holdsFor(version: Version | undefined, compare: Compare): boolean {
  switch (compare.kind) {
    case 'version':
      return isResult((version?.version ?? 0) - compare.operand, compare.result);
    case 'createRevision':
      return isResult((version?.created ?? 0) - compare.operand, compare.result);
    case 'modRevision':
      return isResult((version?.revision ?? 0) - compare.operand, compare.result);
    case 'value':
      return version !== undefined && isResult(compareBytes(version.value, compare.operand), compare.result);
    case 'lease': {
      const lease = version?.lease ?? 0n;
      const order = lease === compare.operand ? 0 : lease < compare.operand ? -1 : 1;
      return isResult(order, compare.result);
    }
    default:
      return unreachable(compare);
  }
}

/** @param order negative, zero or positive */
function isResult(order: number, result: CompareResult): boolean {
  switch (result) {
    case 'equal':
      return order === 0;
    case 'notEqual':
      return order !== 0;
    case 'greater':
      return order > 0;
    case 'less':
      return order < 0;
    default:
      return unreachable(result);
  }
}
