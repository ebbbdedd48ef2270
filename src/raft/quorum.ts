/** Quorum arithmetic: pure functions over sets of voters. A majority of n voters is floor(n/2) + 1 of them. */
import { assert, at } from '../lib/assert.ts';
import type { NodeId } from './entry.ts';

/** Voters needed for a majority. */
export function majority(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1;
}

/**
 * The largest value that a majority of voters has reached (Raft §5.3, §5.4.2): of match indexes, the index stored on a
 * quorum; of probe rounds, the round that a quorum has answered.
 *
 * @param reached highest value per voter; a missing voter counts as 0
 */
export function quorumValue(voters: readonly NodeId[], reached: (voter: NodeId) => number): number {
  assert(voters.length > 0, 'A quorum needs voters');
  const values = voters.map(reached).toSorted((a, b) => b - a);
  return at(values, majority(voters.length) - 1);
}

/** How an election stands: `won` with a majority of grants, `lost` when refusals make one impossible. */
export function voteResult(
  voters: readonly NodeId[],
  granted: ReadonlySet<NodeId>,
  refused: ReadonlySet<NodeId>,
): 'won' | 'lost' | 'pending' {
  const needed = majority(voters.length);
  if (voters.filter((id) => granted.has(id)).length >= needed) return 'won';
  if (voters.length - voters.filter((id) => refused.has(id)).length < needed) return 'lost';
  return 'pending';
}
