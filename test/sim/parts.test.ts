/** The parts of the scheduler by themselves: the queue, clocks, partitions, damage, the running hash. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { NodeClock } from '../../src/sim/clock.ts';
import { damage } from '../../src/sim/damage.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { EventQueue } from '../../src/sim/event-queue.ts';
import { type LinkQuality, Network, PARTITIONS, pairsOf, partition } from '../../src/sim/network.ts';
import { RunHash } from '../../src/sim/run-hash.ts';
import { encodeFrame } from '../../src/net/codec.ts';
import { Wal } from '../../src/storage/wal.ts';

const NODES = [1, 2, 3, 4, 5];
const CALM: LinkQuality = {
  latencyMsMin: 1,
  jitterMs: 1,
  tail: 0,
  tailFactor: 1,
  loss: 0,
  duplicate: 0,
  replay: 0,
  reorder: 0,
  framesMax: 100_000,
};
const HEARTBEAT = encodeFrame([
  { kind: 'raft', message: { kind: 'heartbeat', from: 1, to: 2, term: 1, commit: 0, round: 1 } },
]);
const FORWARD = encodeFrame([{ kind: 'forward', id: 1, request: { kind: 'get', key: new Uint8Array([1]) } }]);

function network(quality: Partial<LinkQuality>): Network {
  return new Network({ nodes: NODES, seed: 'test', quality: { ...CALM, ...quality } });
}

describe('EventQueue', () => {
  test('gives back everything, earliest first', () => {
    const random = new Random(1);
    const queue = new EventQueue<number>(new Random(2));
    const times = Array.from({ length: 500 }, () => random.int(0, 100));
    for (const time of times) queue.push(time, time);
    const popped: number[] = [];
    for (let time = queue.pop(); time !== undefined; time = queue.pop()) popped.push(time);
    expect(popped).toEqual(times.toSorted((a, b) => a - b));
    expect(queue.nextMs).toBe(Infinity);
  });

  test('orders events of one time by the seed', () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 30; seed++) {
      const queue = new EventQueue<string>(new Random(seed));
      for (const name of 'abc') queue.push(1, name);
      orders.add([queue.pop(), queue.pop(), queue.pop()].join(''));
    }
    expect(orders.size).toBe(6);
  });
});

describe('NodeClock', () => {
  test('drifts, and never jumps when it changes its rate', () => {
    const clock = new NodeClock();
    clock.restart(100, 7);
    expect(clock.read(110)).toBe(17);
    clock.setRate(1.05, 110);
    expect(clock.read(110)).toBe(17);
    expect(clock.read(210)).toBeCloseTo(122);
  });

  test('has certainly passed a deadline when it says so', () => {
    const random = new Random(3);
    const clock = new NodeClock();
    for (let i = 0; i < 1000; i++) {
      clock.setRate(0.95 + random.ratio() * 0.1, i);
      const deadlineMs = clock.read(i) + random.ratio() * 500;
      expect(clock.read(clock.whenItShows(deadlineMs))).toBeGreaterThanOrEqual(deadlineMs);
    }
    expect(clock.whenItShows(Infinity)).toBe(Infinity);
  });
});

describe('Network', () => {
  test('keeps the order of a link that does not reorder', () => {
    const net = network({ jitterMs: 50 });
    let last = 0;
    for (let i = 0; i < 200; i++) {
      const [arrival] = net.send(1, 2, HEARTBEAT, i).arrivals;
      expect(arrival?.atMs).toBeGreaterThan(last);
      last = arrival?.atMs ?? 0;
    }
  });

  test('repeats what nodes say on their own account, and never a request', () => {
    const net = network({ duplicate: 1, replay: 1 });
    for (let i = 0; i < 300; i++) net.send(1, 2, FORWARD, i);
    expect(net.counts).toMatchObject({ duplicated: 0, replayed: 0 });
    for (let i = 0; i < 300; i++) net.send(1, 2, HEARTBEAT, i);
    expect(net.counts.duplicated).toBe(300);
    expect(net.counts.replayed).toBeGreaterThan(100);
  });

  test('repeats of a mixed frame only the part that may be', () => {
    const net = network({ duplicate: 1 });
    const mixed = encodeFrame([
      { kind: 'raft', message: { kind: 'heartbeat', from: 1, to: 2, term: 1, commit: 0, round: 1 } },
      { kind: 'forward', id: 1, request: { kind: 'get', key: new Uint8Array([1]) } },
    ]);
    const { arrivals } = net.send(1, 2, mixed, 0);
    expect(arrivals.map(({ bytes }) => bytes)).toEqual([mixed, HEARTBEAT]);
  });

  test('is cut until every cause is gone, also for what is under way', () => {
    const net = network({});
    const { frame } = net.send(1, 2, HEARTBEAT, 0);
    net.cut(1, 2);
    net.cut(1, 2);
    expect(net.arrive(1, 2, frame)).toBe(false);
    net.mend(1, 2);
    expect(net.isCut(1, 2)).toBe(true);
    net.mend(1, 2);
    expect(net.isCut(1, 2)).toBe(false);
    expect(net.isCut(2, 1)).toBe(false);
  });

  test('loses what was under way on a connection that is made anew, and nothing later', () => {
    const net = network({});
    const before = net.send(1, 2, HEARTBEAT, 0).frame;
    net.reset(1, 2);
    const after = net.send(1, 2, HEARTBEAT, 0).frame;
    expect(net.arrive(1, 2, before)).toBe(false);
    expect(net.arrive(1, 2, after)).toBe(true);
  });

  test('holds frames back while it is clogged, and takes no more than fit', () => {
    const net = network({ framesMax: 3 });
    net.clog(1, 2, 500);
    const sent = Array.from({ length: 5 }, () => net.send(1, 2, HEARTBEAT, 0).arrivals);
    expect(sent.map((arrivals) => arrivals.length)).toEqual([1, 1, 1, 0, 0]);
    for (const arrival of sent.flat()) expect(arrival.atMs).toBeGreaterThanOrEqual(500);
  });
});

describe('partition()', () => {
  test.each(PARTITIONS)('%s cuts something, and not everything', (kind) => {
    for (let seed = 0; seed < 50; seed++) {
      const pairs = partition(kind, NODES, 3, new Random(seed));
      expect(pairs.length).toBeGreaterThan(0);
      expect(pairs.length).toBeLessThan(pairsOf(NODES).length);
      expect(new Set(pairs.map(String)).size).toBe(pairs.length);
    }
  });

  test('a bridge reaches everybody, and the halves only it', () => {
    const cut = new Set(partition('bridge', NODES, 3, new Random(1)).map(String));
    for (const id of [1, 2, 4, 5]) {
      expect(cut.has(`3,${id}`)).toBe(false);
      expect(cut.has(`${id},3`)).toBe(false);
    }
    expect(cut.size).toBe(8);
  });

  test('a ring leaves everybody a majority, and no two the same one', () => {
    const cut = new Set(partition('ring', NODES, 3, new Random(1)).map(String));
    const seen = NODES.map((from) => NODES.filter((to) => to === from || !cut.has(`${from},${to}`)));
    for (const group of seen) expect(group.length).toBe(3);
    expect(new Set(seen.map(String)).size).toBe(NODES.length);
  });
});

describe('damage()', () => {
  test('is always noticed by the log', () => {
    for (let seed = 0; seed < 200; seed++) {
      const fs = new CrashFileSystem();
      fs.makeDirectory('data/wal');
      const options = { fs, directory: 'data/wal', segmentBytesMax: 256 };
      const { wal } = Wal.open(options);
      for (let i = 0; i < 10; i++) {
        if (wal.shouldRoll) wal.roll();
        wal.append(1, 0, [new Uint8Array(40).fill(i)]);
        wal.sync();
      }
      wal.close();
      expect(damage(fs, 'data', new Random(seed))).toMatch(/^flipped bit \d at offset \d+ of "data\/wal/);
      expect(() => Wal.open(options), `seed ${seed}`).toThrow(/damaged|format|says it is/);
    }
  });

  test('finds nothing on an empty disk', () => {
    expect(damage(new CrashFileSystem(), 'data', new Random(1))).toBe('found nothing to damage');
  });
});

function digest(feed: (hash: RunHash) => void): string {
  const hash = new RunHash();
  feed(hash);
  return hash.hex();
}

describe('RunHash', () => {
  test('depends on every number, text and byte, and on their order', () => {
    const all = new Set([
      digest(() => undefined),
      digest((hash) => hash.number(1)),
      digest((hash) => hash.number(1.5)),
      digest((hash) => hash.number(-1)),
      digest((hash) => hash.text('a')),
      digest((hash) => hash.text('b')),
      digest((hash) => hash.bytes(new Uint8Array([1]))),
      digest((hash) => {
        hash.number(1);
        hash.number(2);
      }),
      digest((hash) => {
        hash.number(2);
        hash.number(1);
      }),
    ]);
    expect(all.size).toBe(9);
  });
});

describe('a sync that lies', () => {
  test.each([true, false])('keeps nothing through a power cut: lies %s', (lies) => {
    const fs = new CrashFileSystem();
    if (lies) fs.intercept = ({ kind }) => (kind.startsWith('sync') ? { kind: 'lie' } : undefined);
    const file = fs.open('a', 'create');
    file.write(new Uint8Array([1, 2, 3]), 0);
    file.sync();
    fs.syncDirectory('');
    expect(fs.peek('a').length).toBe(3);
    expect(fs.hasPending).toBe(lies);
    expect(fs.crash(new Random(1), 'worst').exists('a')).toBe(!lies);
  });
});
