import { describe, expect, test } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { Version } from '../../src/storage/version-engine.ts';
import { parseVersion, versionLine } from '../../src/storage/version-lines.ts';
import { shown } from '../support/version-model.ts';

const VERSION: Version = {
  key: 'a',
  revision: 5,
  sub: 2,
  created: 3,
  version: 2,
  lease: 0n,
  value: utf8('x'),
};
const TOMBSTONE: Version = { ...VERSION, created: 0, version: 0, value: new Uint8Array(0) };

describe('versionLine() and parseVersion()', () => {
  test('bring back every version', () => {
    const random = new Random('lines');
    const text = (max: number): string =>
      String.fromCharCode(...Array.from({ length: random.int(0, max) }, () => random.int(0, 255)));
    for (let i = 0; i < 3000; i++) {
      const created = random.int(1, 2 ** 50);
      const written: Version = {
        key: random.chance(0.5) ? text(4) : `key ${i}`,
        revision: created + random.int(0, 2 ** 52),
        sub: random.int(0, 9),
        created,
        version: random.int(1, 2 ** 40),
        lease: random.chance(0.5) ? 0n : BigInt.asIntN(64, BigInt(random.uint32()) << 31n),
        value: random.chance(0.5) ? Buffer.from(text(6), 'latin1') : utf8(text(6)),
      };
      for (const version of [written, { ...written, ...TOMBSTONE, key: written.key }]) {
        const line = versionLine(version);
        const isSame = shown(parseVersion(line, 1)) === shown(version);
        if (!isSame || line.includes('\n')) expect.fail(line);
      }
    }
  });

  test('the ends of all ranges come back', () => {
    for (const lease of [-(2n ** 63n), 2n ** 63n - 1n, 1n]) {
      const version = { ...VERSION, revision: 2 ** 53 - 1, created: 2 ** 53 - 1, lease };
      expect(shown(parseVersion(versionLine(version), 1))).toBe(shown(version));
    }
  });

  test('one form only is read', () => {
    const line = '{"key":"a","value":"x","revision":5,"sub":2,"created":3,"version":2,"lease":"7"}';
    expect(versionLine({ ...VERSION, lease: 7n })).toBe(line);
    const gone = '{"key":"a","deleted":true,"revision":5,"sub":2}';
    expect(versionLine(TOMBSTONE)).toBe(gone);
    const wrong = [
      '',
      'null',
      '[]',
      '"a"',
      '{}',
      `${line} `,
      line.replace(':', ': '),
      line.replace('"x"', '"\\u0078"'),
      line.replace('"x"', '{"base64":"eA=="}'),
      line.replace('"x"', '{"base64":"/w"}'),
      line.replace('"x"', '{"base64":"/w==","more":1}'),
      line.replace('"x"', '"\\ud800"'),
      line.replace('"x"', '7'),
      line.replace('"a"', 'null'),
      line.replace('"a"', '{"base64":"YQ=="}'),
      line.replace(':5', ':5.0'),
      line.replace(':5', ':0'),
      line.replace(':5', ':2'),
      line.replace(':5', ':-5'),
      line.replace(':5', ':9007199254740992'),
      line.replace(':3', ':0'),
      line.replace('"version":2', '"version":0'),
      line.replace('"7"', '7'),
      line.replace('"7"', '"0"'),
      line.replace('"7"', '"-0"'),
      line.replace('"7"', '"07"'),
      line.replace('"7"', '""'),
      line.replace('"7"', '"9223372036854775808"'),
      line.replace('"sub":2,', ''),
      line.replace('"sub":2,', '"sub":2,"sub":2,'),
      line.replace('}', ',"more":1}'),
      gone.replace('true', 'false'),
      gone.replace('"deleted":true,', ''),
      gone.replace('}', ',"lease":"7"}'),
      gone.replace('}', ',"created":0}'),
    ];
    for (const text of wrong) expect(() => parseVersion(text, 8), text).toThrow(CorruptionError);
    expect(() => parseVersion('{}', 8)).toThrow(/^Cannot restore checkpoint: line 8: it is not a version$/);
  });
});
