/** Crashes the leader under load, again and again, and takes the time until a client has its next acknowledged write. */
import type { ClusterHandle } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { Ledger } from './ledger.ts';
import { type Summary, summarize } from './report.ts';
import { Writers, audit } from './writers.ts';

export interface FailoverOptions {
  readonly rounds: number;
  readonly nodes: number;
  /** Writes under way at any time. */
  readonly inflight: number;
  readonly seed: number;
}

export interface FailoverResult {
  readonly rounds: number;
  /** From the call of `crash()` to the next acknowledged write, in milliseconds. */
  readonly failoverMs: Summary;
  /** Of this, until the thread was gone: `terminate()` is no part of Raft. */
  readonly terminateMs: Summary;
  /** What was lost or applied twice, in words. Must be empty. */
  readonly violations: readonly string[];
  readonly acknowledged: number;
}

/** Calm between two rounds, so that a round does not measure the one before. */
const CALM_MS = 500;
/** A node that is this close to the leader could win an election. */
const BEHIND_MAX = 1000;
const CATCH_UP_MS_MAX = 20_000;
const SLOW_MS = 1000;
const EVENTS_MAX = 40;

/** Runs all rounds. `tell` gets a line after each, and the events of slow ones. */
export async function failover(
  options: FailoverOptions,
  tell: (line: string) => void,
): Promise<FailoverResult> {
  const cluster = await Cluster.start({ nodes: options.nodes, seed: options.seed });
  const ledger = new Ledger();
  const failoversMs: number[] = [];
  const terminatesMs: number[] = [];
  const events = recentEvents(cluster);
  try {
    await cluster.leader();
    const clients = [cluster.client()];
    const writers = new Writers({ ledger, clients, seed: String(options.seed), lanes: options.inflight });
    for (let round = 1; round <= options.rounds; round++) {
      // oxlint-disable-next-line no-await-in-loop -- one crash after the other
      const { failoverMs, terminateMs } = await crashLeader(cluster, writers);
      failoversMs.push(failoverMs);
      terminatesMs.push(terminateMs);
      tell(
        `round ${round}: ${Math.round(failoverMs)} ms, of which terminating ${Math.round(terminateMs)} ms`,
      );
      if (failoverMs > SLOW_MS) for (const line of events()) tell(`  ${line}`);
    }
    await writers.stop();
    const reader = cluster.client();
    const violations = [...writers.violations, ...(await audit(reader, ledger))];
    return {
      rounds: options.rounds,
      failoverMs: summarize(failoversMs),
      terminateMs: summarize(terminatesMs),
      violations,
      acknowledged: ledger.totals.acknowledged,
    };
  } finally {
    await cluster.stop();
  }
}

async function crashLeader(
  cluster: ClusterHandle,
  writers: Writers,
): Promise<{ readonly failoverMs: number; readonly terminateMs: number }> {
  await writers.nextAcknowledgement();
  await sleep(CALM_MS);
  const leader = await cluster.leader();
  const startedMs = performance.now();
  await leader.crash();
  const terminateMs = performance.now() - startedMs;
  // The client has let go of the dead node: what is acknowledged from here on has a new leader.
  await writers.nextAcknowledgement();
  const failoverMs = performance.now() - startedMs;
  await leader.restart();
  await caughtUp(cluster, leader.id);
  return { failoverMs, terminateMs };
}

/** Resolves when the node follows closely. */
async function caughtUp(cluster: ClusterHandle, id: number): Promise<void> {
  const untilMs = performance.now() + CATCH_UP_MS_MAX;
  for (;;) {
    const { nodes, leader } = cluster.view();
    const own = nodes[id - 1]?.account;
    const leading = nodes[leader - 1]?.account;
    // The last account of the crashed thread is still here until the new one reports: it is of an older term.
    const isFresh = own !== undefined && own.term === leading?.term;
    if (isFresh && own.applied > leading.applied - BEHIND_MAX) return;
    if (performance.now() > untilMs)
      throw new Error(`Node ${id} has not caught up within ${CATCH_UP_MS_MAX} ms`);
    // oxlint-disable-next-line no-await-in-loop -- until it is there
    await sleep(50);
  }
}

/** Keeps the last events about roles, terms and threads, as lines. */
function recentEvents(cluster: ClusterHandle): () => readonly string[] {
  let lines: string[] = [];
  cluster.onEvent(({ atMs, node, level, text }) => {
    if (level <= 1) lines = [...lines, `${Math.round(atMs)} ms n${node} ${text}`].slice(-EVENTS_MAX);
  });
  return () => lines;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
