/** Clusters on the engine that was asked for: they remember it, refuse another, and compact on threads of their own. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Cluster } from '../../src/cluster/cluster.ts';
import { CompactionPool } from '../../src/cluster/compaction-pool.ts';
import type { CompactionAnswer } from '../../src/cluster/control.ts';
import { PortCompactor } from '../../src/cluster/port-compactor.ts';
import { startSingleNode } from '../../src/cluster/single.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import {
  type CompactionJob,
  type CompactionResult,
  LSM_OPTIONS,
  type LsmOptions,
} from '../../src/storage/lsm/table-format.ts';
import { freePorts } from '../live/child.ts';
import { converged, eventsOf, started, temporaryDirectory, until } from './support.ts';

const TINY: LsmOptions = {
  ...LSM_OPTIONS,
  memtableBytesMax: 8 * 1024,
  tableBytesMax: 4 * 1024,
  blockBytes: 512,
  level0Tables: 2,
  level0TablesMax: 50,
  level1Bytes: 16 * 1024,
};

describe('Cluster.start({ engine })', () => {
  test('keeps data in a tree, remembers that, and refuses another engine', async () => {
    const dataDir = temporaryDirectory();
    const first = await started({ dataDir, engine: 'lsm' });
    const client = first.client();
    for (let i = 0; i < 50; i++) await client.set(`key ${i}`, `value ${i}`);
    // A snapshot holds what its node has applied, and a follower may be a moment behind.
    await converged(first);
    await Promise.all(first.nodes.map((node) => node.compact()));
    await until('accounts tell of the engine and the snapshot', () =>
      first
        .view()
        .nodes.every(
          ({ account }) =>
            account?.engine.kind === 'lsm' && account.revision > 50 && account.snapshotIndex > 50,
        ),
    );
    await first.stop();
    const why = `Cannot open "${dataDir}": its data are kept by the engine "lsm", not "memory"; leave the engine out, or choose another directory`;
    await expect(Cluster.start({ dataDir, engine: 'memory' })).rejects.toThrow(why);
    const again = await started({ dataDir });
    expect(await again.client().getText('key 7')).toBe('value 7');
    expect(await again.client().scan('key', { limit: 100 })).toHaveLength(50);
    expect(readdirSync(`${dataDir}/node-1/lsm`)).toContain('CURRENT');
    // A node that is added later is of the same kind: no other could read a snapshot of it.
    const node = await again.addNode();
    expect(readdirSync(`${dataDir}/node-${node.id}/lsm`)).toContain('CURRENT');
  });

  test('a data directory of a cluster in memory is not opened as a tree', async () => {
    const dataDir = temporaryDirectory();
    await (await started({ nodes: 1, dataDir })).stop();
    await expect(Cluster.start({ nodes: 1, dataDir, engine: 'lsm' })).rejects.toThrow(
      'its data are kept by the engine "memory", not "lsm"',
    );
    const again = await started({ dataDir, engine: 'memory' });
    expect(again.nodes).toHaveLength(1);
  });

  test('one node by itself remembers its engine too', async () => {
    const dataDir = temporaryDirectory();
    const port = await freePorts(2);
    const clientPort = port + 1;
    const options = {
      id: 1,
      addr: `127.0.0.1:${port}`,
      clientAddr: `127.0.0.1:${clientPort}`,
      peers: [],
      dataDir,
      forward: true,
    };
    await (await startSingleNode({ ...options, engine: 'lsm' })).stop();
    await expect(startSingleNode({ ...options, engine: 'memory' })).rejects.toThrow(
      'its data are kept by the engine "lsm", not "memory"',
    );
    await (await startSingleNode(options)).stop();
  });
});

/** Flips a bit in every table of a node, on the real disk. */
function damageTables(directory: string): void {
  const tables = readdirSync(directory).filter((name) => name.endsWith('.sst'));
  expect(tables.length).toBeGreaterThan(0);
  for (const name of tables) {
    const bytes = readFileSync(join(directory, name));
    bytes[30] = (bytes[30] ?? 0) ^ 16;
    writeFileSync(join(directory, name), bytes);
  }
}

test('a node whose tables are damaged starts again by itself, and gets its data from its peers', async () => {
  const dataDir = temporaryDirectory();
  const cluster = await started({ dataDir, engine: 'lsm' });
  const events = eventsOf(cluster);
  const client = cluster.client();
  for (let i = 0; i < 50; i++) await client.set(`key ${i}`, `value ${i}`);
  await converged(cluster);
  await Promise.all(cluster.nodes.map((node) => node.compact()));
  const { leader } = cluster.view();
  damageTables(`${dataDir}/node-${leader}/lsm`);
  // What it has read it may remember. In its next life it has to read again.
  await cluster.nodes[leader - 1]?.restart();
  expect(await client.getText('key 7')).toBe('value 7');
  const said = (text: string): boolean =>
    events.some((event) => event.node === leader && event.text.includes(text));
  await until('it votes again', () => said('votes again: what it lost is made good'));
  expect(said('starts again without its data, and gets them from its peers')).toBe(true);
  expect(said('are set aside in "damaged-data": Cannot read table')).toBe(true);
  await client.set('after', 'all');
  await converged(cluster);
  await until('all have all keys', () =>
    cluster.view().nodes.every(({ account }) => account?.keyCount === 51),
  );
  expect(readdirSync(`${dataDir}/node-${leader}/damaged-data`).join()).toMatch(/\.sst/);
  // It is one of them as before.
  await cluster.transferLeader(leader);
  expect(await client.getText('key 7')).toBe('value 7');
});

/** A tree on the real disk that merges on the threads of a pool. */
class Rig {
  readonly pool = new CompactionPool();
  readonly directory = `${temporaryDirectory()}/lsm`;
  readonly #channel = new MessageChannel();
  readonly service = this.pool.serve(this.#channel.port1);
  readonly jobs: CompactionJob[] = [];
  answers = 0;
  readonly store: LsmStore;
  #revision = 0;

  constructor() {
    const compactor = new PortCompactor(this.#channel.port2, () => {
      this.answers += 1;
    });
    onTestFinished(async () => {
      compactor.close();
      this.#channel.port1.close();
      await this.service.end();
      await this.pool.close();
    });
    this.store = new LsmStore({
      fs: new NodeFileSystem(),
      directory: this.directory,
      options: TINY,
      compactor: {
        run: (job: CompactionJob, done: (result: CompactionResult) => void) => {
          this.jobs.push(job);
          compactor.run(job, done);
        },
      },
    });
  }

  /** Puts so many versions of 100 keys, flushed as a checkpoint. */
  fill(count: number): void {
    for (let i = 0; i < count; i++) {
      const revision = (this.#revision += 1);
      const key = `key ${String(revision % 100).padStart(3, '0')}`;
      const value = Buffer.from(`value ${revision}`.padEnd(50, '.'));
      this.store.engine.put({ key, revision, sub: 0, created: revision, version: 1, lease: 0n, value });
    }
    const writer = this.store.begin({ index: this.#revision, term: 1 }, []);
    while (!writer.advance());
  }

  get compactionsDone(): number {
    const { stats } = this.store.engine;
    return stats.kind === 'lsm' ? stats.compactionsDone : 0;
  }
}

describe('CompactionPool', () => {
  test('merges the tables of a tree on other threads, and tells the node', async () => {
    const rig = new Rig();
    for (let round = 0; round < 6; round++) {
      rig.fill(200);
      while (rig.store.engine.work());
      await until('the merge is done', () => rig.answers === rig.jobs.length);
      while (rig.store.engine.work());
    }
    await until('all merges are done', () => {
      while (rig.store.engine.work());
      return rig.answers === rig.jobs.length;
    });
    expect(rig.jobs.length).toBeGreaterThan(0);
    expect(rig.compactionsDone).toBeGreaterThanOrEqual(rig.jobs.length);
    const rows = [...rig.store.engine.scan({ start: '', end: undefined }, Number.MAX_SAFE_INTEGER)];
    expect(rows).toHaveLength(100);
    expect(rows.every(({ revision }) => revision > 1100)).toBe(true);
    rig.store.close();
  });

  test('does nothing more in the directory of a node once its service has ended', async () => {
    const rig = new Rig();
    for (let round = 0; round < 4; round++) rig.fill(500);
    while (rig.store.engine.work());
    expect(rig.jobs).toHaveLength(1);
    await rig.service.end();
    const before = readdirSync(rig.directory).toSorted();
    rig.store.close();
    const again = new LsmStore({ fs: new NodeFileSystem(), directory: rig.directory, options: TINY });
    const after = readdirSync(rig.directory).toSorted();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(readdirSync(rig.directory).toSorted()).toEqual(after);
    expect(before.length).toBeGreaterThanOrEqual(after.length);
    expect([...again.engine.scan({ start: '', end: undefined }, Number.MAX_SAFE_INTEGER)]).toHaveLength(100);
    again.close();
  });

  test('answers what it cannot carry out', async () => {
    const pool = new CompactionPool();
    const { port1, port2 } = new MessageChannel();
    const service = pool.serve(port1);
    onTestFinished(async () => {
      port1.close();
      await service.end();
      await pool.close();
    });
    const answered = new Promise<CompactionAnswer>((resolve) => {
      port2.once('message', resolve);
    });
    await pool.close();
    const job = { directory: '', inputs: [], options: TINY };
    port2.postMessage({ id: 7, job });
    expect(await answered).toMatchObject({
      id: 7,
      result: { kind: 'failed', message: 'Cannot merge tables: the cluster has stopped' },
    });
  });
});
