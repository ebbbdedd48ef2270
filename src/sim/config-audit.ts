/**
 * Who belongs to the cluster, checked from outside (I13, and the majorities of I1 and I9): configurations follow one another
 * one at a time and through joint ones (§6, thesis §4.3). Majorities are counted here by the plainest means, apart from the
 * core's own arithmetic.
 */
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { RaftStatus } from '../raft/messages.ts';
import type { Config } from '../raft/membership.ts';
import type { Observation } from './host.ts';
import { fail } from './violation.ts';

/** The part of a configuration that decides. */
export type Members = Pick<Config, 'voters' | 'outgoing'>;

/** Positions of configurations that are remembered, at most: a run has few, and none of it costs anything then. */
const PLACES_MAX = 4096;

/** Whether these nodes are a majority of the voters, and of the outgoing ones too while there are any. */
export function isQuorum(config: Members, nodes: ReadonlySet<NodeId>): boolean {
  return (
    isMajority(config.voters, nodes) && (config.outgoing.length === 0 || isMajority(config.outgoing, nodes))
  );
}

function isMajority(voters: readonly NodeId[], nodes: ReadonlySet<NodeId>): boolean {
  let count = 0;
  for (const voter of new Set(voters)) if (nodes.has(voter)) count += 1;
  return count * 2 > new Set(voters).size;
}

export class ConfigAudit {
  /** The configuration in effect at positions that were seen, as text. */
  readonly #places: Map<string, string> = new Map();
  #committed: { readonly index: LogIndex; readonly config: Members };
  /** Of the leader of the latest term. */
  #leaders: { readonly term: number; readonly config: Members };

  /** @param voters the cluster as it begins */
  constructor(voters: readonly NodeId[]) {
    const config: Members = { voters, outgoing: [] };
    this.#committed = { index: 0, config };
    this.#leaders = { term: 0, config };
  }

  /** The newest configuration that is known to be committed. */
  get committed(): Members {
    return this.#committed.config;
  }

  /** Of the leader of the latest term: in effect, committed or not. */
  get leaders(): Members {
    return this.#leaders.config;
  }

  /**
   * Takes a node's new status.
   *
   * @param last its last observation in this life
   * @param hash of its log up to the configuration's position; undefined when it has forgotten it
   * @param commit the highest index that anyone has committed
   */
  observed(
    seen: Observation,
    last: Observation | undefined,
    hash: number | undefined,
    commit: LogIndex,
  ): void {
    const { raft } = seen;
    const isNew =
      last === undefined || last.raft.configIndex !== raft.configIndex || seen.cutAfter !== undefined;
    if (isNew) {
      this.#comparePlace(raft, hash);
      if (last !== undefined) this.#compareWithLast(seen, last, commit);
    }
    if (raft.role === 'leader' && raft.term >= this.#leaders.term)
      this.#leaders = { term: raft.term, config: raft.config };
    if (raft.configIndex <= raft.commit && raft.configIndex > this.#committed.index)
      this.#committed = { index: raft.configIndex, config: raft.config };
  }

  /** The same log has the same configuration at the same place. */
  #comparePlace({ id, config, configIndex }: RaftStatus, hash: number | undefined): void {
    if (hash === undefined || configIndex === 0) return;
    const place = `${configIndex}/${hash}`;
    const text = textOf(config);
    const known = this.#places.get(place);
    if (known === undefined) {
      if (this.#places.size < PLACES_MAX) this.#places.set(place, text);
    } else if (known !== text)
      fail(
        'I13 configuration safety',
        `n${id} has the members ${text} at ${configIndex}, another has ${known}`,
      );
  }

  #compareWithLast(seen: Observation, last: Observation, commit: LogIndex): void {
    const now = seen.raft;
    const before = last.raft;
    const isKept = seen.cutAfter === undefined || seen.cutAfter >= before.configIndex;
    if (now.configIndex <= before.configIndex || !isKept) return;
    if (before.configIndex > commit)
      fail(
        'I13 configuration safety',
        `n${now.id} has the configurations ${before.configIndex} and ${now.configIndex} uncommitted at once`,
      );
    // Only a leader is seen often enough, and only if no other configuration can lie between the two.
    const isNext = now.configIndex === before.last.index + 1 || now.commit <= before.last.index;
    const isSameLeader = now.role === 'leader' && before.role === 'leader' && now.term === before.term;
    if (!isSameLeader || !isNext || mayFollow(before.config, now.config)) return;
    fail(
      'I13 configuration safety',
      `n${now.id} goes from the members ${textOf(before.config)} to ${textOf(now.config)} at ${now.configIndex}`,
    );
  }
}

/** A joint configuration is followed by its new voters alone; voters change through a joint one only. */
function mayFollow(before: Members, after: Members): boolean {
  if (before.outgoing.length > 0) return after.outgoing.length === 0 && isSame(after.voters, before.voters);
  return isSame(after.outgoing.length > 0 ? after.outgoing : after.voters, before.voters);
}

function isSame(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}

function textOf({ voters, outgoing, learners, promoting }: Config): string {
  const parts = [voters.join(' ')];
  if (outgoing.length > 0) parts.push(`leaving ${outgoing.join(' ')}`);
  if (learners.length > 0) parts.push(`learning ${learners.join(' ')}`);
  if (promoting.length > 0) parts.push(`promoting ${promoting.join(' ')}`);
  return parts.join(', ');
}
