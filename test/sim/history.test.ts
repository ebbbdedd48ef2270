/** Histories as JSON lines: what is written is read again, and nothing but a HistoryError comes of anything else. */
import { describe, expect, test } from 'vitest';
import { at } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import {
  formatHistory,
  formatOperation,
  HISTORY_LIMITS,
  HistoryClock,
  HistoryError,
  HistoryReader,
  parseHistory,
} from '../../src/sim/history.ts';
import { type Shape, correctHistory, script } from './history-script.ts';

const SHAPE: Shape = {
  operations: 60,
  processes: 5,
  keys: 3,
  values: 0,
  share: { set: 0.3, delete: 0.1, cas: 0.2, txn: 0.3, unknown: 0.1, fail: 0.1 },
};

function read(text: string): ReturnType<typeof parseHistory> {
  return parseHistory(utf8(text));
}

describe('formatOperation() and parseHistory()', () => {
  test.each([
    [
      '1 set k v 10-25',
      '{"process":1,"op":"set","key":"k","value":"v","start":"10","end":"25","outcome":"ok"}',
    ],
    [
      '2 get k - 11-19',
      '{"process":2,"op":"get","key":"k","value":null,"start":"11","end":"19","outcome":"ok"}',
    ],
    [
      '3 cas k v w done 30-41',
      '{"process":3,"op":"cas","key":"k","value":"w","expected":"v","swapped":true,"start":"30","end":"41","outcome":"ok"}',
    ],
    [
      '1 delete k there 50-62',
      '{"process":1,"op":"delete","key":"k","existed":true,"start":"50","end":"62","outcome":"ok"}',
    ],
    ['1 delete k 50-62', '{"process":1,"op":"delete","key":"k","start":"50","end":"62","outcome":"ok"}'],
    ['1 set k v 10-?', '{"process":1,"op":"set","key":"k","value":"v","start":"10","outcome":"unknown"}'],
    [
      '1 cas k - w 1-2!',
      '{"process":1,"op":"cas","key":"k","value":"w","expected":null,"start":"1","end":"2","outcome":"fail"}',
    ],
    [
      '5 get a 1 & set b 2 8-9',
      '{"process":5,"op":"txn","ops":[{"op":"get","key":"a","value":"1"},{"op":"set","key":"b","value":"2"}],"start":"8","end":"9","outcome":"ok"}',
    ],
  ])('%s', (text, line) => {
    const operation = at(script(text), 0);
    expect(formatOperation(operation)).toBe(line);
    expect(read(line)).toEqual([operation]);
  });

  test('agree on random histories, in pieces of any size', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = new Random(seed);
      const history = correctHistory(random, SHAPE);
      const bytes = utf8(formatHistory(history));
      const told = parseHistory(bytes);
      expect(formatHistory(told)).toBe(formatHistory(history));
      const reader = new HistoryReader();
      for (let from = 0; from < bytes.length;) {
        const size = random.int(1, 200);
        reader.push(bytes.slice(from, from + size));
        from += size;
      }
      expect(formatHistory(reader.finish()), `seed ${seed}`).toBe(formatHistory(told));
      expect(reader.count).toBe(history.length);
    }
  });

  test('keep times that no double holds', () => {
    expect(read(readLine('"1732300000000000001"', '"1732300000000000002"'))).toMatchObject([
      { start: 1_732_300_000_000_000_001n, end: 1_732_300_000_000_000_002n },
    ]);
    expect(read(readLine('-5', '7'))).toMatchObject([{ start: -5n, end: 7n }]);
    expect(() => read(readLine('1732300000000000001', '1732300000000000002'))).toThrow(/start is 173/);
  });

  test('take what others write: needless fields, carriage returns, empty lines, no last line end', () => {
    const text =
      '\n{"outcome":"ok","op":"get","key":"k","value":"v","expected":null,"swapped":false,"existed":false,"ops":[],"node":"n1","start":"1","end":"2","process":0}\r\n\r\n' +
      '{"process":0,"op":"set","key":"k","value":"v","start":"1","end":null,"outcome":"unknown"}';
    expect(read(text)).toEqual(script('0 get k v 1-2 \n 0 set k v 1-?'));
  });

  test('hold any key and value', () => {
    const names = ['__proto__', 'constructor', '', '\u001b[31m', '\u{1f600}', '"\\\n\t\u2028'];
    for (const name of names) {
      const action = { kind: 'cas', key: name, expected: name, value: name, swapped: true } as const;
      const operation = { process: 0, action, start: 1n, end: 2n, outcome: 'ok' } as const;
      expect(formatOperation(operation)).not.toContain('\n');
      expect(read(formatOperation(operation))).toEqual([operation]);
    }
  });
});

function readLine(start: string, end: string): string {
  return `{"process":0,"op":"get","key":"k","value":null,"start":${start},"end":${end},"outcome":"ok"}`;
}

describe('parseHistory() refuses', () => {
  const good = '{"process":1,"op":"set","key":"k","value":"v","start":"10","end":"25","outcome":"ok"}';

  test.each([
    ['{', 'it is not JSON'],
    ['[]', 'an object expected'],
    ['null', 'an object expected'],
    [good.replace('"ok"', '"okay"'), 'outcome is "okay", expected "ok", "fail" or "unknown"'],
    [good.replace(',"outcome":"ok"', ''), 'outcome is missing, expected "ok", "fail" or "unknown"'],
    [good.replace('1,', '1.5,'), 'process is 1.5, expected a whole number'],
    [good.replace('"set"', '"put"'), 'op is "put", expected "get", "set", "delete", "cas" or "txn"'],
    [good.replace('"set"', '"cas"'), 'swapped is missing, expected true or false'],
    [good.replace('"key":"k",', ''), 'key is missing, expected text'],
    [good.replace('"k"', '{}'), 'key is an object, expected text'],
    [good.replace('"v"', 'null'), 'value is null, expected text'],
    [good.replace('"10"', '"1e3"'), 'start is "1e3", expected nanoseconds as a string of digits'],
    [good.replace('"25"', '"9"'), 'end is 9, before start 10'],
    [good.replace(',"end":"25"', ''), 'end is missing, expected nanoseconds as a string of digits'],
    [good.replace('"set"', '"txn"'), 'ops is missing, expected a list'],
    [
      good.replace('"set"', '"txn","ops":[{"op":"txn","ops":[]}]'),
      'op in ops is "txn", expected "get", "set", "delete", "cas" or "txn"',
    ],
    [good.replace('"v"', `"v","op":"${'x'.repeat(500)}"`), `op is "${'x'.repeat(40)}…", expected`],
    ['{"__proto__":{"outcome":"ok","process":1}}', 'outcome is missing'],
  ])('%s', (line, reason) => {
    const error = thrownBy(() => read(`${good}\n\n${line}\n${good}`));
    expect(error).toBeInstanceOf(HistoryError);
    expect(error).toMatchObject({ line: 3 });
    expect(String(error)).toContain(`HistoryError: Cannot read history: line 3: ${reason}`);
  });

  test('bytes that are not UTF-8', () => {
    expect(() => parseHistory(Uint8Array.of(0x0a, 0xff, 0x0a))).toThrow('line 2: it is not UTF-8');
  });

  test.each([
    ['a line that is too long, before it is held', 84, 1000, 100, 'longer than 84 bytes'],
    ['more operations than it takes', 85, 1000, 2, 'more than 2 operations'],
    ['more bytes than it takes', 85, 200, 100, 'more than 200 bytes in all'],
  ])('%s', (_, lineBytesMax, bytesMax, operationsMax, reason) => {
    const reader = new HistoryReader({ ...HISTORY_LIMITS, lineBytesMax, bytesMax, operationsMax });
    const short = utf8(`${good.replace('"key":"k"', '"key":""')}\n`);
    expect([good.length, short.length]).toEqual([85, 85]);
    reader.push(short);
    reader.push(short);
    const error = thrownBy(() => {
      reader.push(utf8(good));
      reader.finish();
    });
    expect(error).toMatchObject({ line: 3, message: `Cannot read history: line 3: ${reason}` });
  });

  test('more steps than it takes', () => {
    const list = Array.from({ length: 50 }, () => '{"op":"get","key":"k","value":null}').join();
    const line = utf8(`{"process":1,"op":"txn","ops":[${list}],"start":"1","end":"2","outcome":"ok"}\n`);
    const reader = new HistoryReader({ ...HISTORY_LIMITS, stepsMax: 100 });
    reader.push(line);
    reader.push(line);
    expect(() => reader.push(line)).toThrow('line 3: more than 100 steps of transactions in all');
  });
});

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

test('parseHistory() throws nothing but a HistoryError, whatever it is given', () => {
  const seeds = utf8(formatHistory(correctHistory(new Random('fuzz'), { ...SHAPE, operations: 6 })));
  const pieces = [
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    'null',
    'true',
    '1e999',
    '-',
    '\\u0000',
    '"op":',
    '\n',
    '9',
  ];
  let refused = 0;
  for (let seed = 1; seed <= 30_000; seed++) {
    const random = new Random(seed);
    const bytes = Uint8Array.from(seeds);
    for (let i = random.int(1, 4); i > 0; i--) {
      const place = random.int(0, bytes.length - 1);
      if (random.chance(0.5)) bytes[place] = random.int(0, 255);
      else
        bytes.set(
          utf8(at(pieces, random.int(0, pieces.length - 1))).subarray(0, bytes.length - place),
          place,
        );
    }
    const error = thrownBy(() => parseHistory(bytes.subarray(0, random.int(0, bytes.length))));
    if (error !== undefined && !(error instanceof HistoryError))
      throw new Error(`seed ${seed}`, { cause: error });
    if (error !== undefined) refused += 1;
  }
  expect(refused).toBeGreaterThan(10_000);
  expect(refused).toBeLessThan(30_000);
});

test('HistoryClock keeps the order of events that a clock in milliseconds does not tell apart', () => {
  const clock = new HistoryClock();
  const times = [0, 0, 1.5, 1.5, 1.500_000_1, 1.5, 2, 1e9 + 0.1].map((ms) => clock.stamp(ms));
  expect(times).toEqual([
    0n,
    1n,
    1_500_000n,
    1_500_001n,
    1_500_002n,
    1_500_003n,
    2_000_000n,
    1_000_000_000_100_000n,
  ]);
});
