/** The transport between processes, where a peer comes back. */
import { expect, onTestFinished, test } from 'vitest';
import type { Envelope } from '../../src/net/protocol.ts';
import { SocketTransport } from '../../src/net/socket.ts';
import { freePorts } from '../live/child.ts';
import { sleep } from './support.ts';

const HOST = '127.0.0.1';
const HELLO: Envelope = {
  kind: 'hello',
  cluster: 'c',
  founders: [1, 2],
  incarnation: 'i',
  since: 0,
  client: '',
  greeted: false,
  settled: false,
};

test('SocketTransport dials a peer at once when the peer has dialled it', async () => {
  const basePort = await freePorts(2);
  const listen = async (
    self: number,
    hear: { readonly connected: (peer: number) => void; readonly receive: () => void },
  ): Promise<SocketTransport> => {
    const peers = [{ id: 3 - self, address: { host: HOST, port: basePort + 2 - self } }];
    const options = { self, host: HOST, port: basePort + self - 1, peers, ...hear };
    const transport = await SocketTransport.listen(options);
    onTestFinished(() => transport.close());
    return transport;
  };
  const first = await listen(1, {
    connected: () => first.send(2, [HELLO]),
    receive: () => undefined,
  });
  // By now it has been refused at 0, 50, 150, 350 and 750 ms, and would wait until 1550 ms.
  await sleep(900);
  const startedMs = performance.now();
  await new Promise<void>((heard) => {
    listen(2, { connected: () => undefined, receive: heard }).catch(() => undefined);
  });
  expect(performance.now() - startedMs).toBeLessThan(500);
});
