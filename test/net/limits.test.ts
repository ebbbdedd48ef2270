/** What a client may ask is what a node can read: a frame with one request over a limit would be refused whole. */
import { describe, expect, test } from 'vitest';
import { decodeRequests, encodeRequests } from '../../src/net/codec.ts';
import { limitExceeded } from '../../src/net/limits.ts';
import { LIMITS, type LeaderRequest } from '../../src/net/protocol.ts';

const { keyBytesMax, valueBytesMax, requestBytesMax, scanRowsMax } = LIMITS;
const { addressCharsMax, memberChangesMax, nodeIdMax } = LIMITS;
const bytes = (length: number): Uint8Array => new Uint8Array(length);
const NONE = bytes(0);

function additions(count: number, addressChars: number): LeaderRequest {
  const address = 'x'.repeat(addressChars);
  const changes = Array.from({ length: count }, (_, i) => ({ kind: 'add', node: i + 1, address }) as const);
  return { kind: 'changeMembers', changes };
}

const CASES: readonly {
  readonly name: string;
  readonly request: LeaderRequest;
  readonly says: string | undefined;
}[] = [
  { name: 'get, key at the limit', request: { kind: 'get', key: bytes(keyBytesMax) }, says: undefined },
  {
    name: 'get, key over it',
    request: { kind: 'get', key: bytes(keyBytesMax + 1) },
    says: 'Key has 65537 bytes, the limit is 65536',
  },
  { name: 'delete, key at the limit', request: { kind: 'delete', key: bytes(keyBytesMax) }, says: undefined },
  { name: 'delete, key over it', request: { kind: 'delete', key: bytes(keyBytesMax + 1) }, says: 'Key has' },
  {
    name: 'set at both limits',
    request: { kind: 'set', key: bytes(keyBytesMax), value: bytes(valueBytesMax) },
    says: undefined,
  },
  {
    name: 'set, key over',
    request: { kind: 'set', key: bytes(keyBytesMax + 1), value: NONE },
    says: 'Key has',
  },
  {
    name: 'set, value over',
    request: { kind: 'set', key: NONE, value: bytes(valueBytesMax + 1) },
    says: 'Value has 1048577 bytes, the limit is 1048576',
  },
  {
    name: 'cas of nothing',
    request: { kind: 'cas', key: NONE, expected: undefined, value: NONE },
    says: undefined,
  },
  {
    name: 'cas, expected at the limit of a value',
    request: { kind: 'cas', key: NONE, expected: bytes(valueBytesMax), value: bytes(100) },
    says: undefined,
  },
  {
    name: 'cas, expected over the limit of a value',
    request: { kind: 'cas', key: NONE, expected: bytes(valueBytesMax + 1), value: NONE },
    says: 'Expected value has',
  },
  {
    name: 'cas, whole request at the limit',
    request: {
      kind: 'cas',
      key: bytes(1),
      expected: bytes(requestBytesMax - valueBytesMax - 1),
      value: bytes(valueBytesMax),
    },
    says: undefined,
  },
  {
    name: 'cas, whole request over it',
    request: {
      kind: 'cas',
      key: bytes(1),
      expected: bytes(requestBytesMax - valueBytesMax),
      value: bytes(valueBytesMax),
    },
    says: 'Request has 1572865 bytes, the limit is 1572864',
  },
  { name: 'scan of no row', request: { kind: 'scan', prefix: NONE, limit: 0 }, says: undefined },
  { name: 'scan at the limit', request: { kind: 'scan', prefix: NONE, limit: scanRowsMax }, says: undefined },
  {
    name: 'scan over it',
    request: { kind: 'scan', prefix: NONE, limit: scanRowsMax + 1 },
    says: 'Limit is 10001 rows, from 0 to 10000 are served',
  },
  ...[-1, 1.5, NaN, Infinity].map((limit) => ({
    name: `scan of ${limit} rows`,
    request: { kind: 'scan', prefix: NONE, limit } as const,
    says: 'Limit is',
  })),
  {
    name: 'scan, prefix over',
    request: { kind: 'scan', prefix: bytes(keyBytesMax + 1), limit: 1 },
    says: 'Prefix has',
  },
  { name: 'openSession', request: { kind: 'openSession' }, says: undefined },
  { name: 'transferLeader to anybody', request: { kind: 'transferLeader', to: 0 }, says: undefined },
  {
    name: 'transferLeader at the limit',
    request: { kind: 'transferLeader', to: nodeIdMax },
    says: undefined,
  },
  ...[-1, 1.5, nodeIdMax + 1].map((to) => ({
    name: `transferLeader to ${to}`,
    request: { kind: 'transferLeader', to } as const,
    says: 'Node id is',
  })),
  { name: 'changes at the limits', request: additions(memberChangesMax, addressCharsMax), says: undefined },
  {
    name: 'changes, too many',
    request: additions(memberChangesMax + 1, 0),
    says: 'Request has 31 changes, the limit is 30',
  },
  {
    name: 'changes, address over',
    request: additions(1, addressCharsMax + 1),
    says: 'Address has 257 characters, the limit is 256',
  },
  ...[0, -1, 1.5, nodeIdMax + 1].map((node) => ({
    name: `removal of ${node}`,
    request: { kind: 'changeMembers', changes: [{ kind: 'remove', node }] } as const,
    says: 'Node id is',
  })),
];

describe('limitExceeded', () => {
  test.each(CASES)('$name', ({ request, says }) => {
    const said = limitExceeded(request);
    if (says === undefined) expect(said).toBeUndefined();
    else expect(said).toContain(says);
  });

  test.each(CASES)('$name: a node reads it exactly when it is within the limits', ({ request }) => {
    const isRead = decodeRequests(encodeRequests([{ id: 1, request }])) !== undefined;
    expect(isRead).toBe(limitExceeded(request) === undefined);
  });
});
