/**
 * A cluster in one process: starts a thread for each node, connects them, injects faults, restarts what died, and keeps
 * the picture that people look at. Implements the contract in api.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve as absolute } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { PortClient } from '../client/port-client.ts';
import { assert } from '../lib/assert.ts';
import { OxideError } from '../lib/errors.ts';
import { Random } from '../lib/random.ts';
import { NODES_MAX } from '../net/faults.ts';
import { majority } from '../raft/quorum.ts';
import type {
  ClientOptions,
  ClusterClient,
  ClusterHandle,
  ClusterNode,
  ClusterOptions,
  LinkFaults,
} from './api.ts';
import { clusterIdentity } from './identity.ts';
import { Network } from './network.ts';
import { reservePorts } from './ports.ts';
import { processStartedAt } from './process.ts';
import { SupervisedNode } from './supervised-node.ts';
import type { ClusterEvent, ClusterView, EventLevel, NodeView } from './view.ts';

const VIEW_EVERY_MS = 100;
/** A thread reports every 100 ms: after this long, everything that happened before is here. */
const SETTLE_MS = 130;
const STOP_TIMEOUT_MS = 5000;
const LEADER_TIMEOUT_MS = 10_000;
/** Events kept for whoever attaches late. */
const HISTORY_MAX = 200;

export class Cluster implements ClusterHandle {
  readonly dataDir: string;
  readonly #isTemporary: boolean;
  readonly #startedMs: number = performance.now();
  readonly #network: Network;
  readonly #nodes: SupervisedNode[] = [];
  readonly #clients: Set<PortClient> = new Set();
  readonly #eventListeners: Set<(event: ClusterEvent) => void> = new Set();
  readonly #viewListeners: Set<(view: ClusterView) => void> = new Set();
  /** Events of this refresh, told in the order of their times. */
  #gathered: ClusterEvent[] = [];
  #history: ClusterEvent[] = [];
  #leader = 0;
  #refresher: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  private constructor(dataDir: string, isTemporary: boolean, nodeCount: number) {
    this.dataDir = dataDir;
    this.#isTemporary = isTemporary;
    this.#network = new Network(nodeCount);
  }

  /**
   * Starts a cluster. Resolves when every thread runs and every door listens; a leader may come a little later, see
   * {@link leader}. Rejects, with nothing left running, when a node cannot start: its directory is in use, its port is
   * taken, its data are damaged.
   */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const nodeCount = options.nodes ?? 3;
    if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > Math.min(9, NODES_MAX)) {
      throw new OxideError('bad_request', `Cannot start ${nodeCount} nodes: a cluster has 1 to 9`);
    }
    const isTemporary = options.dataDir === undefined;
    const dataDir = isTemporary ? mkdtempSync(join(tmpdir(), 'oxide-kv-')) : absolute(options.dataDir);
    const cluster = new Cluster(dataDir, isTemporary, nodeCount);
    try {
      await cluster.#start(options, nodeCount);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get nodes(): readonly ClusterNode[] {
    return this.#nodes;
  }

  node(id: number): ClusterNode {
    const node = this.#nodes[id - 1];
    if (node === undefined) throw new OxideError('bad_request', `There is no node ${id}`);
    return node;
  }

  async leader(options: { readonly timeoutMs?: number } = {}): Promise<ClusterNode> {
    const timeoutMs = options.timeoutMs ?? LEADER_TIMEOUT_MS;
    if (this.#leader !== 0) return this.node(this.#leader);
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timer);
        stopListening();
      };
      const timer = setTimeout(() => {
        finish();
        reject(new OxideError('unavailable', `No leader within ${timeoutMs} ms`));
      }, timeoutMs);
      const stopListening = this.onView((view) => {
        if (view.leader === 0) return;
        finish();
        resolve(this.node(view.leader));
      });
    });
  }

  partition(groups: readonly (readonly number[])[]): void {
    this.#network.partition(groups);
    this.#tell(
      0,
      0,
      'partition',
      `partition ${groups.map((group) => group.map((id) => `n${id}`).join(' ')).join(' | ')}`,
    );
  }

  isolate(id: number): void {
    this.#network.isolate(this.node(id).id);
    this.#tell(0, id, 'cut', 'is cut off from every other node');
  }

  rejoin(id: number): void {
    this.#network.rejoin(this.node(id).id);
    this.#tell(0, id, 'rejoin', 'is connected again');
  }

  link(from: number, to: number, faults: LinkFaults): void {
    this.#network.link(this.node(from).id, this.node(to).id, faults);
    this.#tell(0, from, 'link', `link to n${to}: ${JSON.stringify(faults)}`);
  }

  heal(): void {
    this.#network.heal();
    this.#tell(0, 0, 'heal', 'every link is healthy again');
  }

  client(options: ClientOptions = {}): ClusterClient {
    const client: PortClient = new PortClient({
      timeoutMs: options.timeoutMs ?? 10_000,
      node: options.node ?? 0,
      onClose: () => this.#clients.delete(client),
    });
    this.#clients.add(client);
    for (const node of this.#nodes) if (node.isUp) this.#attach(client, node);
    client.leaderChanged(this.#leader);
    return client;
  }

  view(): ClusterView {
    const nodes: readonly NodeView[] = this.#nodes.map((node) => ({
      ...node.view(performance.now()),
      cut: this.#network.isIsolated(node.id),
      group: this.#network.groupOf(node.id),
    }));
    return {
      atMs: this.#nowMs(),
      nodes,
      leader: this.#leader,
      term: Math.max(0, ...nodes.map((node) => node.account?.term ?? 0)),
      quorum: majority(nodes.length),
      runningCount: nodes.filter((node) => node.state === 'running').length,
    };
  }

  onEvent(listener: (event: ClusterEvent) => void): () => void {
    for (const event of this.#history) listener(event);
    this.#eventListeners.add(listener);
    return () => void this.#eventListeners.delete(listener);
  }

  onView(listener: (view: ClusterView) => void): () => void {
    this.#viewListeners.add(listener);
    return () => void this.#viewListeners.delete(listener);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #start(options: ClusterOptions, nodeCount: number): Promise<void> {
    const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
    // Ports first: a start that is refused must leave nothing behind that names a number of nodes.
    const doors = await reservePorts(options.doors ?? false, nodeCount);
    const identity = clusterIdentity(this.dataDir, nodeCount);
    if (doors.note !== '') this.#tell(0, 0, 'ports', doors.note);
    const random = new Random(seed);
    const voters = Array.from({ length: nodeCount }, (_, i) => i + 1);
    const electionMs = options.electionMs ?? 250;
    for (const id of voters) {
      const node: SupervisedNode = new SupervisedNode({
        plan: {
          id,
          voters,
          cluster: identity,
          directory: join(this.dataDir, `node-${id}`),
          seed: `${random.uint32()}/${id}`,
          electionMs,
          heartbeatMs: options.heartbeatMs ?? 50,
          requestTimeoutMs: 10_000,
          snapshotEntries: options.snapshotEntries ?? 100_000,
          lockToken: crypto.randomUUID(),
          processStartedAt: processStartedAt(),
          door: doors.of(id),
          network: { kind: 'channels', links: this.#network.buffer },
        },
        autoRestart: options.autoRestart ?? false,
        onChange: () => this.#refresh(),
        onEvent: (event) => this.#gather(event.level, id, event.kind, event.text, event.epochMs),
        onUp: () => this.#connect(node),
        onDown: () => {
          for (const client of this.#clients) client.detach(id);
        },
      });
      this.#nodes.push(node);
    }
    this.#refresher = setInterval(() => this.#refresh(), VIEW_EVERY_MS);
    const results = await Promise.allSettled(this.#nodes.map((node) => node.start()));
    const failed = results.findIndex((result) => result.status === 'rejected');
    const failure = results[failed];
    if (failure?.status === 'rejected') throw failure.reason;
    assert(this.#nodes.length === nodeCount, 'A node was lost while starting');
  }

  /** Gives a node that came up a fresh channel to every other, and every client a port to it. */
  #connect(node: SupervisedNode): void {
    for (const other of this.#nodes) {
      if (other === node || !other.isUp) continue;
      const { port1, port2 } = new MessageChannel();
      node.connect(other.id, port1);
      other.connect(node.id, port2);
    }
    for (const client of this.#clients) this.#attach(client, node);
  }

  #attach(client: PortClient, node: SupervisedNode): void {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    client.attach(node.id, port1);
    node.attachClient(port2);
  }

  #refresh(): void {
    const leader = this.#findLeader();
    if (leader !== this.#leader) {
      this.#leader = leader;
      for (const client of this.#clients) client.leaderChanged(leader);
    }
    this.#tellEvents(this.#nowMs() - SETTLE_MS);
    if (this.#viewListeners.size === 0) return;
    const view = this.view();
    for (const listener of this.#viewListeners) listener(view);
  }

  /** Tells what happened up to `untilMs`, in order. Reports of different threads arrive in any order: give them time. */
  #tellEvents(untilMs: number): void {
    const events = this.#gathered
      .filter((event) => event.atMs <= untilMs)
      .toSorted((a, b) => a.atMs - b.atMs);
    if (events.length === 0) return;
    this.#gathered = this.#gathered.filter((event) => event.atMs > untilMs);
    for (const event of events) {
      this.#history.push(event);
      for (const listener of this.#eventListeners) listener(event);
    }
    if (this.#history.length > HISTORY_MAX) this.#history = this.#history.slice(-HISTORY_MAX);
  }

  /** The running node that leads the highest term, by its own account. */
  #findLeader(): number {
    let best = 0;
    let bestTerm = 0;
    for (const node of this.#nodes) {
      const account = node.state === 'running' ? node.account : undefined;
      if (account?.role !== 'leader' || account.term < bestTerm) continue;
      best = node.id;
      bestTerm = account.term;
    }
    return best;
  }

  #nowMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** A user's action: told at once. */
  #tell(level: EventLevel, node: number, kind: string, text: string): void {
    this.#gather(level, node, kind, text, performance.timeOrigin + performance.now());
    this.#refresh();
  }

  #gather(level: EventLevel, node: number, kind: string, text: string, epochMs: number): void {
    this.#gathered.push({
      atMs: epochMs - performance.timeOrigin - this.#startedMs,
      node,
      level,
      kind,
      text,
    });
  }

  async #stop(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => client.close()));
    await Promise.all(this.#nodes.map((node) => node.stop(STOP_TIMEOUT_MS)));
    clearInterval(this.#refresher);
    this.#refresh();
    this.#tellEvents(Infinity);
    if (this.#isTemporary) rmSync(this.dataDir, { recursive: true, force: true });
    assert(this.#clients.size === 0, 'A client survived its cluster');
  }
}
