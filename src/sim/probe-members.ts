/** Rare paths of changing members, of handing leadership over, of leases and of silence. */
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { Config } from '../raft/membership.ts';
import type { RaftStatus } from '../raft/messages.ts';
import type { Hit } from './probe-names.ts';

export class MemberProbes {
  readonly #hit: Hit;
  /** The handing-over that was seen last. */
  #transfer: { readonly to: NodeId; readonly term: Term } | undefined;

  constructor(hit: Hit) {
    this.#hit = hit;
  }

  /** A node's status has changed. */
  observed(last: RaftStatus, now: RaftStatus): void {
    if (now.configIndex > last.configIndex) this.#reconfigured(last.config, now.config);
    if (now.isQuiesced !== last.isQuiesced)
      this.#hit(now.isQuiesced ? 'cluster fell silent' : 'cluster woke up');
    const isNewLeader = now.role === 'leader' && (last.role !== 'leader' || last.term !== now.term);
    if (isNewLeader && now.config.outgoing.length > 0)
      this.#hit('joint configuration taken over by a new leader');
    if (isNewLeader && this.#transfer?.to === now.id && now.term === this.#transfer.term + 1)
      this.#hit('transfer completed');
    if (last.role !== 'leader' || now.role !== 'leader' || last.term !== now.term) {
      if (now.role === 'leader') this.#leads(now);
      return;
    }
    if (last.transferTo !== 0 && now.transferTo === 0) this.#hit('transfer aborted');
    if (last.leaseUntilMs > 0 && now.leaseUntilMs === 0) this.#hit('lease lost by a live leader');
    this.#leads(now);
  }

  /** A node that looked like this went down. */
  wentDown({ config }: RaftStatus): void {
    if (config.outgoing.length > 0) this.#hit('node down while joint');
  }

  #leads(now: RaftStatus): void {
    if (now.leaseUntilMs > 0) this.#hit('lease held');
    const { voters, outgoing } = now.config;
    if (outgoing.length > 0 && majorityMatch(voters, now) !== majorityMatch(outgoing, now))
      this.#hit('joint with two different majorities');
    if (now.transferTo !== 0) this.#transfer = { to: now.transferTo, term: now.term };
  }

  #reconfigured(before: Config, after: Config): void {
    const hit = this.#hit;
    if (after.learners.some((id) => !before.learners.includes(id) && !before.voters.includes(id)))
      hit('learner added');
    if (after.voters.some((id) => before.learners.includes(id))) hit('learner promoted');
    if (before.outgoing.some((id) => !after.voters.includes(id) && !after.learners.includes(id)))
      hit('members removed');
    if (after.outgoing.length > 0) hit('joint configuration');
  }
}

/** The highest index that a majority of these voters is known to hold. */
function majorityMatch(voters: readonly NodeId[], { id, durable, peers }: RaftStatus): LogIndex {
  const matches = voters.map((voter) =>
    voter === id ? durable : (peers.find((peer) => peer.id === voter)?.match ?? 0),
  );
  return matches.toSorted((a, b) => b - a)[Math.floor(matches.length / 2)] ?? 0;
}
