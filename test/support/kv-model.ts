/**
 * The naive model of the state machine: a whole copy of the map for every revision, and each operation written down as plainly
 * as it can be. Slow, and obviously right.
 */
import type {
  Compare,
  KeyValue,
  Operation,
  OperationResult,
  Put,
  RangeQuery,
  RefusalReason,
  Txn,
  TxnStep,
  TxnStepResult,
} from '../../src/kv/operation.ts';
import { at, unreachable } from '../../src/lib/assert.ts';
import { latin1 } from '../../src/lib/bytes.ts';
import type { KeyRange } from '../../src/storage/version-engine.ts';

type Rows = ReadonlyMap<string, KeyValue>;

/** What became of one key at one revision; `row` undefined: it was deleted. */
export interface LedgerEvent {
  readonly revision: number;
  readonly key: string;
  readonly row: KeyValue | undefined;
  readonly previous: KeyValue | undefined;
}

interface ModelLease {
  readonly ttlSeconds: number;
  remainingMs: number;
}

class Refused extends Error {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason) {
    super(reason);
    this.reason = reason;
  }
}

export class KvModel {
  /** The rows at each revision, from 1 on. */
  readonly #states: Rows[] = [new Map(), new Map()];
  readonly leases = new Map<bigint, ModelLease>();
  readonly ledger: LedgerEvent[] = [];
  compactedRevision = 0;
  #rows = new Map<string, KeyValue>();
  #events: LedgerEvent[] = [];

  get revision(): number {
    return this.#states.length - 1;
  }

  get rows(): Rows {
    return this.#rows;
  }

  apply(operation: Operation): OperationResult {
    try {
      const result = this.#apply(operation);
      this.#commit();
      return result;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // Whatever was done is undone: that nothing had been written is what the machine has to show.
      this.#rows = new Map(at(this.#states, this.revision));
      this.#events = [];
      const { revision, compactedRevision } = this;
      return { kind: 'refused', reason: error.reason, revision, compactedRevision };
    }
  }

  range(query: RangeQuery): TxnStepResult {
    const current = this.#events.length > 0 ? this.revision + 1 : this.revision;
    if (query.revision > 0 && query.revision < this.compactedRevision) throw new Refused('compacted');
    const rows =
      query.revision > 0 && query.revision <= this.revision ? at(this.#states, query.revision) : this.#rows;
    const all = within(rows, query.range);
    let kept = query.countOnly ? [] : all.filter((row) => isWanted(row, query));
    kept = kept.toSorted((a, b) => {
      const order = compareBy(query, a, b);
      return query.sortOrder === 'descending' ? -order : order;
    });
    const more = query.limit > 0 && kept.length > query.limit;
    if (more) kept = kept.slice(0, query.limit);
    if (query.keysOnly) kept = kept.map((row) => ({ ...row, value: new Uint8Array(0) }));
    return { kind: 'range', revision: current, rows: kept, more, count: all.length };
  }

  #apply(operation: Operation): OperationResult {
    switch (operation.kind) {
      case 'put':
        checkPut(operation);
        this.#checkStore(operation);
        return this.#put(operation);
      case 'deleteRange':
        return this.#delete(operation.range, operation.prevKv);
      case 'txn': {
        checkPuts(operation.success);
        checkPuts(operation.failure);
        writtenBy(operation.success);
        writtenBy(operation.failure);
        const steps = this.#plan(operation);
        this.#checkAll(steps);
        return this.#run(steps);
      }
      case 'compact':
        if (operation.revision > this.revision) throw new Refused('futureRevision');
        if (operation.revision === 0 && this.compactedRevision === 0) break;
        if (operation.revision <= this.compactedRevision) throw new Refused('compacted');
        this.compactedRevision = operation.revision;
        break;
      case 'leaseGrant': {
        if (this.leases.has(operation.id)) throw new Refused('leaseExists');
        const ttlSeconds = Math.max(1, operation.ttlSeconds);
        this.leases.set(operation.id, { ttlSeconds, remainingMs: ttlSeconds * 1000 });
        return { ...operation, revision: this.revision, ttlSeconds };
      }
      case 'leaseKeepAlive': {
        const lease = this.leases.get(operation.id);
        if (lease !== undefined) lease.remainingMs = lease.ttlSeconds * 1000;
        return { ...operation, revision: this.revision, ttlSeconds: lease?.ttlSeconds ?? 0 };
      }
      case 'leaseRevoke': {
        if (!this.leases.delete(operation.id)) throw new Refused('leaseNotFound');
        const all = within(this.#rows, { start: '', end: undefined });
        for (const row of all) if (row.lease === operation.id) this.#remove(row);
        return { ...operation, revision: this.#writing() };
      }
      case 'leaseCheckpoint':
        for (const { id, remainingMs } of operation.remaining) {
          const lease = this.leases.get(id);
          if (lease !== undefined) lease.remainingMs = Math.min(remainingMs, lease.ttlSeconds * 1000);
        }
        break;
      default:
        return unreachable(operation);
    }
    return { kind: operation.kind, revision: this.revision };
  }

  #put(put: Put): TxnStepResult & { readonly kind: 'put' } {
    const before = this.#rows.get(put.key);
    const row: KeyValue = {
      key: put.key,
      createRevision: before?.createRevision ?? this.revision + 1,
      modRevision: this.revision + 1,
      version: (before?.version ?? 0) + 1,
      lease: put.ignoreLease ? (before?.lease ?? 0n) : put.lease,
      value: put.ignoreValue ? (before?.value ?? new Uint8Array(0)) : put.value,
    };
    this.#rows.set(put.key, row);
    this.#events.push({ revision: this.revision + 1, key: put.key, row, previous: before });
    return { kind: 'put', revision: this.revision + 1, previous: put.prevKv ? before : undefined };
  }

  #delete(range: KeyRange, prevKv: boolean): TxnStepResult & { readonly kind: 'deleteRange' } {
    const doomed = within(this.#rows, range);
    for (const row of doomed) this.#remove(row);
    return {
      kind: 'deleteRange',
      revision: this.#writing(),
      deleted: doomed.length,
      previous: prevKv ? doomed : [],
    };
  }

  #remove(row: KeyValue): void {
    this.#rows.delete(row.key);
    this.#events.push({ revision: this.revision + 1, key: row.key, row: undefined, previous: row });
  }

  /** The steps that will be done, nested transactions as plans of their own. */
  #plan(txn: Txn): Plan {
    const succeeded = txn.compares.every((compare) => this.#holds(compare));
    const steps = succeeded ? txn.success : txn.failure;
    return { succeeded, steps: steps.map((step) => (step.kind === 'txn' ? this.#plan(step) : step)) };
  }

  #holds(compare: Compare): boolean {
    const rows = within(this.#rows, compare.range);
    const missing = { createRevision: 0, modRevision: 0, version: 0, lease: 0n, value: undefined };
    return (rows.length === 0 ? [missing] : rows).every((row) => {
      if (compare.kind === 'value' && row.value === undefined) return false;
      const [left, right] =
        compare.kind === 'value'
          ? [latin1(row.value ?? new Uint8Array(0)), latin1(compare.operand)]
          : [row[compare.kind], compare.operand];
      if (compare.result === 'equal') return left === right;
      if (compare.result === 'notEqual') return left !== right;
      return compare.result === 'greater' ? left > right : left < right;
    });
  }

  #checkAll(plan: Plan): void {
    for (const step of plan.steps) {
      if (!('kind' in step)) this.#checkAll(step);
      else if (step.kind === 'put') this.#checkStore(step);
      else if (step.kind === 'range' && step.revision > this.revision) throw new Refused('futureRevision');
      else if (step.kind === 'range' && step.revision > 0 && step.revision < this.compactedRevision)
        throw new Refused('compacted');
    }
  }

  #checkStore(put: Put): void {
    if (put.lease !== 0n && !this.leases.has(put.lease)) throw new Refused('leaseNotFound');
    const keeps = put.ignoreValue || put.ignoreLease;
    if (keeps && !at(this.#states, this.revision).has(put.key)) throw new Refused('keyNotFound');
  }

  #run(plan: Plan): TxnStepResult & { readonly kind: 'txn' } {
    const responses = plan.steps.map((step): TxnStepResult => {
      if (!('kind' in step)) return this.#run(step);
      if (step.kind === 'range') return this.range(step);
      if (step.kind === 'put') return this.#put(step);
      return this.#delete(step.range, step.prevKv);
    });
    return { kind: 'txn', revision: this.#writing(), succeeded: plan.succeeded, responses };
  }

  #writing(): number {
    return this.#events.length > 0 ? this.revision + 1 : this.revision;
  }

  #commit(): void {
    if (this.#events.length === 0) return;
    this.#states.push(new Map(this.#rows));
    this.ledger.push(...this.#events);
    this.#events = [];
  }
}

interface Plan {
  readonly succeeded: boolean;
  readonly steps: readonly (Exclude<TxnStep, Txn> | Plan)[];
}

/** What a branch may put and delete; refuses a key that could be changed twice. */
function writtenBy(branch: readonly TxnStep[]): { puts: string[]; deletes: KeyRange[] } {
  const written = branch.map((step) => {
    if (step.kind === 'put') return { puts: [step.key], deletes: [] };
    if (step.kind === 'deleteRange') return { puts: [], deletes: [step.range] };
    if (step.kind === 'range') return { puts: [], deletes: [] };
    const both = [writtenBy(step.success), writtenBy(step.failure)];
    return { puts: both.flatMap(({ puts }) => puts), deletes: both.flatMap(({ deletes }) => deletes) };
  });
  for (const [i, one] of written.entries()) {
    for (const [j, other] of written.entries()) {
      if (i === j) continue;
      for (const key of one.puts) {
        if (other.puts.includes(key) || other.deletes.some((range) => isWithin(range, key)))
          throw new Refused('duplicateKey');
      }
    }
  }
  return { puts: written.flatMap(({ puts }) => puts), deletes: written.flatMap(({ deletes }) => deletes) };
}

function checkPuts(branch: readonly TxnStep[]): void {
  for (const step of branch) {
    if (step.kind === 'put') checkPut(step);
    if (step.kind !== 'txn') continue;
    checkPuts(step.success);
    checkPuts(step.failure);
  }
}

function checkPut(put: Put): void {
  if (put.key === '') throw new Refused('emptyKey');
  if (put.ignoreValue && put.value.length > 0) throw new Refused('valueProvided');
  if (put.ignoreLease && put.lease !== 0n) throw new Refused('leaseProvided');
}

function isWithin(range: KeyRange, key: string): boolean {
  return range.start <= key && (range.end === undefined || key < range.end);
}

function within(rows: Rows, range: KeyRange): KeyValue[] {
  return [...rows.values()]
    .filter(({ key }) => isWithin(range, key))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function isWanted(row: KeyValue, query: RangeQuery): boolean {
  if (query.minModRevision > 0 && row.modRevision < query.minModRevision) return false;
  if (query.maxModRevision > 0 && row.modRevision > query.maxModRevision) return false;
  if (query.minCreateRevision > 0 && row.createRevision < query.minCreateRevision) return false;
  return !(query.maxCreateRevision > 0 && row.createRevision > query.maxCreateRevision);
}

function compareBy({ sortTarget }: RangeQuery, a: KeyValue, b: KeyValue): number {
  const [left, right] =
    sortTarget === 'value' ? [latin1(a.value), latin1(b.value)] : [a[sortTarget], b[sortTarget]];
  return left === right ? 0 : left < right ? -1 : 1;
}
