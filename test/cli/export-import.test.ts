/** `oxide-kv export` and `import`: everything goes out and comes in again, as it was at one moment, and bad lines are named. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { readPages } from '../../src/cli/pages.ts';
import { connect } from '../../src/client/json-lines-client.ts';
import type { ClusterClient } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/index.ts';
import { latin1 } from '../../src/lib/bytes.ts';
import { fakeContext } from './fake-context.ts';

let folder = '';
let cluster: Cluster;
let client: ClusterClient;
let endpoint = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'oxide-kv-export-'));
  cluster = await Cluster.start({ nodes: 1, doors: true });
  await cluster.leader();
  client = cluster.client();
  endpoint = cluster.node(1).client;
});

afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function cli(words: readonly string[], stdin = ''): Promise<Ended> {
  const context = fakeContext({ env: { OXIDE_KV_ENDPOINT: endpoint }, stdin: Buffer.from(stdin) });
  const code = await run(words, context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

async function rows(prefix: string): Promise<readonly (readonly [string, string])[]> {
  const list = await client.scan(prefix, { limit: 10_000 });
  return list.map(({ key, value }) => [latin1(key), latin1(value)] as const);
}

describe('oxide-kv export and import', () => {
  test('what was exported comes in again, bytes included', async () => {
    const text = join(folder, 'in.jsonl');
    const lines = [
      '{"key":"trip/a","value":"1"}',
      '{"key":"trip/ä","value":""}',
      '',
      '{"keyBase64":"dHJpcC//","valueBase64":"AP+A"}',
      '{"key":"trip/a","value":"twice"}',
    ];
    writeFileSync(text, lines.join('\n'));
    expect(await cli(['import', text])).toEqual({ code: 0, out: 'Imported 4 keys\n', err: '' });
    const stored = await rows('trip/');
    expect(stored).toEqual([
      ['trip/a', 'twice'],
      ['trip/Ã¤', ''],
      ['trip/ÿ', '\0ÿ\x80'],
    ]);
    const file = join(folder, 'out.jsonl');
    const { code, out, err } = await cli(['export', file, '--prefix', 'trip/']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^Exported 3 keys \(\d+ B\) as of revision \d+ to .*out\.jsonl\n$/);
    expect(readFileSync(file, 'utf8')).toBe(
      '{"key":"trip/a","value":"twice"}\n{"key":"trip/ä","value":""}\n{"keyBase64":"dHJpcC//","valueBase64":"AP+A"}\n',
    );
    expect(existsSync(`${file}.part`)).toBe(false);
    for (const [key] of stored) {
      // oxlint-disable-next-line no-await-in-loop -- three
      await client.delete(Buffer.from(key, 'latin1'));
    }
    expect((await cli(['import', '-'], readFileSync(file, 'utf8'))).code).toBe(0);
    expect((await cli(['import', file])).code).toBe(0);
    expect(await rows('trip/')).toEqual(stored);
  });

  test('many keys and large values go in batches and pages', async () => {
    const large = 'x'.repeat(700_000);
    const lines = Array.from({ length: 1000 }, (_, i) =>
      JSON.stringify({ key: `many/${i}`, value: `v${i}` }),
    );
    for (const name of ['a', 'b', 'c']) lines.push(JSON.stringify({ key: `many/${name}`, value: large }));
    const imported = await cli(['import', '-', '--json'], lines.join('\n'));
    expect(JSON.parse(imported.out)).toEqual({ ok: true, lines: 1003, keys: 1003, set: 1003 });
    const { code, out, err } = await cli(['export', '-', '--prefix', 'many/']);
    expect(code).toBe(0);
    expect(err).toMatch(/^Exported 1,003 keys \(2\.0 MiB\) as of revision \d+\n$/);
    expect(out.trimEnd().split('\n')).toEqual(lines.toSorted());
  });

  test('an export is of one moment, whatever is written meanwhile', async () => {
    const value = 'y'.repeat(600_000);
    for (let i = 0; i < 4; i++) {
      // oxlint-disable-next-line no-await-in-loop -- in order
      await client.set(`moment/${i}`, value);
    }
    const own = await connect([endpoint]);
    const seen: string[] = [];
    for await (const page of readPages(own, Buffer.from('moment/'))) {
      for (const row of page.rows) seen.push(`${row.key} ${row.value.length}`);
      await client.set('moment/3', 'changed');
      await client.set('moment/2x', 'new');
      await client.delete('moment/2');
    }
    await own.close();
    expect(seen).toEqual([0, 1, 2, 3].map((i) => `moment/${i} ${value.length}`));
  });

  test('bad lines are named, and nothing is set', async () => {
    const bad = [
      '{"key":"bad/1","value":"1"}',
      '{"key":"bad/2"}',
      'not json',
      '{"key":"bad/3","value":"1","valueBase64":"AA=="}',
      '{"keyBase64":"?","value":"1"}',
      '{"key":"bad/4","value":"1","extra":1}',
      '[]',
      '{"key":"\\ud800","value":"1"}',
      `{"key":"${'k'.repeat(65_537)}","value":"1"}`,
    ];
    const { code, err } = await cli(['import', '-'], bad.join('\n'));
    expect(code).toBe(1);
    expect(err).toBe(
      'oxide-kv: Cannot import, nothing was set: line 2: "value" is missing; line 3: it is not JSON; ' +
        'line 4: "value" and "valueBase64" are both there; line 5: "keyBase64" is not base64; ' +
        'line 6: field "extra" is unknown; line 7: it is not a JSON object; ' +
        'line 8: "key" is not well-formed text; line 9: "key" has 65537 bytes, at most 65536\n',
    );
    expect(await rows('bad/')).toEqual([]);
    const long = await cli(['import', '-'], `{"key":"bad/5","value":"1"}\n${'z'.repeat(17_000_000)}\n`);
    expect(long.err).toContain('line 2: it is longer than 16777216 bytes');
  });

  test('checks without writing, and takes a part', async () => {
    const lines = '{"key":"part/a","value":"1"}\n{"key":"other/b","value":"2"}\n';
    expect((await cli(['import', '-', '--dry-run', '--prefix', 'part/'], lines)).out).toBe(
      'All 2 lines are right; 1 key would be set\n',
    );
    expect(await rows('part/')).toEqual([]);
    expect((await cli(['import', '-', '--prefix', 'part/'], lines)).out).toBe('Imported 1 key\n');
    expect(await rows('other/')).toEqual([]);
  });

  test('says what the system refuses', async () => {
    expect((await cli(['import', join(folder, 'nothing')])).err).toMatch(
      /^oxide-kv: Cannot import: ENOENT: no such file/,
    );
    expect((await cli(['export', join(folder, 'no', 'where')])).err).toMatch(
      /^oxide-kv: Cannot create ".*where\.part": ENOENT/,
    );
  });

  test.each([['export'], ['import'], ['export a b'], ['import a --prefx x']])(
    '%s is wrong usage',
    async (line) => {
      expect((await cli(line.split(' '))).code).toBe(64);
    },
  );
});
