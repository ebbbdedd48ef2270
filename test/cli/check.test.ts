/** `oxide-kv check`: what it prints for histories good, bad, hard and broken, and how it ends. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../../src/cli/main.ts';
import { formatHistory, type Operation } from '../../src/sim/history.ts';
import { script } from '../sim/history-script.ts';
import { fakeContext } from './fake-context.ts';

let folder = '';
let file = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'oxide-kv-check-'));
  file = join(folder, 'history.jsonl');
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function check(
  history: readonly Operation[] | string,
  words: readonly string[] = [],
  isTty = false,
): Promise<Ended> {
  writeFileSync(file, typeof history === 'string' ? history : formatHistory(history));
  const context = fakeContext({ isTty });
  const code = await run(['check', file, ...words], context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

const STALE = script(
  '1 set k a 1000000-2500000 \n 1 set k b 3000000-4000000 \n 12 get k a 14000000-15000000',
);

/** Many swaps at once whose values come again, and a wrong answer at the end. */
const HARD = script(
  [
    ...Array.from({ length: 32 }, (_, i) => `${i} cas k v${i % 7} v${(i * 3 + 1) % 7} done 0-100`),
    ...Array.from({ length: 5 }, (_, i) => `${40 + i} set k v${i} 0-100`),
    '50 get k v1 200-201',
    '50 get k v2 202-203',
  ].join('\n'),
);

describe('oxide-kv check', () => {
  test('passes a history that has an order', async () => {
    const history = script('1 set k a 0-1 \n 2 get k a 2-3 \n 3 set k b 4-? \n 3 set k c 4-5!');
    expect(await check(history)).toEqual({
      code: 0,
      out: 'Linearizable: 4 operations, of which 1 failed and 1 are unknown\n',
      err: '',
    });
    expect((await check(script('1 get k - 0-1'))).out).toBe('Linearizable: 1 operation\n');
    expect(await check('')).toEqual({ code: 0, out: 'Linearizable: 0 operations\n', err: '' });
    expect(await check(history, ['--json'])).toEqual({
      code: 0,
      out: '{"result":"linearizable","operations":4}\n',
      err: '',
    });
  });

  test('tells the story of one that has none', async () => {
    expect(await check(STALE)).toEqual({
      code: 1,
      out: [
        'Not linearizable: key "k". Of 3 operations, these show it:',
        '  #1  0.000 ms to 1.500 ms    process 1   set "k" to "a"',
        '  #2  2.000 ms to 3.000 ms    process 1   set "k" to "b"',
        '  #3  13.000 ms to 14.000 ms  process 12  get "k" saw "a"',
        'No order fits. The longest is #1, #2. There #3 is due, but it saw "a" and "k" holds "b"',
        '',
      ].join('\n'),
      err: '',
    });
  });

  test('tells it as JSON, with the operations as they were', async () => {
    const { code, out, err } = await check(STALE, ['--json']);
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(JSON.parse(out)).toEqual({
      result: 'violation',
      operations: 3,
      keys: ['k'],
      reason: 'No order fits. The longest is #1, #2. There #3 is due, but it saw "a" and "k" holds "b"',
      story: formatHistory(STALE)
        .trimEnd()
        .split('\n')
        .map((line, index) => ({
          text: ['set "k" to "a"', 'set "k" to "b"', 'get "k" saw "a"'][index],
          operation: JSON.parse(line) as unknown,
        })),
    });
  });

  test('makes keys and values harmless', async () => {
    const history: readonly Operation[] = [
      {
        process: 1,
        action: { kind: 'get', key: '\u001b]0;x\u0007\u202e__proto__', value: '\u009b2J\u2028' },
        start: 0n,
        end: 1n,
        outcome: 'ok',
      },
    ];
    for (const words of [[], ['--json']]) {
      // oxlint-disable-next-line no-await-in-loop -- both write the same file
      const { code, out } = await check(history, words);
      expect(code).toBe(1);
      // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
      expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e]/);
    }
  });

  test('ends undecided when the budget is too small', async () => {
    const { code, out } = await check(HARD, ['--budget-ms', '20']);
    expect(code).toBe(3);
    expect(out).toMatch(/^Undecided after [\d,]+ steps: key "k"\nNo violation was found elsewhere\./);
    const json = await check(HARD, ['--budget-ms', '20', '--json']);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.out)).toMatchObject({ result: 'undecided', operations: 39, keys: ['k'] });
  });

  test('refuses what is not a history, with the line', async () => {
    const broken = `${formatHistory(STALE)}\n{"process":1}\n`;
    const message = 'Cannot read history: line 5: outcome is missing, expected "ok", "fail" or "unknown"';
    expect(await check(broken)).toEqual({ code: 2, out: '', err: `oxide-kv: ${message}\n` });
    const { code, out } = await check(broken, ['--json']);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toEqual({ ok: false, code: 'bad_request', message });
  });

  test('refuses a file that is not there', async () => {
    const context = fakeContext({});
    expect(await run(['check', join(folder, 'nothing')], context)).toBe(2);
    expect(context.errSink.text).toMatch(/^oxide-kv: Cannot read history: ENOENT: no such file/);
    expect(await run(['check', folder], fakeContext({}))).toBe(2);
  });

  test('reads standard input', async () => {
    const context = fakeContext({ stdin: Buffer.from(formatHistory(STALE)) });
    expect(await run(['check', '-'], context)).toBe(1);
    expect(context.outSink.text).toMatch(/^Not linearizable/);
  });

  test.each([['check'], ['check a b'], ['check a --budget-ms 0'], ['check a --budget']])(
    '%s is wrong usage',
    async (line) => {
      expect(await run(line.split(' '), fakeContext({}))).toBe(64);
    },
  );

  test('shows how far it is on a terminal, and takes it off again', async () => {
    let nowMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 250));
    try {
      const { out, err } = await check(script('1 set a a 0-1 \n 1 get b - 0-1 \n 2 get a a 3-4'), [], true);
      expect(out).toBe('Linearizable: 3 operations\n');
      expect(err.split('\r')).toEqual([
        '',
        'Read 3 operations\u001b[K',
        'Judged 2 of 3 operations\u001b[K',
        'Judged 3 of 3 operations\u001b[K',
        '\u001b[K',
      ]);
      expect((await check(STALE, ['--json'], true)).err).toBe('');
      expect((await check(STALE)).err).toBe('');
    } finally {
      clock.mockRestore();
    }
  });
});
