/** Flow control: windows of messages and bytes, probing, and how fast two logs that went apart come together again. */
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import { Progress } from '../../src/raft/progress.ts';
import { type Packet, RaftNetwork } from '../support/raft-network.ts';

const WIDE = { inflightMessagesMax: 100, inflightBytesMax: 1_000_000 };

function streaming(window: {
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
}): Progress {
  const progress = new Progress(2, 1, 0, window);
  progress.acknowledged(0, 0, 0);
  return progress;
}

function appends(packets: readonly Packet[], to: number): readonly Packet[] {
  return packets.filter(
    (packet) => packet.to === to && packet.kind === 'message' && packet.message.kind === 'append',
  );
}

function many(term: number): readonly number[] {
  return Array.from({ length: 50_000 }, () => term);
}

function settle(network: RaftNetwork): void {
  while (network.packets.length > 0) network.deliver(network.packets.slice(0, 1));
}

function elected(options: ConstructorParameters<typeof RaftNetwork>[0]): RaftNetwork {
  const network = new RaftNetwork(options);
  network.step(1, { kind: 'campaign' });
  settle(network);
  expect(network.leader?.id).toBe(1);
  return network;
}

describe('Progress', () => {
  it('is full by the number of messages in flight, and frees what is acknowledged', () => {
    const progress = streaming({ inflightMessagesMax: 3, inflightBytesMax: 1_000 });
    for (const last of [2, 5, 9]) progress.sent(last, 1, 0);
    expect([progress.isFull, progress.next]).toEqual([true, 10]);
    progress.acknowledged(4, 0, 0);
    expect(progress.isFull).toBe(false);
    progress.sent(10, 1, 0);
    expect(progress.isFull).toBe(true);
    progress.acknowledged(10, 0, 0);
    expect(progress.hasInflight).toBe(false);
  });

  it('is full by the bytes in flight; one message may exceed them', () => {
    const progress = streaming({ inflightMessagesMax: 100, inflightBytesMax: 50 });
    progress.sent(1, 49, 0);
    expect(progress.isFull).toBe(false);
    progress.sent(2, 500, 0);
    expect(progress.isFull).toBe(true);
    progress.acknowledged(1, 0, 0);
    expect(progress.isFull).toBe(true);
    progress.acknowledged(2, 0, 0);
    expect(progress.isFull).toBe(false);
  });

  it('says whether an acknowledgement is news, and begins to stream behind it', () => {
    const progress = new Progress(2, 8, 0, WIDE);
    expect(progress.acknowledged(3, 0, 0)).toBe(true);
    expect(progress.view).toEqual({ id: 2, mode: 'replicate', match: 3, next: 4 });
    expect(progress.acknowledged(3, 0, 0)).toBe(false);
  });

  it('never probes what is acknowledged, and forgets what was in flight', () => {
    const progress = streaming(WIDE);
    progress.acknowledged(5, 0, 0);
    progress.sent(9, 10, 0);
    progress.probeFrom(2, 0);
    expect(progress.view).toEqual({ id: 2, mode: 'probe', match: 5, next: 6 });
    expect(progress.hasInflight).toBe(false);
  });

  it('waits for a snapshot until the follower holds what the log begins behind (P68)', () => {
    const progress = streaming(WIDE);
    progress.acknowledged(2, 0, 0);
    progress.awaitSnapshot(0);
    expect(progress.acknowledged(4, 5, 0)).toBe(true);
    expect(progress.view).toMatchObject({ mode: 'snapshot', match: 4 });
    progress.acknowledged(5, 5, 0);
    expect(progress.view).toMatchObject({ mode: 'replicate', next: 6 });
  });

  it('counts messages in flight only while streaming', () => {
    expect(() => new Progress(2, 1, 0, WIDE).sent(1, 1, 0)).toThrow(AssertionError);
  });
});

describe('replication', () => {
  it('keeps no more appends in flight than the window has room for', () => {
    const network = elected({ nodes: 3, seed: 1, config: { inflightMessagesMax: 4 } });
    for (let i = 0; i < 20; i++) network.propose(1, `x${i}`);
    expect(appends(network.packets, 2)).toHaveLength(4);
    settle(network);
    expect(network.node(2).memory.last.index).toBe(21);
  });

  it('keeps no more bytes in flight than the window has room for', () => {
    const network = elected({ nodes: 3, seed: 1, config: { inflightBytesMax: 100 } });
    for (let i = 10; i < 30; i++) network.propose(1, `x${i}`);
    // Entries of 24 bytes: the fifth goes over 100, and nothing follows.
    expect(appends(network.packets, 2)).toHaveLength(5);
    settle(network);
    expect(network.node(2).memory.last.index).toBe(21);
  });

  it('cuts a long log into appends of bounded size', () => {
    const network = elected({ nodes: 3, seed: 1, config: { appendBytesMax: 100 } });
    network.propose(1, ...Array.from({ length: 40 }, (_, i) => `x${i + 10}`));
    for (const packet of appends(network.packets, 2)) {
      if (packet.kind !== 'message' || packet.message.kind !== 'append') continue;
      expect(packet.message.entries.length).toBe(4);
    }
    settle(network);
    expect(network.node(2).memory.last.index).toBe(41);
  });

  it('knocks at a silent follower once a heartbeat, with entries the first time only', () => {
    const network = elected({ nodes: 3, seed: 1 });
    let sent: Packet[] = [];
    network.isCut = (packet) => {
      if (packet.to === 3) sent.push(packet);
      return packet.to === 3;
    };
    network.propose(1, 'x');
    network.step(1, { kind: 'unreachable', peer: 3 });
    sent = [];
    network.advance(500, () => settle(network));
    const knocks = appends(sent, 3);
    expect(knocks).toHaveLength(10);
    expect(
      knocks.every(
        (packet) =>
          packet.kind === 'message' &&
          packet.message.kind === 'append' &&
          packet.message.entries.length === 0,
      ),
    ).toBe(true);
  });

  it('brings two logs of 100,000 entries together in a few messages when they differ in few terms (P12)', () => {
    const ours = [1, ...many(2), ...many(6)];
    const theirs = [1, ...many(3), ...many(5)];
    let rejections = 0;
    let sent = 0;
    const network = new RaftNetwork({
      nodes: 2,
      seed: 1,
      disks: new Map([
        [1, { terms: ours }],
        [2, { terms: theirs }],
      ]),
      onHappening: (happening) => {
        if (happening.kind === 'event' && happening.event.kind === 'reject') rejections += 1;
        if (happening.kind === 'sent') sent += appends([happening.packet], 2).length;
      },
    });
    network.step(1, { kind: 'campaign' });
    settle(network);
    expect(network.leader?.id).toBe(1);
    expect(network.node(2).memory.last.hash).toBe(network.node(1).memory.last.hash);
    expect(rejections).toBeLessThanOrEqual(4);
    // 100,001 entries of about 30 bytes in appends of 1 MiB, and the probes before.
    expect(sent).toBeLessThanOrEqual(10);
  });
});
