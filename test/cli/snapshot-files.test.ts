/** `oxide-kv snapshot save` and `restore`: out of a running cluster, into a new one that has all of it. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { Cluster } from '../../src/index.ts';
import { fakeContext } from './fake-context.ts';

let folder = '';
let file = '';

async function cli(
  words: readonly string[],
  endpoint = '',
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const context = fakeContext({ env: { OXIDE_KV_ENDPOINT: endpoint } });
  const code = await run(words, context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'oxide-kv-snapshots-'));
  file = join(folder, 'backup.snapshot');
  const cluster = await Cluster.start({ nodes: 1, doors: true });
  const client = cluster.client();
  for (const [key, value] of [
    ['color', 'green'],
    ['color', 'blue'],
    ['size', '3'],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    await client.set(key, value);
  }
  await client.set(Uint8Array.of(0xff), Uint8Array.of(0, 0xff));
  const { code, out, err } = await cli(['snapshot', 'save', file], cluster.node(1).client);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toBe(`Saved 3 keys (17 B) as of revision 5 to ${file}\n`);
  await cluster.stop();
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('oxide-kv snapshot', () => {
  test('save writes readable lines under a checksum', () => {
    expect(readFileSync(file, 'utf8').split('\n').slice(0, 3)).toEqual([
      '{"oxideKvSnapshot":1,"revision":5}',
      '{"key":"color","value":"blue","revision":3,"sub":0,"created":2,"version":2}',
      '{"key":"size","value":"3","revision":4,"sub":0,"created":4,"version":1}',
    ]);
    expect(readdirSync(folder)).toContain('backup.snapshot');
    expect(existsSync(`${file}.part`)).toBe(false);
  });

  test.each(['memory', 'lsm'] as const)('restore makes a new cluster of engine %s', async (engine) => {
    const data = join(folder, `restored-${engine}`);
    const ended = await cli(['snapshot', 'restore', file, '--data', data, '--engine', engine, '--json']);
    expect(ended).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(ended.out)).toMatchObject({
      ok: true,
      data,
      nodes: 3,
      engine,
      keys: 3,
      leases: 0,
      revision: 5,
    });
    expect((await cli(['inspect', data, '--verify'])).code).toBe(0);
    const cluster = await Cluster.start({ dataDir: data });
    const client = cluster.client();
    expect(cluster.nodes).toHaveLength(3);
    expect(await client.getText('color')).toBe('blue');
    expect(await client.getText('size')).toBe('3');
    expect(await client.get(Uint8Array.of(0xff))).toEqual(Uint8Array.of(0, 0xff));
    expect(await client.scan('')).toHaveLength(3);
    const added = await cluster.addNode();
    await client.set('color', 'red');
    await cluster.transferLeader(added.id);
    expect(await client.getText('color')).toBe('red');
    await cluster.stop();
  });

  test('two restored clusters are strangers', async () => {
    const names: unknown[] = [];
    for (const name of ['one', 'two']) {
      const words = ['snapshot', 'restore', file, '--data', join(folder, name), '--nodes', '1', '--json'];
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { cluster }: { readonly cluster?: unknown } = JSON.parse((await cli(words)).out);
      names.push(cluster);
    }
    expect(typeof names[0]).toBe('string');
    expect(names[0]).not.toBe(names[1]);
  });

  test('restore refuses what is there, and a damaged file, and leaves nothing behind', async () => {
    const taken = join(folder, 'taken');
    mkdirSync(taken);
    writeFileSync(join(taken, 'mine'), '');
    expect(await cli(['snapshot', 'restore', file, '--data', taken])).toMatchObject({
      code: 1,
      err: `oxide-kv: Cannot restore to "${taken}": it is there and not empty\n`,
    });
    const bad = join(folder, 'bad.snapshot');
    writeFileSync(bad, readFileSync(file, 'utf8').replace('green', 'grown').replace('blue', 'blew'));
    const nowhere = join(folder, 'nowhere');
    const { code, err } = await cli(['snapshot', 'restore', bad, '--data', nowhere]);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^oxide-kv: Cannot restore ".*bad.snapshot": line 5: checksum is \w+, expected \w+\n$/,
    );
    expect(readdirSync(folder).filter((name) => name.startsWith('nowhere'))).toEqual([]);
    expect((await cli(['snapshot', 'restore', join(folder, 'no'), '--data', nowhere])).err).toMatch(/ENOENT/);
  });

  test.each([['snapshot keep'], ['snapshot save'], ['snapshot restore x'], ['snapshot restore x --nodes 0']])(
    '%s is wrong usage',
    async (line) => {
      expect((await cli(line.split(' '))).code).toBe(64);
    },
  );
});
