/** What the JSON-lines door says on the wire, word for word, over real sockets. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fromLatin1, utf8 } from '../../src/lib/bytes.ts';
import type { Reply } from '../../src/net/protocol.ts';
import { JsonLinesDoor, ListenError } from '../../src/server/json-lines.ts';
import { FakeService } from './fake-service.ts';
import { ask, open, untilClosed } from './wire.ts';

let service: FakeService;
let door: JsonLinesDoor;

beforeEach(async () => {
  service = new FakeService();
  door = await JsonLinesDoor.listen({
    host: '127.0.0.1',
    port: 0,
    service,
    forward: true,
    limits: { lingerMs: 100 },
  });
});

afterEach(() => door.close());

const b = (text: string): string => Buffer.from(text).toString('base64');
const line = (value: unknown): string => `${JSON.stringify(value)}\n`;

/** The answers to `requests`, sent on one connection in one write. */
const say = (...requests: readonly unknown[]): Promise<readonly string[]> =>
  ask(door.port, requests.map(line).join(''), requests.length);

describe('json lines: requests and replies', () => {
  test('Set answers ok with its index', async () => {
    expect(await say({ Set: { key: 'hello', value: 'world' } })).toEqual(['{"status":"ok","index":1}']);
    expect(service.data.get('hello')).toEqual(utf8('world'));
  });

  test('Get answers the value, or not_found', async () => {
    service.data.set('hello', utf8('wörld'));
    expect(await say({ Get: { key: 'hello' } }, { Get: { key: 'nobody' } })).toEqual([
      '{"status":"ok","data":"wörld"}',
      '{"status":"not_found"}',
    ]);
  });

  test('Get tells an empty value from an absent one', async () => {
    service.data.set('empty', utf8(''));
    expect(await say({ Get: { key: 'empty' } })).toEqual(['{"status":"ok","data":""}']);
  });

  test('Delete says whether the key was there', async () => {
    service.data.set('a', utf8('1'));
    expect(await say({ Delete: { key: 'a' } }, { Delete: { key: 'a' } })).toEqual([
      '{"status":"ok","index":1,"existed":true}',
      '{"status":"ok","index":2,"existed":false}',
    ]);
  });

  test('Scan answers rows in order and whether there are more', async () => {
    for (const key of ['h2', 'h1', 'x', 'h3']) service.data.set(key, utf8(`v${key}`));
    expect(await say({ Scan: { prefix: 'h', limit: 2 } }, { Scan: { prefix: 'x' } })).toEqual([
      '{"status":"ok","data":[{"key":"h1","value":"vh1"},{"key":"h2","value":"vh2"}],"more":true}',
      '{"status":"ok","data":[{"key":"x","value":"vx"}],"more":false}',
    ]);
    expect(service.requests.at(-1)).toEqual({ kind: 'scan', prefix: utf8('x'), limit: 1000 });
  });

  test('Cas sets when the value is the expected one, null being absence', async () => {
    const replies = await say(
      { Cas: { key: 'k', expected: null, value: '1' } },
      { Cas: { key: 'k', expected: '1', value: '2' } },
    );
    expect(replies).toEqual(['{"status":"ok","index":1}', '{"status":"ok","index":2}']);
    expect(service.data.get('k')).toEqual(utf8('2'));
  });

  test('Cas that sees another value answers compare_failed with the actual one', async () => {
    service.data.set('k', utf8('1'));
    const replies = await say(
      { Cas: { key: 'k', expected: '0', value: '2' } },
      { Cas: { key: 'absent', expected: '0', value: '2' } },
    );
    expect(replies).toEqual([
      '{"status":"error","code":"compare_failed","message":"Cannot compare and set: the key holds another value","actual":"1"}',
      '{"status":"error","code":"compare_failed","message":"Cannot compare and set: the key is absent","actual":null}',
    ]);
  });

  test.each(['"Status"', '{"Status":{}}'])('%s answers the status in snake_case', async (request) => {
    const [reply] = await ask(door.port, `${request}\n`);
    expect(JSON.parse(reply ?? '')).toEqual({
      status: 'ok',
      data: {
        raft: {
          id: 1,
          role: 'pre_candidate',
          term: 3,
          vote: 1,
          leader: 2,
          commit: 9,
          applied: 8,
          first: 1,
          last: { index: 10, term: 3 },
          durable: 9,
          deadline_ms: null,
          peers: [{ id: 2, mode: 'replicate', match: 9, next: 10 }],
          votes: [1, 2],
          config_index: 0,
          transfer_to: 0,
          lease_until_ms: 0,
        },
        members: [
          { id: 1, standing: 'voter', address: '127.0.0.1:8001', client: '127.0.0.1:9001' },
          { id: 2, standing: 'voter', address: '127.0.0.1:8002', client: '127.0.0.1:9002' },
          { id: 3, standing: 'voter', address: '127.0.0.1:8003', client: '' },
        ],
        leader: { id: 2, client: '127.0.0.1:9002' },
        client: '127.0.0.1:9001',
        keys: 4,
        data_bytes: 42,
        wal_bytes: 100,
        snapshot_index: 5,
        storage: 'ok',
        revision: 7,
        compacted_revision: 2,
        engine: { kind: 'memory', versions: 5, bytes: 50 },
      },
    });
  });

  test.each(['"OpenSession"', '{"OpenSession":{}}'])('%s answers the session', async (request) => {
    expect(await ask(door.port, `${request}\n`)).toEqual(['{"status":"ok","session":1}']);
  });

  test('a session in a write reaches the node, and a retry gets the first answer', async () => {
    const [opened] = await say('OpenSession');
    expect(opened).toBe('{"status":"ok","session":1}');
    const write = { Set: { key: 'a', value: '1', session: { id: 1, seq: 3, acked_below: 2 } } };
    expect(await say(write, write)).toEqual(['{"status":"ok","index":2}', '{"status":"ok","index":2}']);
    expect(service.requests[1]).toMatchObject({ kind: 'set', session: { id: 1, seq: 3, ackedBelow: 2 } });
    expect(service.writes).toBe(1);
  });

  test('an unknown session answers session_expired', async () => {
    const [reply] = await say({ Delete: { key: 'a', session: { id: 9, seq: 1, acked_below: 1 } } });
    expect(reply).toBe('{"status":"error","code":"session_expired","message":"no such session"}');
  });
});

describe('json lines: errors of the node', () => {
  const notLeader: Reply = {
    kind: 'error',
    code: 'not_leader',
    message: 'x',
    leader: { id: 2, client: '127.0.0.1:9002' },
  };

  test('a follower that does not forward names the leader', async () => {
    service.intercept = () => notLeader;
    expect(await say({ Get: { key: 'a' } })).toEqual([
      '{"error":"Not a leader. Please connect to the leader node.","code":"not_leader","leader":{"id":2,"client":"127.0.0.1:9002"}}',
    ]);
  });

  test('a follower without a leader says null', async () => {
    service.intercept = () => ({ kind: 'error', code: 'not_leader', message: 'x' });
    expect(await say({ Get: { key: 'a' } })).toEqual([
      '{"error":"Not a leader. Please connect to the leader node.","code":"not_leader","leader":null}',
    ]);
  });

  test.each([
    'unknown',
    'overloaded',
    'unavailable',
    'storage_failed',
    'session_expired',
    'too_large',
    'closed',
  ] as const)('%s is named, and the connection stays', async (code) => {
    service.intercept = (request) =>
      request.kind === 'set' ? { kind: 'error', code, message: 'why "so"' } : undefined;
    expect(await say({ Set: { key: 'a', value: '1' } }, { Get: { key: 'a' } })).toEqual([
      `{"status":"error","code":"${code}","message":"why \\"so\\""}`,
      '{"status":"not_found"}',
    ]);
  });

  test.each([true, false])('forward: %s reaches the node', async (forward) => {
    const other = await JsonLinesDoor.listen({ host: '127.0.0.1', port: 0, service, forward });
    await ask(other.port, '"Status"\n');
    expect(service.options).toEqual([{ forward }]);
    await other.close();
  });
});

describe('json lines: bytes', () => {
  const raw = fromLatin1('\u00ff\u0000a');
  const base64 = Buffer.from(raw).toString('base64');

  test('base64 in a request makes every field of it and the reply base64', async () => {
    const encoding = 'base64';
    const replies = await say(
      { Set: { key: base64, value: base64, encoding } },
      { Get: { key: base64, encoding } },
      { Cas: { key: base64, expected: base64, value: b('2'), encoding } },
      { Cas: { key: base64, expected: base64, value: b('3'), encoding } },
      { Scan: { prefix: base64, limit: 9, encoding } },
      { Delete: { key: base64, encoding } },
    );
    expect(replies).toEqual([
      '{"status":"ok","index":1}',
      `{"status":"ok","data":"${base64}","encoding":"base64"}`,
      '{"status":"ok","index":2}',
      `{"status":"error","code":"compare_failed","message":"Cannot compare and set: the key holds another value","actual":"${b('2')}","encoding":"base64"}`,
      `{"status":"ok","data":[{"key":"${base64}","value":"${b('2')}"}],"more":false,"encoding":"base64"}`,
      '{"status":"ok","index":4,"existed":true}',
    ]);
  });

  test('a value that is not UTF-8 comes back as base64 and says so', async () => {
    service.data.set('k', raw);
    expect(await say({ Get: { key: 'k' } })).toEqual([
      `{"status":"ok","data":"${base64}","encoding":"base64"}`,
    ]);
  });

  test('a scan with one row that is not UTF-8 comes back wholly as base64 and says so', async () => {
    service.data.set('a', utf8('1'));
    service.data.set('b', raw);
    expect(await say({ Scan: { prefix: '', limit: 9 } })).toEqual([
      `{"status":"ok","data":[{"key":"YQ==","value":"MQ=="},{"key":"Yg==","value":"${base64}"}],"more":false,"encoding":"base64"}`,
    ]);
  });

  test.each(['YQ', 'YQ=', 'YR==', 'Y Q==', 'YQ==\n', '-_8=', 'é'])(
    '%j is not canonical base64',
    async (key) => {
      const [reply] = await say({ Get: { key, encoding: 'base64' } });
      expect(reply).toContain('field \\"key\\" is not canonical base64');
    },
  );

  test.each(['__proto__', 'constructor', 'toString', '', '\u0000', '😀', '10', '\ufeff', '\u2028', '"\\\n'])(
    'the key %j is a key like any other',
    async (key) => {
      const replies = await say(
        { Set: { key, value: key } },
        { Get: { key } },
        { Scan: { prefix: key, limit: 1 } },
        { Delete: { key } },
        { Get: { key } },
      );
      expect(replies.map((reply) => JSON.parse(reply))).toEqual([
        { status: 'ok', index: 1 },
        { status: 'ok', data: key },
        { status: 'ok', data: [{ key, value: key }], more: false },
        { status: 'ok', index: 2, existed: true },
        { status: 'not_found' },
      ]);
      expect(Object.keys(Object.prototype)).toEqual([]);
    },
  );
});

describe('json lines: lines', () => {
  test('CR LF ends a line, and blank lines are ignored', async () => {
    expect(await ask(door.port, '\n\r\n  \n"OpenSession"\r\n\n\t{"Get":{"key":"a"}} \r\n', 2)).toEqual([
      '{"status":"ok","session":1}',
      '{"status":"not_found"}',
    ]);
  });

  test('a request in one-byte pieces is one request', async () => {
    const wire = await open(door.port);
    wire.socket.setNoDelay(true);
    for (const byte of Buffer.from(line({ Set: { key: 'é😀', value: '1' } }))) {
      wire.socket.write(Uint8Array.of(byte));
      // oxlint-disable-next-line no-await-in-loop -- the pieces are to arrive apart
      await new Promise(setImmediate);
    }
    expect(await wire.waitLines(1)).toEqual(['{"status":"ok","index":1}']);
    wire.socket.destroy();
  });

  test('half-close: pending replies still arrive, then the connection closes', async () => {
    const sends: (() => void)[] = [];
    service.deliver = (send) => sends.push(send);
    const wire = await open(door.port);
    wire.socket.end(line({ Set: { key: 'a', value: '1' } }) + line({ Get: { key: 'a' } }));
    while (sends.length < 2) await new Promise(setImmediate);
    expect(wire.text()).toBe('');
    for (const send of sends.toReversed()) send();
    expect(await wire.closed).toBe('{"status":"ok","index":1}\n{"status":"ok","data":"1"}\n');
  });

  test('half-close: a whole last line without its end counts, a cut one is refused', async () => {
    const whole = await open(door.port);
    whole.socket.end('{"Set":{"key":"a","value":"1"}}');
    expect(await whole.closed).toBe('{"status":"ok","index":1}\n');
    const cut = await open(door.port);
    cut.socket.end('{"Set":{"key":"b","value":"1"}');
    expect(await cut.closed).toContain('"code":"bad_request"');
    expect(service.writes).toBe(1);
  });

  test('replies keep the order of requests, whatever the order of completion', async () => {
    const sends: (() => void)[] = [];
    service.deliver = (send) => sends.push(send);
    for (let i = 0; i < 50; i++) service.data.set(`k${i}`, utf8(String(i)));
    const wire = await open(door.port);
    wire.socket.write(Array.from({ length: 50 }, (_, i) => line({ Get: { key: `k${i}` } })).join(''));
    while (sends.length < 50) await new Promise(setImmediate);
    for (const send of sends.toReversed()) send();
    const replies = await wire.waitLines(50);
    expect(replies).toEqual(Array.from({ length: 50 }, (_, i) => `{"status":"ok","data":"${i}"}`));
    wire.socket.destroy();
  });

  test('replies of one tick arrive in one write', async () => {
    const sends: (() => void)[] = [];
    service.deliver = (send) => sends.push(send);
    const wire = await open(door.port);
    let chunkCount = 0;
    wire.socket.on('data', () => (chunkCount += 1));
    wire.socket.write(line({ Get: { key: 'a' } }).repeat(100));
    while (sends.length < 100) await new Promise(setImmediate);
    for (const send of sends) send();
    await wire.waitLines(100);
    expect(chunkCount).toBe(1);
    wire.socket.destroy();
  });

  test('nothing after a malformed line is executed, and what came before is answered', async () => {
    const answer = await untilClosed(
      door.port,
      `${line({ Set: { key: 'a', value: '1' } })}{oops}\n${line({ Set: { key: 'b', value: '2' } })}`,
    );
    expect(answer.split('\n')).toEqual([
      '{"status":"ok","index":1}',
      '{"status":"error","code":"bad_request","message":"Cannot parse JSON: a string expected at position 1"}',
      '',
    ]);
    expect([...service.data.keys()]).toEqual(['a']);
  });
});

describe('json lines: the door', () => {
  test('a taken port rejects with its code', async () => {
    const second = JsonLinesDoor.listen({ host: '127.0.0.1', port: door.port, service, forward: true });
    await expect(second).rejects.toBeInstanceOf(ListenError);
    await expect(second).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: `Cannot listen on 127.0.0.1:${door.port}: the address is in use (EADDRINUSE)`,
    });
  });

  test('close() answers what was taken, closes connections and frees the port', async () => {
    const sends: (() => void)[] = [];
    service.deliver = (send) => sends.push(send);
    const wire = await open(door.port);
    wire.socket.write(line({ Set: { key: 'a', value: '1' } }));
    while (sends.length < 1) await new Promise(setImmediate);
    expect(door.connections).toBe(1);
    const closed = door.close();
    sends[0]?.();
    expect(await wire.closed).toBe('{"status":"ok","index":1}\n');
    await closed;
    expect(door.connections).toBe(0);
    await expect(open(door.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('close() does not wait for ever for an answer', async () => {
    service.deliver = () => undefined;
    const wire = await open(door.port);
    wire.socket.write(line({ Get: { key: 'a' } }));
    while (service.requests.length < 1) await new Promise(setImmediate);
    await door.close();
    expect(await wire.closed).toBe('');
  });
});
