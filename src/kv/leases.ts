/**
 * The leases of the replicated state: what was granted, which keys are attached, and what was left when it was last written
 * down. It changes by applied operations alone and knows no clock: time is for lease-clock.ts, on the leader.
 */
import { assert, defined } from '../lib/assert.ts';
import { LEASES_MAX, LEASE_TTL_SECONDS_MIN } from './operation.ts';
import { RowSetHash } from './row-hash.ts';

/** A lease, for readers. It changes with the table. */
export interface Lease {
  readonly id: bigint;
  readonly ttlSeconds: number;
  /** What was left when it was last written down; the whole time while it never was. */
  readonly remainingMs: number;
  readonly keys: ReadonlySet<string>;
}

/** Told of what happens to leases, as it is applied. */
export interface LeaseObserver {
  /** Granted, or renewed through the log: its whole time begins anew. */
  begun(lease: Lease): void;
  /** What is left of it was written down. */
  checkpointed(id: bigint): void;
  revoked(id: bigint): void;
}

interface HeldLease {
  readonly id: bigint;
  readonly ttlSeconds: number;
  remainingMs: number;
  readonly keys: Set<string>;
}

/** The lease table. Deterministic: equal calls in equal order give equal tables. */
export class LeaseTable {
  readonly #leases = new Map<bigint, HeldLease>();
  /** Of ids, granted and remaining times. Which keys are attached is in the keys' own versions. */
  readonly #hash = new RowSetHash();
  #observer: LeaseObserver | undefined;

  get count(): number {
    return this.#leases.size;
  }

  /** Do not change it. */
  get hash(): RowSetHash {
    return this.#hash;
  }

  /** One observer; undefined for none. It must not change the table. */
  set observer(observer: LeaseObserver | undefined) {
    this.#observer = observer;
  }

  get(id: bigint): Lease | undefined {
    return this.#leases.get(id);
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  /** All leases, in the order in which they were granted. The table must not change while they are walked. */
  values(): IterableIterator<Lease> {
    return this.#leases.values();
  }

  /** Ids in ascending order. */
  ids(): readonly bigint[] {
    return [...this.#leases.keys()].toSorted((a, b) => (a < b ? -1 : 1));
  }

  /** Grants a lease. A short time is raised. @returns what is against it */
  grant(id: bigint, ttlSeconds: number): Lease | 'leaseExists' | 'tooManyLeases' {
    assert(id !== 0n, 'A lease has an id');
    if (this.#leases.has(id)) return 'leaseExists';
    if (this.#leases.size >= LEASES_MAX) return 'tooManyLeases';
    const seconds = Math.max(ttlSeconds, LEASE_TTL_SECONDS_MIN);
    const lease: HeldLease = {
      id,
      ttlSeconds: seconds,
      remainingMs: seconds * 1000,
      keys: new Set(),
    };
    this.#add(lease);
    this.#observer?.begun(lease);
    return lease;
  }

  /** Begins the whole time of a lease anew. @returns undefined when there is no such lease */
  keepAlive(id: bigint): Lease | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    this.#setRemaining(lease, lease.ttlSeconds * 1000);
    this.#observer?.begun(lease);
    return lease;
  }

  /** Writes down what is left of a lease, at most the whole time. An unknown one is passed over. */
  checkpoint(id: bigint, remainingMs: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#setRemaining(lease, Math.min(remainingMs, lease.ttlSeconds * 1000));
    this.#observer?.checkpointed(id);
  }

  /** Ends a lease, which exists and to which no key is attached any more. */
  revoke(id: bigint): void {
    const lease = defined(this.#leases.get(id), 'lease to revoke');
    assert(lease.keys.size === 0, 'No key outlives its lease');
    this.#leases.delete(id);
    this.#hash.removeIntegers([lease.id, lease.ttlSeconds, lease.remainingMs]);
    this.#observer?.revoked(id);
  }

  /** Moves a key from one lease to another; 0n is none. */
  move(key: string, from: bigint, to: bigint): void {
    if (from === to) return;
    if (from !== 0n) {
      const wasAttached = defined(this.#leases.get(from), 'lease of a key').keys.delete(key);
      assert(wasAttached, 'A lease knows its keys');
    }
    if (to !== 0n) defined(this.#leases.get(to), 'lease of a key').keys.add(key);
  }

  /** Adds a lease out of a state. @returns false when it breaks a rule of the table */
  restore(id: bigint, ttlSeconds: number, remainingMs: number): boolean {
    if (this.#leases.has(id) || this.#leases.size >= LEASES_MAX) return false;
    if (remainingMs > ttlSeconds * 1000) return false;
    this.#add({ id, ttlSeconds, remainingMs, keys: new Set() });
    return true;
  }

  /** Attaches a key out of a state. @returns false when it breaks a rule of the table */
  restoreKey(id: bigint, key: string): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined || lease.keys.has(key)) return false;
    lease.keys.add(key);
    return true;
  }

  clear(): void {
    this.#leases.clear();
    this.#hash.clear();
  }

  #add(lease: HeldLease): void {
    this.#leases.set(lease.id, lease);
    this.#hash.addIntegers([lease.id, lease.ttlSeconds, lease.remainingMs]);
  }

  #setRemaining(lease: HeldLease, remainingMs: number): void {
    if (lease.remainingMs === remainingMs) return;
    this.#hash.removeIntegers([lease.id, lease.ttlSeconds, lease.remainingMs]);
    lease.remainingMs = remainingMs;
    this.#hash.addIntegers([lease.id, lease.ttlSeconds, lease.remainingMs]);
  }
}
