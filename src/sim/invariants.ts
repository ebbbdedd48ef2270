/**
 * What must hold of all nodes together at every moment, checked as a run goes: the properties of Figure 3 of the paper
 * and the promises behind them. It sees each node only through its observations, across crashes, and pays for what
 * changed since the last one.
 *
 * A violation is thrown, never returned: a run ends at the first.
 */
import { assert, defined } from '../lib/assert.ts';
import type { Reply, Request } from '../net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { RaftStatus } from '../raft/messages.ts';
import { Answers } from './answers.ts';
import { ConfigAudit, isQuorum } from './config-audit.ts';
import { Elections, namesOf } from './elections.ts';
import { HashLog } from './hash-log.ts';
import type { Grant, Observation } from './host.ts';
import { IndexTable } from './index-table.ts';
import { fail } from './violation.ts';

/** How far the common tables may lag behind what can be forgotten. */
const FORGET_EVERY = 256;

/** How a node went down. */
export interface HowDown {
  /** Within a turn or a start, so that nobody saw what became of its disk. */
  readonly inTurn: boolean;
  /** Votes that had left it. */
  readonly granted: readonly Grant[];
  /** Why, when it was not told to and no disk gave up: a finding. */
  readonly bug?: string;
}

/** What is known of one node across its lives. */
interface Tracked {
  readonly id: NodeId;
  /** Counts the directories that the node has had: with a new one it is a new node to Raft. */
  directory: number;
  life: number;
  isUp: boolean;
  /**
   * Its disk may hold more than was observed: it went down, or its disk failed, in the middle of a turn. Or it holds less and
   * abstains: then it helps to elect nobody who holds less, and that is what is asked of a copy.
   */
  mayHoldMore: boolean;
  readonly log: HashLog;
  /** How far its log was seen to be durable. */
  durable: LogIndex;
  /** The last one of this life. */
  seen: Observation | undefined;
  /** The durable term and vote, which outlive the process. */
  hardTerm: Term;
  hardVote: NodeId;
}

/** What is known to be committed at an index. */
interface Committed {
  readonly hash: number;
  /** No later than this term: leaders of later ones must have it. */
  readonly term: Term;
}

/** Checks one run. Feed it everything, in order. */
export class Invariants {
  readonly #configs: ConfigAudit;
  readonly #nodes: Map<NodeId, Tracked> = new Map();
  readonly #answers: Answers = new Answers();
  readonly #elections: Elections = new Elections();
  /** Per index, alternately a term and the hash that a log with this term there must have. */
  readonly #positions: IndexTable<number[]> = new IndexTable();
  readonly #committed: IndexTable<Committed> = new IndexTable();
  #commit: LogIndex = 0;
  /** The state after each index at which a node was seen. */
  readonly #states: IndexTable<string> = new IndexTable();
  #floor: LogIndex = 0;

  /** @param options.voters the cluster as it begins */
  constructor(options: { readonly voters: readonly NodeId[] }) {
    this.#configs = new ConfigAudit(options.voters);
  }

  /** The last index that any node is known to have committed. */
  get committed(): LogIndex {
    return this.#commit;
  }

  /** Number of cells held in tables that grow with the log: bounded as long as nodes compact theirs. */
  get cells(): number {
    return this.#positions.size + this.#committed.size + this.#states.size;
  }

  /** A node starts its `life`-th life. */
  started(node: NodeId, life: number): void {
    const tracked = this.#tracked(node);
    tracked.isUp = true;
    tracked.life = life;
    tracked.seen = undefined;
  }

  /** A node went down. Its directory stays. */
  wentDown(node: NodeId, how: HowDown): void {
    const tracked = this.#tracked(node);
    for (const { term, candidate } of how.granted) this.#elections.voted(tracked, term, candidate);
    tracked.isUp = false;
    tracked.seen = undefined;
    tracked.mayHoldMore ||= how.inTurn;
    if (how.bug !== undefined) fail('I30 assertion', `n${node} died: ${how.bug}`);
  }

  /** A node's directory is gone: it holds nothing, and remembers no vote. */
  wiped(node: NodeId): void {
    const tracked = this.#tracked(node);
    tracked.directory += 1;
    tracked.isUp = false;
    tracked.seen = undefined;
    tracked.mayHoldMore = false;
    tracked.log.reset({ index: 0, hash: 0 });
    tracked.durable = 0;
    tracked.hardTerm = 0;
    tracked.hardVote = 0;
  }

  /** A request was handed to a node. `id` is never used again. */
  submitted(id: number, request: Request): void {
    this.#answers.asked(id, request);
  }

  /** A node answered. */
  replied(id: number, reply: Reply): void {
    this.#answers.answered(id, reply);
  }

  /** The node that had the request is down: no answer will come. */
  lost(id: number): void {
    this.#answers.lost(id);
  }

  /** Takes the state of a node after a turn or a start. */
  observed(node: NodeId, seen: Observation): void {
    const tracked = this.#tracked(node);
    const last = tracked.seen;
    if (last !== undefined && isUnchanged(last, seen)) return;
    this.#checkVotes(tracked, seen);
    if (seen.storage === 'failed') {
      this.#observedFailed(tracked, seen);
      return;
    }
    this.#checkOrder(tracked, seen);
    this.#checkMonotonic(tracked, last, seen.raft);
    this.#checkBase(tracked, seen.base);
    const isOldLeader = last !== undefined && isLeaderStill(last.raft, seen.raft);
    if (isOldLeader) this.#checkAppendOnly(tracked, seen);
    if (last === undefined) this.#recovered(tracked, seen);
    this.#followLog(tracked, seen);
    if (seen.raft.role === 'leader' && !isOldLeader) this.#checkNewLeader(tracked, last, seen.raft);
    tracked.durable = Math.min(seen.raft.durable, tracked.log.lastIndex);
    tracked.mayHoldMore = seen.isAbstaining;
    if (seen.raft.role === 'leader') this.#checkMatches(tracked, last, seen.raft);
    this.#checkCommit(tracked, last, seen);
    this.#checkState(tracked, last, seen);
    tracked.seen = seen;
    // On a full disk they wait for room: until then nobody was told of a vote, and a crash takes them back.
    if (seen.storage !== 'full') {
      tracked.hardTerm = seen.raft.term;
      tracked.hardVote = seen.raft.vote;
    }
    if (this.#commit - this.#floor > FORGET_EVERY) this.#forget();
  }

  /** The log of a node, as it was observed last. */
  logOf(node: NodeId): HashLog {
    return this.#tracked(node).log;
  }

  #tracked(id: NodeId): Tracked {
    const known = this.#nodes.get(id);
    if (known !== undefined) return known;
    const tracked: Tracked = {
      id,
      directory: 0,
      life: 0,
      isUp: false,
      mayHoldMore: false,
      log: new HashLog(),
      durable: 0,
      seen: undefined,
      hardTerm: 0,
      hardVote: 0,
    };
    this.#nodes.set(id, tracked);
    return tracked;
  }

  /** I2: a term has room for one vote of a node, whatever happens between two. */
  #checkVotes(tracked: Tracked, seen: Observation): void {
    const { raft, granted } = seen;
    if (raft.role === 'leader') this.#elections.voted(tracked, raft.term, tracked.id);
    for (const { term, candidate } of granted) {
      this.#elections.voted(tracked, term, candidate);
      if (term > raft.term || (term === raft.term && raft.vote !== candidate))
        fail(
          'I3 durable before reply',
          `n${tracked.id} spoke of its vote for n${candidate} in term ${term} and stands at n${raft.vote} in term ${raft.term}`,
        );
    }
  }

  /** The node promises nothing any more. What its disk holds is seen at its next start. */
  #observedFailed(tracked: Tracked, seen: Observation): void {
    if (seen.raft.role === 'leader')
      fail('I3 durable before reply', `n${tracked.id} leads with a disk that failed`);
    tracked.mayHoldMore = true;
    tracked.seen = undefined;
  }

  /** I11: each of these bounds the next. A snapshot that the core has taken may wait for room, and so do all promises. */
  #checkOrder(tracked: Tracked, seen: Observation): void {
    const { raft, snapshotIndex, base, storage } = seen;
    const isWaiting = storage === 'full' && raft.durable < raft.first - 1;
    const isOrdered =
      (isWaiting || (base.index <= snapshotIndex && raft.first - 1 <= snapshotIndex)) &&
      snapshotIndex <= raft.applied &&
      raft.applied <= raft.commit &&
      raft.commit <= raft.last.index &&
      raft.durable <= raft.last.index &&
      raft.last.term <= raft.term;
    if (isOrdered) return;
    fail(
      'I11 order',
      `n${tracked.id} has first ${raft.first}, snapshot ${snapshotIndex}, applied ${raft.applied}, commit ${raft.commit}, ` +
        `durable ${raft.durable}, last ${raft.last.index}@${raft.last.term}, term ${raft.term}`,
    );
  }

  /** I12: nothing of this goes back, and what is durable does not even with the process. */
  #checkMonotonic(tracked: Tracked, last: Observation | undefined, now: RaftStatus): void {
    const { id, hardTerm, hardVote } = tracked;
    if (now.term < hardTerm)
      fail('I12 monotonic', `the term of n${id} went from ${hardTerm} back to ${now.term}`);
    if (now.term === hardTerm && hardVote !== 0 && now.vote !== hardVote)
      fail('I12 monotonic', `the vote of n${id} in term ${hardTerm} went from n${hardVote} to n${now.vote}`);
    if (last === undefined) return;
    if (now.term < last.raft.term)
      fail('I12 monotonic', `the term of n${id} went from ${last.raft.term} back to ${now.term}`);
    if (now.commit < last.raft.commit)
      fail('I12 monotonic', `the commit index of n${id} went from ${last.raft.commit} back to ${now.commit}`);
    if (now.applied < last.raft.applied)
      fail(
        'I12 monotonic',
        `the applied index of n${id} went from ${last.raft.applied} back to ${now.applied}`,
      );
  }

  /** The first sight of a life: nothing that was committed and durable here is missing (I9, for one disk). */
  #recovered(tracked: Tracked, seen: Observation): void {
    const { log } = tracked;
    const index = Math.min(this.#commit, tracked.durable);
    const held = log.hashAt(index);
    const known = this.#committed.get(index)?.hash;
    log.reset(seen.base);
    for (const entry of seen.appended) log.push(entry);
    const isHeld = index > 0 && held !== undefined && held === known;
    if (isHeld && !seen.isAbstaining && seen.base.index <= index && log.hashAt(index) !== held)
      fail('I9 committed is durable', `n${tracked.id} lost entry ${index}, which it had on its disk`);
  }

  /** I5: positions that agree on index and term agree on everything before. */
  #followLog(tracked: Tracked, seen: Observation): void {
    const { log } = tracked;
    const { base, cutAfter, appended, raft } = seen;
    if (tracked.seen !== undefined) {
      if (cutAfter !== undefined && cutAfter >= log.baseIndex) log.cutAfter(cutAfter);
      this.#moveBase(tracked, base);
      for (const entry of appended) log.push(entry);
    }
    for (const { index, term, hash } of appended) this.#checkPosition(tracked.id, index, term, hash);
    assert(
      log.lastIndex === raft.last.index && (log.lastTerm === raft.last.term || log.lastTerm === 0),
      `n${tracked.id} reports a log up to ${log.lastIndex}@${log.lastTerm} and claims ${raft.last.index}@${raft.last.term}`,
    );
  }

  #moveBase(tracked: Tracked, base: Observation['base']): void {
    const { log } = tracked;
    if (base.index === log.baseIndex) return;
    if (base.index < log.baseIndex || base.index > log.lastIndex) return log.reset(base);
    if (log.hashAt(base.index) === base.hash) return log.forget(base.index);
    if (log.lastIndex > base.index)
      fail(
        'I5 log matching',
        `n${tracked.id} keeps entries behind a snapshot at ${base.index} that contradicts them`,
      );
    log.reset(base);
  }

  #checkPosition(id: NodeId, index: LogIndex, term: Term, hash: number): void {
    const known = this.#positions.get(index);
    if (known === undefined) return this.#positions.set(index, [term, hash]);
    for (let i = 0; i < known.length; i += 2) {
      if (known[i] !== term) continue;
      if (known[i + 1] !== hash)
        fail('I5 log matching', `the logs up to ${index}@${term} differ, as n${id} shows`);
      return;
    }
    known.push(term, hash);
  }

  /** I10: what a snapshot stands for is what was committed. */
  #checkBase({ id }: Tracked, base: Observation['base']): void {
    const known = this.#committed.get(base.index)?.hash;
    if (known !== undefined && known !== base.hash)
      fail('I10 committed is immutable', `the log of n${id} begins behind another entry ${base.index}`);
  }

  /** I4: a leader never cuts or replaces. */
  #checkAppendOnly({ id, log }: Tracked, { cutAfter, raft }: Observation): void {
    if (cutAfter !== undefined && cutAfter < log.lastIndex)
      fail('I4 leader append-only', `n${id} cut its log behind ${cutAfter} as leader of term ${raft.term}`);
  }

  /** I1 and I6. */
  #checkNewLeader(tracked: Tracked, last: Observation | undefined, raft: RaftStatus): void {
    const { id, log } = tracked;
    const { term } = raft;
    this.#elections.won(tracked, term, last === undefined ? [raft.config] : [raft.config, last.raft.config]);
    // A leader elected late may lack what later terms have committed already.
    let index = this.#commit;
    while (index > this.#floor && (this.#committed.get(index)?.term ?? Infinity) >= term) index -= 1;
    const known = this.#committed.get(index);
    if (known === undefined || index < log.baseIndex) return;
    if (log.hashAt(index) !== known.hash)
      fail('I6 leader completeness', `n${id} leads term ${term} without entry ${index}`);
  }

  /** I3: what a follower has acknowledged is on its disk, for as long as no later leader has changed its log. */
  #checkMatches({ log }: Tracked, last: Observation | undefined, { id, term, peers }: RaftStatus): void {
    for (const [i, { id: peer, match }] of peers.entries()) {
      const before = last?.raft.peers[i];
      if (match === 0 || (before?.id === peer && before.match === match)) continue;
      const follower = this.#nodes.get(peer);
      if (follower === undefined || follower.mayHoldMore || follower.directory > 0) continue;
      if (termOf(follower) > term || match <= follower.log.baseIndex || match <= log.baseIndex) continue;
      if (follower.durable >= match && follower.log.hashAt(match) === log.hashAt(match)) continue;
      fail(
        'I3 durable before reply',
        `n${id} believes that n${peer} has its entry ${match} on disk, which has ${follower.durable} entries`,
      );
    }
  }

  /** I7, I9, I10: what is committed is the same for all, and stays on the disks of a majority. */
  #checkCommit(tracked: Tracked, last: Observation | undefined, seen: Observation): void {
    const { log, id } = tracked;
    const { commit, term } = seen.raft;
    const from = Math.max(last?.raft.commit ?? 0, log.baseIndex);
    for (let index = from + 1; index <= commit; index++) {
      const hash = defined(log.hashAt(index), 'hash of a committed entry');
      const known = this.#committed.get(index);
      if (known === undefined) this.#committed.set(index, { hash, term });
      else if (known.hash !== hash)
        fail('I10 committed is immutable', `n${id} commits another entry ${index} than was committed before`);
    }
    const isNews = commit > this.#commit;
    this.#commit = Math.max(this.#commit, commit);
    this.#configs.observed(seen, last, log.hashAt(seen.raft.configIndex), this.#commit);
    if (isNews || last === undefined || seen.cutAfter !== undefined) this.#checkDurable();
    if (seen.raft.role === 'leader' && last !== undefined && commit > last.raft.commit)
      this.#checkCounted(last, seen);
  }

  /** I9: no majority can be found that has forgotten something committed. */
  #checkDurable(): void {
    const holders = this.#holders(this.#commit);
    if (holders === undefined) return;
    // A new configuration decides before it is committed, and the one before may still do so elsewhere.
    if (isQuorum(this.#configs.committed, holders) || isQuorum(this.#configs.leaders, holders)) return;
    fail(
      'I9 committed is durable',
      `entry ${this.#commit} is committed and on the disk of ${namesOf(holders)} only`,
    );
  }

  /** I9, I13: what a leader just committed is on a majority of the configuration that it commits with. */
  #checkCounted(last: Observation, { raft }: Observation): void {
    const holders = this.#holders(raft.commit);
    if (holders === undefined || isQuorum(raft.config, holders)) return;
    // It committed before it appended a new configuration in the same turn.
    if (raft.configIndex !== last.raft.configIndex && isQuorum(last.raft.config, holders)) return;
    fail(
      'I9 committed is durable',
      `n${raft.id} commits entry ${raft.commit}, which is on the disk of ${namesOf(holders)} only`,
    );
  }

  /** Whose disks have the committed log up to `index`; undefined when nobody knows any more what that is. */
  #holders(index: LogIndex): ReadonlySet<NodeId> | undefined {
    const hash = this.#committed.get(index)?.hash;
    if (hash === undefined) return undefined;
    const holders = new Set<NodeId>();
    for (const tracked of this.#nodes.values()) if (holds(tracked, index, hash)) holders.add(tracked.id);
    return holders;
  }

  /** I8: equal states at equal places. */
  #checkState(tracked: Tracked, last: Observation | undefined, seen: Observation): void {
    const { applied } = seen.raft;
    if (last !== undefined && last.raft.applied === applied && last.stateHash === seen.stateHash) return;
    const known = this.#states.get(applied);
    if (known === undefined) this.#states.set(applied, seen.stateHash);
    else if (known !== seen.stateHash)
      fail(
        'I8 equal states',
        `n${tracked.id} at ${applied} has state ${seen.stateHash}, another had ${known}`,
      );
  }

  /** Forgets what no node can contradict any more. */
  #forget(): void {
    let floor = this.#commit;
    for (const { log } of this.#nodes.values()) floor = Math.min(floor, log.baseIndex);
    if (floor <= this.#floor) return;
    this.#floor = floor;
    this.#positions.forgetBelow(floor);
    this.#committed.forgetBelow(floor);
    this.#states.forgetBelow(floor);
    this.#answers.forgetBelow(floor);
  }
}

function holds(tracked: Tracked, index: LogIndex, hash: number): boolean {
  if (tracked.mayHoldMore || tracked.log.baseIndex > index) return true;
  return tracked.durable >= index && tracked.log.hashAt(index) === hash;
}

function isLeaderStill(before: RaftStatus, now: RaftStatus): boolean {
  return before.role === 'leader' && now.role === 'leader' && before.term === now.term;
}

/** Whether there is nothing to check: the usual case, so it must be quick. */
function isUnchanged(last: Observation, seen: Observation): boolean {
  const a = last.raft;
  const b = seen.raft;
  return (
    a.term === b.term &&
    a.role === b.role &&
    a.vote === b.vote &&
    a.commit === b.commit &&
    a.applied === b.applied &&
    last.isAbstaining === seen.isAbstaining &&
    a.durable === b.durable &&
    a.first === b.first &&
    a.configIndex === b.configIndex &&
    a.last.index === b.last.index &&
    a.last.term === b.last.term &&
    seen.appended.length === 0 &&
    seen.granted.length === 0 &&
    seen.cutAfter === undefined &&
    last.base.index === seen.base.index &&
    last.snapshotIndex === seen.snapshotIndex &&
    last.storage === seen.storage &&
    last.stateHash === seen.stateHash
  );
}

/** The newest term that a node was seen in. */
function termOf({ seen, hardTerm }: Tracked): Term {
  return seen === undefined ? hardTerm : Math.max(seen.raft.term, hardTerm);
}
