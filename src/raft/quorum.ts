/** Quorum arithmetic: pure functions over groups of voters, of which each must agree. A majority of n voters is floor(n/2) + 1 of them. */
import { assert, at } from '../lib/assert.ts';
import type { NodeId } from './entry.ts';
import type { Quorums } from './membership.ts';

/** Voters needed for a majority. */
export function majority(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1;
}

/**
 * The largest value that a majority of every group has reached (Raft §5.3, §5.4.2, §6): of match indexes, the index stored on
 * a quorum; of probe rounds, the round that a quorum has answered.
 *
 * @param reached highest value per voter
 */
export function quorumValue(quorums: Quorums, reached: (voter: NodeId) => number): number {
  assert(quorums.length > 0, 'A quorum needs voters');
  let least = Infinity;
  for (const voters of quorums) {
    assert(voters.length > 0, 'A quorum needs voters');
    const values = voters.map(reached).toSorted((a, b) => b - a);
    least = Math.min(least, at(values, majority(voters.length) - 1));
  }
  return least;
}

/** How an election stands: `won` with a majority of grants in every group, `lost` when refusals make one impossible in any. */
export function voteResult(
  quorums: Quorums,
  granted: ReadonlySet<NodeId>,
  refused: ReadonlySet<NodeId>,
): 'won' | 'lost' | 'pending' {
  let isWon = quorums.length > 0;
  for (const voters of quorums) {
    const needed = majority(voters.length);
    if (voters.length - voters.filter((id) => refused.has(id)).length < needed) return 'lost';
    if (voters.filter((id) => granted.has(id)).length < needed) isWon = false;
  }
  return isWon ? 'won' : 'pending';
}
