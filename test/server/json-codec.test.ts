/** What the door refuses, and in which words; and the parser against the engine's own. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { OxideError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { LIMITS } from '../../src/net/protocol.ts';
import { decodeRequest } from '../../src/server/json-codec.ts';
import { JSON_DEPTH_MAX, JSON_VALUES_MAX, parseJson } from '../../src/server/json-parser.ts';
import type { JsonValue } from '../../src/server/json-parser.ts';

/** What refuses `text`, as "code: message"; undefined when nothing does. */
function refusal(text: string): string | undefined {
  try {
    decodeRequest(utf8(text));
    return undefined;
  } catch (error) {
    if (error instanceof OxideError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

const key = (bytes: number): string => `{"Get":{"key":"${'k'.repeat(bytes)}"}}`;
const prefix = (bytes: number): string => `{"Scan":{"prefix":"${'é'.repeat(bytes / 2)}"}}`;
const setOf = (bytes: number): string => `{"Set":{"key":"","value":"${'v'.repeat(bytes)}"}}`;
const limit = (rows: number): string => `{"Scan":{"prefix":"","limit":${rows}}}`;
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('decodeRequest() refuses', () => {
  test.each([
    ['[]', 'an object with one operation expected'],
    ['7', 'an object with one operation expected'],
    ['null', 'an object with one operation expected'],
    ['{}', 'one operation expected, found 0'],
    ['{"Get":{"key":"a"},"Status":{}}', 'one operation expected, found 2'],
    ['{"Get":"a"}', 'the body of "Get" must be an object'],
    ['{"Status":null}', 'the body of "Status" must be an object'],
    [
      '{"get":{"key":"a"}}',
      'unknown operation "get", known are Set, Get, Delete, Scan, Cas, Query, Operation, OpenSession, Status, AddNode, PromoteNode, RemoveNode, TransferLeader, Compact',
    ],
    ['"Shutdown"', 'unknown operation "Shutdown"'],
    ['{"__proto__":{}}', 'unknown operation "__proto__"'],
    ['{"constructor":{}}', 'unknown operation "constructor"'],
    ['"\\u001b[2J"', 'unknown operation "␛[2J"'],
    [`"${'x'.repeat(100)}"`, `unknown operation "${'x'.repeat(64)}…"`],
    ['{"Get":{}}', 'missing field "key"'],
    ['"Get"', 'missing field "key"'],
    ['{"Set":{"key":"a"}}', 'missing field "value"'],
    ['{"Cas":{"key":"a","value":"1"}}', 'missing field "expected"'],
    ['{"Scan":{}}', 'missing field "prefix"'],
    ['{"Get":{"key":1}}', 'field "key" must be a string'],
    ['{"Get":{"key":null}}', 'field "key" must be a string'],
    ['{"Set":{"key":"a","value":["b"]}}', 'field "value" must be a string'],
    ['{"Cas":{"key":"a","expected":0,"value":"1"}}', 'field "expected" must be a string'],
    ['{"Get":{"key":"a","ttl":1}}', 'unknown field "ttl" in "Get"'],
    ['{"Get":{"key":"a","value":"b"}}', 'unknown field "value" in "Get"'],
    ['{"Get":{"key":"a","__proto__":{}}}', 'unknown field "__proto__" in "Get"'],
    ['{"Status":{"verbose":true}}', 'unknown field "verbose" in "Status"'],
    ['{"Get":{"key":"a","encoding":"hex"}}', 'field "encoding" must be "base64" or left out'],
    ['{"Scan":{"prefix":"a","limit":0}}', 'field "limit" must be an integer from 1 to 2^53 - 1'],
    ['{"Scan":{"prefix":"a","limit":-1}}', 'field "limit" must be an integer'],
    ['{"Scan":{"prefix":"a","limit":1.5}}', 'field "limit" must be an integer'],
    ['{"Scan":{"prefix":"a","limit":"9"}}', 'field "limit" must be an integer'],
    ['{"Scan":{"prefix":"a","limit":null}}', 'field "limit" must be an integer'],
    ['{"Scan":{"prefix":"a","limit":9007199254740993}}', 'field "limit" must be an integer'],
    ['{"Delete":{"key":"a","session":7}}', 'field "session" must be an object'],
    ['{"Delete":{"key":"a","session":{"id":1,"seq":1}}}', 'missing field "acked_below"'],
    [
      '{"Delete":{"key":"a","session":{"id":0,"seq":1,"acked_below":1}}}',
      'field "id" must be an integer from 1',
    ],
    [
      '{"Delete":{"key":"a","session":{"id":1,"seq":1,"acked_below":2}}}',
      'field "acked_below" must not be above "seq"',
    ],
    [
      '{"Delete":{"key":"a","session":{"id":1,"seq":1,"acked_below":1,"x":1}}}',
      'unknown field "x" in "session"',
    ],
    ['{"AddNode":{}}', 'field "server" must be an object with "node_id" and "addr"'],
    ['{"AddNode":{"server":{"addr":"h:1"}}}', 'missing field "node_id"'],
    ['{"AddNode":{"server":{"node_id":"4"}}}', 'field "addr" must be a string'],
    ['{"AddNode":{"server":{"node_id":"4","addr":"h"}}}', 'field "addr" is "h", expected host:port'],
    ['{"AddNode":{"server":{"node_id":"4","addr":"a b:1"}}}', 'field "addr" is "a b:1", expected host:port'],
    ['{"AddNode":{"server":{"node_id":"4","addr":"\\u001b[2J:1"}}}', 'field "addr" is "␛[2J:1"'],
    ['{"AddNode":{"server":{"node_id":"0","addr":"h:1"}}}', 'field "node_id" must be the number of a node'],
    ['{"AddNode":{"server":{"node_id":4.5,"addr":"h:1"}}}', 'field "node_id" must be the number of a node'],
    ['{"AddNode":{"server":{"node_id":"04","addr":"h:1"}}}', 'field "node_id" must be the number of a node'],
    ['{"AddNode":{"server":{"node_id":"9999999999","addr":"h:1"}}}', 'field "node_id" must be the number'],
    ['{"AddNode":{"server":{"node_id":"4","addr":"h:1","x":1}}}', 'unknown field "x" in "server"'],
    [
      '{"AddNode":{"server":{"node_id":"4","addr":"h:1","witness":1}}}',
      'field "witness" must be true or false',
    ],
    [
      '{"AddNode":{"server":{"node_id":4,"addr":"h:1","witness":true},"learner":true}}',
      'a witness is no learner',
    ],
    [
      '{"AddNode":{"server":{"node_id":4,"addr":"h:1"},"learner":1}}',
      'field "learner" must be true or false',
    ],
    ['{"RemoveNode":{}}', 'missing field "node_id"'],
    ['{"PromoteNode":{"node_id":null}}', 'field "node_id" must be the number of a node'],
    ['{"TransferLeader":{"to":2}}', 'unknown field "to" in "TransferLeader"'],
    ['{"Compact":{"index":2}}', 'unknown field "index" in "Compact"'],
    ['{"Get":{"key":"a","session":{"id":1,"seq":1,"acked_below":1}}}', 'unknown field "session" in "Get"'],
  ])('%s', (text, why) => {
    expect(refusal(text)).toContain(`bad_request: Cannot read request: ${why}`);
  });

  test.each([
    ['{"Get":{"key":"a","key":"b"}}', 'duplicate field "key" at position 18'],
    ['{"Get":{"key":"a"},"Get":{"key":"b"}}', 'duplicate field "Get" at position 19'],
    ['{"Get":{"key":"a","\\u006bey":"b"}}', 'duplicate field "key"'],
    ['{"Get":{"key":"\\ud800"}}', 'a lone surrogate in a string at position 14'],
    ['{"Get":{"key":"\\udc00\\ud800"}}', 'a lone surrogate'],
    ['{"Get":{"key":"a\u0001"}}', 'a control character in a string'],
    ['{"Get":{"key":"\\x"}}', 'a control character or an invalid escape in a string'],
    ['{"Get":{"key":"a}}', 'a string without its closing quote at position 14'],
    ['{"Get":{"key":"a\\"}}', 'a string without its closing quote'],
    ['{"Get":{"key":"a"}', '"," or "}" expected at position 18'],
    ['{"Get":{"key":"a"}}x', 'text after the end of the value at position 19'],
    ['{"Get":{"key":"a"}}{"Get":{"key":"b"}}', 'text after the end of the value'],
    ['{"Get":{"key":"a",}}', 'a string expected'],
    ['{"Get":{key:"a"}}', 'a string expected'],
    ['{"Get" {"key":"a"}}', '":" expected'],
    ["{'Get':{}}", 'a string expected'],
    ['{"Get":', 'the end of the text'],
    ['{"Get":tru}', 'a JSON value expected'],
    ['{"Get":NaN}', 'a JSON value expected'],
    ['{"Get":[1,]}', 'a JSON value expected'],
    ['{"Get":[1 2]}', '"," or "]" expected'],
    ['{"Get":1e999}', 'a number out of range'],
    [`{"Get":${'9'.repeat(1000)}}`, 'a number out of range'],
    [`{"Get":${nested(JSON_DEPTH_MAX)}}`, 'nested deeper than 32'],
    [`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, 'nested deeper than 32'],
    [nested(500_000), 'nested deeper than 32'],
    [`[${'1,'.repeat(JSON_VALUES_MAX)}1]`, 'more than 1024 values'],
  ])('%.80s', (text, why) => {
    expect(refusal(text)).toContain('bad_request: Cannot parse JSON: ');
    expect(refusal(text)).toContain(why);
  });

  test('a key, prefix, value or row count one over its limit, and nothing at the limit', () => {
    const { keyBytesMax, valueBytesMax, scanRowsMax } = LIMITS;
    expect(refusal(key(keyBytesMax))).toBeUndefined();
    expect(refusal(prefix(keyBytesMax))).toBeUndefined();
    expect(refusal(setOf(valueBytesMax))).toBeUndefined();
    expect(refusal(limit(scanRowsMax))).toBeUndefined();
    expect(refusal(key(keyBytesMax + 1))).toBe(
      'too_large: Cannot accept request: key is 65537, keyBytesMax is 65536',
    );
    expect(refusal(prefix(keyBytesMax + 2))).toContain('too_large: Cannot accept request: prefix is 65538');
    expect(refusal(setOf(valueBytesMax + 1))).toContain('value is 1048577, valueBytesMax is 1048576');
    expect(refusal(limit(scanRowsMax + 1))).toContain('limit is 10001, scanRowsMax is 10000');
  });

  test('invalid UTF-8 at every position of a request', () => {
    const line = utf8('{"Set":{"key":"é","value":"😀"}}');
    const accepted: number[] = [];
    for (let i = 0; i < line.length; i++) {
      for (const bad of [0xff, 0xc0, 0x80, 0xed]) {
        const broken = line.slice();
        if (broken[i] === bad) continue;
        broken[i] = bad;
        try {
          decodeRequest(broken);
          accepted.push(i);
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad_request' });
        }
      }
    }
    // The changes that leave valid UTF-8: 0x80 as the second byte of é (À) and as the third of 😀 (U+1F000).
    expect(accepted).toEqual([16, 30]);
  });
});

describe('parseJson()', () => {
  test('agrees with JSON.parse on random texts, whole and damaged', () => {
    const random = new Random(20_260_101);
    let acceptedCount = 0;
    for (let round = 0; round < 4_000; round++) {
      let text = JSON.stringify(randomValue(random, 0));
      if (random.chance(0.5)) text = damage(text, random);
      const ours = attempt(() => plain(parseJson(text)));
      const theirs = attempt(() => JSON.parse(text) as unknown);
      if (theirs === undefined) expect(ours, text).toBeUndefined();
      // Stricter only where it says so: duplicates, surrogates, ranges, sizes.
      else if (ours !== undefined) expect(ours.value, text).toEqual(theirs.value);
      if (ours !== undefined) acceptedCount += 1;
    }
    expect(acceptedCount).toBeGreaterThan(2_000);
  });

  test('is linear in backslashes and quotes', () => {
    const started = performance.now();
    for (const text of [
      `"${'\\\\'.repeat(700_000)}"`,
      `"${'\\"'.repeat(700_000)}"`,
      `"${'\\'.repeat(1_400_001)}"`,
    ]) {
      attempt(() => parseJson(text));
    }
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

function attempt<T>(run: () => T): { readonly value: T } | undefined {
  try {
    return { value: run() };
  } catch (error) {
    if (error instanceof OxideError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function plain(value: JsonValue): unknown {
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([name, member]: [string, JsonValue]) => [name, plain(member)]));
  }
  return Array.isArray(value) ? value.map(plain) : value;
}

function randomValue(random: Random, depth: number): unknown {
  const kind = random.int(0, depth > 4 ? 3 : 5);
  if (kind === 0) return random.int(-1000, 1000) / random.int(1, 8);
  if (kind === 1) return [true, false, null][random.int(0, 2)];
  if (kind <= 3) return randomText(random);
  const size = random.int(0, 4);
  if (kind === 4) return Array.from({ length: size }, () => randomValue(random, depth + 1));
  return Object.fromEntries(
    Array.from({ length: size }, () => [randomText(random), randomValue(random, depth + 1)]),
  );
}

function randomText(random: Random): string {
  const alphabet = ['a', '"', '\\', '\n', '\u0000', 'é', '😀', '\u2028', '{', ':', '__proto__', '/'];
  return Array.from({ length: random.int(0, 6) }, () => alphabet[random.int(0, alphabet.length - 1)]).join(
    '',
  );
}

function damage(text: string, random: Random): string {
  const from = random.int(0, text.length);
  const insert = ['', '"', ',', '}', '\\', '\u0007', '0', 'e', ' '][random.int(0, 8)] ?? '';
  return text.slice(0, from) + insert + text.slice(from + random.int(0, 2));
}

describe('decodeRequest() reads changes of the cluster', () => {
  test.each([
    [
      '{"AddNode":{"server":{"node_id":"4","addr":"127.0.0.1:8004"}}}',
      { kind: 'changeMembers', changes: [{ kind: 'add', node: 4, address: '127.0.0.1:8004' }] },
    ],
    [
      '{"AddNode":{"server":{"node_id":4,"addr":"[::1]:8004"},"learner":true}}',
      { kind: 'changeMembers', changes: [{ kind: 'addLearner', node: 4, address: '[::1]:8004' }] },
    ],
    [
      '{"AddNode":{"server":{"node_id":"4","addr":"127.0.0.1:8004","witness":true}}}',
      { kind: 'changeMembers', changes: [{ kind: 'addWitness', node: 4, address: '127.0.0.1:8004' }] },
    ],
    ['{"PromoteNode":{"node_id":"4"}}', { kind: 'changeMembers', changes: [{ kind: 'promote', node: 4 }] }],
    ['{"RemoveNode":{"node_id":4}}', { kind: 'changeMembers', changes: [{ kind: 'remove', node: 4 }] }],
    ['{"TransferLeader":{"node_id":"2"}}', { kind: 'transferLeader', to: 2 }],
    ['"TransferLeader"', { kind: 'transferLeader', to: 0 }],
    ['"Compact"', { kind: 'compact' }],
  ])('%s', (line, request) => {
    expect(decodeRequest(utf8(line)).request).toEqual(request);
  });
});
