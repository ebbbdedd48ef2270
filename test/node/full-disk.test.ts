/** A full disk ends no node: what it would promise waits for room, and everything goes on without a restart. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Envelope, Request } from '../../src/net/protocol.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { Solo, setEntries, snapshotPart } from './solo.ts';

const GET: Request = { kind: 'get', key: utf8('before') };
const set = (key: string): Request => ({ kind: 'set', key: utf8(key), value: new Uint8Array(300) });

/** Everything said, without hellos. */
const said = (sent: ReturnType<Solo['turn']>): readonly Envelope[] =>
  sent.map(({ envelope }) => envelope).filter(({ kind }) => kind !== 'hello');

/** What its log says of the disk. */
const told = (solo: Solo): readonly string[] =>
  solo.node
    .takeEvents()
    .events.filter(({ kind }) => kind === 'disk')
    .map(({ text }) => text);

/** From now on there are `bytes` left. */
function fill(fs: Solo['fs'], bytes = 0): void {
  fs.capacityBytes = fs.usedBytes + bytes;
}

describe('Node without room for its log', () => {
  const prev = { index: 0, term: 0 };
  const append = {
    kind: 'append',
    term: 1,
    prev,
    entries: setEntries(1, 1, 2),
    commit: 2,
    round: 1,
  } as const;

  test('votes for nobody, and votes when there is room', () => {
    const solo = new Solo().greet();
    fill(solo.fs, 20);
    solo.hearRaft(3, { kind: 'vote', term: 2, pre: false, last: { index: 9, term: 1 } });
    expect(said(solo.turn())).toEqual([]);
    expect(solo.node.status().storage).toBe('full');
    const full = 'its disk is full: it promises nothing until there is room, and serves reads';
    expect(told(solo)).toEqual([full]);
    solo.fs.capacityBytes = Infinity;
    const granted = { message: { kind: 'voteReply', granted: true, term: 2, to: 3 } };
    expect(said(solo.turn(200))).toMatchObject([granted]);
    expect(solo.node.status()).toMatchObject({ storage: 'ok', raft: { vote: 3 } });
    expect(told(solo)).toEqual(['its disk has room again: what was kept back is written']);
  });

  test('acknowledges what waited, once it is durable', () => {
    const solo = new Solo().greet();
    fill(solo.fs, 20);
    solo.hearRaft(2, append);
    expect(said(solo.turn())).toEqual([]);
    expect(solo.node.deadlineMs).toBeLessThanOrEqual(solo.nowMs + 200);
    solo.fs.capacityBytes = Infinity;
    expect(said(solo.turn(200))).toMatchObject([{ message: { kind: 'appendReply', match: 2 } }]);
    const again = new Solo({ fs: solo.fs, seed: 2 });
    expect(again.node.status().raft.last).toEqual({ index: 2, term: 1 });
  });

  test('stops for good when a sync fails meanwhile, whatever for', () => {
    const solo = new Solo().greet();
    solo.fs.intercept = (call) => (call.kind === 'sync' ? { kind: 'error', errno: 'ENOSPC' } : undefined);
    solo.hearRaft(2, append);
    expect(said(solo.turn())).toEqual([]);
    solo.fs.intercept = undefined;
    expect(said(solo.turn(1000))).toEqual([]);
    expect(solo.node.status().storage).toBe('failed');
  });

  test('holds a bounded number of writes back: of hard states alone the newest stands for all', () => {
    const solo = new Solo().greet();
    fill(solo.fs);
    for (let term = 1; term <= 6000; term++) {
      solo.hearRaft(3, { kind: 'heartbeat', term, commit: 0, round: 1 });
      solo.turn(0);
    }
    expect(solo.node.status().storage).toBe('full');
    solo.fs.capacityBytes = Infinity;
    solo.turn(200);
    expect(solo.node.status()).toMatchObject({ storage: 'ok', raft: { term: 6000 } });
  });

  test('a segment that could be begun but not opened is opened with the next try', () => {
    const solo = new Solo({ segmentBytesMax: 60 }).greet();
    const segments = (): number => solo.fs.list('data/wal').length;
    solo.hearRaft(2, append);
    solo.turn();
    expect(segments()).toBe(1);
    fill(solo.fs, 24);
    const more = { ...append, prev: { index: 2, term: 1 }, entries: setEntries(1, 3, 3), round: 2 };
    solo.hearRaft(2, more);
    expect(said(solo.turn())).toEqual([]);
    expect(segments()).toBe(2);
    solo.fs.capacityBytes = Infinity;
    expect(said(solo.turn(200))).toMatchObject([{ message: { kind: 'appendReply', match: 3 } }]);
    const opening = solo.fs.peek('data/wal/000002.wal')[24 + 8];
    expect(opening, 'type of the first record').toBe(2);
  });
});

describe('Node without room for a snapshot', () => {
  test('gives its own up, tries again, and lets the log go on meanwhile', () => {
    const solo = new Solo({ snapshotEntries: 10, voters: [1] });
    solo.turn(10_000);
    for (let i = 0; i < 12; i++) solo.ask(set(`k${i}`));
    solo.fs.intercept = (call) =>
      call.path.includes('snapshots') && call.kind === 'write'
        ? { kind: 'shortWrite', errno: 'ENOSPC', bytes: 7 }
        : undefined;
    for (let i = 0; i < 4; i++) solo.turn(2000);
    expect(solo.node.status()).toMatchObject({ storage: 'full', snapshotIndex: 0 });
    expect(told(solo)).toEqual([
      expect.stringMatching(/^gives up a snapshot and tries again later: .*ENOSPC/),
    ]);
    expect(solo.fs.list('data/snapshots')).toEqual([]);
    const written = solo.ask(set('more'));
    solo.turn();
    expect(written).toMatchObject([{ kind: 'ok' }]);

    solo.fs.intercept = undefined;
    for (let i = 0; i < 10; i++) solo.turn(1000);
    expect(solo.node.status()).toMatchObject({ storage: 'ok', snapshotIndex: 14 });
  });

  test('gives one that is arriving up, and takes it when it is sent again', () => {
    const solo = new Solo().greet();
    solo.fs.intercept = (call) =>
      call.path.includes('snapshots') && call.kind === 'write'
        ? { kind: 'error', errno: 'ENOSPC' }
        : undefined;
    solo.hear(2, snapshotPart(1, { index: 30, term: 1 }));
    solo.turn();
    expect(solo.node.status()).toMatchObject({ storage: 'full', snapshotIndex: 0 });
    solo.fs.intercept = undefined;
    solo.hear(2, snapshotPart(1, { index: 30, term: 1 }));
    solo.turn(1500);
    solo.hear(2, snapshotPart(1, { index: 30, term: 1 }));
    solo.turn();
    expect(solo.node.status().snapshotIndex).toBe(30);
  });
});

describe('a cluster with a full disk', () => {
  test('a lone node refuses writes for certain, serves reads, and goes on when there is room', () => {
    const network = new NodeNetwork({ nodes: 1, seed: 5 });
    expect(network.ask(1, set('before')).kind).toBe('ok');
    const host = network.host(1);
    fill(host.fs, 100);
    const waits = network.submit(1, set('waits'));
    network.run(network.nowMs + 300);
    expect(network.ask(1, set('refused'))).toMatchObject({ kind: 'error', code: 'storage_full' });
    expect(network.ask(1, GET)).toMatchObject({ kind: 'value', value: new Uint8Array(300) });
    expect(host.running.status()).toMatchObject({ storage: 'full', raft: { role: 'leader' } });
    host.fs.capacityBytes = Infinity;
    network.run(network.nowMs + 300);
    expect(network.ask(1, { kind: 'get', key: utf8('waits') })).toMatchObject({ value: new Uint8Array(300) });
    expect(network.ask(1, { kind: 'get', key: utf8('refused') })).toMatchObject({ value: undefined });
    expect(network.ask(1, set('after')).kind).toBe('ok');
    expect(waits).toBeDefined();
  });

  test('its leader lets another lead, and follows again without a restart', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 6 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    const full = network.leader?.id ?? 0;
    const other = full === 1 ? 2 : 1;
    expect(network.ask(full, set('before')).kind).toBe('ok');
    const host = network.host(full);
    fill(host.fs, 100);
    expect(network.ask(full, set('by the disks of others')).kind).toBe('ok');
    const isReplaced = (): boolean => network.leader !== undefined && network.leader.id !== full;
    expect(network.runUntil(isReplaced, 5000)).toBe(true);
    for (let i = 0; i < 20; i++) expect(network.ask(other, set(`k${i}`)).kind).toBe('ok');
    const node = host.running;
    expect(node.status()).toMatchObject({ storage: 'full', raft: { role: 'follower' } });
    host.fs.capacityBytes = Infinity;
    network.run(network.nowMs + 3000);
    expect(host.running).toBe(node);
    expect(node.status().storage).toBe('ok');
    expect(node.stateHash).toBe(network.host(other).running.stateHash);
    expect(node.status().raft.durable).toBe(node.status().raft.last.index);
  });
});

describe('a restart on a full disk', () => {
  const tree = { ...LSM_OPTIONS, memtableBytesMax: 2048, tableBytesMax: 2048 };
  test.each([[{ kind: 'memory' }], [{ kind: 'lsm', options: tree }]] as const)(
    'succeeds, and the node follows again once there is room (%j)',
    (storage) => {
      const network = new NodeNetwork({
        nodes: 3,
        seed: 5,
        storage,
        snapshotEntries: 30,
        trailingEntries: 5,
      });
      expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
      for (let i = 0; i < 100; i++)
        expect(network.ask(network.leader?.id ?? 1, set(`k${i}`)).kind).toBe('ok');
      network.run(network.nowMs + 500);
      for (const id of [1, 2, 3]) {
        network.crash(id);
        const { fs } = network.host(id);
        fs.capacityBytes = fs.usedBytes;
        expect(network.start(id)).toBe(true);
        network.run(network.nowMs + 1000);
        expect(network.ask(network.leader?.id ?? 1, set(`more ${id}`)).kind).toBe('ok');
        network.run(network.nowMs + 500);
        const { running } = network.host(id);
        expect(running.status().storage).toBe('full');
        fs.capacityBytes = Infinity;
        network.run(network.nowMs + 2000);
        expect(running.status().storage).toBe('ok');
        expect(running.status().raft.applied).toBe(network.leader?.running.status().raft.applied);
      }
    },
  );
});
