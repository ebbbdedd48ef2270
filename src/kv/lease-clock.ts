/**
 * How long leases still have by the leader's clock. Only the leader has one: it proposes to revoke what has run out, so that
 * every replica ends a lease at the same place in the log. Time comes in from outside; the clock itself is not replicated.
 *
 * A lease never ends before its time: whatever is uncertain (a new leader, a lease that was just granted) is decided in favour
 * of the lease. How much longer it may live than its time is what callers keep small.
 */
import type { Lease, LeaseObserver, LeaseTable } from './leases.ts';
import type { LeaseRemaining } from './operation.ts';

/** What is left of a lease is written to the log at most this often. */
export const CHECKPOINT_INTERVAL_MS = 300_000;
/** A lease that has run out and is still there is named again after this time: a proposal may be lost. */
export const REVOKE_RETRY_MS = 3_000;

/**
 * - `renewed`: done, here and now
 * - `throughLog`: something less than the whole time is written down, or on its way to be, and a later leader would believe
 *   it: propose a `leaseKeepAlive`, and answer when that is applied
 * - `expired`: ran out and waits for its end: answer as for an unknown one, once it is gone
 * - `unknown`: no such lease
 */
export type Renewal = 'renewed' | 'throughLog' | 'expired' | 'unknown';

interface Timed {
  readonly lease: Lease;
  /** Undefined: begins with the next look at the clock, a little late rather than early. */
  endsAtMs: number | undefined;
  /** When to name it as expired. */
  dueAtMs: number;
  checkpointAtMs: number;
  /** Proposed by this leader and not seen applied. A lost one makes renewals go through the log, which does no harm. */
  checkpointsPending: number;
}

export class LeaseClock {
  readonly #table: LeaseTable;
  readonly #timed = new Map<bigint, Timed>();
  readonly #begun = new Set<Timed>();
  readonly #observer: LeaseObserver;
  #isLeading = false;
  /** No lease is due to be revoked, or written down, before these. */
  #revokeAtMs = Infinity;
  #checkpointAtMs = Infinity;

  /** @param table of the machine on this node; the clock observes it while it leads */
  constructor(table: LeaseTable) {
    this.#table = table;
    this.#observer = {
      begun: (lease) => this.#begin(lease),
      checkpointed: (id) => {
        const timed = this.#timed.get(id);
        if (timed !== undefined && timed.checkpointsPending > 0) timed.checkpointsPending -= 1;
      },
      revoked: (id) => this.#forget(id),
    };
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  /**
   * This node leads from now on, and has applied an entry of its own term, so that what earlier leaders logged is applied
   * too. Every lease gets what was last written down of it, and more.
   *
   * @param extensionMs for the time without a leader, in which nobody could renew: at least an election timeout
   */
  promote(nowMs: number, extensionMs: number): void {
    this.demote();
    this.#isLeading = true;
    this.#table.observer = this.#observer;
    for (const lease of this.#table.values()) {
      const timed = this.#begin(lease);
      this.#begun.delete(timed);
      this.#setEnd(timed, nowMs + lease.remainingMs + extensionMs, nowMs);
    }
  }

  /** This node leads no more: the clock knows nothing. */
  demote(): void {
    this.#isLeading = false;
    this.#table.observer = undefined;
    this.#timed.clear();
    this.#begun.clear();
    this.#revokeAtMs = Infinity;
    this.#checkpointAtMs = Infinity;
  }

  /** Renews a lease at the wish of its owner. */
  renew(id: bigint, nowMs: number): Renewal {
    this.#look(nowMs);
    const timed = this.#timed.get(id);
    if (timed?.endsAtMs === undefined) return 'unknown';
    if (timed.endsAtMs <= nowMs) return 'expired';
    const { lease } = timed;
    const wholeMs = lease.ttlSeconds * 1000;
    if (timed.checkpointsPending > 0 || lease.remainingMs < wholeMs) return 'throughLog';
    this.#setEnd(timed, Math.max(timed.endsAtMs, nowMs + wholeMs), nowMs);
    return 'renewed';
  }

  /** Milliseconds left, 0 for one that has run out; undefined for one that is not known here, or anywhere. */
  remainingMs(id: bigint, nowMs: number): number | undefined {
    this.#look(nowMs);
    const endsAtMs = this.#timed.get(id)?.endsAtMs;
    return endsAtMs === undefined ? undefined : Math.max(0, endsAtMs - nowMs);
  }

  /** Up to `max` leases that have run out: propose to revoke each. Those that stay are named again after {@link REVOKE_RETRY_MS}. */
  expired(nowMs: number, max: number): readonly bigint[] {
    this.#look(nowMs);
    if (nowMs < this.#revokeAtMs) return [];
    const ids: bigint[] = [];
    this.#revokeAtMs = Infinity;
    for (const [id, timed] of this.#timed) {
      if (timed.dueAtMs <= nowMs && ids.length < max) {
        ids.push(id);
        timed.dueAtMs = nowMs + REVOKE_RETRY_MS;
      }
      this.#revokeAtMs = Math.min(this.#revokeAtMs, timed.dueAtMs);
    }
    return ids;
  }

  /** What is left of up to `max` long leases, that is worth a `leaseCheckpoint`: propose one. */
  checkpointsDue(nowMs: number, max: number): readonly LeaseRemaining[] {
    this.#look(nowMs);
    if (nowMs < this.#checkpointAtMs) return [];
    const due: LeaseRemaining[] = [];
    this.#checkpointAtMs = Infinity;
    for (const [id, timed] of this.#timed) {
      const endsAtMs = timed.endsAtMs ?? nowMs;
      if (timed.checkpointAtMs <= nowMs && due.length < max) {
        const remainingMs = Math.ceil(endsAtMs - nowMs);
        if (remainingMs > 0) {
          due.push({ id, remainingMs });
          timed.checkpointsPending += 1;
        }
        timed.checkpointAtMs = nextCheckpoint(endsAtMs, nowMs);
      }
      this.#checkpointAtMs = Math.min(this.#checkpointAtMs, timed.checkpointAtMs);
    }
    return due;
  }

  /** The clock needs no look before this time; Infinity when nothing will ever be due. */
  nextDueMs(nowMs: number): number {
    this.#look(nowMs);
    return Math.min(this.#revokeAtMs, this.#checkpointAtMs);
  }

  #begin(lease: Lease): Timed {
    const known = this.#timed.get(lease.id);
    const timed: Timed = {
      lease,
      endsAtMs: undefined,
      dueAtMs: Infinity,
      checkpointAtMs: Infinity,
      checkpointsPending: known?.checkpointsPending ?? 0,
    };
    if (known !== undefined) this.#begun.delete(known);
    this.#timed.set(lease.id, timed);
    this.#begun.add(timed);
    return timed;
  }

  #forget(id: bigint): void {
    const timed = this.#timed.get(id);
    if (timed === undefined) return;
    this.#timed.delete(id);
    this.#begun.delete(timed);
  }

  /** Starts the time of those that began since the last look. */
  #look(nowMs: number): void {
    for (const timed of this.#begun) this.#setEnd(timed, nowMs + timed.lease.ttlSeconds * 1000, nowMs);
    this.#begun.clear();
  }

  #setEnd(timed: Timed, endsAtMs: number, nowMs: number): void {
    timed.endsAtMs = endsAtMs;
    timed.dueAtMs = endsAtMs;
    timed.checkpointAtMs = nextCheckpoint(endsAtMs, nowMs);
    this.#revokeAtMs = Math.min(this.#revokeAtMs, timed.dueAtMs);
    this.#checkpointAtMs = Math.min(this.#checkpointAtMs, timed.checkpointAtMs);
  }
}

/** A lease that ends before it would be written down need not be. */
function nextCheckpoint(endsAtMs: number, nowMs: number): number {
  const atMs = nowMs + CHECKPOINT_INTERVAL_MS;
  return atMs < endsAtMs ? atMs : Infinity;
}
