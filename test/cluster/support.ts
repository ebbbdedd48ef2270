/** What the tests of real clusters share: clusters that stop with their test, waiting with a deadline, lines to a door. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ClusterOptions, ClusterNode } from '../../src/cluster/api.ts';
import { Cluster } from '../../src/cluster/cluster.ts';
import type { ClusterEvent, NodeAccount } from '../../src/cluster/view.ts';
import { OxideError } from '../../src/lib/errors.ts';

const POLL_MS = 10;
/** Far above what anything here takes on an idle machine: tests wait for facts, and measure nothing with this. */
const DEADLINE_MS = 20_000;

/** A running cluster with a leader, stopped when the test ends. */
export async function started(options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await Cluster.start(options);
  onTestFinished(() => cluster.stop());
  await cluster.leader({ timeoutMs: DEADLINE_MS });
  return cluster;
}

/** A directory that goes when the test ends. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'oxide-kv-test-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Waits for a fact. Rejects with its name when it does not come true. */
export async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + DEADLINE_MS;
  // oxlint-disable-next-line no-await-in-loop -- asks again and again
  while (!(await isTrue())) {
    if (performance.now() > untilMs) throw new Error(`Not within ${DEADLINE_MS} ms: ${what}`);
    // oxlint-disable-next-line no-await-in-loop
    await sleep(POLL_MS);
  }
}

/** For faults that must last for a while: real threads run in real time. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Gathers a cluster's events from now on, those that it still remembers included. */
export function eventsOf(cluster: Cluster): readonly ClusterEvent[] {
  const events: ClusterEvent[] = [];
  cluster.onEvent((event) => events.push(event));
  return events;
}

/** Waits until every running node has applied as much as the leader has committed. */
export async function converged(cluster: Cluster): Promise<void> {
  await until('all nodes have applied the same', () => {
    const accounts = cluster.view().nodes.map((node) => node.account);
    const applied = new Set(accounts.map((account) => account?.applied));
    const isLed = cluster.view().leader !== 0;
    return isLed && applied.size === 1 && accounts.every((account) => account?.applied === account?.commit);
  });
}

/** What a node last told of itself. */
export function accountOf(cluster: Cluster, id: number): NodeAccount | undefined {
  return cluster.view().nodes[id - 1]?.account;
}

/** The followers, lowest id first. */
export function followersOf(cluster: Cluster): readonly ClusterNode[] {
  const { leader } = cluster.view();
  return cluster.nodes.filter((node) => node.id !== leader);
}

/** The code of the OxideError that a promise ends with; `none` when it resolves. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return error instanceof OxideError ? error.code : `no OxideError: ${String(error)}`;
  }
}

/** Says one line to a door and waits for its answer. */
export function say(address: string, request: unknown): Promise<unknown> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host: host ?? '', port: Number(port) });
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0) return;
      socket.destroy();
      resolve(JSON.parse(text.slice(0, end)));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('The door closed without an answer')));
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
