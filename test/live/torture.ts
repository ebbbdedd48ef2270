/** `npm run torture`: see the help text. */
import { machine, print, progress, readArguments } from './report.ts';
import type { Mode } from './targets.ts';
import { torture } from './torture-campaign.ts';

const DESCRIPTION = `Kills a store again and again while it is written to, and reads after every restart what was acknowledged.
Exit code 1 when an acknowledged write is lost, a read is stale, or a write is applied twice.

  process    "oxide-kv serve" in a process of its own: kill -9 of the whole cluster
  processes  "oxide-kv node" once a node: kill -9 of some or all, SIGSTOP and SIGCONT
  threads    the cluster of the JS API: threads terminated or frozen`;

const args = readArguments('torture', DESCRIPTION, {
  mode: { help: 'process, processes or threads', value: 'process' },
  seconds: { help: 'how long', value: '60' },
  cycles: { help: 'stop after this many disturbances; 0: when the time is over', value: '0' },
  nodes: { help: 'nodes of the cluster', value: '3' },
  writers: { help: 'writers, each with a client of its own', value: '8' },
  seed: { help: 'seed of the disturbances; what threads and processes do stays random', value: '1' },
  data: { help: 'where to keep the data; empty: a temporary directory', value: '' },
});

const settings = {
  mode: modeOf(args.text('mode')),
  seconds: args.number('seconds'),
  cycles: args.number('cycles'),
  nodes: args.number('nodes'),
  writers: args.number('writers'),
  seed: args.number('seed'),
  dataDir: args.text('data'),
};
const result = await torture(settings, progress);
print({ machine: machine(), settings, ...result, lost: result.violations.length }, args.json);
process.exitCode = result.violations.length === 0 ? 0 : 1;

function modeOf(text: string): Mode {
  if (text === 'process' || text === 'processes' || text === 'threads') return text;
  progress(`--mode is "${text}", expected process, processes or threads`);
  return process.exit(64);
}
