/** The long campaigns of test/live, a few seconds of each: they work, and nothing is lost. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { failover } from '../live/failover-campaign.ts';
import { Ledger, valueOf } from '../live/ledger.ts';
import { members } from '../live/members-campaign.ts';
import { quiet } from '../live/quiet-campaign.ts';
import type { Mode } from '../live/targets.ts';
import { type TortureResult, torture } from '../live/torture-campaign.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const seed = new Random(`${process.pid}/${Date.now()}`).uint32();

describe('Ledger.judge()', () => {
  test('tells lost, invented and refused writes from those that may be there', () => {
    const ledger = new Ledger();
    for (const outcome of ['acknowledged', 'acknowledged', 'unknown', 'refused'] as const) {
      ledger.settle('k', ledger.begin('k'), outcome);
    }
    const judge = (seq: number): string | undefined =>
      ledger.judge('k', valueOf('k', seq), ledger.floor('k'));
    expect(judge(2)).toBeUndefined();
    expect(judge(3)).toBeUndefined();
    expect(judge(1)).toBe('k holds write 1, write 2 was acknowledged');
    expect(judge(4)).toBe('k holds write 4, which was refused as without effect');
    expect(judge(5)).toBe('k holds write 5, only 4 were tried');
    expect(ledger.judge('k', undefined, 2)).toBe('k is absent, write 2 was acknowledged');
    expect(ledger.judge('k', 'x', 0)).toBe('k holds "x", which nobody wrote there');
    expect(ledger.judge('other', undefined, 0)).toBeUndefined();
    expect(ledger.certain('k')).toBeUndefined();
    expect(ledger.totals).toEqual({ acknowledged: 2, unknown: 1, refused: 1 });
  });
});

/** A short campaign in which nothing was wrong. */
async function tortured(
  mode: Mode,
  length: { readonly seconds: number; readonly cycles: number },
): Promise<TortureResult> {
  say(`torture ${mode}, seed ${seed}`);
  const shape = { nodes: 3, clients: 8, snapshotEntries: 500, dataDir: '', history: '' };
  const listener = { tell: say, status: () => undefined };
  const result = await torture({ mode, seed, ...shape, ...length }, listener);
  say(JSON.stringify(result));
  expect(result.violations).toEqual([]);
  expect(result.ledgerWrites).toBeGreaterThan(0);
  const { ok, failed, unknown } = result.operations;
  expect(result.checked).toBe(ok + failed + unknown);
  return result;
}

describe('campaigns', () => {
  test('torture: kill -9 of a cluster loses nothing', async () => {
    const result = await tortured('process', { cycles: 1, seconds: 60 });
    expect(result.cycles).toBe(1);
    expect(result.damage.kills).toBe(1);
  }, 60_000);

  test('torture: processes that die, stop and do not hear each other lose nothing, and what clients see has an order', async () => {
    const result = await tortured('processes', { cycles: 0, seconds: 18 });
    expect(result.cycles).toBeGreaterThan(0);
    expect(result.undecided).toBe(0);
  }, 120_000);

  test('failover: a client writes again soon after its leader has died', async () => {
    const result = await failover({ rounds: 3, nodes: 3, inflight: 16, seed }, say);
    say(`failover, seed ${seed}: ${JSON.stringify(result.failoverMs)}`);
    expect(result.violations).toEqual([]);
    // The target is 600 ms on an idle machine; here others are at work.
    expect(result.failoverMs.p50).toBeLessThan(3000);
  }, 60_000);

  test('members: nodes come, go and are replaced under load, and nothing is lost', async () => {
    const shape = { rounds: 1, nodes: 3, inflight: 16, snapshotEntries: 500 };
    const result = await members({ ...shape, seed }, say);
    say(`members, seed ${seed}: longest gaps ${JSON.stringify(result.gapMs)}`);
    expect(result.violations).toEqual([]);
    expect(result.nodes).toHaveLength(3);
    expect(result.nodes.every((id) => id > 3)).toBe(true);
    expect(result.acknowledged).toBeGreaterThan(100);
    // The target is an election timeout on an idle machine; here others are at work.
    expect(result.gapMs.p50).toBeLessThan(1000);
  }, 120_000);

  test('quiet: watches its three phases', async () => {
    const result = await quiet({ seconds: 6, nodes: 3, inflight: 64, seed }, say);
    expect(result.phases.map((phase) => phase.name)).toEqual(['idle', 'full load', 'freezing followers']);
    expect(result.violations).toEqual([]);
    expect(result.phases.map((phase) => phase.acknowledged > 0)).toEqual([false, true, true]);
    // A machine that stalls for longer than an election timeout has its elections; otherwise there are none.
    for (const { stallMsMax, elections } of result.phases) if (stallMsMax < 100) expect(elections).toBe(0);
  }, 60_000);
});
