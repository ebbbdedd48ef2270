/**
 * What can be said against an operation without looking at the store. A node asks before it proposes one, so that nothing
 * is logged in vain; the state machine asks again, because the log decides.
 */
import { unreachable } from '../lib/assert.ts';
import type { KeyRange } from '../storage/version-engine.ts';
import {
  LEASE_TTL_SECONDS_MAX,
  type Operation,
  type Put,
  type RefusalReason,
  TXN_OPERATIONS_MAX,
  TXN_TREE_OPERATIONS_MAX,
  type Txn,
  type TxnStep,
  contains,
} from './operation.ts';

/** @returns why every store refuses this operation; undefined when it depends on the store, or nothing is wrong */
export function checkOperation(operation: Operation): RefusalReason | undefined {
  switch (operation.kind) {
    case 'put':
      return checkPut(operation);
    case 'txn':
      return checkTxn(operation);
    case 'leaseGrant':
      return operation.ttlSeconds > LEASE_TTL_SECONDS_MAX ? 'ttlTooLarge' : undefined;
    case 'deleteRange':
    case 'compact':
    case 'leaseKeepAlive':
    case 'leaseRevoke':
    case 'leaseCheckpoint':
      return undefined;
    default:
      return unreachable(operation);
  }
}

/** The same for a transaction, which may come as a query too. */
export function checkTxn(txn: Txn): RefusalReason | undefined {
  const counter = { left: TXN_TREE_OPERATIONS_MAX };
  const problem = checkSteps(txn, TXN_OPERATIONS_MAX, counter);
  if (problem !== undefined) return problem;
  const isDuplicate = effectsOf(txn.success) === undefined || effectsOf(txn.failure) === undefined;
  return isDuplicate ? 'duplicateKey' : undefined;
}

function checkPut(put: Put): RefusalReason | undefined {
  if (put.key === '') return 'emptyKey';
  if (put.ignoreValue && put.value.length > 0) return 'valueProvided';
  if (put.ignoreLease && put.lease !== 0n) return 'leaseProvided';
  return undefined;
}

/** @param max operations that each list of `txn` may have */
function checkSteps(txn: Txn, max: number, counter: { left: number }): RefusalReason | undefined {
  const { compares, success, failure } = txn;
  const longest = Math.max(compares.length, success.length, failure.length);
  counter.left -= compares.length + success.length + failure.length;
  if (longest > max || counter.left < 0) return 'tooManyOperations';
  for (const branch of [success, failure]) {
    for (const step of branch) {
      const problem = checkStep(step, max - longest, counter);
      if (problem !== undefined) return problem;
    }
  }
  return undefined;
}

function checkStep(step: TxnStep, max: number, counter: { left: number }): RefusalReason | undefined {
  switch (step.kind) {
    case 'put':
      return checkPut(step);
    case 'txn':
      return checkSteps(step, max, counter);
    case 'range':
    case 'deleteRange':
      return undefined;
    default:
      return unreachable(step);
  }
}

/** What the steps of a branch may write. */
interface Effects {
  readonly puts: Set<string>;
  readonly deletes: KeyRange[];
}

/**
 * A revision changes a key at most once: no two steps of a branch may put the same key, or one put what another deletes.
 * The branches of one nested transaction exclude each other, and what is deleted twice is deleted once.
 *
 * @returns undefined when a key could be changed twice
 */
function effectsOf(branch: readonly TxnStep[]): Effects | undefined {
  const all: Effects = { puts: new Set(), deletes: [] };
  for (const step of branch) {
    const effects = effectsOfStep(step);
    if (effects === undefined || conflict(all, effects)) return undefined;
    for (const key of effects.puts) all.puts.add(key);
    for (const range of effects.deletes) all.deletes.push(range);
  }
  return all;
}

function effectsOfStep(step: TxnStep): Effects | undefined {
  switch (step.kind) {
    case 'range':
      return { puts: new Set(), deletes: [] };
    case 'put':
      return { puts: new Set([step.key]), deletes: [] };
    case 'deleteRange':
      return { puts: new Set(), deletes: [step.range] };
    case 'txn': {
      const success = effectsOf(step.success);
      const failure = effectsOf(step.failure);
      if (success === undefined || failure === undefined) return undefined;
      for (const key of failure.puts) success.puts.add(key);
      return { puts: success.puts, deletes: [...success.deletes, ...failure.deletes] };
    }
    default:
      return unreachable(step);
  }
}

function conflict(a: Effects, b: Effects): boolean {
  for (const key of b.puts) if (a.puts.has(key) || isDeleted(key, a)) return true;
  for (const key of a.puts) if (isDeleted(key, b)) return true;
  return false;
}

function isDeleted(key: string, effects: Effects): boolean {
  return effects.deletes.some((range) => contains(range, key));
}
