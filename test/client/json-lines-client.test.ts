/** The client over JSON lines, against real doors with a node in memory behind them, and against doors that misbehave. */
import { connect as connectTo, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../src/client/json-lines-client.ts';
import type { ConnectOptions, JsonLinesClient } from '../../src/client/json-lines-client.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { LIMITS } from '../../src/net/protocol.ts';
import type { NodeService, Reply, Request, SessionTag } from '../../src/net/protocol.ts';
import { JsonLinesDoor } from '../../src/server/json-lines.ts';
import type { DoorLimits } from '../../src/server/limits.ts';
import { FakeService } from '../server/fake-service.ts';

let service: FakeService;
let door: JsonLinesDoor;
let closers: (() => Promise<void>)[] = [];

beforeEach(async () => {
  service = new FakeService();
  door = await openDoor(service);
});

afterEach(async () => {
  for (const close of closers.toReversed()) await close();
  closers = [];
});

async function openDoor(behind: NodeService, limits: Partial<DoorLimits> = {}): Promise<JsonLinesDoor> {
  const options = { host: '127.0.0.1', port: 0, service: behind, forward: false };
  const opened = await JsonLinesDoor.listen({ ...options, limits: { lingerMs: 50, ...limits } });
  closers.push(() => opened.close());
  return opened;
}

const at = (target: { readonly port: number }): string => `127.0.0.1:${target.port}`;

async function client(
  endpoints: readonly string[] = [at(door)],
  options: ConnectOptions = {},
): Promise<JsonLinesClient> {
  const made = await connect(endpoints, { timeoutMs: 5_000, ...options });
  closers.push(() => made.close());
  return made;
}

/** A server that hands every connection to `serve`. */
async function openRaw(
  serve: (socket: Socket) => void,
): Promise<{ readonly port: number; readonly cut: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => sockets.delete(socket));
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  closers.push(async () => {
    cut();
    await new Promise((resolve) => server.close(resolve));
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server's address
  return { port: (server.address() as AddressInfo).port, cut };
}

/** A port that nobody listens at. */
async function deadEndpoint(): Promise<string> {
  const gone = await JsonLinesDoor.listen({ host: '127.0.0.1', port: 0, service, forward: false });
  await gone.close();
  return at(gone);
}

const silent: NodeService = { submit: () => undefined };

const notLeader = (client_: string | undefined): Reply => ({
  kind: 'error',
  code: 'not_leader',
  message: 'no',
  ...(client_ === undefined ? {} : { leader: { id: 2, client: client_ } }),
});

const always = (reply: Reply): NodeService => ({ submit: (_request, _options, done) => done(reply) });

const writes = (): readonly Request[] => service.requests.filter((request) => request.kind === 'set');

const tags = (): readonly (SessionTag | undefined)[] =>
  service.requests.flatMap((request) => (request.kind === 'set' ? [request.session] : []));

describe('json lines client: operations', () => {
  test('every operation, in text', async () => {
    const kv = await client();
    expect(await kv.set('a', 'é')).toBe(2);
    expect(await kv.getText('a')).toBe('é');
    expect(await kv.get('a')).toEqual(utf8('é'));
    expect(await kv.get('nobody')).toBeUndefined();
    expect(await kv.getText('nobody')).toBeUndefined();
    expect(await kv.cas('a', 'é', '2')).toBe(true);
    expect(await kv.cas('a', 'é', '3')).toBe(false);
    expect(await kv.cas('b', undefined, '1')).toBe(true);
    expect(await kv.cas('b', undefined, '1')).toBe(false);
    expect(await kv.scan('')).toEqual([
      { key: utf8('a'), value: utf8('2') },
      { key: utf8('b'), value: utf8('1') },
    ]);
    expect(await kv.scan('', { limit: 1 })).toHaveLength(1);
    expect(await kv.delete('a')).toBe(true);
    expect(await kv.delete('a')).toBe(false);
  });

  test('every byte arrives as it is, in keys and values', async () => {
    const kv = await client();
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    await kv.set(bytes, bytes);
    expect(await kv.get(bytes)).toEqual(bytes);
    expect(await kv.scan(bytes)).toEqual([{ key: bytes, value: bytes }]);
    await expect(kv.getText(bytes)).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('bytes changed after the call do not change the request', async () => {
    const kv = await client();
    const value = utf8('before');
    const pending = kv.set('a', value);
    value.fill(0);
    await pending;
    expect(await kv.getText('a')).toBe('before');
  });

  test('a value and a key of the largest size pass; one byte more is refused here', async () => {
    const kv = await client();
    const key = new Uint8Array(LIMITS.keyBytesMax).fill(1);
    const value = new Uint8Array(LIMITS.valueBytesMax).fill(2);
    await kv.set(key, value);
    expect((await kv.get(key))?.length).toBe(LIMITS.valueBytesMax);
    const count = service.requests.length;
    await expect(kv.get(new Uint8Array(LIMITS.keyBytesMax + 1))).rejects.toMatchObject({ code: 'too_large' });
    await expect(kv.set('a', new Uint8Array(LIMITS.valueBytesMax + 1))).rejects.toMatchObject({
      code: 'too_large',
    });
    await expect(kv.cas('a', value, value)).rejects.toMatchObject({ code: 'too_large' });
    expect(service.requests.length).toBe(count);
  });

  test('ill-formed text and wrong limits are refused here', async () => {
    const kv = await client();
    await expect(kv.set('\ud800', 'x')).rejects.toMatchObject({ code: 'bad_request' });
    await expect(kv.set('x', 'a\udfff')).rejects.toMatchObject({ code: 'bad_request' });
    for (const limit of [0, -1, 1.5, LIMITS.scanRowsMax + 1, Number.NaN]) {
      await expect(kv.scan('a', { limit })).rejects.toMatchObject({ code: 'bad_request' });
    }
    expect(service.requests).toEqual([]);
  });

  test('a scan that the node cut short is an error, never fewer rows', async () => {
    service.intercept = (request) =>
      request.kind === 'scan'
        ? { kind: 'rows', rows: [{ key: utf8('a'), value: utf8('1') }], more: true }
        : undefined;
    const kv = await client();
    await expect(kv.scan('', { limit: 2 })).rejects.toMatchObject({ code: 'too_large' });
    expect(await kv.scan('', { limit: 1 })).toHaveLength(1);
  });

  test('status() gives the account of the node asked', async () => {
    const other = await openDoor(always({ kind: 'error', code: 'unavailable', message: 'not me' }));
    const kv = await client();
    expect(await kv.status()).toMatchObject({ raft: { id: 1, role: 'pre_candidate' }, wal_bytes: 100 });
    await expect(kv.status(at(other))).rejects.toMatchObject({ code: 'unavailable', message: 'not me' });
    await expect(kv.status(await deadEndpoint())).rejects.toMatchObject({ code: 'unavailable' });
    await expect(kv.status('nonsense')).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('10,000 pipelined writes are each applied once, over one connection', async () => {
    const kv = await client([at(door)], { timeoutMs: 30_000 });
    const started = performance.now();
    const indexes = await Promise.all(Array.from({ length: 10_000 }, (_, i) => kv.set(`k${i}`, `v${i}`)));
    const elapsedMs = performance.now() - started;
    expect(new Set(indexes).size).toBe(10_000);
    expect(service.writes).toBe(10_000);
    expect(service.data.size).toBe(10_000);
    expect(door.connections).toBe(1);
    process.stdout.write(`client: 10,000 pipelined writes in ${elapsedMs.toFixed(0)} ms\n`);
  });

  test('requests beyond the bound are refused, the others are served', async () => {
    const kv = await client([at(door)], { timeoutMs: 30_000 });
    const results = await Promise.allSettled(Array.from({ length: 17_000 }, () => kv.get('a')));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(17_000 - 128 - 16_384);
    expect(refused[0]).toMatchObject({ reason: { code: 'overloaded' } });
  });
});

describe('json lines client: sessions', () => {
  test('one session, opened by the first write and by no read', async () => {
    const kv = await client();
    await kv.get('a');
    expect(service.sessionsOpened).toBe(0);
    await Promise.all([kv.set('a', '1'), kv.set('b', '2'), kv.delete('a')]);
    expect(service.sessionsOpened).toBe(1);
  });

  test('ackedBelow is the lowest number without an answer', async () => {
    const held: (() => void)[] = [];
    service.deliver = (send, request) => {
      if (request.kind === 'set' && request.session?.seq === 2) held.push(send);
      else send();
    };
    const other = await openDoor(service);
    const kv = await client([at(other)]);
    await kv.set('a', '1');
    const slow = kv.set('b', '2');
    const behind = kv.set('c', '3');
    while (held.length === 0 || writes().length < 3) await new Promise(setImmediate);
    held[0]?.();
    await Promise.all([slow, behind]);
    await kv.set('d', '4');
    expect(tags()).toEqual([
      { id: 1, seq: 1, ackedBelow: 1 },
      { id: 1, seq: 2, ackedBelow: 2 },
      { id: 1, seq: 3, ackedBelow: 2 },
      { id: 1, seq: 4, ackedBelow: 4 },
    ]);
  });

  test('a write whose answer is lost with the connection is applied once', async () => {
    const other = await openDoor(service);
    const proxy = await openRaw((socket) => {
      const upstream = connectTo(other.port);
      socket.pipe(upstream).pipe(socket);
      socket.on('close', () => upstream.destroy());
    });
    let cutCount = 0;
    service.deliver = (send, request) => {
      if (request.kind === 'set' && cutCount < 3) {
        cutCount += 1;
        proxy.cut();
      } else send();
    };
    const kv = await client([at(proxy)]);
    expect(await kv.set('a', '1')).toBe(2);
    expect(cutCount).toBe(3);
    expect(writes()).toHaveLength(4);
    expect(new Set(tags().map((tag) => tag?.seq)).size).toBe(1);
    expect(service.writes).toBe(1);
  });

  test('a write that the node does not know the end of is repeated under its number', async () => {
    let refusals = 2;
    service.intercept = (request) => {
      if (request.kind !== 'set' || refusals === 0) return undefined;
      refusals -= 1;
      return { kind: 'error', code: 'unknown', message: 'who knows' };
    };
    const kv = await client();
    await kv.set('a', '1');
    expect(new Set(tags().map((tag) => tag?.seq))).toEqual(new Set([1]));
    expect(writes()).toHaveLength(3);
  });

  test('an expired session is replaced, and its writes are applied once', async () => {
    const kv = await client();
    await kv.set('a', '1');
    service.expireSessions();
    await Promise.all([kv.set('b', '2'), kv.set('c', '3')]);
    expect(service.sessionsOpened).toBe(2);
    expect(service.writes).toBe(3);
  });

  test('a session that expires after a lost attempt leaves the write unknown', async () => {
    const kv = await client();
    await kv.set('a', '1');
    service.intercept = (request) => {
      if (request.kind !== 'set') return undefined;
      service.intercept = () => undefined;
      service.expireSessions();
      return { kind: 'error', code: 'unknown', message: 'who knows' };
    };
    await expect(kv.set('b', '2')).rejects.toMatchObject({ code: 'unknown' });
    expect(service.data.has('b')).toBe(false);
    await kv.set('c', '3');
    expect(service.data.has('c')).toBe(true);
  });
});

describe('json lines client: finding a node', () => {
  test('a dead endpoint is passed over', async () => {
    const kv = await client([await deadEndpoint(), at(door)]);
    await kv.set('a', '1');
    expect(service.writes).toBe(1);
  });

  test('one text may hold several endpoints', async () => {
    const kv = await connect(`${await deadEndpoint()}, ${at(door)}`);
    closers.push(() => kv.close());
    expect(await kv.get('a')).toBeUndefined();
  });

  test('connect() rejects at once when nobody listens, with the reason of the system', async () => {
    const endpoint = await deadEndpoint();
    const started = performance.now();
    const failure = connect([endpoint]);
    await expect(failure).rejects.toMatchObject({ code: 'unavailable', cause: { code: 'ECONNREFUSED' } });
    await expect(failure).rejects.toThrow(`Cannot connect to ${endpoint}: connect ECONNREFUSED`);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test.each(['', 'localhost', 'localhost:0', 'localhost:65536', 'http://localhost:1', '::1:9001', 'a b:1'])(
    '%j is not an endpoint',
    async (endpoint) => {
      await expect(connect([endpoint])).rejects.toMatchObject({ code: 'bad_request' });
    },
  );

  test('no endpoint at all is refused', async () => {
    await expect(connect([])).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('the hint of a follower leads to the leader, and later requests go there at once', async () => {
    const asked: Request[] = [];
    const follower = await openDoor({
      submit: (request, _options, done) => {
        asked.push(request);
        done(notLeader(at(door)));
      },
    });
    const kv = await client([at(follower)]);
    await kv.set('a', '1');
    expect(await kv.getText('a')).toBe('1');
    expect(asked).toHaveLength(1);
  });

  test('without a leader it asks again until there is one', async () => {
    let refusals = 3;
    const undecided = await openDoor({
      submit: (request, options, done) => {
        refusals -= 1;
        if (refusals >= 0) done(notLeader(refusals === 2 ? '' : undefined));
        else service.submit(request, options, done);
      },
    });
    const kv = await client([at(undecided)]);
    await kv.set('a', '1');
    expect(service.writes).toBe(1);
  });

  test('nodes that point at each other end in unavailable, without a storm', async () => {
    let count = 0;
    let second = '';
    const point = (to: () => string): NodeService => ({
      submit: (_request, _options, done) => {
        count += 1;
        done(notLeader(to()));
      },
    });
    const a = await openDoor(point(() => second));
    const b = await openDoor(point(() => at(a)));
    second = at(b);
    const kv = await client([at(a), at(b)], { timeoutMs: 300 });
    await expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'unavailable' });
    expect(count).toBeLessThan(60);
  });

  test('a hint that is no address is not followed', async () => {
    const odd = await openDoor(always(notLeader('; rm -rf')));
    const kv = await client([at(odd)], { timeoutMs: 100 });
    await expect(kv.get('a')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a node that hangs is left for another, and the write is applied once', async () => {
    const hung = await openDoor(silent);
    const kv = await client([at(hung), at(door)], { timeoutMs: 800 });
    await kv.set('a', '1');
    expect(service.writes).toBe(1);
  });

  test.each(['overloaded', 'unavailable', 'storage_failed', 'closed'] as const)(
    'after %s another node is asked',
    async (code) => {
      const failing = await openDoor(always({ kind: 'error', code, message: 'no' }));
      const kv = await client([at(failing), at(door)]);
      await kv.set('a', '1');
      expect(service.writes).toBe(1);
    },
  );

  test('a certain refusal is not repeated', async () => {
    service.intercept = (request) =>
      request.kind === 'set' ? { kind: 'error', code: 'too_large', message: 'value' } : undefined;
    const kv = await client();
    await expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'too_large' });
    expect(writes()).toHaveLength(1);
  });

  test('a door that closes between requests is found again on its port', async () => {
    const first = await openDoor(service);
    const kv = await client([at(first)]);
    await kv.set('a', '1');
    await first.close();
    const pending = kv.set('b', '2');
    const again = await JsonLinesDoor.listen({
      host: '127.0.0.1',
      port: first.port,
      service,
      forward: false,
    });
    closers.push(() => again.close());
    await pending;
    expect(service.writes).toBe(2);
  });
});

describe('json lines client: no answer', () => {
  test('a write that was sent ends as unknown, a read as unavailable', async () => {
    service.deliver = (send, request) => {
      if (request.kind === 'openSession') send();
    };
    const kv = await client([at(door)], { timeoutMs: 100 });
    await expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'unknown' });
    await expect(kv.get('a')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a write that never left ends as unavailable', async () => {
    const first = await openDoor(service);
    const kv = await client([at(first)], { timeoutMs: 150 });
    await first.close();
    await expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'unavailable' });
    expect(service.requests).toEqual([]);
  });

  test('a session that cannot be opened leaves the write certainly undone', async () => {
    const hung = await openDoor(silent);
    const kv = await client([at(hung)], { timeoutMs: 100 });
    await expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a write that found the session half opened has its own whole time', async () => {
    let openings = 0;
    service.deliver = (send, request) => {
      if (request.kind !== 'openSession' || ++openings > 1) send();
    };
    const kv = await client([at(door)], { timeoutMs: 200 });
    const first = expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'unavailable' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const second = kv.set('b', '2');
    await first;
    await second;
    expect([...service.data.keys()]).toEqual(['b']);
  });

  test.each([
    'not json\n',
    '{"status":"what"}\n',
    '[]\n',
    '{"status":"ok"}\n',
    'x'.repeat(70_000),
    '\u0000\n',
  ])('a server that answers %j is no node', async (answer) => {
    const odd = await openRaw((socket) => socket.on('data', () => socket.write(answer)));
    const kv = await client([at(odd)], { timeoutMs: 100 });
    await expect(kv.get('a')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('an answer of the wrong kind is not taken for another', async () => {
    service.intercept = () => ({ kind: 'session', id: 7 });
    const kv = await client();
    await expect(kv.get('a')).rejects.toMatchObject({ code: 'unknown' });
  });

  test('a full door is waited for', async () => {
    const full = await openDoor(service, { connectionsMax: 1 });
    const first = await client([at(full)]);
    await first.set('a', '1');
    const second = await client([at(full)]);
    const pending = second.getText('a');
    await first.close();
    expect(await pending).toBe('1');
  });
});

describe('json lines client: close()', () => {
  test('ends pending requests: unknown for a write that was sent, closed for the others', async () => {
    const kv = await client();
    await kv.set('a', '1');
    service.deliver = () => undefined;
    const before = service.requests.length;
    const pending = Promise.allSettled([
      kv.set('b', '2'),
      kv.get('a'),
      ...Array.from({ length: 200 }, () => kv.get('c')),
    ]);
    while (service.requests.length < before + 2) await new Promise(setImmediate);
    await kv.close();
    await kv.close();
    const codes = (await pending).map((result) =>
      result.status === 'rejected' ? result.reason.code : 'fulfilled',
    );
    expect(codes).toEqual(['unknown', ...Array.from({ length: 201 }, () => 'closed')]);
    await expect(kv.get('a')).rejects.toMatchObject({ code: 'closed' });
    await expect(kv.status()).rejects.toMatchObject({ code: 'closed' });
  });

  test('during a back-off ends at once', async () => {
    const failing = await openDoor(always({ kind: 'error', code: 'unavailable', message: 'no' }));
    const kv = await client([at(failing)], { timeoutMs: 60_000 });
    const pending = expect(kv.set('a', '1')).rejects.toMatchObject({ code: 'closed' });
    await new Promise((resolve) => setTimeout(resolve, 30));
    await kv.close();
    await pending;
  });
});
