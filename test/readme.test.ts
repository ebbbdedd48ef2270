/** Runs what README.md shows: code blocks with a mark, as `run`, `door` or `check`, must do what they say. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../src/index.ts';
import { COMMANDS } from '../src/cli/main.ts';
import { LIMITS } from '../src/net/protocol.ts';
import { DOOR_LIMITS } from '../src/server/limits.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const BIN = join(ROOT, 'dist', 'bin', 'oxide-kv.js');

/** A command of a `console` block and the lines it is said to print. */
interface Step {
  readonly command: string;
  readonly output: string;
}

/** The code blocks whose opening line ends in `mark`. */
function blocks(mark: string): readonly string[] {
  const pattern = new RegExp(`^\`\`\`\\w+ ${mark}\\n(.*?)^\`\`\`$`, 'gms');
  return Array.from(README.matchAll(pattern), (match) => match[1] ?? '');
}

function steps(mark: string): readonly Step[] {
  const parts = blocks(mark).join('').split(/^\$ /m).slice(1);
  return parts.map((part) => {
    const [command = '', ...lines] = part.trimEnd().split('\n');
    return { command, output: lines.join('\n') };
  });
}

/** Where a cluster happens to put a write, and who leads it, differs from run to run. */
function anyNumbers(line: string): string {
  return line.replaceAll(/\d+/g, 'N');
}

/** The column heads of a table. */
function headsOf(table = ''): readonly string[] {
  return table.split('\n')[0]?.split(/ +/) ?? [];
}

async function node(words: readonly string[], cwd: string, endpoint = ''): Promise<string> {
  const env = { ...process.env, NODE_ENV: '', OXIDE_KV_ENDPOINT: endpoint };
  const { stdout } = await promisify(execFile)(process.execPath, words, { cwd, env, timeout: 60_000 });
  return stdout;
}

describe('README.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'oxide-kv-readme-'));
  let cluster: Cluster;
  const address = (id: number): string => cluster.node(id).client;

  beforeAll(async () => {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(ROOT, join(folder, 'node_modules', 'oxide-kv'), 'junction');
    symlinkSync(join(ROOT, 'node_modules', 'vitest'), join(folder, 'node_modules', 'vitest'), 'junction');
    cluster = await Cluster.start({ nodes: 3, doors: true });
    await cluster.leader();
  });

  afterAll(async () => {
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test('has blocks of every kind', () => {
    expect(blocks('run')).toHaveLength(3);
    for (const mark of ['vitest', 'door', 'cli', 'status', 'history', 'check'])
      expect(blocks(mark), mark).toHaveLength(1);
    expect(steps('door')).toHaveLength(3);
    expect(steps('cli')).toHaveLength(5);
  });

  test.each(blocks('run').map((code, index) => ({ index, code })))(
    'program $index prints what it says',
    async ({ index, code }) => {
      writeFileSync(join(folder, `program-${index}.mjs`), code);
      const said = Array.from(code.matchAll(/\/\/ prints (.*)$/gm), (match) => match[1]);
      const printed = await node([`program-${index}.mjs`], folder);
      expect(said.length).toBeGreaterThan(0);
      expect(printed.trim().split('\n')).toEqual(said);
    },
  );

  test('the test in it passes', async () => {
    const [code = ''] = blocks('vitest');
    writeFileSync(join(folder, 'cluster.test.mjs'), code);
    const report = join(folder, 'report.json');
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
    await node([vitest, 'run', '--root', folder, '--reporter=json', `--outputFile=${report}`], folder);
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({ numPassedTests: 1, numTotalTests: 1 });
  });

  test.each(steps('door'))('door: $command', async ({ command, output }) => {
    const [, request] = /^echo '(.*)' \| nc -N 127\.0\.0\.1 9001$/.exec(command) ?? [];
    const [host = '', port = ''] = address(1).split(':');
    const socket = connect(Number(port), host);
    socket.end(`${request}\n`);
    expect(anyNumbers(await text(socket))).toBe(`${anyNumbers(output)}\n`);
  });

  test('commands, in their order', async () => {
    for (const { command, output } of steps('cli')) {
      expect(command).toMatch(/^npx oxide-kv /);
      const words = command.split(' ').slice(2);
      // oxlint-disable-next-line no-await-in-loop -- each builds on the one before
      const printed = await node([BIN, ...words], folder, address(2));
      expect(anyNumbers(printed.trimEnd()), command).toBe(anyNumbers(output));
    }
  });

  test('the status table has the columns shown, and a leader', async () => {
    const [step] = steps('status');
    const printed = await node([BIN, 'status', '-e', [1, 2, 3].map(address).join(',')], folder);
    expect(headsOf(printed)).toEqual(headsOf(step?.output));
    expect(printed.match(/ leader /g)).toHaveLength(1);
    expect(printed.match(/ follower /g)).toHaveLength(2);
  });

  test('the history in it is judged as it says', async () => {
    writeFileSync(join(folder, 'history.jsonl'), blocks('history').join(''));
    const [step] = steps('check');
    const words = step?.command.split(' ').slice(2) ?? [];
    const failure: unknown = await node([BIN, ...words], folder).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 1, stdout: `${step?.output}\n` });
  });

  test('names only commands that exist', () => {
    const known = new Set([...COMMANDS.map((row) => row.name), 'help']);
    const shell = Array.from(
      README.matchAll(/^```(?:sh|console[^\n]*)\n(.*?)^```$/gms),
      (match) => match[1],
    ).join('\n');
    const named = Array.from(shell.matchAll(/npx oxide-kv (\w+)/g), (match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  test('tells the limits as they are', () => {
    const { keyBytesMax, valueBytesMax, requestBytesMax, scanRowsMax, scanBytesMax } = LIMITS;
    const { connectionsMax, connectionsPerAddressMax, idleMs } = DOOR_LIMITS;
    const limits = [keyBytesMax / 2 ** 10, valueBytesMax / 2 ** 20, requestBytesMax / 2 ** 20];
    const shown = [
      scanRowsMax.toLocaleString('en'),
      scanBytesMax / 2 ** 20,
      connectionsMax.toLocaleString('en'),
    ];
    const words = README.replaceAll(/\s+/g, ' ');
    expect(words).toContain(
      `Keys up to ${limits[0]} KiB, values up to ${limits[1]} MiB, a request line up to ${limits[2]} MiB`,
    );
    expect(words).toContain(`${shown[0]} rows or ${shown[1]} MiB a scan`);
    expect(words).toContain(
      `${shown[2]} connections a door, ${connectionsPerAddressMax} of them from any one`,
    );
    expect(idleMs).toBe(5 * 60_000);
  });
});
