/** Clusters from start to stop: nothing is left behind, everything pending ends, and a start that cannot be says why. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Cluster } from '../../src/cluster/cluster.ts';
import { at } from '../../src/lib/assert.ts';
import { Child, freePorts } from '../live/child.ts';
import { codeOf, converged, eventsOf, sleep, started, temporaryDirectory, until } from './support.ts';

const PACKAGE = fileURLToPath(new URL('../../dist/src/index.js', import.meta.url));

/** Runs a program that uses the built package. @returns what it printed, once it has ended by itself */
function run(program: string): Promise<{ readonly code: number; readonly out: string }> {
  const text = `import { Cluster } from ${JSON.stringify(PACKAGE)};\n${program}`;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--input-type=module', '--eval', text],
      { timeout: 25_000 },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : 1, out: `${out}${err}` });
      },
    );
  });
}

/** Flips one bit of a file. */
function damage(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset] = at(bytes, offset) ^ 1;
  writeFileSync(path, bytes);
}

describe('Cluster.start() and stop()', () => {
  test('leave no thread, timer, port or file: a program that used them ends by itself', async () => {
    const { code, out } = await run(`
      const cluster = await Cluster.start({ nodes: 3, doors: true });
      const client = cluster.client();
      await client.set('a', 'b');
      await cluster.nodes[0].crash();
      await client.get('a');
      await cluster.stop();
      console.log([cluster.dataDir, ...cluster.nodes.map((node) => node.client)].join(' '));
    `);
    expect(code, out).toBe(0);
    const [dataDir, ...doors] = out.trim().split(' ');
    expect(dataDir).toContain('oxide-kv-');
    expect(existsSync(dataDir ?? '')).toBe(false);
    expect(doors).toHaveLength(3);
    for (const door of doors) {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(Number(door.split(':')[1]), '127.0.0.1', resolve);
      });
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test('that fails leaves nothing either', async () => {
    const directory = temporaryDirectory();
    const { code, out } = await run(`
      await (await Cluster.start({ nodes: 1, dataDir: ${JSON.stringify(directory)} })).stop();
      const message = await Cluster.start({ nodes: 3, dataDir: ${JSON.stringify(directory)} }).catch((error) => error.message);
      console.log(message);
    `);
    expect(code, out).toBe(0);
    expect(out.trim()).toBe(`Cannot open "${directory}": it holds a cluster of 1 nodes, not 3`);
    expect(readdirSync(`${directory}/node-1`).filter((name) => name.startsWith('LOCK'))).toEqual([]);
  });

  test('keep the data of a directory that was given, and stop() may be called twice', async () => {
    const dataDir = temporaryDirectory();
    const first = await started({ dataDir });
    await first.client().set('a', 'kept');
    await Promise.all([first.stop(), first.stop()]);
    expect(first.view().nodes.map((node) => node.state)).toEqual(['stopped', 'stopped', 'stopped']);
    const second = await started({ dataDir });
    expect(await second.client().getText('a')).toBe('kept');
  });

  test('give the directories of crashed nodes back', async () => {
    const dataDir = temporaryDirectory();
    const first = await started({ dataDir });
    await first.client().set('a', 'kept');
    await Promise.all(first.nodes.map((node) => node.crash()));
    await first.stop();
    const second = await started({ dataDir });
    expect(await second.client().getText('a')).toBe('kept');
  });

  test('work with one node, and with five', async () => {
    for (const nodes of [1, 5]) {
      const cluster = await started({ nodes });
      const client = cluster.client();
      await client.set('a', 'b');
      expect(await client.getText('a')).toBe('b');
      expect(cluster.view().quorum).toBe(nodes === 1 ? 1 : 3);
      await cluster.stop();
    }
  });

  test('refuse a number of nodes that no cluster has', async () => {
    for (const nodes of [0, 10, 2.5]) expect(await codeOf(Cluster.start({ nodes }))).toBe('bad_request');
  });
});

describe('Cluster.start() refuses', () => {
  test('a directory that another process uses', async () => {
    const directory = temporaryDirectory();
    const port = await freePorts(3);
    const other = new Child(['serve', '--json', '--data', directory, '--client-port', String(port)]);
    onTestFinished(() => other.end('SIGKILL'));
    await other.ready;
    await expect(Cluster.start({ dataDir: directory })).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringMatching(/^Cannot open data directory ".*": it is in use by process \d+/),
    });
  });

  test('a directory that this process uses', async () => {
    const dataDir = temporaryDirectory();
    const first = await started({ dataDir });
    await expect(Cluster.start({ dataDir })).rejects.toThrow(`in use by process ${process.pid}`);
    await first.client().set('a', 'undisturbed');
    expect(await first.client().getText('a')).toBe('undisturbed');
  });

  test('a log damaged in the middle, and names file and offset', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ nodes: 1, dataDir });
    const client = cluster.client();
    const value = 'x'.repeat(1_000_000);
    for (let i = 0; i < 18; i++) await client.set(`k${i}`, value);
    await cluster.stop();
    const wal = `${dataDir}/node-1/wal`;
    expect(readdirSync(wal)).toContain('000002.wal');
    const segment = `${wal}/000001.wal`;
    damage(segment, Math.floor(statSync(segment).size / 2));
    const error: unknown = await Cluster.start({ nodes: 1, dataDir }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'StartError', code: 'CorruptionError' });
    expect(String(error)).toMatch(
      /Cannot open segment ".*\/000001\.wal": damaged at offset \d+: checksum is/,
    );
    damage(segment, Math.floor(statSync(segment).size / 2));
    const again = await started({ nodes: 1, dataDir });
    expect(await again.client().scan('k', { limit: 1 })).toHaveLength(1);
  });

  test('a start that fails, always with its reason, however soon the thread ends', async () => {
    const dataDir = temporaryDirectory();
    writeFileSync(`${dataDir}/node-1`, 'not a directory');
    for (let i = 0; i < 8; i++) {
      // Many at once, so that the message and the end of the thread overtake each other.
      const starts = Array.from({ length: 4 }, () => Cluster.start({ nodes: 1, dataDir }));
      for (const result of await Promise.allSettled(starts)) {
        expect(result).toMatchObject({
          status: 'rejected',
          reason: { name: 'StartError', code: 'StorageError', message: expect.stringContaining('node-1') },
        });
      }
    }
  });

  test('a port that is taken, when ports are strict; otherwise it takes the next block and says so', async () => {
    const basePort = await freePorts(8);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(basePort + 1, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const strict = Cluster.start({ doors: { basePort, strict: true } });
    await expect(strict).rejects.toThrow(`Cannot listen on 127.0.0.1:${basePort + 1}: the port is taken`);
    const cluster = await started({ doors: { basePort } });
    expect(cluster.nodes.map((node) => node.client)).toEqual(
      [3, 4, 5].map((offset) => `127.0.0.1:${basePort + offset}`),
    );
    expect(eventsOf(cluster).find(({ kind }) => kind === 'ports')?.text).toContain(
      `using ${basePort + 3}–${basePort + 5}`,
    );
  });
});

describe('a torn tail of a log', () => {
  test('is cut and told, and everything acknowledged before is there', async () => {
    const dataDir = temporaryDirectory();
    const cluster = await started({ dataDir });
    for (let i = 0; i < 20; i++) await cluster.client().set(`k${i}`, String(i));
    await cluster.stop();
    const segment = `${dataDir}/node-2/wal/000001.wal`;
    // What a crash in the middle of a write leaves: the beginning of a record.
    writeFileSync(segment, Buffer.concat([readFileSync(segment), Buffer.from('40000000deadbeef01', 'hex')]));
    const again = await started({ dataDir });
    const events = eventsOf(again);
    await until('the cut is told', () =>
      events.some(({ node, kind, text }) => {
        return node === 2 && kind === 'recover' && text.endsWith('an unfinished write of 9 bytes was cut');
      }),
    );
    expect(await again.client({ node: 2 }).scan('k')).toHaveLength(20);
    await converged(again);
  });
});

describe('everything that is pending settles', () => {
  test('calls to a thread that dies', async () => {
    const cluster = await started();
    const node = cluster.node(2);
    const restarts = [node.restart(), node.restart()];
    const crash = node.crash();
    const results = await Promise.allSettled([...restarts, crash]);
    expect(results.at(-1)?.status).toBe('fulfilled');
    await node.crash();
    await until('it is down', () => node.state === 'crashed');
    await node.restart();
    node.freeze();
    // Neither call reaches the thread; both must end.
    await node.crash();
    expect(node.state).toBe('crashed');
    expect(() => node.thaw()).toThrow('Node 2 is crashed, not frozen');
    expect(() => node.freeze()).toThrow('Node 2 is crashed, not running');
    await node.restart();
    await cluster.client().set('a', 'b');
    await converged(cluster);
  });

  test('a restart of a frozen node', async () => {
    const cluster = await started();
    cluster.node(3).freeze();
    await cluster.node(3).restart();
    expect(cluster.node(3).state).toBe('running');
    await converged(cluster);
  });

  test('requests of clients, when the cluster stops', async () => {
    const cluster = await started();
    const client = cluster.client();
    await client.set('a', '1');
    for (const node of cluster.nodes) node.freeze();
    const writes = [client.set('a', '2'), client.delete('a'), client.cas('a', '1', '3')];
    const others = [client.get('a'), client.scan(''), cluster.client().set('waits for its session', '1')];
    const codes = Promise.all([...writes, ...others].map((request) => codeOf(request)));
    await sleep(50);
    await cluster.stop();
    expect(await codes).toEqual(['unknown', 'unknown', 'unknown', 'closed', 'closed', 'closed']);
    expect(await codeOf(client.get('a'))).toBe('closed');
  });

  test('requests of clients, when their time is over', async () => {
    const cluster = await started();
    const client = cluster.client({ timeoutMs: 400 });
    await client.set('a', '1');
    for (const node of cluster.nodes) node.freeze();
    const startedMs = performance.now();
    const codes = await Promise.all(
      [client.set('a', '2'), client.get('a')].map((request) => codeOf(request)),
    );
    expect(codes).toEqual(['unknown', 'unavailable']);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(390);
    for (const node of cluster.nodes) node.thaw();
    await until('it answers again', async () => (await codeOf(client.get('a'))) === 'none');
  });

  test('leader(), when there is none', async () => {
    const cluster = await started();
    await Promise.all(cluster.nodes.map((node) => node.crash()));
    await expect(cluster.leader({ timeoutMs: 100 })).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('Cluster.onView()', () => {
  test('calls back about ten times a second, with fresh accounts of all nodes', async () => {
    const cluster = await started();
    await sleep(500);
    const atMs: number[] = [];
    const accounts = new Set<unknown>();
    const stop = cluster.onView((view) => {
      atMs.push(view.atMs);
      for (const node of view.nodes) accounts.add(node.account);
    });
    await sleep(2000);
    stop();
    const count = atMs.length;
    await sleep(250);
    expect(atMs).toHaveLength(count);
    process.stdout.write(`${count} views and ${accounts.size} accounts of three nodes in 2 s\n`);
    expect(count).toBeGreaterThanOrEqual(8);
    expect(count).toBeLessThanOrEqual(40);
    expect(accounts.size).toBeGreaterThanOrEqual(20);
    expect(accounts.size).toBeLessThanOrEqual(80);
  });
});
