/**
 * Loads many keys through three nodes on threads, and times restarts: of everything, of one node, and of a follower that
 * missed so much that it needs a snapshot.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import type { ClusterClient, ClusterHandle, ClusterOptions } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import type { EngineKind } from '../../src/storage/version-engine.ts';
import { boundMiB, bytesBelow } from './load-engine.ts';
import { LoadKeys } from './load-keys.ts';
import { type ResidentReport, ResidentWatch } from './resident.ts';

export interface ClusterLoadOptions {
  readonly engine: EngineKind;
  readonly keys: number;
  readonly valueBytes: number;
  readonly inFlight: number;
  /** As in `ClusterOptions`: long on a machine that others use too, where a thread may not run for a while. */
  readonly electionMs: number;
  /** As in `ClusterOptions`: small enough for a follower that was down to need a snapshot. */
  readonly snapshotEntries: number;
  /** Puts a second that clients have to do while a follower catches up; 0: each puts again as soon as it is answered. */
  readonly offered: number;
  readonly directory: string;
}

export interface ClusterLoadResult extends ResidentReport {
  readonly putsPerSecond: number;
  readonly elections: number;
  readonly diskMiB: number;
  /** From no thread at all to the last key read through a new leader. */
  readonly restartMs: number;
  /** What the nodes said of their recovery. */
  readonly recovery: readonly string[];
  readonly boundMiB: number;
}

export interface RestartResult extends ResidentReport {
  readonly dataMiB: number;
  readonly putsPerSecond: number;
  /** Of one follower: from the start of its thread until it runs, and until it has applied what was committed. */
  readonly nodeRunsMs: number;
  readonly nodeCurrentMs: number;
  /** Of one that was down while as much again was written: until it has applied what was committed when it started. */
  readonly catchUpSeconds: number;
  /** Whether that took a snapshot: without one it was the log. */
  readonly snapshots: readonly string[];
  /** With two nodes that run: the third is down. */
  readonly putsPerSecondBefore: number;
  readonly putsPerSecondDuring: number;
  /** With three nodes in step again: more work for the same machine than before. */
  readonly putsPerSecondAfter: number;
  /** During by before. */
  readonly ratio: number;
  /** During by after: what is left for the catching up itself. */
  readonly ratioToAfter: number;
  readonly elections: number;
}

type ClusterSettings = ClusterOptions & { readonly dataDir: string };

const NODES = 3;
/** A thread of Node.js beside its engine: its own heap, frames under way, and the newest entries of the log. */
const THREAD_MIB = 120;
const POLL_MS = 20;
const CATCH_UP_MS_MAX = 600_000;
/** Over how long the rate before is taken, and how long the writers run before that. */
const BEFORE_MS = 30_000;
const SETTLE_MS = 2_000;
/** The rate after is taken over as long as the catching up took, so that compactions fall into both alike; at most this. */
const AFTER_MS_MAX = 180_000;

/** Puts that are late are made up for, but no more than these at once. */
const BURST_MS = 1000;

/**
 * Puts keys in a closed loop: each of `inFlight` writers sends its next put when the last one is answered, and not before its
 * turn when only so many a second are offered.
 */
class Writers {
  readonly #client: ClusterClient;
  readonly #keys: LoadKeys;
  readonly #inFlight: number;
  #next = 0;
  #done = 0;
  #end = 0;
  #perSecond = Infinity;
  /** When the next put has its turn. */
  #turnMs = 0;

  constructor(client: ClusterClient, keys: LoadKeys, inFlight: number) {
    this.#client = client;
    this.#keys = keys;
    this.#inFlight = inFlight;
  }

  /** Puts that were acknowledged. */
  get done(): number {
    return this.#done;
  }

  /** Goes on until so many keys in all are written; beyond the last key it begins again from the first. */
  async until(end: number): Promise<void> {
    this.#end = end;
    await Promise.all(Array.from({ length: this.#inFlight }, () => this.#write()));
  }

  /** Offers so many puts a second from now on. */
  offer(perSecond: number): void {
    this.#perSecond = perSecond;
    this.#turnMs = performance.now();
  }

  /** Ends {@link until} after the puts under way. */
  stop(): void {
    this.#end = 0;
  }

  async #write(): Promise<void> {
    while (this.#next < this.#end) {
      const i = this.#next++ % this.#keys.count;
      // oxlint-disable-next-line no-await-in-loop -- each put waits for its turn
      if (this.#perSecond < Infinity) await this.#turn();
      // oxlint-disable-next-line no-await-in-loop -- a closed loop waits for each answer
      await this.#client.set(this.#keys.key(i), this.#keys.value(i));
      this.#done += 1;
    }
  }

  async #turn(): Promise<void> {
    const nowMs = performance.now();
    this.#turnMs = Math.max(this.#turnMs, nowMs - BURST_MS) + 1000 / this.#perSecond;
    if (this.#turnMs > nowMs) await sleep(this.#turnMs - nowMs);
  }
}

/** The most that a process with three such nodes may have. */
export function clusterBoundMiB(engine: EngineKind, dataBytes: number, keys: number): number {
  return NODES * (THREAD_MIB + boundMiB(engine, dataBytes, keys));
}

/** Puts all keys, stops the cluster, and starts it again. `tell` gets a line every ten seconds. */
export async function loadCluster(
  options: ClusterLoadOptions,
  tell: (line: string) => void,
): Promise<ClusterLoadResult> {
  const keys = new LoadKeys(options.keys, options.valueBytes);
  const settings = settingsOf(options);
  const watch = new ResidentWatch(tell);
  const { cluster, client } = await begin(settings);
  const { term } = cluster.view();
  const writers = new Writers(client, keys, options.inFlight);
  const startedMs = performance.now();
  watch.start(() => `${writers.done} keys, ${rate(writers.done, startedMs)}/s`);
  await writers.until(keys.count);
  const putsPerSecond = rate(writers.done, startedMs);
  const elections = cluster.view().term - term;
  await client.close();
  await cluster.stop();
  const diskMiB = Math.round(bytesBelow(settings.dataDir) / 2 ** 20);
  const restartedMs = performance.now();
  const again = await begin(settings);
  const found = await again.client.get(keys.key(keys.count - 1));
  const restartMs = Math.round(performance.now() - restartedMs);
  watch.look(() => 'serving again');
  watch.stop();
  const isRight = found !== undefined && Buffer.compare(found, keys.value(keys.count - 1)) === 0;
  await again.client.close();
  await again.cluster.stop();
  if (!isRight) throw new Error('The last key is not what was put');
  return {
    putsPerSecond,
    ...watch.report,
    boundMiB: clusterBoundMiB(options.engine, keys.count * keys.entryBytes, keys.count),
    elections,
    diskMiB,
    restartMs,
    recovery: again.told('recover'),
  };
}

/** Puts all keys; restarts a follower; then lets one miss as many puts again and catch up under load. */
export async function timeRestarts(
  options: ClusterLoadOptions,
  tell: (line: string) => void,
): Promise<RestartResult> {
  const keys = new LoadKeys(options.keys, options.valueBytes);
  const settings = settingsOf(options);
  const { cluster, client, told } = await begin(settings);
  const watch = new ResidentWatch(tell);
  const writers = new Writers(client, keys, options.inFlight);
  const startedMs = performance.now();
  watch.start(() => `${writers.done} keys, ${rate(writers.done, startedMs)}/s`);
  await writers.until(keys.count);
  const putsPerSecond = rate(writers.done, startedMs);
  const leader = await cluster.leader();
  const follower = (leader.id % NODES) + 1;
  const { term } = cluster.view();

  tell('one node restarts');
  await cluster.node(follower).crash();
  const restartedMs = performance.now();
  const target = commitOf(cluster);
  await cluster.node(follower).restart();
  const nodeRunsMs = Math.round(performance.now() - restartedMs);
  await applied(cluster, follower, target);
  const nodeCurrentMs = Math.round(performance.now() - restartedMs);

  tell('one node misses as much again');
  await cluster.node(follower).crash();
  await writers.until(2 * keys.count);
  if (options.offered > 0) writers.offer(options.offered);
  const load = writers.until(Infinity);
  await sleep(SETTLE_MS);
  const putsPerSecondBefore = await rateOver(writers, () => sleep(BEFORE_MS));
  tell('it comes back');
  const silence = cluster.onEvent(({ kind, node, text }) => {
    if (kind === 'snapshot' && text.includes('sends')) tell(`n${node} ${text}`);
  });
  const backMs = performance.now();
  const putsPerSecondDuring = await rateOver(writers, async () => {
    const behind = commitOf(cluster);
    await cluster.node(follower).restart();
    await applied(cluster, follower, behind);
  });
  const catchUpMs = performance.now() - backMs;
  silence();
  tell('it is current');
  await sleep(SETTLE_MS);
  const afterMs = Math.min(catchUpMs, AFTER_MS_MAX);
  const putsPerSecondAfter = await rateOver(writers, () => sleep(afterMs));
  writers.stop();
  await load;
  watch.stop();
  const elections = cluster.view().term - term;
  await client.close();
  await cluster.stop();
  return {
    dataMiB: Math.round((keys.count * keys.entryBytes) / 2 ** 20),
    putsPerSecond,
    ...watch.report,
    nodeRunsMs,
    nodeCurrentMs,
    catchUpSeconds: Number((catchUpMs / 1000).toFixed(1)),
    snapshots: told('snapshot').filter((text) => text.includes('sends') || text.includes('install')),
    putsPerSecondBefore,
    putsPerSecondDuring,
    putsPerSecondAfter,
    ratio: Number((putsPerSecondDuring / putsPerSecondBefore).toFixed(2)),
    ratioToAfter: Number((putsPerSecondDuring / putsPerSecondAfter).toFixed(2)),
    elections,
  };
}

function settingsOf(options: ClusterLoadOptions): ClusterSettings {
  const { engine, electionMs, snapshotEntries, directory } = options;
  return { nodes: NODES, dataDir: join(directory, 'cluster'), engine, electionMs, snapshotEntries };
}

interface Begun {
  readonly cluster: ClusterHandle;
  readonly client: ClusterClient;
  /** The texts of all events of a kind so far. */
  readonly told: (kind: string) => readonly string[];
}

async function begin(options: ClusterOptions): Promise<Begun> {
  const cluster = await Cluster.start(options);
  const events: { readonly kind: string; readonly text: string }[] = [];
  cluster.onEvent(({ kind, node, text }) => void events.push({ kind, text: `n${node} ${text}` }));
  await cluster.leader({ timeoutMs: 60_000 });
  const client = cluster.client({ timeoutMs: 60_000 });
  const told = (kind: string): readonly string[] =>
    events.filter((event) => event.kind === kind).map(({ text }) => text);
  return { cluster, client, told };
}

function rate(done: number, startedMs: number): number {
  return Math.round((done / (performance.now() - startedMs)) * 1000);
}

async function rateOver(writers: Writers, run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  const { done } = writers;
  await run();
  return rate(writers.done - done, startedMs);
}

function commitOf(cluster: ClusterHandle): number {
  return Math.max(...cluster.view().nodes.map(({ account }) => account?.commit ?? 0));
}

async function applied(cluster: ClusterHandle, id: number, index: number): Promise<void> {
  const endMs = performance.now() + CATCH_UP_MS_MAX;
  for (;;) {
    const node = cluster.view().nodes.find((one) => one.id === id);
    if (node?.state === 'running' && (node.account?.applied ?? 0) >= index) return;
    if (performance.now() > endMs) throw new Error(`n${id} has not caught up`);
    // oxlint-disable-next-line no-await-in-loop -- the view is a picture that is renewed
    await sleep(POLL_MS);
  }
}
