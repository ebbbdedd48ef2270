import { describe, expect, it } from 'vitest';
import { CHECKPOINT_INTERVAL_MS, LeaseClock, REVOKE_RETRY_MS } from '../../src/kv/lease-clock.ts';
import { LeaseTable } from '../../src/kv/leases.ts';
import type { Operation } from '../../src/kv/operation.ts';
import { defined } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';

const LEASE_COUNT = 6;

/** A cluster as leases see it: one log, one table that applies it late, and one leader's clock after the other. */
class World {
  readonly random: Random;
  readonly table = new LeaseTable();
  clock = new LeaseClock(this.table);
  nowMs = 0;
  readonly log: Operation[] = [];
  /** Until when the owner of a lease was promised it, at the time of the promise. */
  readonly promisedUntilMs = new Map<bigint, number>();
  /** Renewals that wait for the log. */
  readonly waiting = new Set<bigint>();
  expiredCount = 0;
  throughLogCount = 0;

  constructor(seed: number) {
    this.random = new Random(`leases ${seed}`);
    this.clock.promote(0, 0);
  }

  promise(id: bigint): void {
    const lease = this.table.get(id);
    if (lease !== undefined) this.promisedUntilMs.set(id, this.nowMs + lease.ttlSeconds * 1000);
  }

  applyOne(): void {
    const operation = this.log.shift();
    if (operation === undefined) return;
    if (operation.kind === 'leaseGrant') {
      if (typeof this.table.grant(operation.id, operation.ttlSeconds) !== 'string')
        this.promise(operation.id);
    } else if (operation.kind === 'leaseKeepAlive') {
      if (this.table.keepAlive(operation.id) !== undefined && this.waiting.delete(operation.id))
        this.promise(operation.id);
    } else if (operation.kind === 'leaseCheckpoint') {
      for (const { id, remainingMs } of operation.remaining) this.table.checkpoint(id, remainingMs);
    } else if (operation.kind === 'leaseRevoke' && this.table.has(operation.id)) {
      this.table.revoke(operation.id);
      this.promisedUntilMs.delete(operation.id);
    }
  }

  step(): void {
    const { random } = this;
    this.nowMs += random.int(0, random.chance(0.1) ? 120_000 : 2_000);
    const id = BigInt(random.int(1, LEASE_COUNT));
    const kind = random.int(0, 9);
    if (kind < 2) {
      if (!this.table.has(id))
        this.log.push({ kind: 'leaseGrant', id, ttlSeconds: random.int(1, random.chance(0.5) ? 20 : 2_000) });
    } else if (kind < 5) {
      const renewal = this.clock.renew(id, this.nowMs);
      if (renewal === 'renewed') this.promise(id);
      if (renewal === 'throughLog') {
        this.throughLogCount += 1;
        this.waiting.add(id);
        this.log.push({ kind: 'leaseKeepAlive', id });
      }
    } else if (kind < 6 && random.chance(0.2)) this.changeLeader();
    for (const gone of this.clock.expired(this.nowMs, 3)) {
      const until = this.promisedUntilMs.get(gone) ?? 0;
      expect(this.nowMs, `lease ${gone} ends before its time`).toBeGreaterThanOrEqual(until);
      this.expiredCount += 1;
      this.log.push({ kind: 'leaseRevoke', id: gone });
    }
    const remaining = this.clock.checkpointsDue(this.nowMs, 3);
    if (remaining.length > 0) this.log.push({ kind: 'leaseCheckpoint', remaining });
    if (random.chance(0.6)) this.applyOne();
  }

  /** Part of what the old leader proposed is lost; the new one applies the rest before it begins. */
  changeLeader(): void {
    this.clock.demote();
    this.waiting.clear();
    this.log.splice(this.random.int(0, this.log.length));
    while (this.log.length > 0) this.applyOne();
    this.nowMs += this.random.int(0, 5_000);
    this.clock = new LeaseClock(this.table);
    this.clock.promote(this.nowMs, 1_000);
  }
}

describe('LeaseClock', () => {
  it('never ends a lease before its time, whoever leads and whatever is lost', () => {
    let expired = 0;
    let throughLog = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const world = new World(seed);
      for (let i = 0; i < 500; i++) world.step();
      expired += world.expiredCount;
      throughLog += world.throughLogCount;
    }
    expect(expired).toBeGreaterThan(100);
    expect(throughLog).toBeGreaterThan(50);
  });

  it('ends every lease that nobody renews', () => {
    const world = new World(0);
    for (let i = 0; i < 500; i++) world.step();
    for (let i = 0; i < 100 && world.table.count > 0; i++) {
      world.nowMs += 100_000;
      for (const id of world.clock.expired(world.nowMs, 100)) world.log.push({ kind: 'leaseRevoke', id });
      while (world.log.length > 0) world.applyOne();
    }
    expect(world.table.count).toBe(0);
  });

  it('says when it wants to be looked at', () => {
    const table = new LeaseTable();
    const clock = new LeaseClock(table);
    clock.promote(0, 0);
    expect(clock.nextDueMs(0)).toBe(Infinity);
    table.grant(1n, 10);
    table.grant(2n, 1_000);
    expect(clock.nextDueMs(5)).toBe(10_005);
    expect(clock.expired(10_005, 9)).toEqual([1n]);
    expect(clock.nextDueMs(10_005)).toBe(10_005 + REVOKE_RETRY_MS);
    table.revoke(1n);
    expect(clock.expired(10_005 + REVOKE_RETRY_MS, 9)).toEqual([]);
    expect(clock.nextDueMs(20_000)).toBe(5 + CHECKPOINT_INTERVAL_MS);
    clock.demote();
    expect(clock.nextDueMs(20_000)).toBe(Infinity);
    expect(defined(table.get(2n), 'lease').ttlSeconds).toBe(1_000);
  });
});
