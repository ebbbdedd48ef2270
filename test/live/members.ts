/** `npm run members`: see the help text. */
import { members } from './members-campaign.ts';
import { machine, print, progress, readArguments } from './report.ts';

const DESCRIPTION = `Grows a running cluster of threads by two nodes under load, shrinks it again, replaces every node and hands
leadership around, and takes the longest time without an acknowledged write around each change. The target, on an idle
machine: below the election timeout of 250 ms. Exit code 1 when an acknowledged write is lost.`;

const args = readArguments('members', DESCRIPTION, {
  rounds: { help: 'how often the whole programme runs', value: '3' },
  nodes: { help: 'nodes of the cluster', value: '3' },
  inflight: { help: 'writes under way at any time', value: '64' },
  snapshot: { help: 'entries between two snapshots of a node', value: '5000' },
  seed: { help: 'seed of the election timeouts and the writers', value: '1' },
});
const settings = {
  rounds: args.number('rounds'),
  nodes: args.number('nodes'),
  inflight: args.number('inflight'),
  snapshotEntries: args.number('snapshot'),
  seed: args.number('seed'),
};
const result = await members(settings, progress);
print({ machine: machine(), settings, ...result }, args.json);
process.exitCode = result.violations.length === 0 ? 0 : 1;
