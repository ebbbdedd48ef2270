/** Members of a cluster of real threads: added, removed, replaced, and found again after a restart. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Cluster } from '../../src/cluster/cluster.ts';
import type { NodeStanding } from '../../src/cluster/view.ts';
import { codeOf, eventsOf, say, started, temporaryDirectory, until } from './support.ts';

function standings(cluster: Cluster): readonly (readonly [number, NodeStanding])[] {
  return cluster.view().nodes.map(({ id, standing }) => [id, standing]);
}

/** Waits until the view shows these voters and nobody else. */
async function voters(cluster: Cluster, ids: readonly number[]): Promise<void> {
  const wanted = JSON.stringify(ids.map((id) => [id, 'voter']));
  await until(`the voters are ${ids.join(' ')}`, () => JSON.stringify(standings(cluster)) === wanted);
}

describe('Cluster.addNode()', () => {
  test('starts a node that votes, serves clients, and is found again after a restart', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ nodes: 3, dataDir, doors: true });
    const client = cluster.client();
    await client.set('before', '1');
    const added = await cluster.addNode();
    expect(added.id).toBe(4);
    await voters(cluster, [1, 2, 3, 4]);
    expect(cluster.view()).toMatchObject({ quorum: 3, isJoint: false });
    expect(await say(added.client, { Get: { key: 'before' } })).toEqual({ status: 'ok', data: '1' });
    const own = cluster.client({ node: 4 });
    expect(await own.getText('before')).toBe('1');
    // It counts: two of four are no majority.
    await cluster.node(1).crash();
    await client.set('with three', '1');
    await cluster.stop();

    const again = await started({ dataDir });
    expect(again.nodes.map((node) => node.id)).toEqual([1, 2, 3, 4]);
    await voters(again, [1, 2, 3, 4]);
    expect(await again.client().getText('with three')).toBe('1');
    await again.stop();
    const asked = await started({ dataDir, nodes: 3 });
    expect(asked.nodes).toHaveLength(4);
    await asked.stop();
    await expect(Cluster.start({ dataDir, nodes: 5 })).rejects.toThrow(
      `Cannot open "${dataDir}": it holds a cluster of 4 nodes, which began with 3, not 5`,
    );
  });

  test('of a learner: it receives everything and is counted nowhere, until it is promoted', async () => {
    const cluster = await started({ nodes: 1 });
    const client = cluster.client();
    await client.set('a', '1');
    const learner = await cluster.addNode({ learner: true });
    await until('the view shows the learner', () => standings(cluster)[1]?.[1] === 'learner');
    expect(cluster.view().quorum).toBe(1);
    await until('it holds everything', () => cluster.view().nodes[1]?.account?.keyCount === 1);
    await learner.crash();
    await client.set('a', '2');
    await learner.restart();
    await cluster.promoteNode(learner.id);
    await voters(cluster, [1, 2]);
    await learner.crash();
    expect(await codeOf(cluster.client({ timeoutMs: 500 }).set('a', '3'))).toMatch(/unknown|unavailable/);
  });

  test('that cannot be decided rejects, and leaves the cluster as it was', async () => {
    const cluster = await started({ nodes: 3 });
    const [a, b] = cluster.nodes.filter((node) => node.id !== cluster.view().leader);
    await Promise.all([a?.crash(), b?.crash()]);
    expect(await codeOf(cluster.addNode({ timeoutMs: 700 }))).toMatch(/unavailable|unknown/);
    await Promise.all([a?.restart(), b?.restart()]);
    // What was asked for last may or may not have been done; it can be undone by hand.
    await cluster.leader();
    for (const { id } of cluster.nodes) {
      // oxlint-disable-next-line no-await-in-loop -- one change after the other
      if (id > 3) await cluster.removeNode(id);
    }
    await voters(cluster, [1, 2, 3]);
    expect(await cluster.client().set('a', '1')).toBeGreaterThan(0);
  });

  test('after a stop rejects', async () => {
    const cluster = await started({ nodes: 1 });
    const adding = codeOf(cluster.addNode());
    await cluster.stop();
    expect(await adding).toMatch(/closed|unknown|unavailable|no OxideError/);
    expect(await codeOf(cluster.addNode())).toBe('closed');
  });
});

describe('Cluster.removeNode()', () => {
  test('of a follower, of the leader, of a dead node: the rest goes on, and the ids are not used again', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ nodes: 5, dataDir });
    const client = cluster.client();
    await client.set('a', '1');
    const leader = await cluster.leader();
    const [dead = 0, ...rest] = cluster.nodes.filter((node) => node.id !== leader.id).map(({ id }) => id);
    await cluster.node(dead).crash();
    await cluster.removeNode(dead, { keepData: false });
    expect(existsSync(join(dataDir, `node-${dead}`))).toBe(false);
    await cluster.removeNode(leader.id);
    expect(existsSync(join(dataDir, `node-${leader.id}`))).toBe(true);
    expect(cluster.nodes.map((node) => node.id)).toEqual(rest);
    expect(() => cluster.node(leader.id)).toThrow(`There is no node ${leader.id}`);
    await voters(cluster, rest);
    expect(await client.getText('a')).toBe('1');
    expect((await cluster.addNode()).id).toBe(6);
    await cluster.stop();
    const again = await started({ dataDir });
    expect(again.nodes.map((node) => node.id)).toEqual([...rest, 6]);
    expect(await again.client().getText('a')).toBe('1');
  });

  test('refuses the last voter', async () => {
    const cluster = await started({ nodes: 1 });
    expect(await codeOf(cluster.removeNode(1))).toBe('cannot_remove_last_server');
    expect(await codeOf(cluster.removeNode(7))).toBe('bad_request');
    expect(await cluster.client().set('a', '1')).toBeGreaterThan(0);
  });

  test('forgets a node that somebody else removed', async () => {
    const cluster = await started({ nodes: 3, doors: true });
    const leader = await cluster.leader();
    const other = cluster.nodes.find((node) => node.id !== leader.id)?.id ?? 0;
    expect(await say(leader.client, { RemoveNode: { node_id: other } })).toMatchObject({ status: 'ok' });
    await until('the view shows it', () => cluster.view().nodes[other - 1]?.standing === 'none');
    expect(cluster.view().quorum).toBe(2);
    await cluster.removeNode(other);
    expect(cluster.nodes).toHaveLength(2);
  });
});

describe('Cluster.replaceNode()', () => {
  test('lets a wiped node be followed by another, under a partition that does not name it', async () => {
    const cluster = await started({ nodes: 3 });
    const events = eventsOf(cluster);
    await cluster.client().set('a', '1');
    const leader = await cluster.leader();
    const lost = cluster.nodes.find((node) => node.id !== leader.id);
    await lost?.wipe();
    await lost?.restart();
    await until('it is refused', () =>
      events.some(
        ({ node, text }) => node === lost?.id && /^is refused by n\d: n\d is on a new data/.test(text),
      ),
    );
    const added = await cluster.replaceNode(lost?.id ?? 0, { keepData: false });
    expect(added.id).toBe(4);
    const rest = [1, 2, 3, 4].filter((id) => id !== lost?.id);
    await voters(cluster, rest);
    // The links of the new node obey like those of the old ones.
    cluster.isolate(4);
    await cluster.client().set('a', '2');
    cluster.rejoin(4);
    await until('it follows', () =>
      cluster.view().nodes.every(({ account }) => account?.applied === account?.commit),
    );
  });
});

describe('Cluster.transferLeader() and ClusterNode.compact()', () => {
  test('to a node that cannot be reached: the outcome is unknown, and the old leader goes on', async () => {
    const cluster = await started();
    const leader = await cluster.leader();
    const to = cluster.nodes.find(({ id }) => id !== leader.id)?.id ?? 0;
    cluster.link(leader.id, to, { blocked: true });
    await expect(cluster.transferLeader(to, { timeoutMs: 1500 })).rejects.toMatchObject({
      code: 'unknown',
      message: 'Not within 1500 ms: leadership is handed over, and it may or may not be still',
    });
    expect((await cluster.leader()).id).toBe(leader.id);
    expect(await cluster.client().set('a', '1')).toBeGreaterThan(0);
  });

  test('hand over, and save a snapshot', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ nodes: 3, dataDir });
    const before = await cluster.leader();
    const to = cluster.nodes.find((node) => node.id !== before.id);
    expect(await cluster.transferLeader(to?.id)).toBe(to);
    await until('it leads', () => cluster.view().leader === to?.id);
    expect((await cluster.transferLeader()).id).not.toBe(to?.id);
    const index = await cluster.client().set('a', '1');
    await until('node 1 has it', () => (cluster.view().nodes[0]?.account?.applied ?? 0) >= index);
    const held = await cluster.node(1).compact();
    expect(held).toBeGreaterThanOrEqual(index);
    await until('the log is gone', () => cluster.view().nodes[0]?.account?.first === held + 1);
    await cluster.stop();
    const record: unknown = JSON.parse(readFileSync(join(dataDir, 'cluster.json'), 'utf8'));
    expect(record).toMatchObject({ format: 1, nodes: 3, nextId: 4, removed: [] });
  });
});
