/** The ledger of results: what was added is what is summed up. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Outages } from './outages.ts';
import { appendResult, commit, readResults, totals } from './results.ts';

function newFile(): string {
  const directory = mkdtempSync(join(tmpdir(), 'oxide-kv-results-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return join(directory, 'results.jsonl');
}

test('appendResult() adds a line a campaign, and totals() sums up those of one commit', () => {
  const path = newFile();
  const damage = { kills: 3, stops: 2, partitions: 1 };
  appendResult(path, 'torture', { seconds: 1800, damage, checked: 100, undecided: 0, violations: [] });
  appendResult(path, 'torture', { seconds: 3600, damage, checked: 50, undecided: 1, violations: ['lost'] });
  appendResult(path, 'failover', { seconds: 3600, damage });
  const results = readResults(path);
  expect(results).toHaveLength(3);
  expect(results[0]).toMatchObject({
    campaign: 'torture',
    commit: commit(),
    machine: { node: process.version },
  });
  expect(totals(results)).toEqual([
    {
      commit: commit(),
      runs: 2,
      hours: 1.5,
      kills: 6,
      stops: 4,
      partitions: 2,
      checked: 150,
      undecided: 1,
      violations: 1,
    },
  ]);
});

test('totals() keeps commits apart, and readResults() refuses what is no object', () => {
  const path = newFile();
  writeFileSync(
    path,
    '{"campaign":"torture","commit":"a"}\n{"campaign":"torture","commit":"b","seconds":36}\n',
  );
  expect(totals(readResults(path)).map(({ commit: name, hours }) => [name, hours])).toEqual([
    ['a', 0],
    ['b', 0.01],
  ]);
  writeFileSync(path, `${readFileSync(path, 'utf8')}[]\nnull\n`);
  expect(() => readResults(path)).toThrow(/line [34] is not an object/);
});

test('Outages counts long waits between acknowledged writes, and the one that has not ended', () => {
  const outages = new Outages(0);
  for (const nowMs of [10, 100, 400, 410, 1410]) outages.acknowledged(nowMs);
  expect(outages.report(1420)).toEqual({
    windowMs: { count: 2, p50: 300, p99: 1000, max: 1000 },
    percent: 91.5,
  });
  expect(outages.report(2410).windowMs).toEqual({ count: 3, p50: 1000, p99: 1000, max: 1000 });
});
