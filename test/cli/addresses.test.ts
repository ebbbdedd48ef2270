/** Addresses, and the ids that every node of a cluster must give alike. */
import { describe, expect, test } from 'vitest';
import { assignIds, checkListen, formatAddress, isLoopback, parseAddress } from '../../src/cli/addresses.ts';
import { UsageError } from '../../src/cli/failure.ts';

describe('parseAddress()', () => {
  test.each(['127.0.0.1:9001', 'localhost:1', 'node-1.example:65535', '[::1]:9001'])(
    'reads %s and back',
    (text) => {
      expect(formatAddress(parseAddress(text, 'It'))).toBe(text);
    },
  );

  test.each([
    '',
    '9001',
    ':9001',
    'host:',
    'host:0',
    'host:65536',
    'host:9001x',
    '::1:9001',
    'a b:1',
    'http://a:1',
  ])('refuses "%s"', (text) => {
    expect(() => parseAddress(text, 'It')).toThrow(`It is "${text}", expected HOST:PORT`);
  });
});

test('isLoopback() knows the hosts that stay on this machine', () => {
  expect(['127.0.0.1', '127.9.9.9', 'localhost', '::1'].map(isLoopback)).toEqual([true, true, true, true]);
  expect(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example', 'example'].map(isLoopback)).not.toContain(true);
});

test('checkListen() refuses the world unless it is allowed', () => {
  expect(() => checkListen(['127.0.0.1', '0.0.0.0'], false)).toThrow(/Refused to listen on 0.0.0.0/);
  expect(() => checkListen(['127.0.0.1', '0.0.0.0'], true)).not.toThrow();
  expect(() => checkListen(['127.0.0.1', '::1'], false)).not.toThrow();
});

/** Every node's picture of who has which id, from the same list of addresses. */
function pictures(addresses: readonly string[]): Map<string, number>[] {
  return addresses.map((own) => {
    const { self, peers } = assignIds(
      own,
      addresses.filter((other) => other !== own).toReversed(),
      undefined,
    );
    return new Map([self, ...peers].toSorted((a, b) => a.id - b.id).map(({ id, addr }) => [addr, id]));
  });
}

describe('assignIds()', () => {
  test('gives the same ids on every node, by host and numeric port', () => {
    const addresses = ['127.0.0.1:10000', '127.0.0.1:8001', '127.0.0.1:9', '10.0.0.1:8001', '127.0.0.1:8010'];
    const expected = new Map([
      ['10.0.0.1:8001', 1],
      ['127.0.0.1:9', 2],
      ['127.0.0.1:8001', 3],
      ['127.0.0.1:8010', 4],
      ['127.0.0.1:10000', 5],
    ]);
    for (const picture of pictures(addresses)) expect(picture).toEqual(expected);
  });

  test('takes a list that holds the node itself', () => {
    const list = ['a:1', 'b:1', 'c:1'];
    expect(assignIds('b:1', list, undefined)).toEqual(assignIds('b:1', ['a:1', 'c:1'], undefined));
  });

  test('a node without peers is 1', () => {
    expect(assignIds('a:1', [], undefined)).toEqual({ self: { id: 1, addr: 'a:1' }, peers: [] });
  });

  test('an own id leaves the others to the peers in order', () => {
    const { self, peers } = assignIds('z:1', ['c:1', 'a:1'], 2);
    expect(self).toEqual({ id: 2, addr: 'z:1' });
    expect(peers).toEqual([
      { id: 1, addr: 'a:1' },
      { id: 3, addr: 'c:1' },
    ]);
  });

  test('takes ids as written, also the own one from the list', () => {
    const list = ['7=a:1', '3=b:1', '5=c:1'];
    const expected = {
      self: { id: 3, addr: 'b:1' },
      peers: [
        { id: 5, addr: 'c:1' },
        { id: 7, addr: 'a:1' },
      ],
    };
    expect(assignIds('b:1', list, undefined)).toEqual(expected);
    expect(assignIds('b:1', ['7=a:1', '5=c:1'], 3)).toEqual(expected);
  });

  test.each([
    {
      why: 'a peer twice',
      own: 'a:1',
      peers: ['b:1', 'b:1'],
      id: undefined,
      message: 'Peer b:1 is given twice',
    },
    {
      why: 'a wildcard with peers',
      own: '0.0.0.0:1',
      peers: ['b:1'],
      id: undefined,
      message: /does not tell this node/,
    },
    { why: 'an id beyond the count', own: 'a:1', peers: ['b:1'], id: 3, message: /there are 2 nodes/ },
    { why: 'an id twice', own: 'a:1', peers: ['1=b:1'], id: 1, message: 'Id 1 is given twice' },
    {
      why: 'another own id than the list says',
      own: 'a:1',
      peers: ['1=a:1', '2=b:1'],
      id: 3,
      message: /--id is 3, but the peers give a:1 id 1/,
    },
    { why: 'id 0', own: 'a:1', peers: ['0=b:1'], id: 1, message: /expected 1 or more/ },
    { why: 'ids for some only', own: 'a:1', peers: ['2=b:1', 'c:1'], id: 1, message: /has no id/ },
    { why: 'ids without an own one', own: 'a:1', peers: ['2=b:1'], id: undefined, message: /need --id/ },
    { why: 'nonsense', own: 'a:1', peers: ['b'], id: undefined, message: /A peer is "b"/ },
  ])('refuses $why', ({ own, peers, id, message }) => {
    expect(() => assignIds(own, peers, id)).toThrow(message);
    expect(() => assignIds(own, peers, id)).toThrow(UsageError);
  });
});
