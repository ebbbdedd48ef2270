import { once } from 'node:events';
import { type Socket, connect, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { concatBytes, latin1, utf8 } from '../../src/lib/bytes.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import { encodeFrame } from '../../src/net/codec.ts';
import type { Envelope } from '../../src/net/protocol.ts';
import { type SocketPeer, SocketTransport } from '../../src/net/socket.ts';
import { FrameSplitter } from '../../src/net/stream-frames.ts';
import {
  type TransportRig,
  describeTransport,
  eventually,
  numberOf,
  numbered,
} from '../conformance/transport.ts';

const HOST = '127.0.0.1';

/** What to close after each test. */
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, HOST);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No port');
  server.close();
  await once(server, 'close');
  return address.port;
}

function at(id: number, port: number): SocketPeer {
  return { id, address: { host: HOST, port } };
}

/** A life of a node with one peer. */
class Life {
  readonly received: { readonly from: number; readonly envelope: Envelope }[] = [];
  readonly connected: number[] = [];
  readonly disconnected: number[];
  readonly transport: SocketTransport;

  private constructor(
    transport: SocketTransport,
    seen: Pick<Life, 'received' | 'connected' | 'disconnected'>,
  ) {
    this.transport = transport;
    this.received = seen.received;
    this.connected = seen.connected;
    this.disconnected = seen.disconnected;
  }

  static async open(
    self: number,
    port: number,
    peer: { readonly id: number; readonly port: number } | undefined,
    greetingMs = 5000,
  ): Promise<Life> {
    const received: { readonly from: number; readonly envelope: Envelope }[] = [];
    const connected: number[] = [];
    const disconnected: number[] = [];
    const transport = await SocketTransport.listen({
      self,
      host: HOST,
      port,
      peers: peer === undefined ? [] : [at(peer.id, peer.port)],
      greetingMs,
      connected: (id) => void connected.push(id),
      disconnected: (id) => void disconnected.push(id),
      receive: (from, envelopes) => {
        for (const envelope of envelopes) received.push({ from, envelope });
      },
    });
    return new Life(transport, { received, connected, disconnected });
  }
}

function isProbe({ envelope }: { readonly envelope: Envelope }): boolean {
  return envelope.kind === 'snapshotEnd';
}

async function openRig(): Promise<TransportRig> {
  const ports = { 1: await freePort(), 2: await freePort() };
  const open = (id: 1 | 2): Promise<Life> => {
    const peer = id === 1 ? 2 : 1;
    return Life.open(id, ports[id], { id: peer, port: ports[peer] });
  };
  const lives = { 1: await open(1), 2: await open(2) };
  /** Both connections stand when something gets through each; what gets through is taken out again. */
  const settle = async (): Promise<void> => {
    await eventually(() => {
      const probe: Envelope = { kind: 'snapshotEnd', term: 0, transfer: 0, outcome: 'installed' };
      lives[1].transport.send(2, [probe]);
      lives[2].transport.send(1, [probe]);
      expect([lives[1].received.some(isProbe), lives[2].received.some(isProbe)]).toEqual([true, true]);
    });
    // The last probes are behind all others.
    for (const [from, to] of [
      [1, 2],
      [2, 1],
    ] as const)
      lives[from].transport.send(to, [numbered(0)]);
    await eventually(() => {
      for (const life of [lives[1], lives[2]])
        expect(life.received.some(({ envelope }) => numberOf(envelope) === 0)).toBe(true);
    });
    for (const life of [lives[1], lives[2]]) life.received.length = 0;
  };
  await settle();
  return {
    transport: (id) => lives[id].transport,
    received: (id) => lives[id].received,
    restart: async (id) => {
      await lives[id].transport.close();
      lives[id] = await open(id);
      await settle();
    },
    stop: (id) => lives[id].transport.close(),
    close: async () => {
      await Promise.all([lives[1].transport.close(), lives[2].transport.close()]);
    },
  };
}

describeTransport('SocketTransport', openRig);

/** A payload as it goes over the wire. */
function framed(
  payload: Uint8Array,
  damage: { readonly length?: number; readonly crc?: number } = {},
): Uint8Array {
  const header = new DataView(new ArrayBuffer(8));
  header.setUint32(0, damage.length ?? payload.length, true);
  header.setUint32(4, damage.crc ?? crc32(payload), true);
  return concatBytes([new Uint8Array(header.buffer), payload]);
}

const HELLO = framed(utf8('oxide-kv peer 1 2'));
const GOOD = framed(encodeFrame([numbered(7)]));

/** Node 1, whose peer is 2, where nobody listens. */
async function alone(): Promise<{ readonly life: Life; readonly port: number; readonly peerPort: number }> {
  const port = await freePort();
  const peerPort = await freePort();
  const life = await Life.open(1, port, { id: 2, port: peerPort });
  closers.push(() => life.transport.close());
  return { life, port, peerPort };
}

async function call(port: number): Promise<Socket> {
  const socket = connect({ host: HOST, port });
  socket.on('error', () => socket.destroy());
  closers.push(async () => socket.destroy());
  await once(socket, 'connect');
  socket.resume();
  return socket;
}

describe('SocketTransport and strangers', () => {
  const flipped = GOOD.slice();
  flipped[20] = (flipped[20] ?? 0) ^ 1;

  test.each<readonly [string, readonly Uint8Array[], readonly number[]]>([
    ['another protocol', [utf8('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')], []],
    ['no hello', [GOOD], []],
    ['another version', [framed(utf8('oxide-kv peer 2 2'))], []],
    ['the id of this node', [framed(utf8('oxide-kv peer 1 1')), GOOD], []],
    ['an id that is no number', [framed(utf8('oxide-kv peer 1 2x')), GOOD], []],
    ['an id in other clothes', [framed(utf8('oxide-kv peer 1 0x2')), GOOD], []],
    ['no id', [framed(utf8('oxide-kv peer 1 ')), GOOD], []],
    ['id 0', [framed(utf8('oxide-kv peer 1 0')), GOOD], []],
    ['an endless hello', [framed(new Uint8Array(1000)), GOOD], []],
    ['the promise of an endless hello', [framed(new Uint8Array(8), { length: 65 })], []],
    ['a flipped bit', [HELLO, GOOD, flipped, GOOD], [7]],
    ['a wrong checksum', [HELLO, framed(encodeFrame([numbered(8)]), { crc: 1 }), GOOD], []],
    ['a huge length', [HELLO, GOOD, framed(new Uint8Array(8), { length: 0xffff_ffff }), GOOD], [7]],
    [
      'a length just over the limit',
      [HELLO, framed(new Uint8Array(8), { length: 64 * 1024 * 1024 + 1 })],
      [],
    ],
    ['a frame of something else', [HELLO, GOOD, framed(utf8('not msgpack')), GOOD], [7]],
    ['an empty frame', [HELLO, framed(new Uint8Array(0)), GOOD], []],
  ])('closes on %s, and takes nothing behind it', async (_name, parts, taken) => {
    const { life, port } = await alone();
    const socket = await call(port);
    const closed = once(socket, 'close');
    socket.write(concatBytes(parts));
    await closed;
    expect(life.received.map(({ envelope }) => numberOf(envelope))).toEqual(taken);
    // Others are heard as before.
    const friend = await call(port);
    friend.write(concatBytes([HELLO, GOOD]));
    await eventually(() => expect(life.received.length).toBe(taken.length + 1));
    expect(life.received.at(-1)?.from).toBe(2);
  });

  test('closes on one that says nothing, or not all of its name', async () => {
    const port = await freePort();
    const life = await Life.open(1, port, undefined, 50);
    closers.push(() => life.transport.close());
    const silent = await call(port);
    const slow = await call(port);
    const polite = await call(port);
    const closed = [once(silent, 'close'), once(slow, 'close')];
    slow.write(HELLO.subarray(0, 10));
    polite.write(HELLO);
    await Promise.all(closed);
    polite.write(GOOD);
    await eventually(() => expect(life.received.map(({ from }) => from)).toEqual([2]));
  });

  test('lets a peer in, however many there are that say nothing', async () => {
    const { life, port } = await alone();
    const silent = await Promise.all(Array.from({ length: 200 }, async () => await call(port)));
    const friend = await call(port);
    friend.write(concatBytes([HELLO, GOOD]));
    await eventually(() => expect(life.received.map(({ from }) => from)).toEqual([2]));
    // Those that came last may still say who they are.
    silent.at(-1)?.write(concatBytes([framed(utf8('oxide-kv peer 1 7')), GOOD]));
    await eventually(() => expect(life.received.map(({ from }) => from)).toEqual([2, 7]));
    await eventually(() => expect(silent.filter(({ destroyed }) => destroyed).length).toBeGreaterThan(160));
  });

  test('hears one that is no peer, and answers on its own connection', async () => {
    const { life, port } = await alone();
    const socket = await call(port);
    const splitter = new FrameSplitter();
    const heard: string[] = [];
    socket.on('data', (chunk) => {
      for (const payload of splitter.push(chunk)) heard.push(latin1(payload ?? utf8('broken')));
    });
    socket.write(concatBytes([framed(utf8('oxide-kv peer 1 7')), GOOD]));
    await eventually(() => expect(life.received.map(({ from }) => from)).toEqual([7]));
    expect(life.connected).toEqual([7]);
    life.transport.send(7, [numbered(5)]);
    await eventually(() => expect(heard).toHaveLength(2));
    expect(heard).toEqual(['oxide-kv peer 1 1', latin1(encodeFrame([numbered(5)]))]);
    const closed = once(socket, 'close');
    const again = await call(port);
    again.write(framed(utf8('oxide-kv peer 1 7')));
    // What the older connection still holds may be of an earlier life.
    await closed;
    expect(life.connected).toEqual([7, 7]);
  });

  test('keeps a bounded number of connections of nodes that are no peers, and every peer', async () => {
    const { life, port } = await alone();
    const friend = await call(port);
    friend.write(HELLO);
    await eventually(() => expect(life.connected).toEqual([2]));
    const first = await call(port);
    const closed = once(first, 'close');
    first.write(framed(utf8('oxide-kv peer 1 100')));
    for (let id = 101; id <= 116; id++) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other: the first is the oldest
      const socket = await call(port);
      socket.write(framed(utf8(`oxide-kv peer 1 ${id}`)));
    }
    await closed;
    friend.write(GOOD);
    await eventually(() => expect(life.received.map(({ from }) => from)).toEqual([2]));
  });

  test('a peer that hangs up in the middle of a frame has said nothing', async () => {
    const { life, port } = await alone();
    const stream = concatBytes([HELLO, GOOD]);
    for (let end = 1; end < stream.length; end += 5) {
      // oxlint-disable-next-line no-await-in-loop -- one connection after the other
      const socket = await call(port);
      const closed = once(socket, 'close');
      socket.end(stream.subarray(0, end));
      // oxlint-disable-next-line no-await-in-loop
      await closed;
    }
    const friend = await call(port);
    friend.write(stream);
    await eventually(() => expect(life.received).toHaveLength(1));
  });
});

describe('SocketTransport', () => {
  test('finds a peer that comes up later, and tells that the connection is new', async () => {
    const { life, port, peerPort } = await alone();
    life.transport.send(2, [numbered(1)]);
    const other = await Life.open(2, peerPort, { id: 1, port });
    closers.push(() => other.transport.close());
    await eventually(() => {
      life.transport.send(2, [numbered(2)]);
      expect(other.received.length).toBeGreaterThan(0);
    });
    expect(other.received.every(({ envelope }) => numberOf(envelope) === 2)).toBe(true);
    expect(life.connected).toContain(2);
    expect(other.connected).toContain(1);
  });

  test('tells that a peer is gone, once, and not that it has gone itself', async () => {
    const { life, port, peerPort } = await alone();
    const other = await Life.open(2, peerPort, { id: 1, port });
    await eventually(() => expect(other.connected).toContain(1));
    await eventually(() => {
      life.transport.send(2, [numbered(1)]);
      expect(other.received.length).toBeGreaterThan(0);
    });
    expect(life.disconnected).toEqual([]);
    await other.transport.close();
    await eventually(() => expect(life.disconnected).toEqual([2]));
    expect(other.disconnected).toEqual([]);
    // It is dialled again and again meanwhile, in vain.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(life.disconnected).toEqual([2]);
  });

  test('dials a node that becomes a peer, and not one that is none any more', async () => {
    const ports = [await freePort(), await freePort(), await freePort()] as const;
    const first = await Life.open(1, ports[0], undefined);
    const second = await Life.open(2, ports[1], undefined);
    const third = await Life.open(3, ports[2], undefined);
    for (const { transport } of [first, second, third]) closers.push(() => transport.close());
    first.transport.setPeers([at(2, ports[1]), { id: 9, address: undefined }]);
    await eventually(() => expect(second.connected).toEqual([1]));
    first.transport.send(2, [numbered(1)]);
    // The last words of a connection that ends still arrive.
    first.transport.setPeers([at(3, ports[2])]);
    await eventually(() => expect(second.received.map(({ envelope }) => numberOf(envelope))).toEqual([1]));
    await eventually(() => expect(third.connected).toEqual([1]));
    first.transport.setPeers([{ id: 3, address: undefined }]);
    first.transport.send(3, [numbered(2)]);
    first.transport.send(2, [numbered(3)]);
    await eventually(() => expect(third.received.map(({ envelope }) => numberOf(envelope))).toEqual([2]));
    expect(second.received).toHaveLength(1);
    expect(third.connected).toEqual([1]);
  });

  test('dials a peer where it has moved to', async () => {
    const ports = [await freePort(), await freePort(), await freePort()] as const;
    const first = await Life.open(1, ports[0], { id: 2, port: ports[1] });
    const second = await Life.open(2, ports[2], undefined);
    for (const { transport } of [first, second]) closers.push(() => transport.close());
    first.transport.setPeers([at(2, ports[2])]);
    await eventually(() => expect(second.connected).toEqual([1]));
  });

  test('does not take another node for its peer', async () => {
    const ports = [await freePort(), await freePort()] as const;
    const first = await Life.open(1, ports[0], { id: 2, port: ports[1] });
    const third = await Life.open(3, ports[1], undefined);
    for (const { transport } of [first, third]) closers.push(() => transport.close());
    await eventually(() => expect(third.connected).toEqual([1]));
    third.transport.send(1, [numbered(1)]);
    await eventually(() => {
      // Node 1 has hung up.
      third.transport.send(1, [numbered(1)]);
      expect(third.connected.length).toBeGreaterThan(1);
    });
    expect(first.received).toEqual([]);
  });

  test('does not listen where somebody else does', async () => {
    const { port } = await alone();
    await expect(Life.open(3, port, { id: 1, port: 1 })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test('cuts a batch that is too long for one frame', async () => {
    const { life, port, peerPort } = await alone();
    const other = await Life.open(2, peerPort, { id: 1, port });
    closers.push(() => other.transport.close());
    await eventually(() => {
      life.transport.send(2, [numbered(0)]);
      expect(other.received.length).toBeGreaterThan(0);
    });
    const batch = Array.from({ length: 70 }, (_, i) => numbered(i + 1, 1_000_000));
    life.transport.send(2, batch);
    const numbers = (): readonly number[] =>
      other.received.map(({ envelope }) => numberOf(envelope)).filter((number) => number > 0);
    await eventually(() => expect(numbers().length).toBe(70));
    expect(numbers()).toEqual(batch.map(numberOf));
  });

  test('holds a bounded number of bytes for a peer that does not read', async () => {
    const { life, peerPort } = await alone();
    const sockets: Socket[] = [];
    let bytes = 0;
    const server = createServer((socket) => {
      socket.pause();
      socket.on('data', (chunk) => {
        bytes += chunk.length;
      });
      socket.pause();
      sockets.push(socket);
    });
    server.listen(peerPort, HOST);
    await once(server, 'listening');
    closers.push(async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    await eventually(() => expect(life.connected).toContain(2));
    const frame = [numbered(1, 1_048_576), numbered(2, 1_048_576), numbered(3, 1_048_576)];
    for (let i = 0; i < 60; i++) life.transport.send(2, frame); // 180 MiB
    for (const socket of sockets) socket.resume();
    await eventually(() => expect(bytes).toBeGreaterThan(60 * 1_048_576));
    let before = -1;
    await eventually(() => {
      const isStill = bytes === before;
      before = bytes;
      expect(isStill).toBe(true);
    });
    expect(bytes).toBeLessThan(80 * 1_048_576);
  });
});

describe('FrameSplitter', () => {
  const payloads = [utf8('one'), new Uint8Array(0), utf8('a longer one'), new Uint8Array(500).fill(7)];
  const stream = concatBytes(payloads.map((payload) => framed(payload)));

  test('finds the same frames however the stream is cut in two', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const splitter = new FrameSplitter();
      const found = [...splitter.push(stream.subarray(0, cut)), ...splitter.push(stream.subarray(cut))];
      expect(found.map((payload) => latin1(payload ?? new Uint8Array(0)))).toEqual(payloads.map(latin1));
    }
  });

  test('finds the same frames byte by byte', () => {
    const splitter = new FrameSplitter();
    const found = [...stream].flatMap((byte) => [...splitter.push(Uint8Array.of(byte))]);
    expect(found).toEqual(payloads);
  });

  test('gives payloads in memory of their own', () => {
    const splitter = new FrameSplitter();
    const chunk = framed(utf8('mine'));
    const [payload] = splitter.push(chunk);
    chunk.fill(0);
    expect(payload).toEqual(utf8('mine'));
  });

  test('sees every flipped bit, and finds nothing after it', () => {
    const frame = framed(utf8('payload'));
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const bad = frame.slice();
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const splitter = new FrameSplitter();
      const found = [...splitter.push(bad), ...splitter.push(GOOD), ...splitter.push(GOOD)];
      // A longer length waits for bytes that never come; everything else ends the stream.
      expect(found.every((payload) => payload === undefined)).toBe(true);
      expect(found.length).toBeLessThanOrEqual(1);
    }
  });
});
