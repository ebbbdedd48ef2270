/**
 * The ledger of results: a file of JSON lines, one for each campaign, to which runs are added and of which totals are
 * made. Figures that are quoted come from here and from nowhere else.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync } from 'node:fs';
import { machine } from './report.ts';

/** One campaign. */
export type ResultLine = Readonly<Record<string, unknown>>;

/** Sums over campaigns of one commit. */
export interface Total {
  readonly commit: string;
  readonly runs: number;
  readonly hours: number;
  readonly kills: number;
  readonly stops: number;
  readonly partitions: number;
  readonly checked: number;
  readonly undecided: number;
  readonly violations: number;
}

/** Adds a campaign to the file, with what else must be known of it. Throws when the file cannot be written. */
export function appendResult(path: string, campaign: string, fields: ResultLine): void {
  const line = { campaign, date: new Date().toISOString(), commit: commit(), machine: machine(), ...fields };
  appendFileSync(path, `${JSON.stringify(line)}\n`);
}

/** The commit of the sources, with a plus when files differ from it; "unknown" outside a repository. */
export function commit(): string {
  try {
    const isChanged = git('status', '--porcelain', '--', 'src', 'workers', 'bin') !== '';
    return git('rev-parse', '--short', 'HEAD') + (isChanged ? '+' : '');
  } catch {
    return 'unknown';
  }
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

/** Reads a file of results. Throws when a line is no JSON object. */
export function readResults(path: string): readonly ResultLine[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => {
      const fields: unknown = JSON.parse(line);
      if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
        throw new Error(`Cannot read "${path}": line ${i + 1} is not an object`);
      return { ...fields };
    });
}

/** Totals of the torture campaigns, a commit each, in the order of the file. */
export function totals(results: readonly ResultLine[]): readonly Total[] {
  const sums = new Map<string, Total>();
  for (const result of results) {
    if (result['campaign'] !== 'torture') continue;
    const name = String(result['commit']);
    const sum = sums.get(name) ?? {
      commit: name,
      runs: 0,
      hours: 0,
      kills: 0,
      stops: 0,
      partitions: 0,
      checked: 0,
      undecided: 0,
      violations: 0,
    };
    const damage = fieldsOf(result['damage']);
    const violations = result['violations'];
    sums.set(name, {
      commit: name,
      runs: sum.runs + 1,
      hours: sum.hours + numberOf(result['seconds']) / 3600,
      kills: sum.kills + numberOf(damage['kills']),
      stops: sum.stops + numberOf(damage['stops']),
      partitions: sum.partitions + numberOf(damage['partitions']),
      checked: sum.checked + numberOf(result['checked']),
      undecided: sum.undecided + numberOf(result['undecided']),
      violations: sum.violations + (Array.isArray(violations) ? violations.length : 0),
    });
  }
  return [...sums.values()].map((sum) => ({ ...sum, hours: Number(sum.hours.toFixed(3)) }));
}

function fieldsOf(value: unknown): ResultLine {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
