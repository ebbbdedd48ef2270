/** `npm run attack`: everything that power cuts, failing calls and rot do to the storage, and tables of what came of it. */
import { parseArgs } from 'node:util';
import { type CrashRow, CRASH_EVERYTHING, attackByCrashes } from './crash-attack.ts';
import { type FaultRow, attackByFaults } from './fault-attack.ts';
import { type FlipRow, attackByFlips } from './flip-attack.ts';
import { flipTargets } from './flip-targets.ts';
import { SCENARIOS } from './scenarios.ts';

const HELP = `Usage: npm run attack -- [options]

Restarts every disk that a power cut could leave at any moment of short lives of the storage, lets every call of the file
system fail in turn, flips every bit and cuts every length of its files. Exit code 1 when something came out wrong.

  --only TEXT     only scenarios and files whose names have this in them
  --part PART     crashes, faults or flips; all three by default
`;

type Cell = string | number;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    part: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
let violationsCount = 0;

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function line(cells: readonly Cell[]): string {
  return cells.map((cell, i) => (i === 0 ? String(cell).padEnd(54) : String(cell).padStart(11))).join('');
}

/** Prints a table a line at a time, as its rows come, with the sums of its numbers at the end. */
function table<T extends { readonly violations: readonly string[] }>(
  titles: readonly string[],
  rows: Iterable<T>,
  cellsOf: (row: T) => readonly Cell[],
): void {
  print(line([...titles, 'violations']));
  const sums: number[] = titles.map(() => 0);
  let bad = 0;
  for (const row of rows) {
    const cells = cellsOf(row);
    for (const [i, cell] of cells.entries()) sums[i] = (sums[i] ?? 0) + (typeof cell === 'number' ? cell : 0);
    print(line([...cells, row.violations.length]));
    for (const violation of row.violations) print(`    ${violation}`);
    bad += row.violations.length;
  }
  print(`${line(['all', ...sums.slice(1), bad])}\n`);
  violationsCount += bad;
}

function* each<A, R>(list: readonly A[], run: (item: A) => R): IterableIterator<R> {
  for (const item of list) yield run(item);
}

function isChosen(name: string, part: string): boolean {
  return (values.part === undefined || values.part === part) && name.includes(values.only);
}

function main(): void {
  const crashed = SCENARIOS.filter(({ name }) => isChosen(name, 'crashes'));
  if (crashed.length > 0)
    table(
      ['power cuts', 'calls', 'moments', 'states'],
      each(crashed, (scenario): CrashRow => attackByCrashes(scenario, CRASH_EVERYTHING)),
      ({ scenario, calls, moments, states }) => [scenario, calls, moments, states],
    );
  const failed = SCENARIOS.filter(({ name }) => isChosen(name, 'faults'));
  if (failed.length > 0)
    table(
      ['failing calls', 'calls', 'runs', 'survived'],
      each(failed, (scenario): FaultRow => attackByFaults(scenario, 1)),
      ({ scenario, calls, runs, survived }) => [scenario, calls, runs, survived],
    );
  const rotten = flipTargets().filter(({ name }) => isChosen(name, 'flips'));
  if (rotten.length > 0)
    table(
      ['rot', 'bytes', 'flips', 'lengths', 'refused', 'shortened', 'by cut', 'unchanged'],
      each(rotten, (target): FlipRow => attackByFlips(target, 1)),
      ({ target, bytes, flips, lengths, refused, shortened, shortenedByCut, unchanged }) => [
        target,
        bytes,
        flips,
        lengths,
        refused,
        shortened,
        shortenedByCut,
        unchanged,
      ],
    );
  if (violationsCount > 0) process.exitCode = 1;
}

if (values.help) print(HELP);
else main();
