/**
 * A cluster in one process: starts a thread for each node, connects them, injects faults, restarts what died, and keeps
 * the picture that people look at. Implements the contract in api.ts.
 */
import { rmSync } from 'node:fs';
import { join, resolve as absolute } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { PortClient } from '../client/port-client.ts';
import { assert, defined } from '../lib/assert.ts';
import { OxideError } from '../lib/errors.ts';
import { Random } from '../lib/random.ts';
import { NODES_MAX } from '../net/faults.ts';
import { majority } from '../raft/quorum.ts';
import type {
  AddNodeOptions,
  ChangeOptions,
  ClientOptions,
  ClusterClient,
  ClusterHandle,
  ClusterNode,
  ClusterOptions,
  LinkFaults,
  RemoveNodeOptions,
} from './api.ts';
import { CompactionPool } from './compaction-pool.ts';
import { ClusterIdentity } from './identity.ts';
import { Members } from './members.ts';
import { Network } from './network.ts';
import { type ReservedPorts, reservePorts } from './ports.ts';
import { processStartedAt } from './process.ts';
import { makeTemporaryDirectory, removeTemporaryDirectory } from './temporary-directory.ts';
import { SupervisedNode } from './supervised-node.ts';
import type { ClusterEvent, ClusterView, EventLevel, NodeAccount, NodeView } from './view.ts';
import type { WorkerPlan } from './worker-handle.ts';

const VIEW_EVERY_MS = 100;
/** A thread reports every 100 ms: after this long, everything that happened before is here. */
const SETTLE_MS = 130;
const STOP_TIMEOUT_MS = 5000;
const COMPACT_TIMEOUT_MS = 30_000;
/** Nodes that a cluster begins with. */
const FOUNDERS_MAX = 9;
const LEADER_TIMEOUT_MS = 10_000;
/** Who decides from now on. */
const VOTING: ReadonlySet<NodeView['standing']> = new Set(['voter', 'witness', 'joining']);
/** Events kept for whoever attaches late. */
const HISTORY_MAX = 200;

export class Cluster implements ClusterHandle {
  readonly dataDir: string;
  readonly #isTemporary: boolean;
  readonly #startedMs: number = performance.now();
  readonly #options: ClusterOptions;
  readonly #random: Random;
  readonly #network: Network = new Network();
  readonly #compactions: CompactionPool = new CompactionPool();
  readonly #members: Members;
  /** By id, lowest first. */
  #nodes: SupervisedNode[] = [];
  #identity: ClusterIdentity | undefined;
  #doors: ReservedPorts | undefined;
  readonly #clients: Set<PortClient> = new Set();
  readonly #eventListeners: Set<(event: ClusterEvent) => void> = new Set();
  readonly #viewListeners: Set<(view: ClusterView) => void> = new Set();
  /** Events of this refresh, told in the order of their times. */
  #gathered: ClusterEvent[] = [];
  #history: ClusterEvent[] = [];
  #leader = 0;
  #refresher: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;

  private constructor(dataDir: string, options: ClusterOptions) {
    this.dataDir = dataDir;
    this.#isTemporary = options.dataDir === undefined;
    this.#options = options;
    this.#random = new Random(options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0] ?? 1);
    this.#members = new Members({
      startNode: (witness) => this.#startNode(witness),
      forgetNode: (id, keepData) => this.#forgetNode(id, keepData),
      client: (timeoutMs) => this.#newClient(timeoutMs, 0),
      shownIndex: () => this.#newestMembers()?.configIndex ?? 0,
      tell: (node, kind, text) => this.#tell(0, node, kind, text),
    });
  }

  /**
   * Starts a cluster. Resolves when every thread runs and every door listens; a leader may come a little later, see
   * {@link leader}. Rejects, with nothing left running, when a node cannot start: its directory is in use, its port is
   * taken, its data are damaged.
   */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const { nodes, dataDir } = options;
    if (nodes !== undefined && (!Number.isInteger(nodes) || nodes < 1 || nodes > FOUNDERS_MAX)) {
      throw new OxideError('bad_request', `Cannot start ${nodes} nodes: a cluster begins with 1 to 9`);
    }
    const path = dataDir === undefined ? makeTemporaryDirectory() : absolute(dataDir);
    const cluster = new Cluster(path, options);
    try {
      await cluster.#start();
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
    const node = this.#nodes.find((each) => each.id === id);
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

  async addNode(options: AddNodeOptions = {}): Promise<ClusterNode> {
    return this.node(await this.#members.add(options));
  }

  async removeNode(id: number, options: RemoveNodeOptions = {}): Promise<void> {
    await this.#members.remove(this.node(id).id, options);
  }

  async replaceNode(id: number, options: RemoveNodeOptions = {}): Promise<ClusterNode> {
    return this.node(await this.#members.replace(this.node(id).id, options));
  }

  async promoteNode(id: number, options: ChangeOptions = {}): Promise<void> {
    await this.#members.promote(this.node(id).id, options);
  }

  async transferLeader(to?: number, options: ChangeOptions = {}): Promise<ClusterNode> {
    return this.node(await this.#members.transfer(to === undefined ? 0 : this.node(to).id, options));
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
    return this.#newClient(options.timeoutMs ?? 10_000, options.node ?? 0);
  }

  /** @param target always ask this node; 0: the leader */
  #newClient(timeoutMs: number, target: number): PortClient {
    if (this.#stopping !== undefined) throw new OxideError('closed', 'Cluster has stopped');
    const client: PortClient = new PortClient({
      timeoutMs,
      node: target,
      onClose: () => this.#clients.delete(client),
    });
    this.#clients.add(client);
    for (const node of this.#nodes) if (node.isUp) this.#attach(client, node);
    client.leaderChanged(this.#leader);
    return client;
  }

  view(): ClusterView {
    const members = this.#newestMembers()?.members;
    const nodes: readonly NodeView[] = this.#nodes.map((node) => ({
      ...node.view(performance.now()),
      standing: standingIn(members, node.id),
      cut: this.#network.isIsolated(node.id),
      group: this.#network.groupOf(node.id),
    }));
    return {
      atMs: this.#nowMs(),
      nodes,
      leader: this.#leader,
      term: Math.max(0, ...nodes.map((node) => node.account?.term ?? 0)),
      isJoint: nodes.some(({ standing }) => standing === 'joining' || standing === 'leaving'),
      quorum: majority(nodes.filter(({ standing }) => VOTING.has(standing)).length),
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

  async #start(): Promise<void> {
    const { nodes, doors, engine } = this.#options;
    // Ports first: a start that is refused must leave nothing behind that names a number of nodes.
    this.#doors = await reservePorts(doors ?? false, ClusterIdentity.countIn(this.dataDir, nodes));
    this.#identity = ClusterIdentity.open(this.dataDir, nodes, engine);
    if (this.#doors.note !== '') this.#tell(0, 0, 'ports', this.#doors.note);
    const { founders, ids } = this.#identity;
    this.#nodes = ids.map((id) => this.#newNode(this.#planOf(id, founders)));
    this.#refresher = setInterval(() => this.#refresh(), VIEW_EVERY_MS);
    const results = await Promise.allSettled(this.#nodes.map((node) => node.start()));
    const failed = results.findIndex((result) => result.status === 'rejected');
    const failure = results[failed];
    if (failure?.status === 'rejected') throw failure.reason;
    assert(this.#nodes.length >= ids.length, 'A node was lost while starting');
  }

  #planOf(id: number, founders: readonly number[]): WorkerPlan {
    const { electionMs, heartbeatMs, leaseReads, sleepAfterMs, snapshotEntries, historyRevisions } =
      this.#options;
    const { cluster, engine } = defined(this.#identity, 'identity of a started cluster');
    return {
      id,
      voters: founders.includes(id) ? founders : [],
      cluster,
      engine,
      directory: join(this.dataDir, `node-${id}`),
      seed: `${this.#random.uint32()}/${id}`,
      raft: {
        electionMs: electionMs ?? 250,
        heartbeatMs: heartbeatMs ?? 50,
        leaseReads: leaseReads ?? false,
        quiesceAfterMs: sleepAfterMs ?? 0,
      },
      requestTimeoutMs: 10_000,
      snapshotEntries: snapshotEntries ?? 100_000,
      ...(historyRevisions === undefined ? {} : { historyRevisions }),
      lockToken: crypto.randomUUID(),
      processStartedAt: processStartedAt(),
      door: this.#doors?.of(id),
      network: { kind: 'channels', links: this.#network.buffer },
    };
  }

  #newNode(plan: WorkerPlan): SupervisedNode {
    const { id } = plan;
    this.#network.add(id);
    const node: SupervisedNode = new SupervisedNode({
      plan,
      compactions: this.#compactions,
      autoRestart: this.#options.autoRestart ?? false,
      onChange: () => this.#refresh(),
      onEvent: (event) => this.#gather(event.level, id, event.kind, event.text, event.epochMs),
      onUp: () => this.#connect(node),
      onDown: () => {
        for (const client of this.#clients) client.detach(id);
      },
      compact: async () => {
        const client = this.#newClient(COMPACT_TIMEOUT_MS, id);
        try {
          return await client.compact();
        } finally {
          await client.close();
        }
      },
    });
    return node;
  }

  /** A node that waits to be added, on a directory that is new. */
  async #startNode(witness: boolean): Promise<SupervisedNode> {
    if (this.#stopping !== undefined) throw new OxideError('closed', 'Cluster has stopped');
    const id = defined(this.#identity, 'identity of a started cluster').takeId(NODES_MAX);
    const door = await this.#doors?.another(id);
    if (door?.note !== undefined) this.#tell(0, id, 'ports', door.note);
    const plan = this.#planOf(id, []);
    const node = this.#newNode({ ...plan, raft: { ...plan.raft, witness }, door: door?.place });
    this.#nodes = [...this.#nodes, node].toSorted((a, b) => a.id - b.id);
    try {
      await node.start();
    } catch (error) {
      await this.#forgetNode(id, false);
      throw error;
    }
    return node;
  }

  /** The node is a member no more, or never became one. */
  async #forgetNode(id: number, keepData: boolean): Promise<void> {
    const node = this.#nodes.find((each) => each.id === id);
    if (node === undefined) return;
    // First of all: whatever happens now, it must not be started again.
    this.#identity?.markRemoved(id);
    await node.stop(STOP_TIMEOUT_MS);
    if (!keepData) rmSync(node.directory, { recursive: true, force: true });
    this.#nodes = this.#nodes.filter((each) => each !== node);
    for (const client of this.#clients) client.detach(id);
    this.#network.remove(id);
    this.#tell(0, id, 'removed', keepData ? 'is gone; its data are kept' : 'is gone, and its data with it');
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

  /** The account of who knows the newest members: the leader's, unless a later configuration stands elsewhere. */
  #newestMembers(): NodeAccount | undefined {
    let best: NodeAccount | undefined;
    for (const { account } of this.#nodes) {
      if (account === undefined || account.members.length === 0) continue;
      const isLater = best === undefined || account.configIndex > best.configIndex;
      if (isLater || (account.configIndex === best?.configIndex && account.role === 'leader')) best = account;
    }
    return best;
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
    await this.#compactions.close();
    clearInterval(this.#refresher);
    this.#refresh();
    this.#tellEvents(Infinity);
    if (this.#isTemporary) removeTemporaryDirectory(this.dataDir);
    assert(this.#clients.size === 0, 'A client survived its cluster');
  }
}

/** What a node is to the cluster. While nobody has said anything, a node counts as the founder that it most likely is. */
function standingIn(members: NodeAccount['members'] | undefined, id: number): NodeView['standing'] {
  if (members === undefined) return 'voter';
  return members.find((member) => member.id === id)?.standing ?? 'none';
}
