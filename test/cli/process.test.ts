/** `oxide-kv` end to end: real processes, real threads, real ports. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPty } from '../tui/pty.ts';
import { BIN, cli, Cli, freePorts } from './processes.ts';

let directory = '';

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'oxide-kv-cli-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('without a server', () => {
  test('usage errors end with 64 and one hint', async () => {
    expect(await cli(['gte', 'k'])).toEqual({
      end: 64,
      out: '',
      err: 'oxide-kv: Unknown command "gte"\nDid you mean "get"?\n',
    });
  });

  test('a client says that nobody listens, and what to do', async () => {
    const endpoint = `127.0.0.1:${await freePorts(1)}`;
    const message = `Cannot reach ${endpoint}: connection refused. Start one with \`oxide-kv serve\``;
    const env = { OXIDE_KV_ENDPOINT: endpoint };
    expect(await cli(['get', 'k', '--timeout', '1000'], { env })).toEqual({
      end: 1,
      out: '',
      err: `oxide-kv: ${message}\n`,
    });
    const json = await cli(['set', 'k', 'v', '--timeout', '1000', '--json'], { env });
    expect({ ...json, out: JSON.parse(json.out) }).toEqual({
      end: 1,
      out: { ok: false, code: 'unavailable', message },
      err: '',
    });
    const status = await cli(['status', '--timeout', '1000'], { env });
    expect(status.end).toBe(1);
    expect(status.out).toContain(`${endpoint}  connection refused`);
  });

  test('a write without an answer is unknown, and says so', async () => {
    const server = await silentServer();
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const result = await cli(['set', 'k', 'v', '--json', '--timeout', '500', '-e', `127.0.0.1:${port}`]);
    expect(JSON.parse(result.out)).toMatchObject({
      ok: false,
      code: 'unknown',
      message: expect.stringContaining('may or may not have happened'),
    });
    expect(result.end).toBe(1);
    await new Promise((resolve) => server.close(resolve));
  });

  test('an old Node is refused in one sentence', async () => {
    const script = `
      Object.defineProperty(process.versions, 'node', { value: '20.18.3' });
      await import(${JSON.stringify(pathToFileURL(BIN).href)});
    `;
    const result = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile(process.execPath, ['--input-type=module', '-e', script], (error, _, stderr) => {
        resolve({ code: error?.code, stderr });
      });
    });
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^Oxide-KV needs Node.js 20.19 or newer; this is 20.18.3[^\n]*\n$/);
  });
});

/** A node that opens sessions, takes writes, and never answers them. */
async function silentServer(): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (chunk.includes('OpenSession')) socket.write('{"status":"ok","session":1}\n');
    });
    socket.unref();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}

interface Ready {
  readonly leader: number;
  readonly nodes: readonly { readonly id: number; readonly client: string }[];
}

async function readyLine(process: Cli): Promise<Ready> {
  const match = await process.printed(/^(\{"event":"ready".*\})\n/m);
  return JSON.parse(match[1] ?? '');
}

describe('serve', () => {
  let server: Cli;
  let data = '';
  let port = 0;
  let env: Record<string, string> = {};

  beforeAll(async () => {
    data = join(directory, 'serve');
    port = await freePorts(3);
    server = new Cli(['serve', '--json', '--data', data, '--client-port', String(port)]);
    const ready = await readyLine(server);
    expect(ready.nodes).toEqual([0, 1, 2].map((i) => ({ id: i + 1, client: `127.0.0.1:${port + i}` })));
    expect([1, 2, 3]).toContain(ready.leader);
    env = { OXIDE_KV_ENDPOINT: ready.nodes.map(({ client }) => client).join(',') };
  });

  afterAll(async () => {
    await server.stop('SIGKILL');
  });

  test('set, get, cas, scan, del', async () => {
    expect(await cli(['set', 'greeting', 'hello'], { env })).toMatchObject({
      end: 0,
      out: expect.stringMatching(/^OK, index [0-9]+\n$/),
    });
    expect(await cli(['get', 'greeting'], { env })).toEqual({ end: 0, out: 'hello', err: '' });
    expect(await cli(['cas', 'greeting', 'hello', 'ciao'], { env })).toMatchObject({ end: 0, out: 'OK\n' });
    expect(await cli(['cas', 'greeting', 'hello', 'ciao'], { env })).toEqual({
      end: 1,
      out: '',
      err: 'Not set: key "greeting" does not hold the expected value\n',
    });
    expect(await cli(['cas', 'greeting', 'x', '--absent', '--json'], { env })).toMatchObject({
      end: 1,
      out: expect.stringContaining('"code":"compare_failed"'),
    });
    expect(await cli(['scan', 'greet'], { env })).toEqual({ end: 0, out: 'greeting\tciao\n', err: '' });
    expect(await cli(['scan', 'nothing'], { env })).toEqual({ end: 0, out: '', err: '' });
    expect(await cli(['del', 'greeting'], { env })).toMatchObject({ end: 0, out: 'Deleted\n' });
    expect(await cli(['del', 'greeting', '--json'], { env })).toMatchObject({
      end: 1,
      out: '{"ok":true,"existed":false}\n',
    });
    expect(await cli(['get', 'greeting'], { env })).toEqual({
      end: 1,
      out: '',
      err: 'Key "greeting" not found\n',
    });
    expect(await cli(['get', 'greeting', '--json'], { env })).toMatchObject({
      end: 1,
      out: '{"found":false,"key":"greeting"}\n',
    });
  });

  test('bytes go in through standard input and come out of a pipe unchanged', async () => {
    const bytes = Buffer.from([0, 255, 27, 91, 10, 13, 128]);
    expect(await cli(['set', 'bytes', '-'], { env, stdin: bytes })).toMatchObject({ end: 0 });
    const out = new Cli(['get', 'bytes'], { env });
    const parts: Buffer[] = [];
    out.child.stdout.on('data', (part: Buffer) => parts.push(part));
    await out.finished;
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    expect(await cli(['get', 'bytes', '--base64'], { env })).toMatchObject({
      out: `${bytes.toString('base64')}\n`,
    });
    expect(JSON.parse((await cli(['get', 'bytes', '--json'], { env })).out)).toEqual({
      found: true,
      key: 'bytes',
      valueBase64: bytes.toString('base64'),
    });
  });

  test('awkward keys come back as they went in', async () => {
    const keys = ['__proto__', 'é😀', ' ', '\u001b[2J'];
    const sets = await Promise.all(keys.map((key) => cli(['set', `odd/${key}`, key], { env })));
    expect(sets.map(({ end }) => end)).toEqual(keys.map(() => 0));
    const gets = await Promise.all(keys.map((key) => cli(['get', `odd/${key}`], { env })));
    expect(gets.map(({ out }) => out)).toEqual(keys);
    const rows = (await cli(['scan', 'odd/', '--json'], { env })).out.trimEnd().split('\n');
    expect(rows).toHaveLength(keys.length);
    const limited = await cli(['scan', 'odd/', '--limit', '2', '--keys-only'], { env });
    expect(limited.out).toBe('odd/\u001b[2J\nodd/ \n');
    expect(limited.err).toContain('there are more');
  });

  test('a reader that goes away ends scan quietly', async () => {
    const stdin = 'x'.repeat(300_000);
    for (const key of ['big/1', 'big/2', 'big/3']) {
      expect(await cli(['set', key, '-'], { env, stdin })).toMatchObject({ end: 0 });
    }
    const scan = new Cli(['scan', 'big/'], { env });
    scan.child.stdout.once('data', () => scan.child.stdout.destroy());
    expect(await scan.finished).toMatchObject({ end: 0, err: '' });
  });

  test('status shows every node, and from one endpoint the leader too', async () => {
    const all = await cli(['status'], { env });
    expect(all.end).toBe(0);
    const lines = all.out.trimEnd().split('\n');
    expect(lines[0]).toMatch(
      /^NODE +ENDPOINT +ROLE +TERM +LEADER +COMMIT +APPLIED +LAST +WAL +ENGINE +KEYS +REVISION$/,
    );
    expect(lines).toHaveLength(4);
    expect(lines.filter((line) => / leader /.test(line))).toHaveLength(1);
    const { leader, nodes } = JSON.parse((await cli(['status', '--json'], { env })).out);
    expect(nodes.map((node: { raft: { id: number } }) => node.raft.id)).toEqual([1, 2, 3]);
    const follower = `127.0.0.1:${port + (leader === 1 ? 1 : 0)}`;
    const one = await cli(['status', '-e', follower], { env });
    expect(one.end).toBe(0);
    expect(one.out.trimEnd().split('\n')).toHaveLength(3);
  });

  test('a taken port: the next free block, or a refusal with --strict-ports', async () => {
    const strict = await cli([
      'serve',
      '--strict-ports',
      '--data',
      join(directory, 'strict'),
      '--client-port',
      String(port),
    ]);
    expect(strict).toMatchObject({ end: 1, err: expect.stringMatching(/^oxide-kv: [^\n]*\n$/) });
    expect(strict.err).toContain(String(port));
    const args = [
      'serve',
      '--json',
      '--nodes',
      '1',
      '--data',
      join(directory, 'next'),
      '--client-port',
      String(port),
    ];
    const next = new Cli(args);
    const { nodes } = await readyLine(next);
    expect(nodes[0]?.client).not.toBe(`127.0.0.1:${port}`);
    expect(next.err).toContain(`Ports from ${port} on are taken`);
    expect((await next.stop('SIGINT')).end).toBe(0);
  });

  test('a data directory in use is refused in one sentence', async () => {
    const second = await cli(['serve', '--data', data, '--client-port', String(await freePorts(3))]);
    expect(second).toMatchObject({ end: 1, err: expect.stringMatching(/^oxide-kv: [^\n]*\n$/) });
  });

  test('SIGTERM stops cleanly with 0, and the data is there after the next start', async () => {
    expect(await cli(['set', 'kept', 'yes'], { env })).toMatchObject({ end: 0 });
    const stopped = await server.stop('SIGTERM');
    expect(stopped).toMatchObject({ end: 0, err: '' });
    expect(stopped.out.trimEnd().split('\n')).toHaveLength(1);
    server = new Cli(['serve', '--data', data, '--client-port', String(port)]);
    await server.printed(/^Ready: node [1-3] leads/m);
    expect(await cli(['get', 'kept'], { env })).toMatchObject({ end: 0, out: 'yes' });
    expect((await server.stop('SIGINT')).end).toBe(0);
  });
});

test('node: with --cluster an address may change, without it the data is refused there', async () => {
  const base = await freePorts(4);
  const path = join(directory, 'moved');
  const start = (port: number, ...more: readonly string[]): Cli =>
    new Cli(
      ['node', '--json', '--addr', `127.0.0.1:${port}`, '--data', path, '--client-addr'].concat(
        `127.0.0.1:${port + 1}`,
        more,
      ),
    );
  const first = start(base, '--cluster', 'blue');
  try {
    await first.printed(/"ready"/);
    const env = { OXIDE_KV_ENDPOINT: `127.0.0.1:${base + 1}` };
    expect(await cli(['set', 'k', 'v'], { env })).toMatchObject({ end: 0 });
  } finally {
    await first.stop();
  }
  for (const more of [[], ['--cluster', 'green']]) {
    const { end, out } = await start(base + 2, ...more).finished;
    expect(end).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      message: expect.stringMatching(/to cluster "blue", not "/),
    });
  }
  const moved = start(base + 2, '--cluster', 'blue');
  try {
    await moved.printed(/"ready"/);
    const env = { OXIDE_KV_ENDPOINT: `127.0.0.1:${base + 3}` };
    expect(await cli(['get', 'k'], { env })).toMatchObject({ end: 0, out: 'v' });
  } finally {
    await moved.stop();
  }
});

test('node: three processes are one cluster, and two of them go on without the third', async () => {
  const base = await freePorts(6);
  const addresses = [0, 1, 2].map((i) => `127.0.0.1:${base + i}`);
  const clients = [3, 4, 5].map((i) => `127.0.0.1:${base + i}`);
  const env = { OXIDE_KV_ENDPOINT: clients.join(',') };
  const start = (i: number): Cli =>
    new Cli(
      ['node', '--json', '--addr', addresses[i] ?? '', '--client-addr', clients[i] ?? ''].concat(
        ['--data', join(directory, `node-${i}`), '--peers'],
        addresses.filter((_, other) => other !== i),
      ),
    );
  const nodes = [start(0), start(1), start(2)];
  try {
    for (const [i, node] of nodes.entries()) {
      const match = await node.printed(/^(\{"event":"ready".*\})\n/);
      expect(JSON.parse(match[1] ?? '')).toEqual({
        event: 'ready',
        id: i + 1,
        addr: addresses[i],
        client: clients[i],
      });
    }
    expect(await cli(['set', 'k', 'v'], { env })).toMatchObject({ end: 0 });
    const { leader } = JSON.parse((await cli(['status', '--json'], { env })).out);
    expect((await nodes[leader - 1]?.stop('SIGKILL'))?.end).toBe('SIGKILL');
    expect(await cli(['set', 'k', 'w'], { env })).toMatchObject({ end: 0 });
    expect(await cli(['get', 'k'], { env })).toMatchObject({ end: 0, out: 'w' });
    const others = nodes.filter((_, i) => i !== leader - 1);
    const ends = await Promise.all(others.map((node) => node.stop('SIGTERM')));
    expect(ends.map(({ end }) => end)).toEqual([0, 0]);
  } finally {
    for (const node of nodes) node.child.kill('SIGKILL');
  }
});

test('node: a fourth process joins three by a name and one address, and takes the place of one of them', async () => {
  const base = await freePorts(8);
  const addressOf = (id: number): string => `127.0.0.1:${base + id - 1}`;
  const clientOf = (id: number): string => `127.0.0.1:${base + 3 + id}`;
  const env = { OXIDE_KV_ENDPOINT: [1, 2, 3, 4].map(clientOf).join(',') };
  const start = (id: number, ...more: readonly string[]): Cli =>
    new Cli(
      ['node', '--addr', addressOf(id), '--client-addr', clientOf(id), '--id', String(id)].concat(
        ['--cluster', 'green', '--data', join(directory, `green-${id}`)],
        more,
      ),
    );
  const founder = (id: number): Cli =>
    start(id, '--peers', ...[1, 2, 3].map((other) => `${other}=${addressOf(other)}`));
  const nodes = new Map([1, 2, 3].map((id) => [id, founder(id)]));
  try {
    await Promise.all([...nodes.values()].map((node) => node.printed(/for nodes/)));
    expect(await cli(['set', 'k', 'v', '--timeout', '20000'], { env })).toMatchObject({ end: 0 });
    const fourth = start(4, '--join', '--peers', `1=${addressOf(1)}`);
    nodes.set(4, fourth);
    await fourth.printed(/to let it in: oxide-kv member add 4/);
    expect(await cli(['member', 'add', '4', addressOf(4)], { env })).toMatchObject({ end: 0 });
    await fourth.printed(/the members are n1 n2 n3 n4\n/);
    // What it was told is one address; the others stand in the log.
    expect((await nodes.get(1)?.stop('SIGTERM'))?.end).toBe(0);
    expect(await cli(['member', 'remove', '1'], { env })).toMatchObject({ end: 0 });
    // Whoever leads by now says how it knows.
    await fourth.printed(/is committed: (?:the members are|a majority holds it:) n2 n3 n4\n/);
    expect(await cli(['get', 'k'], { env: { OXIDE_KV_ENDPOINT: clientOf(4) } })).toMatchObject({ out: 'v' });
    // It comes back, and hears why nobody listens.
    const first = founder(1);
    nodes.set(1, first);
    await first.printed(/is refused by n\d: n1 is no longer a member of this cluster/);
    // A founder that starts again, with the options that it always had, finds the newest member by its log.
    expect((await nodes.get(2)?.stop('SIGTERM'))?.end).toBe(0);
    const second = founder(2);
    nodes.set(2, second);
    expect((await nodes.get(3)?.stop('SIGKILL'))?.end).toBe('SIGKILL');
    expect(await cli(['set', 'k', 'w', '--timeout', '20000'], { env })).toMatchObject({ end: 0 });
  } finally {
    for (const node of nodes.values()) node.child.kill('SIGKILL');
  }
}, 60_000);

describe('demo without a terminal', () => {
  test('says why it prints lines, and stops cleanly', async () => {
    const demo = new Cli(['demo', '--nodes', '3', '--client-port', String(await freePorts(3))]);
    await demo.printed(/leader/);
    const { end, err } = await demo.stop('SIGINT');
    expect(end).toBe(0);
    expect(err).toBe('Standard output is not a terminal: printing plain lines instead of the terminal UI\n');
  });

  test('--json prints one object a line', async () => {
    const demo = new Cli(['demo', '--json', '--nodes', '3', '--client-port', String(await freePorts(3))]);
    await demo.printed(/leader.*\n/);
    for (const line of demo.out.trimEnd().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
    expect(await demo.stop('SIGTERM')).toMatchObject({ end: 0, err: '' });
  });
});

/** Looks again and again, for at most 20 s. */
async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`Not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('the temporary data of a demo', () => {
  test.each([
    ['a terminal that hangs up and its shell that says so too', ['SIGHUP', 'SIGHUP'], 0],
    ['somebody who presses Ctrl-C twice', ['SIGINT', 'SIGINT'], 130],
  ] as const)('go with %s', async (_who, signals, end) => {
    const TMPDIR = await mkdtemp(join(directory, 'demo-'));
    const port = String(await freePorts(3));
    const demo = new Cli(['demo', '--plain', '--nodes', '3', '--client-port', port], { env: { TMPDIR } });
    await demo.printed(/leader/);
    expect(readdirSync(TMPDIR)).toHaveLength(1);
    for (const signal of signals) demo.child.kill(signal);
    // The second may find a demo that has stopped already.
    expect([0, end]).toContain((await demo.finished).end);
    expect(readdirSync(TMPDIR)).toEqual([]);
  });

  test('go when the window with its screen is closed', async () => {
    const TMPDIR = await mkdtemp(join(directory, 'demo-'));
    const pty = openPty();
    const port = await freePorts(3);
    pty.keys(`TMPDIR=${TMPDIR} node ${BIN} demo --nodes 3 --client-port ${port}`, 'Enter');
    await until('the demo runs', () => pty.screen().includes('LIVE') && readdirSync(TMPDIR).length === 1);
    pty.close();
    await until('the data are gone', () => readdirSync(TMPDIR).length === 0);
  });
});
