/** One node at its edges: what it does when snapshots, disks, peers and requests come together in an unlucky way. */
import { describe, expect, test } from 'vitest';
import { Solo, setEntries, snapshotPart } from './solo.ts';

describe('Node with a snapshot from a leader', () => {
  test('says that it has applied what the snapshot holds', () => {
    const solo = new Solo().greet();
    solo.hear(2, snapshotPart(1, { index: 30, term: 1 }));
    solo.turn();
    expect(solo.node.status().raft).toMatchObject({ applied: 30, commit: 30 });
  });

  test('fails in order when it cannot be saved and committed entries wait behind it', () => {
    const solo = new Solo().greet();
    solo.fs.intercept = (call) =>
      call.path.includes('snapshots') ? { kind: 'error', errno: 'ENOSPC' } : undefined;
    const prev = { index: 0, term: 0 };
    const entries = setEntries(1, 1, 5);
    solo.hearRaft(2, { kind: 'append', term: 1, prev, entries, commit: 0, round: 1 });
    solo.hear(2, snapshotPart(1, { index: 3, term: 1 }));
    solo.hearRaft(2, { kind: 'heartbeat', term: 1, commit: 5, round: 2 });
    solo.turn();
    expect(solo.node.status()).toMatchObject({ storage: 'failed', keys: 0 });
  });
});
