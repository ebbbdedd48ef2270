/**
 * A cluster of real processes, `oxide-kv node` once a node, whose links to each other go through proxies: everything
 * that can be done to it, one hand movement each.
 */
import { join } from 'node:path';
import { connect } from '../../src/client/json-lines-client.ts';
import { at } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import { Child, freePorts } from './child.ts';
import { type Link, Mesh } from './links.ts';
import type { LinkState } from './proxy.ts';
import { type Damage, DamageCounter } from './target.ts';

const HOST = '127.0.0.1';
const CLUSTER = 'torture';
const STATUS_TIMEOUT_MS = 500;
/** A process that has not ended by then is killed. */
const END_MS_MAX = 5000;
/** Lines kept of what a node printed before its last start. */
const PAST_LINES_MAX = 100;

/** Nodes count from 0. */
export class NodeProcesses {
  readonly count: number;
  /** Reasons of processes that ended by themselves. Must stay empty. */
  readonly deaths: string[] = [];
  readonly #directory: string;
  readonly #snapshotEntries: number;
  readonly #basePort: number;
  readonly #mesh: Mesh;
  /** Undefined: killed or ended, and not started again. */
  readonly #children: (Child | undefined)[] = [];
  readonly #stopped: Set<number> = new Set();
  readonly #damage = new DamageCounter();
  readonly #past: (readonly string[])[] = [];

  private constructor(
    options: { readonly nodeCount: number; readonly directory: string; readonly snapshotEntries: number },
    basePort: number,
    mesh: Mesh,
  ) {
    this.count = options.nodeCount;
    this.#directory = options.directory;
    this.#snapshotEntries = options.snapshotEntries;
    this.#basePort = basePort;
    this.#mesh = mesh;
  }

  /** Starts all nodes. Resolves when they listen. @param options.directory of their data directories */
  static async start(options: {
    readonly nodeCount: number;
    readonly directory: string;
    readonly snapshotEntries: number;
    readonly random: Random;
  }): Promise<NodeProcesses> {
    const basePort = await freePorts(options.nodeCount * 2);
    const ports = Array.from({ length: options.nodeCount }, (_, i) => basePort + i);
    const mesh = await Mesh.listen(ports, options.random);
    const nodes = new NodeProcesses(options, basePort, mesh);
    for (let i = 0; i < nodes.count; i++) nodes.#spawn(i);
    await nodes.repair();
    return nodes;
  }

  get damage(): Damage {
    return this.#damage.sum;
  }

  /** Where clients connect. */
  get endpoints(): readonly string[] {
    return Array.from({ length: this.count }, (_, i) => `${HOST}:${this.#basePort + this.count + i}`);
  }

  /** The last lines that the nodes have printed: their events. */
  get lines(): readonly string[] {
    return Array.from({ length: this.count }, (_, i) => {
      const lines = [...(this.#past[i] ?? []), ...(this.#children[i]?.lines ?? [])];
      return lines.map((line) => `node ${i + 1}: ${line}`);
    }).flat();
  }

  /** kill -9. Resolves once it is gone. */
  async kill(node: number): Promise<void> {
    const child = this.#children[node];
    if (child === undefined) return;
    this.#damage.add('kills');
    await this.#end(node, child, 'SIGKILL');
  }

  /** As a user ends it. Resolves once it is gone. */
  async quit(node: number): Promise<void> {
    const child = this.#children[node];
    if (child === undefined) return;
    this.#damage.add('quits');
    await this.#end(node, child, 'SIGTERM');
  }

  /** Starts a node that has ended. Does not wait until it listens. */
  start(node: number): void {
    if (this.#children[node] !== undefined) return;
    this.#damage.add('restarts');
    this.#spawn(node);
  }

  /** Stops the process where it stands. */
  stop(node: number): void {
    this.#damage.add('stops');
    this.#stopped.add(node);
    this.#children[node]?.signal('SIGSTOP');
  }

  resume(node: number): void {
    if (this.#stopped.delete(node)) this.#children[node]?.signal('SIGCONT');
  }

  /** Cuts links. */
  cut(links: readonly Link[], state: Exclude<LinkState, { readonly kind: 'open' }>): void {
    this.#damage.add('partitions');
    this.#mesh.set(links, state);
  }

  /** Slows links. */
  slow(links: readonly Link[], delayMs: number): void {
    this.#damage.add('disturbedLinks');
    this.#mesh.set(links, { kind: 'open', delayMs });
  }

  /** Resets the connections of a link. */
  tear(link: Link): void {
    this.#damage.add('disturbedLinks');
    this.#mesh.tear(link);
  }

  /** Makes every link healthy. */
  heal(): void {
    this.#mesh.heal();
  }

  /** Heals every link, continues and starts every node. Resolves when all listen. */
  async repair(): Promise<void> {
    this.heal();
    for (let i = 0; i < this.count; i++) {
      this.resume(i);
      this.start(i);
    }
    await Promise.all(this.#children.map(async (child) => await child?.ready));
  }

  /** Who leads, by their own accounts; undefined when none of them says that it does. */
  async leader(): Promise<number | undefined> {
    const accounts = await Promise.all(this.endpoints.map(readAccount));
    const leaders = accounts.filter((account) => account?.role === 'leader');
    const newest = leaders.toSorted((a, b) => (b?.term ?? 0) - (a?.term ?? 0))[0];
    return newest === undefined ? undefined : accounts.indexOf(newest);
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await this.#mesh.close();
    await Promise.all(
      this.#children.map(async (child, i) => {
        if (child === undefined) return;
        const timer = setTimeout(() => void child.end('SIGKILL'), END_MS_MAX);
        await this.#end(i, child, 'SIGTERM');
        clearTimeout(timer);
      }),
    );
  }

  async #end(node: number, child: Child, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#stopped.delete(node);
    await child.end(signal);
    if (this.#children[node] !== child) return;
    this.#past[node] = [...(this.#past[node] ?? []), ...child.lines, signal].slice(-PAST_LINES_MAX);
    this.#children[node] = undefined;
  }

  #spawn(node: number): void {
    const listen = `${HOST}:${this.#basePort + node}`;
    const peers = Array.from({ length: this.count }, (_, i) => i)
      .filter((peer) => peer !== node)
      .map((peer) => `${peer + 1}=${HOST}:${this.#mesh.portOf({ from: node, to: peer })}`);
    const args = ['node', '--cluster', CLUSTER, '--id', String(node + 1), '--addr', listen];
    args.push('--client-addr', at(this.endpoints, node), '--data', join(this.#directory, String(node + 1)));
    args.push('--snapshot-entries', String(this.#snapshotEntries));
    if (peers.length > 0) args.push('--peers', ...peers);
    this.#children[node] = new Child(args, (reason) => this.deaths.push(`node ${node + 1} ${reason}`));
  }
}

/** What a node says of its part in Raft; undefined when it does not answer. */
async function readAccount(
  endpoint: string,
): Promise<{ readonly role: string; readonly term: number } | undefined> {
  try {
    const client = await connect([endpoint], { timeoutMs: STATUS_TIMEOUT_MS });
    try {
      const { raft } = await client.status();
      if (typeof raft !== 'object' || raft === null || !('role' in raft) || !('term' in raft))
        return undefined;
      return { role: String(raft.role), term: Number(raft.term) };
    } finally {
      await client.close();
    }
  } catch {
    return undefined;
  }
}
