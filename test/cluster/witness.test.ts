/** A cluster of real threads with two full copies and a witness, through the losses that it is for. */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Cluster } from '../../src/cluster/cluster.ts';
import type { NodeStanding } from '../../src/cluster/view.ts';
import { accountOf, codeOf, say, started, temporaryDirectory, until } from './support.ts';

function standingOf(cluster: Cluster, id: number): NodeStanding | undefined {
  return cluster.view().nodes.find((node) => node.id === id)?.standing;
}

/** Bytes of everything that a node keeps. */
function bytesIn(directory: string): number {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(directory, name)))
    .reduce((sum, entry) => sum + (entry.isFile() ? entry.size : 0), 0);
}

const LARGE = 'x'.repeat(10_000);

describe('Cluster.addNode({ witness: true })', () => {
  test('lets two copies survive the loss of one, and keeps no data', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ nodes: 2, dataDir, doors: true, snapshotEntries: 20 });
    const client = cluster.client();
    for (let i = 0; i < 50; i++) await client.set(`k${i}`, LARGE); // oxlint-disable-line no-await-in-loop -- one after the other
    const witness = await cluster.addNode({ witness: true });
    await until('the view shows the witness', () => standingOf(cluster, witness.id) === 'witness');
    expect(cluster.view()).toMatchObject({ quorum: 2, isJoint: false });

    // Asked for data, it asks the leader.
    expect(await say(witness.client, { Get: { key: 'k7' } })).toEqual({ status: 'ok', data: LARGE });
    expect(await say(witness.client, { Set: { key: 'by the witness', value: '1' } })).toMatchObject({
      status: 'ok',
    });
    expect(await codeOf(cluster.transferLeader(witness.id))).toBe('bad_request');
    expect(await codeOf(cluster.replaceNode(witness.id))).toBe('bad_request');

    // The loss of a copy, the leader, costs nothing.
    const first = await cluster.leader();
    await first.crash();
    const index = await client.set('without the first', '1');
    const second = await cluster.leader();
    expect(second.id).toBe(3 - first.id);
    await first.restart();
    // Its own newest account: until it has this entry, only the witness and the other copy could vouch for it.
    await until('the first has caught up', () => (accountOf(cluster, first.id)?.applied ?? 0) >= index);
    await second.crash();
    expect(await client.getText('without the first')).toBe('1');
    await client.set('without the second', '1');
    await second.restart();

    expect(cluster.view().nodes[2]?.account).toMatchObject({ role: 'follower', keyCount: 0 });
    expect(bytesIn(join(dataDir, 'node-3'))).toBeLessThan(bytesIn(join(dataDir, 'node-1')) / 5);
    await cluster.stop();

    // What it is stands in its directory.
    const again = await started({ dataDir });
    await until('the witness is one still', () => standingOf(again, 3) === 'witness');
    expect(readFileSync(join(dataDir, 'node-3', 'node.json'), 'utf8')).toContain('"witness":true');
    expect(await again.client({ node: 3 }).getText('without the second')).toBe('1');
    const last = await again.client().set('for both', '1');
    await until('both copies have it', () =>
      [1, 2].every((id) => (accountOf(again, id)?.applied ?? 0) >= last),
    );
    await again.node(1).crash();
    await again.client().set('once more', '1');
  });

  test('is refused where a majority would keep nothing, with nothing left of the node', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ nodes: 1, dataDir });
    await cluster.addNode({ witness: true });
    expect(await codeOf(cluster.addNode({ witness: true }))).toBe('bad_request');
    expect(await codeOf(cluster.addNode({ witness: true, learner: true }))).toBe('bad_request');
    expect(cluster.nodes.map(({ id }) => id)).toEqual([1, 2]);
    expect(existsSync(join(dataDir, 'node-3'))).toBe(false);
    await cluster.client().set('a', '1');
  });

  test('begins anew where the log of the leader begins, and gets no rows', async () => {
    const cluster = await started({ nodes: 2 });
    const witness = await cluster.addNode({ witness: true });
    const client = cluster.client();
    await witness.crash();
    for (let i = 0; i < 30; i++) await client.set(`k${i}`, LARGE); // oxlint-disable-line no-await-in-loop -- one after the other
    for (const id of [1, 2]) await cluster.node(id).compact(); // oxlint-disable-line no-await-in-loop -- one after the other
    await witness.restart();
    await until('it has caught up', () => {
      const [one, , three] = cluster.view().nodes;
      return three?.account !== undefined && three.account.commit === one?.account?.commit;
    });
    const account = cluster.view().nodes[2]?.account;
    expect(account).toMatchObject({ keyCount: 0 });
    expect(account?.first).toBeGreaterThan(30);
    const leader = await cluster.leader();
    await leader.crash();
    await client.set('still', 'there');
    await leader.restart();
    await witness.crash();
    await witness.restart();
    await cluster.node(1).crash();
    expect(await client.getText('still')).toBe('there');
  });
});
