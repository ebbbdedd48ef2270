/**
 * The state of a snapshot that was taken before there were versions: it has sessions, and rows that became the first version
 * of each key, all at the revision that is the snapshot's index (storage/version-lines.ts). What is missing is counted here.
 */
import type { VersionEngine } from '../storage/version-engine.ts';
import { RowSetHash } from './row-hash.ts';
import { countersLine, parseStateLine } from './state-lines.ts';
import { FIRST_REVISION } from './store.ts';

/**
 * The lines of a state with its counters in front.
 *
 * @param index of the snapshot
 * @param engine holds its versions
 * @param state its lines; returned as they are when they begin with counters
 * @throws CorruptionError when the first line is none of a state
 */
export function withCounters(
  index: number,
  engine: VersionEngine,
  state: readonly string[],
): readonly string[] {
  const [first] = state;
  if (first !== undefined && parseStateLine(first, 1).kind === 'counters') return state;
  const hash = new RowSetHash();
  let count = 0;
  let bytes = 0;
  const revision = Math.max(index, FIRST_REVISION);
  for (const version of engine.scan({ start: '', end: undefined }, revision)) {
    hash.addVersion(version);
    count += 1;
    bytes += version.key.length + version.value.length;
  }
  // Nothing is known of earlier revisions.
  const counters = { revision, compactedRevision: revision, count, bytes, hash: hash.hex() };
  return [countersLine(counters), ...state];
}
