/** Changes of members in the core: what takes effect when, who is counted, and that a cluster comes through. */
import { describe, expect, it } from 'vitest';
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
