/** Who may go on leading: leases of earlier terms, and disks that are too slow (I25, I28). */
import { describe, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { bootstrapConfig } from '../../src/raft/membership.ts';
import { Leadership } from '../../src/sim/leadership.ts';
import { Seat } from '../../src/sim/seat.ts';
import { FakeNode } from './fake-node.ts';
import { expectViolation } from './story.ts';

const NOTHING = { diskMs: 0, appended: 0 };

/** A node that leads a term, and may read by its lease until its own clock shows `leaseUntilMs`. */
function leader(id: number, term: number, leaseUntilMs = 0, voters: readonly number[] = [1, 2, 3]): Seat {
  const seat = new Seat(id, new Random(id), 10);
  const node = new FakeNode(id, voters);
  node.leads(term);
  node.leaseUntilMs = leaseUntilMs;
  const { raft, storage } = node.show();
  const base = { index: 0, term: 0 };
  seat.sight = {
    raft,
    storage,
    base,
    isAbstaining: false,
    cutAfter: undefined,
    appended: [],
    snapshotIndex: 0,
    stateHash: '',
  };
  seat.life = 1;
  return seat;
}

describe('a lease of an earlier term', () => {
  test('has ended when a later leader is there', () => {
    const judge = new Leadership({ storageStallMs: 100 });
    const winner = leader(2, 5);
    judge.observed(winner, NOTHING, [leader(1, 4, 1000), winner], 1000);
    expectViolation('I25 fresh reads', () =>
      new Leadership({ storageStallMs: 100 }).observed(winner, NOTHING, [leader(1, 4, 1001), winner], 1000),
    );
  });

  test('is measured by the clock of its holder', () => {
    const winner = leader(2, 5);
    const old = leader(1, 4, 1000);
    old.clock.setRate(0.5, 0);
    expectViolation('I25 fresh reads', () =>
      new Leadership({ storageStallMs: 100 }).observed(winner, NOTHING, [old], 1999),
    );
    new Leadership({ storageStallMs: 100 }).observed(winner, NOTHING, [old], 2000);
  });

  test('is compared once for each election, and not with later terms', () => {
    const judge = new Leadership({ storageStallMs: 100 });
    judge.observed(leader(2, 5), NOTHING, [leader(1, 6, 9000)], 0);
    judge.observed(leader(2, 5), NOTHING, [leader(1, 4, 9000)], 0);
  });
});

describe('a disk that is too slow for a leader', () => {
  const slow = { diskMs: 101, appended: 1 };

  function afterTurn(syncMs: number, turn: typeof slow, voters?: readonly number[]): () => void {
    const judge = new Leadership({ storageStallMs: 100 });
    const seat = leader(1, 3, 0, voters);
    seat.syncMs = syncMs;
    // In the turn in which it wins it may write, and then finds out.
    judge.observed(seat, slow, [seat], 0);
    return () => judge.observed(seat, turn, [seat], 10);
  }

  test('costs it its place', () => {
    expectViolation('I28 availability', afterTurn(101, slow));
  });

  test('does not when it is fast enough, when nothing was written, or when nobody else can lead', () => {
    afterTurn(100, slow)();
    afterTurn(101, { diskMs: 101, appended: 0 })();
    afterTurn(101, slow, bootstrapConfig([1]).voters)();
  });
});
