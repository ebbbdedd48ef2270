/**
 * Seeds that are replayed by every run of the tests: one line of JSON each, in test/sim/corpus.jsonl. An entry outlives
 * changes of what a seed draws as far as it can: one with a broken rule must be caught, by whatever invariant and if need be
 * by a seed soon after it; one without must hold, whatever it meets.
 */
import { PROFILES, type ProfileName } from '../../src/sim/report.ts';

/** One seed, and what it once showed. */
export interface CorpusEntry {
  readonly profile: ProfileName;
  readonly seed: number;
  readonly omit?: readonly number[];
  /** The rule or duty that is broken in it, and must be caught. */
  readonly broken?: string;
  /** What was seen when it was added: an invariant, or rare paths. */
  readonly showed: string;
}

/** What no simulated run shows yet, and why. Scripts of the core catch it. */
export const UNSEEN: ReadonlyMap<string, string> = new Map([
  [
    'votes-with-half-a-log',
    'no simulated disk loses the end of a log and says so: test/raft/scripts/damage catches it',
  ],
  [
    'takes-stubs',
    'no simulated operator adds a node as what it is not: test/raft/scripts/witness catches it',
  ],
]);

/** Reads a corpus. Throws an Error that names the line. */
export function parseCorpus(text: string): readonly CorpusEntry[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line, i) => {
    const value: unknown = JSON.parse(line);
    if (!isEntry(value)) throw new Error(`Cannot read line ${i + 1} of the corpus: ${line}`);
    return value;
  });
}

/** The line of an entry, without its end. */
export function corpusLine(entry: CorpusEntry): string {
  return JSON.stringify(entry);
}

function isEntry(value: unknown): value is CorpusEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { profile, seed, omit, broken, showed }: Readonly<Record<string, unknown>> = { ...value };
  return (
    PROFILES.some((name) => name === profile) &&
    Number.isSafeInteger(seed) &&
    typeof showed === 'string' &&
    (broken === undefined || typeof broken === 'string') &&
    (omit === undefined || (Array.isArray(omit) && omit.every((number) => Number.isSafeInteger(number))))
  );
}
