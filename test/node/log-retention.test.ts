/** The log waits for followers that are catching up behind a snapshot, and for nobody for ever. */
import { describe, expect, test } from 'vitest';
import { LogRetention, type RetentionView } from '../../src/node/log-retention.ts';
import type { PeerProgress } from '../../src/raft/messages.ts';

const VIEW: RetentionView = {
  nowMs: 0,
  snapshotIndex: 1000,
  trailingEntries: 10,
  snapshotEntries: 100,
  walBytes: 1,
  peers: [],
  sending: new Map(),
};

function peer(id: number, match: number): PeerProgress {
  return { id, mode: 'replicate', match, next: match + 1 };
}

describe('LogRetention', () => {
  test('keeps what trails behind a snapshot, and not below the beginning', () => {
    const retention = new LogRetention();
    expect(retention.floor(VIEW)).toBe(990);
    expect(retention.floor({ ...VIEW, trailingEntries: 0 })).toBe(1000);
    expect(retention.floor({ ...VIEW, snapshotIndex: 4 })).toBe(0);
  });

  test('keeps what is behind a snapshot on its way, within four times the usual', () => {
    const retention = new LogRetention();
    expect(retention.floor({ ...VIEW, sending: new Map([[2, 700]]) })).toBe(700);
    expect(retention.floor({ ...VIEW, sending: new Map([[2, 600]]) })).toBe(600);
    expect(retention.floor({ ...VIEW, sending: new Map([[2, 599]]) })).toBe(990);
    const both = new Map([
      [2, 700],
      [3, 100],
    ]);
    expect(retention.floor({ ...VIEW, sending: both })).toBe(700);
    expect(retention.floor({ ...VIEW, sending: both, walBytes: 2 ** 31 + 1 })).toBe(990);
  });

  test('keeps what a follower needs that has just got a snapshot, as long as it comes nearer', () => {
    const retention = new LogRetention();
    retention.delivered(2, 700, 0);
    expect(retention.floor({ ...VIEW, peers: [peer(2, 650)] })).toBe(700);
    expect(retention.floor({ ...VIEW, nowMs: 50_000, peers: [peer(2, 750)] })).toBe(750);
    expect(retention.floor({ ...VIEW, nowMs: 110_000, peers: [peer(2, 750)] })).toBe(750);
    expect(retention.floor({ ...VIEW, nowMs: 110_001, peers: [peer(2, 750)] })).toBe(990);
  });

  test('forgets a follower that has caught up or is no member any more', () => {
    for (const peers of [[peer(2, 990)], [peer(3, 1)]]) {
      const retention = new LogRetention();
      retention.delivered(2, 700, 0);
      expect(retention.floor({ ...VIEW, peers })).toBe(990);
      expect(retention.floor({ ...VIEW, peers: [peer(2, 800)] })).toBe(990);
    }
  });
});
