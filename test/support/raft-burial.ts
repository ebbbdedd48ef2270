/** Who of a cluster may be gone for good, so that what is left must still come right. */
import type { Random } from '../../src/lib/random.ts';
import type { Entry, LogIndex, NodeId } from '../../src/raft/entry.ts';
import { type Config, isJoint, membersOf } from '../../src/raft/membership.ts';
import type { RaftNetwork } from './raft-network.ts';

/** A configuration that is known to be committed. */
export interface CommittedConfig {
  readonly index: LogIndex;
  readonly config: Config;
}

/** Longer than any learner counts as there that does not answer. */
const SILENCE_MS = 600;

/**
 * Crashes for ever: nodes that are no members, some learners, and fewer than half of the voters. Only where no later
 * configuration is anywhere, for its majority may be another.
 *
 * @returns who is gone
 */
export function bury(network: RaftNetwork, committed: CommittedConfig, random: Random): ReadonlySet<NodeId> {
  const { index, config } = committed;
  const gone = new Set<NodeId>();
  if (isJoint(config) || hasLaterConfig(network, index)) return gone;
  const members = membersOf(config);
  let spare = Math.ceil(config.voters.length / 2) - 1;
  for (const { id, raft, writes } of network.nodes) {
    const isVoter = config.voters.includes(id);
    const isGone = isVoter ? spare > 0 && random.chance(0.6) : !members.includes(id) || random.chance(0.5);
    if (!isGone) continue;
    if (isVoter) spare -= 1;
    if (raft !== undefined) network.crash(id, random.int(0, writes.length));
    gone.add(id);
  }
  network.drop(network.packets.filter(({ from }) => gone.has(from)));
  network.nowMs += SILENCE_MS;
  return gone;
}

/** In a log, on its way to a disk, or on its way to another node. */
function hasLaterConfig(network: RaftNetwork, index: LogIndex): boolean {
  const isLater = (entry: Entry): boolean => entry.kind === 'config' && entry.index > index;
  const isInLog = network.nodes.some(
    ({ disk, memory, writes }) =>
      disk.log.entries.some(isLater) ||
      memory.entries.some(isLater) ||
      writes.some(({ append }) => append?.entries.some(isLater)),
  );
  const isOnItsWay = network.packets.some(
    (packet) =>
      packet.kind === 'message' && packet.message.kind === 'append' && packet.message.entries.some(isLater),
  );
  return isInLog || isOnItsWay;
}
