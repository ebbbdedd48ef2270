/** A link between two nodes fails in the ways that a network has. */
import { type Server, type Socket, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { defined } from '../../src/lib/assert.ts';
import { LinkProxy, OPEN } from './proxy.ts';

const HOST = '127.0.0.1';

/** A peer that keeps what it was sent, connection after connection. */
class Peer {
  readonly connections: { readonly socket: Socket; text: string; isEnded: boolean }[] = [];
  readonly #server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection = { socket, text: '', isEnded: false };
    this.connections.push(connection);
    socket.setEncoding('utf8').on('data', (text: string) => {
      connection.text += text;
    });
    socket.on('error', () => undefined);
    socket.on('end', () => {
      if (this.#answersEnd) socket.end();
    });
    socket.on('close', () => {
      connection.isEnded = true;
    });
  });
  readonly #answersEnd: boolean;

  constructor(answersEnd: boolean) {
    this.#answersEnd = answersEnd;
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => void this.#server.listen(0, HOST, resolve));
    onTestFinished(() => void this.#server.close());
    onTestFinished(() => this.connections.forEach(({ socket }) => socket.destroy()));
    const address = this.#server.address();
    return defined(typeof address === 'object' ? address?.port : undefined, 'a port');
  }

  get texts(): readonly string[] {
    return this.connections.map(({ text }) => text);
  }
}

/** A peer, a link to it, and a caller at its other end. */
async function linked(
  answersEnd = true,
): Promise<{ peer: Peer; link: LinkProxy; call: () => Promise<Socket> }> {
  const peer = new Peer(answersEnd);
  const link = await LinkProxy.listen(await peer.listen(), new Random('link'));
  onTestFinished(() => link.close());
  const call = async (): Promise<Socket> => {
    const socket = connect({ host: HOST, port: link.port, noDelay: true });
    socket.on('error', () => undefined);
    socket.resume();
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { peer, link, call };
}

async function until(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { interval: 5, timeout: 5000 }).toBe(true);
}

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

/** Long enough for what must not come to have come. */
function aWhile(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 60));
}

test('LinkProxy carries bytes in order, and the end behind them', async () => {
  const { peer, link, call } = await linked();
  const caller = await call();
  caller.write('one ');
  caller.end('two');
  await until(() => peer.connections[0]?.isEnded === true);
  expect(peer.texts).toEqual(['one two']);
  await until(() => link.connectionCount === 0);
});

test('LinkProxy leaves no socket behind, whenever a connection is ended and reset', async () => {
  const { peer, link, call } = await linked();
  const before = openSockets();
  for (let turns = 0; turns < 30; turns++) {
    const caller = await call();
    caller.end('all');
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    link.set({ kind: 'lost' });
    link.set(OPEN);
  }
  await until(() => link.connectionCount === 0 && peer.connections.every(({ isEnded }) => isEnded));
  // One of an earlier test may have gone meanwhile.
  await until(() => openSockets() <= before);
});

test('LinkProxy held: nothing comes, then all of it, late', async () => {
  const { peer, link, call } = await linked();
  const caller = await call();
  caller.write('before ');
  await until(() => peer.texts[0] === 'before ');
  link.set({ kind: 'held' });
  caller.write('during ');
  caller.end();
  await aWhile();
  expect(peer.texts).toEqual(['before ']);
  expect(peer.connections[0]?.isEnded).toBe(false);
  link.set(OPEN);
  await until(() => peer.connections[0]?.isEnded === true);
  expect(peer.texts).toEqual(['before during ']);
});

test('LinkProxy lost: accepts and says nothing; when it opens the connections of both times are reset', async () => {
  const { peer, link, call } = await linked();
  const old = await call();
  old.write('before');
  await until(() => peer.texts[0] === 'before');
  link.set({ kind: 'lost' });
  old.write('during');
  const other = await call();
  other.write('unheard');
  // The peer dies, and the caller is not told.
  peer.connections[0]?.socket.destroy();
  await aWhile();
  expect(old.destroyed).toBe(false);
  expect(other.destroyed).toBe(false);
  link.set(OPEN);
  await until(() => old.destroyed && other.destroyed);
  expect(peer.texts).toEqual(['before']);
  const next = await call();
  next.write('after');
  await until(() => peer.texts[1] === 'after');
});

test('LinkProxy with a delay: late, in pieces, in order', async () => {
  const { peer, link, call } = await linked();
  link.set({ kind: 'open', delayMs: 80 });
  const caller = await call();
  const startedMs = performance.now();
  for (let i = 0; i < 20; i++) caller.write(`message ${i};`);
  const all = Array.from({ length: 20 }, (_, i) => `message ${i};`).join('');
  await until(() => peer.texts[0] === all);
  expect(performance.now() - startedMs).toBeGreaterThan(35);
});

test('LinkProxy.tear() cuts the next chunk in two and resets both ends', async () => {
  const { peer, link, call } = await linked();
  const caller = await call();
  caller.write('whole.');
  await until(() => peer.texts[0] === 'whole.');
  link.tear();
  caller.write('12345678');
  await until(() => caller.destroyed && peer.connections[0]?.isEnded === true);
  expect('whole.1234'.startsWith(peer.texts[0] ?? 'nothing')).toBe(true);
});

test('LinkProxy: where nobody listens the caller is hung up on', async () => {
  const { link, call } = await linked();
  await link.close();
  const nowhere = await LinkProxy.listen(link.port, new Random('link'));
  onTestFinished(() => nowhere.close());
  const socket = connect({ host: HOST, port: nowhere.port });
  socket.on('error', () => undefined);
  socket.resume();
  await until(() => socket.destroyed);
  await until(() => nowhere.connectionCount === 0);
  await expect(call()).rejects.toThrow('ECONNREFUSED');
});
