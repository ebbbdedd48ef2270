/** `npm run mutants`: a table of every broken rule and duty, and what it took to catch it. */
import { parseArgs } from 'node:util';
import { BREAKABLE } from '../../src/lessons/breaker.ts';
import { UNSEEN } from '../support/corpus.ts';
import { runHunts } from './hunt.ts';

const HELP = `Usage: npm run mutants -- [options]

Breaks every rule of Raft and every duty of a node in turn, and runs simulated seeds until the checker notices.
Exit code 1 when one got away.

  --only NAMES    only these, with commas between; see "oxide-kv sim --broken list"
  --budget N      processor seconds for each profile that is tried (default 200)
  --json          print one JSON object instead of the table

Examples:
  npm run mutants
  npm run mutants -- --only forgets-its-vote,never-syncs
`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    budget: { type: 'string', default: '200' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const only = values.only?.split(',');
const names = BREAKABLE.map(({ name }) => name).filter((name) =>
  only === undefined ? !UNSEEN.has(name) : only.includes(name),
);
const print = (line: string): void => void process.stdout.write(`${line}\n`);
if (values.help) print(HELP);
else {
  if (!values.json) for (const [name, why] of UNSEEN) print(`Left out: ${name}; ${why}`);
  const result = runHunts(names, Number(values.budget), values.json ? () => undefined : print);
  if (values.json) print(JSON.stringify(result));
  if (result.missed.length > 0) process.exitCode = 1;
}
