/**
 * What must hold in every run of Raft, checked as it runs: the properties of Figure 3 of the paper and the promises
 * behind them. It sees every message that leaves, every write, every turn of a node, across crashes.
 *
 * A violation is thrown, never returned: a script, a random run and a broken rule all end at the first one.
 */
import { defined } from '../../src/lib/assert.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import type { Entry, LogIndex, NodeId, Term } from '../../src/raft/entry.ts';
import type { Event, HardState, Message, RaftStatus } from '../../src/raft/messages.ts';
import type { Config } from '../../src/raft/membership.ts';
import type { HashedLog } from './hashed-log.ts';
import type { Loss } from './raft-loss.ts';

/** The names under which violations are reported. */
export type Invariant =
  | 'Election Safety'
  | 'One Vote'
  | 'Durable Before Reply'
  | 'Leader Append-Only'
  | 'Log Matching'
  | 'Leader Completeness'
  | 'State Machine Safety'
  | 'Committed Is Durable'
  | 'Match Is Durable'
  | 'Order'
  | 'Monotonic'
  | 'One Outcome'
  | 'Honest Outcome'
  | 'Linearizable Read'
  /** Witnesses keep stubs and never lead, all others keep commands. */
  | 'Data Is Kept';

export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
  readonly invariant: Invariant;

  constructor(invariant: Invariant, detail: string) {
    super(`${invariant}: ${detail}`);
    this.invariant = invariant;
  }
}

/** What the checker may see of a node. `memory` is the core's log as its writes have described it. */
export interface ObservedNode {
  readonly id: NodeId;
  readonly life: number;
  readonly status: RaftStatus | undefined;
  readonly isWitness: boolean;
  readonly memory: HashedLog;
  readonly disk: { readonly hard: HardState; readonly log: HashedLog };
  /** What its disk has lost of what it may have acknowledged: while it is missing, the node must take part in no election. */
  readonly loss: Loss | undefined;
}

interface Seen {
  readonly life: number;
  readonly term: Term;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  readonly leading: { readonly term: Term; readonly last: LogIndex; readonly hash: number } | undefined;
}

export class Invariants {
  readonly #nodes: readonly ObservedNode[];
  /** Who leads each term, and in which of its lives it began to: a term is won once. */
  readonly #leaders: Map<Term, string> = new Map();
  readonly #votes: Map<string, NodeId> = new Map();
  /** What was committed last, and whose majorities hold it. */
  #held: { readonly index: LogIndex; readonly config: Config } | undefined;
  /** Commits of the turn that is not over yet, each with the configuration that its leader counted by. */
  #counted: { readonly index: LogIndex; readonly config: Config }[] = [];
  /** The configuration in effect at a node, as its events have told so far. */
  readonly #configs: Map<NodeId, Config> = new Map();
  /** The checksum of the log up to each position, by term and index. */
  readonly #hashes: Map<Term, Map<LogIndex, number>> = new Map();
  /** The checksum of the log up to each committed index; 0 at index 0. */
  readonly #committed: number[] = [0];
  /** The checksum of the entry applied at each index. */
  readonly #appliedEntries: Map<LogIndex, number> = new Map();
  readonly #seen: Map<NodeId, Seen> = new Map();
  readonly #durableTerms: Map<NodeId, Term> = new Map();

  constructor(nodes: readonly ObservedNode[]) {
    this.#nodes = nodes;
  }

  /** The last index that any node knows to be committed. */
  get committed(): LogIndex {
    return this.#committed.length - 1;
  }

  /** A message leaves: what it promises is on the disk (I3), and no vote contradicts another (I2). */
  sent(node: ObservedNode, message: Message): void {
    const { hard, log } = node.disk;
    const isVote = message.kind === 'voteReply' && message.granted && !message.pre;
    const isCandidacy = message.kind === 'vote' && !message.pre;
    if (isVote || isCandidacy) {
      const candidate = isVote ? message.to : node.id;
      this.#vote(node.id, message.term, candidate);
      if (hard.term < message.term || (hard.term === message.term && hard.vote !== candidate)) {
        fail(
          'Durable Before Reply',
          `n${node.id} speaks of its vote for n${candidate} in term ${message.term}, its disk of n${hard.vote} in ${hard.term}`,
        );
      }
    }
    if (message.kind !== 'appendReply') return;
    const onDisk = log.hashAt(message.match);
    const isOld = message.match < log.base.index;
    const given = node.memory.hashAt(message.match);
    const isOther = given !== undefined && onDisk !== given;
    if (hard.term < message.term || (!isOld && (onDisk === undefined || isOther))) {
      fail(
        'Durable Before Reply',
        `n${node.id} acknowledges ${message.match} in term ${message.term}, its disk ends at ${log.last.index} in term ${hard.term}`,
      );
    }
  }

  /** A node won: nobody else leads the term (I1), and its log holds everything committed (I6). */
  event(node: ObservedNode, event: Event): void {
    if (event.kind === 'config' && event.phase !== 'committed') this.#configs.set(node.id, event.config);
    const config = this.#configs.get(node.id);
    if (event.kind === 'commit' && config !== undefined) this.#counted.push({ index: event.index, config });
    if (event.kind !== 'role' || event.to !== 'leader') return;
    const who = `n${node.id}, life ${node.life}`;
    const other = this.#leaders.get(event.term);
    if (other !== undefined) fail('Election Safety', `term ${event.term} is led by ${other} and by ${who}`);
    this.#leaders.set(event.term, who);
    if (node.isWitness) fail('Data Is Kept', `n${node.id} leads term ${event.term} and keeps no data`);
    const { memory } = node;
    if (memory.base.index >= this.committed) return;
    if (memory.hashAt(this.committed) !== this.#committed[this.committed]) {
      fail('Leader Completeness', `n${node.id} leads term ${event.term} without entry ${this.committed}`);
    }
  }

  /** A core gave out entries, as they are: what it is to keep. */
  kept(node: ObservedNode, entries: readonly Entry[]): void {
    const wrong = entries.find(({ kind }) => kind === (node.isWitness ? 'command' : 'stub'));
    if (wrong === undefined) return;
    const who = `n${node.id}, ${node.isWitness ? 'a witness' : 'no witness'}`;
    fail('Data Is Kept', `${who}, keeps entry ${wrong.index}@${wrong.term} as a ${wrong.kind}`);
  }

  /** A core gave out entries: positions that agree on index and term agree on everything before (I5). */
  appended(node: ObservedNode, entries: readonly Entry[]): void {
    for (const { index, term } of entries) {
      const hash = node.memory.hashAt(index);
      if (hash === undefined) continue;
      const ofTerm = this.#hashes.get(term) ?? new Map<LogIndex, number>();
      this.#hashes.set(term, ofTerm);
      const known = ofTerm.get(index);
      if (known === undefined) ofTerm.set(index, hash);
      else if (known !== hash)
        fail('Log Matching', `the logs up to ${index}@${term} differ, as n${node.id} shows`);
    }
    const first = node.memory.entries[0];
    if (first !== undefined && first.term < node.memory.base.term)
      fail(
        'Log Matching',
        `entry ${first.index}@${first.term} of n${node.id} lies behind a snapshot of a later term`,
      );
  }

  /** A disk changed: what is committed is still on a majority of disks (I9). */
  wrote(node: ObservedNode): void {
    const { hard, log } = node.disk;
    if (hard.term < log.last.term)
      fail('Order', `the disk of n${node.id} has an entry of term ${log.last.term} before that term itself`);
    if (hard.term < (this.#durableTerms.get(node.id) ?? 0))
      fail('Monotonic', `the durable term of n${node.id} went back to ${hard.term}`);
    this.#durableTerms.set(node.id, hard.term);
    this.#checkDurable();
  }

  /** A node handed an entry to its state machine: every machine gets the same one at this index (I7). */
  applied(node: ObservedNode, entry: Entry): void {
    const what = crc32(entry.encoded);
    const known = this.#appliedEntries.get(entry.index);
    if (known === undefined) this.#appliedEntries.set(entry.index, what);
    else if (known !== what)
      fail(
        'State Machine Safety',
        `n${node.id} applies another entry ${entry.index}@${entry.term} than others did`,
      );
  }

  /** A node has finished a turn: everything about its state. */
  turned(node: ObservedNode): void {
    const { status } = node;
    if (status === undefined) return;
    const name = `n${node.id}`;
    const { commit, applied, last, term } = status;
    const base = status.first - 1;
    if (base > commit || commit > last.index || applied > commit)
      fail('Order', `${name} has base ${base}, applied ${applied}, commit ${commit}, last ${last.index}`);
    this.#checkMonotonic(node, status);
    this.#checkLeader(node, status);
    this.#commit(node, commit);
    this.#configs.set(node.id, status.config);
    this.#seen.set(node.id, {
      life: node.life,
      term,
      commit,
      applied,
      leading: status.role === 'leader' ? { term, last: last.index, hash: node.memory.last.hash } : undefined,
    });
  }

  #vote(voter: NodeId, term: Term, candidate: NodeId): void {
    const key = `${voter}/${term}`;
    const known = this.#votes.get(key);
    if (known !== undefined && known !== candidate)
      fail('One Vote', `n${voter} votes for n${known} and for n${candidate} in term ${term}`);
    this.#votes.set(key, candidate);
  }

  #checkMonotonic(node: ObservedNode, status: RaftStatus): void {
    const seen = this.#seen.get(node.id);
    if (seen?.life !== node.life) return;
    const went = (what: string, from: number, to: number): void => {
      if (to < from) fail('Monotonic', `the ${what} of n${node.id} went from ${from} back to ${to}`);
    };
    went('term', seen.term, status.term);
    went('commit index', seen.commit, status.commit);
    went('applied index', seen.applied, status.applied);
    const { leading } = seen;
    if (leading === undefined || status.role !== 'leader' || leading.term !== status.term) return;
    const isOld = node.memory.base.index > leading.last;
    if (!isOld && node.memory.hashAt(leading.last) !== leading.hash)
      fail('Leader Append-Only', `n${node.id} changed its log as leader of term ${status.term}`);
  }

  /** A leader counts on what a follower acknowledged: it is there, as long as the follower follows. */
  #checkLeader(node: ObservedNode, status: RaftStatus): void {
    const durable = node.disk.log.hashAt(status.durable);
    const own = node.memory.hashAt(status.durable);
    const isOnDisk = durable !== undefined && durable === own;
    if (!isOnDisk && status.durable > node.disk.log.base.index && own !== undefined)
      fail('Match Is Durable', `n${node.id} believes its disk has entry ${status.durable}`);
    for (const { id, match } of status.peers) {
      const peer = defined(
        this.#nodes.find((other) => other.id === id),
        'peer',
      );
      if (
        peer.loss?.isMissing === true ||
        peer.disk.hard.term > status.term ||
        match <= peer.disk.log.base.index
      )
        continue;
      const theirs = peer.disk.log.hashAt(match);
      const ours = node.memory.hashAt(match);
      if (ours !== undefined && theirs !== ours)
        fail('Match Is Durable', `n${node.id} believes that n${id} has its entry ${match}`);
    }
  }

  #commit(node: ObservedNode, commit: LogIndex): void {
    const seen = this.#seen.get(node.id);
    const from = Math.max(seen?.life === node.life ? seen.commit : 0, node.memory.base.index);
    const before = this.committed;
    for (let index = from + 1; index <= commit; index++) {
      const hash = defined(node.memory.hashAt(index), 'hash of a committed entry');
      const known = this.#committed[index];
      if (known === undefined) this.#committed[index] = hash;
      else if (known !== hash)
        fail('State Machine Safety', `n${node.id} commits another entry ${index} than was committed before`);
    }
    // A leader may commit by one configuration, append the next, and commit by that one, all in the same turn (§6).
    const counted = this.#counted.filter(({ index }) => index > before);
    this.#counted = [];
    for (const held of counted) {
      this.#held = held;
      this.#checkDurable();
    }
  }

  /**
   * On the disks of a majority of every group of voters, counted here once more and naively. Who has lost it and abstains
   * helps to elect nobody without it, and that is what a copy is for.
   */
  #checkDurable(): void {
    if (this.#held === undefined) return;
    const { index, config } = this.#held;
    const hash = this.#committed[index];
    const holders = this.#nodes.filter(
      ({ loss, disk: { log } }) =>
        loss?.isMissing === true || log.base.index > index || log.hashAt(index) === hash,
    );
    const holds = (voters: readonly NodeId[]): boolean =>
      holders.filter(({ id }) => voters.includes(id)).length * 2 > voters.length;
    const isHeld = holds(config.voters) && (config.outgoing.length === 0 || holds(config.outgoing));
    if (isHeld && holders.every(({ isWitness }) => isWitness))
      fail('Data Is Kept', `entry ${index} is committed, and only witnesses know of it`);
    if (isHeld) return;
    const who = holders.map(({ id }) => `n${id}`).join(' ') || 'nobody';
    fail('Committed Is Durable', `entry ${index} is committed and on the disk of ${who} only`);
  }
}

/** Throws the violation. */
export function fail(invariant: Invariant, detail: string): never {
  throw new InvariantViolation(invariant, detail);
}
