/** `npm run torture`: see the help text. */
import { machine, print, progress, readArguments } from './report.ts';
import { appendResult, readResults, totals } from './results.ts';
import type { Mode } from './targets.ts';
import { type TortureResult, torture } from './torture-campaign.ts';

const DESCRIPTION = `Hurts a store again and again while clients use it, and ends with a verdict: whether an acknowledged write was
lost, and whether all that clients saw has an order (linearizability). Exit code 1 when not, 130 after Ctrl-C.

  processes  "oxide-kv node" once a node, with a proxy in every link: kill -9 of the leader, of others, of all,
             SIGSTOP and SIGCONT, restarts, partitions, slow and torn connections, and two of these at once
  process    "oxide-kv serve" in a process of its own: kill -9 of the whole cluster
  threads    the cluster of the JS API: threads terminated or frozen

What clients did is written down as JSON lines (src/sim/history.ts has the format), for judges from elsewhere.`;

const STATUS_CHARACTERS_MAX = 200;
/** One Ctrl-C may arrive twice: from the terminal, and from npm. */
const SAME_REQUEST_MS = 300;

const args = readArguments('torture', DESCRIPTION, {
  mode: { help: 'processes, process or threads', value: 'processes' },
  minutes: { help: 'how long; fractions are welcome', value: '10' },
  cycles: { help: 'stop after this many disturbances; 0: when the time is over', value: '0' },
  nodes: { help: 'nodes of the cluster', value: '3' },
  clients: { help: 'clients that read and write, each waiting for its answers', value: '8' },
  seed: { help: 'seed of the disturbances and the clients; processes stay random; 0: any', value: '0' },
  snapshots: { help: 'writes between two snapshots of a node', value: '300' },
  data: { help: 'keep the data, in a new directory in this one; empty: in a temporary one', value: '' },
  history: { help: 'file to keep the history in; empty: kept only when something is wrong', value: '' },
  results: { help: 'file to add the result to, as one JSON line', value: '' },
  totals: { help: 'sum up such a file instead', value: '' },
});

if (args.text('totals') === '') await run();
else
  print(
    Object.fromEntries(totals(readResults(args.text('totals'))).map((sum) => [sum.commit, sum])),
    args.json,
  );

async function run(): Promise<void> {
  const settings = {
    mode: modeOf(args.text('mode')),
    seconds: args.decimal('minutes') * 60,
    cycles: args.number('cycles'),
    nodes: args.number('nodes'),
    clients: args.number('clients'),
    seed: args.number('seed') || 1 + Math.floor(Math.random() * 0xffff_fffe),
    snapshotEntries: args.number('snapshots'),
    dataDir: args.text('data'),
    history: args.text('history'),
  };
  progress(`seed ${settings.seed}`);
  const interrupted = new AbortController();
  let askedMs = Infinity;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Whoever asks twice does not want to wait for the last reads. The nodes die with this process.
      if (performance.now() - askedMs > SAME_REQUEST_MS) process.exit(130);
      askedMs = Math.min(askedMs, performance.now());
      if (interrupted.signal.aborted) return;
      progress('Ending: the last reads, and the verdict. Once more ends at once');
      interrupted.abort();
    });
  }
  const screen = statusLine();
  const result = await torture(settings, screen, interrupted.signal);
  screen.status('');
  const { signal } = interrupted;
  const fields = { verdict: verdictOf(result), settings, interrupted: signal.aborted, ...result };
  if (args.text('results') !== '') appendResult(args.text('results'), 'torture', fields);
  print({ machine: machine(), ...fields }, args.json);
  process.exitCode = result.violations.length > 0 ? 1 : signal.aborted ? 130 : 0;
}

function verdictOf({ violations, undecided, checked, ledgerWrites }: TortureResult): string {
  if (violations.length > 0) return `WRONG: ${violations.length} violations`;
  const doubt = undecided > 0 ? `, ${undecided} groups of keys undecided` : '';
  return `0 of ${ledgerWrites} acknowledged writes lost, ${checked} operations linearizable${doubt}`;
}

/** Lines on standard error, with one below them that changes in place if it is a terminal. */
function statusLine(): { readonly tell: (line: string) => void; readonly status: (line: string) => void } {
  const { stderr } = process;
  if (!stderr.isTTY) return { tell: progress, status: () => undefined };
  let shown = '';
  const show = (): void => {
    const width = Math.min(STATUS_CHARACTERS_MAX, (stderr.columns ?? 80) - 1);
    stderr.write(`\r\u001b[K${shown.slice(0, width)}`);
  };
  return {
    tell: (line) => {
      stderr.write(`\r\u001b[K${line}\n`);
      show();
    },
    status: (line) => {
      shown = line;
      show();
    },
  };
}

function modeOf(text: string): Mode {
  if (text === 'process' || text === 'processes' || text === 'threads') return text;
  progress(`--mode is "${text}", expected processes, process or threads`);
  return process.exit(64);
}
