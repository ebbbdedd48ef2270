/** A full disk ends no node: what it would promise waits for room, and everything goes on without a restart. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Envelope, Request } from '../../src/net/protocol.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import type { Call } from '../../src/sim/disk.ts';
import type { StorageChoice } from '../../src/storage/open-store.ts';
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

const TREE = { ...LSM_OPTIONS, memtableBytesMax: 2048, tableBytesMax: 2048 };
const BOTH_ENGINES = [[{ kind: 'memory' }], [{ kind: 'lsm', options: TREE }]] as const;

/** What the snapshot needs to be put in its place. */
const isInstalling = ({ kind, path }: Call): boolean =>
  (kind === 'rename' && path.includes('snapshot')) || (kind === 'create' && path.includes('MANIFEST-'));

function write(network: NodeNetwork, count: number): void {
  for (let i = 0; i < count; i++)
    expect(network.ask(network.leader?.id ?? 1, set(`k${network.nowMs}`)).kind).toBe('ok');
}

/** One that has just heard all of a snapshot at 30. */
function arrived(fails: (call: Call) => boolean): Solo {
  const solo = new Solo().greet();
  solo.fs.intercept = (call) => (fails(call) ? { kind: 'error', errno: 'ENOSPC' } : undefined);
  solo.hear(2, snapshotPart(1, { index: 30, term: 1 }));
  expect(said(solo.turn()).filter(({ kind }) => kind !== 'snapshotAck')).toEqual([]);
  expect(solo.node.status().storage).toBe('full');
  return solo;
}

/** A cluster whose third node was down for so long that it is sent a snapshot, and has no room to install it. */
function waiting(storage: StorageChoice): NodeNetwork {
  const network = new NodeNetwork({ nodes: 3, seed: 8, storage, snapshotEntries: 30, trailingEntries: 5 });
  expect(network.runUntil(() => network.leader !== undefined && network.leader.id !== 3, 5000)).toBe(true);
  network.crash(3);
  write(network, 100);
  const { fs } = network.host(3);
  fs.intercept = (call) => (isInstalling(call) ? { kind: 'error', errno: 'ENOSPC' } : undefined);
  expect(network.start(3)).toBe(true);
  expect(network.runUntil(() => network.host(3).running.status().storage === 'full', 5000)).toBe(true);
  return network;
}

describe('Node without room to install a snapshot that has arrived', () => {
  test.each(BOTH_ENGINES)('waits for it, and goes on without a restart (%j)', (storage) => {
    const network = waiting(storage);
    const node = network.host(3).running;
    expect(node.status()).toMatchObject({ snapshotIndex: 0, raft: { applied: 0 } });
    // Entries behind the snapshot come meanwhile, and more snapshots; it promises nothing, and the others go on without it.
    write(network, 100);
    network.run(network.nowMs + 3000);
    expect(node.status()).toMatchObject({ storage: 'full', snapshotIndex: 0, raft: { applied: 0 } });
    network.host(3).fs.intercept = undefined;
    network.run(network.nowMs + 3000);
    expect(network.host(3).running).toBe(node);
    expect(node.status().storage).toBe('ok');
    expect(node.stateHash).toBe(network.leader?.running.stateHash);
    expect(node.status().raft.durable).toBe(node.status().raft.last.index);
    write(network, 50);
    network.run(network.nowMs + 1000);
    expect(node.stateHash).toBe(network.leader?.running.stateHash);
  });

  test.each(BOTH_ENGINES)('loses nothing when the power goes meanwhile (%j)', (storage) => {
    const network = waiting(storage);
    network.cutPower(3, 'worst');
    network.host(3).fs.intercept = undefined;
    expect(network.start(3)).toBe(true);
    write(network, 10);
    network.run(network.nowMs + 3000);
    const node = network.host(3).running;
    expect(node.status().storage).toBe('ok');
    expect(node.stateHash).toBe(network.leader?.running.stateHash);
  });

  test('applies nothing that lies behind it before it is there', () => {
    const solo = arrived(isInstalling);
    const prev = { index: 30, term: 1 };
    const entries = setEntries(1, 31, 32);
    solo.hearRaft(2, { kind: 'append', term: 1, prev, entries, commit: 32, round: 1 });
    expect(said(solo.turn())).toEqual([]);
    expect(solo.node.status().raft).toMatchObject({ applied: 0, commit: 32 });
    solo.fs.intercept = undefined;
    const sent = said(solo.turn(200));
    expect(sent).toContainEqual(expect.objectContaining({ kind: 'snapshotEnd', outcome: 'installed' }));
    expect(solo.node.status()).toMatchObject({
      snapshotIndex: 30,
      keys: 2,
      raft: { applied: 32, durable: 32 },
    });
  });

  test('installs it once when there was no room for the log behind it only', () => {
    const solo = arrived(({ kind, path }) => kind === 'write' && path.includes('/wal/'));
    expect(solo.node.status()).toMatchObject({ snapshotIndex: 30, raft: { applied: 30 } });
    solo.fs.intercept = undefined;
    const sent = said(solo.turn(200));
    expect(sent).toContainEqual(expect.objectContaining({ kind: 'snapshotEnd', outcome: 'installed' }));
    expect(solo.node.status()).toMatchObject({ storage: 'ok', snapshotIndex: 30 });
    expect(new Solo({ fs: solo.fs, seed: 2 }).node.status().raft.first).toBe(31);
  });

  test('stops for good when the names cannot be synced, whatever for', () => {
    const network = waiting({ kind: 'memory' });
    const node = network.host(3).running;
    network.host(3).fs.intercept = (call) =>
      call.kind === 'syncDirectory' ? { kind: 'error', errno: 'ENOSPC' } : undefined;
    network.run(network.nowMs + 1000);
    expect(node.status().storage).toBe('failed');
  });
});

describe('a restart on a full disk', () => {
  test.each(BOTH_ENGINES)('succeeds, and the node follows again once there is room (%j)', (storage) => {
    const network = new NodeNetwork({
      nodes: 3,
      seed: 5,
      storage,
      snapshotEntries: 30,
      trailingEntries: 5,
    });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    for (let i = 0; i < 100; i++) expect(network.ask(network.leader?.id ?? 1, set(`k${i}`)).kind).toBe('ok');
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
  });
});
