/**
 * What must hold of whole nodes while a script plays, seen from outside: what they send, answer and have applied. The
 * simulator's checker looks closer (src/sim/invariants.ts); this one is enough to say in a story what broke.
 */
import type { Envelope } from '../../src/net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../../src/raft/entry.ts';
import type { NodeHost } from './node-network.ts';

/** The properties by the names that stories use. */
export type NodeInvariant =
  | 'Election Safety'
  | 'One Vote'
  | 'Leader Completeness'
  | 'State Machine Safety'
  | 'Applied Once';

/** Something happened that never may. */
export class NodeViolation extends Error {
  override readonly name = 'NodeViolation';
  readonly invariant: NodeInvariant;

  constructor(invariant: NodeInvariant, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}

/** Watches one cluster. Each method throws {@link NodeViolation}. */
export class NodeWatch {
  readonly #leaders: Map<Term, { readonly node: NodeId; readonly life: number }> = new Map();
  /** Votes that left, by voter, directory and term. */
  readonly #votes: Map<string, NodeId> = new Map();
  /** Data directories that a node has had before this one. */
  readonly #wipes: Map<NodeId, number> = new Map();
  readonly #states: Map<LogIndex, { readonly hash: string; readonly node: NodeId }> = new Map();
  /** Life and applied index of each node as its state was looked at last. */
  readonly #seen: Map<NodeId, string> = new Map();
  #acknowledged: LogIndex = 0;

  /** A client was told that the entry at this index is done. */
  acknowledged(index: LogIndex): void {
    this.#acknowledged = Math.max(this.#acknowledged, index);
  }

  /** A node's directory is gone: to Raft it is another node. */
  wiped(node: NodeId): void {
    this.#wipes.set(node, (this.#wipes.get(node) ?? 0) + 1);
  }

  /** An envelope leaves. */
  sent(from: NodeId, to: NodeId, envelope: Envelope): void {
    if (envelope.kind !== 'raft') return;
    const { message } = envelope;
    const isVote = message.kind === 'voteReply' && message.granted;
    // Who asks has voted for itself.
    const isCandidacy = message.kind === 'vote';
    if ((!isVote && !isCandidacy) || message.pre) return;
    const candidate = isVote ? to : from;
    const key = `${from}/${this.#wipes.get(from) ?? 0}/${message.term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) {
      throw new NodeViolation(
        'One Vote',
        `n${from} votes for n${before} and n${candidate} in term ${message.term}`,
      );
    }
    this.#votes.set(key, candidate);
  }

  /** A node has taken a turn. */
  turned(host: NodeHost): void {
    const { raft } = host.running.glance();
    if (raft.role === 'leader') this.#checkLeader(host, raft.term, raft.last.index);
    const seen = `${host.life}/${raft.applied}`;
    if (this.#seen.get(host.id) === seen) return;
    this.#seen.set(host.id, seen);
    const [hash = ''] = host.running.stateHash.split('/');
    const known = this.#states.get(raft.applied);
    if (known === undefined) this.#states.set(raft.applied, { hash, node: host.id });
    else if (known.hash !== hash) {
      throw new NodeViolation(
        'State Machine Safety',
        `n${host.id} and n${known.node} differ after entry ${raft.applied}`,
      );
    }
  }

  #checkLeader({ id, life }: NodeHost, term: Term, last: LogIndex): void {
    const other = this.#leaders.get(term);
    if (other?.node === id && other.life === life) return;
    if (other !== undefined && other.node !== id)
      throw new NodeViolation('Election Safety', `n${other.node} and n${id} lead in term ${term}`);
    this.#leaders.set(term, { node: id, life });
    if (last <= this.#acknowledged) {
      // A leader appends an entry of its own at once, behind what it had.
      throw new NodeViolation(
        'Leader Completeness',
        `n${id} leads term ${term} with a log up to ${last}, and entry ${this.#acknowledged} was acknowledged`,
      );
    }
  }
}
