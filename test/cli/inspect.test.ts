/** `oxide-kv inspect`: what it prints for directories whole, in use and damaged, and how it ends. */
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { processStartedAt } from '../../src/cluster/process.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import { fillDirectory } from '../offline/support.ts';
import { fakeContext } from './fake-context.ts';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'oxide-kv-inspect-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function directory(name: string, kind: 'memory' | 'lsm' = 'memory'): string {
  const path = join(folder, name);
  fillDirectory(new NodeFileSystem(), path, kind);
  return path;
}

async function inspect(
  words: readonly string[],
  isTty = false,
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const context = fakeContext({ isTty });
  const code = await run(['inspect', ...words], context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

describe('oxide-kv inspect', () => {
  test('tells what is in a directory', async () => {
    const path = directory('memory');
    expect(await inspect([path, '--verify'])).toEqual({
      code: 0,
      out: [
        `Data directory ${path}`,
        '  owner       node 1 of cluster "test", incarnation first-life',
        '  format      2, engine memory',
        '  founders    n1 n2 n3',
        '  members     n1 n2 n3 (as of index 4)',
        '  hard state  term 2, vote n3, commit 6',
        '  log         entries 1 to 10, terms 1 to 2, 2 segments, 657 B',
        '    wal/000001.wal  408 B, 2 records',
        '      shard 0: 7 entries, 1 to 6, terms 1 to 2',
        '    wal/000002.wal  249 B, 2 records',
        '      shard 0: 4 entries, 7 to 10, term 2',
        '  snapshot    snapshots/snapshot-00000000000000000004.jsonl: index 4, term 1, 3 rows, 461 B, format 2',
        '  Sound: 5 files, 1.3 KiB, every byte read',
        '',
      ].join('\n'),
      err: '',
    });
  });

  test('tells of a tree, and as JSON', async () => {
    const path = directory('lsm', 'lsm');
    const { code, out } = await inspect([path]);
    expect(code).toBe(0);
    expect(out).toContain(
      '  tree        lsm/MANIFEST-000001\n    checkpoint: index 4, term 1, lsm/000002.state',
    );
    expect(out).toMatch(/ {4}L0: 1 table, \d+ B, 3 versions, keys "apple" to "\ufffd", revisions 1 to 3\n/);
    expect(out).toMatch(/ {2}No damage seen in 8 files, [\d.]+ KiB; --verify reads every byte\n$/);
    const json = await inspect([path, '--verify', '--json']);
    expect(json.err).toBe('');
    expect(JSON.parse(json.out)).toMatchObject({
      sound: true,
      nodes: [
        {
          path,
          engine: 'lsm',
          usedBy: null,
          verified: true,
          tree: { levels: [{ level: 0, firstKey: 'apple', lastKey: { base64: '/w==' } }] },
          log: { lastIndex: 10 },
          findings: [],
        },
      ],
    });
  });

  test('tells each damage with file and offset, and ends with 1', async () => {
    const path = directory('damaged');
    const file = join(path, 'wal', '000001.wal');
    const bytes = readFileSync(file);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const { code, out } = await inspect([path]);
    expect(code).toBe(1);
    expect(out).toMatch(/ {2}DAMAGE {6}wal\/000001\.wal: offset 24: checksum is \w{8}, expected \w{8}; more/);
    expect(out).toMatch(/ {2}Not sound: 1 problem in 5 files, [\d.]+ KiB\n$/);
    const json = await inspect([path, '--json']);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.out)).toMatchObject({
      sound: false,
      nodes: [{ findings: [{ file: 'wal/000001.wal', kind: 'damaged' }] }],
    });
  });

  test('says when a process uses the directory, and that its last bytes may be on their way', async () => {
    const path = directory('used');
    writeFileSync(join(path, `LOCK.${process.pid}.${processStartedAt()}.x`), '');
    writeFileSync(join(path, `LOCK.1.999999999999.y`), '');
    appendFileSync(join(path, 'wal', '000002.wal'), 'half');
    const { code, out } = await inspect([path]);
    expect(code).toBe(0);
    expect(out).toContain(`in use      by process ${process.pid}; this is what was durable a moment ago`);
    expect(out).toContain('4 bytes at the end: still being written');
  });

  test('shows all nodes of a cluster', async () => {
    const cluster = join(folder, 'cluster');
    mkdirSync(cluster);
    writeFileSync(join(cluster, 'cluster.json'), '{}');
    directory('cluster/node-2');
    directory('cluster/node-10');
    const { code, out } = await inspect([`${cluster}/`]);
    expect(code).toBe(0);
    expect(out.match(/^Data directory .*$/gm)).toEqual(
      ['node-2', 'node-10'].map((name) => `Data directory ${cluster}/${name}`),
    );
  });

  test('ends with 2 where there is no data directory', async () => {
    const message = `Cannot inspect "${folder}": it holds neither a node.json nor a cluster.json, so it is not a data directory`;
    expect(await inspect([folder])).toEqual({ code: 2, out: '', err: `oxide-kv: ${message}\n` });
    const { code, out } = await inspect([folder, '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toEqual({ ok: false, code: 'bad_request', message });
    expect((await inspect([join(folder, 'nothing')])).code).toBe(2);
  });

  test.each([['inspect'], ['inspect a b'], ['inspect a --verfy']])('%s is wrong usage', async (line) => {
    expect(await run(line.split(' '), fakeContext({}))).toBe(64);
  });

  test('shows a bar on a terminal, and takes it off again', async () => {
    let nowMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 250));
    try {
      const { err } = await inspect([directory('bar'), '--verify'], true);
      expect(err).toMatch(/\r▓+░+ +\d+% {2}408 B of 1\.1 KiB {2}wal\/000001\.wal/);
      expect(err.endsWith('\r\u001b[K')).toBe(true);
    } finally {
      clock.mockRestore();
    }
  });
});

test('inspect --keys prints the rows of one node as JSON lines', async () => {
  // The log of the other tests holds commands that no state machine knows.
  const path = join(folder, 'keys');
  const frozen: unknown = JSON.parse(
    readFileSync(new URL('../fixtures/data/versions-lsm.json', import.meta.url), 'utf8'),
  );
  const files =
    typeof frozen === 'object' && frozen !== null && 'files' in frozen ? { ...Object(frozen.files) } : {};
  for (const [name, content] of Object.entries<{ text?: string; base64?: string }>(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(
      join(path, name),
      Buffer.from(content.text ?? content.base64 ?? '', content.base64 === undefined ? 'utf8' : 'base64'),
    );
  }
  expect(await inspect([path, '--keys', 'c'])).toEqual({
    code: 0,
    out: '{"key":"color","value":"red"}\n',
    err: 'As of index 18, revision 9; what came later is not known to be committed\n',
  });
  expect((await inspect([path, '--keys', 'bl', '--json'])).out).toBe('{"key":"blob","valueBase64":"AP+A"}\n');
  expect((await inspect([join(folder, 'cluster'), '--keys', ''])).code).toBe(64);
});
