import { MessageChannel } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { ChannelTransport } from '../../src/net/channel.ts';
import type { FramePort } from '../../src/net/frame-port.ts';
import { encodeFrame } from '../../src/net/codec.ts';
import { LinkTable } from '../../src/net/faults.ts';
import type { Envelope } from '../../src/net/protocol.ts';
import { type TransportRig, describeTransport, numberOf, numbered } from '../conformance/transport.ts';

const HEALTHY = { blocked: false, loss: 0, delayMs: 0 };

/** A life of a node. */
class Life {
  readonly received: { readonly from: number; readonly envelope: Envelope }[] = [];
  readonly transport: ChannelTransport;

  constructor(self: number) {
    this.transport = new ChannelTransport({
      self,
      links: new LinkTable(),
      random: new Random(self),
      later: (delayMs, run) => void setTimeout(run, delayMs),
      receive: (from, envelopes) => {
        for (const envelope of envelopes) this.received.push({ from, envelope });
      },
    });
  }
}

async function openRig(): Promise<TransportRig> {
  const lives = { 1: new Life(1), 2: new Life(2) };
  const connect = (): void => {
    const { port1, port2 } = new MessageChannel();
    lives[1].transport.connect(2, port1);
    lives[2].transport.connect(1, port2);
  };
  connect();
  return {
    transport: (id) => lives[id].transport,
    received: (id) => lives[id].received,
    restart: async (id) => {
      lives[id].transport.close();
      lives[id] = new Life(id);
      connect();
    },
    stop: async (id) => lives[id].transport.close(),
    close: async () => {
      for (const life of [lives[1], lives[2]]) life.transport.close();
    },
  };
}

describeTransport('ChannelTransport', openRig);

/** A port whose frames go nowhere by themselves. */
class FakePort implements FramePort {
  readonly posted: Uint8Array[] = [];
  isClosed = false;
  #listener: ((frame: unknown) => void) | undefined;
  #onClose: (() => void) | undefined;

  postMessage(frame: Uint8Array): void {
    this.posted.push(frame);
  }

  on(event: 'message' | 'close', listener: (frame?: unknown) => void): void {
    if (event === 'message') this.#listener = listener;
    else this.#onClose = () => listener();
  }

  close(): void {
    this.isClosed = true;
  }

  hear(frame: unknown): void {
    this.#listener?.(frame);
  }

  /** The other side is gone. */
  end(): void {
    this.#onClose?.();
  }
}

/** Node 1 with a fake port to node 2, and timers that fire when told. */
function fake(): {
  readonly links: LinkTable;
  readonly port: FakePort;
  readonly transport: ChannelTransport;
  readonly timers: { readonly delayMs: number; readonly run: () => void }[];
  readonly received: number[];
  /** Peers that are gone. */
  readonly lost: number[];
} {
  const links = new LinkTable();
  const timers: { readonly delayMs: number; readonly run: () => void }[] = [];
  const received: number[] = [];
  const lost: number[] = [];
  const port = new FakePort();
  const transport = new ChannelTransport({
    self: 1,
    links,
    random: new Random(1),
    later: (delayMs, run) => void timers.push({ delayMs, run }),
    receive: (_from, envelopes) => void received.push(...envelopes.map(numberOf)),
    disconnected: (peer) => void lost.push(peer),
  });
  transport.connect(2, port);
  return { links, port, transport, timers, received, lost };
}

describe('ChannelTransport', () => {
  test('tells once that the other side of the port in use is gone, and of no other', () => {
    const { port, transport, lost } = fake();
    const next = new FakePort();
    transport.connect(2, next);
    port.end();
    expect(lost).toEqual([]);
    next.end();
    next.end();
    expect(lost).toEqual([2]);
    transport.send(2, [numbered(1)]);
    expect(next.posted).toEqual([]);
    const last = new FakePort();
    transport.connect(2, last);
    transport.close();
    last.end();
    expect(lost).toEqual([2]);
  });
});

describe('ChannelTransport with link faults', () => {
  test('sends nothing over a cut link, and everything again after the repair', () => {
    const { links, port, transport } = fake();
    links.set(1, 2, { ...HEALTHY, blocked: true });
    transport.send(2, [numbered(1)]);
    links.set(1, 2, HEALTHY);
    transport.send(2, [numbered(2)]);
    expect(port.posted).toEqual([encodeFrame([numbered(2)])]);
  });

  test('a cut stops what was on its way, in its own direction only', () => {
    const { links, port, transport, received } = fake();
    links.set(2, 1, { ...HEALTHY, blocked: true });
    port.hear(encodeFrame([numbered(1)]));
    transport.send(2, [numbered(2)]);
    expect([received, port.posted.length]).toEqual([[], 1]);
    links.set(2, 1, HEALTHY);
    port.hear(encodeFrame([numbered(3)]));
    expect(received).toEqual([3]);
  });

  test('loses the share that it is told to', () => {
    const { links, port, transport } = fake();
    links.set(1, 2, { ...HEALTHY, loss: 0.3 });
    for (let i = 0; i < 2000; i++) transport.send(2, [numbered(i)]);
    expect(port.posted.length).toBeGreaterThan(1300);
    expect(port.posted.length).toBeLessThan(1500);
  });

  test('holds frames back for the time of the link', () => {
    const { links, port, transport, timers } = fake();
    links.set(1, 2, { ...HEALTHY, delayMs: 40 });
    transport.send(2, [numbered(1)]);
    expect(port.posted).toEqual([]);
    expect(timers.map(({ delayMs }) => delayMs)).toEqual([40]);
    timers[0]?.run();
    expect(port.posted).toEqual([encodeFrame([numbered(1)])]);
  });

  test('a frame that was held back is lost when the link is cut or the peer restarts meanwhile', () => {
    const { links, port, transport, timers } = fake();
    links.set(1, 2, { ...HEALTHY, delayMs: 40 });
    transport.send(2, [numbered(1)]);
    transport.send(2, [numbered(2)]);
    links.set(1, 2, { ...HEALTHY, blocked: true });
    timers[0]?.run();
    links.set(1, 2, HEALTHY);
    const fresh = new FakePort();
    transport.connect(2, fresh);
    timers[1]?.run();
    expect([port.posted, fresh.posted, port.isClosed]).toEqual([[], [], true]);
  });

  test('holds a bounded number of frames back', () => {
    const { links, port, transport, timers } = fake();
    links.set(1, 2, { ...HEALTHY, delayMs: 1000 });
    for (let i = 0; i < 5000; i++) transport.send(2, [numbered(i)]);
    expect(timers).toHaveLength(4096);
    for (const { run } of timers.splice(0)) run();
    expect(port.posted).toHaveLength(4096);
    // There is room again.
    transport.send(2, [numbered(1)]);
    expect(timers).toHaveLength(1);
  });

  test('nothing that was held back leaves after close', () => {
    const { links, port, transport, timers } = fake();
    links.set(1, 2, { ...HEALTHY, delayMs: 40 });
    transport.send(2, [numbered(1)]);
    transport.close();
    timers[0]?.run();
    port.hear(encodeFrame([numbered(1)]));
    expect([port.posted, port.isClosed]).toEqual([[], true]);
  });
});

describe('ChannelTransport and frames that are none', () => {
  test.each<readonly [string, unknown]>([
    ['text', 'hello'],
    ['nothing', undefined],
    ['an array', [1, 2, 3]],
    ['an empty frame', new Uint8Array(0)],
    ['zeros', new Uint8Array(100)],
  ])('ignores %s', (_name, frame) => {
    const { port, received } = fake();
    port.hear(frame);
    port.hear(encodeFrame([numbered(5)]));
    expect(received).toEqual([5]);
  });

  test('ignores a frame cut anywhere, whole', () => {
    const { port, received } = fake();
    const frame = encodeFrame([numbered(1), numbered(2)]);
    for (let end = 0; end < frame.length; end++) port.hear(frame.subarray(0, end));
    expect(received).toEqual([]);
  });

  test('hears nothing more from a port that was replaced', () => {
    const { port, transport, received } = fake();
    transport.connect(2, new FakePort());
    port.hear(encodeFrame([numbered(1)]));
    expect(received).toEqual([]);
  });
});
