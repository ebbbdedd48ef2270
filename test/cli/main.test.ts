/** The table of commands, the help, wrong usage and exit codes, as far as they need no cluster. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Args } from '../../src/cli/args.ts';
import { readArgs } from '../../src/cli/args.ts';
import { jsonField, readKey, readValue, shown } from '../../src/cli/data.ts';
import { type NodePlan, readPlan } from '../../src/cli/commands/node.ts';
import { command as node } from '../../src/cli/commands/node.ts';
import { command as set } from '../../src/cli/commands/set.ts';
import { explain, startFailure, UsageError } from '../../src/cli/failure.ts';
import { COMMANDS, run } from '../../src/cli/main.ts';
import { DEFAULT_ENDPOINT, endpointsOf, connectError } from '../../src/cli/store.ts';
import { CorruptionError, OxideError, StorageError } from '../../src/lib/errors.ts';
import { fakeContext } from './fake-context.ts';

async function runLine(line: string): Promise<{ code: number; out: string; err: string }> {
  const context = fakeContext({});
  const code = await run(line === '' ? [] : line.split(' '), context);
  return { code, out: context.outSink.text, err: context.errSink.text };
}

describe('help', () => {
  test('of the program lists every command', async () => {
    for (const line of ['help', '--help', '-h']) {
      const { code, out, err } = await runLine(line);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      for (const { name, summary } of COMMANDS)
        expect(out).toMatch(new RegExp(`^  ${name} +${summary}$`, 'm'));
    }
  });

  test.each(COMMANDS.map(({ name }) => name))('of %s holds every option and an example', async (name) => {
    const entry = COMMANDS.find((row) => row.name === name);
    const command = (await entry?.load())?.command;
    expect(command?.name).toBe(name);
    const { code, out } = await runLine(`help ${name}`);
    expect(code).toBe(0);
    expect(out).toMatch(/^Usage: oxide-kv /);
    for (const option of command?.options ?? []) expect(out).toContain(`--${option.name}`);
    expect(command?.examples.length).toBeGreaterThan(0);
    for (const { line } of command?.examples ?? []) expect(out).toContain(`  ${line}\n`);
    expect(command?.examples.every(({ line }) => line.includes('oxide-kv') || line.includes(' nc '))).toBe(
      true,
    );
    for (const text of out.split('\n')) {
      if (!text.startsWith('  ') || /^ {2,}-|^ {6}/.test(text)) expect(text.length).toBeLessThanOrEqual(96);
    }
    expect(await runLine(`${name} --help`)).toEqual({ code: 0, out, err: '' });
    expect(await runLine(`${name} --bogus -h`)).toEqual({ code: 0, out, err: '' });
  });

  test('examples are commands that their own syntax accepts', async () => {
    for (const entry of COMMANDS) {
      const { command } = await entry.load();
      for (const { line } of command.examples) {
        const words = line.split(/ [|<>] ?/)[0]?.split(' ') ?? [];
        if (words[0] === 'oxide-kv') expect(() => readArgs(command, words.slice(2))).not.toThrow();
      }
    }
  });

  test('short options are used once a command', async () => {
    for (const entry of COMMANDS) {
      const { options } = (await entry.load()).command;
      const names = options.flatMap(({ name, short }) => (short === undefined ? [name] : [name, short]));
      expect(new Set([...names, 'help', 'h']).size).toBe(names.length + 2);
    }
  });
});

describe('run()', () => {
  test('--version prints that of the package', async () => {
    const manifest: unknown = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    const { code, out } = await runLine('--version');
    expect(code).toBe(0);
    expect(manifest).toHaveProperty('version', out.trimEnd());
  });

  test('without a command prints the help and ends with 64', async () => {
    const { code, out } = await runLine('');
    expect(code).toBe(64);
    expect(out).toContain('Commands:');
  });

  test.each([
    ['sevre', 'oxide-kv: Unknown command "sevre"\nDid you mean "serve"?\n'],
    ['put a b', 'oxide-kv: Unknown command "put"\nDid you mean "set"?\n'],
    ['help gte', 'oxide-kv: Unknown command "gte"\nDid you mean "get"?\n'],
    ['xyzzy', 'oxide-kv: Unknown command "xyzzy"\nSee: oxide-kv help\n'],
    ['toString', 'oxide-kv: Unknown command "toString"\nSee: oxide-kv help\n'],
    ['--json get', /^oxide-kv: Unknown option --json before the command\n/],
    ['get', /^oxide-kv: Command "get" needs KEY\nUsage: oxide-kv get KEY/],
    ['set k', /needs VALUE/],
    ['get k --jsn', /Unknown option --jsn for "get"\nDid you mean --json\?/],
    ['get k --timeout 0', /--timeout is "0"/],
    ['get k --endpoint nonsense', /Option --endpoint is "nonsense", expected HOST:PORT/],
    ['get k --endpoint ,', /Option --endpoint is empty/],
    ['get é --base64-key', /KEY is not base64/],
    ['set k a --base64', /VALUE is not base64/],
    ['cas k a', /got 2 arguments, expected 3/],
    ['cas k a b --absent', /got 3 arguments, expected 2/],
    ['cas k - -', /Only one of EXPECTED and VALUE/],
    ['scan --limit 0', /--limit is "0"/],
    ['serve --nodes 10', /--nodes is "10", expected a whole number from 1 to 9/],
    ['serve --events', /--events needs --json/],
    ['serve --host 0.0.0.0', /Refused to listen on 0.0.0.0.*\nAdd --insecure-listen/],
    ['serve --host ::', /Refused to listen on ::/],
    ['serve --client-port 65534', /expected a whole number from 1 to 65533/],
    ['demo --nodes 0', /--nodes is "0"/],
    ['node', /needs --addr HOST:PORT/],
    ['node --addr 10.0.0.1:8001', /Refused to listen on 10.0.0.1/],
    ['node --addr 127.0.0.1:64600', /Give --client-addr/],
    ['node --addr 127.0.0.1:1 --client-addr 127.0.0.1:1', /cannot both use 127.0.0.1:1/],
    ['node --addr 127.0.0.1:1 --heartbeat-ms 200', /too rare/],
  ])('%s is wrong usage', async (line, message) => {
    const { code, out, err } = await runLine(line);
    expect(err).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
    expect({ code, out }).toEqual({ code: 64, out: '' });
  });
});

describe('explain()', () => {
  test.each([
    [new UsageError('x'), 64, 'usage'],
    [new OxideError('too_large', 'x'), 1, 'too_large'],
    [new OxideError('unknown', 'x'), 1, 'unknown'],
    [new CorruptionError('x'), 1, 'corrupt'],
    [new StorageError('x'), 1, 'storage_failed'],
    [new TypeError('x'), 70, 'internal'],
    ['thrown text', 70, 'internal'],
  ])('%s', (error, exitCode, code) => {
    expect(explain(error)).toMatchObject({ exitCode, code });
  });

  test('an unknown outcome is called one, once', () => {
    const message = 'The write may or may not have happened: no answer in time';
    expect(explain(new OxideError('unknown', message)).message).toBe(message);
    expect(explain(new OxideError('unknown', 'leader lost')).message).toBe(
      'Outcome unknown, it may or may not have happened: leader lost',
    );
  });

  test('a failure to start is a failure, a bug at the start stays a bug', () => {
    expect(explain(startFailure(new Error('Cannot open data directory: in use')))).toEqual({
      exitCode: 1,
      code: 'start_failed',
      message: 'Cannot open data directory: in use',
    });
    expect(explain(startFailure(new TypeError('x is not a function'))).exitCode).toBe(70);
    expect(explain(startFailure(new StorageError('disk'))).exitCode).toBe(1);
  });
});

function endpoints(argv: readonly string[], env: Record<string, string> = {}): readonly string[] {
  return endpointsOf(readArgs(set, ['k', 'v', ...argv]), env);
}

describe('endpoints', () => {
  test('come from the option, then the environment, then the default', () => {
    const env = { OXIDE_KV_ENDPOINT: 'a:1, b:2' };
    expect(endpoints([])).toEqual([DEFAULT_ENDPOINT]);
    expect(endpoints([], { OXIDE_KV_ENDPOINT: '' })).toEqual([DEFAULT_ENDPOINT]);
    expect(endpoints([], env)).toEqual(['a:1', 'b:2']);
    expect(endpoints(['-e', 'c:3,d:4', '--endpoint', 'c:3'], env)).toEqual(['c:3', 'd:4']);
    expect(() => endpoints([], { OXIDE_KV_ENDPOINT: 'x' })).toThrow('OXIDE_KV_ENDPOINT is "x"');
  });

  test('a refused connection is told with its remedy, anything else is not', () => {
    const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
    const error = new OxideError('unavailable', 'x', { cause: new AggregateError([refused]) });
    expect(connectError(error, ['127.0.0.1:9001'])?.message).toBe(
      'Cannot reach 127.0.0.1:9001: connection refused. Start one with `oxide-kv serve`',
    );
    expect(connectError(new OxideError('unavailable', 'no leader'), ['a:1'])).toBeUndefined();
  });
});

function args(...argv: string[]): Args {
  return readArgs(set, ['k', 'v', ...argv]);
}

describe('data', () => {
  test('values are text, base64, or standard input exactly as it comes', async () => {
    const bytes = new Uint8Array([0, 255, 10, 1, 2]);
    const context = fakeContext({ stdin: bytes });
    expect(await readValue('é', 'VALUE', args(), context)).toEqual(new Uint8Array([0xc3, 0xa9]));
    expect(await readValue('AP8K', 'VALUE', args('--base64'), context)).toEqual(new Uint8Array([0, 255, 10]));
    expect(await readValue('-', 'VALUE', args(), context)).toEqual(bytes);
    const encoded = fakeContext({ stdin: Buffer.from('AP8K\nAQI=\n') });
    expect(await readValue('-', 'VALUE', args('--base64'), encoded)).toEqual(bytes);
    expect(readKey('AP8=', args('--base64-key'))).toEqual(new Uint8Array([0, 255]));
  });

  test('standard input over the limit is refused', async () => {
    const context = fakeContext({ stdin: new Uint8Array(11) });
    await expect(context.readStdin(10)).rejects.toMatchObject({ code: 'too_large' });
    await expect(context.readStdin(11)).resolves.toHaveLength(11);
  });

  test.each(['a', 'abc', 'ab=c', 'a===', '_-AA', 'AA A'])('"%s" is not base64', async (text) => {
    await expect(readValue(text, 'VALUE', args('--base64'), fakeContext({}))).rejects.toThrow(
      'VALUE is not base64',
    );
  });

  test('a terminal gets harmless text, a pipe the bytes', () => {
    const bytes = Buffer.from('\u001b[31mred');
    expect(shown(bytes, { base64: false, exact: false })).toBe('␛[31mred');
    expect(shown(bytes, { base64: false, exact: true })).toBe(bytes);
    expect(shown(new Uint8Array([0]), { base64: true, exact: true })).toBe('AA==');
  });

  test('JSON says when it had to use base64', () => {
    expect(jsonField('value', Buffer.from('é'), false)).toEqual({ value: 'é' });
    expect(jsonField('value', Buffer.from('é'), true)).toEqual({ valueBase64: 'w6k=' });
    expect(jsonField('key', new Uint8Array([255]), false)).toEqual({ keyBase64: '/w==' });
  });
});

function planOf(line: string): NodePlan {
  return readPlan(readArgs(node, `--addr a:1 --insecure-listen ${line}`.split(' ')));
}

/** The plan of a node on this machine. */
function read(...more: readonly string[]): NodePlan {
  return readPlan(readArgs(node, ['--addr', 'localhost:1', ...more]));
}

describe('node: readPlan()', () => {
  test('derives ids, client address and data directory', () => {
    const line = '--addr 127.0.0.1:8002 --peers 127.0.0.1:8001 127.0.0.1:8003,127.0.0.1:10001';
    const plan = readPlan(readArgs(node, line.split(' ')));
    expect(plan.self).toEqual({ id: 2, addr: '127.0.0.1:8002' });
    expect(plan.peers.map(({ id, addr }) => `${id} ${addr}`)).toEqual([
      '1 127.0.0.1:8001',
      '3 127.0.0.1:8003',
      '4 127.0.0.1:10001',
    ]);
    expect(plan.clientAddr).toBe('127.0.0.1:9002');
    expect(plan.dataDir).toMatch(/[/\\]oxide-kv-node-127\.0\.0\.1-8002$/);
    expect(plan).toMatchObject({ electionMs: 250, heartbeatMs: 50, snapshotEntries: 100_000 });
  });

  test('takes the name of a cluster whose nodes have ids, since addresses need not agree any more', () => {
    expect(planOf('--id 2 --peers b:1 c:1').clusterName).toBeUndefined();
    expect(planOf('--cluster blue-1 --id 2 --peers 1=b:1,3=c:1').clusterName).toBe('blue-1');
    expect(planOf('--cluster blue-1').clusterName).toBe('blue-1');
    expect(() => planOf('--cluster blue-1 --id 2 --peers b:1 c:1')).toThrow('Option --cluster needs ids');
    for (const name of ['a,b', '1=a', '.a', 'x'.repeat(65)]) {
      expect(() => planOf(`--cluster ${name}`)).toThrow(
        `Option --cluster is "${name}", expected 1 to 64 letters`,
      );
    }
  });

  test('reads what a node needs that joins a running cluster', () => {
    const unnamed = planOf('--join --id 4 --peers c:1 b:1 127.0.0.1:1');
    expect(unnamed).toMatchObject({ join: true, self: { id: 4 } });
    // As the founders were numbered, without this one.
    expect(unnamed.peers.map(({ id, addr }) => `${id} ${addr}`)).toEqual(['1 127.0.0.1:1', '2 b:1', '3 c:1']);
    expect(planOf('--join --id 2000 --cluster blue --peers 7=b:1').peers).toEqual([{ id: 7, addr: 'b:1' }]);
    expect(planOf('--peers b:1').join).toBe(false);
    const refusals: readonly (readonly [string, string])[] = [
      ['--join --peers b:1', 'Option --join needs --id'],
      ['--join --id 4', 'Option --join needs --peers'],
      ['--join --id 2 --peers b:1 c:1', 'Option --id is 2, but the 2 peers have the ids from 1 to 2'],
      ['--join --id 2 --peers 1=b:1 2=c:1', 'Id 2 is given twice'],
      ['--join --id 4 --peers b:1 b:1', 'Peer b:1 is given twice'],
      ['--join --id 4 --peers b:1 a:1', 'Option --id is 4, but there are 2 nodes'],
      ['--join --id 4 --cluster blue --peers b:1', 'Option --cluster needs ids'],
    ];
    for (const [line, says] of refusals) expect(() => planOf(line)).toThrow(says);
  });

  test('a short election timeout shortens the heartbeat with it', () => {
    const plan = readPlan(readArgs(node, ['--addr', '[::1]:8001', '--election-ms', '100']));
    expect(plan).toMatchObject({ electionMs: 100, heartbeatMs: 20, clientAddr: '[::1]:9001' });
  });

  test('a founder that was removed joins again, named among those that the cluster began with', () => {
    expect(planOf('--join --id 1 --peers c:1 b:1 a:1')).toMatchObject({
      self: { id: 1, addr: 'a:1' },
      peers: [
        { id: 2, addr: 'b:1' },
        { id: 3, addr: 'c:1' },
      ],
      join: true,
      wasFounder: true,
    });
    expect(planOf('--join --id 4 --peers b:1 c:1 d:1').wasFounder).toBeUndefined();
  });

  test('leases, sleep and priority are off unless asked for, and a lease does not sleep', () => {
    expect(read()).toMatchObject({ leaseReads: false, sleepAfterMs: 0, priority: 10 });
    expect(read('--lease-reads', '--priority', '3')).toMatchObject({ leaseReads: true, priority: 3 });
    expect(read('--sleep-after-ms', '5000')).toMatchObject({ sleepAfterMs: 5000 });
    expect(() => read('--sleep-after-ms', '5000', '--lease-reads')).toThrow('A lease needs heartbeats');
    expect(() => read('--priority', '11')).toThrow('Option --priority is "11"');
  });
});
