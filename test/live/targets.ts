/** The three stores that can be tortured: a whole cluster in one process, one process a node, one thread a node. */
import { connect } from '../../src/client/json-lines-client.ts';
import type { ClusterClient, ClusterHandle } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { at, defined, unreachable } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';
import { Child, freePorts } from './child.ts';
import { attack } from './nemesis.ts';
import { NodeProcesses } from './nodes.ts';
import { type Damage, DamageCounter, type Pause, type TortureTarget } from './target.ts';

const HOST = '127.0.0.1';
const FREEZE_MS_MAX = 1500;
const DOWN_MS_MAX = 1000;
const EVENTS_MAX = 200;

export type Mode = 'process' | 'processes' | 'threads';

export interface TargetOptions {
  readonly nodeCount: number;
  /** Of the data directories. */
  readonly directory: string;
  /** Of the links; disturbances have a stream of their own. */
  readonly seed: number;
  /** Writes between two snapshots of a node, for those that can be told. */
  readonly snapshotEntries: number;
}

export function makeTarget(mode: Mode, options: TargetOptions): TortureTarget {
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

/** `oxide-kv serve`, killed whole. */
class ServeTarget implements TortureTarget {
  readonly deaths: string[] = [];
  readonly #options: TargetOptions;
  readonly #damage = new DamageCounter();
  #basePort = 0;
  #child: Child | undefined;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  get damage(): Damage {
    return this.#damage.sum;
  }

  async start(): Promise<void> {
    this.#basePort = await freePorts(this.#options.nodeCount);
    await this.#spawn();
  }

  client(timeoutMs: number, first = 0): Promise<ClusterClient> {
    return connect(rotated(this.#endpoints(), first), { timeoutMs });
  }

  async disturb(): Promise<string> {
    await defined(this.#child, 'the running process').end('SIGKILL');
    this.#damage.add('kills');
    await this.#spawn();
    this.#damage.add('restarts');
    return 'kill -9 of the whole cluster';
  }

  clientOf(node: number, timeoutMs: number): Promise<ClusterClient> {
    return connect([at(this.#endpoints(), node)], { timeoutMs });
  }

  news(): readonly string[] {
    return this.#child?.lines ?? [];
  }

  async stop(): Promise<void> {
    await this.#child?.end('SIGTERM');
  }

  async #spawn(): Promise<void> {
    const { nodeCount, directory } = this.#options;
    const args = ['serve', '--json', '--events', '--strict-ports', '--data', directory];
    args.push('--nodes', String(nodeCount), '--client-port', String(this.#basePort));
    this.#child = new Child(args, (reason) => this.deaths.push(`"serve" ${reason}`));
    await this.#child.ready;
  }

  #endpoints(): readonly string[] {
    return Array.from({ length: this.#options.nodeCount }, (_, i) => `${HOST}:${this.#basePort + i}`);
  }
}

/** `oxide-kv node` once a node, with everything that nemesis.ts knows. */
class NodesTarget implements TortureTarget {
  readonly #options: TargetOptions;
  #nodes: NodeProcesses | undefined;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  get damage(): Damage {
    return this.#running().damage;
  }

  get deaths(): readonly string[] {
    return this.#running().deaths;
  }

  async start(): Promise<void> {
    const random = new Random(`${this.#options.seed}/links`);
    this.#nodes = await NodeProcesses.start({ ...this.#options, random });
  }

  client(timeoutMs: number, first = 0): Promise<ClusterClient> {
    return connect(rotated(this.#running().endpoints, first), { timeoutMs });
  }

  async disturb(random: Random, pause: Pause): Promise<string> {
    const what = await attack(this.#running(), random, pause);
    await this.#running().repair();
    return what;
  }

  clientOf(node: number, timeoutMs: number): Promise<ClusterClient> {
    return connect([at(this.#running().endpoints, node)], { timeoutMs });
  }

  news(): readonly string[] {
    return this.#running().lines;
  }

  async stop(): Promise<void> {
    await this.#nodes?.close();
  }

  #running(): NodeProcesses {
    return defined(this.#nodes, 'the running nodes');
  }
}

/** The cluster of the JS API, in this process: threads terminated alone or all at once, frozen and thawed. */
class ThreadsTarget implements TortureTarget {
  readonly deaths: string[] = [];
  readonly #options: TargetOptions;
  readonly #damage = new DamageCounter();
  readonly #events: string[] = [];
  #cluster: ClusterHandle | undefined;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  get damage(): Damage {
    return this.#damage.sum;
  }

  async start(): Promise<void> {
    const { nodeCount, directory, seed, snapshotEntries } = this.#options;
    const cluster = await Cluster.start({ nodes: nodeCount, dataDir: directory, seed, snapshotEntries });
    this.#cluster = cluster;
    cluster.onEvent(({ atMs, node, level, text }) => {
      if (level > 1) return;
      this.#events.push(`${Math.round(atMs)} ms n${node} ${text}`);
      if (this.#events.length > EVENTS_MAX) this.#events.shift();
    });
    await cluster.leader();
  }

  async client(timeoutMs: number): Promise<ClusterClient> {
    return this.#running().client({ timeoutMs });
  }

  async disturb(random: Random, pause: Pause): Promise<string> {
    const { nodes } = this.#running();
    for (const { id, state } of nodes)
      if (state !== 'running') this.deaths.push(`thread ${id} is ${state} before it was touched`);
    const first = random.int(0, nodes.length - 1);
    if (random.chance(0.25)) {
      const frozenMs = random.int(50, FREEZE_MS_MAX);
      at(nodes, first).freeze();
      this.#damage.add('stops');
      await pause(frozenMs);
      at(nodes, first).thaw();
      return `freeze of one thread for ${frozenMs} ms`;
    }
    const killed = random.chance(0.3) ? nodes.length : random.int(1, Math.max(1, nodes.length - 1));
    const victims = Array.from({ length: killed }, (_, i) => at(nodes, (first + i) % nodes.length));
    await Promise.all(victims.map((node) => node.crash()));
    this.#damage.add('kills', killed);
    await pause(random.int(0, DOWN_MS_MAX) * random.int(0, 1));
    await Promise.all(victims.map((node) => node.restart()));
    this.#damage.add('restarts', killed);
    return `crash of ${killed} of ${nodes.length} threads`;
  }

  async clientOf(node: number, timeoutMs: number): Promise<ClusterClient> {
    const cluster = this.#running();
    return cluster.client({ timeoutMs, node: at(cluster.nodes, node).id });
  }

  news(): readonly string[] {
    return this.#events;
  }

  async stop(): Promise<void> {
    await this.#cluster?.stop();
  }

  #running(): ClusterHandle {
    return defined(this.#cluster, 'the running cluster');
  }
}

/** The same endpoints, another one first. */
function rotated(endpoints: readonly string[], first: number): readonly string[] {
  const start = first % endpoints.length;
  return [...endpoints.slice(start), ...endpoints.slice(0, start)];
}
