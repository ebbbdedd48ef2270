import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OxideError } from '../../src/lib/errors.ts';
import { KeyDecoder } from '../../src/tui/keys.ts';
import { Session } from '../../src/tui/session.ts';
import type { State } from '../../src/tui/state.ts';
import { FakeCluster } from './fake-cluster.ts';

const SIZE = { columns: 120, rows: 40 };

/** A session on fake time. `frames` are the states that were drawn. */
class Stage {
  readonly cluster = new FakeCluster(5);
  readonly frames: State[] = [];
  readonly session: Session;
  suspensions = 0;
  readonly #keys = new KeyDecoder();

  constructor(started?: Promise<FakeCluster>) {
    this.session = new Session({
      cluster: started ?? Promise.resolve(this.cluster),
      nodes: 5,
      ascii: false,
      size: SIZE,
      show: (state) => void this.frames.push(state),
      suspend: () => void (this.suspensions += 1),
    });
  }

  async type(text: string): Promise<void> {
    for (const key of this.#keys.push(new TextEncoder().encode(text))) {
      this.session.keys([key]);
      await vi.advanceTimersByTimeAsync(100);
    }
  }

  get last(): State | undefined {
    return this.frames.at(-1);
  }
}

let stages: Stage[] = [];

function start(started?: Promise<FakeCluster>): { readonly stage: Stage; readonly ended: Promise<void> } {
  const stage = new Stage(started);
  stages.push(stage);
  return { stage, ended: stage.session.run() };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  for (const stage of stages) stage.session.close();
  expect(vi.getTimerCount()).toBe(0);
  stages = [];
  vi.useRealTimers();
});

describe('Session', () => {
  it('draws before the cluster is there, then shows it', async () => {
    const cluster = new FakeCluster(5);
    const { stage } = start(new Promise((resolve) => setTimeout(() => resolve(cluster), 400)));
    await vi.advanceTimersByTimeAsync(10);
    expect(stage.last?.view).toBeUndefined();
    expect(stage.frames).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(500);
    expect(stage.last?.view?.leader).toBe(3);
    expect(stage.last?.isReady).toBe(true);
  });

  it('carries out every fault on the cluster', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    await stage.type('2c');
    await stage.type('b4z');
    await stage.type('z5x');
    await stage.type('xp12\rh');
    expect(stage.cluster.calls).toEqual([
      'crash 2',
      'restart 2',
      'freeze 4',
      'thaw 4',
      'isolate 5',
      'rejoin 5',
      'partition 3,4,5|1,2',
      'heal',
    ]);
  });

  it('sends requests and tells their three endings apart', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    await stage.type('w\r');
    stage.cluster.failure = new OxideError('unknown', 'No answer within 5 s');
    await stage.type('w\r');
    stage.cluster.failure = new OxideError('unavailable', 'No leader is known');
    await stage.type('w\r');
    stage.cluster.failure = new TypeError('a bug');
    await stage.type('w\u0015cas x 1 2\r');
    await stage.type('e\r');
    await stage.type('w\u0015del nothing\r');
    const results = stage.last?.results.map(
      ({ request, verdict, answer }) => `${request}: ${verdict}, ${answer}`,
    );
    expect(results).toEqual([
      'del nothing: ok, was not there',
      'get x: ok, 1',
      'cas x 1 2: unknown, a bug',
      'set x 1: refused, No leader is known',
      'set x 1: unknown, No answer within 5 s',
      'set x 1: ok, at index 9',
    ]);
  });

  it('changes members while the screen goes on, and tells how each change ended', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    stage.cluster.changing = new Promise((resolve) => setTimeout(resolve, 5000));
    await stage.type('a');
    await vi.advanceTimersByTimeAsync(3000);
    expect(stage.last?.view?.nodes).toHaveLength(6);
    expect(stage.last?.underWay).toEqual([{ kind: 'add' }]);
    stage.cluster.publish();
    await vi.advanceTimersByTimeAsync(100);
    expect(stage.last?.results[0]).toMatchObject({ request: 'add a node', verdict: 'waiting' });
    expect(stage.last?.results[0]?.tookMs).toBeGreaterThan(3000);
    await stage.type('2t');
    expect(stage.last?.toast?.text).toBe('One at a time: "add a node" is under way');
    await stage.type('w\r');
    expect(stage.last?.results[0]).toMatchObject({ request: 'set x 1', verdict: 'ok' });
    await vi.advanceTimersByTimeAsync(2000);
    expect(stage.last?.underWay).toEqual([]);
    expect(stage.last?.results.map(({ request, verdict, answer }) => [request, verdict, answer])).toEqual([
      ['set x 1', 'ok', 'at index 9'],
      ['add a node', 'ok', 'n6 votes'],
    ]);
    expect(stage.cluster.calls).toEqual(['add 6', 'set x 1']);
  });

  it('makes every change of members', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    await stage.type('A6v');
    await stage.type('2t1S3Dy5Ry');
    const results = stage.last?.results.map(({ request, answer }) => `${request}: ${answer}`);
    expect(results?.toReversed()).toEqual([
      'add a learner: n6 learns',
      'promote n6: n6 votes',
      'transfer to n2: n2 leads',
      'snapshot n1: it holds the log up to 8',
      'remove n3: n3 is gone, its data stay on disk',
      'replace n5: n7 votes in its place',
    ]);
    expect(stage.cluster.calls).toEqual([
      'learner 6',
      'promote 6',
      'transfer 2',
      'compact 1',
      'remove 3',
      'add 7',
      'remove 5',
    ]);
    expect(stage.last?.selected).toBe(7);
  });

  it('tells a refused change from one that may have been made, in words that are safe', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    stage.cluster.failure = new OxideError('unavailable', 'Not within 15000 ms:\u0007 a leader answers');
    await stage.type('2Dy');
    await vi.advanceTimersByTimeAsync(100);
    expect(stage.last?.toast?.text).toBe('remove n2 refused: Not within 15000 ms:␇ a leader answers');
    stage.cluster.failure = new OxideError('unknown', 'No answer in time');
    await stage.type('2Dy');
    await vi.advanceTimersByTimeAsync(100);
    expect(stage.last?.results.map(({ verdict }) => verdict)).toEqual(['unknown', 'refused']);
    expect(stage.last?.underWay).toEqual([]);
    expect(stage.last?.events.filter(({ level }) => level === 0).at(-1)?.text).toBe(
      'remove n2 unknown: No answer in time',
    );
  });

  it('says why an action failed', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    stage.cluster.failure = new Error('Cannot stop thread: it is\u0007 gone');
    await stage.type('c');
    await vi.advanceTimersByTimeAsync(100);
    expect(stage.last?.toast?.text).toBe('Cannot crash n1: Cannot stop thread: it is␇ gone');
    await vi.advanceTimersByTimeAsync(5000);
    expect(stage.last?.toast).toBeUndefined();
  });

  it('draws at most eleven frames a second, and none when nothing changes', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(500);
    const idle = stage.frames.length;
    await vi.advanceTimersByTimeAsync(5000);
    expect(stage.frames.length).toBe(idle);
    for (let i = 0; i < 1000; i++) {
      stage.cluster.emit(1, 1, 'role', `commit ${i}`);
      if (i % 10 === 0) stage.cluster.publish();
      await vi.advanceTimersByTimeAsync(1);
    }
    await vi.advanceTimersByTimeAsync(100);
    expect(stage.frames.length - idle).toBeGreaterThanOrEqual(9);
    expect(stage.frames.length - idle).toBeLessThanOrEqual(13);
    expect(stage.last?.events.at(-1)?.text).toBe('commit 999');
  });

  it('runs about twenty writes a second while the workload is on', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    await stage.type('W');
    await vi.advanceTimersByTimeAsync(2000);
    stage.cluster.publish();
    await vi.advanceTimersByTimeAsync(100);
    const count = stage.last?.workload.okCount ?? 0;
    expect(count).toBeGreaterThanOrEqual(38);
    expect(count).toBeLessThanOrEqual(46);
    await stage.type('W');
    const writes = stage.cluster.calls.length;
    await vi.advanceTimersByTimeAsync(1000);
    expect(stage.cluster.calls.length).toBe(writes);
    expect(stage.last?.workload.isOn).toBe(false);
  });

  it('ends on q and on Ctrl-C, suspends on Ctrl-Z, leaves the cluster running', async () => {
    const first = start();
    await vi.advanceTimersByTimeAsync(200);
    await first.stage.type('\u001a');
    expect(first.stage.suspensions).toBe(1);
    await first.stage.type('q');
    await first.ended;
    const second = start(new Promise(() => undefined));
    await second.stage.type('\u0003');
    await second.ended;
    expect(first.stage.cluster.calls).toEqual([]);
  });

  it('fails when the cluster cannot start', async () => {
    const { ended } = start(Promise.reject(new Error('port 9001 is taken')));
    await expect(ended).rejects.toThrow('port 9001 is taken');
  });

  it('shows what the process prints as an event, and keeps a flood bounded', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    stage.session.stray('warning: \u001b[31mred\n');
    for (let i = 0; i < 20_000; i++) stage.cluster.emit(3, 1, 'drop', `flood ${i}`);
    stage.session.stray('last');
    await vi.advanceTimersByTimeAsync(200);
    expect(stage.last?.events).toHaveLength(1000);
    expect(stage.last?.events.at(-1)).toMatchObject({ level: 3, text: 'printed: last' });
  });

  it('close() lets go of the cluster', async () => {
    const { stage } = start();
    await vi.advanceTimersByTimeAsync(200);
    stage.session.close();
    const frames = stage.frames.length;
    stage.cluster.advance(1000);
    await vi.advanceTimersByTimeAsync(1000);
    expect(stage.frames.length).toBe(frames);
    expect(stage.cluster.calls).toEqual(['close', 'close']);
  });
});
