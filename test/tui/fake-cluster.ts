/**
 * A cluster without nodes: a `ClusterHandle` whose pictures are made by hand. It obeys crash, restart, freeze, links and
 * writes well enough for the screen, repeats itself exactly, and moves only when `advance` is called.
 */
import type {
  AddNodeOptions,
  ClusterClient,
  ClusterHandle,
  ClusterNode,
  Data,
} from '../../src/cluster/api.ts';
import type {
  ClusterEvent,
  ClusterView,
  EngineStats,
  EventLevel,
  LogCell,
  NodeAccount,
  NodeStanding,
  NodeState,
  NodeView,
} from '../../src/cluster/view.ts';
import { at, defined } from '../../src/lib/assert.ts';
import { OxideError } from '../../src/lib/errors.ts';

const HEARTBEAT_MS = 50;
const ELECTION_MS = 300;

/** A tree in the middle of its work. */
export const TREE: Extract<EngineStats, { readonly kind: 'lsm' }> = {
  kind: 'lsm',
  memtableBytes: 21 * 2 ** 20,
  memtableBytesMax: 32 * 2 ** 20,
  flushingBytes: 0,
  levels: [
    { tables: 3, bytes: 61 * 2 ** 20 },
    { tables: 12, bytes: 92 * 2 ** 20 },
    { tables: 1, bytes: 8 * 2 ** 20 },
    { tables: 0, bytes: 0 },
    { tables: 0, bytes: 0 },
    { tables: 0, bytes: 0 },
    { tables: 0, bytes: 0 },
  ],
  cacheBytes: 12 * 2 ** 20,
  cacheHits: 930,
  cacheMisses: 70,
  compacting: 'L0 4 + L1 6 → L1',
  compactionsDone: 5,
  compactedBytes: 480 * 2 ** 20,
  flushesDone: 9,
  pressurePercent: 0,
};

interface FakeNode {
  readonly id: number;
  standing: NodeStanding;
  state: NodeState;
  sinceMs: number;
  cut: boolean;
  group: string;
  log: LogCell[];
  commit: number;
  term: number;
  keys: { key: string; value: string }[];
  engine: EngineStats | undefined;
  storage: NodeAccount['storage'];
}

/** Calls made on the handle, as words: `crash 3`. */
export class FakeCluster implements ClusterHandle {
  readonly dataDir = 'nowhere';
  readonly calls: string[] = [];
  /** When set, the next request of a client fails with this. */
  failure: Error | undefined;
  /** What the leader tells of itself. */
  transferTo = 0;
  leaseMs = 0;
  /** Changes of members and of the leader wait for this. */
  changing: Promise<void> = Promise.resolve();
  #nodes: FakeNode[];
  readonly #eventListeners = new Set<(event: ClusterEvent) => void>();
  readonly #viewListeners = new Set<(view: ClusterView) => void>();
  readonly #events: ClusterEvent[] = [];
  #atMs = 12_480;
  #leader = 3;
  #term = 4;

  constructor(count: number) {
    this.#leader = Math.min(3, count);
    this.#nodes = Array.from({ length: count }, (_, i) => this.#newNode(i + 1));
    for (const [term, text] of [
      [1, 'no-op'],
      [1, 'x=1'],
      [2, 'no-op'],
      [2, 'y=2'],
      [3, 'no-op'],
      [3, 'x=5'],
      [4, 'no-op'],
      [4, 'y=3'],
    ] as const) {
      this.#append(term, text);
    }
  }

  /** Lets time pass: views go out every 100 ms. */
  advance(ms: number): void {
    for (let passed = 0; passed < ms; passed += 100) {
      this.#atMs += Math.min(100, ms - passed);
      this.publish();
    }
  }

  publish(): void {
    const view = this.view();
    for (const listener of this.#viewListeners) listener(view);
  }

  emit(level: EventLevel, node: number, kind: string, text: string): void {
    const event: ClusterEvent = { atMs: this.#atMs, node, level, kind, text };
    this.#events.push(event);
    for (const listener of this.#eventListeners) listener(event);
  }

  /** The situation of the golden frames: one node down with a tail of its own, one behind, one frozen when there are five. */
  stage(): void {
    const n = (id: number): FakeNode => at(this.#nodes, id - 1);
    n(1).keys = [
      { key: 'y', value: '2' },
      { key: 'x', value: '5' },
    ];
    n(1).log = n(1).log.slice(0, 6).concat({ index: 7, term: 3, summary: 'q=1' });
    n(1).commit = 6;
    n(1).term = 3;
    n(2).log = n(2).log.slice(0, 7);
    n(2).commit = 6;
    if (this.#nodes.length >= 5) {
      n(5).state = 'crashed';
      n(5).log = n(5).log.slice(0, 7);
      n(5).commit = 7;
      n(4).state = 'frozen';
    }
    this.#append(4, 'z=1', 1);
    this.emit(0, 0, 'partition', 'partition {n1} | {n2 n3 n4 n5}');
    this.emit(1, 3, 'role', 'became candidate in T4: nothing heard from the leader for 312 ms');
    this.emit(1, 3, 'role', 'became leader of T4: votes of n2 n3 n4');
    this.emit(2, 3, 'commit', 'commit 8: acknowledged by n2 n3 n4');
    this.emit(3, 1, 'drop', 'dropped append of T3 to n2: the link is cut');
    this.emit(1, 5, 'crash', 'crashed by the user: memory gone, disk stays');
    this.publish();
  }

  get nodes(): readonly ClusterNode[] {
    return this.#nodes.map((node) => this.#nodeHandle(node));
  }

  view(): ClusterView {
    const standings = this.#nodes.map(({ standing }) => standing);
    const voterCount = standings.filter((standing) => standing === 'voter' || standing === 'joining').length;
    return {
      atMs: this.#atMs,
      nodes: this.#nodes.map((node) => this.#nodeView(node)),
      leader: this.#leader,
      term: this.#term,
      isJoint: standings.some((standing) => standing === 'joining' || standing === 'leaving'),
      quorum: Math.floor(voterCount / 2) + 1,
      runningCount: this.#nodes.filter((node) => node.state === 'running').length,
    };
  }

  node(id: number): ClusterNode {
    return this.#nodeHandle(this.#find(id));
  }

  /** What a node's engine tells of itself from now on, and its disk. */
  setStorage(id: number, engine: EngineStats, storage: NodeAccount['storage'] = 'ok'): void {
    const node = this.#find(id);
    node.engine = engine;
    node.storage = storage;
    this.publish();
  }

  /** What a node is to the cluster from now on. */
  setStanding(id: number, standing: NodeStanding): void {
    this.#find(id).standing = standing;
    this.publish();
  }

  async addNode({ learner = false }: AddNodeOptions = {}): Promise<ClusterNode> {
    const id = 1 + Math.max(...this.#nodes.map((node) => node.id));
    this.calls.push(`${learner ? 'learner' : 'add'} ${id}`);
    this.#nodes = [...this.#nodes, { ...this.#newNode(id), standing: 'none' }];
    this.emit(0, id, 'add', 'starts, and waits to be added');
    this.publish();
    await this.#change();
    this.setStanding(id, learner ? 'learner' : 'voter');
    return this.node(id);
  }

  async removeNode(id: number): Promise<void> {
    this.calls.push(`remove ${id}`);
    await this.#change();
    this.#nodes = this.#nodes.filter((node) => node.id !== id);
    if (this.#leader === id) this.#leader = at(this.#nodes, 0).id;
    this.publish();
  }

  async replaceNode(id: number): Promise<ClusterNode> {
    const added = await this.addNode();
    await this.removeNode(id);
    return added;
  }

  async promoteNode(id: number): Promise<void> {
    this.calls.push(`promote ${id}`);
    await this.#change();
    this.setStanding(id, 'voter');
  }

  async transferLeader(to = this.#leader): Promise<ClusterNode> {
    this.calls.push(`transfer ${to}`);
    await this.#change();
    this.#leader = to;
    this.publish();
    return this.node(to);
  }

  leader(): Promise<ClusterNode> {
    return Promise.resolve(this.node(this.#leader));
  }

  partition(groups: readonly (readonly number[])[]): void {
    this.calls.push(`partition ${groups.map((group) => group.join(',')).join('|')}`);
    for (const [i, group] of groups.entries()) {
      for (const id of group) this.#find(id).group = String.fromCharCode(65 + i);
    }
  }

  isolate(id: number): void {
    this.calls.push(`isolate ${id}`);
    this.#find(id).cut = true;
  }

  rejoin(id: number): void {
    this.calls.push(`rejoin ${id}`);
    this.#find(id).cut = false;
  }

  link(): void {
    this.calls.push('link');
  }

  heal(): void {
    this.calls.push('heal');
    for (const node of this.#nodes) {
      node.cut = false;
      node.group = 'A';
    }
  }

  client(): ClusterClient {
    const answer = <T>(call: string, value: T): Promise<T> => {
      this.calls.push(call);
      const { failure } = this;
      this.failure = undefined;
      return failure === undefined ? Promise.resolve(value) : Promise.reject(failure);
    };
    const read = (key: Data): string | undefined =>
      this.#find(this.#leader).keys.find((pair) => pair.key === String(key))?.value;
    return {
      set: (key, value) => {
        if (this.failure === undefined) this.write(String(key), String(value));
        return answer(`set ${String(key)} ${String(value)}`, this.#find(this.#leader).log.length);
      },
      get: () => Promise.reject(new OxideError('closed', 'Not part of this fake')),
      getText: (key) => answer(`get ${String(key)}`, read(key)),
      delete: (key) => answer(`delete ${String(key)}`, read(key) !== undefined),
      scan: () => Promise.resolve([]),
      cas: (key, expected) => answer(`cas ${String(key)}`, read(key) === String(expected)),
      close: () => answer('close', undefined),
    };
  }

  /** A write that everyone who runs takes at once. */
  write(key: string, value: string): void {
    this.#append(this.#term, `${key}=${value}`);
    for (const node of this.#nodes) {
      if (node.state !== 'running') continue;
      node.keys = [{ key, value }, ...node.keys.filter((pair) => pair.key !== key)].slice(0, 12);
      node.commit = node.log.length;
    }
  }

  onEvent(listener: (event: ClusterEvent) => void): () => void {
    for (const event of this.#events) listener(event);
    this.#eventListeners.add(listener);
    return () => void this.#eventListeners.delete(listener);
  }

  onView(listener: (view: ClusterView) => void): () => void {
    this.#viewListeners.add(listener);
    return () => void this.#viewListeners.delete(listener);
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #append(term: number, summary: string, onlyFirst = Infinity): void {
    let count = 0;
    const order = this.#nodes.toSorted(
      (a, b) => Number(b.id === this.#leader) - Number(a.id === this.#leader),
    );
    for (const node of order) {
      if (node.state !== 'running' || count >= onlyFirst) continue;
      count += 1;
      node.log = [...node.log, { index: node.log.length + 1, term, summary }];
      if (onlyFirst === Infinity) node.commit = node.log.length;
      const [key = '', value] = summary.split('=');
      if (value !== undefined && onlyFirst === Infinity) {
        node.keys = [{ key, value }, ...node.keys.filter((pair) => pair.key !== key)].slice(0, 12);
      }
    }
  }

  #set(node: FakeNode, state: NodeState): Promise<void> {
    node.state = state;
    node.sinceMs = this.#atMs;
    this.emit(1, node.id, state, `is ${state} now`);
    this.publish();
    return Promise.resolve();
  }

  #find(id: number): FakeNode {
    return defined(
      this.#nodes.find((node) => node.id === id),
      `node ${id}`,
    );
  }

  /** Waits as long as the test wants, then fails if it wants that. */
  async #change(): Promise<void> {
    await this.changing;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }

  #newNode(id: number): FakeNode {
    return {
      id,
      standing: 'voter',
      state: 'running',
      sinceMs: 0,
      cut: false,
      group: 'A',
      log: [],
      commit: 0,
      term: this.#term,
      keys: [],
      engine: undefined,
      storage: 'ok',
    };
  }

  #nodeHandle(node: FakeNode): ClusterNode {
    const call = (name: string, state: NodeState): Promise<void> => {
      this.calls.push(`${name} ${node.id}`);
      const { failure } = this;
      this.failure = undefined;
      return failure === undefined ? this.#set(node, state) : Promise.reject(failure);
    };
    return {
      id: node.id,
      get state() {
        return node.state;
      },
      client: `127.0.0.1:${9000 + node.id}`,
      crash: () => call('crash', 'crashed'),
      restart: () => call('restart', 'running'),
      freeze: () => void call('freeze', 'frozen'),
      thaw: () => void call('thaw', 'running'),
      wipe: () => call('wipe', 'crashed'),
      compact: async () => {
        this.calls.push(`compact ${node.id}`);
        await this.#change();
        return node.commit;
      },
    };
  }

  #nodeView(node: FakeNode): NodeView {
    return {
      id: node.id,
      standing: node.standing,
      state: node.state,
      reason: node.state === 'crashed' ? 'crashed by the user: memory gone, disk stays' : '',
      stateMs: this.#atMs - node.sinceMs,
      client: `127.0.0.1:${9000 + node.id}`,
      cut: node.cut,
      group: node.group,
      account: this.#account(node),
    };
  }

  #account(node: FakeNode): NodeAccount {
    const isLeader = node.id === this.#leader && node.state === 'running';
    const totalMs = isLeader ? HEARTBEAT_MS : ELECTION_MS + 17 * node.id;
    return {
      role: isLeader ? 'leader' : 'follower',
      term: node.term,
      vote: node.term === this.#term ? this.#leader : 1,
      leader: node.term === this.#term ? this.#leader : 1,
      commit: node.commit,
      applied: node.commit,
      first: 1,
      last: node.log.length,
      timerMs: totalMs - ((this.#atMs + 13 * node.id) % totalMs),
      timerTotalMs: totalMs,
      peers: isLeader
        ? this.#nodes
            .filter((other) => other.id !== node.id)
            .map((other) => ({
              id: other.id,
              mode: other.state === 'running' ? 'replicate' : 'probe',
              match: Math.min(other.log.length, node.log.length),
              next: Math.min(other.log.length, node.log.length) + 1,
            }))
        : [],
      transferTo: isLeader ? this.transferTo : 0,
      leaseMs: isLeader ? this.leaseMs : 0,
      members: this.#nodes.flatMap(({ id, standing }) => (standing === 'none' ? [] : [{ id, standing }])),
      configIndex: 0,
      log: node.log.slice(-16),
      walBytes: 512 + 61 * node.log.length,
      snapshotIndex: 0,
      storage: node.storage,
      revision: 1 + node.log.length,
      compactedRevision: 0,
      engine: node.engine ?? { kind: 'memory', versions: node.log.length, bytes: 61 * node.log.length },
      keyCount: node.keys.length,
      keys: node.keys,
    };
  }
}
