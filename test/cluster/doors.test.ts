/** The JSON-lines doors of real nodes, and nodes that talk over TCP as processes do. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/json-lines-client.ts';
import { type SingleNode, startSingleNode } from '../../src/cluster/single.ts';
import { at } from '../../src/lib/assert.ts';
import { freePorts } from '../live/child.ts';
import { followersOf, say, started, temporaryDirectory, until } from './support.ts';

describe('Cluster doors', () => {
  test('take any request on every node and pass it on to the leader', async () => {
    const cluster = await started({ doors: true });
    for (const writer of cluster.nodes) {
      const value = `by ${writer.id}`;
      expect(await say(writer.client, { Set: { key: 'a', value } })).toMatchObject({ status: 'ok' });
      for (const reader of cluster.nodes) {
        expect(await say(reader.client, { Get: { key: 'a' } })).toEqual({ status: 'ok', data: value });
      }
    }
    const [follower] = followersOf(cluster);
    expect(await say(follower?.client ?? '', { Get: { key: 'b' } })).toEqual({ status: 'not_found' });
    const client = await connect(cluster.nodes.map((node) => node.client));
    onTestFinished(() => client.close());
    expect(await client.getText('a')).toBe('by 3');
    expect(await cluster.client().getText('a')).toBe('by 3');
  });

  test('with forward off: a follower says that it is not a leader, and who is', async () => {
    const cluster = await started({ doors: { basePort: await freePorts(3), forward: false } });
    const leader = await cluster.leader();
    const [follower] = followersOf(cluster);
    const address = follower?.client ?? '';
    await until('the follower knows where the leader listens', async () => {
      const answer = await say(address, { Set: { key: 'a', value: '1' } });
      return JSON.stringify(answer).includes(leader.client);
    });
    expect(await say(address, { Get: { key: 'a' } })).toEqual({
      error: 'Not a leader. Please connect to the leader node.',
      code: 'not_leader',
      leader: { id: leader.id, client: leader.client },
    });
    expect(await say(leader.client, { Set: { key: 'a', value: '1' } })).toMatchObject({ status: 'ok' });
    // A client that is given a follower only finds the leader by that answer.
    const client = await connect([address]);
    onTestFinished(() => client.close());
    expect(await client.getText('a')).toBe('1');
  });

  test('close with a crash and open again at the same address', async () => {
    const cluster = await started({ doors: true });
    const [follower] = followersOf(cluster);
    if (follower === undefined) throw new Error('There is no follower');
    const address = follower.client;
    await follower.crash();
    await expect(say(address, { Get: { key: 'a' } })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await follower.restart();
    expect(follower.client).toBe(address);
    expect(await say(address, { Get: { key: 'a' } })).toEqual({ status: 'not_found' });
  });
});

describe('startSingleNode()', () => {
  test('makes a cluster of nodes over TCP, which survives the stop of one and takes it back', async () => {
    const directory = temporaryDirectory();
    const basePort = await freePorts(6);
    const addresses = [0, 1, 2].map((i) => `127.0.0.1:${basePort + i}`);
    const doors = [3, 4, 5].map((i) => `127.0.0.1:${basePort + i}`);
    const start = async (id: number): Promise<SingleNode> => {
      const node = await startSingleNode({
        id,
        addr: at(addresses, id - 1),
        clientAddr: at(doors, id - 1),
        peers: addresses.map((addr, i) => ({ id: i + 1, addr })).filter((peer) => peer.id !== id),
        dataDir: `${directory}/${id}`,
        forward: true,
      });
      onTestFinished(() => node.stop());
      return node;
    };
    const nodes = await Promise.all([1, 2, 3].map(start));
    const client = await connect(doors, { timeoutMs: 20_000 });
    onTestFinished(() => client.close());
    for (const [i, door] of doors.entries()) {
      expect(await say(door, { Set: { key: `k${i}`, value: String(i) } })).toMatchObject({ status: 'ok' });
    }
    await at(nodes, 0).stop();
    await client.set('without', 'one');
    await start(1);
    expect(await say(at(doors, 0), { Get: { key: 'without' } })).toEqual({ status: 'ok', data: 'one' });
    expect(await client.scan('k')).toHaveLength(3);
  });

  test('refuses an address that is none, and a port that is taken', async () => {
    const dataDir = temporaryDirectory();
    const port = await freePorts(2);
    const options = { id: 1, clientAddr: `127.0.0.1:${port}`, peers: [], dataDir, forward: true };
    await expect(startSingleNode({ ...options, addr: 'nowhere' })).rejects.toMatchObject({
      code: 'bad_request',
    });
    const node = await startSingleNode({ ...options, addr: `127.0.0.1:${port + 1}` });
    onTestFinished(() => node.stop());
    await expect(
      startSingleNode({ ...options, addr: `127.0.0.1:${port + 1}`, dataDir: `${dataDir}/2` }),
    ).rejects.toMatchObject({ name: 'StartError', code: 'EADDRINUSE' });
  });
});
