/** The command `sim` as its user sees it, on real threads: it needs the build. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { fakeContext } from './fake-context.ts';

async function runWords(...argv: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const context = fakeContext({ env: {} });
  const code = await run(['sim', ...argv], context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

/** Without how long it took. */
function timeless(text: string): string {
  return text.replace(/ in \S+ s \(\d+ ×\)/, '');
}

describe('sim', () => {
  test('runs every seed once, on any number of threads, and appends the totals', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'oxide-kv-sim-'));
    try {
      const file = join(directory, 'results.jsonl');
      const { code, out } = await runWords('--seeds', '1..130', '--jobs', '2', '--json', '--results', file);
      expect(code, out).toBe(0);
      const result: unknown = JSON.parse(out);
      expect(result).toMatchObject({ profile: 'core', ran: 130, doubled: 6, failures: [] });
      expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
        kind: 'sim',
        ran: 130,
        node: process.version,
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  }, 120_000);

  test('finds a broken rule, shortens the script, and says how to see it again', async () => {
    const { code, out } = await runWords('--broken', 'any-log-wins', '--seeds', '1..2000', '--jobs', '1');
    expect(code).toBe(1);
    expect(out).toMatch(/^Seed \d+ violates I\d+ /m);
    const again = /^Again: oxide-kv sim (.*) --trace$/m.exec(out)?.[1] ?? '';
    expect(again).toContain('--broken any-log-wins');
    const replayed = await runWords(...again.split(' '));
    expect(replayed.code).toBe(1);
    expect(replayed.out).toContain(/^Seed .* violates .*$/m.exec(out)?.[0]);
  }, 120_000);

  test('traces one seed, the same every time', async () => {
    const first = await runWords('--seed', '7', '--trace');
    expect(first.code).toBe(0);
    expect(first.out.split('\n').length).toBeGreaterThan(100);
    expect(timeless((await runWords('--seed', '7', '--trace')).out)).toBe(timeless(first.out));
  }, 60_000);

  test('lists what can be broken', async () => {
    const { out } = await runWords('--broken', 'list');
    expect(out).toContain('forgets-its-vote');
    expect(out).toContain('never-syncs');
  });

  test.each([
    [['--profile', 'ful'], 'There is no profile "ful"'],
    [['--broken', 'forgets-its-votes'], 'Did you mean forgets-its-vote?'],
    [['--seeds', '5..1'], '"5..1" is no list'],
    [['--trace'], 'Option --trace needs --seed N'],
    [['--seeds', '1..9', '--omit', '3'], 'Option --omit needs --seed N'],
    [['--seed', '1', '--omit', 'x'], '"x" is no list of numbers'],
    [['--jobs', '0'], 'Option --jobs is "0"'],
  ])('%j is wrong usage', async (words, message) => {
    const { code, err } = await runWords(...words);
    expect(code).toBe(64);
    expect(err).toContain(message);
  });
});
