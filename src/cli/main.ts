/** The command line: finds the command, runs it, and turns its end into words and an exit code. */
import { createRequire } from 'node:module';
import { asksForHelp, readArgs } from './args.ts';
import type { Command, Context } from './command.ts';
import { processContext } from './context.ts';
import { EXIT, explain, UsageError } from './failure.ts';
import { commandHelp, programHelp } from './help.ts';
import { nearest } from './nearest.ts';

/** A line of the table of commands. A command's module is loaded only when it is used, so that `get` stays fast. */
export interface CommandEntry {
  readonly name: string;
  /** For the list of commands, without its period. */
  readonly summary: string;
  load(): Promise<{ readonly command: Command }>;
}

/** Every command. To add one: a file in commands/ and a line here. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'demo',
    summary: 'Run a cluster in a terminal UI and break it',
    load: () => import('./commands/demo.ts'),
  },
  {
    name: 'serve',
    summary: 'Run a whole cluster in this process, for programs',
    load: () => import('./commands/serve.ts'),
  },
  {
    name: 'node',
    summary: 'Run one node of a cluster of several processes or machines',
    load: () => import('./commands/node.ts'),
  },
  { name: 'set', summary: 'Set a key to a value', load: () => import('./commands/set.ts') },
  { name: 'get', summary: 'Print the value of a key', load: () => import('./commands/get.ts') },
  { name: 'del', summary: 'Delete a key', load: () => import('./commands/del.ts') },
  { name: 'scan', summary: 'List the keys with a prefix', load: () => import('./commands/scan.ts') },
  {
    name: 'cas',
    summary: 'Set a key only if it holds an expected value',
    load: () => import('./commands/cas.ts'),
  },
  {
    name: 'member',
    summary: 'Show, add, promote or remove members of the cluster',
    load: () => import('./commands/member.ts'),
  },
  { name: 'transfer', summary: 'Hand leadership over', load: () => import('./commands/transfer.ts') },
  {
    name: 'snapshot',
    summary: 'Have nodes save a snapshot and let their logs go',
    load: () => import('./commands/snapshot.ts'),
  },
  {
    name: 'export',
    summary: 'Write all keys, as they are at one moment, to a file of JSON lines',
    load: () => import('./commands/export.ts'),
  },
  {
    name: 'import',
    summary: 'Set the keys of a file of JSON lines',
    load: () => import('./commands/import.ts'),
  },
  {
    name: 'inspect',
    summary: 'Show what is in a data directory, and whether it is damaged',
    load: () => import('./commands/inspect.ts'),
  },
  {
    name: 'check',
    summary: 'Judge whether a recorded history is linearizable',
    load: () => import('./commands/check.ts'),
  },
  {
    name: 'sim',
    summary: 'Attack simulated clusters and judge what they do',
    load: () => import('./commands/sim.ts'),
  },
  { name: 'status', summary: 'Show the state of every node', load: () => import('./commands/status.ts') },
];

/** What people type who come from other stores. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ['put', 'set'],
  ['read', 'get'],
  ['delete', 'del'],
  ['remove', 'del'],
  ['rm', 'del'],
  ['list', 'scan'],
  ['ls', 'scan'],
  ['server', 'serve'],
  ['start', 'serve'],
  ['up', 'serve'],
  ['join', 'node'],
  ['tui', 'demo'],
  ['members', 'member'],
  ['simulate', 'sim'],
  ['compact', 'snapshot'],
  ['fsck', 'inspect'],
]);

/** Runs the program on the real process and ends it. Never returns normally. */
export async function main(): Promise<void> {
  const context = processContext();
  const exitCode = await run(process.argv.slice(2), context);
  await Promise.all([context.out.flush(), context.err.flush()]);
  process.exit(exitCode);
}

/**
 * Runs one command line. Never throws: every failure becomes a sentence and an exit code.
 *
 * @param argv the words behind the program's name
 */
export async function run(argv: readonly string[], context: Context): Promise<number> {
  const isJson = argv.includes('--json');
  try {
    return await dispatch(argv, context);
  } catch (error) {
    return report(error, isJson, context);
  }
}

async function dispatch(argv: readonly string[], context: Context): Promise<number> {
  const [word, ...rest] = argv;
  if (word === undefined) {
    context.out.write(programHelp(version(), COMMANDS));
    return EXIT.usage;
  }
  if (word === '--version' || word === '-V' || word === 'version') {
    context.out.line(version());
    return EXIT.ok;
  }
  if (word === 'help' || word === '--help' || word === '-h') {
    const topic = rest.find((other) => !other.startsWith('-'));
    if (topic === undefined) context.out.write(programHelp(version(), COMMANDS));
    else context.out.write(commandHelp(await loadCommand(topic)));
    return EXIT.ok;
  }
  if (word.startsWith('-')) {
    throw new UsageError(
      `Unknown option ${word} before the command`,
      'Options go behind it: oxide-kv COMMAND [options]',
    );
  }
  const command = await loadCommand(word);
  if (asksForHelp(rest)) {
    context.out.write(commandHelp(command));
    return EXIT.ok;
  }
  return await command.run(readArgs(command, rest), context);
}

async function loadCommand(name: string): Promise<Command> {
  const entry = COMMANDS.find((row) => row.name === name);
  if (entry !== undefined) return (await entry.load()).command;
  const near =
    SYNONYMS.get(name) ??
    nearest(
      name,
      COMMANDS.map((row) => row.name),
    );
  throw new UsageError(
    `Unknown command "${name}"`,
    near === undefined ? 'See: oxide-kv help' : `Did you mean "${near}"?`,
  );
}

function report(error: unknown, isJson: boolean, context: Context): number {
  const { exitCode, code, message } = explain(error);
  if (isJson && exitCode !== EXIT.usage) context.out.json({ ok: false, code, message });
  else context.err.line(`oxide-kv: ${message}`);
  if (error instanceof UsageError && error.hint !== '') context.err.line(error.hint);
  if (context.env['OXIDE_KV_DEBUG'] === '1' && error instanceof Error) {
    for (const line of (error.stack ?? '').split('\n')) context.err.line(line);
  }
  return exitCode;
}

/** The version in package.json, from the sources as well as from dist/. */
function version(): string {
  const manifest: unknown = createRequire(import.meta.url)('oxide-kv/package.json');
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}
