/** Nobody elsewhere has more connections than his share, and this machine may have them all. */
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { NodeService } from '../../src/net/protocol.ts';
import { Guests } from '../../src/server/guests.ts';
import { JsonLinesDoor } from '../../src/server/json-lines.ts';

const here = '10.0.0.1';

describe('Guests', () => {
  test('has room for so many of each address, and again when one leaves', () => {
    const guests = new Guests(2);
    const enter = (remoteAddress: string): string | undefined =>
      guests.enter({ remoteAddress, localAddress: here });
    expect([enter('10.0.0.2'), enter('10.0.0.2'), enter('10.0.0.2')]).toEqual([
      '10.0.0.2',
      '10.0.0.2',
      undefined,
    ]);
    expect(enter('10.0.0.3')).toBe('10.0.0.3');
    guests.leave('10.0.0.2');
    expect([enter('10.0.0.2'), enter('10.0.0.2')]).toEqual(['10.0.0.2', undefined]);
  });

  test('does not count those that come from this machine', () => {
    const guests = new Guests(1);
    for (let i = 0; i < 100; i++) expect(guests.enter({ remoteAddress: here, localAddress: here })).toBe('');
    guests.leave('');
    expect(guests.enter({ remoteAddress: '10.0.0.2', localAddress: here })).toBe('10.0.0.2');
  });
});

/** What it is told, until the door closes it or for 100 ms. */
function visit(
  port: number,
  localAddress: string,
): Promise<{ readonly text: string; readonly leave: () => void }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    let text = '';
    const end = (): void => resolve({ text, leave: () => void socket.destroy() });
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', end);
    setTimeout(end, 100);
  });
}

/* The neighbours are other addresses of 127.0.0.0/8. Linux has all of them; elsewhere `ifconfig lo0 alias 127.0.0.2` adds one. */
describe('a door with a neighbour', () => {
  const service: NodeService = { submit: (_request, _options, done) => done({ kind: 'ok', index: 1 }) };

  test('tells one that has its share, and serves others', async () => {
    const limits = { connectionsPerAddressMax: 2 };
    const door = await JsonLinesDoor.listen({ host: '127.0.0.1', port: 0, service, forward: true, limits });
    const visits = [];
    // oxlint-disable-next-line no-await-in-loop -- one after the other, so that it is known who comes third
    for (let i = 0; i < 3; i++) visits.push(await visit(door.port, '127.0.0.2'));
    expect(visits.map(({ text }) => text)).toEqual([
      '',
      '',
      '{"status":"error","code":"overloaded","message":"Cannot accept connection: connectionsPerAddressMax is 2"}\n',
    ]);
    visits.push(await visit(door.port, '127.0.0.1'), await visit(door.port, '127.0.0.3'));
    expect(door.connections).toBe(4);
    visits[0]?.leave();
    while (door.connections === 4) await new Promise((resolve) => setImmediate(resolve)); // oxlint-disable-line no-await-in-loop
    visits.push(await visit(door.port, '127.0.0.2'));
    expect(visits.at(-1)?.text).toBe('');
    for (const { leave } of visits) leave();
    await door.close();
  });
});
