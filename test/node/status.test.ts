/** What a node tells of itself: the account, and which events concern everybody. */
import { describe, expect, test } from 'vitest';
import type { NodeAccount } from '../../src/node/status.ts';
import { type NodeHost, NodeNetwork } from '../support/node-network.ts';

function leaderOf(network: NodeNetwork): NodeHost {
  expect(network.runUntil(() => network.leader !== undefined, 20_000)).toBe(true);
  network.run(network.nowMs + 1000);
  const { leader } = network;
  if (leader === undefined) throw new Error('A leader was expected');
  return leader;
}

function accounts(network: NodeNetwork): readonly NodeAccount[] {
  return network.hosts.map(({ running }) => running.account(network.nowMs));
}

describe('the account of a node', () => {
  test('tells how long a lease lasts, of the leader alone', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 1, raft: { leaseReads: true } });
    const leader = leaderOf(network);
    const { leaseMs } = leader.running.account(network.nowMs);
    expect(leaseMs).toBeGreaterThan(100);
    expect(leaseMs).toBeLessThanOrEqual(225);
    expect(accounts(network).filter((account) => account.leaseMs > 0)).toHaveLength(1);
    // The account is of that moment, and a lease that is over is none.
    expect(leader.running.account(network.nowMs + 300).leaseMs).toBe(0);
    const plain = new NodeNetwork({ nodes: 3, seed: 1 });
    leaderOf(plain);
    expect(accounts(plain).map((account) => account.leaseMs)).toEqual([0, 0, 0]);
  });

  test('tells to whom the leader hands over, as long as it does', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 1 });
    const { id, running } = leaderOf(network);
    const to = (id % 3) + 1;
    network.link(id, to, { blocked: true });
    const request = network.submit(id, { kind: 'transferLeader', to });
    network.run(network.nowMs + 10);
    expect(running.account(network.nowMs).transferTo).toBe(to);
    expect(network.runUntil(() => request.outcome !== undefined, 5000)).toBe(true);
    expect(accounts(network).map((account) => account.transferTo)).toEqual([0, 0, 0]);
    expect(request.outcome).toMatchObject({ kind: 'error', code: 'unknown' });
  });
});

describe('a change of members', () => {
  test('is told to everybody by the leader alone', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 1 });
    const { id: leader } = leaderOf(network);
    const told: string[] = [];
    network.afterTurn = ({ id, running }) => {
      for (const { kind, level } of running.takeEvents().events)
        if (kind === 'config') told.push(`${id === leader ? 'leader' : 'follower'} ${level}`);
    };
    const joined = network.join();
    const changes = [{ kind: 'add', node: joined, address: '' }] as const;
    expect(network.ask(leader, { kind: 'changeMembers', changes })).toMatchObject({ kind: 'ok' });
    network.run(network.nowMs + 3000);
    expect([...new Set(told)].toSorted()).toEqual(['follower 2', 'leader 1']);
    expect(told.filter((one) => one === 'leader 1').length).toBeGreaterThan(3);
    expect(told.filter((one) => one === 'follower 2').length).toBeGreaterThan(6);
  });
});
