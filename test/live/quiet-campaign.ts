/** Counts elections where there should be none: while nothing happens, at full load, and around pauses of a follower. */
import type { ClusterHandle } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import { defined } from '../../src/lib/assert.ts';
import { Ledger } from './ledger.ts';
import { Writers, audit } from './writers.ts';

export interface QuietOptions {
  /** All three phases together. */
  readonly seconds: number;
  readonly nodes: number;
  /** Writes under way at any time in the second phase. */
  readonly inflight: number;
  readonly seed: number;
}

/** What one phase showed. */
export interface Phase {
  readonly name: string;
  readonly seconds: number;
  /** New terms: elections that deposed a leader. Must be 0. */
  readonly elections: number;
  /** Followers that asked for pre-votes, which disturbs nobody. Should be 0. */
  readonly candidacies: number;
  readonly acknowledged: number;
  /** The longest wait of this process for its own event loop: how starved the machine was, in milliseconds. */
  readonly stallMsMax: number;
}

export interface QuietResult {
  readonly phases: readonly Phase[];
  readonly violations: readonly string[];
}

const FREEZE_MS = 1000;
const STALL_PROBE_MS = 10;
/** Writers of the phase in which followers freeze. */
const LIGHT_LOAD = 16;

/** Runs all three phases. `tell` gets a line after each, and what happened in a phase that was not quiet. */
export async function quiet(options: QuietOptions, tell: (line: string) => void): Promise<QuietResult> {
  const cluster = await Cluster.start({ nodes: options.nodes, seed: options.seed });
  const ledger = new Ledger();
  const phases: Phase[] = [];
  const violations: string[] = [];
  const run = async (name: string, inflight: number, freeze: boolean): Promise<void> => {
    const writers =
      inflight === 0
        ? undefined
        : new Writers({
            ledger,
            clients: [cluster.client()],
            seed: `${options.seed}/${name}`,
            lanes: inflight,
          });
    const phase = await watch({ cluster, ledger, name, seconds: options.seconds / 3, freeze }, tell);
    await writers?.stop();
    violations.push(...(writers?.violations ?? []));
    phases.push(phase);
  };
  try {
    await cluster.leader();
    await run('idle', 0, false);
    await run('full load', options.inflight, false);
    await run('freezing followers', LIGHT_LOAD, true);
    violations.push(...(await audit(cluster.client(), ledger)));
    return { phases, violations };
  } finally {
    await cluster.stop();
  }
}

async function watch(
  phase: {
    readonly cluster: ClusterHandle;
    readonly ledger: Ledger;
    readonly name: string;
    readonly seconds: number;
    readonly freeze: boolean;
  },
  tell: (line: string) => void,
): Promise<Phase> {
  const { cluster, ledger, name, seconds } = phase;
  const before = { term: cluster.view().term, acknowledged: ledger.totals.acknowledged };
  const fromMs = cluster.view().atMs;
  const news: string[] = [];
  let candidacies = 0;
  const stopListening = cluster.onEvent(({ atMs, node, level, kind, text }) => {
    if (atMs < fromMs || level > 1) return;
    if (kind === 'role' && text.includes('follower ⇒ preCandidate')) candidacies += 1;
    news.push(`${Math.round(atMs)} ms n${node} ${text}`);
  });
  const stalls = watchStalls();
  const untilMs = performance.now() + seconds * 1000;
  for (let turn = 0; performance.now() < untilMs; turn++) {
    // oxlint-disable-next-line no-await-in-loop -- one freeze after the other
    await (phase.freeze ? freezeFollower(cluster, turn) : sleep(200));
  }
  stopListening();
  const result: Phase = {
    name,
    seconds: Math.round(seconds),
    elections: cluster.view().term - before.term,
    candidacies,
    acknowledged: ledger.totals.acknowledged - before.acknowledged,
    stallMsMax: stalls(),
  };
  tell(
    `${name}: ${result.elections} elections, ${candidacies} candidacies in ${result.seconds} s, ` +
      `${result.acknowledged} writes acknowledged, longest stall of this thread ${result.stallMsMax} ms`,
  );
  if (result.elections > 0 || candidacies > 0) for (const line of news) tell(`  ${line}`);
  return result;
}

/** Each follower in turn stands still for a second, and has a second to come back. */
async function freezeFollower(cluster: ClusterHandle, turn: number): Promise<void> {
  const leader = await cluster.leader();
  const followers = cluster.nodes.filter((node) => node !== leader);
  const follower = defined(followers[turn % followers.length], 'a follower');
  follower.freeze();
  await sleep(FREEZE_MS);
  follower.thaw();
  await sleep(FREEZE_MS);
}

/** @returns ends the watch and tells the longest stall */
function watchStalls(): () => number {
  let lastMs = performance.now();
  let longestMs = 0;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs - STALL_PROBE_MS);
    lastMs = nowMs;
  }, STALL_PROBE_MS);
  return () => {
    clearInterval(timer);
    return Math.round(longestMs);
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
