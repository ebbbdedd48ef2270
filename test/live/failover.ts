/** `npm run failover`: see the help text. */
import { failover } from './failover-campaign.ts';
import { machine, print, progress, readArguments } from './report.ts';

const DESCRIPTION = `Crashes the leader of a running cluster under load and measures how long a client in the same process waits for
its next acknowledged write. Timeouts are the defaults. The targets, on an idle machine: p50 below 600 ms, p99 below
1500 ms. Exit code 1 when an acknowledged write is lost.`;

const args = readArguments('failover', DESCRIPTION, {
  rounds: { help: 'how many crashes', value: '50' },
  nodes: { help: 'nodes of the cluster', value: '3' },
  inflight: { help: 'writes under way at any time', value: '64' },
  seed: { help: 'seed of the election timeouts and the writers', value: '1' },
});
const settings = {
  rounds: args.number('rounds'),
  nodes: args.number('nodes'),
  inflight: args.number('inflight'),
  seed: args.number('seed'),
  electionMs: 250,
  heartbeatMs: 50,
};
const result = await failover(settings, progress);
print({ machine: machine(), settings, ...result }, args.json);
process.exitCode = result.violations.length === 0 ? 0 : 1;
