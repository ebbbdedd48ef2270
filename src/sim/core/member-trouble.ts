/** What operators do while other things go wrong: they change who belongs to the cluster, and who leads it. */
import type { NodeId } from '../../raft/entry.ts';
import type { MemberChange } from '../../raft/membership.ts';
import { addedAsWitnesses } from '../member-changes.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import type { Trouble } from './trouble.ts';

/** Asks for a change of members, of one or of several at once. */
export function changeMembers(trouble: Trouble): string {
  const { world, random } = trouble;
  const node = asked(trouble);
  const { voters, learners } = node.memory.config;
  const members = [...voters, ...learners];
  const spare = world.nodes.map(({ id }) => id).filter((id) => !members.includes(id));
  const changes: MemberChange[] = [];
  const add = (kind: 'add' | 'addLearner'): void => {
    if (spare.length > 0) changes.push({ kind, node: pick(random, spare), address: '' });
  };
  const remove = (id: NodeId | undefined): void => {
    if (id !== undefined) changes.push({ kind: 'remove', node: id });
  };
  switch (random.int(0, 6)) {
    case 0:
    case 1:
      add('add');
      break;
    case 2:
      add('addLearner');
      break;
    case 3:
      if (learners.length > 0) changes.push({ kind: 'promote', node: pick(random, learners) });
      break;
    case 4:
      remove(members.length > 0 ? pick(random, members) : undefined);
      break;
    case 5:
      remove(node.id);
      break;
    default:
      // Voters are replaced, several at once: the old majority and the new have little in common.
      for (let i = random.int(1, 2); i > 0; i--) add('add');
      for (let i = random.int(1, 2); i > 0; i--)
        remove(members.length > 0 ? pick(random, members) : undefined);
  }
  if (changes.length === 0) return 'no change of members';
  trouble.count('members');
  world.change(
    node,
    addedAsWitnesses(changes, (id) => world.node(id).isWitness),
  );
  return `ask n${node.id} to ${changes.map((change) => `${change.kind} n${change.node}`).join(' and ')}`;
}

/** Asks a leader to hand over. */
export function transfer(trouble: Trouble): string {
  const { world, random } = trouble;
  const node = asked(trouble);
  const to = random.chance(0.3) ? 0 : pick(random, world.nodes).id;
  trouble.count('transfer');
  world.transfer(node, to);
  return `ask n${node.id} to hand over to ${to === 0 ? 'whom it likes' : `n${to}`}`;
}

function asked(trouble: Trouble): SimNode {
  const { leader } = trouble.world;
  return leader === undefined || trouble.random.chance(0.1) ? trouble.victim() : leader;
}
