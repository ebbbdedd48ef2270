/** `oxide-kv demo`: a cluster in a terminal UI, or as plain lines where there is no terminal. */
import { resolve } from 'node:path';
import type { ClusterHandle, ClusterOptions } from '../../cluster/api.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { ENGINE_OPTION, engineOf } from '../engine-option.ts';
import { EXIT, startFailure } from '../failure.ts';

/** Ends with `q`, Ctrl-C or a signal; stops the cluster and removes its data unless `--data` was given. */
export const command: Command = {
  name: 'demo',
  positionals: [],
  description: [
    'Runs a cluster of real nodes, each a thread with its own disk directory, and shows it in a terminal UI: crash, freeze, cut off, partition and repair nodes, add, remove and replace them, write keys, and watch what Raft does and why. Press ? for the keys and q to quit.',
    'Every node has a port for clients too (9001 and up), so that "oxide-kv set", "get" and "nc" work from another terminal. The data is temporary unless --data DIR is given.',
    'Without a terminal, or with --plain, each event is one line; Ctrl-C ends it.',
  ],
  options: [
    { name: 'nodes', short: 'n', value: 'N', help: 'Number of nodes, 1 to 9 (default 5)' },
    { name: 'data', short: 'd', value: 'DIR', help: 'Keep the data in DIR (default: temporary)' },
    ENGINE_OPTION,
    {
      name: 'seed',
      value: 'N',
      help: 'Seed of election timeouts and lossy links (default: drawn at random)',
    },
    { name: 'client-port', value: 'PORT', help: 'Port of the first node; the others follow (default 9001)' },
    { name: 'plain', help: 'Print one line for each event instead of the terminal UI' },
    { name: 'json', help: 'Print one JSON object for each event; implies --plain' },
    { name: 'ascii', help: 'Draw with ASCII characters only' },
  ],
  examples: [
    { line: 'oxide-kv demo', why: 'Five nodes in the terminal' },
    { line: 'oxide-kv demo --nodes 3 --seed 7', why: 'Three nodes with chosen election timeouts' },
    { line: 'oxide-kv demo --plain', why: 'The same as lines, for a log or a screen reader' },
  ],
  async run(args, context) {
    const nodes = args.integer('nodes', { min: 1, max: 9 }, 5);
    const options = readOptions(args, nodes);
    const reason = plainReason(args, context);
    if (reason === undefined)
      return await runInTerminal(options, { nodes, ascii: args.has('ascii') }, context);
    if (reason !== '') context.err.line(reason);
    return await runAsLines(options, args.has('json'), context);
  },
};

function readOptions(args: Args, nodes: number): ClusterOptions {
  const basePort = args.integer('client-port', { min: 1, max: 65_536 - nodes }, 9001);
  const seed = args.integer('seed', { min: 0, max: 0xffff_ffff }, undefined);
  const data = args.text('data');
  return {
    nodes,
    doors: { basePort },
    ...engineOf(args),
    ...(seed === undefined ? {} : { seed }),
    ...(data === undefined ? {} : { dataDir: resolve(data) }),
  };
}

/** Why the demo prints lines: undefined when it does not, empty when it was asked to. */
function plainReason(args: Args, { out, env, stdinIsTty }: Context): string | undefined {
  if (args.has('plain') || args.has('json')) return '';
  if (!out.isTty) return 'Standard output is not a terminal: printing plain lines instead of the terminal UI';
  if (!stdinIsTty) {
    return 'This window gives programs no keyboard: printing plain lines (use Windows Terminal, PowerShell or winpty)';
  }
  if (env['TERM'] === 'dumb') return 'TERM is "dumb": printing plain lines instead of the terminal UI';
  return undefined;
}

async function runInTerminal(
  options: ClusterOptions,
  look: { readonly nodes: number; readonly ascii: boolean },
  context: Context,
): Promise<number> {
  // First the screen, which is small: it shows something while the cluster starts.
  const { runTui } = await import('../../tui/launch.ts');
  const cluster = startCluster(options);
  try {
    await runTui({ cluster, ...look });
    // A signal that ended the UI has set it.
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.ok;
  } catch (error) {
    throw startFailure(error);
  } finally {
    // The UI has given the signals back: a second one must not end the process before the data is gone.
    const signal = context.watchSignals();
    await cluster.then(
      (started) => started.stop(),
      // Why it did not start was thrown above: the screen waits for it too.
      () => undefined,
    );
    signal.release();
  }
}

async function runAsLines(options: ClusterOptions, json: boolean, context: Context): Promise<number> {
  const signal = context.watchSignals();
  try {
    const cluster = await startCluster(options).catch((error: unknown) => {
      throw startFailure(error);
    });
    try {
      const { runPlain } = await import('../../tui/plain.ts');
      runPlain(cluster, { json, out: context.out });
      // Nobody reads any more (`| head`): a demo that nobody sees ends.
      await Promise.race([signal.stopped, context.out.closed]);
      return EXIT.ok;
    } finally {
      await cluster.stop();
    }
  } finally {
    signal.release();
  }
}

async function startCluster(options: ClusterOptions): Promise<ClusterHandle> {
  const { Cluster } = await import('../../cluster/cluster.ts');
  return await Cluster.start(options);
}
