/** The client between its callers and the nodes' ports, with ports played by the test and time under its control. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PortClient } from '../../src/client/port-client.ts';
import { at } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { type ErrorCode, OxideError } from '../../src/lib/errors.ts';
import type { FramePort } from '../../src/net/frame-port.ts';
import { type RequestItem, decodeRequests, encodeReplies } from '../../src/net/codec.ts';
import { LIMITS, type Reply, type Request } from '../../src/net/protocol.ts';

const TIMEOUT_MS = 1000;

/** A node's end of a port: what was asked, frame by frame. */
class FakePort implements FramePort {
  readonly frames: (readonly RequestItem[])[] = [];
  isClosed = false;
  #listener: ((frame: unknown) => void) | undefined;

  postMessage(frame: Uint8Array): void {
    const items = decodeRequests(frame);
    if (items === undefined) throw new Error('A node could not read this frame');
    this.frames.push(items);
  }

  on(event: 'message' | 'close', listener: (frame?: unknown) => void): void {
    if (event === 'message') this.#listener = listener;
  }

  close(): void {
    this.isClosed = true;
  }

  get asked(): readonly Request[] {
    return this.frames.flat().map(({ request }) => request);
  }

  get last(): RequestItem {
    return at(this.frames.flat(), this.frames.flat().length - 1);
  }

  reply(id: number, reply: Reply): void {
    this.#listener?.(encodeReplies([{ id, reply }]));
  }

  refuse(id: number, code: ErrorCode): void {
    this.reply(id, { kind: 'error', code, message: code });
  }

  hear(frame: unknown): void {
    this.#listener?.(frame);
  }
}

/** What becomes of a promise: its value, the code of its error, or nothing yet. */
class Outcome {
  value: unknown;
  constructor(promise: Promise<unknown>) {
    void this.#follow(promise);
  }

  async #follow(promise: Promise<unknown>): Promise<void> {
    try {
      this.value = { value: await promise };
    } catch (error) {
      this.value = error instanceof OxideError ? error.code : error;
    }
  }
}

function start(options: { readonly node?: number; readonly timeoutMs?: number } = {}): {
  readonly client: PortClient;
  readonly port: FakePort;
  readonly closed: () => number;
} {
  let closes = 0;
  const client = new PortClient({
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
    node: options.node ?? 0,
    onClose: () => {
      closes += 1;
    },
  });
  const port = new FakePort();
  client.attach(1, port);
  client.leaderChanged(1);
  return { client, port, closed: () => closes };
}

async function pass(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Opens the session of a client that has begun a write. */
async function openSession(port: FakePort, id = 5): Promise<void> {
  await pass();
  expect(port.last.request).toEqual({ kind: 'openSession' });
  port.reply(port.last.id, { kind: 'session', id });
  await pass();
}

/** A client with an open session, and the frames so far forgotten. */
async function ready(): Promise<ReturnType<typeof start>> {
  const started = start();
  const first = new Outcome(started.client.set('first', '1'));
  await openSession(started.port);
  started.port.reply(started.port.last.id, { kind: 'ok', index: 1 });
  await pass();
  expect(first.value).toEqual({ value: 1 });
  started.port.frames.length = 0;
  return started;
}

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setImmediate', 'clearImmediate', 'setInterval', 'clearInterval', 'performance'],
  });
});

afterEach(() => {
  vi.useRealTimers();
});

describe('PortClient', () => {
  test('turns replies into values', async () => {
    const { client, port } = await ready();
    const replies: readonly (readonly [() => Promise<unknown>, Reply, unknown])[] = [
      [() => client.set('k', 'v'), { kind: 'ok', index: 7 }, 7],
      [() => client.get('k'), { kind: 'value', value: utf8('v') }, utf8('v')],
      [() => client.get('k'), { kind: 'value', value: undefined }, undefined],
      [() => client.getText('k'), { kind: 'value', value: utf8('é') }, 'é'],
      [() => client.delete('k'), { kind: 'ok', index: 8, existed: true }, true],
      [() => client.delete('k'), { kind: 'ok', index: 9, existed: false }, false],
      [() => client.cas('k', undefined, 'v'), { kind: 'ok', index: 10 }, true],
      [() => client.cas('k', 'a', 'b'), { kind: 'mismatch', index: 11, actual: utf8('c') }, false],
      [() => client.scan('k'), { kind: 'rows', rows: [], more: false }, []],
    ];
    for (const [ask, reply, value] of replies) {
      const outcome = new Outcome(ask());
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await pass();
      port.reply(port.last.id, reply);
      // oxlint-disable-next-line no-await-in-loop
      await pass();
      expect(outcome.value).toEqual({ value });
    }
  });

  test('refuses text that is none, in both directions', async () => {
    const { client, port } = await ready();
    expect(new Outcome(client.set('k', '\ud800')).value).toBeUndefined();
    await expect(client.set('k', '\ud800')).rejects.toMatchObject({ code: 'bad_request' });
    const read = new Outcome(client.getText('k'));
    await pass();
    port.reply(port.last.id, { kind: 'value', value: Uint8Array.of(0xff) });
    await pass();
    expect(read.value).toBe('bad_request');
  });

  test('sends everything asked in one round of the event loop in one frame', async () => {
    const { client, port } = await ready();
    for (let i = 0; i < 50; i++) void client.get(`k${i}`);
    for (let i = 0; i < 50; i++) void client.set(`k${i}`, 'v');
    await pass();
    expect(port.frames.map((frame) => frame.length)).toEqual([100]);
    expect(new Set(port.frames.flat().map(({ id }) => id)).size).toBe(100);
    void client.get('later');
    await pass();
    expect(port.frames.map((frame) => frame.length)).toEqual([100, 1]);
  });

  test('opens one session for all writes that wait for it', async () => {
    const { client, port } = start();
    for (let i = 0; i < 10; i++) void client.set(`k${i}`, 'v');
    await openSession(port, 77);
    expect(port.frames).toHaveLength(2);
    expect(port.asked.slice(1)).toMatchObject(
      Array.from({ length: 10 }, (_, i) => ({ session: { id: 77, seq: i + 1, ackedBelow: 1 } })),
    );
  });

  test('tells the store which answers it has', async () => {
    const { client, port } = await ready();
    for (const key of ['a', 'b', 'c']) void client.set(key, 'v');
    await pass();
    const [a, b] = port.frames.flat();
    port.reply(b?.id ?? 0, { kind: 'ok', index: 2 });
    await pass();
    void client.set('d', 'v');
    await pass();
    expect(port.last.request).toMatchObject({ session: { seq: 5, ackedBelow: 2 } });
    port.reply(a?.id ?? 0, { kind: 'ok', index: 3 });
    await pass();
    void client.set('e', 'v');
    await pass();
    expect(port.last.request).toMatchObject({ session: { seq: 6, ackedBelow: 4 } });
  });

  test.each<ErrorCode>(['not_leader', 'unavailable', 'overloaded', 'storage_failed', 'unknown'])(
    'asks again after %s, a write in the same place of its session',
    async (code) => {
      const { client, port } = await ready();
      const write = new Outcome(client.set('k', 'v'));
      const read = new Outcome(client.get('k'));
      await pass();
      const [first, second] = port.frames.flat();
      port.refuse(first?.id ?? 0, code);
      port.refuse(second?.id ?? 0, code);
      await pass(20);
      const again = port.frames.flat().slice(2);
      expect(again.map(({ request }) => request)).toEqual([first?.request, second?.request]);
      for (const { id, request } of again)
        port.reply(
          id,
          request.kind === 'get' ? { kind: 'value', value: undefined } : { kind: 'ok', index: 4 },
        );
      await pass();
      expect([write.value, read.value]).toEqual([{ value: 4 }, { value: undefined }]);
      await pass(100);
      expect(port.frames.flat()).toHaveLength(4);
    },
  );

  test.each<ErrorCode>(['bad_request', 'too_large'])('does not ask again after %s', async (code) => {
    const { client, port } = await ready();
    const write = new Outcome(client.set('k', 'v'));
    await pass();
    port.refuse(port.last.id, code);
    await pass(100);
    expect(write.value).toBe(code);
    expect(port.frames.flat()).toHaveLength(1);
  });

  test('asks the new leader what the old one holds, in the same place of the session', async () => {
    const { client, port } = await ready();
    const other = new FakePort();
    client.attach(2, other);
    const write = new Outcome(client.set('k', 'v'));
    await pass();
    client.leaderChanged(2);
    client.leaderChanged(2);
    await pass();
    expect(other.asked).toEqual(port.asked);
    // Whichever answers first is right; the other answer is ignored.
    port.reply(port.last.id, { kind: 'ok', index: 4 });
    other.reply(other.last.id, { kind: 'ok', index: 4 });
    await pass();
    expect(write.value).toEqual({ value: 4 });
  });

  test('asks another node when one is gone, and waits while there is none', async () => {
    const { client, port } = await ready();
    const read = new Outcome(client.get('k'));
    await pass();
    client.detach(1);
    expect(port.isClosed).toBe(true);
    await pass(100);
    expect(read.value).toBeUndefined();
    const other = new FakePort();
    client.attach(2, other);
    await pass();
    other.reply(other.last.id, { kind: 'value', value: undefined });
    await pass();
    expect(read.value).toEqual({ value: undefined });
  });

  test('asks a restarted node again what it was asked before', async () => {
    const { client, port } = await ready();
    void client.set('k', 'v');
    await pass();
    const fresh = new FakePort();
    client.attach(1, fresh);
    expect(port.isClosed).toBe(true);
    await pass();
    expect(fresh.asked).toEqual(port.asked);
  });

  test('asks one node only when told to', async () => {
    const { client, port } = start({ node: 2 });
    const second = new FakePort();
    client.attach(2, second);
    void client.get('k');
    await pass();
    client.leaderChanged(3);
    client.attach(3, new FakePort());
    await pass(50);
    expect([port.frames.length, second.frames.length]).toEqual([0, 1]);
    client.detach(2);
    await pass(50);
    expect(port.frames).toEqual([]);
  });

  test('believes no answer from a port that it has given up, and none that it cannot read', async () => {
    const { client, port } = await ready();
    const read = new Outcome(client.get('k'));
    await pass();
    client.attach(1, new FakePort());
    port.reply(port.last.id, { kind: 'value', value: utf8('stale') });
    for (const frame of ['text', undefined, Uint8Array.of(1, 2, 3)]) port.hear(frame);
    await pass();
    expect(read.value).toBeUndefined();
  });
});

describe('PortClient at a deadline', () => {
  test('a write that was sent is unknown, everything else is unavailable', async () => {
    const { client } = await ready();
    const write = new Outcome(client.set('k', 'v'));
    const read = new Outcome(client.get('k'));
    await pass(TIMEOUT_MS - 20);
    expect([write.value, read.value]).toEqual([undefined, undefined]);
    await pass(40);
    expect([write.value, read.value]).toEqual(['unknown', 'unavailable']);
  });

  test('a write that no node was there for is unavailable', async () => {
    const { client } = await ready();
    client.detach(1);
    const write = new Outcome(client.set('k', 'v'));
    await pass(TIMEOUT_MS + 20);
    expect(write.value).toBe('unavailable');
  });

  test('a session that cannot be opened makes a write unavailable, and the next write tries again', async () => {
    const { client, port } = start();
    const write = new Outcome(client.set('k', 'v'));
    await pass(TIMEOUT_MS + 20);
    expect(write.value).toBe('unavailable');
    const again = new Outcome(client.set('k', 'v'));
    await openSession(port);
    port.reply(port.last.id, { kind: 'ok', index: 2 });
    await pass();
    expect(again.value).toEqual({ value: 2 });
  });

  test('a late refusal does not hide that an earlier attempt may have happened', async () => {
    const { client } = await ready();
    const other = new FakePort();
    client.attach(2, other);
    const write = new Outcome(client.set('k', 'v'));
    await pass();
    client.leaderChanged(2);
    await pass();
    // The clock is past the deadline, but the timer that would end the write has not fired.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + TIMEOUT_MS);
    other.refuse(other.last.id, 'overloaded');
    clock.mockRestore();
    await pass();
    expect(write.value).toBe('unknown');
  });

  test('a refusal of the only attempt is what the caller is told', async () => {
    const { client, port } = await ready();
    const write = new Outcome(client.set('k', 'v'));
    await pass();
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + TIMEOUT_MS);
    port.refuse(port.last.id, 'overloaded');
    clock.mockRestore();
    await pass();
    expect(write.value).toBe('overloaded');
  });
});

describe('PortClient whose session expired', () => {
  test('opens one new session for all writes of the old one, and writes again', async () => {
    const { client, port } = await ready();
    const writes = Array.from({ length: 20 }, (_, i) => new Outcome(client.set(`k${i}`, 'v')));
    await pass();
    for (const { id } of port.frames.flat()) port.refuse(id, 'session_expired');
    port.frames.length = 0;
    await openSession(port, 9);
    expect(port.asked.filter(({ kind }) => kind === 'openSession')).toHaveLength(1);
    const sets = port.frames.flat().filter(({ request }) => request.kind === 'set');
    expect(sets).toHaveLength(20);
    for (const { id, request } of sets) {
      expect(request).toMatchObject({ session: { id: 9 } });
      port.reply(id, { kind: 'ok', index: id });
    }
    await pass();
    expect(writes.every(({ value }) => typeof value === 'object')).toBe(true);
  });

  test('says unknown when an earlier attempt may have happened in the old session', async () => {
    const { client, port } = await ready();
    const write = new Outcome(client.set('k', 'v'));
    await pass();
    port.refuse(port.last.id, 'unknown');
    await pass(20);
    port.refuse(port.last.id, 'session_expired');
    await pass();
    expect(write.value).toBe('unknown');
    void client.set('k', 'v');
    await pass();
    expect(port.last.request).toEqual({ kind: 'openSession' });
  });
});

describe('PortClient within its limits', () => {
  test('refuses what is too large before anything is sent, even without a node', async () => {
    const { client, port } = start();
    client.detach(1);
    const key = new Uint8Array(LIMITS.keyBytesMax + 1);
    const value = new Uint8Array(LIMITS.valueBytesMax + 1);
    const outcomes = [
      client.set('k', value),
      client.set(key, 'v'),
      client.get(key),
      client.delete(key),
      client.cas('k', value, 'v'),
      client.scan('k', { limit: LIMITS.scanRowsMax + 1 }),
      client.scan('k', { limit: -1 }),
      client.scan('k', { limit: 0.5 }),
    ].map((promise) => new Outcome(promise));
    await pass();
    expect(outcomes.map((outcome) => outcome.value)).toEqual(outcomes.map(() => 'too_large'));
    expect(port.frames).toEqual([]);
  });

  test('holds a bounded number of requests', async () => {
    const { client, port } = start();
    const outcomes = Array.from({ length: 65_540 }, () => new Outcome(client.get('k')));
    await pass();
    expect(outcomes.filter(({ value }) => value === 'overloaded')).toHaveLength(4);
    expect(port.frames.flat()).toHaveLength(65_536);
    await pass(TIMEOUT_MS + 20);
    expect(outcomes.filter(({ value }) => value === 'unavailable')).toHaveLength(65_536);
    const read = new Outcome(client.get('k'));
    await pass();
    expect(read.value).toBeUndefined();
  });
});

describe('PortClient.close()', () => {
  test('settles everything, once, and closes the ports', async () => {
    const { client, port, closed } = await ready();
    const sent = new Outcome(client.set('k', 'v'));
    const read = new Outcome(client.get('k'));
    await pass();
    const fresh = new Outcome(client.set('k', 'v'));
    await client.close();
    await client.close();
    await pass();
    expect([sent.value, read.value, fresh.value]).toEqual(['unknown', 'closed', 'closed']);
    expect([port.isClosed, closed()]).toEqual([true, 1]);
    await expect(client.get('k')).rejects.toMatchObject({ code: 'closed' });
    await expect(client.set('k', 'v')).rejects.toMatchObject({ code: 'closed' });
    const late = new FakePort();
    client.attach(2, late);
    expect(late.isClosed).toBe(true);
    port.reply(1, { kind: 'ok', index: 1 });
    await pass(TIMEOUT_MS);
    expect(port.frames).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('settles writes that wait for a session', async () => {
    const { client } = start();
    const write = new Outcome(client.set('k', 'v'));
    await pass();
    await client.close();
    await pass();
    expect(write.value).toBe('closed');
  });

  test('an idle client runs no timer', async () => {
    await ready();
    await pass(50);
    expect(vi.getTimerCount()).toBe(0);
  });
});
