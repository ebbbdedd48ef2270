/** `npm run quiet`: see the help text. */
import { quiet } from './quiet-campaign.ts';
import { machine, print, progress, readArguments } from './report.ts';

const DESCRIPTION = `Counts elections while nothing is wrong: a third of the time idle, a third at full load, a third with followers that
freeze for a second. There must be none. Exit code 1 when there was one, or when an acknowledged write is lost.`;

const args = readArguments('quiet', DESCRIPTION, {
  seconds: { help: 'how long, all phases together', value: '120' },
  nodes: { help: 'nodes of the cluster', value: '3' },
  inflight: { help: 'writes under way at full load', value: '256' },
  seed: { help: 'seed of the election timeouts and the writers', value: '1' },
});
const settings = {
  seconds: args.number('seconds'),
  nodes: args.number('nodes'),
  inflight: args.number('inflight'),
  seed: args.number('seed'),
};
const result = await quiet(settings, progress);
print({ machine: machine(), settings, ...result }, args.json);
const isQuiet = result.phases.every((phase) => phase.elections === 0);
process.exitCode = isQuiet && result.violations.length === 0 ? 0 : 1;
