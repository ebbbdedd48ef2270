/** One node at its edges: what it does when snapshots, disks, peers and requests come together in an unlucky way. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Envelope, Request } from '../../src/net/protocol.ts';
import type { Intercept } from '../../src/sim/disk.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { Solo, helloOf, setEntries, snapshotPart } from './solo.ts';

const EIO: Intercept = () => ({ kind: 'error', errno: 'EIO' });

/** Everything said, without hellos. */
const said = (sent: ReturnType<Solo['turn']>): readonly Envelope[] =>
  sent.map(({ envelope }) => envelope).filter(({ kind }) => kind !== 'hello');

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
      call.path.includes('snapshots') ? { kind: 'error', errno: 'EIO' } : undefined;
    const prev = { index: 0, term: 0 };
    const entries = setEntries(1, 1, 5);
    solo.hearRaft(2, { kind: 'append', term: 1, prev, entries, commit: 0, round: 1 });
    solo.hear(2, snapshotPart(1, { index: 3, term: 1 }));
    solo.hearRaft(2, { kind: 'heartbeat', term: 1, commit: 5, round: 2 });
    solo.turn();
    expect(solo.node.status()).toMatchObject({ storage: 'failed', keys: 0 });
  });

  test('takes the newer of two that two leaders finish in one turn', () => {
    const solo = new Solo().greet();
    solo.hear(2, snapshotPart(1, { index: 10, term: 1 }));
    solo.hear(3, snapshotPart(2, { index: 5, term: 1 }));
    solo.turn();
    expect(solo.node.status()).toMatchObject({ storage: 'ok', snapshotIndex: 10 });
  });
});

describe('Node whose disk fails', () => {
  const SET: Request = { kind: 'set', key: utf8('k'), value: utf8('v') };

  test('never grants a vote that it could not write down, nor any after it (P17)', () => {
    const solo = new Solo().greet();
    solo.fs.intercept = EIO;
    const vote = { kind: 'vote', pre: false, last: { index: 0, term: 0 } } as const;
    solo.hearRaft(2, { ...vote, term: 1 });
    expect(said(solo.turn())).toEqual([]);
    expect(solo.node.status().storage).toBe('failed');
    solo.fs.intercept = undefined;
    solo.hearRaft(3, { ...vote, term: 2 });
    expect(said(solo.turn(5000))).toEqual([]);
  });

  test('acknowledges nothing after a failed sync, and does not try it again (P28)', () => {
    const solo = new Solo().greet();
    solo.fs.intercept = (call) => (call.kind === 'sync' ? { kind: 'dropPages', errno: 'EIO' } : undefined);
    const prev = { index: 0, term: 0 };
    const append = { kind: 'append', term: 1, prev, entries: setEntries(1, 1, 2), commit: 2 } as const;
    solo.hearRaft(2, { ...append, round: 1 });
    expect(said(solo.turn())).toEqual([]);
    solo.fs.intercept = undefined;
    const { calls } = solo.fs;
    solo.hearRaft(2, { ...append, round: 2 }, { kind: 'heartbeat', term: 1, commit: 2, round: 3 });
    solo.hear(2, snapshotPart(1, { index: 10, term: 1 }));
    expect(said(solo.turn(5000))).toEqual([]);
    expect(solo.node.status()).toMatchObject({ storage: 'failed', keys: 0 });
    expect(solo.fs.calls).toBe(calls);
  });

  test('tells each request whether it may have happened', () => {
    const solo = new Solo().greet();
    solo.lead();
    const written = solo.ask(SET);
    solo.turn();
    const read = solo.ask({ kind: 'get', key: utf8('k') });
    solo.turn();
    const fresh = solo.ask(SET);
    solo.fs.intercept = EIO;
    solo.turn();
    const late = solo.ask(SET);
    expect(written).toMatchObject([{ code: 'unknown' }]);
    expect(read).toMatchObject([{ code: 'storage_failed' }]);
    expect(fresh).toMatchObject([{ code: 'unknown' }]);
    expect(late).toMatchObject([{ code: 'storage_failed' }]);
    expect(solo.ask({ kind: 'status' })).toMatchObject([{ kind: 'status', status: { storage: 'failed' } }]);
  });

  test('answers what a peer passed on, also when a snapshot is what failed', () => {
    const solo = new Solo({ snapshotEntries: 10 }).greet();
    const term = solo.lead();
    for (let i = 0; i < 10; i++) solo.ask(SET);
    solo.turn();
    solo.fs.intercept = (call) =>
      call.path.includes('snapshots') ? { kind: 'error', errno: 'EIO' } : undefined;
    solo.hear(3, { kind: 'forward', id: 7, request: SET });
    solo.hearRaft(2, { kind: 'appendReply', term, match: 11, round: 0 });
    const answers = [...said(solo.turn()), ...said(solo.turn())].filter(({ kind }) => kind === 'forwarded');
    expect(solo.node.status().storage).toBe('failed');
    expect(answers).toMatchObject([{ id: 7, reply: { kind: 'error', code: 'unknown' } }]);
  });

  test('fails in order when it cannot remember a peer', () => {
    const solo = new Solo();
    solo.fs.intercept = EIO;
    solo.hear(2, helloOf(2));
    solo.turn();
    expect(solo.node.status().storage).toBe('failed');
    solo.fs.intercept = undefined;
    const { calls } = solo.fs;
    solo.hear(3, helloOf(3));
    solo.turn();
    expect(solo.fs.calls).toBe(calls);
  });

  test('fails in order when it cannot read the snapshot that a follower needs', () => {
    const solo = new Solo({ snapshotEntries: 10 }).greet();
    const term = solo.lead();
    for (let i = 0; i < 40; i++) solo.ask(SET);
    solo.turn();
    solo.hearRaft(2, { kind: 'appendReply', term, match: 41, round: 0 });
    for (let i = 0; i < 5; i++) solo.turn();
    expect(solo.node.status().snapshotIndex).toBe(41);
    solo.fs.intercept = EIO;
    const hint = { index: 0, term: 0 };
    solo.hearRaft(3, { kind: 'appendReject', term, rejected: 0, hint, round: 0 });
    solo.turn(100);
    expect(solo.node.status().storage).toBe('failed');
  });
});

describe('Node and the requests that peers pass on', () => {
  const SET: Request = { kind: 'set', key: utf8('k'), value: utf8('v') };

  test('does not answer a peer that came back what it asked in an earlier life', () => {
    const solo = new Solo().greet();
    const term = solo.lead();
    solo.hear(3, { kind: 'forward', id: 7, request: SET });
    solo.turn();
    solo.node.connected(3);
    solo.hear(3, helloOf(3), { kind: 'forward', id: 8, request: SET });
    solo.turn();
    solo.hearRaft(2, { kind: 'appendReply', term, match: 3, round: 0 });
    const answers = solo
      .turn()
      .flatMap(({ envelope }) => (envelope.kind === 'forwarded' ? [envelope.id] : []));
    expect(answers).toEqual([8]);
  });

  test('does not take an answer to its earlier life for its own', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 1 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    network.run(network.nowMs + 200);
    const leader = network.leader?.id ?? 0;
    const other = leader === 1 ? 2 : 1;
    const held: Envelope[] = [];
    network.onSend = (from, to, envelopes) => {
      if (from !== leader || to !== other) return envelopes;
      held.push(...envelopes.filter(({ kind }) => kind === 'forwarded'));
      return envelopes.filter(({ kind }) => kind !== 'forwarded');
    };
    const first = network.submit(other, SET);
    expect(network.runUntil(() => held.length === 1, 1000)).toBe(true);
    network.crash(other);
    expect(first.outcome).toBe('lost');
    network.start(other);
    network.run(network.nowMs + 200);
    // The leader loses what is passed on to it now, and its late answer arrives.
    network.link(other, leader, { blocked: true });
    const second = network.submit(other, { ...SET, value: utf8('second') });
    network.run(network.nowMs + 10);
    network.host(other).running.receive(leader, held);
    network.run(network.nowMs + 10);
    expect(second.outcome).toBeUndefined();
  });
});

function set(text: string): Request {
  return { kind: 'set', key: utf8('k'), value: utf8(text) };
}

describe('a cluster on slow links', () => {
  test.each([1, 2, 3])('of up to 40 ms each way elects nobody while clients write: seed %i', (seed) => {
    const network = new NodeNetwork({ nodes: 3, seed });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    for (const from of [1, 2, 3])
      for (const to of [1, 2, 3]) if (from !== to) network.link(from, to, { delayMsMax: 40 });
    const roles: string[] = [];
    network.run(network.nowMs + 1000);
    network.afterTurn = ({ id, running }) => {
      for (const { kind, text } of running.takeEvents().events)
        if (kind === 'role') roles.push(`n${id}: ${text}`);
    };
    for (const { running } of network.hosts) running.takeEvents();
    for (let i = 0; i < 500; i++) {
      const request: Request = { kind: 'set', key: utf8('k'), value: utf8(`${i}`) };
      expect(network.ask((i % 3) + 1, request)).toMatchObject({ kind: 'ok' });
    }
    expect(roles).toEqual([]);
  });
});

describe('a cluster whose leader loses its disk', () => {
  test('goes on without it, tells its clients, and takes it back after a restart', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 9 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    const failed = network.leader?.id ?? 0;
    const other = failed === 1 ? 2 : 1;
    expect(network.ask(failed, set('before')).kind).toBe('ok');
    network.host(failed).fs.intercept = (call) =>
      call.kind === 'sync' ? { kind: 'dropPages', errno: 'EIO' } : undefined;
    expect(network.ask(failed, set('during'))).toMatchObject({ kind: 'error', code: 'unknown' });
    expect(network.ask(failed, set('after'))).toMatchObject({ kind: 'error', code: 'storage_failed' });
    expect(network.host(failed).running.status()).toMatchObject({
      storage: 'failed',
      raft: { role: 'follower' },
    });
    const isReplaced = (): boolean => network.leader !== undefined && network.leader.id !== failed;
    expect(network.runUntil(isReplaced, 5000)).toBe(true);
    expect(network.ask(other, set('again')).kind).toBe('ok');
    network.host(failed).fs.intercept = undefined;
    network.run(network.nowMs + 3000);
    expect(network.host(failed).running.status().storage).toBe('failed');
    network.cutPower(failed, 'worst');
    expect(network.start(failed)).toBe(true);
    const isBack = (): boolean =>
      network.host(failed).running.status().raft.applied ===
      network.host(other).running.status().raft.applied;
    expect(network.runUntil(isBack, 5000)).toBe(true);
    expect(network.ask(failed, { kind: 'get', key: utf8('k') })).toEqual({
      kind: 'value',
      value: utf8('again'),
    });
  });
});
