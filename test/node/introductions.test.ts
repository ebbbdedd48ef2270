/** A peer is believed when it is of this cluster and on the data directory that it always had. */
import { describe, expect, test } from 'vitest';
import { textOf, utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { Envelope } from '../../src/net/protocol.ts';
import { Introductions } from '../../src/node/introductions.ts';
import {
  type Config,
  type MemberChange,
  bootstrapConfig,
  configAfter,
  configAfterJoint,
} from '../../src/raft/membership.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { helloOf, newDisk } from './solo.ts';

type Hello = Extract<Envelope, { readonly kind: 'hello' }>;

const THREE = bootstrapConfig([1, 2, 3]);

/** Introductions of node 1, which know that the members are these. */
function open(
  fs: FileSystem,
  options: { readonly voters?: readonly number[]; readonly config?: Config; readonly index?: number } = {},
): Introductions {
  const introductions = new Introductions({
    fs,
    directory: 'data',
    id: 1,
    cluster: 'test',
    incarnation: 'one',
    voters: options.voters ?? [1, 2, 3],
    heartbeatMs: 50,
  });
  introductions.follow(options.config ?? THREE, options.index ?? 0, true);
  return introductions;
}

/** The configuration after some changes, each committed before the next. */
function after(changes: readonly (readonly [number, MemberChange])[]): Config {
  let config = THREE;
  for (const [index, change] of changes) {
    const next = configAfter(config, [change], index);
    if (!next.ok) throw new Error(next.problem);
    config = configAfterJoint(next.config);
  }
  return config;
}

function add(node: number): MemberChange {
  return { kind: 'add', node, address: '' };
}

function remove(node: number): MemberChange {
  return { kind: 'remove', node };
}

/** Why a hello is refused; undefined when there is nothing against it. */
function why(introductions: Introductions, from: number, hello: Hello): string | undefined {
  return introductions.receive(from, hello).refusal?.why;
}

/** The disk after the worst power cut. */
function worst(fs: CrashFileSystem): CrashFileSystem {
  return fs.crash(new Random(0), 'worst');
}

function durableDisk(): CrashFileSystem {
  const fs = newDisk();
  for (const directory of ['.', 'data']) fs.syncDirectory(directory);
  return fs;
}

describe('Introductions', () => {
  test('say hello to every peer until hellos have gone both ways', () => {
    const introductions = open(durableDisk());
    expect(introductions.due(0)).toEqual([2, 3]);
    expect(introductions.isKnown(2)).toBe(false);
    const hello = introductions.hello(2, 'here:1');
    expect(hello).toEqual({
      kind: 'hello',
      cluster: 'test',
      founders: [1, 2, 3],
      incarnation: 'one',
      since: 0,
      client: 'here:1',
      greeted: false,
      settled: false,
    });
    const first = { ...helloOf(2), client: 'there:2', greeted: false };
    expect(why(introductions, 2, first)).toBeUndefined();
    expect(introductions.isKnown(2)).toBe(true);
    expect(introductions.clientOf(2)).toBe('there:2');
    expect(introductions.hello(2, '')).toMatchObject({ greeted: true, settled: false });
    expect(introductions.due(1000)).toEqual([2, 3]);
    expect(why(introductions, 2, { ...first, greeted: true })).toBeUndefined();
    expect(introductions.hello(2, '')).toMatchObject({ greeted: true, settled: true });
    expect(introductions.due(2000)).toEqual([3]);
  });

  test('say hello again after a heartbeat, then more rarely', () => {
    const introductions = open(durableDisk());
    const times: number[] = [];
    for (let nowMs = 0; nowMs < 1000; nowMs++) if (introductions.due(nowMs).includes(2)) times.push(nowMs);
    expect(times).toEqual([0, 50, 150, 350, 550, 750, 950]);
    expect(introductions.deadlineMs).toBe(1150);
    introductions.connected(2);
    expect(introductions.due(1000)).toEqual([2]);
  });

  test('start over on a new connection', () => {
    const introductions = open(durableDisk());
    introductions.receive(2, helloOf(2));
    const before = introductions.connectionOf(2);
    introductions.connected(2);
    expect(introductions.isKnown(2)).toBe(false);
    expect(introductions.due(0)).toEqual([3, 2]);
    expect(introductions.connectionOf(2)).not.toBe(before);
  });

  test.each([
    ['of another cluster', { cluster: 'other' }, 'n2 belongs to another cluster: to "other", not to "test"'],
    [
      'that was told of other founders',
      { founders: [2, 3] },
      'n2 was started as one of n2 n3, but this cluster began with n1 n2 n3',
    ],
  ])('refuse a node %s, and remember nothing of it', (_name, odd, says) => {
    const fs = durableDisk();
    const introductions = open(fs);
    const { calls } = fs;
    expect(why(introductions, 2, { ...helloOf(2), ...odd })).toBe(says);
    expect(introductions.isKnown(2)).toBe(false);
    expect(fs.calls).toBe(calls);
  });

  test('refuse a peer on a new data directory, also after a restart, and take the old one again', () => {
    const fs = durableDisk();
    open(fs).receive(2, helloOf(2, 'first'));
    const disk = worst(fs);
    for (let life = 0; life < 3; life++) {
      const introductions = open(disk);
      expect(why(introductions, 2, helloOf(2, 'second'))).toBe(
        'n2 is on a new data directory, so it has forgotten what it voted and acknowledged: remove n2 and add it again, with "oxide-kv member remove 2" and "oxide-kv member add 2 ADDR"',
      );
      expect(introductions.isKnown(2)).toBe(false);
    }
    const config = bootstrapConfig([1, 2, 3], new Map([[2, '10.0.0.2:8001']]));
    expect(why(open(disk, { config }), 2, helloOf(2, 'second'))).toContain(
      ': remove n2 and add it again, with "oxide-kv member remove 2" and "oxide-kv member add 2 10.0.0.2:8001"',
    );
    const introductions = open(disk);
    expect(why(introductions, 2, helloOf(2, 'first'))).toBeUndefined();
    expect(introductions.isKnown(2)).toBe(true);
    // Wiped while it was known.
    expect(why(introductions, 2, helloOf(2, 'second'))).toBeDefined();
    expect(introductions.isKnown(2)).toBe(false);
  });

  test('remembers each peer before it believes it', () => {
    const fs = durableDisk();
    const introductions = open(fs);
    introductions.receive(2, helloOf(2, 'a'));
    introductions.receive(3, helloOf(3, 'b'));
    const again = open(worst(fs));
    expect(why(again, 2, helloOf(2, 'x'))).toBeDefined();
    expect(why(again, 3, helloOf(3, 'x'))).toBeDefined();
  });

  test('writes nothing for a peer that it remembers', () => {
    const fs = durableDisk();
    const introductions = open(fs);
    introductions.receive(2, helloOf(2));
    const { calls } = fs;
    introductions.receive(2, helloOf(2));
    expect(fs.calls).toBe(calls);
  });

  test('does not believe a peer that it could not remember', () => {
    const fs = durableDisk();
    const introductions = open(fs);
    fs.intercept = (call) => (call.kind === 'sync' ? { kind: 'error', errno: 'EIO' } : undefined);
    expect(() => introductions.receive(2, helloOf(2))).toThrow(StorageError);
    expect(introductions.isKnown(2)).toBe(false);
  });

  test.each([
    '',
    'null',
    '7',
    '{',
    '{}',
    '\u00ff\u00fe',
    '{"format":0,"founders":[],"peers":[]}',
    '{"format":1,"founders":[0],"peers":[]}',
    '{"format":1,"founders":["1"],"peers":[]}',
    '{"format":1,"founders":[1]}',
    '{"format":1,"founders":[1],"peers":{}}',
    '{"format":1,"founders":[1],"peers":[null]}',
    '{"format":1,"founders":[1],"peers":[{"id":0,"since":0,"incarnation":"x"}]}',
    '{"format":1,"founders":[1],"peers":[{"id":2,"since":-1,"incarnation":"x"}]}',
    '{"format":1,"founders":[1],"peers":[{"id":2,"since":0,"incarnation":7}]}',
  ])('refuse a damaged peers.json: %j', (text) => {
    const fs = durableDisk();
    fs.poke(
      'data/peers.json',
      Uint8Array.from(text, (c) => c.charCodeAt(0)),
    );
    expect(() => open(fs)).toThrow(CorruptionError);
  });

  test('refuse a peers.json of a newer version', () => {
    const fs = durableDisk();
    fs.poke('data/peers.json', utf8('{"format":3,"founders":[1],"peers":[]}'));
    expect(() => open(fs)).toThrow(
      /its format is 3, this program reads up to 2; start a later version of it$/,
    );
  });

  test('notice every single bit of peers.json that flips', () => {
    const fs = durableDisk();
    open(fs).receive(2, helloOf(2, 'first'));
    const whole = fs.peek('data/peers.json');
    expect(textOf(whole)).toContain('"first"');
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const bytes = whole.slice();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      fs.poke('data/peers.json', bytes);
      expect(() => open(fs), `bit ${bit}`).toThrow(CorruptionError);
      expect(() => open(fs), `bit ${bit}`).toThrow(
        /^Cannot read "data\/peers.json": .*; restore it from a copy, /,
      );
    }
    fs.poke('data/peers.json', whole);
    expect(why(open(fs), 2, helloOf(2, 'second'))).toContain('is on a new data directory');
  });

  test('take a peers.json without a checksum, as earlier versions wrote it, and seal it', () => {
    const fs = durableDisk();
    const peers = [{ id: 2, since: 0, incarnation: 'first' }];
    fs.poke('data/peers.json', utf8(JSON.stringify({ format: 1, founders: [1, 2, 3], peers })));
    const introductions = open(fs);
    expect(why(introductions, 2, helloOf(2, 'second'))).toContain('is on a new data directory');
    introductions.receive(3, helloOf(3));
    expect(textOf(fs.peek('data/peers.json'))).toMatch(
      /^\{"format":2,.*"incarnation":"first".*,"crc32":"[0-9a-f]{8}"\}\n$/,
    );
    expect(why(open(fs), 2, helloOf(2, 'second'))).toContain('is on a new data directory');
  });

  test('take an id with more digits than there are nodes', () => {
    const fs = durableDisk();
    open(fs, { config: after([[10, add(2_000_000_000)]]) }).receive(2_000_000_000, helloOf(2_000_000_000));
    expect(() => open(fs)).not.toThrow();
  });
});

describe('Introductions and changes of members', () => {
  const joining = { ...helloOf(4, 'new'), founders: [] };

  test('accept a node that waits to be added, remember nothing of it, and have nothing against it', () => {
    const fs = durableDisk();
    const introductions = open(fs);
    const { calls } = fs;
    expect(introductions.receive(4, joining)).toEqual({
      refusal: undefined,
      isAccepted: true,
      isNews: false,
    });
    expect(introductions.isKnown(4)).toBe(true);
    expect(introductions.members).toEqual([2, 3]);
    expect(fs.calls).toBe(calls);
  });

  test('ask a node that was added for another hello, and remember its directory then', () => {
    const fs = durableDisk();
    const introductions = open(fs);
    introductions.receive(4, joining);
    introductions.follow(after([[10, add(4)]]), 10, false);
    expect(introductions.isKnown(4)).toBe(false);
    expect(introductions.due(0)).toContain(4);
    introductions.receive(4, joining);
    const again = open(worst(fs), { config: after([[10, add(4)]]), index: 10 });
    expect(why(again, 4, { ...joining, incarnation: 'other' })).toContain('a new data directory');
    expect(why(again, 4, joining)).toBeUndefined();
  });

  test('forget a directory only with the addition that it belonged to', () => {
    const fs = durableDisk();
    open(fs).receive(2, helloOf(2, 'first'));
    // Whoever slept through removal and addition sees only that the member is another.
    const again = open(fs, {
      config: after([
        [10, remove(2)],
        [20, add(2)],
      ]),
      index: 20,
    });
    expect(why(again, 2, helloOf(2, 'second'))).toBeUndefined();
    expect(why(again, 2, helloOf(2, 'first'))).toContain('a new data directory');
  });

  test('hold on to a directory while the removal may be taken back', () => {
    const introductions = open(durableDisk());
    introductions.receive(2, helloOf(2, 'first'));
    introductions.follow(after([[10, remove(2)]]), 11, false);
    expect(introductions.isKnown(2)).toBe(true);
    introductions.follow(THREE, 0, true);
    expect(why(introductions, 2, helloOf(2, 'second'))).toContain('a new data directory');
  });

  test('tell a removed node so, once, and only when that is certain', () => {
    const introductions = open(durableDisk());
    introductions.receive(2, helloOf(2));
    introductions.follow(after([[10, remove(2)]]), 11, false);
    expect(why(introductions, 2, helloOf(2))).toBeUndefined();
    introductions.follow(after([[10, remove(2)]]), 11, true);
    expect(introductions.isKnown(2)).toBe(false);
    expect(introductions.members).toEqual([3]);
    const told = { kind: 'refusal', why: 'n2 is no longer a member of this cluster', index: 11 };
    expect(introductions.receive(2, helloOf(2))).toEqual({ refusal: told, isAccepted: true, isNews: true });
    expect(introductions.receive(2, helloOf(2))).toEqual({ refusal: told, isAccepted: true, isNews: false });
  });

  test('tell nobody that it is no member by a configuration that may be taken back', () => {
    const introductions = open(durableDisk());
    // Another leader may have committed another configuration at the same place.
    introductions.follow(after([[10, add(5)]]), 10, false);
    expect(why(introductions, 4, { ...joining, since: 10 })).toBeUndefined();
    introductions.follow(after([[10, add(5)]]), 10, true);
    expect(why(introductions, 4, { ...joining, since: 10 })).toContain('no longer a member');
    expect(why(introductions, 4, { ...joining, since: 11 })).toBeUndefined();
  });

  test('believe a node that knows of an addition which is news here, and pin nothing', () => {
    const introductions = open(durableDisk());
    introductions.receive(2, helloOf(2, 'first'));
    expect(why(introductions, 2, { ...helloOf(2, 'second'), since: 20 })).toBeUndefined();
    expect(introductions.isKnown(2)).toBe(true);
    expect(why(introductions, 4, { ...joining, since: 30 })).toBeUndefined();
    expect(why(introductions, 2, helloOf(2, 'first'))).toBeUndefined();
  });

  test('are unwanted when a member knows better, and not when it knows less', () => {
    const refusal = { kind: 'refusal', why: 'go', index: 5 } as const;
    const behind = open(durableDisk(), { index: 4 });
    expect(behind.refusedBy(2, refusal)).toBe(true);
    // Of another cluster, for all that is known.
    expect(behind.isUnwanted).toBe(false);
    behind.receive(2, helloOf(2));
    expect(behind.isUnwanted).toBe(true);
    expect(behind.refusedBy(2, refusal)).toBe(false);
    behind.follow(THREE, 6, true);
    expect(behind.isUnwanted).toBe(false);
    const ahead = open(durableDisk(), { index: 6 });
    ahead.receive(2, helloOf(2));
    expect(ahead.refusedBy(2, refusal)).toBe(false);
    expect(ahead.isUnwanted).toBe(false);
  });

  test('begin again with a stranger that talks without a hello, a little later', () => {
    const introductions = open(durableDisk());
    introductions.connected(7);
    for (let nowMs = 0; nowMs < 10_000; nowMs++) introductions.due(nowMs);
    expect(introductions.due(20_000)).toEqual([2, 3]);
    introductions.heardStranger(7, 20_000);
    introductions.heardStranger(7, 20_500);
    expect(introductions.due(20_900)).not.toContain(7);
    expect(introductions.due(21_000)).toContain(7);
  });

  test('remember a bounded number of strangers, and every member', () => {
    const introductions = open(durableDisk());
    introductions.receive(2, helloOf(2));
    for (let id = 100; id < 300; id++) introductions.receive(id, { ...helloOf(id), founders: [] });
    expect([introductions.isKnown(100), introductions.isKnown(299), introductions.isKnown(2)]).toEqual([
      false,
      true,
      true,
    ]);
  });

  test('keep the founders of a directory, whatever they are told later', () => {
    const fs = durableDisk();
    open(fs);
    expect(open(worst(fs), { voters: [1, 2, 3, 4] }).founders).toEqual([1, 2, 3]);
    const joined = durableDisk();
    open(joined, { voters: [] });
    expect(open(joined).founders).toEqual([]);
  });
});

describe('nodes and hellos', () => {
  test('come together although hellos are lost', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 4 });
    for (const from of [1, 2, 3]) for (const to of [1, 2, 3]) network.link(from, to, { loss: 0.7 });
    network.run(2000);
    network.heal();
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    expect(network.ask(2, { kind: 'set', key: utf8('a'), value: utf8('1') }).kind).toBe('ok');
  });

  test('a wiped node is not let back in under its old name, and the others go on', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 5 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    expect(network.ask(1, { kind: 'set', key: utf8('a'), value: utf8('1') }).kind).toBe('ok');
    const other = network.leader?.id === 3 ? 2 : 3;
    network.wipe(other);
    network.start(other);
    network.run(network.nowMs + 5000);
    const { raft, keys } = network.host(other).running.status();
    expect([raft.commit, keys]).toEqual([0, 0]);
    const rest = [1, 2, 3].filter((id) => id !== other);
    for (const id of rest) {
      const refusals = network
        .host(id)
        .running.takeEvents()
        .events.filter(({ kind }) => kind === 'refuse');
      expect(refusals[0]?.text).toContain(`refuses n${other}`);
    }
    for (const id of rest) network.crash(id);
    for (const id of rest) network.start(id);
    network.run(network.nowMs + 5000);
    expect(network.host(other).running.status().raft.commit).toBe(0);
    expect(network.ask(rest[0] ?? 0, { kind: 'get', key: utf8('a') })).toEqual({
      kind: 'value',
      value: utf8('1'),
    });
  });
});
