/**
 * What the multi-version state machine is asked and what it answers: operations, which go through the log and may write;
 * queries, which only read; and their results. etcd's v3 API decides what each means. Types, and what a key range is;
 * operation-codec.ts holds the binary forms.
 *
 * Keys are latin-1 strings (lib/bytes.ts). Revisions are safe integers. A lease id is any signed 64-bit integer but 0n,
 * which stands for no lease. All byte strings in results belong to the store: nobody changes them.
 */
import type { KeyRange } from '../storage/version-engine.ts';

/** Operations in one branch of a transaction, and compares; a nested transaction gets what its parents leave. */
export const TXN_OPERATIONS_MAX = 128;
/** Compares and operations in a whole tree of transactions, all branches counted. */
export const TXN_TREE_OPERATIONS_MAX = 2_048;
/** Longest time to live of a lease; a longer one is refused. */
export const LEASE_TTL_SECONDS_MAX = 9_000_000_000;
/** Shortest time to live of a lease; a shorter one is raised. The node that proposes may raise it further. */
export const LEASE_TTL_SECONDS_MIN = 1;
/** Leases held at once; one more is refused. */
export const LEASES_MAX = 100_000;
/** Bytes of keys and values that one read, or the reads of one transaction together, may collect. */
export const RANGE_BYTES_MAX = 67_108_864;
/** Rows in a page. */
export const PAGE_ROWS_MAX = 10_000;
/** A page ends with the row that reaches so many bytes of keys and values. */
export const PAGE_BYTES_MAX = 1_048_576;

export type SortTarget = 'key' | 'version' | 'createRevision' | 'modRevision' | 'value';
/** `none`: key order; for a target other than `key` the same as `ascending`. */
export type SortOrder = 'none' | 'ascending' | 'descending';

/** Reads keys. Filters come first, then the order, then the limit. */
export interface RangeQuery {
  readonly kind: 'range';
  readonly range: KeyRange;
  /** The state to read; 0 or less: the newest. */
  readonly revision: number;
  /** Rows at most; 0 or less: no limit. */
  readonly limit: number;
  readonly sortTarget: SortTarget;
  readonly sortOrder: SortOrder;
  /** Bounds that a row must keep, both inclusive; 0: none. */
  readonly minModRevision: number;
  readonly maxModRevision: number;
  readonly minCreateRevision: number;
  readonly maxCreateRevision: number;
  /** Rows without their values. */
  readonly keysOnly: boolean;
  /** No rows, only their count. */
  readonly countOnly: boolean;
}

export interface Put {
  readonly kind: 'put';
  readonly key: string;
  readonly value: Uint8Array;
  /** Attaches the key to this lease; 0n detaches it from any. */
  readonly lease: bigint;
  /** Whether to answer with what was there before. */
  readonly prevKv: boolean;
  /** Keep the value that is there; `value` must be empty. */
  readonly ignoreValue: boolean;
  /** Keep the lease that is there; `lease` must be 0n. */
  readonly ignoreLease: boolean;
}

export interface DeleteRange {
  readonly kind: 'deleteRange';
  readonly range: KeyRange;
  /** Whether to answer with what was there before. */
  readonly prevKv: boolean;
}

export type CompareResult = 'equal' | 'notEqual' | 'greater' | 'less';

/**
 * A condition on each key of a range: `left result operand`, where left is the named field. A range without keys counts
 * as one key with zero in every field; only its value compares as false with anything.
 */
export type Compare =
  | {
      readonly kind: 'version' | 'createRevision' | 'modRevision';
      readonly range: KeyRange;
      readonly result: CompareResult;
      readonly operand: number;
    }
  | {
      readonly kind: 'value';
      readonly range: KeyRange;
      readonly result: CompareResult;
      readonly operand: Uint8Array;
    }
  | {
      readonly kind: 'lease';
      readonly range: KeyRange;
      readonly result: CompareResult;
      readonly operand: bigint;
    };

/** One step of a branch of a transaction. */
export type TxnStep = RangeQuery | Put | DeleteRange | Txn;

/** `success` when all compares hold for the state before the transaction, also those of nested ones; else `failure`. */
export interface Txn {
  readonly kind: 'txn';
  readonly compares: readonly Compare[];
  readonly success: readonly TxnStep[];
  readonly failure: readonly TxnStep[];
}

/** Gives up the history before `revision`, which itself stays readable. */
export interface Compact {
  readonly kind: 'compact';
  readonly revision: number;
}

export interface LeaseGrant {
  readonly kind: 'leaseGrant';
  /** Chosen by whoever proposes; not 0n. */
  readonly id: bigint;
  readonly ttlSeconds: number;
}

/** Begins the whole time to live anew, for every later leader too. */
export interface LeaseKeepAlive {
  readonly kind: 'leaseKeepAlive';
  readonly id: bigint;
}

/** Ends a lease and deletes its keys, in one revision. */
export interface LeaseRevoke {
  readonly kind: 'leaseRevoke';
  readonly id: bigint;
}

/** What is left of a lease by the leader's clock. */
export interface LeaseRemaining {
  readonly id: bigint;
  /** 1 and up. */
  readonly remainingMs: number;
}

/** Writes down what is left of long leases, so that the next leader does not begin them anew. Unknown ones are passed over. */
export interface LeaseCheckpoint {
  readonly kind: 'leaseCheckpoint';
  readonly remaining: readonly LeaseRemaining[];
}

/** What goes through the log. */
export type Operation =
  | Put
  | DeleteRange
  | Txn
  | Compact
  | LeaseGrant
  | LeaseKeepAlive
  | LeaseRevoke
  | LeaseCheckpoint;

export interface LeaseTimeToLiveQuery {
  readonly kind: 'leaseTimeToLive';
  readonly id: bigint;
  /** Whether to list the attached keys. */
  readonly keys: boolean;
}

/**
 * Asks for the next rows of a range, in key order: as many as fit into a page. What is behind them is not counted, so that
 * going through a large range a page at a time costs no more than its rows.
 */
export interface PageQuery {
  readonly kind: 'page';
  readonly range: KeyRange;
  /** The state to read; 0 or less: the newest. */
  readonly revision: number;
}

export interface LeasesQuery {
  readonly kind: 'leases';
}

/** Asks for a hash of everything from the compacted revision to this one; 0 or less: to the newest. Walks all of it. */
export interface HashQuery {
  readonly kind: 'hash';
  readonly revision: number;
}

/** What only reads. A transaction among these has no step that writes (see {@link isReadOnly}). */
export type Query = RangeQuery | PageQuery | Txn | LeaseTimeToLiveQuery | LeasesQuery | HashQuery;

/** A key with its value at some revision. */
export interface KeyValue {
  readonly key: string;
  /** Revision of the put that began this life of the key. */
  readonly createRevision: number;
  /** Revision of the last put. */
  readonly modRevision: number;
  /** Puts in this life of the key, from 1. */
  readonly version: number;
  readonly lease: bigint;
  /** Empty where only keys were asked for. */
  readonly value: Uint8Array;
}

/**
 * Why nothing was done. Every one is certain: the operation had no effect and never will.
 *
 * - `emptyKey`: a put without a key
 * - `valueProvided`, `leaseProvided`: together with the wish to keep what is there
 * - `tooManyOperations`: over {@link TXN_OPERATIONS_MAX} or {@link TXN_TREE_OPERATIONS_MAX}
 * - `duplicateKey`: a transaction that would write a key twice
 * - `keyNotFound`: nothing is there to keep
 * - `leaseNotFound`, `leaseExists`, `ttlTooLarge`, `tooManyLeases`
 * - `compacted`, `futureRevision`: the revision asked for is gone, or not there yet
 * - `rangeTooLarge`: over {@link RANGE_BYTES_MAX}
 */
export type RefusalReason =
  | 'emptyKey'
  | 'valueProvided'
  | 'leaseProvided'
  | 'tooManyOperations'
  | 'duplicateKey'
  | 'keyNotFound'
  | 'leaseNotFound'
  | 'leaseExists'
  | 'ttlTooLarge'
  | 'tooManyLeases'
  | 'compacted'
  | 'futureRevision'
  | 'rangeTooLarge';

export interface Refusal {
  readonly kind: 'refused';
  readonly reason: RefusalReason;
  /** The store's, as it refused. */
  readonly revision: number;
  readonly compactedRevision: number;
}

/*
 * In every result `revision` is that of the store when the result was made: for a write its own, and for one that
 * changed nothing that of the last write before.
 */

export interface RangeResult {
  readonly kind: 'range';
  readonly revision: number;
  readonly rows: readonly KeyValue[];
  /** The limit cut rows off. */
  readonly more: boolean;
  /** Keys in the range at the revision that was read, whatever the limit and the filters. */
  readonly count: number;
}

/** At least one row, if there is any. */
export interface PageResult {
  readonly kind: 'page';
  readonly revision: number;
  readonly rows: readonly KeyValue[];
  /** There are rows behind these. */
  readonly more: boolean;
}

export interface PutResult {
  readonly kind: 'put';
  readonly revision: number;
  /** What was there before, if it was asked for. */
  readonly previous: KeyValue | undefined;
}

export interface DeleteRangeResult {
  readonly kind: 'deleteRange';
  readonly revision: number;
  /** Keys deleted. */
  readonly deleted: number;
  /** What was there before, in key order, if it was asked for; else empty. */
  readonly previous: readonly KeyValue[];
}

/** The answer to one step of a transaction. */
export type TxnStepResult = RangeResult | PutResult | DeleteRangeResult | TxnResult;

export interface TxnResult {
  readonly kind: 'txn';
  readonly revision: number;
  /** Which branch was taken. */
  readonly succeeded: boolean;
  /** One for each step of that branch. */
  readonly responses: readonly TxnStepResult[];
}

export type OperationResult =
  | PutResult
  | DeleteRangeResult
  | TxnResult
  | { readonly kind: 'compact'; readonly revision: number }
  | {
      readonly kind: 'leaseGrant';
      readonly revision: number;
      readonly id: bigint;
      /** As granted: a short one was raised. */
      readonly ttlSeconds: number;
    }
  | {
      readonly kind: 'leaseKeepAlive';
      readonly revision: number;
      readonly id: bigint;
      /** As granted; 0 when there is no such lease. */
      readonly ttlSeconds: number;
    }
  | { readonly kind: 'leaseRevoke'; readonly revision: number; readonly id: bigint }
  | { readonly kind: 'leaseCheckpoint'; readonly revision: number }
  | Refusal;

/** A lease as the replicated state has it. */
export interface LeaseInfo {
  readonly grantedTtlSeconds: number;
  /** What was left when it was last written down. The leader's clock (lease-clock.ts) knows better. */
  readonly remainingMs: number;
  /** In key order, if they were asked for; else empty. */
  readonly keys: readonly string[];
}

export type QueryResult =
  | RangeResult
  | PageResult
  | TxnResult
  | {
      readonly kind: 'leaseTimeToLive';
      readonly revision: number;
      readonly id: bigint;
      /** Undefined when there is no such lease. */
      readonly lease: LeaseInfo | undefined;
    }
  | {
      readonly kind: 'leases';
      readonly revision: number;
      /** Ascending. */
      readonly ids: readonly bigint[];
    }
  | {
      readonly kind: 'hash';
      readonly revision: number;
      readonly compactedRevision: number;
      /** Sixteen hexadecimal digits. */
      readonly hash: string;
    }
  | Refusal;

/** The range that holds one key. */
export function keyOnly(key: string): KeyRange {
  return { start: key, end: `${key}\0` };
}

/** The key of a range that can hold no other; undefined for any other range. */
export function singleKeyOf(range: KeyRange): string | undefined {
  const { start, end } = range;
  if (end === undefined || end.length !== start.length + 1) return undefined;
  return end.endsWith('\0') && end.startsWith(start) ? start : undefined;
}

/** Whether a range can hold `key`. */
export function contains(range: KeyRange, key: string): boolean {
  return key >= range.start && (range.end === undefined || key < range.end);
}

/**
 * The range that etcd's pair of `key` and `range_end` means: one key when `rangeEnd` is empty, from `key` to the last one
 * when it is a zero byte, else `[key, rangeEnd)`, which may hold nothing. A zero byte in both means every key.
 *
 * @returns undefined when `key` is empty: etcd refuses that
 */
export function keyRange(key: string, rangeEnd: string): KeyRange | undefined {
  if (key === '') return undefined;
  if (rangeEnd === '') return keyOnly(key);
  if (rangeEnd === '\0') return { start: key === '\0' ? '' : key, end: undefined };
  return { start: key, end: rangeEnd };
}

/** Whether no branch of a transaction, nested ones included, has a step that writes. */
export function isReadOnly(txn: Txn): boolean {
  return [txn.success, txn.failure].every((branch) =>
    branch.every((step) => step.kind === 'range' || (step.kind === 'txn' && isReadOnly(step))),
  );
}
