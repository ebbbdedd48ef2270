/**
 * Clients that are broken, lost or malicious. After each of them the door answers an honest client, nothing of what
 * they smuggled in was executed, and the process has not grown. Limits are short, so that nothing takes long.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { LIMITS } from '../../src/net/protocol.ts';
import { JsonLinesDoor } from '../../src/server/json-lines.ts';
import type { DoorLimits } from '../../src/server/limits.ts';
import { FakeService } from './fake-service.ts';
import { ask, open, untilClosed } from './wire.ts';
import type { Wire } from './wire.ts';

const MIB = 1_048_576;
/** For both sides of the connection: the attackers live in this process too. */
const GROWTH_MIB_MAX = 96;

setFlagsFromString('--expose-gc');
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the collector, by its only name
const collect = runInNewContext('gc') as () => void;

const rssMib = (): number => {
  collect();
  return process.memoryUsage().rss / MIB;
};

const report: string[] = [];
const SET = '{"Set":{"key":"smuggled","value":"1"}}\n';

let service: FakeService;
let door: JsonLinesDoor;
let beforeMib = 0;

async function openDoor(limits: Partial<DoorLimits> = {}): Promise<void> {
  await door?.close();
  const short = { lineMs: 200, idleMs: 60_000, writeStallMs: 200, lingerMs: 100, ...limits };
  door = await JsonLinesDoor.listen({ host: '127.0.0.1', port: 0, service, forward: true, limits: short });
}

beforeEach(async () => {
  service = new FakeService();
  await openDoor();
  beforeMib = rssMib();
});

afterEach(async ({ task }) => {
  expect(await ask(door.port, '{"Get":{"key":"honest"}}\n')).toEqual(['{"status":"not_found"}']);
  expect(service.data.has('smuggled')).toBe(false);
  await door.close();
  expect(door.connections).toBe(0);
  const growthMib = rssMib() - beforeMib;
  report.push(`${growthMib.toFixed(1).padStart(7)} MiB  ${task.name}`);
  expect(growthMib).toBeLessThan(GROWTH_MIB_MAX);
});

afterAll(() => {
  process.stdout.write(`memory after each hostile client, compared with before:\n${report.join('\n')}\n`);
});

const tick = (): Promise<void> => new Promise(setImmediate);

/** Writes `piece` until the door closes the connection or `bytesMax` are written. @returns bytes written */
async function flood({ socket, closed }: Wire, piece: Uint8Array, bytesMax: number): Promise<number> {
  let written = 0;
  while (!socket.closed && socket.writable && written < bytesMax) {
    written += piece.length;
    if (!socket.write(piece)) {
      await Promise.race([closed, new Promise((resolve) => socket.once('drain', resolve))]);
    }
  }
  await Promise.race([closed, tick()]);
  return written;
}

/** A valid request of this many bytes and its end. */
const padded = (bytes: number): string => `"Status"${' '.repeat(bytes - 8)}\n`;

const codeOf = (answer: string): unknown => {
  const reply: unknown = JSON.parse(answer.split('\n').at(-2) ?? '{}');
  return typeof reply === 'object' && reply !== null && 'code' in reply ? reply.code : undefined;
};

describe('hostile: lines', () => {
  test('a line of exactly the limit is read, one byte more is too_large and closes', async () => {
    const [reply] = await ask(door.port, padded(LIMITS.requestBytesMax));
    expect(reply).toContain('"status":"ok"');
    const answer = await untilClosed(door.port, padded(LIMITS.requestBytesMax + 1) + SET);
    expect(answer).toBe(
      '{"status":"error","code":"too_large","message":"Cannot read request: the line is over lineBytesMax, which is 1572864"}\n',
    );
  });

  test('a key or value over its limit is refused, and the connection stays', async () => {
    const replies = await ask(
      door.port,
      `{"Get":{"key":"${'k'.repeat(65_537)}"}}\n{"Set":{"key":"a","value":"${'v'.repeat(MIB + 1)}"}}\n{"Get":{"key":"a"}}\n`,
      3,
    );
    expect(replies).toEqual([
      '{"status":"error","code":"too_large","message":"Cannot accept request: key is 65537, keyBytesMax is 65536"}',
      '{"status":"error","code":"too_large","message":"Cannot accept request: value is 1048577, valueBytesMax is 1048576"}',
      '{"status":"not_found"}',
    ]);
  });

  test('an endless line in pieces of 64 KiB is cut while it streams', async () => {
    const wire = await open(door.port);
    const started = performance.now();
    const written = await flood(wire, Buffer.alloc(65_536, '{'), 256 * MIB);
    expect(written).toBeLessThan(256 * MIB);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(codeOf(await wire.closed)).toBe('too_large');
  });

  test('an endless line in pieces of one byte is cut at the limit', async () => {
    await openDoor({ lineBytesMax: 20_000, lineMs: 60_000 });
    const wire = await open(door.port);
    wire.socket.setNoDelay(true);
    const one = Buffer.from('"');
    let sent = 0;
    for (; sent < 60_000 && wire.text() === ''; sent++) {
      wire.socket.write(one);
      if (sent % 8 === 0) await tick();
    }
    expect(codeOf(await wire.closed)).toBe('too_large');
    expect(sent).toBeGreaterThan(20_000);
  });

  test('endless blank lines cost nothing and starve nobody', async () => {
    const wire = await open(door.port);
    const flooding = flood(wire, Buffer.alloc(65_536, '\n'), 64 * MIB);
    expect(await ask(door.port, '{"Get":{"key":"a"}}\n')).toEqual(['{"status":"not_found"}']);
    wire.socket.destroy();
    await flooding;
    expect(service.requests).toHaveLength(1);
  });

  test.each([
    ['deep arrays', '['.repeat(1_000_000)],
    ['deep objects', '{"a":'.repeat(200_000)],
    ['deep inside a body', `{"Get":{"key":${'['.repeat(100)}${']'.repeat(100)}}}`],
    ['a wide array', `{"Get":[${'{},'.repeat(300_000)}{}]}`],
    ['a huge number', `{"Scan":{"prefix":"a","limit":${'9'.repeat(1_000_000)}}}`],
    ['a huge exponent', '{"Scan":{"prefix":"a","limit":1e400}}'],
    ['2^53 + 1', '{"Scan":{"prefix":"a","limit":9007199254740993}}'],
    ['a duplicate key', '{"Set":{"key":"smuggled","key":"a","value":"1"}}'],
    ['a lone surrogate', '{"Set":{"key":"\\ud800","value":"1"}}'],
    ['a polluting name', '{"Set":{"key":"a","value":"1","__proto__":{"polluted":1}}}'],
  ])('%s: bad_request, and the connection closes', async (_name, text) => {
    const answer = await untilClosed(door.port, `${text}\n${SET}`);
    expect(codeOf(answer)).toBe('bad_request');
    expect(answer.split('\n')).toHaveLength(2);
    expect(answer.length).toBeLessThan(500);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(service.requests).toEqual([]);
  });

  test('invalid UTF-8 at every position of a request', async () => {
    const line = utf8('{"Set":{"key":"smuggled","value":"1"}}\n');
    const answers = await Promise.all(
      Array.from({ length: line.length - 1 }, (_, i) => {
        const broken = line.slice();
        broken[i] = 0xff;
        return untilClosed(door.port, broken);
      }),
    );
    expect(answers.map(codeOf)).toEqual(answers.map(() => 'bad_request'));
    expect(service.requests).toEqual([]);
  });

  test('random noise, 300 connections of it', async () => {
    const random = new Random(4711);
    const noise = Array.from({ length: 300 }, () =>
      Uint8Array.from({ length: random.int(1, 3_000) }, () => random.int(0, 255)),
    );
    await Promise.all(
      noise.map(async (bytes) => {
        const wire = await open(door.port);
        wire.socket.end(bytes);
        await wire.closed;
      }),
    );
    expect(service.requests).toEqual([]);
  });

  test('requests with random damage never reach the node with more than they say', async () => {
    const random = new Random(42);
    const line = '{"Cas":{"key":"k","expected":null,"value":"v","session":{"id":1,"seq":2,"acked_below":1}}}';
    const damaged = Array.from({ length: 400 }, () => {
      const bytes = Buffer.from(line);
      for (let n = random.int(1, 4); n > 0; n--) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
      return bytes;
    });
    await Promise.all(
      damaged.map(async (bytes) => {
        const wire = await open(door.port);
        wire.socket.end(Buffer.concat([bytes, Buffer.from('\n')]));
        const answer = await wire.closed;
        for (const reply of answer.split('\n').slice(0, -1))
          expect(() => JSON.parse(reply) as unknown).not.toThrow();
      }),
    );
    for (const request of service.requests) expect(request.kind).toBe('cas');
  });
});

describe('hostile: other protocols', () => {
  test.each(['POST', 'GET', 'OPTIONS'])(
    'an HTTP %s with a command in its body does not execute it',
    async (method) => {
      const answer = await untilClosed(
        door.port,
        `${method} / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: ${SET.length}\r\n\r\n${SET}`,
      );
      expect(answer).toBe(
        '{"status":"error","code":"bad_request","message":"Cannot read request: this port speaks JSON lines, not HTTP"}\n',
      );
      expect(service.requests).toEqual([]);
    },
  );

  test('a real fetch() does not execute its body', async () => {
    const posted = fetch(`http://127.0.0.1:${door.port}/`, { method: 'POST', body: SET });
    await expect(posted).rejects.toThrow();
    expect(service.requests).toEqual([]);
  });

  test.each([
    ['Host: evil\r\n', 'not HTTP'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'not HTTP'],
    ['hello\n', 'a line begins with'],
    ['7\n', 'a line begins with'],
    ['[1]\n', 'a line begins with'],
    ['\ufeff"Status"\n', 'a line begins with'],
    ['*1\r\n$4\r\nPING\r\n', 'a line begins with'],
  ])('%j is refused as what it is', async (text, why) => {
    const answer = await untilClosed(door.port, text + SET);
    expect(codeOf(answer)).toBe('bad_request');
    expect(answer).toContain(why);
    expect(service.requests).toEqual([]);
  });

  test('a TLS ClientHello is refused on its first bytes, without a line end', async () => {
    const hello = Buffer.from('16030100a5010000a10303', 'hex');
    expect(await untilClosed(door.port, hello)).toContain('this port speaks JSON lines, not TLS');
  });
});

describe('hostile: time', () => {
  test('a line that does not end is given up after lineMs', async () => {
    const wire = await open(door.port);
    wire.socket.write('{"Set":');
    const started = performance.now();
    expect(await wire.closed).toBe(
      '{"status":"error","code":"bad_request","message":"Cannot read request: line not finished within 200 ms"}\n',
    );
    expect(performance.now() - started).toBeGreaterThan(150);
  });

  test('slow-loris: a byte now and then does not buy more time, for 200 of them', async () => {
    const wires = await Promise.all(Array.from({ length: 200 }, () => open(door.port)));
    const drip = setInterval(() => {
      for (const { socket } of wires) if (socket.writable) socket.write('"');
    }, 20);
    const started = performance.now();
    const answers = await Promise.all(wires.map((wire) => wire.closed));
    clearInterval(drip);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(answers.every((answer) => answer.includes('line not finished'))).toBe(true);
  });

  test('an idle connection closes without a word, a busy one does not', async () => {
    await openDoor({ idleMs: 150 });
    const held: (() => void)[] = [];
    service.deliver = (send, request) => (request.kind === 'status' ? held.push(send) : send());
    const busy = await open(door.port);
    busy.socket.write('"Status"\n');
    const idle = await open(door.port);
    expect(await idle.closed).toBe('');
    await new Promise((resolve) => setTimeout(resolve, 200));
    held[0]?.();
    expect(await busy.waitLines(1)).toHaveLength(1);
    busy.socket.destroy();
  });

  test('a thread that stood still judges nobody by the time it missed', async () => {
    const wire = await open(door.port);
    wire.socket.write('"OpenSession"\n{"Get":');
    await wire.waitLines(1);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    wire.socket.write('{"key":"a"}}\n');
    expect(await wire.waitLines(2)).toEqual(['{"status":"ok","session":1}', '{"status":"not_found"}']);
    wire.socket.destroy();
  });

  test('a half-open client that never closes its side and goes on sending is reset after lingerMs', async () => {
    const wire = await open(door.port, { allowHalfOpen: true });
    wire.socket.write('{bad}\n');
    await wire.ended;
    await flood(wire, Buffer.from(SET.repeat(1_000)), 1_024 * MIB);
    while (door.connections > 0) await tick();
    wire.socket.destroy();
  });
});

describe('hostile: connections', () => {
  test('2,000 connections: 1,024 are served, the others told or reset; afterwards there is room again', async () => {
    const sockets: Socket[] = [];
    let connectedCount = 0;
    let goneCount = 0;
    let told = 0;
    await new Promise<void>((resolve) => {
      const settled = (): void => {
        if (connectedCount === 2_000 && goneCount === 2_000 - 1_024) resolve();
      };
      for (let i = 0; i < 2_000; i++) {
        const socket = connect(door.port, '127.0.0.1');
        sockets.push(socket);
        socket.on('error', () => undefined);
        socket.once('connect', () => {
          connectedCount += 1;
          settled();
        });
        socket.on('data', (chunk) => {
          if (
            chunk.toString() ===
            '{"status":"error","code":"overloaded","message":"Cannot accept connection: connectionsMax is 1024"}\n'
          )
            told += 1;
        });
        socket.once('close', () => {
          goneCount += 1;
          settled();
        });
      }
    });
    expect(door.connections).toBe(1_024);
    expect(told).toBeGreaterThanOrEqual(64);
    for (const socket of sockets) socket.destroy();
    while (door.connections > 0) await tick();
  });

  test('a client over the limit is told so, and what it sent is not executed', async () => {
    await openDoor({ connectionsMax: 1 });
    const first = await open(door.port);
    expect(await untilClosed(door.port, SET)).toContain('"code":"overloaded"');
    first.socket.destroy();
    while (door.connections > 0) await tick();
  });

  test('200 resets in the middle of a request or before its answer', async () => {
    service.deliver = (send) => setImmediate(send);
    for (let i = 0; i < 200; i++) {
      const wire = await open(door.port);
      wire.socket.write(i % 2 === 0 ? '{"Get":{"key"' : '{"Get":{"key":"a"}}\n'.repeat(50));
      if (i % 4 > 1) await tick();
      wire.socket.resetAndDestroy();
    }
    while (door.connections > 0) await tick();
    service.deliver = (send) => send();
  });
});

describe('hostile: pipelining', () => {
  test('10,000 requests completed out of order are answered in order, at most 128 at a time', async () => {
    const random = new Random(7);
    let inFlight = 0;
    let inFlightMax = 0;
    const held: (() => void)[] = [];
    service.deliver = (send) => {
      inFlight += 1;
      inFlightMax = Math.max(inFlightMax, inFlight);
      held.push(send);
      if (held.length === 1) setImmediate(release);
    };
    const release = (): void => {
      while (held.length > 0) {
        inFlight -= 1;
        const [send] = held.splice(random.int(0, held.length - 1), 1);
        send?.();
      }
    };
    for (let i = 0; i < 10_000; i++) service.data.set(`k${i}`, utf8(`v${i}`));
    const wire = await open(door.port);
    const started = performance.now();
    wire.socket.write(Array.from({ length: 10_000 }, (_, i) => `{"Get":{"key":"k${i}"}}\n`).join(''));
    const replies = await wire.waitLines(10_000);
    const elapsedMs = performance.now() - started;
    expect(replies).toEqual(Array.from({ length: 10_000 }, (_, i) => `{"status":"ok","data":"v${i}"}`));
    expect(inFlightMax).toBe(128);
    report.push(`          (10,000 pipelined gets in ${elapsedMs.toFixed(0)} ms)`);
    wire.socket.destroy();
    service.deliver = (send) => send();
  });

  test('a client ahead of the node is not read: its requests wait on its own side', async () => {
    const held: (() => void)[] = [];
    service.deliver = (send) => held.push(send);
    const wire = await open(door.port);
    const requests = Buffer.from('{"Get":{"key":"a"}}\n'.repeat(100_000));
    wire.socket.write(requests);
    for (let i = 0; i < 32; i++) wire.socket.write(requests);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(service.requests).toHaveLength(128);
    const takenBytes = wire.socket.bytesWritten - wire.socket.writableLength;
    expect(takenBytes).toBeLessThan(16 * MIB);
    wire.socket.destroy();
    service.deliver = (send) => send();
  });

  test('a client that never reads is not read any more, and is reset', async () => {
    service.data.set('big', new Uint8Array(MIB).fill(0x61));
    const wire = await open(door.port);
    wire.socket.pause();
    const written = flood(wire, Buffer.from('{"Get":{"key":"big"}}\n'.repeat(1_000)), 64 * MIB);
    while (service.requests.length === 0) await tick();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const taken = service.requests.length;
    // Replies of one megabyte each: the cap of 8 MiB stops the reading long before 128 are in flight.
    expect(taken).toBeLessThan(64);
    expect(rssMib() - beforeMib).toBeLessThan(48);
    while (door.connections > 0) await tick();
    expect(service.requests.length).toBeLessThan(64);
    wire.socket.destroy();
    await written;
  });

  test('a client that reads slowly gets every byte, in more time than a stalled write is given', async () => {
    await openDoor({ writeStallMs: 500 });
    service.data.set('big', new Uint8Array(MIB).fill(0x61));
    const wire = await open(door.port);
    wire.socket.on('data', () => {
      wire.socket.pause();
      setTimeout(() => wire.socket.resume(), 5);
    });
    const started = performance.now();
    wire.socket.write('{"Get":{"key":"big"}}\n'.repeat(8));
    const replies = await wire.waitLines(8);
    expect(performance.now() - started).toBeGreaterThan(500);
    expect(replies.every((reply) => reply.length === MIB + '{"status":"ok","data":""}'.length)).toBe(true);
    wire.socket.destroy();
  });

  test('a flood on one connection leaves the others served', async () => {
    service.deliver = (send) => setImmediate(send);
    const wire = await open(door.port);
    const flooding = flood(wire, Buffer.from('{"Get":{"key":"a"}}\n'.repeat(3_000)), 4 * MIB);
    const started = performance.now();
    for (let i = 0; i < 20; i++) await ask(door.port, '{"Get":{"key":"a"}}\n');
    expect(performance.now() - started).toBeLessThan(10_000);
    wire.socket.destroy();
    await flooding;
    service.deliver = (send) => send();
  });
});
