/** Snapshots arrive whole and as they were sent, or not at all, whatever the network does to their parts. */
import { describe, expect, test } from 'vitest';
import { equalBytes, utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { type Envelope, LIMITS } from '../../src/net/protocol.ts';
import { type ArrivedSnapshot, SnapshotReceiver, SnapshotSender } from '../../src/node/snapshot-transfer.ts';
import { NodeNetwork } from '../support/node-network.ts';

type Part = Extract<Envelope, { readonly kind: 'snapshotPart' }>;

const POSITION = { index: 9, term: 2 };
const PART_BYTES = LIMITS.snapshotPartBytesMax;

function bytesOf(length: number, seed = 1): Uint8Array {
  const random = new Random(seed);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 97) bytes[i] = random.int(0, 255);
  return bytes;
}

function partsOf(sender: SnapshotSender): readonly Part[] {
  return sender.parts().map(({ part }) => part);
}

/** All parts of a snapshot, in order. */
function allParts(bytes: Uint8Array, term = 3): readonly Part[] {
  const sender = new SnapshotSender();
  sender.start(2, term, { position: POSITION, bytes }, 0);
  const parts: Part[] = [];
  for (let more = partsOf(sender); more.length > 0; more = partsOf(sender)) {
    for (const part of more) {
      parts.push(part);
      sender.acknowledge(2, part.transfer, part.offset + part.bytes.length, 0);
    }
  }
  return parts;
}

/** What arrives when these parts do. */
function arrivals(
  receiver: SnapshotReceiver,
  from: number,
  parts: readonly Part[],
): readonly ArrivedSnapshot[] {
  return parts.flatMap((part) => receiver.receive(from, part).arrived ?? []);
}

describe('SnapshotSender', () => {
  test('keeps a window of parts on their way, and ends when all are acknowledged', () => {
    const sender = new SnapshotSender();
    const bytes = bytesOf(6 * PART_BYTES + 5);
    sender.start(2, 3, { position: POSITION, bytes }, 0);
    const first = partsOf(sender);
    expect(first.map(({ offset }) => offset / PART_BYTES)).toEqual([0, 1, 2, 3]);
    expect(partsOf(sender)).toEqual([]);
    sender.acknowledge(2, 1, 2 * PART_BYTES, 10);
    expect(partsOf(sender).map(({ offset }) => offset / PART_BYTES)).toEqual([4, 5]);
    sender.acknowledge(2, 1, 6 * PART_BYTES, 20);
    expect(partsOf(sender).map((part) => part.bytes.length)).toEqual([5]);
    expect(sender.ended(20)).toEqual([]);
    sender.acknowledge(2, 1, bytes.length, 30);
    expect(sender.ended(30)).toEqual([{ peer: 2, ok: true }]);
    expect(sender.ended(30)).toEqual([]);
    expect(sender.isIdle).toBe(true);
  });

  test('gives up after two seconds without news, and not before', () => {
    const sender = new SnapshotSender();
    sender.start(2, 3, { position: POSITION, bytes: bytesOf(2 * PART_BYTES) }, 0);
    sender.parts();
    sender.acknowledge(2, 1, PART_BYTES, 1000);
    sender.acknowledge(2, 1, PART_BYTES, 2900); // no news
    expect(sender.ended(3000)).toEqual([]);
    expect(sender.ended(3001)).toEqual([{ peer: 2, ok: false }]);
    expect(sender.isIdle).toBe(true);
  });

  test('ignores acknowledgements of another transfer, of what was not sent, and of nobody', () => {
    const sender = new SnapshotSender();
    const bytes = bytesOf(5 * PART_BYTES);
    sender.start(2, 3, { position: POSITION, bytes }, 0);
    sender.start(2, 3, { position: POSITION, bytes }, 0);
    sender.parts();
    sender.acknowledge(2, 1, PART_BYTES, 0);
    sender.acknowledge(2, 2, bytes.length, 0);
    sender.acknowledge(3, 2, PART_BYTES, 0);
    expect(partsOf(sender)).toEqual([]);
    expect(sender.ended(0)).toEqual([]);
    sender.clear();
    expect(sender.isIdle).toBe(true);
  });

  test('sends to several followers at once', () => {
    const sender = new SnapshotSender();
    for (const to of [2, 3]) sender.start(to, 3, { position: POSITION, bytes: bytesOf(10) }, 0);
    expect(sender.parts().map(({ to, part }) => [to, part.transfer])).toEqual([
      [2, 1],
      [3, 2],
    ]);
  });
});

describe('SnapshotReceiver', () => {
  test.each([1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 7])(
    'gives back %i bytes as they were sent',
    (length) => {
      const receiver = new SnapshotReceiver();
      const bytes = bytesOf(length);
      const acks: (number | undefined)[] = [];
      let arrived: ArrivedSnapshot | undefined;
      for (const part of allParts(bytes)) {
        const result = receiver.receive(4, part);
        acks.push(result.ack);
        arrived = result.arrived;
      }
      expect(acks.at(-1)).toBe(length);
      expect(arrived).toMatchObject({ from: 4, term: 3, position: POSITION });
      expect(equalBytes(arrived?.bytes ?? new Uint8Array(0), bytes)).toBe(true);
    },
  );

  test('takes nothing when a part is lost, overtaken or damaged', () => {
    const parts = allParts(bytesOf(4 * PART_BYTES));
    for (let i = 0; i < parts.length; i++) {
      const lost = parts.filter((_, k) => k !== i);
      expect(arrivals(new SnapshotReceiver(), 2, lost)).toEqual([]);
      const damaged = parts.map((part, k) => {
        const bytes = part.bytes.slice();
        if (k === i) bytes[7] = (bytes[7] ?? 0) ^ 1;
        return { ...part, bytes };
      });
      expect(arrivals(new SnapshotReceiver(), 2, damaged)).toEqual([]);
    }
    const [a, b, c, d] = parts;
    if (!a || !b || !c || !d) throw new Error('Four parts were expected');
    expect(arrivals(new SnapshotReceiver(), 2, [a, c, b, d])).toEqual([]);
    // A part overtaken by its successor comes again: only then does the transfer go on.
    expect(arrivals(new SnapshotReceiver(), 2, [a, c, b, c, d])).toHaveLength(1);
  });

  test('a part that comes twice changes nothing', () => {
    const parts = allParts(bytesOf(3 * PART_BYTES));
    const twice = parts.slice(0, -1).flatMap((part) => [part, part]);
    expect(arrivals(new SnapshotReceiver(), 2, [...twice, ...parts.slice(-1)])).toHaveLength(1);
  });

  test('of two leaders the newer transfer wins, and no bytes mix', () => {
    const old = allParts(bytesOf(3 * PART_BYTES, 1), 3);
    const [a, b, c] = allParts(bytesOf(3 * PART_BYTES, 2), 4);
    const [x, y, z] = old;
    if (!a || !b || !c || !x || !y || !z) throw new Error('Three parts were expected');
    const receiver = new SnapshotReceiver();
    expect(arrivals(receiver, 2, [x, y])).toEqual([]);
    expect(arrivals(receiver, 3, [a])).toEqual([]);
    expect(arrivals(receiver, 2, [z])).toEqual([]);
    expect(arrivals(receiver, 3, [b, c])).toMatchObject([{ from: 3, term: 4 }]);
  });

  test('a leader that restarted and counts its transfers anew is heard at once', () => {
    const receiver = new SnapshotReceiver();
    const [x] = allParts(bytesOf(2 * PART_BYTES, 1));
    const fresh = allParts(bytesOf(2 * PART_BYTES, 2), 5);
    if (!x) throw new Error('A part was expected');
    expect(arrivals(receiver, 2, [x, ...fresh])).toMatchObject([{ term: 5 }]);
  });

  test('refuses a snapshot over the limit before it makes room for it', () => {
    const [part] = allParts(bytesOf(10));
    if (!part) throw new Error('A part was expected');
    const receiver = new SnapshotReceiver();
    const large = { ...part, totalBytes: LIMITS.snapshotBytesMax + 1 };
    expect(receiver.receive(2, large)).toEqual({ ack: undefined, arrived: undefined });
  });

  test('refuses parts that do not fit what the first one promised', () => {
    const [first, second] = allParts(bytesOf(2 * PART_BYTES));
    if (!first || !second) throw new Error('Two parts were expected');
    const longer = { ...second, totalBytes: 3 * PART_BYTES };
    const overrun = { ...second, bytes: new Uint8Array(PART_BYTES + 1) };
    for (const bad of [longer, overrun])
      expect(arrivals(new SnapshotReceiver(), 2, [first, bad, bad])).toEqual([]);
  });
});

describe('a snapshot between nodes', () => {
  test('of several parts gets through a link that loses, doubles and mixes up', () => {
    const network = new NodeNetwork({ nodes: 3, seed: 8, snapshotEntries: 20, segmentBytesMax: 1024 });
    expect(network.runUntil(() => network.leader !== undefined, 5000)).toBe(true);
    const leader = network.leader?.id ?? 0;
    const behind = leader === 3 ? 2 : 3;
    network.isolate(behind);
    for (let i = 0; i < 60; i++) {
      const value = utf8(`${i} `.padEnd(60_000, 'x'));
      expect(network.ask(leader, { kind: 'set', key: utf8(`k${i % 10}`), value }).kind).toBe('ok');
    }
    network.heal();
    for (const from of [1, 2, 3])
      for (const to of [1, 2, 3])
        network.link(from, to, { loss: 0.05, duplicate: 0.2, reorder: true, delayMsMax: 5 });
    const follower = network.host(behind);
    const installed = (): number => follower.running.status().snapshotIndex;
    expect(installed()).toBe(0);
    expect(network.runUntil(() => installed() > 0, 60_000)).toBe(true);
    network.run(network.nowMs + 1000);
    expect(follower.engine?.text === network.host(leader).engine?.text).toBe(true);
  });
});
