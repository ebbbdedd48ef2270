/**
 * Grows a cluster under load, shrinks it again, replaces every node once, the leader too, and hands leadership around. It
 * takes the longest time without an acknowledged write around each change, and compares at the end.
 */
import type { ClusterHandle } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { Ledger } from './ledger.ts';
import { type Summary, summarize } from './report.ts';
import { Writers, audit } from './writers.ts';

export interface MembersOptions {
  /** How often the whole programme runs. */
  readonly rounds: number;
  /** Nodes that the cluster begins with; it grows by two. */
  readonly nodes: number;
  /** Writes under way at any time. */
  readonly inflight: number;
  /** Entries between two snapshots: few, and new nodes begin with one. */
  readonly snapshotEntries: number;
  readonly seed: number;
}

/** One change of members under load. */
export interface MeasuredChange {
  readonly what: string;
  /** From the call to its end. */
  readonly tookMs: number;
  /** The longest time without an acknowledged write, from a moment before the call to a moment after its end. */
  readonly gapMs: number;
}

export interface MembersResult {
  readonly changes: readonly MeasuredChange[];
  /** Of additions, removals, replacements and transfers, in milliseconds. */
  readonly gapMs: Summary;
  readonly tookMs: Summary;
  /** The election timeout, its least value: what a change should not exceed. */
  readonly electionMs: number;
  /** What was lost or applied twice, in words. Must be empty. */
  readonly violations: readonly string[];
  readonly acknowledged: number;
  readonly unknown: number;
  /** The nodes at the end: none of those that the cluster began with. */
  readonly nodes: readonly number[];
}

const ELECTION_MS = 250;
/** Calm before and after each change, which belong to what is measured. */
const CALM_MS = 400;

/** Runs the programme. `tell` gets a line after each change. */
export async function members(options: MembersOptions, tell: (line: string) => void): Promise<MembersResult> {
  const { nodes, seed, snapshotEntries, inflight } = options;
  const cluster = await Cluster.start({ nodes, seed, snapshotEntries, electionMs: ELECTION_MS });
  const ledger = new Ledger();
  const gaps = new Gaps();
  try {
    await cluster.leader();
    const clients = [cluster.client(), cluster.client()];
    const writers = new Writers({
      ledger,
      clients,
      seed: String(seed),
      lanes: Math.ceil(inflight / clients.length),
      acknowledged: () => gaps.acknowledged(),
    });
    await writers.nextAcknowledgement();
    const changes: MeasuredChange[] = [];
    for (let round = 0; round < options.rounds; round++) {
      for (const step of programme(cluster)) {
        // oxlint-disable-next-line no-await-in-loop -- one change after the other
        const change = await measured(step, gaps);
        changes.push(change);
        tell(`${change.what}: ${Math.round(change.tookMs)} ms, longest gap ${Math.round(change.gapMs)} ms`);
      }
    }
    await writers.stop();
    const reader = cluster.client();
    const violations = [...writers.violations, ...(await audit(reader, ledger))];
    return {
      changes,
      gapMs: summarize(changes.map((change) => change.gapMs)),
      tookMs: summarize(changes.map((change) => change.tookMs)),
      electionMs: ELECTION_MS,
      violations,
      acknowledged: ledger.totals.acknowledged,
      unknown: ledger.totals.unknown,
      nodes: cluster.nodes.map((node) => node.id),
    };
  } finally {
    await cluster.stop();
  }
}

interface Step {
  readonly what: string;
  readonly run: () => Promise<unknown>;
}

/** The changes of one round. Each step is made when the one before it has been. */
function* programme(cluster: ClusterHandle): IterableIterator<Step> {
  const founders = cluster.nodes.map((node) => node.id);
  for (let i = 0; i < 2; i++) yield { what: 'add a node', run: () => cluster.addNode() };
  yield { what: 'remove the leader', run: () => removeLeader(cluster) };
  const follower = cluster.nodes.findLast((node) => node.id !== cluster.view().leader);
  const id = follower?.id ?? 0;
  yield { what: `remove n${id}, a follower`, run: () => cluster.removeNode(id, { keepData: false }) };
  for (const old of founders) {
    if (!cluster.nodes.some((node) => node.id === old)) continue;
    const role = cluster.view().leader === old ? 'the leader' : 'a follower';
    yield { what: `replace n${old}, ${role}`, run: () => cluster.replaceNode(old, { keepData: false }) };
  }
  for (const node of cluster.nodes)
    if (node.id !== cluster.view().leader)
      yield { what: `hand leadership to n${node.id}`, run: () => cluster.transferLeader(node.id) };
}

async function removeLeader(cluster: ClusterHandle): Promise<void> {
  const leader = await cluster.leader();
  await cluster.removeNode(leader.id, { keepData: false });
}

async function measured(step: Step, gaps: Gaps): Promise<MeasuredChange> {
  gaps.begin();
  await sleep(CALM_MS);
  const startedMs = performance.now();
  await step.run();
  const tookMs = performance.now() - startedMs;
  await sleep(CALM_MS);
  return { what: step.what, tookMs, gapMs: gaps.end() };
}

/** The longest time between two acknowledged writes. */
class Gaps {
  #lastMs = 0;
  #longestMs = 0;

  acknowledged(): void {
    this.#look();
    this.#lastMs = performance.now();
  }

  begin(): void {
    this.#lastMs = performance.now();
    this.#longestMs = 0;
  }

  /** The longest since {@link begin}, the one that lasts included. */
  end(): number {
    this.#look();
    return this.#longestMs;
  }

  #look(): void {
    this.#longestMs = Math.max(this.#longestMs, performance.now() - this.#lastMs);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
