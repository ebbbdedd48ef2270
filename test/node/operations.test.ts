/** Operations and queries on their way through nodes, and what a leader proposes by itself. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { encodeOperation, encodeQuery } from '../../src/kv/operation-codec.ts';
import { type Operation, type OperationResult, type QueryResult, keyOnly } from '../../src/kv/operation.ts';
import { decodeOperationResult, decodeQueryResult } from '../../src/kv/result-codec.ts';
import type { Reply } from '../../src/net/protocol.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import type { StorageChoice } from '../../src/storage/open-store.ts';
import { NodeNetwork, type NodeNetworkOptions } from '../support/node-network.ts';

const TINY: StorageChoice = {
  kind: 'lsm',
  options: { ...LSM_OPTIONS, memtableBytesMax: 2048, tableBytesMax: 1024, blockBytes: 256, level0Tables: 2 },
};
const STORES: readonly StorageChoice[] = [{ kind: 'memory' }, TINY];

function led(options: Partial<NodeNetworkOptions> = {}): {
  network: NodeNetwork;
  leader: number;
  follower: number;
} {
  const network = new NodeNetwork({ nodes: 3, seed: 5, ...options });
  expect(network.runUntil(() => network.leader !== undefined, 20_000)).toBe(true);
  const leader = network.leader?.id ?? 0;
  return { network, leader, follower: leader === 1 ? 2 : 1 };
}

function put(key: string, value: string, lease = 0n): Operation {
  const flags = { prevKv: false, ignoreValue: false, ignoreLease: false };
  return { kind: 'put', key, value: utf8(value), lease, ...flags };
}

function resultOf(reply: Reply): OperationResult {
  if (reply.kind !== 'result') throw new Error(`No result, but ${JSON.stringify(reply)}`);
  return decodeOperationResult(reply.result);
}

function operate(network: NodeNetwork, node: number, operation: Operation): OperationResult {
  return resultOf(network.ask(node, { kind: 'operation', operation: encodeOperation(operation) }));
}

function read(network: NodeNetwork, node: number, key: string, revision = 0): QueryResult {
  const query = encodeQuery({
    kind: 'range',
    range: keyOnly(key),
    revision,
    limit: 0,
    sortTarget: 'key',
    sortOrder: 'none',
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
    keysOnly: false,
    countOnly: false,
  });
  const reply = network.ask(node, { kind: 'query', query });
  if (reply.kind !== 'result') throw new Error(`No result, but ${JSON.stringify(reply)}`);
  return decodeQueryResult(reply.result);
}

describe.each(STORES)('operations and queries ($kind)', (storage) => {
  test('pass through any node, and read the past', () => {
    const { network, leader, follower } = led({ storage });
    const first = operate(network, follower, put('color', 'green'));
    expect(first).toMatchObject({ kind: 'put', revision: 2 });
    expect(operate(network, leader, put('color', 'blue'))).toMatchObject({ kind: 'put', revision: 3 });
    for (const node of [leader, follower]) {
      expect(read(network, node, 'color')).toMatchObject({
        revision: 3,
        rows: [{ value: utf8('blue'), version: 2 }],
      });
      expect(read(network, node, 'color', 2)).toMatchObject({ rows: [{ value: utf8('green'), version: 1 }] });
    }
  });

  test('are refused when they cannot be read, with certainty', () => {
    const { network, leader, follower } = led({ storage });
    for (const node of [leader, follower]) {
      expect(network.ask(node, { kind: 'operation', operation: utf8('?') })).toMatchObject({
        code: 'bad_request',
      });
      expect(network.ask(node, { kind: 'query', query: utf8('?') })).toMatchObject({ code: 'bad_request' });
    }
  });

  test('of one session and number happen once, and are answered alike', () => {
    const { network, leader } = led({ storage });
    const opened = network.ask(leader, { kind: 'openSession' });
    if (opened.kind !== 'session') throw new Error('A session was expected');
    const session = { id: opened.id, seq: 1, ackedBelow: 0 };
    const request = { kind: 'operation', operation: encodeOperation(put('a', '1')), session } as const;
    const answer = network.ask(leader, request);
    expect(network.ask(leader, request)).toEqual(answer);
    expect(read(network, leader, 'a')).toMatchObject({ rows: [{ version: 1 }] });
  });

  test('survive a crash of every node: checkpoint and log', () => {
    const { network, leader } = led({ storage, snapshotEntries: 10 });
    for (let i = 0; i < 60; i++) operate(network, leader, put(`k${i % 7}`, `${i} `.padEnd(100, '.')));
    for (const { id } of network.hosts) network.cutPower(id, 'worst');
    for (const { id } of network.hosts) network.start(id);
    expect(network.runUntil(() => network.leader !== undefined, 20_000)).toBe(true);
    const status = network.leader?.running.status();
    expect(status?.snapshotIndex).toBeGreaterThan(10);
    expect(status?.engine.kind).toBe(storage.kind);
    const result = read(network, 1, 'k3');
    expect(result).toMatchObject({ revision: 61, rows: [{ version: 9 }] });
  });
});

describe('what a leader proposes by itself', () => {
  test('ends leases that have run out, with their keys, also those that another leader has granted', () => {
    const { network, leader } = led();
    operate(network, leader, { kind: 'leaseGrant', id: 7n, ttlSeconds: 3 });
    operate(network, leader, put('a', 'attached', 7n));
    network.run(network.nowMs + 2000);
    expect(operate(network, leader, { kind: 'leaseKeepAlive', id: 7n })).toMatchObject({ ttlSeconds: 3 });
    network.run(network.nowMs + 2000);
    expect(read(network, leader, 'a')).toMatchObject({ count: 1 });
    network.crash(leader);
    expect(network.runUntil(() => (network.leader?.id ?? leader) !== leader, 20_000)).toBe(true);
    const next = network.leader?.id ?? 0;
    network.run(network.nowMs + 2500);
    // The new leader gives it its whole time again: nobody could renew it meanwhile.
    expect(read(network, next, 'a')).toMatchObject({ count: 1 });
    network.run(network.nowMs + 3000);
    expect(read(network, next, 'a')).toMatchObject({ count: 0 });
  });

  test('lets old history go', () => {
    const { network, leader } = led({ historyRevisions: 20 });
    for (let i = 0; i < 100; i++) operate(network, leader, put('k', String(i)));
    network.run(network.nowMs + 500);
    for (const host of network.hosts) {
      const { revision, compactedRevision } = host.running.status();
      expect(revision).toBe(101);
      expect(compactedRevision).toBeGreaterThan(70);
      expect(compactedRevision).toBeLessThanOrEqual(82);
    }
    expect(read(network, leader, 'k', 5)).toMatchObject({ kind: 'refused', reason: 'compacted' });
  });
});
