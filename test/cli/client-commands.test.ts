/** The client commands against a real door with a store in memory behind it: what they print, and how they end. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/main.ts';
import type { NodeStatus } from '../../src/net/protocol.ts';
import { JsonLinesDoor } from '../../src/server/json-lines.ts';
import { FakeService, STATUS } from '../server/fake-service.ts';
import { fakeContext } from './fake-context.ts';

let service: FakeService;
let door: JsonLinesDoor;
const doors: JsonLinesDoor[] = [];

async function open(behind: FakeService): Promise<JsonLinesDoor> {
  const opened = await JsonLinesDoor.listen({ host: '127.0.0.1', port: 0, service: behind, forward: true });
  doors.push(opened);
  return opened;
}

beforeEach(async () => {
  service = new FakeService();
  door = await open(service);
});

afterEach(async () => {
  await Promise.all(doors.splice(0).map((each) => each.close()));
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function runWords(argv: readonly string[], options: { readonly isTty?: boolean } = {}): Promise<Ended> {
  const env = { OXIDE_KV_ENDPOINT: `127.0.0.1:${door.port}` };
  const context = fakeContext({ env, ...options });
  const code = await run(argv, context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

const HOSTILE = '\u001b]0;owned\u0007\u202e';

describe('get', () => {
  beforeEach(() => {
    service.data.set('k', Buffer.from(HOSTILE));
  });

  test('writes exactly the value to a pipe', async () => {
    expect(await runWords(['get', 'k'])).toEqual({ code: 0, out: HOSTILE, err: '' });
  });

  test('writes a harmless line to a terminal, the value with --raw', async () => {
    const isTty = true;
    expect(await runWords(['get', 'k'], { isTty })).toEqual({
      code: 0,
      out: '␛]0;owned␇⟨U+202E⟩\n',
      err: '',
    });
    expect(await runWords(['get', 'k', '--raw'], { isTty })).toEqual({ code: 0, out: HOSTILE, err: '' });
  });

  test('--json is harmless and parses back', async () => {
    const { out } = await runWords(['get', 'k', '--json'], { isTty: true });
    expect(out).not.toContain('\u001b');
    expect(out).not.toContain('\u202e');
    expect(JSON.parse(out)).toEqual({ found: true, key: 'k', value: HOSTILE });
  });

  test('a key that is not there is named harmlessly', async () => {
    const { code, out, err } = await runWords(['get', '\u001b[2J']);
    expect({ code, out, err }).toEqual({ code: 1, out: '', err: 'Key "␛[2J" not found\n' });
  });
});

test('set, del and cas change the store and say what happened', async () => {
  expect(await runWords(['set', 'a', '1'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^OK, index \d+\n$/),
  });
  expect(JSON.parse((await runWords(['set', 'a', '2', '--json'])).out)).toEqual({
    ok: true,
    index: expect.any(Number),
  });
  expect(await runWords(['cas', 'a', '2', '3'])).toMatchObject({ code: 0, out: 'OK\n' });
  expect(await runWords(['cas', 'a', '4', '--absent'])).toMatchObject({
    code: 1,
    err: 'Not set: key "a" is there already\n',
  });
  expect(await runWords(['cas', 'b', '', '--absent'])).toMatchObject({ code: 0 });
  expect(new Map([...service.data].map(([key, value]) => [key, String.fromCharCode(...value)]))).toEqual(
    new Map([
      ['a', '3'],
      ['b', ''],
    ]),
  );
  expect(await runWords(['del', 'a'])).toMatchObject({ code: 0, out: 'Deleted\n' });
  expect(await runWords(['del', 'a'])).toMatchObject({ code: 1, err: 'Key "a" not found\n' });
});

describe('scan', () => {
  beforeEach(() => {
    for (const key of ['u/1', 'u/2', 'u/3', 'v']) service.data.set(key, Buffer.from(key.toUpperCase()));
  });

  test('prints rows in order and says when there are more', async () => {
    expect(await runWords(['scan', 'u/'])).toEqual({
      code: 0,
      out: 'u/1\tU/1\nu/2\tU/2\nu/3\tU/3\n',
      err: '',
    });
    expect(await runWords(['scan', '--limit', '2', '--keys-only'])).toEqual({
      code: 0,
      out: 'u/1\nu/2\n',
      err: 'Stopped after 2 keys; there are more (--limit)\n',
    });
    expect((await runWords(['scan', '--limit', '4'])).err).toBe('');
  });

  test('--json prints one object a line', async () => {
    service.data.set('\u00ff', Buffer.from([0, 255]));
    const { out } = await runWords(['scan', '--json', '--base64']);
    const rows = out
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(rows).toHaveLength(5);
    expect(rows[0]).toEqual({ key: 'u/1', valueBase64: 'VS8x' });
    expect(rows[4]).toEqual({ keyBase64: '/w==', valueBase64: 'AP8=' });
  });

  test('shows what fits when one row more does not', async () => {
    const limits: number[] = [];
    service.intercept = (request) => {
      if (request.kind !== 'scan') return undefined;
      limits.push(request.limit);
      const rows = ['u/1', 'u/2'].map((key) => ({ key: Buffer.from(key), value: Buffer.from('x') }));
      return { kind: 'rows', rows, more: true };
    };
    expect(await runWords(['scan', '--limit', '2', '--keys-only'])).toMatchObject({
      code: 0,
      out: 'u/1\nu/2\n',
      err: expect.stringContaining('there are more'),
    });
    expect(limits).toEqual([3, 2]);
    expect(await runWords(['scan', '--limit', '5'])).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('a smaller --limit fits'),
    });
  });

  test('hostile rows cannot act on a terminal', async () => {
    service.data.set(HOSTILE, Buffer.from(HOSTILE));
    const { out } = await runWords(['scan'], { isTty: true });
    // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
    expect(out.replaceAll(/[\t\n]/g, '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  });
});

test('a refusal by the store ends with 1 and its code', async () => {
  service.intercept = (request) =>
    request.kind === 'set'
      ? { kind: 'error', code: 'too_large', message: 'Cannot store: shelf \u001b full' }
      : undefined;
  expect(await runWords(['set', 'k', 'v'])).toEqual({
    code: 1,
    out: '',
    err: 'oxide-kv: Cannot store: shelf ␛ full\n',
  });
  expect(JSON.parse((await runWords(['set', 'k', 'v', '--json'])).out)).toEqual({
    ok: false,
    code: 'too_large',
    message: 'Cannot store: shelf \u001b full',
  });
});

async function withStatus(status: NodeStatus): Promise<string> {
  const node = new FakeService();
  node.intercept = (request) => (request.kind === 'status' ? { kind: 'status', status } : undefined);
  return `127.0.0.1:${(await open(node)).port}`;
}

const LEADING: NodeStatus = {
  ...STATUS,
  raft: { ...STATUS.raft, id: 2, role: 'leader', term: 3, leader: 2 },
  leader: undefined,
  walBytes: 3_145_728,
};

/** The role that "status" shows of a leader whose next heartbeat is due at 1050. */
async function shownRole(raft: Partial<NodeStatus['raft']>): Promise<string | undefined> {
  const node = await withStatus({ ...LEADING, raft: { ...LEADING.raft, deadlineMs: 1050, ...raft } });
  return (await runWords(['status', '-e', node])).out.split('\n')[1]?.split(/ {2,}/)[2];
}

describe('status', () => {
  test('follows a node to its leader and shows both', async () => {
    const leader = await withStatus(LEADING);
    const node = await withStatus({
      ...STATUS,
      raft: { ...STATUS.raft, role: 'follower', leader: 2 },
      leader: { id: 2, client: leader },
    });
    const { code, out, err } = await runWords(['status', '-e', node]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/ {2,}/)),
    ).toEqual([
      [
        'NODE',
        'ENDPOINT',
        'ROLE',
        'TERM',
        'LEADER',
        'COMMIT',
        'APPLIED',
        'LAST',
        'WAL',
        'ENGINE',
        'KEYS',
        'REVISION',
      ],
      ['1', node, 'follower', '3', '2', '9', '8', '10', '100 B', 'memory', '4', '7'],
      ['2', leader, 'leader', '3', '2', '9', '8', '10', '3.0 MiB', 'memory', '4', '7'],
    ]);
    const json: unknown = JSON.parse((await runWords(['status', '--json', '-e', node])).out);
    expect(json).toMatchObject({
      leader: 2,
      nodes: [{ endpoint: node }, { endpoint: leader, wal_bytes: 3_145_728 }],
    });
  });

  test('says that a leader has a lease, or hands over', async () => {
    expect(await shownRole({ leaseUntilMs: 1225 })).toBe('leader (lease)');
    // It ends before the followers are asked again.
    expect(await shownRole({ leaseUntilMs: 1040 })).toBe('leader');
    expect(await shownRole({ transferTo: 3 })).toBe('leader (hands over to 3)');
  });

  test('the leader of the highest term is right', async () => {
    const stale = { ...LEADING, raft: { ...LEADING.raft, id: 3, term: 2 } };
    const endpoints = `${await withStatus(stale)},${await withStatus(LEADING)}`;
    expect(JSON.parse((await runWords(['status', '--json', '-e', endpoints])).out)).toMatchObject({
      leader: 2,
    });
  });

  test('without a leader ends with 1', async () => {
    const node = await withStatus({ ...STATUS, leader: undefined, raft: { ...STATUS.raft, leader: 0 } });
    const { code, out, err } = await runWords(['status', '-e', node]);
    expect({ code, err }).toEqual({ code: 1, err: 'No leader among the nodes that answered\n' });
    expect(out).toContain('pre_candidate');
  });

  test('a node that is not there takes its own row', async () => {
    const leader = await withStatus(LEADING);
    await door.close();
    const gone = `127.0.0.1:${door.port}`;
    const { code, out } = await runWords(['status', '-e', `${gone},${leader}`]);
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^\\? +${gone} +connection refused$`, 'm'));
  });
});

describe('member', () => {
  test('list shows everybody, and who leads', async () => {
    const { code, out } = await runWords(['member', 'list']);
    expect(code).toBe(0);
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/ {2,}/)),
    ).toEqual([
      ['NODE', 'STANDING', 'ADDRESS', 'CLIENTS'],
      ['1', 'voter', '127.0.0.1:8001', '127.0.0.1:9001'],
      ['2', 'voter', '127.0.0.1:8002', '127.0.0.1:9002', 'leader'],
      ['3', 'voter', '127.0.0.1:8003', '-'],
    ]);
    expect(JSON.parse((await runWords(['member', 'list', '--json'])).out)).toMatchObject({ leader: 2 });
  });

  test('add, promote and remove say what they did, and ask for it in one request each', async () => {
    expect((await runWords(['member', 'add', '4', '127.0.0.1:8004'])).out).toBe(
      'Node 4 is a member and becomes a voter once it has caught up\n',
    );
    await runWords(['member', 'add', 'n5', '[::1]:8005', '--learner']);
    expect((await runWords(['member', 'add', '6', '127.0.0.1:8006', '--witness'])).out).toBe(
      'Node 6 is a member and becomes a witness once it has caught up\n',
    );
    const both = await runWords(['member', 'add', '7', '127.0.0.1:8007', '--witness', '--learner']);
    expect(both).toMatchObject({ code: 64, err: expect.stringContaining('A witness is no learner') });
    await runWords(['member', 'promote', '5']);
    const removed = await runWords(['member', 'remove', '1', '--json']);
    expect(removed).toEqual({ code: 0, out: '{"ok":true,"index":5}\n', err: '' });
    expect(service.requests).toEqual([
      { kind: 'changeMembers', changes: [{ kind: 'add', node: 4, address: '127.0.0.1:8004' }] },
      { kind: 'changeMembers', changes: [{ kind: 'addLearner', node: 5, address: '[::1]:8005' }] },
      { kind: 'changeMembers', changes: [{ kind: 'addWitness', node: 6, address: '127.0.0.1:8006' }] },
      { kind: 'changeMembers', changes: [{ kind: 'promote', node: 5 }] },
      { kind: 'changeMembers', changes: [{ kind: 'remove', node: 1 }] },
    ]);
  });

  test('a refusal is a sentence, a code and exit code 1', async () => {
    service.intercept = () => ({
      kind: 'error',
      code: 'already_member',
      message: 'Node 4 is a member already',
    });
    const words = ['member', 'add', '4', '127.0.0.1:8004'];
    expect(await runWords(words)).toMatchObject({
      code: 1,
      err: expect.stringContaining('is a member already'),
    });
    expect(JSON.parse((await runWords([...words, '--json'])).out)).toMatchObject({ code: 'already_member' });
  });

  test.each([
    [['member'], 'needs ACTION'],
    [['member', 'grow'], 'There is no action "grow"'],
    [['member', 'add'], '"member add" needs ID'],
    [['member', 'add', '4'], '"member add" needs ADDR'],
    [['member', 'add', '0', 'a:1'], '"0" is not the number of a node'],
    [['member', 'add', '4', 'a'], 'ADDR is "a", expected HOST:PORT'],
    [['member', 'list', '4'], 'Unexpected argument "4"'],
  ])('%j is wrong usage', async (words, message) => {
    const { code, err } = await runWords(words);
    expect(code).toBe(64);
    expect(err).toContain(message);
    expect(service.requests).toEqual([]);
  });
});

test('transfer names the new leader', async () => {
  expect(await runWords(['transfer', '2'])).toEqual({ code: 0, out: 'Node 2 leads\n', err: '' });
  expect((await runWords(['transfer', '--json'])).out).toBe('{"ok":true,"leader":3}\n');
  expect((await runWords(['transfer', 'x'])).code).toBe(64);
});

test('transfer says when it is not known whether the target will take over', async () => {
  const why = 'Node 2 did not take over in time; it may still';
  const message = `The change may or may not have happened: no answer in time: ${why}`;
  service.intercept = () => ({ kind: 'error', code: 'unknown', message: why });
  expect(await runWords(['transfer', '2', '--timeout', '200'])).toEqual({
    code: 1,
    out: '',
    err: `oxide-kv: ${message}\n`,
  });
  expect(JSON.parse((await runWords(['transfer', '2', '--timeout', '200', '--json'])).out)).toEqual({
    ok: false,
    code: 'unknown',
    message,
  });
});

test('snapshot asks every endpoint for itself', async () => {
  const other = await open(new FakeService());
  const endpoints = [`127.0.0.1:${door.port}`, `127.0.0.1:${other.port}`];
  const { code, out } = await runWords(['snapshot', '-e', endpoints.join(',')]);
  expect(code).toBe(0);
  expect(out).toBe(endpoints.map((each) => `${each} holds everything up to 1 in a snapshot\n`).join(''));
});
