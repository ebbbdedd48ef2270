/** The client of a cluster in this process: its five operations, hostile keys, and linearizable reads on every node. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { LIMITS } from '../../src/net/protocol.ts';
import { codeOf, started } from './support.ts';

describe('Cluster.client()', () => {
  test('sets, gets, deletes, scans and compares text and bytes', async () => {
    const cluster = await started();
    const client = cluster.client();
    const first = await client.set('a', '1');
    expect(await client.set('a', '2')).toBeGreaterThan(first);
    expect(await client.getText('a')).toBe('2');
    expect(await client.get('a')).toEqual(utf8('2'));
    expect(await client.get('b')).toBeUndefined();
    expect(await client.getText('b')).toBeUndefined();

    expect(await client.delete('a')).toBe(true);
    expect(await client.delete('a')).toBe(false);
    expect(await client.get('a')).toBeUndefined();

    expect(await client.cas('c', undefined, 'first')).toBe(true);
    expect(await client.cas('c', undefined, 'again')).toBe(false);
    expect(await client.cas('c', 'other', 'second')).toBe(false);
    expect(await client.cas('c', 'first', 'second')).toBe(true);
    expect(await client.getText('c')).toBe('second');

    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    await client.set(bytes, bytes);
    expect(await client.get(bytes)).toEqual(bytes);
    expect(await codeOf(client.getText(bytes))).toBe('bad_request');
    await client.set('', 'the empty key');
    await client.set('empty', '');
    expect(await client.getText('')).toBe('the empty key');
    expect(await client.get('empty')).toEqual(new Uint8Array(0));
  });

  test('scans a prefix in the order of bytes, up to the limit', async () => {
    const cluster = await started();
    const client = cluster.client();
    const names = ['p/ä', 'p/a', 'p/b', 'p/é', 'p/\u{1f600}', 'p/\uffff', 'p', 'q'];
    await Promise.all(names.map((name) => client.set(name, name)));
    const inOrder = names
      .filter((name) => name.startsWith('p/'))
      .toSorted((a, b) => Buffer.compare(utf8(a), utf8(b)));
    const rows = await client.scan('p/');
    expect(rows.map((row) => Buffer.from(row.key).toString())).toEqual(inOrder);
    expect(rows.map((row) => Buffer.from(row.value).toString())).toEqual(inOrder);
    expect(await client.scan('p/', { limit: 2 })).toHaveLength(2);
    expect(await client.scan('none')).toEqual([]);
  });

  test('keeps keys that are names of JavaScript itself apart', async () => {
    const cluster = await started();
    const client = cluster.client();
    const hostile = [
      '__proto__',
      'constructor',
      'hasOwnProperty',
      'toString',
      'then',
      '\0',
      '\u202e',
      "'; --",
    ];
    for (const key of hostile) expect(await client.get(key)).toBeUndefined();
    for (const key of hostile) await client.set(key, `value of ${key}`);
    for (const key of hostile) expect(await client.getText(key)).toBe(`value of ${key}`);
    expect(await client.scan('')).toHaveLength(hostile.length);
    for (const key of hostile) expect(await client.delete(key)).toBe(true);
    expect(await client.scan('')).toEqual([]);
  });

  test('sees every write at once from every node', async () => {
    const cluster = await started();
    const clients = cluster.nodes.map(({ id }) => cluster.client({ node: id }));
    for (let i = 0; i < 30; i++) {
      const writer = clients[i % clients.length];
      const value = `write ${i}`;
      await writer?.set('shared', value);
      const seen = await Promise.all(clients.map((client) => client.getText('shared')));
      expect(seen).toEqual(clients.map(() => value));
    }
  });

  test('answers many requests that were asked at once, each its own', async () => {
    const cluster = await started();
    const client = cluster.client();
    const keys = Array.from({ length: 3000 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key) => client.set(key, `v-${key}`)));
    const values = await Promise.all(keys.map((key) => client.getText(key)));
    expect(values).toEqual(keys.map((key) => `v-${key}`));
  });

  test('refuses what is over a limit, ill-formed, or asked after the end', async () => {
    const cluster = await started({ nodes: 1 });
    const client = cluster.client();
    expect(await codeOf(client.set('k'.repeat(LIMITS.keyBytesMax + 1), ''))).toBe('too_large');
    expect(await codeOf(client.set('k', 'v'.repeat(LIMITS.valueBytesMax + 1)))).toBe('too_large');
    expect(await codeOf(client.scan('', { limit: LIMITS.scanRowsMax + 1 }))).toBe('too_large');
    expect(await codeOf(client.set('\ud800', ''))).toBe('bad_request');
    await client.set('k', 'v'.repeat(LIMITS.valueBytesMax));
    expect((await client.get('k'))?.length).toBe(LIMITS.valueBytesMax);
    await client.close();
    await client.close();
    expect(await codeOf(client.get('k'))).toBe('closed');
    expect(await codeOf(client.set('k', 'v'))).toBe('closed');
  });
});
