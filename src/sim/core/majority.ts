/** Majorities, counted by the plainest means and apart from the core's own arithmetic (I13). */
import type { NodeId } from '../../raft/entry.ts';
import type { Config } from '../../raft/membership.ts';

/** Whether those who agree are a majority of the voters, and of the outgoing ones too while there are any (§6). */
export function isQuorum({ voters, outgoing }: Config, agrees: (id: NodeId) => boolean): boolean {
  return isMajority(voters, agrees) && (outgoing.length === 0 || isMajority(outgoing, agrees));
}

function isMajority(voters: readonly NodeId[], agrees: (id: NodeId) => boolean): boolean {
  let count = 0;
  for (const id of voters) if (agrees(id)) count += 1;
  return 2 * count > voters.length;
}

/** The configuration that it becomes once every learner with a promise has its vote. */
export function whenPromoted(config: Config): Config {
  const { voters, promoting } = config;
  return { ...config, voters: [...voters, ...promoting.filter((id) => !voters.includes(id))] };
}
