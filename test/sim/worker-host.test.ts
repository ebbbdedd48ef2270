/** Simulated nodes as real threads: the same run as on one thread, and a thread that fails is noticed. */
import { Worker } from 'node:worker_threads';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { WorkerHost, isAnswered } from '../../src/cluster/worker-host.ts';
import { breaker } from '../../src/lessons/breaker.ts';
import type { NodeHost, NodePlan } from '../../src/sim/host.ts';
import type { RunResult } from '../../src/sim/report.ts';
import { type HostMaker, runNodes } from '../../src/sim/simulation.ts';

const PLAN: NodePlan = {
  id: 1,
  voters: [1],
  seed: 'test',
  raft: {},
  requestTimeoutMs: 1000,
  snapshotEntries: 100,
  trailingEntries: 10,
  segmentBytesMax: 4096,
  historyRevisions: 100_000,
  storage: { kind: 'memory' },
  broken: undefined,
};

const opened: NodeHost[] = [];
const folders: string[] = [];
afterEach(() => {
  for (const host of opened.splice(0)) host.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A thread's program that is not ours. */
function program(text: string): URL {
  const folder = mkdtempSync(join(tmpdir(), 'oxide-kv-sim-'));
  folders.push(folder);
  const path = join(folder, 'entry.mjs');
  writeFileSync(path, text);
  return pathToFileURL(path);
}

function traced(
  seed: number,
  makeHost?: HostMaker,
): { readonly result: RunResult; readonly lines: readonly string[] } {
  const lines: string[] = [];
  const result = runNodes('full', makeHost)({ seed, trace: (line) => void lines.push(line) }, breaker);
  return { result, lines };
}

describe('a run with a thread for each node', () => {
  test.each([6, 19])('is the run that it is on one thread, event for event: seed %i', (seed) => {
    const threads = traced(seed, (options) => new WorkerHost(options));
    const objects = traced(seed);
    expect(threads.result).toEqual(objects.result);
    expect(threads.lines).toEqual(objects.lines);
    expect(threads.lines.length).toBeGreaterThan(500);
  });
});

describe('a thread', () => {
  test('that never answers is noticed, and called no more', () => {
    const entry = program('setInterval(() => {}, 1000);');
    const host = new WorkerHost({ nodes: [1], seed: 'test', entry, callTimeoutMs: 300 });
    opened.push(host);
    const start = { kind: 'start', plan: PLAN, life: 1, nowMs: 0 } as const;
    expect(() => host.call(1, start)).toThrow(/not answered "start" for 300 ms/);
    const before = performance.now();
    expect(() => host.call(1, { kind: 'crash' })).toThrow(/not answered "start"/);
    expect(performance.now() - before).toBeLessThan(200);
  });

  test('that ends is noticed', () => {
    const host = new WorkerHost({
      nodes: [1],
      seed: 'test',
      entry: program('throw new Error("no");'),
      callTimeoutMs: 300,
    });
    opened.push(host);
    expect(() => host.call(1, { kind: 'crash' })).toThrow(/hangs or has ended/);
  });

  test('that is asked for what makes no sense says so', () => {
    const host = new WorkerHost({ nodes: [1], seed: 'test' });
    opened.push(host);
    const turn = {
      kind: 'turn',
      nowMs: 0,
      heardEverything: true,
      connected: [],
      frames: [],
      requests: [],
    } as const;
    expect(host.call(1, turn)).toMatchObject({ kind: 'down', cause: 'bug' });
    expect(host.call(1, { kind: 'start', plan: PLAN, life: 1, nowMs: 0 })).toMatchObject({ kind: 'up' });
    expect(() => host.call(1, { kind: 'damage' })).toThrow(/Only the disk of a stopped node/);
  });

  test('is not called after the host was closed', () => {
    const host = new WorkerHost({ nodes: [1], seed: 'test' });
    host.close();
    host.close();
    expect(() => host.call(1, { kind: 'crash' })).toThrow(/closed/);
  });
});

describe('isAnswered()', () => {
  test('believes the flag and not a wake-up: a late one of the answer before must not end the wait', async () => {
    const buffer = new SharedArrayBuffer(4);
    const flag = new Int32Array(buffer);
    const early = new Worker(
      `const flag = new Int32Array(require('node:worker_threads').workerData);
       const wait = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
       for (let i = 0; i < 50; i++) { Atomics.notify(flag, 0); wait(2); }
       Atomics.store(flag, 0, 1);
       Atomics.notify(flag, 0);`,
      { eval: true, workerData: buffer },
    );
    expect(isAnswered(flag, 20_000)).toBe(true);
    expect(Atomics.load(flag, 0)).toBe(1);
    await early.terminate();
  });

  test('gives up in time', () => {
    expect(isAnswered(new Int32Array(new SharedArrayBuffer(4)), 20)).toBe(false);
  });
});
