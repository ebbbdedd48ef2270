/** The three stores that can be tortured: a whole cluster in one process, one process a node, one thread a node. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../../src/client/json-lines-client.ts';
import type { ClusterClient, ClusterHandle } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { at, defined, unreachable } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import { Child, freePorts } from './child.ts';
import type { Disturbance, TortureTarget } from './target.ts';

const HOST = '127.0.0.1';
const FREEZE_MS_MAX = 1500;
const DOWN_MS_MAX = 1000;

export type Mode = 'process' | 'processes' | 'threads';

/** @param dataDir parent of the data directories; empty: a temporary one, removed in the end */
export function makeTarget(mode: Mode, nodeCount: number, dataDir: string): TortureTarget {
  const own = dataDir === '';
  const directory = own ? mkdtempSync(join(tmpdir(), 'oxide-kv-torture-')) : dataDir;
  const cleanUp = (): void => {
    if (own) rmSync(directory, { recursive: true, force: true });
  };
  const options = { nodeCount, directory, cleanUp };
  switch (mode) {
    case 'process':
      return new ServeTarget(options);
    case 'processes':
      return new NodesTarget(options);
    case 'threads':
      return new ThreadsTarget(options);
    default:
      return unreachable(mode);
  }
}

interface TargetOptions {
  readonly nodeCount: number;
  readonly directory: string;
  readonly cleanUp: () => void;
}

/** `oxide-kv serve`, killed whole. */
class ServeTarget implements TortureTarget {
  readonly #options: TargetOptions;
  #basePort = 0;
  #child: Child | undefined;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#basePort = await freePorts(this.#options.nodeCount);
    await this.#spawn();
  }

  client(timeoutMs: number): Promise<ClusterClient> {
    return connect(this.#endpoints(), { timeoutMs });
  }

  async disturb(): Promise<Disturbance> {
    await defined(this.#child, 'the running process').end('SIGKILL');
    const sinceMs = performance.now();
    await this.#spawn();
    return { what: 'kill -9 of the whole cluster', kills: 1, sinceMs, news: () => this.#child?.lines ?? [] };
  }

  readers(timeoutMs: number): Promise<readonly ClusterClient[]> {
    return Promise.all(this.#endpoints().map((endpoint) => connect([endpoint], { timeoutMs })));
  }

  async stop(): Promise<void> {
    await this.#child?.end('SIGTERM');
    this.#options.cleanUp();
  }

  async #spawn(): Promise<void> {
    const { nodeCount, directory } = this.#options;
    const args = [
      'serve',
      '--json',
      '--events',
      '--strict-ports',
      '--data',
      directory,
      '--nodes',
      String(nodeCount),
    ];
    this.#child = new Child([...args, '--client-port', String(this.#basePort)]);
    await this.#child.ready;
  }

  #endpoints(): readonly string[] {
    return Array.from({ length: this.#options.nodeCount }, (_, i) => `${HOST}:${this.#basePort + i}`);
  }
}

/** `oxide-kv node` once a node: killed alone or all at once, stopped and continued. */
class NodesTarget implements TortureTarget {
  readonly #options: TargetOptions;
  readonly #children: Child[] = [];
  #basePort = 0;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#basePort = await freePorts(this.#options.nodeCount * 2);
    for (let i = 0; i < this.#options.nodeCount; i++) this.#spawn(i);
    await Promise.all(this.#children.map((child) => child.ready));
  }

  client(timeoutMs: number): Promise<ClusterClient> {
    return connect(this.#endpoints(), { timeoutMs });
  }

  async disturb(random: Random): Promise<Disturbance> {
    const count = this.#options.nodeCount;
    const first = random.int(0, count - 1);
    if (random.chance(0.25)) return this.#stopAndContinue(first, random);
    const killed = random.chance(0.3) ? count : random.int(1, count - 1);
    const numbers = Array.from({ length: killed }, (_, i) => (first + i) % count);
    const sinceMs = performance.now();
    await Promise.all(numbers.map((i) => at(this.#children, i).end('SIGKILL')));
    for (const i of numbers) {
      // oxlint-disable-next-line no-await-in-loop -- they come back one after the other, at random times
      await sleep((random.int(0, DOWN_MS_MAX) * random.int(0, 1)) / killed);
      this.#spawn(i);
    }
    await Promise.all(numbers.map((i) => at(this.#children, i).ready));
    return {
      what: `kill -9 of ${killed} of ${count} processes`,
      kills: killed,
      sinceMs,
      news: () => this.#news(),
    };
  }

  readers(timeoutMs: number): Promise<readonly ClusterClient[]> {
    return Promise.all(this.#endpoints().map((endpoint) => connect([endpoint], { timeoutMs })));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.end('SIGTERM')));
    this.#options.cleanUp();
  }

  async #stopAndContinue(i: number, random: Random): Promise<Disturbance> {
    const child = at(this.#children, i);
    const sinceMs = performance.now();
    const stoppedMs = random.int(50, FREEZE_MS_MAX);
    child.signal('SIGSTOP');
    await sleep(stoppedMs);
    child.signal('SIGCONT');
    return { what: `SIGSTOP of one process for ${stoppedMs} ms`, kills: 0, sinceMs, news: () => [] };
  }

  #spawn(i: number): void {
    const { nodeCount, directory } = this.#options;
    const addresses = Array.from({ length: nodeCount }, (_, n) => `${HOST}:${this.#basePort + n}`);
    const own = ['--addr', at(addresses, i), '--client-addr', at(this.#endpoints(), i)];
    const peers = nodeCount === 1 ? [] : ['--peers', ...addresses.filter((_, n) => n !== i)];
    this.#children[i] = new Child(['node', ...own, '--data', `${directory}/${i + 1}`, ...peers]);
  }

  /** Without --json, a node prints its events. */
  #news(): readonly string[] {
    return this.#children.flatMap((child, i) => child.lines.map((line) => `node ${i + 1}: ${line}`));
  }

  #endpoints(): readonly string[] {
    const { nodeCount } = this.#options;
    return Array.from({ length: nodeCount }, (_, i) => `${HOST}:${this.#basePort + nodeCount + i}`);
  }
}

/** The cluster of the JS API, in this process: threads terminated alone or all at once, frozen and thawed. */
class ThreadsTarget implements TortureTarget {
  readonly #options: TargetOptions;
  #cluster: ClusterHandle | undefined;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { nodeCount, directory } = this.#options;
    this.#cluster = await Cluster.start({ nodes: nodeCount, dataDir: directory });
    await this.#cluster.leader();
  }

  async client(timeoutMs: number): Promise<ClusterClient> {
    return this.#running().client({ timeoutMs });
  }

  async disturb(random: Random): Promise<Disturbance> {
    const { nodes } = this.#running();
    const first = random.int(0, nodes.length - 1);
    const sinceMs = performance.now();
    if (random.chance(0.25)) {
      const frozenMs = random.int(50, FREEZE_MS_MAX);
      at(nodes, first).freeze();
      await sleep(frozenMs);
      at(nodes, first).thaw();
      return { what: `freeze of one thread for ${frozenMs} ms`, kills: 0, sinceMs, news: () => [] };
    }
    const killed = random.chance(0.3) ? nodes.length : random.int(1, nodes.length - 1);
    const victims = Array.from({ length: killed }, (_, i) => at(nodes, (first + i) % nodes.length));
    await Promise.all(victims.map((node) => node.crash()));
    await sleep(random.int(0, DOWN_MS_MAX) * random.int(0, 1));
    await Promise.all(victims.map((node) => node.restart()));
    return { what: `crash of ${killed} of ${nodes.length} threads`, kills: killed, sinceMs, news: () => [] };
  }

  async readers(timeoutMs: number): Promise<readonly ClusterClient[]> {
    const cluster = this.#running();
    return cluster.nodes.map(({ id }) => cluster.client({ timeoutMs, node: id }));
  }

  async stop(): Promise<void> {
    await this.#cluster?.stop();
    this.#options.cleanUp();
  }

  #running(): ClusterHandle {
    return defined(this.#cluster, 'the running cluster');
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
