/** Changes of members as an operator in a hurry would make them. Some make no sense by the time they arrive. */
import { at } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';
import { type Config, type MemberChange, isAddition, membersOf } from '../raft/membership.ts';
import { shuffled } from './network.ts';

/** One to three changes of `config` that are to take effect together. */
export function drawChanges(
  config: Config,
  nodes: readonly NodeId[],
  random: Random,
): readonly MemberChange[] {
  const members = shuffled(membersOf(config), random);
  const spares = shuffled(
    nodes.filter((id) => !members.includes(id)),
    random,
  );
  const count = random.chance(0.6) ? 1 : random.int(2, 3);
  const changes: MemberChange[] = [];
  for (let i = 0; i < count; i++) {
    const member = at(members, i % members.length);
    const spare = spares[i];
    const isGrowing = spare !== undefined && random.chance(config.voters.length <= 3 ? 0.7 : 0.4);
    if (isGrowing)
      changes.push({ kind: random.chance(0.8) ? 'add' : 'addLearner', node: spare, address: '' });
    else if (config.learners.includes(member) && random.chance(0.7))
      changes.push({ kind: 'promote', node: member });
    else changes.push({ kind: 'remove', node: member });
  }
  return changes;
}

/** The same changes, with every node that keeps no data added as what it is. */
export function addedAsWitnesses(
  changes: readonly MemberChange[],
  isWitness: (node: NodeId) => boolean,
): readonly MemberChange[] {
  return changes.map((change) =>
    isAddition(change) && isWitness(change.node) ? { ...change, kind: 'addWitness' } : change,
  );
}
