/** Reads on real threads, however they are answered: by a round, from a lease, at a follower, from a cluster that sleeps. */
import { describe, expect, test } from 'vitest';
import { Cluster } from '../../src/index.ts';
import type { ClusterOptions } from '../../src/cluster/api.ts';

const KINDS: readonly (readonly [string, ClusterOptions])[] = [
  ['by a round of messages', {}],
  ['from a lease', { leaseReads: true }],
  ['from a cluster that sleeps', { sleepAfterMs: 150 }],
];

describe.each(KINDS)('a read %s', (_, options) => {
  test('sees what was written, at every node, also after the leader is gone', async () => {
    await using cluster = await Cluster.start({ nodes: 3, electionMs: 100, heartbeatMs: 20, ...options });
    const writer = cluster.client();
    const readers = [1, 2, 3].map((node) => cluster.client({ node }));
    for (let i = 0; i < 5; i++) {
      // oxlint-disable-next-line no-await-in-loop -- each read follows its write
      await writer.set('key', `value ${i}`);
      // oxlint-disable-next-line no-await-in-loop -- as above
      const seen = await Promise.all(readers.map((reader) => reader.getText('key')));
      expect(seen).toEqual([`value ${i}`, `value ${i}`, `value ${i}`]);
    }
    const leader = await cluster.leader();
    await leader.crash();
    await writer.set('key', 'after the crash');
    const left = readers.filter((_reader, i) => i + 1 !== leader.id);
    expect(await Promise.all(left.map((reader) => reader.getText('key')))).toEqual([
      'after the crash',
      'after the crash',
    ]);
  });
});
