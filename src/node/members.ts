/** The members of a cluster as a node tells them to people and clients, out of the configuration in effect. */
import type { MemberStanding, MemberStatus } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { type Config, isJoint, isWitness, membersOf } from '../raft/membership.ts';

/** Every member, by id. `clientOf` tells where a member's clients connect; empty if unknown. */
export function membersIn(config: Config, clientOf: (id: NodeId) => string): readonly MemberStatus[] {
  return membersOf(config).map((id) => ({
    id,
    standing: standingOf(config, id),
    address: config.addresses.get(id) ?? '',
    client: clientOf(id),
  }));
}

/** What a member is to the cluster. */
export function standingOf(config: Config, id: NodeId): MemberStanding {
  const isNew = config.voters.includes(id);
  const isOld = config.outgoing.includes(id);
  if (!isNew && !isOld) return config.promoting.includes(id) ? 'promoting' : 'learner';
  if (!isJoint(config) || isNew === isOld) return isWitness(config, id) ? 'witness' : 'voter';
  return isNew ? 'joining' : 'leaving';
}

/** Whether somebody else votes and keeps data, and so has what this node has acknowledged. */
export function hasOtherVoters(config: Config, own: NodeId): boolean {
  return [...config.voters, ...config.outgoing].some((id) => id !== own && !isWitness(config, id));
}
