import { MEMBERS_MAX, bootstrapConfig, plainConfig } from '../../src/raft/membership.ts';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { ErrorCode } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import {
  type ReplyItem,
  type RequestItem,
  decodeFrame,
  decodeReplies,
  decodeRequests,
  encodeFrame,
  encodeReplies,
  encodeRequests,
} from '../../src/net/codec.ts';
import { type Field, FrameWriter, TEXT_CHARS_MAX } from '../../src/net/frame.ts';
import type { Envelope, NodeStatus, Reply, Request, SnapshotOutcome } from '../../src/net/protocol.ts';
import { LIMITS } from '../../src/net/protocol.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import type { Message } from '../../src/raft/messages.ts';
import { HOSTILE_BYTES } from '../kv/hostile.ts';
import { illTyped } from './ill-typed.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const NO_BYTES = new Uint8Array(0);
const SESSION = { id: 7, seq: 3, ackedBelow: 0 };
const LARGE_SESSION = { id: MAX, seq: MAX, ackedBelow: MAX };

const REQUESTS: readonly Request[] = [
  { kind: 'openSession' },
  { kind: 'status' },
  { kind: 'compact' },
  { kind: 'transferLeader', to: 0 },
  { kind: 'transferLeader', to: LIMITS.nodeIdMax },
  { kind: 'changeMembers', changes: [] },
  {
    kind: 'changeMembers',
    changes: [
      { kind: 'add', node: 4, address: '127.0.0.1:8004' },
      { kind: 'addLearner', node: LIMITS.nodeIdMax, address: '' },
      { kind: 'addWitness', node: 7, address: 'h:1' },
      { kind: 'promote', node: 5 },
      { kind: 'remove', node: 1 },
    ],
  },
  ...HOSTILE_BYTES.flatMap((key, i): Request[] => {
    const value = HOSTILE_BYTES.at(-1 - i) ?? NO_BYTES;
    return [
      { kind: 'get', key },
      { kind: 'scan', prefix: key, limit: i },
      { kind: 'set', key, value },
      { kind: 'set', key, value, session: SESSION },
      { kind: 'delete', key },
      { kind: 'delete', key, session: LARGE_SESSION },
      { kind: 'cas', key, expected: undefined, value },
      { kind: 'cas', key, expected: value, value: key },
      { kind: 'cas', key, expected: NO_BYTES, value, session: SESSION },
      { kind: 'cas', key, expected: undefined, value: NO_BYTES, session: LARGE_SESSION },
      { kind: 'operation', operation: key },
      { kind: 'operation', operation: value, session: LARGE_SESSION },
      { kind: 'query', query: key },
    ];
  }),
];

const STATUS: NodeStatus = {
  raft: {
    id: 2,
    role: 'leader',
    term: 5,
    vote: 2,
    leader: 2,
    commit: 100,
    applied: 99,
    first: 1,
    last: { index: 101, term: 5 },
    durable: 101,
    deadlineMs: 1234.5,
    peers: [
      { id: 1, mode: 'probe', match: 0, next: 102 },
      { id: 3, mode: 'replicate', match: 101, next: 102 },
      { id: 4, mode: 'snapshot', match: 7, next: 50 },
    ],
    votes: [1, 2],
    config: bootstrapConfig([1, 2, 3]),
    configIndex: 0,
    transferTo: 0,
    leaseUntilMs: 0,
    isQuiesced: false,
  },
  members: [
    { id: 1, standing: 'leaving', address: '127.0.0.1:8001', client: '' },
    { id: 2, standing: 'voter', address: '', client: '127.0.0.1:9002' },
    { id: 3, standing: 'joining', address: '', client: '' },
    { id: 4, standing: 'learner', address: '', client: '' },
    { id: 6, standing: 'witness', address: '', client: '' },
    { id: 5, standing: 'promoting', address: 'x'.repeat(LIMITS.addressCharsMax), client: '' },
  ],
  leader: { id: 2, client: '127.0.0.1:9002' },
  client: '127.0.0.1:9002',
  keys: 10,
  dataBytes: 1_000,
  walBytes: 2 ** 40,
  snapshotIndex: 50,
  storage: 'ok',
  revision: MAX,
  compactedRevision: 7,
  engine: { kind: 'memory', versions: 12, bytes: 2 ** 33 },
};
const TREE: NodeStatus['engine'] = {
  kind: 'lsm',
  memtableBytes: 1,
  memtableBytesMax: 2,
  flushingBytes: 2,
  levels: [{ tables: 3, bytes: 2 ** 40 }],
  cacheBytes: 4,
  cacheHits: 5,
  cacheMisses: 6,
  compacting: undefined,
  compactionsDone: 7,
  compactedBytes: 8,
  flushesDone: 9,
  pressurePercent: 0,
};

const ERROR_CODES: readonly ErrorCode[] = [
  'bad_request',
  'too_large',
  'not_leader',
  'unavailable',
  'overloaded',
  'compare_failed',
  'session_expired',
  'storage_failed',
  'storage_full',
  'closed',
  'unknown',
  'already_member',
  'not_member',
  'cannot_remove_last_server',
  'too_many_members',
  'change_pending',
];

const REPLIES: readonly Reply[] = [
  { kind: 'ok', index: 0 },
  { kind: 'ok', index: MAX, existed: true },
  { kind: 'ok', index: 4_294_967_296, existed: false },
  { kind: 'value', value: undefined },
  ...HOSTILE_BYTES.map((value): Reply => ({ kind: 'value', value })),
  { kind: 'rows', rows: [], more: true },
  { kind: 'rows', rows: HOSTILE_BYTES.map((key) => ({ key, value: key })), more: false },
  { kind: 'session', id: 12 },
  { kind: 'leader', leader: 3 },
  { kind: 'status', status: STATUS },
  {
    kind: 'status',
    status: {
      ...STATUS,
      leader: undefined,
      client: '',
      storage: 'failed',
      raft: { ...STATUS.raft, role: 'preCandidate', leader: 0, deadlineMs: Infinity, peers: [], votes: [] },
    },
  },
  { kind: 'status', status: { ...STATUS, engine: TREE } },
  {
    kind: 'status',
    status: {
      ...STATUS,
      engine: { ...TREE, levels: [], compacting: 'L0 4 + L1 6 → L1', pressurePercent: 40 },
    },
  },
  ...HOSTILE_BYTES.map((result): Reply => ({ kind: 'result', index: 5, result })),
  { kind: 'mismatch', index: 3, actual: undefined },
  { kind: 'mismatch', index: 3, actual: utf8('now') },
  ...ERROR_CODES.map((code): Reply => ({ kind: 'error', code, message: `No: "${code}" 🦀` })),
  { kind: 'error', code: 'not_leader', message: '', leader: { id: 3, client: '127.0.0.1:9003' } },
  { kind: 'error', code: 'not_leader', message: 'x'.repeat(TEXT_CHARS_MAX), leader: { id: 3, client: '' } },
];

const HEADER = { from: 1, to: 2, term: 5 };
const ENTRIES = [
  makeEntry({ term: 4, index: 11, kind: 'noop', payload: NO_BYTES }),
  makeEntry({ term: 5, index: 12, kind: 'command', payload: utf8('payload') }),
  makeEntry({ term: 5, index: 13, kind: 'command', payload: NO_BYTES }),
  makeEntry({ term: 5, index: 14, kind: 'stub', payload: NO_BYTES }),
];
const MESSAGES: readonly Message[] = [
  { ...HEADER, kind: 'vote', pre: true, last: { index: 9, term: 4 } },
  { ...HEADER, kind: 'vote', pre: false, last: { index: 9, term: 4 }, transfer: { term: 4, round: 7 } },
  { ...HEADER, kind: 'heartbeat', commit: 9, round: 4, quiesce: true },
  { ...HEADER, kind: 'timeoutNow', round: 7 },
  {
    ...HEADER,
    kind: 'rebase',
    position: { index: 9, term: 4 },
    config: { ...bootstrapConfig([1, 2, 3], new Map([[3, '127.0.0.1:8003']])), witnesses: [3] },
    round: 7,
  },
  { ...HEADER, kind: 'readRequest', id: 2 ** 52 },
  { ...HEADER, kind: 'readReply', id: 2 ** 52, index: 9 },
  { ...HEADER, kind: 'voteReply', pre: false, granted: true },
  { ...HEADER, kind: 'append', prev: { index: 10, term: 4 }, entries: ENTRIES, commit: 9, round: 3 },
  { ...HEADER, kind: 'append', prev: { index: 0, term: 0 }, entries: [], commit: 0, round: 0 },
  { ...HEADER, kind: 'appendReply', match: MAX, round: 3 },
  { ...HEADER, kind: 'appendReject', rejected: 10, hint: { index: 8, term: 3 }, round: 3 },
  { ...HEADER, kind: 'appendReject', rejected: 10, hint: { index: 8, term: 3 }, round: 3, lost: true },
  { ...HEADER, kind: 'heartbeat', commit: 9, round: 4 },
  { ...HEADER, kind: 'heartbeatReply', round: 4 },
];

const PART: Extract<Envelope, { kind: 'snapshotPart' }> = {
  kind: 'snapshotPart',
  term: 5,
  transfer: 3,
  position: { index: 100, term: 4 },
  engine: 'lsm',
  totalBytes: 262_148,
  crc32: 0xffff_ffff,
  offset: 262_144,
  partCrc32: 7,
  bytes: utf8('tail'),
};
const HELLO: Extract<Envelope, { kind: 'hello' }> = {
  kind: 'hello',
  cluster: 'c',
  founders: [1, 2, 3],
  incarnation: '__proto__',
  since: 40,
  client: '127.0.0.1:9001',
  greeted: false,
  settled: false,
};
const SNAPSHOT_OUTCOMES: readonly SnapshotOutcome[] = [
  'installed',
  'deposed',
  'tooLarge',
  'damaged',
  'unreadable',
];
const ENVELOPES: readonly Envelope[] = [
  ...MESSAGES.map((message): Envelope => ({ kind: 'raft', message })),
  HELLO,
  { ...HELLO, founders: [], since: 0, greeted: true, settled: true },
  { kind: 'refusal', why: 'n2 is on a new data directory', index: MAX },
  { kind: 'refusal', why: '', index: 0 },
  PART,
  { ...PART, offset: PART.totalBytes, partCrc32: 0, bytes: NO_BYTES },
  { ...PART, totalBytes: MAX, offset: 0 },
  {
    kind: 'snapshotAck',
    term: 5,
    transfer: 3,
    offset: 262_148,
    windowBytes: 1_048_576,
    partOffset: 262_144,
    partBytes: 4,
  },
  ...SNAPSHOT_OUTCOMES.map((outcome): Envelope => ({ kind: 'snapshotEnd', term: MAX, transfer: 1, outcome })),
  ...REQUESTS.map((request, id): Envelope => ({ kind: 'forward', id, request })),
  ...REPLIES.map((reply, id): Envelope => ({ kind: 'forwarded', id, reply })),
];

const REQUEST_ITEMS: readonly RequestItem[] = REQUESTS.map((request, id) => ({ id, request }));
const REPLY_ITEMS: readonly ReplyItem[] = REPLIES.map((reply, i) => ({ id: MAX - i, reply }));

function addition(node: number, address: string): Request {
  return { kind: 'changeMembers', changes: [{ kind: 'add', node, address }] };
}

/** A frame of one message with these fields, as a careless or hostile peer would make it. */
function frameOf(kind: number, fields: readonly Field[], parts: readonly Uint8Array[] = []): Uint8Array {
  const writer = new FrameWriter();
  writer.add(fields);
  for (const part of parts) writer.bytes(part);
  return writer.finish(kind);
}

/** The fields of a hello, good unless told otherwise. */
function helloFields(
  odd: {
    readonly client?: string;
    readonly founders?: readonly number[];
    readonly founderCount?: number;
  } = {},
): readonly Field[] {
  const { client = '', founders = [1, 2], founderCount = founders.length } = odd;
  return [8, 'c', founderCount, ...founders, 'i', 0, client, true, true];
}

/** A frame of these MessagePack bytes. */
function rawFrame(kind: number, fields: readonly number[]): Uint8Array {
  return Uint8Array.of(kind, fields.length, 0, 0, 0, ...fields);
}

describe('encodeFrame(), decodeFrame()', () => {
  it('round-trip every envelope, alone and together', () => {
    for (const envelope of ENVELOPES) expect(decodeFrame(encodeFrame([envelope]))).toEqual([envelope]);
    expect(decodeFrame(encodeFrame(ENVELOPES))).toEqual(ENVELOPES);
    expect(decodeFrame(encodeFrame([]))).toEqual([]);
  });

  it('round-trip out of the middle of a larger buffer, and out of a Buffer', () => {
    const frame = encodeFrame(ENVELOPES);
    const whole = new Uint8Array(frame.length + 20).fill(0xee);
    whole.set(frame, 7);
    expect(decodeFrame(whole.subarray(7, 7 + frame.length))).toEqual(ENVELOPES);
    expect(
      decodeFrame(Buffer.from(encodeFrame(MESSAGES.map((message) => ({ kind: 'raft', message }))))),
    ).toHaveLength(MESSAGES.length);
  });

  it('keep NaN out and infinity in', () => {
    const raft = { ...STATUS.raft, deadlineMs: Number.NaN };
    const reply: Reply = { kind: 'status', status: { ...STATUS, raft } };
    expect(decodeFrame(encodeFrame([{ kind: 'forwarded', id: 1, reply }]))).toBeUndefined();
  });
});

describe('encodeRequests(), decodeRequests()', () => {
  it('round-trip every request', () => {
    expect(decodeRequests(encodeRequests(REQUEST_ITEMS))).toEqual(REQUEST_ITEMS);
    for (const item of REQUEST_ITEMS) expect(decodeRequests(encodeRequests([item]))).toEqual([item]);
  });

  it('round-trip the largest key and value', () => {
    const key = new Uint8Array(LIMITS.keyBytesMax).fill(1);
    const value = new Uint8Array(LIMITS.valueBytesMax).fill(2);
    const [item] = decodeRequests(encodeRequests([{ id: 1, request: { kind: 'set', key, value } }])) ?? [];
    const request = item?.request;
    expect(request?.kind === 'set' && Buffer.compare(request.key, key) === 0).toBe(true);
    expect(request?.kind === 'set' && Buffer.compare(request.value, value) === 0).toBe(true);
  });

  it.each<[string, Request]>([
    ['a key', { kind: 'get', key: new Uint8Array(LIMITS.keyBytesMax + 1) }],
    ['a prefix', { kind: 'scan', prefix: new Uint8Array(LIMITS.keyBytesMax + 1), limit: 1 }],
    ['a value', { kind: 'set', key: NO_BYTES, value: new Uint8Array(LIMITS.valueBytesMax + 1) }],
    [
      'a whole request',
      {
        kind: 'cas',
        key: NO_BYTES,
        expected: new Uint8Array(LIMITS.valueBytesMax),
        value: new Uint8Array(LIMITS.requestBytesMax - LIMITS.valueBytesMax + 1),
      },
    ],
    ['a number of rows', { kind: 'scan', prefix: NO_BYTES, limit: LIMITS.scanRowsMax + 1 }],
    ['a fractional number of rows', { kind: 'scan', prefix: NO_BYTES, limit: 1.5 }],
    ['a negative number of rows', { kind: 'scan', prefix: NO_BYTES, limit: -1 }],
    ['a node id', { kind: 'transferLeader', to: LIMITS.nodeIdMax + 1 }],
    ['an address', addition(4, 'x'.repeat(LIMITS.addressCharsMax + 1))],
    ['a node that is changed', addition(LIMITS.nodeIdMax + 1, '')],
    ['node 0 that is changed', addition(0, '')],
    [
      'a number of changes',
      {
        kind: 'changeMembers',
        changes: Array.from({ length: LIMITS.memberChangesMax + 1 }, () => ({ kind: 'remove', node: 1 })),
      },
    ],
    ['session 0', { kind: 'delete', key: NO_BYTES, session: { ...SESSION, id: 0 } }],
    ['seq 0', { kind: 'delete', key: NO_BYTES, session: { ...SESSION, seq: 0 } }],
    ['an unsafe seq', { kind: 'delete', key: NO_BYTES, session: { ...SESSION, seq: 2 ** 53 } }],
  ])('refuse %s over its limit, and the frame with it', (_, request) => {
    const good: RequestItem = { id: 1, request: { kind: 'status' } };
    expect(decodeRequests(encodeRequests([good]))).toEqual([good]);
    expect(decodeRequests(encodeRequests([good, { id: 2, request }]))).toBeUndefined();
  });
});

describe('encodeReplies(), decodeReplies()', () => {
  it('round-trip every reply', () => {
    expect(decodeReplies(encodeReplies(REPLY_ITEMS))).toEqual(REPLY_ITEMS);
    for (const item of REPLY_ITEMS) expect(decodeReplies(encodeReplies([item]))).toEqual([item]);
  });

  it('carry the configuration of the largest cluster with the longest addresses', () => {
    const ids = Array.from({ length: MEMBERS_MAX }, (_, i) => i + 1);
    const addresses = new Map(ids.map((id) => [id, 'x'.repeat(LIMITS.addressCharsMax)]));
    const config = { ...bootstrapConfig(ids), addresses };
    const reply: Reply = { kind: 'status', status: { ...STATUS, raft: { ...STATUS.raft, config } } };
    expect(decodeReplies(encodeReplies([{ id: 1, reply }]))).toEqual([{ id: 1, reply }]);
  });

  it('cut an error message that is too long, so that the reply still arrives', () => {
    const reply: Reply = { kind: 'error', code: 'unknown', message: 'x'.repeat(TEXT_CHARS_MAX + 1) };
    const message = 'x'.repeat(TEXT_CHARS_MAX);
    expect(decodeReplies(encodeReplies([{ id: 1, reply }]))).toEqual([
      { id: 1, reply: { ...reply, message } },
    ]);
  });
});

describe('an encoded frame', () => {
  it('owns exactly its memory', () => {
    for (const frame of [encodeFrame(ENVELOPES), encodeRequests(REQUEST_ITEMS), encodeReplies(REPLY_ITEMS)]) {
      expect(frame.byteOffset).toBe(0);
      expect(frame.buffer.byteLength).toBe(frame.length);
      expect(frame.constructor).toBe(Uint8Array);
    }
  });

  it('is not changed by the next one', () => {
    const frame = encodeRequests(REQUEST_ITEMS);
    const before = Buffer.from(frame).toString('hex');
    encodeReplies(REPLY_ITEMS);
    expect(Buffer.from(frame).toString('hex')).toBe(before);
  });

  it('is refused as a frame of another kind', () => {
    expect(decodeFrame(encodeRequests(REQUEST_ITEMS))).toBeUndefined();
    expect(decodeRequests(encodeReplies(REPLY_ITEMS))).toBeUndefined();
    expect(decodeReplies(encodeFrame(ENVELOPES))).toBeUndefined();
  });

  it('is refused cut short, and with bytes behind it', () => {
    const frame = encodeFrame(ENVELOPES);
    for (let length = 0; length < frame.length; length++) {
      if (decodeFrame(frame.subarray(0, length)) !== undefined) expect.fail(`accepted ${length} bytes`);
    }
    const longer = new Uint8Array(frame.length + 1);
    longer.set(frame);
    expect(decodeFrame(longer)).toBeUndefined();
  });
});

describe('decodeFrame()', () => {
  const KIND = 0x11;

  it.each<[string, readonly Field[], readonly Uint8Array[]]>([
    ['no fields', [], []],
    ['an unknown code', [99, 1, 2, 3], []],
    ['a code that is text', ['6', 1, 2, 5, 9, 4], []],
    ['a field too few', [6, 1, 2, 5, 9], []],
    ['a field too many', [6, 1, 2, 5, 9, 4, 0], []],
    ['a flag that is a number', [2, 1, 2, 5, 0, 1], []],
    ['node 0', [6, 0, 2, 5, 9, 4], []],
    ['a negative term', [6, 1, 2, -5, 9, 4], []],
    ['a fractional term', [6, 1, 2, 5.5, 9, 4], []],
    ['an infinite term', [6, 1, 2, Infinity, 9, 4], []],
    ['bytes that are no entries', [3, 1, 2, 5, 10, 4, 9, 3, 7], [utf8('nothing')]],
    ['entries that do not follow prev', [3, 1, 2, 5, 9, 4, 9, 3, 21], [ENTRIES[0]?.encoded ?? NO_BYTES]],
    ['a length beyond the bytes', [11, 1, 6, 8], [utf8('short')]],
    ['bytes that no field asks for', [11, 1, 6, 4], [utf8('short')]],
    ['an unknown error code', [12, 1, 10, 99, '', 0, ''], []],
    ['a part beyond its snapshot', [9, 5, 3, 100, 4, 1, 4, 0, 1, 0, 4], [utf8('tail')]],
    ['an offer beyond its snapshot', [9, 5, 3, 100, 4, 1, 4, 0, 5, 0, 0], []],
    ['a part of an unknown engine', [9, 5, 3, 100, 4, 3, 4, 0, 0, 0, 4], [utf8('tail')]],
    ['a checksum over 32 bits', [9, 5, 3, 100, 4, 1, 4, 2 ** 32, 0, 0, 4], [utf8('tail')]],
    ['a checksum of a part over 32 bits', [9, 5, 3, 100, 4, 1, 4, 0, 0, 2 ** 32, 4], [utf8('tail')]],
    [
      'a part over its limit',
      [9, 5, 3, 100, 4, 1, 2 ** 30, 0, 0, 0, LIMITS.snapshotPartBytesMax + 1],
      [new Uint8Array(LIMITS.snapshotPartBytesMax + 1)],
    ],
    ['an unknown end of a transfer', [20, 5, 3, 6], []],
    ['text that is too long', helloFields({ client: 'x'.repeat(TEXT_CHARS_MAX + 1) }), []],
    ['founder 0', helloFields({ founders: [1, 0] }), []],
    ['more founders than it names', helloFields({ founderCount: 3 }), []],
    ['more founders than any cluster has', helloFields({ founders: Array(1001).fill(1) }), []],
  ])('refuses %s', (_, fields, parts) => {
    expect(decodeFrame(frameOf(KIND, fields, parts))).toBeUndefined();
  });

  it.each<[string, readonly number[]]>([
    ['nil for a message', [0x91, 0xc0]],
    ['a number for the list', [0x01]],
    ['a map for a message', [0x91, 0x81, 0xa1, 0x61, 0x01]],
    ['an array for a field', [0x91, 0x92, 0x06, 0x90]],
    ['a record definition', [0x91, 0x92, 0x06, 0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01]],
    ['a regular expression', [0x91, 0x91, 0xc7, 0x00, 0x78, 0x92, 0xa1, 0x61, 0xa0]],
    ['a date', [0x91, 0x91, 0xd6, 0xff, 0, 0, 0, 0]],
    ['a big integer', [0x91, 0x91, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['a list of four billion', [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['a message of four billion', [0x91, 0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['a text of 65,535 characters cut short', [0x91, 0x91, 0xda, 0xff, 0xff, 0x61]],
    ['nothing', []],
    ['a second list', [0x90, 0x90]],
  ])('refuses %s in the fields', (_, fields) => {
    expect(decodeFrame(rawFrame(KIND, [0x90]))).toEqual([]);
    expect(decodeFrame(rawFrame(KIND, fields))).toBeUndefined();
  });

  it('takes a part as the ones above, without what is odd', () => {
    expect(decodeFrame(frameOf(KIND, [9, 5, 3, 100, 4, 1, 4, 0, 0, 0, 4], [utf8('tail')]))).toHaveLength(1);
  });

  it('takes a hello as the ones above, without what is odd', () => {
    expect(decodeFrame(frameOf(KIND, helloFields()))).toHaveLength(1);
  });

  it('refuses an unknown role', () => {
    const numbers = [5, 2, 2, 100, 99, 1, 101, 5, 101, 12.5, 0, 0];
    const storage = [1, 2, 3, 4, 1, 5, 6, 1, 7, 8];
    const texts = [false, 0, 0, '', ''];
    const isAccepted = [0, 1, 2, 3, 4, 5].map((role) => {
      const config = utf8(JSON.stringify(plainConfig(bootstrapConfig([1, 2, 3]))));
      const fields = [12, 1, 7, 2, role, ...numbers, config.length, 0, 0, 0, ...texts, ...storage];
      return decodeFrame(frameOf(KIND, fields, [config])) !== undefined;
    });
    expect(isAccepted).toEqual([false, true, true, true, true, false]);
  });

  it('reads minus zero as zero', () => {
    const minusZero = [0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0];
    expect(decodeFrame(rawFrame(KIND, [0x91, 0x94, 20, ...minusZero, 1, 1]))).toEqual([
      { kind: 'snapshotEnd', term: 0, transfer: 1, outcome: 'installed' },
    ]);
  });

  it('gives byte strings as views of the frame', () => {
    const frame = encodeFrame([PART]);
    const [part] = decodeFrame(frame) ?? [];
    expect(part?.kind === 'snapshotPart' && part.bytes.buffer === frame.buffer).toBe(true);
  });
});

describe('every decoder', () => {
  it('refuses, or takes for what can be encoded again, 100,000 mutated and random frames', () => {
    const random = new Random('frame fuzz');
    const codecs = [
      codecOf(ENVELOPES, encodeFrame, decodeFrame),
      codecOf(REQUEST_ITEMS, encodeRequests, decodeRequests),
      codecOf(REPLY_ITEMS, encodeReplies, decodeReplies),
    ];
    let acceptedCount = 0;
    for (let round = 0; round < 100_000; round++) {
      const codec = codecs[round % codecs.length];
      if (codec?.acceptsMutated(random) === true) acceptedCount += 1;
    }
    expect(acceptedCount).toBeGreaterThan(1_000);
    expect(acceptedCount).toBeLessThan(90_000);
  }, 60_000);
});

/**
 * `acceptsMutated` decodes one mutated frame. When it is accepted, encoding and decoding the result again must give the
 * same: so no field can have a type or a value that the encoder would not have written.
 */
function codecOf<T>(
  items: readonly T[],
  encode: (items: readonly T[]) => Uint8Array,
  decode: (bytes: Uint8Array) => readonly T[] | undefined,
): { acceptsMutated(random: Random): boolean } {
  const seeds = items.map((item) => encode([item]));
  seeds.push(encode(items.slice(0, 5)));
  return {
    acceptsMutated(random): boolean {
      const bytes = mutate(random, seeds);
      const decoded = decode(bytes);
      if (decoded === undefined) return false;
      const once = encode(decoded);
      const again = encode(decode(once) ?? []);
      if (Buffer.compare(once, again) !== 0) expect.fail(`not stable: ${Buffer.from(bytes).toString('hex')}`);
      const wrong = illTyped(decoded);
      if (wrong !== undefined) expect.fail(`${wrong}: ${Buffer.from(bytes).toString('hex')}`);
      return true;
    },
  };
}

function mutate(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  if (random.chance(0.1)) {
    const bytes = Uint8Array.from({ length: random.int(0, 60) }, () => random.int(0, 255));
    if (bytes.length > 5 && random.chance(0.9))
      bytes.set([random.int(0x11, 0x13), random.int(0, bytes.length), 0, 0, 0]);
    return bytes;
  }
  const bytes = Uint8Array.from(seeds.at(random.int(0, seeds.length - 1)) ?? []);
  for (let i = random.int(1, 3); i > 0; i--) bytes[random.int(1, bytes.length - 1)] = random.int(0, 255);
  return random.chance(0.1) ? bytes.subarray(0, random.int(0, bytes.length)) : bytes;
}
