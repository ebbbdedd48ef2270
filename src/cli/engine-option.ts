/** The options that say how nodes keep their data, the same for every command that starts some. */
import type { Args, OptionSpec } from './args.ts';

import { UsageError } from './failure.ts';

const HISTORY_MAX = 1_000_000_000;

/** `--engine`. */
export const ENGINE_OPTION: OptionSpec = {
  name: 'engine',
  value: 'ENGINE',
  help: 'memory (data in memory, readable snapshots) or lsm (a tree of tables on disk); default: as the data directory has it, memory for a new one',
};

/** `--history-revisions`. */
export const HISTORY_OPTION: OptionSpec = {
  name: 'history-revisions',
  value: 'N',
  help: 'Revisions that can still be read and watched from, at least (default 100000)',
};

/** What `--engine` says; nothing without it. Throws a {@link UsageError}. */
export function engineOf(args: Args): { readonly engine?: 'memory' | 'lsm' } {
  const engine = args.text('engine');
  if (engine === undefined) return {};
  if (engine !== 'memory' && engine !== 'lsm')
    throw new UsageError(`Option --engine is "${engine}", expected memory or lsm`);
  return { engine };
}

/** What `--history-revisions` says; nothing without it. Throws a {@link UsageError}. */
export function historyOf(args: Args): { readonly historyRevisions?: number } {
  const historyRevisions = args.integer('history-revisions', { min: 1, max: HISTORY_MAX }, undefined);
  return historyRevisions === undefined ? {} : { historyRevisions };
}
