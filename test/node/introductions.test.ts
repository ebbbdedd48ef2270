/** A peer is believed when it is of this cluster and on the data directory that it always had. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { Introductions } from '../../src/node/introductions.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { helloOf, newDisk } from './solo.ts';

function open(fs: FileSystem): Introductions {
  return new Introductions({
    fs,
    directory: 'data',
    self: { cluster: 'test', incarnation: 'one' },
    peers: [2, 3],
  });
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
  test('waits for every peer until hellos have gone both ways', () => {
    const introductions = open(durableDisk());
    expect(introductions.waiting()).toEqual([2, 3]);
    expect(introductions.isKnown(2)).toBe(false);
    expect(introductions.hello(2, 'here:1')).toEqual({
      kind: 'hello',
      cluster: 'test',
      incarnation: 'one',
      client: 'here:1',
      greeted: false,
    });
    const first = { ...helloOf(2), client: 'there:2', greeted: false };
    expect(introductions.receive(2, first)).toBeUndefined();
    expect(introductions.isKnown(2)).toBe(true);
    expect(introductions.clientOf(2)).toBe('there:2');
    expect(introductions.hello(2, '').greeted).toBe(true);
    expect(introductions.waiting()).toEqual([2, 3]);
    expect(introductions.receive(2, { ...first, greeted: true })).toBeUndefined();
    expect(introductions.waiting()).toEqual([3]);
  });

  test('starts over on a new connection', () => {
    const introductions = open(durableDisk());
    introductions.receive(2, helloOf(2));
    const before = introductions.connectionOf(2);
    introductions.connected(2);
    introductions.connected(9);
    expect(introductions.isKnown(2)).toBe(false);
    expect(introductions.waiting()).toEqual([2, 3]);
    expect(introductions.connectionOf(2)).not.toBe(before);
  });

  test.each([
    {
      name: 'of another cluster',
      from: 2,
      hello: { ...helloOf(2), cluster: 'other' },
      why: 'another cluster',
    },
    { name: 'that is no member', from: 9, hello: helloOf(9), why: 'not a member' },
  ])('refuses a node $name, and remembers nothing of it', ({ from, hello, why }) => {
    const fs = durableDisk();
    const introductions = open(fs);
    expect(introductions.receive(from, hello)).toContain(why);
    expect(introductions.isKnown(from)).toBe(false);
    expect(fs.exists('data/peers.json')).toBe(false);
  });

  test('refuses a peer on a new data directory, also after a restart, and takes the old one again', () => {
    const fs = durableDisk();
    open(fs).receive(2, helloOf(2, 'first'));
    const disk = worst(fs);
    for (let life = 0; life < 3; life++) {
      const introductions = open(disk);
      expect(introductions.receive(2, helloOf(2, 'second'))).toContain('its data directory is new');
      expect(introductions.isKnown(2)).toBe(false);
    }
    const introductions = open(disk);
    expect(introductions.receive(2, helloOf(2, 'first'))).toBeUndefined();
    expect(introductions.isKnown(2)).toBe(true);
    // Wiped while it was known.
    expect(introductions.receive(2, helloOf(2, 'second'))).toBeDefined();
    expect(introductions.isKnown(2)).toBe(false);
  });

  test('remembers each peer before it believes it', () => {
    const fs = durableDisk();
    const introductions = open(fs);
    introductions.receive(2, helloOf(2, 'a'));
    introductions.receive(3, helloOf(3, 'b'));
    const again = open(worst(fs));
    expect(again.receive(2, helloOf(2, 'x'))).toBeDefined();
    expect(again.receive(3, helloOf(3, 'x'))).toBeDefined();
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

  test.each(['', 'null', '7', '{', '{"n0":"x"}', '{"2":"x"}', '{"n2":7}', '\u00ff\u00fe', '["n2"]'])(
    'refuses a damaged peers.json: %j',
    (text) => {
      const fs = durableDisk();
      fs.poke(
        'data/peers.json',
        Uint8Array.from(text, (c) => c.charCodeAt(0)),
      );
      expect(() => open(fs)).toThrow(CorruptionError);
    },
  );
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
