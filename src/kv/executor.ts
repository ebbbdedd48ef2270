/**
 * What operations and queries do, as etcd's v3 API has it. An operation is refused before it has written anything, or is
 * carried out whole. The executor writes but does not commit: that ends the operation, and is for the state machine.
 */
import { assert, at, defined, unreachable } from '../lib/assert.ts';
import type { Version } from '../storage/version-engine.ts';
import { type TxnPath, decide } from './compares.ts';
import type { LeaseTable } from './leases.ts';
import { checkOperation, checkTxn } from './operation-checks.ts';
import {
  type Compact,
  type DeleteRange,
  type DeleteRangeResult,
  type HashQuery,
  type LeaseGrant,
  type LeaseRevoke,
  type LeaseTimeToLiveQuery,
  type Operation,
  type OperationResult,
  type Put,
  type PutResult,
  type Query,
  type QueryResult,
  RANGE_BYTES_MAX,
  type RangeQuery,
  type Refusal,
  type RefusalReason,
  type Txn,
  type TxnResult,
  type TxnStepResult,
  isReadOnly,
  singleKeyOf,
} from './operation.ts';
import { keyValueOf, readPage, readRange } from './range.ts';
import { RowSetHash } from './row-hash.ts';
import type { Store } from './store.ts';

/** Carries out operations and answers queries. Deterministic. */
export class Executor {
  readonly #store: Store;
  readonly #leases: LeaseTable;

  constructor(store: Store, leases: LeaseTable) {
    this.#store = store;
    this.#leases = leases;
  }

  /** Carries out an operation. What it wrote is to be committed, by the caller. Byte strings in it are copied. */
  apply(operation: Operation): OperationResult {
    const problem = checkOperation(operation);
    if (problem !== undefined) return this.#refusal(problem);
    switch (operation.kind) {
      case 'put': {
        const missing = this.#checkPut(operation);
        return missing === undefined ? this.#put(operation) : this.#refusal(missing);
      }
      case 'deleteRange':
        if (operation.prevKv && this.#measureDeletion(operation) > RANGE_BYTES_MAX) {
          return this.#refusal('rangeTooLarge');
        }
        return this.#deleteRange(operation);
      case 'txn':
        return this.#txn(operation);
      case 'compact':
        return this.#compact(operation);
      case 'leaseGrant':
        return this.#grant(operation);
      case 'leaseKeepAlive': {
        const ttlSeconds = this.#leases.keepAlive(operation.id)?.ttlSeconds ?? 0;
        return { kind: 'leaseKeepAlive', revision: this.#store.revision, id: operation.id, ttlSeconds };
      }
      case 'leaseRevoke':
        return this.#revoke(operation);
      case 'leaseCheckpoint':
        for (const { id, remainingMs } of operation.remaining) this.#leases.checkpoint(id, remainingMs);
        return { kind: 'leaseCheckpoint', revision: this.#store.revision };
      default:
        return unreachable(operation);
    }
  }

  /** Answers a query. A transaction must be one that only reads. */
  query(query: Query): QueryResult {
    switch (query.kind) {
      case 'range':
        return this.#range(query);
      case 'page': {
        const unreadable = this.#checkRevision(query.revision);
        return unreadable === undefined ? readPage(this.#store, query) : this.#refusal(unreadable);
      }
      case 'txn': {
        assert(isReadOnly(query), 'A query does not write');
        const problem = checkTxn(query);
        return problem === undefined ? this.#txn(query) : this.#refusal(problem);
      }
      case 'leaseTimeToLive':
        return this.#timeToLive(query);
      case 'leases':
        return { kind: 'leases', revision: this.#store.revision, ids: this.#leases.ids() };
      case 'hash':
        return this.#hash(query);
      default:
        return unreachable(query);
    }
  }

  /** Deletes a key, which exists, and detaches it from its lease. */
  delete(previous: Version): void {
    this.#leases.move(previous.key, previous.lease, 0n);
    this.#store.delete(previous);
  }

  /** Writes a key and attaches it to `lease`, which exists, or to none. The store keeps `value`. */
  write(key: string, previous: Version | undefined, value: Uint8Array, lease: bigint): void {
    this.#leases.move(key, previous?.lease ?? 0n, lease);
    this.#store.put(key, previous, value, lease);
  }

  #range(query: RangeQuery): QueryResult {
    const unreadable = this.#checkRevision(query.revision);
    if (unreadable !== undefined) return this.#refusal(unreadable);
    return readRange(this.#store, query, RANGE_BYTES_MAX) ?? this.#refusal('rangeTooLarge');
  }

  #put(put: Put): PutResult {
    const { key, prevKv, ignoreValue, ignoreLease } = put;
    const previous = this.#store.get(key);
    // Copied: it is a view of a payload, which is a view of a frame or of a read from the log, and one small value kept
    // would keep all of that in memory.
    const value = ignoreValue ? defined(previous, 'value to keep').value : new Uint8Array(put.value);
    const lease = ignoreLease ? defined(previous, 'lease to keep').lease : put.lease;
    this.write(key, previous, value, lease);
    return {
      kind: 'put',
      revision: this.#store.readRevision,
      previous: prevKv && previous !== undefined ? keyValueOf(previous) : undefined,
    };
  }

  #deleteRange(operation: DeleteRange): DeleteRangeResult {
    const previous = [];
    let deleted = 0;
    for (const version of this.#doomed(operation)) {
      this.delete(version);
      deleted += 1;
      if (operation.prevKv) previous.push(keyValueOf(version));
    }
    return { kind: 'deleteRange', revision: this.#store.readRevision, deleted, previous };
  }

  /** The keys that a deletion deletes. They may be deleted while they are walked. */
  #doomed({ range }: DeleteRange): Iterable<Version> {
    const key = singleKeyOf(range);
    if (key !== undefined) {
      const version = this.#store.get(key);
      return version === undefined ? [] : [version];
    }
    if (range.end !== undefined && range.end <= range.start) return [];
    const { revision, readRevision } = this.#store;
    const versions = this.#store.scan(range, readRevision);
    // A walk holds still while later revisions are written, but not while its own is.
    return readRevision === revision ? versions : [...versions];
  }

  #txn(txn: Txn): TxnResult | Refusal {
    const path = decide(this.#store, txn);
    const problem = this.#checkPath(path, { bytesLeft: RANGE_BYTES_MAX });
    return problem === undefined ? this.#run(path) : this.#refusal(problem);
  }

  /** What is against the chosen branches. Everything is checked before anything is written. */
  #checkPath(path: TxnPath, budget: { bytesLeft: number }): RefusalReason | undefined {
    let nestedIndex = 0;
    for (const step of path.steps) {
      let problem: RefusalReason | undefined;
      switch (step.kind) {
        case 'range':
          problem =
            this.#checkRevision(step.revision) ?? this.#spend(budget, this.#measureRange(step, budget));
          break;
        case 'put':
          problem = this.#checkPut(step);
          break;
        case 'deleteRange':
          problem = step.prevKv ? this.#spend(budget, this.#measureDeletion(step)) : undefined;
          break;
        case 'txn':
          problem = this.#checkPath(at(path.nested, nestedIndex), budget);
          nestedIndex += 1;
          break;
        default:
          return unreachable(step);
      }
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  #run(path: TxnPath): TxnResult {
    const responses: TxnStepResult[] = [];
    let nestedIndex = 0;
    for (const step of path.steps) {
      switch (step.kind) {
        case 'range':
          // What is read now differs from what was measured by no more than this transaction's own puts.
          responses.push(defined(readRange(this.#store, step, Infinity), 'range without a limit'));
          break;
        case 'put':
          responses.push(this.#put(step));
          break;
        case 'deleteRange':
          responses.push(this.#deleteRange(step));
          break;
        case 'txn':
          responses.push(this.#run(at(path.nested, nestedIndex)));
          nestedIndex += 1;
          break;
        default:
          return unreachable(step);
      }
    }
    return { kind: 'txn', revision: this.#store.readRevision, succeeded: path.succeeded, responses };
  }

  #checkPut(put: Put): RefusalReason | undefined {
    if (put.lease !== 0n && !this.#leases.has(put.lease)) return 'leaseNotFound';
    const needsPrevious = put.ignoreValue || put.ignoreLease;
    return needsPrevious && this.#store.get(put.key) === undefined ? 'keyNotFound' : undefined;
  }

  #checkRevision(revision: number): RefusalReason | undefined {
    if (revision <= 0) return undefined;
    const readable = this.#store.readable(revision);
    return readable === 'readable' ? undefined : readable;
  }

  #spend(budget: { bytesLeft: number }, bytes: number): RefusalReason | undefined {
    budget.bytesLeft -= bytes;
    return budget.bytesLeft < 0 ? 'rangeTooLarge' : undefined;
  }

  /** Bytes that a range will collect; of one key nothing, since the number of steps bounds those. */
  #measureRange(query: RangeQuery, budget: { bytesLeft: number }): number {
    if (query.countOnly || singleKeyOf(query.range) !== undefined) return 0;
    const result = readRange(this.#store, query, budget.bytesLeft);
    if (result === undefined) return Infinity;
    let bytes = 0;
    for (const { key, value } of result.rows) bytes += key.length + value.length;
    return bytes;
  }

  #measureDeletion(operation: DeleteRange): number {
    let bytes = 0;
    for (const { key, value } of this.#doomed(operation)) {
      bytes += key.length + value.length;
      if (bytes > RANGE_BYTES_MAX) break;
    }
    return bytes;
  }

  #compact({ revision }: Compact): OperationResult {
    const store = this.#store;
    if (revision > store.revision) return this.#refusal('futureRevision');
    const isNothing = revision === 0 && store.compactedRevision === 0;
    if (!isNothing) {
      if (revision <= store.compactedRevision) return this.#refusal('compacted');
      store.compact(revision);
    }
    return { kind: 'compact', revision: store.revision };
  }

  #grant({ id, ttlSeconds }: LeaseGrant): OperationResult {
    const lease = this.#leases.grant(id, ttlSeconds);
    if (typeof lease === 'string') return this.#refusal(lease);
    return { kind: 'leaseGrant', revision: this.#store.revision, id, ttlSeconds: lease.ttlSeconds };
  }

  #revoke({ id }: LeaseRevoke): OperationResult {
    const lease = this.#leases.get(id);
    if (lease === undefined) return this.#refusal('leaseNotFound');
    for (const key of [...lease.keys].toSorted()) this.delete(defined(this.#store.get(key), 'attached key'));
    this.#leases.revoke(id);
    return { kind: 'leaseRevoke', revision: this.#store.readRevision, id };
  }

  #timeToLive({ id, keys }: LeaseTimeToLiveQuery): QueryResult {
    const { revision } = this.#store;
    const lease = this.#leases.get(id);
    if (lease === undefined) return { kind: 'leaseTimeToLive', revision, id, lease };
    const { ttlSeconds, remainingMs } = lease;
    const info = {
      grantedTtlSeconds: ttlSeconds,
      remainingMs,
      keys: keys ? [...lease.keys].toSorted() : [],
    };
    return { kind: 'leaseTimeToLive', revision, id, lease: info };
  }

  /** The versions that could be read at the compacted revision, and all changes since: the same whatever the engine dropped. */
  #hash(query: HashQuery): QueryResult {
    const unreadable = this.#checkRevision(query.revision);
    if (unreadable !== undefined) return this.#refusal(unreadable);
    const store = this.#store;
    const { compactedRevision } = store;
    const revision = query.revision <= 0 ? store.revision : query.revision;
    const everything = { start: '', end: undefined };
    const hash = new RowSetHash();
    for (const version of store.scan(everything, compactedRevision)) hash.addVersion(version);
    for (const version of store.engine.changes(everything, compactedRevision, revision))
      hash.addVersion(version);
    return { kind: 'hash', revision: store.revision, compactedRevision, hash: hash.hex() };
  }

  #refusal(reason: RefusalReason): Refusal {
    const { revision, compactedRevision } = this.#store;
    return { kind: 'refused', reason, revision, compactedRevision };
  }
}
