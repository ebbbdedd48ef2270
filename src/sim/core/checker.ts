/**
 * What must hold in every run of the Raft core, checked after each event and in time that depends only on what the
 * event changed: the properties of Figure 3 of the paper and the promises behind them. It sees every message that
 * leaves, every write and every turn, across crashes, and asks none of the rules that it checks.
 */
import { at, defined } from '../../lib/assert.ts';
import type { Entry, LogIndex, NodeId, Term } from '../../raft/entry.ts';
import { type Config, decodeConfig, describeConfig } from '../../raft/membership.ts';
import type { Message, RaftStatus, Write } from '../../raft/messages.ts';
import { isQuorum } from './majority.ts';
import { type ModelSnapshot, hashAfter, proposalOf } from './model-log.ts';
import type { SimNode } from './node.ts';
import { violated } from './violation.ts';

/** More entries and terms than any run has: positions become one small integer. */
const INDEX_LIMIT = 16_384;

/** What the checker keeps of a node between two events. */
interface Seen {
  life: number;
  term: Term;
  vote: NodeId;
  commit: LogIndex;
  applied: LogIndex;
  /** The log of a leader, when it was last seen leading `leadTerm`. */
  leadTerm: Term;
  leadLast: LogIndex;
  leadHash: number;
  /** What a leader of `leadTerm` believed of each peer. */
  readonly matches: Map<NodeId, { readonly match: LogIndex; readonly since: LogIndex }>;
  durableTerm: Term;
  /** What the node last acknowledged: its disk keeps it while it follows that leader. */
  ackTerm: Term;
  ackIndex: LogIndex;
  ackHash: number;
}

export class CoreChecker {
  readonly #nodes: readonly SimNode[];
  readonly #seen: readonly Seen[];
  /** Who won each term, in which of its lives. */
  readonly #leaders: Map<Term, string> = new Map();
  readonly #votes: Map<number, NodeId> = new Map();
  /** The hash of the log up to each position that ever was. */
  readonly #hashes: Map<number, number> = new Map();
  /** Of the committed log: the hash up to each index, its term, and the proposal there; 0 for none. */
  readonly #committed: number[] = [0];
  readonly #committedTerms: Term[] = [0];
  readonly #proposals: number[] = [0];
  /** Of the leader that committed last: its majority holds everything committed. */
  #config: Config;
  /** In which term each index was committed; never falls. */
  readonly #committedIn: Term[] = [0];

  constructor(nodes: readonly SimNode[]) {
    this.#nodes = nodes;
    this.#config = at(nodes, 0).config;
    this.#seen = nodes.map(() => ({
      life: 0,
      term: 0,
      vote: 0,
      commit: 0,
      applied: 0,
      leadTerm: 0,
      leadLast: 0,
      leadHash: 0,
      matches: new Map(),
      durableTerm: 0,
      ackTerm: 0,
      ackIndex: 0,
      ackHash: 0,
    }));
  }

  /** The last index that anybody knows to be committed. */
  get committedIndex(): LogIndex {
    return this.#committed.length - 1;
  }

  /** The proposal that is committed at `index`, 0 for none; undefined behind the end. */
  proposalAt(index: LogIndex): number | undefined {
    return this.#proposals[index];
  }

  /** The hash of the log up to a position that some log has had; undefined for one that none had. */
  hashOf(index: LogIndex, term: Term): number | undefined {
    return index === 0 ? 0 : this.#hashes.get(key(index, term));
  }

  /** Who won a term, and how many won one. */
  get termsWon(): number {
    return this.#leaders.size;
  }

  /** A message leaves: what it promises is on the disk (I3), and no vote contradicts another (I2). */
  sent(node: SimNode, message: Message): void {
    if (message.kind === 'appendReply') this.#acknowledged(node, message);
    else if (message.kind === 'voteReply' && message.granted && !message.pre)
      this.#voted(node, message.term, message.to);
    else if (message.kind === 'vote' && !message.pre) this.#voted(node, message.term, node.id);
  }

  /**
   * A node won: nobody else leads the term (I1), and its log holds everything that was committed in terms before (I6).
   * It may learn late that it won, with later terms under way.
   */
  won(node: SimNode, term: Term): void {
    const who = `n${node.id} in its life ${node.life}`;
    const other = this.#leaders.get(term);
    if (other !== undefined) violated('I1 election safety', `term ${term} is led by ${other} and by ${who}`);
    this.#leaders.set(term, who);
    if (node.isWitness) violated('I31 data is kept', `n${node.id} leads term ${term} and keeps no data`);
    if (!isQuorum(node.memory.config, (id) => this.#hasVoted(id, term, node)))
      violated('I1 election safety', `n${node.id} leads term ${term}, and no majority has voted for it`);
    const { memory } = node;
    let last = this.committedIndex;
    while (at(this.#committedIn, last) >= term) last -= 1;
    if (memory.baseIndex < last && memory.hashAt(last) !== at(this.#committed, last))
      violated(
        'I6 leader completeness',
        `n${node.id} leads term ${term} without the committed entry ${last}`,
      );
  }

  /** A core gave out a write: positions that agree on index and term agree on everything before (I5). */
  wrote(node: SimNode, write: Write): void {
    for (const { index, term, kind } of write.append?.entries ?? []) {
      const hash = defined(node.memory.hashAt(index), 'hash of a new entry');
      const position = key(index, term);
      const known = this.#hashes.get(position);
      if (known === undefined) this.#hashes.set(position, hash);
      else if (known !== hash)
        violated('I5 log matching', `two logs up to ${index}@${term} differ, as n${node.id} shows`);
      if (kind === 'config' && node.role === 'leader' && node.term === term) this.#checkChange(node, index);
    }
    const { memory } = node;
    const first = memory.entries[0];
    if (first !== undefined && first.term < memory.baseTerm)
      violated(
        'I5 log matching',
        `entry ${first.index}@${first.term} of n${node.id} lies behind a snapshot of term ${memory.baseTerm}`,
      );
  }

  /**
   * A leader committed its log up to `index`: what is new is on a majority of disks (I9) whose owners would not elect
   * anybody without it (I6). What is not is what was committed before (I10).
   *
   * @param onNew told of each entry that nobody has committed before, with its proposal, 0 for none
   */
  committed(node: SimNode, index: LogIndex, onNew: (entry: Entry, proposal: number) => void): void {
    const before = this.committedIndex;
    for (let i = before + 1; i <= index; i++) {
      const entry = defined(node.memory.entryAt(i), 'a committed entry');
      this.#committed.push(defined(node.memory.hashAt(i), 'hash of a committed entry'));
      this.#committedTerms.push(entry.term);
      this.#committedIn.push(Math.max(node.term, at(this.#committedIn, i - 1)));
      const proposal = entry.kind === 'command' ? proposalOf(entry) : 0;
      this.#proposals.push(proposal);
      onNew(entry, proposal);
    }
    this.#compareCommitted(node, index);
    if (this.committedIndex === before) return;
    this.#config = node.effective;
    this.#checkDurable();
    this.#checkElectable();
  }

  /** A core gave entries to apply: it believes them committed, and everybody commits the same (I10). */
  handed(node: SimNode, entries: readonly Entry[]): void {
    for (const { index } of entries) this.#compareCommitted(node, index);
  }

  /** A state machine took an entry: in order, and every machine the same (I7). */
  applied(node: SimNode, entry: Entry): void {
    if (entry.index !== node.applied + 1)
      violated('I7 state machine safety', `n${node.id} applies ${entry.index} behind ${node.applied}`);
    node.applied = entry.index;
    node.stateHash = hashAfter(node.stateHash, entry);
    if (entry.kind === 'config') node.config = defined(decodeConfig(entry.payload), 'a configuration');
    this.#checkState(node);
  }

  /** A snapshot replaced the state machine of a node: it never goes back (I12). */
  installed(node: SimNode, snapshot: ModelSnapshot): void {
    const { index } = snapshot.position;
    if (index < node.applied)
      violated('I12 monotonic', `a snapshot puts n${node.id} back from ${node.applied} to ${index}`);
    node.applied = index;
    node.stateHash = snapshot.hash;
    node.config = snapshot.config;
    this.#checkState(node);
  }

  /** A disk changed. `kept`: the last index of its log that stayed as it was. */
  persisted(node: SimNode, kept: LogIndex): void {
    const seen = this.#seenOf(node);
    const { hard, log } = node.disk;
    if (hard.term < log.lastTerm)
      violated('I11 order', `the disk of n${node.id} has an entry of term ${log.lastTerm} before that term`);
    if (hard.term < seen.durableTerm)
      violated(
        'I12 monotonic',
        `the durable term of n${node.id} went from ${seen.durableTerm} to ${hard.term}`,
      );
    seen.durableTerm = hard.term;
    if (kept < this.committedIndex) this.#checkDurable();
    // Entries that were acknowledged stay as long as the node follows the leader that was told (§5.3).
    const isStill = seen.ackTerm === hard.term && log.baseIndex <= seen.ackIndex;
    if (isStill && log.hashAt(seen.ackIndex) !== seen.ackHash)
      violated(
        'I3 durable before reply',
        `n${node.id} has acknowledged ${seen.ackIndex} in term ${hard.term} and dropped it`,
      );
  }

  /** A node has finished a turn that may have changed its state. */
  turned(node: SimNode, status: RaftStatus): void {
    const { commit, applied, last, term } = status;
    const base = status.first - 1;
    if (base > commit || applied > commit || commit > last.index)
      violated(
        'I11 order',
        `n${node.id} has base ${base}, applied ${applied}, commit ${commit}, last ${last.index}`,
      );
    // Up to the base it is forgotten where a configuration stood.
    const { configIndex } = node.memory;
    if (Math.max(base, status.configIndex) !== Math.max(base, configIndex) && !node.hasFailed)
      violated(
        'I13 configuration safety',
        `n${node.id} goes by the members of ${status.configIndex}, its log says those of ${configIndex}`,
      );
    if (last.index !== node.memory.lastIndex && !node.hasFailed)
      violated('I11 order', `the writes of n${node.id} do not describe its log`);
    node.commit = commit;
    const seen = this.#seenOf(node);
    if (seen.life === node.life) this.#checkMonotonic(node, seen, status);
    seen.life = node.life;
    seen.term = term;
    seen.vote = status.vote;
    seen.commit = commit;
    seen.applied = applied;
    if (status.role === 'leader') this.#checkLeader(node, seen, status);
    else seen.leadTerm = 0;
  }

  /** Whether a node has told of its vote, or is the candidate and has it on its disk. */
  #hasVoted(id: NodeId, term: Term, candidate: SimNode): boolean {
    const { hard } = candidate.disk;
    if (id === candidate.id) return hard.term === term && hard.vote === id;
    return this.#votes.get(term * 16 + id) === candidate.id;
  }

  /** A leader changes members: the change before, and an entry of its own term, are committed (§6; Ongaro, raft-dev, July 2015). */
  #checkChange(node: SimNode, index: LogIndex): void {
    const { memory, term } = node;
    const { commit } = node.core.status;
    const before = memory.configBefore(index);
    if (before > commit)
      violated(
        'I13 configuration safety',
        `n${node.id} has the members of ${before} and of ${index} uncommitted`,
      );
    if (memory.termAt(commit) !== term)
      violated(
        'I13 configuration safety',
        `n${node.id} changes members at ${index}, and has committed nothing of its term ${term}`,
      );
  }

  #compareCommitted(node: SimNode, index: LogIndex): void {
    const known = this.#committed[index];
    // A snapshot may have come over it within the turn.
    if (index < node.memory.baseIndex && known !== undefined) return;
    if (known !== undefined && known === node.memory.hashAt(index)) return;
    const why =
      known === undefined ? 'which no leader has committed' : 'where another log was committed before';
    violated('I10 committed is immutable', `n${node.id} commits ${index}, ${why}`);
  }

  #voted(node: SimNode, term: Term, candidate: NodeId): void {
    const ballot = term * 16 + node.id;
    const known = this.#votes.get(ballot);
    if (known === undefined) this.#votes.set(ballot, candidate);
    else if (known !== candidate)
      violated('I2 one vote', `n${node.id} votes for n${known} and for n${candidate} in term ${term}`);
    const { hard } = node.disk;
    if (hard.term > term || (hard.term === term && hard.vote === candidate)) return;
    violated(
      'I3 durable before reply',
      `n${node.id} speaks of its vote for n${candidate} in term ${term}, its disk of n${hard.vote} in ${hard.term}`,
    );
  }

  #acknowledged(node: SimNode, message: Extract<Message, { readonly kind: 'appendReply' }>): void {
    const { hard, log } = node.disk;
    const { match, term } = message;
    const durable = log.hashAt(match);
    const own = node.memory.hashAt(match);
    const isOld = match < log.baseIndex;
    // In a later term it may be about to drop what it acknowledged in this one.
    const isOther = own !== undefined && own !== durable && node.term === term;
    if (hard.term < term || (!isOld && (durable === undefined || isOther)))
      violated(
        'I3 durable before reply',
        `n${node.id} acknowledges ${match} in term ${term}, its disk ends at ${log.lastIndex} in term ${hard.term}`,
      );
    const leader = at(this.#nodes, message.to - 1);
    const theirs = leader.role === 'leader' && leader.term === term ? leader.memory.hashAt(match) : undefined;
    if (!isOld && theirs !== undefined && theirs !== durable)
      violated(
        'I5 log matching',
        `n${node.id} acknowledges ${match} to n${leader.id}, and holds another log`,
      );
    const seen = this.#seenOf(node);
    if (durable === undefined || (seen.ackTerm === term && seen.ackIndex >= match)) return;
    seen.ackTerm = term;
    seen.ackIndex = match;
    seen.ackHash = durable;
  }

  #checkMonotonic(node: SimNode, seen: Seen, status: RaftStatus): void {
    const went = (what: string, from: number, to: number): never =>
      violated('I12 monotonic', `the ${what} of n${node.id} went from ${from} to ${to}`);
    if (status.term < seen.term) went('term', seen.term, status.term);
    if (status.commit < seen.commit) went('commit index', seen.commit, status.commit);
    if (status.applied < seen.applied) went('applied index', seen.applied, status.applied);
    if (status.term === seen.term && seen.vote !== 0 && status.vote !== seen.vote)
      went(`vote in term ${seen.term}`, seen.vote, status.vote);
  }

  /** A leader only adds to its log (I4), and what it believes of others is so. */
  #checkLeader(node: SimNode, seen: Seen, status: RaftStatus): void {
    const { memory } = node;
    const { term } = status;
    if (seen.leadTerm !== term) seen.matches.clear();
    else if (memory.baseIndex <= seen.leadLast && memory.hashAt(seen.leadLast) !== seen.leadHash)
      violated('I4 leader append-only', `n${node.id} changed its log as leader of term ${term}`);
    seen.leadTerm = term;
    seen.leadLast = memory.lastIndex;
    seen.leadHash = memory.lastHash;
    for (const { id, match } of status.peers) {
      // A member that left and comes back begins anew.
      const since = memory.config.since.get(id) ?? 0;
      const known = seen.matches.get(id);
      const before = known === undefined || known.since !== since ? 0 : known.match;
      if (match < before)
        violated(
          'I12 monotonic',
          `what n${id} is known to hold went from ${before} to ${match} at n${node.id}`,
        );
      if (match === known?.match && since === known.since) continue;
      seen.matches.set(id, { match, since });
      const { disk } = at(this.#nodes, id - 1);
      if (disk.hard.term > term || match <= disk.log.baseIndex) continue;
      const ours = memory.hashAt(match);
      if (ours !== undefined && disk.log.hashAt(match) !== ours)
        violated('I9 committed is durable', `n${node.id} believes that n${id} holds its entry ${match}`);
    }
  }

  #checkState(node: SimNode): void {
    const known = this.#committed[node.applied];
    if (known === undefined)
      violated('I7 state machine safety', `n${node.id} applies ${node.applied}, which nobody has committed`);
    if (known !== node.stateHash)
      violated(
        'I7 state machine safety',
        `n${node.id} has another state at ${node.applied} than was committed`,
      );
  }

  /** The last committed entry, and with it all others, is on the disks of a majority. */
  #checkDurable(): void {
    const index = this.committedIndex;
    const hash = at(this.#committed, index);
    const holds = (id: NodeId): boolean => {
      const { log } = at(this.#nodes, id - 1).disk;
      return log.baseIndex > index || log.hashAt(index) === hash;
    };
    if (!this.#nodes.some(({ id, isWitness }) => !isWitness && holds(id)))
      violated('I31 data is kept', `entry ${index} is committed, and no disk has it but those of witnesses`);
    if (isQuorum(this.#config, holds)) return;
    const holders = this.#nodes.filter(({ id }) => holds(id)).map(({ id }) => `n${id}`);
    violated(
      'I9 committed is durable',
      `entry ${index} is committed and on the disks of ${holders.join(' ')} only: ${describeConfig(this.#config)}`,
    );
  }

  /** Nobody whose disk lacks the last committed entry could win an election among the disks as they are (§5.4.1, §5.4.2). */
  #checkElectable(): void {
    const index = this.committedIndex;
    const hash = at(this.#committed, index);
    for (const candidate of this.#nodes) {
      const { log } = candidate.disk;
      if (log.baseIndex > index || log.hashAt(index) === hash) continue;
      const votes = (id: NodeId): boolean => {
        const own = at(this.#nodes, id - 1).disk.log;
        return (
          own.lastTerm < log.lastTerm || (own.lastTerm === log.lastTerm && own.lastIndex <= log.lastIndex)
        );
      };
      if (isQuorum(log.config, votes))
        violated(
          'I6 leader completeness',
          `entry ${index}@${at(this.#committedTerms, index)} is committed, and n${candidate.id} could win without it`,
        );
    }
  }

  #seenOf(node: SimNode): Seen {
    return at(this.#seen, node.id - 1);
  }
}

function key(index: LogIndex, term: Term): number {
  return term * INDEX_LIMIT + index;
}
