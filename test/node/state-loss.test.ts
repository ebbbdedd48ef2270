/** Damaged data on a node with peers: it begins again without them, abstains, and is made whole by a snapshot. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { Reply, Request } from '../../src/net/protocol.ts';
import { RULES } from '../../src/raft/rules.ts';
import { type CrashFileSystem, PowerCut, nthCall } from '../../src/sim/disk.ts';
import { manifestName } from '../../src/storage/lsm/file-names.ts';
import { findManifest } from '../../src/storage/lsm/manifest.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import type { StorageChoice } from '../../src/storage/open-store.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { Solo, newDisk, setEntries, snapshotPart } from './solo.ts';

const set = (key: string): Request => ({ kind: 'set', key: utf8(key), value: utf8('v'.repeat(40)) });
const get = (key: string): Request => ({ kind: 'get', key: utf8(key) });
/** Nothing stays in memory for long. */
const TREE: StorageChoice = {
  kind: 'lsm',
  options: {
    ...LSM_OPTIONS,
    memtableBytesMax: 2048,
    tableBytesMax: 2048,
    blockBytes: 256,
    cacheBytesMax: 0,
    level0Tables: 100,
    level0TablesMax: 200,
  },
};

function flip(fs: CrashFileSystem, path: string, offset: number): void {
  const bytes = fs.peek(path).slice();
  bytes[offset] = (bytes[offset] ?? 0) ^ 4;
  fs.poke(path, bytes);
}

/** Flips a bit in every table or snapshot of a node. @returns the name of a damaged file */
function damageData(fs: CrashFileSystem, home: string): string {
  const isTree = fs.exists(`${home}/lsm`);
  const folder = `${home}/${isTree ? 'lsm' : 'snapshots'}`;
  const names = fs.list(folder).filter((name) => name.endsWith(isTree ? '.sst' : '.jsonl'));
  expect(names).not.toEqual([]);
  for (const name of names) flip(fs, `${folder}/${name}`, 20);
  return names.at(-1) ?? '';
}

function homeOf(fs: CrashFileSystem): string {
  return fs.list('.').find((name) => fs.exists(`${name}/wal`)) ?? '.';
}

/** Three nodes with 100 keys, and snapshots of them behind which the log begins. */
function grown(storage: StorageChoice): NodeNetwork {
  const network = new NodeNetwork({
    nodes: 3,
    seed: 5,
    storage,
    snapshotEntries: 30,
    trailingEntries: 5,
    segmentBytesMax: 2000,
  });
  expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
  for (let i = 0; i < 100; i++) expect(ask(network, set(`k${i}`)).kind).toBe('ok');
  network.run(network.nowMs + 500);
  return network;
}

function ask(network: NodeNetwork, request: Request): Reply {
  return network.ask(network.leader?.id ?? 1, request);
}

function saidBy(network: NodeNetwork, id: number): string {
  return network
    .host(id)
    .running.takeEvents()
    .events.map(({ text }) => text)
    .join('\n');
}

/** Reads every key through a node. @returns whether one of them could not be read */
function meetsDamage(network: NodeNetwork, id: number): boolean {
  return Array.from({ length: 100 }, (_, i) => network.ask(id, get(`k${i}`)).kind).includes('error');
}

function expectWhole(network: NodeNetwork, id: number): void {
  const { running } = network.host(id);
  const leader = network.leader?.running ?? running;
  expect(running.status().raft.last).toEqual(leader.status().raft.last);
  expect(running.stateHash).toBe(leader.stateHash);
}

describe.each([
  ['snapshot', { kind: 'memory' }],
  ['table', TREE],
] as const)('a damaged %s', (_, storage) => {
  test('found at the start: the node begins without data, and is made whole by its peers', () => {
    const network = grown(storage);
    const leader = network.leader?.id ?? 0;
    const rotten = leader === 1 ? 2 : 1;
    const before = network.host(rotten).running.status();
    network.crash(rotten);
    const { fs } = network.host(rotten);
    const home = homeOf(fs);
    const name = damageData(fs, home);
    expect(network.start(rotten)).toBe(true);
    const { running } = network.host(rotten);
    expect(running.status()).toMatchObject({ keys: 0, raft: { last: { index: 0 }, commit: 0 } });
    expect(running.status().raft.term).toBeGreaterThanOrEqual(before.raft.term);
    expect(running.glance().isAbstaining).toBe(true);
    expect(saidBy(network, rotten)).toMatch(
      /does not vote until a leader has committed entry \d+ here; its data were damaged and are set aside in "damaged-data": Cannot /,
    );
    expect(fs.list(`${home}/damaged-data`)).toContain(name);
    network.run(network.nowMs + 3000);
    expect(running.glance().isAbstaining).toBe(false);
    expect(saidBy(network, rotten)).toContain('votes again: what it lost is made good');
    expectWhole(network, rotten);
    // It counts again: it and one other elect a leader and take writes.
    network.crash(network.leader?.id ?? 0);
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    expect(ask(network, set('after')).kind).toBe('ok');
    expect(ask(network, get('k7')).kind).toBe('value');
  });

  test('under a leader: another leads, and nothing that was acknowledged is lost', () => {
    const network = grown(storage);
    const leader = network.leader?.id ?? 0;
    const { fs } = network.host(leader);
    if (storage.kind === 'memory') network.crash(leader);
    damageData(fs, homeOf(fs));
    if (storage.kind === 'memory') expect(network.start(leader)).toBe(true);
    else {
      // A table is read when somebody needs it.
      expect(meetsDamage(network, leader)).toBe(true);
      expect(network.host(leader).running.mustRestart).toBe(true);
      expect(saidBy(network, leader)).toContain('starts again without its data');
      network.crash(leader);
      expect(network.start(leader)).toBe(true);
    }
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    expect(network.leader?.id).not.toBe(leader);
    network.run(network.nowMs + 3000);
    expectWhole(network, leader);
    for (const key of ['k0', 'k50', 'k99']) expect(network.ask(leader, get(key)).kind).toBe('value');
  });

  test('of the only voter: it stops, says where, and changes nothing', () => {
    const network = new NodeNetwork({ nodes: 1, seed: 1, storage, snapshotEntries: 30 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    for (let i = 0; i < 100; i++) expect(network.ask(1, set(`k${i}`)).kind).toBe('ok');
    const { fs } = network.host(1);
    const names = fs.list('data/wal');
    damageData(fs, homeOf(fs));
    if (storage.kind === 'memory') {
      network.crash(1);
      expect(() => network.start(1)).toThrow(CorruptionError);
    } else {
      expect(meetsDamage(network, 1)).toBe(true);
      expect(network.host(1).running.mustRestart).toBe(false);
      expect(saidBy(network, 1)).toMatch(/stops voting and acknowledging: Cannot read table "data\/lsm\//);
    }
    expect(fs.list('data/wal')).toEqual(names);
    expect([fs.exists('data/damage.json'), fs.exists('data/damaged-data')]).toEqual([false, false]);
  });
});

/** Cuts the manifest of a tree behind its first record: in itself it is sound, and the tables are not named any more. */
function cutManifest(fs: CrashFileSystem, directory: string): void {
  const found = findManifest({ fs, directory }) ?? expect.fail('no manifest');
  const path = `${directory}/${manifestName(found.number)}`;
  expect(found.end).toBeGreaterThan(found.baseBytes);
  fs.poke(path, fs.peek(path).slice(0, found.baseBytes));
}

function tablesIn(fs: CrashFileSystem, folder: string): readonly string[] {
  return fs.list(folder).filter((name) => name.endsWith('.sst'));
}

describe('a manifest that ends too early, behind a whole record', () => {
  test('of the only voter: the log shows it, the node stops, and every table is still there', () => {
    const network = new NodeNetwork({
      nodes: 1,
      seed: 1,
      storage: TREE,
      snapshotEntries: 30,
      trailingEntries: 5,
      segmentBytesMax: 2000,
    });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    for (let i = 0; i < 100; i++) expect(network.ask(1, set(`k${i}`)).kind).toBe('ok');
    network.crash(1);
    const { fs } = network.host(1);
    const home = homeOf(fs);
    const tables = tablesIn(fs, `${home}/lsm`);
    expect(tables.length).toBeGreaterThan(1);
    cutManifest(fs, `${home}/lsm`);
    expect(() => network.start(1)).toThrow(CorruptionError);
    expect(tablesIn(fs, `${home}/lsm`)).toEqual(tables);
  });

  test('with peers: the tables are set aside with it, and the node is made whole', () => {
    const network = grown(TREE);
    const rotten = network.leader?.id === 1 ? 2 : 1;
    network.crash(rotten);
    const { fs } = network.host(rotten);
    const home = homeOf(fs);
    const tables = tablesIn(fs, `${home}/lsm`);
    cutManifest(fs, `${home}/lsm`);
    expect(network.start(rotten)).toBe(true);
    expect(tablesIn(fs, `${home}/damaged-data`)).toEqual(tables);
    network.run(network.nowMs + 3000);
    expectWhole(network, rotten);
  });
});

/** Node 1 with a snapshot up to 3 and entries up to 5 behind it, of which it acknowledged all, and its vote in term 4. */
function promised(): CrashFileSystem {
  const fs = newDisk();
  fs.syncDirectory('.');
  fs.syncDirectory('data');
  const solo = new Solo({ fs }).greet();
  const head = { kind: 'append', term: 3, round: 1, commit: 0 } as const;
  solo.hear(2, snapshotPart(3, { index: 3, term: 2 }));
  solo.turn();
  solo.hearRaft(2, { ...head, prev: { index: 3, term: 2 }, entries: setEntries(3, 4, 5) });
  solo.turn();
  solo.hearRaft(3, { kind: 'vote', term: 4, pre: false, last: { index: 9, term: 3 } });
  solo.turn(60_000);
  expect(solo.node.status().raft).toMatchObject({ term: 4, last: { index: 5, term: 3 } });
  solo.node.stop();
  flip(fs, `data/snapshots/${fs.list('data/snapshots').at(-1) ?? ''}`, 20);
  return fs;
}

describe('what a node has promised', () => {
  test('it keeps when its data are gone: term, vote, and how far its log went', () => {
    const fs = promised();
    const solo = new Solo({ fs, seed: 2 }).greet();
    expect(solo.node.glance()).toMatchObject({ isAbstaining: true, raft: { term: 4, vote: 3 } });
    // Four is behind what it acknowledged; five is not.
    expect(RULES.mustAbstain({ index: 5, term: 4 }, { index: 4, term: 3 })).toBe(true);
    const sent = solo.turn(60_000);
    expect(sent.filter(({ envelope }) => envelope.kind === 'raft')).toEqual([]);
    solo.node.stop();
  });

  test('it keeps through a power cut at any call of the start that sets them aside', () => {
    for (let n = 1; ; n++) {
      const fs = promised();
      const log = fs.peek('data/wal/000001.wal').slice();
      fs.intercept = nthCall(fs.calls + n, { kind: 'powerCut' });
      try {
        new Solo({ fs }).node.stop();
        expect(n).toBeGreaterThan(25);
        break;
      } catch (error) {
        expect(error, `call ${n}`).toBeInstanceOf(PowerCut);
      }
      const after = fs.crash(new Random(n));
      const solo = new Solo({ fs: after });
      const { raft, isAbstaining } = solo.node.glance();
      expect([raft.term, raft.vote, isAbstaining, raft.last.index], `call ${n}`).toEqual([4, 3, true, 0]);
      solo.node.stop();
      expect(after.exists('data/damage.json'), `call ${n}`).toBe(false);
      expect(after.list('data/damaged-data').length, `call ${n}`).toBeGreaterThan(0);
      // And people find the log as it was.
      expect(after.peek('data/damaged/000001.wal'), `call ${n}`).toEqual(log);
    }
  });
});
