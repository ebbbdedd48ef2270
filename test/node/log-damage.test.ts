/** A damaged log on a node with peers: it goes on with what is intact, and abstains until the rest is made good. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { Request } from '../../src/net/protocol.ts';
import { LogStore } from '../../src/node/log-store.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import { type CrashFileSystem, PowerCut, nthCall } from '../../src/sim/disk.ts';
import { scanSegment } from '../../src/storage/segment.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { Solo, newDisk, setEntries } from './solo.ts';

const set = (key: string): Request => ({ kind: 'set', key: utf8(key), value: utf8('v') });
const FIRST = 'data/wal/000001.wal';

/** Flips a bit in the record with this number, 0 for the first, of a segment. */
function damage(fs: CrashFileSystem, record: number, path = FIRST): void {
  const bytes = fs.peek(path);
  const { records } = scanSegment(bytes, Number(/(\d+)\.wal/.exec(path)?.[1]));
  const payload = records[record]?.payload;
  expect(payload).toBeDefined();
  if (payload !== undefined) payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
  fs.poke(path, bytes);
}

/** A disk with entries 1 to 4 of terms 1 and 2, a write each, and a vote in term 3 as the newest write. */
function fourEntries(): CrashFileSystem {
  const fs = newDisk();
  fs.syncDirectory('.');
  fs.syncDirectory('data');
  const covered = { position: { index: 0, term: 0 } };
  const { store } = LogStore.open({ fs, directory: 'data', covered });
  for (let index = 1; index <= 4; index++) {
    const term = index < 3 ? 1 : 2;
    const entry = makeEntry({ term, index, kind: 'noop', payload: new Uint8Array(0) });
    const mark = { accTerm: term, index };
    const hard = { term, vote: 2, commit: index - 1 };
    store.write({ seq: index, mark, hard, append: { after: index - 1, entries: [entry] } });
    store.sync();
  }
  store.write({ seq: 5, mark: { accTerm: 2, index: 4 }, hard: { term: 3, vote: 3, commit: 3 } });
  store.sync();
  store.close();
  return fs;
}

function reopen(fs: CrashFileSystem, mayLose = true): ReturnType<typeof LogStore.open>['recovered'] {
  const covered = { position: { index: 0, term: 0 } };
  const { store, recovered } = LogStore.open({ fs, directory: 'data', covered, mayLose: () => mayLose });
  store.close();
  return recovered;
}

describe('LogStore.open() of a damaged log', () => {
  test('keeps what is before the damage, the newest vote, and how far the log went', () => {
    const fs = fourEntries();
    damage(fs, 1);
    const { hard, entries, lost, damage: why } = reopen(fs);
    expect(hard).toEqual({ term: 3, vote: 3, commit: 0 });
    expect(entries.map(({ index }) => index)).toEqual([1]);
    expect(lost).toEqual({ index: 4, term: 3 });
    expect(why).toMatch(/^Cannot open segment "data\/wal\/000001.wal": damaged at offset \d+: /);
    expect(fs.list('data/damaged')).toEqual(['000001.wal']);
    expect(reopen(fs)).toMatchObject({
      hard: { term: 3, vote: 3 },
      lost: { index: 4, term: 3 },
      damage: undefined,
    });
  });

  test('does not know how far it went when no append is left behind the damage', () => {
    const fs = fourEntries();
    damage(fs, 3);
    expect(reopen(fs)).toMatchObject({ hard: { term: 3, vote: 3 }, lost: { index: Infinity, term: 3 } });
    expect(reopen(fs).lost).toEqual({ index: Infinity, term: 3 });
  });

  test('refuses as ever when nobody can make it good', () => {
    const fs = fourEntries();
    damage(fs, 1);
    const before = fs.peek(FIRST);
    expect(() => reopen(fs, false)).toThrow(CorruptionError);
    expect(() => reopen(fs, false)).toThrow(/offset \d+.*remove this node from the cluster and add it again/);
    expect([fs.peek(FIRST), fs.exists('data/lost.json'), fs.exists('data/damaged')]).toEqual([
      before,
      false,
      false,
    ]);
  });

  test('has forgotten the loss once it is made good', () => {
    const fs = fourEntries();
    damage(fs, 1);
    reopen(fs);
    const covered = { position: { index: 0, term: 0 } };
    const { store } = LogStore.open({ fs, directory: 'data', covered, mayLose: () => true });
    const entries = setEntries(3, 2, 5);
    const hard = { term: 3, vote: 3, commit: 4 };
    store.write({ seq: 1, mark: { accTerm: 3, index: 5 }, hard, append: { after: 1, entries } });
    store.sync();
    store.close();
    expect(reopen(fs).lost).toBeUndefined();
    expect(fs.exists('data/lost.json')).toBe(false);
  });

  test('loses nothing more in a power cut at any call', () => {
    for (let n = 1; ; n++) {
      const fs = fourEntries();
      damage(fs, 1);
      fs.intercept = nthCall(fs.calls + n, { kind: 'powerCut' });
      try {
        reopen(fs);
        expect(n).toBeGreaterThan(20);
        break;
      } catch (error) {
        expect(error, `call ${n}`).toBeInstanceOf(PowerCut);
      }
      const { hard, entries, lost } = reopen(fs.crash(new Random(n)));
      expect([hard, entries.length, lost], `call ${n}`).toEqual([
        { term: 3, vote: 3, commit: 0 },
        1,
        { index: 4, term: 3 },
      ]);
    }
  });
});

describe('Node with a damaged log', () => {
  test('that is the only voter does not start', () => {
    const solo = new Solo({ voters: [1] });
    solo.turn(10_000);
    for (const key of ['a', 'b', 'c']) {
      solo.ask(set(key));
      solo.turn();
    }
    solo.node.stop();
    damage(solo.fs, 1);
    expect(() => new Solo({ fs: solo.fs, voters: [1] })).toThrow(CorruptionError);
  });

  test('neither votes nor stands, and says why', () => {
    const solo = new Solo({ fs: fourEntries() });
    solo.node.stop();
    damage(solo.fs, 1);
    const again = new Solo({ fs: solo.fs, seed: 2 }).greet();
    const events = again.node.takeEvents().events.map(({ text }) => text);
    expect(events.join()).toMatch(
      /cut before damage.*does not vote until a leader has committed entry 4 here/,
    );
    again.hearRaft(2, { kind: 'vote', term: 4, pre: false, last: { index: 1, term: 1 } });
    const sent = again.turn(60_000);
    const granted = sent.filter(
      ({ envelope }) =>
        envelope.kind === 'raft' && envelope.message.kind === 'voteReply' && envelope.message.granted,
    );
    expect(granted).toEqual([]);
    expect(again.node.status().raft.role).toBe('follower');
  });

  test('is healed by its peers and then elects leaders again', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 12 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    const leader = network.leader?.id ?? 0;
    const rotten = leader === 1 ? 2 : 1;
    for (let i = 0; i < 20; i++) expect(network.ask(leader, set(`k${i}`)).kind).toBe('ok');
    network.run(network.nowMs + 500);
    network.crash(rotten);
    const { fs } = network.host(rotten);
    const directory = fs.list('.').find((name) => fs.exists(`${name}/wal`)) ?? '.';
    damage(fs, 5, `${directory}/wal/000001.wal`);
    expect(network.start(rotten)).toBe(true);
    network.run(network.nowMs + 2000);
    const healed = network.host(rotten).running;
    expect(healed.status().raft.last).toEqual(network.host(leader).running.status().raft.last);
    expect(healed.stateHash).toBe(network.host(leader).running.stateHash);
    network.crash(leader);
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    expect(network.ask(rotten, set('after')).kind).toBe('ok');
  });
});
