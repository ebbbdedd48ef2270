/** Changes of members in the core: what takes effect when, who is counted, and that a cluster comes through. */
import { describe, expect, it } from 'vitest';
import {
  bootstrapConfig,
  configAfter,
  configAfterJoint,
  decodeConfig,
  encodeConfig,
} from '../../src/raft/membership.ts';
import { RaftNetwork } from '../support/raft-network.ts';

/** Delivers everything at once, for a while. */
function settle(network: RaftNetwork, ms: number): void {
  const deliver = (): void => {
    while (network.packets.length > 0) network.deliver(network.packets);
  };
  deliver();
  network.advance(network.nowMs + ms, deliver);
}

describe('a change of members', () => {
  it('adds a node that becomes a voter by itself, and removes the leader', () => {
    const network = new RaftNetwork({ nodes: 4, voters: [1, 2, 3], seed: 1 });
    network.step(1, { kind: 'campaign' });
    settle(network, 100);
    expect(network.node(1).core.isLeader).toBe(true);
    network.changeMembers(1, 'add 4', { kind: 'add', node: 4, address: 'four' });
    settle(network, 300);
    for (const node of network.nodes) expect(node.core.config.voters).toEqual([1, 2, 3, 4]);
    network.changeMembers(1, 'remove 1', { kind: 'remove', node: 1 });
    settle(network, 2000);
    expect(network.node(1).core.isLeader).toBe(false);
    for (const id of [2, 3, 4]) expect(network.node(id).core.config.voters).toEqual([2, 3, 4]);
    expect(network.nodes.filter((node) => node.core.isLeader)).toHaveLength(1);
  });
});

describe('configAfter()', () => {
  const three = bootstrapConfig([1, 2, 3], new Map([[1, 'one']]));

  it('tells a member that was added again from the one it was', () => {
    const added = configAfter(three, [{ kind: 'add', node: 4, address: 'four' }], 10);
    if (!added.ok) throw new Error(added.problem);
    expect([...added.config.since]).toEqual([[4, 10]]);
    const removed = configAfter(added.config, [{ kind: 'remove', node: 4 }], 20);
    if (!removed.ok) throw new Error(removed.problem);
    expect([...removed.config.since]).toEqual([]);
    const again = configAfter(removed.config, [{ kind: 'add', node: 4, address: 'four' }], 30);
    if (!again.ok) throw new Error(again.problem);
    expect([...again.config.since]).toEqual([[4, 30]]);
    expect(decodeConfig(encodeConfig(again.config))).toEqual(again.config);
  });

  it('keeps what is known of a voter until it has left the joint configuration', () => {
    const change = configAfter(three, [{ kind: 'remove', node: 1 }], 10);
    if (!change.ok) throw new Error(change.problem);
    expect([...change.config.addresses]).toEqual([[1, 'one']]);
    expect([...configAfterJoint(change.config).addresses]).toEqual([]);
  });

  it('refuses to remove a node and add it again in one step: forgetful, it would count among the old voters', () => {
    const change = configAfter(
      three,
      [
        { kind: 'remove', node: 2 },
        { kind: 'add', node: 2, address: 'two' },
      ],
      10,
    );
    expect(change).toEqual({ ok: false, problem: 'named_twice', node: 2 });
  });
});
