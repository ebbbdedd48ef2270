/**
 * A leader: takes proposals, feeds followers, commits what a majority holds (§5.3, §5.4.2), and steps down when it has lost
 * its majority (thesis §6.2) or its disk is too slow. Rounds and reads, membership, transfer and sleep are parts of their own.
 */
import { assert, defined, unreachable } from '../lib/assert.ts';
import { Deque } from '../lib/deque.ts';
import type { Core, MessageOf, RoleState, Transitions } from './core.ts';
import {
  ENTRY_HEADER_BYTES,
  type Entry,
  type LogIndex,
  type NodeId,
  makeCommands,
  makeEntry,
} from './entry.ts';
import { LeaderMembership } from './leader-membership.ts';
import type { MemberChange } from './membership.ts';
import { LeaderRounds } from './leader-rounds.ts';
import { LeaderTransfer } from './leader-transfer.ts';
import { LeaderWitnesses } from './leader-witnesses.ts';
import type { Message, PeerProgress, Proposal, ReadMode, Round } from './messages.ts';
import { Progress } from './progress.ts';
import { Quiescence } from './quiescence.ts';
import { answerVote } from './voter.ts';

/** Proposals waiting for commit; the host's own limit is far below. */
const PENDING_MAX = 1_048_576;
const NOT_A_MEMBER = 'from a node that is no member';
/** A probing append carries little: it may go to a node that is down. */
const PROBE_BYTES_MAX = 65_536;
/** Election timeouts after which a snapshot counts as lost, when the host has not told what became of it. */
const SNAPSHOT_ELECTIONS = 40;

export class Leader implements RoleState {
  readonly kind = 'leader';
  readonly #core: Core;
  readonly #transitions: Transitions;
  readonly #progress: Map<NodeId, Progress>;
  readonly #rounds: LeaderRounds;
  readonly #membership: LeaderMembership;
  readonly #transfer: LeaderTransfer;
  readonly #quiescence: Quiescence;
  readonly #witnesses: LeaderWitnesses;
  /** Index of the no-op that opens this term: once it is committed, so is everything before it (§8). */
  readonly #noop: LogIndex;
  readonly #pending: Deque<{ readonly index: LogIndex; readonly id: number }> = new Deque(PENDING_MAX);
  #uncommittedBytes: number;

  constructor(core: Core, transitions: Transitions) {
    this.#core = core;
    this.#transitions = transitions;
    const { log, term, config } = core;
    this.#uncommittedBytes = log
      .slice(log.commit + 1, log.last.index, Infinity)
      .reduce((bytes, entry) => bytes + entry.encoded.length, 0);
    this.#progress = new Map(
      core.peers.map((id) => [id, new Progress(id, log.last.index + 1, core.nowMs, config)]),
    );
    this.#noop = log.last.index + 1;
    log.append([makeEntry({ term, index: this.#noop, kind: 'noop', payload: new Uint8Array(0) })], term);
    const progress = this.#progress;
    this.#rounds = new LeaderRounds({ core, noop: this.#noop, progress });
    this.#transfer = new LeaderTransfer({ core, progress, rounds: this.#rounds });
    this.#quiescence = new Quiescence(core, progress);
    this.#witnesses = new LeaderWitnesses(core, progress);
    this.#membership = new LeaderMembership({
      core,
      noop: this.#noop,
      progress,
      farewell: (leaving) => this.#rounds.heartbeat(leaving),
      appended: (bytes) => {
        this.#uncommittedBytes += bytes;
      },
    });
    this.#rounds.start();
    core.deadlineMs = core.nowMs + config.heartbeatMs;
  }

  /** A leader that reaches a majority, or sleeps with it, is its own live leader. */
  get heardMs(): number {
    return this.#core.isAsleep ? this.#core.nowMs : this.#rounds.quorumSentMs;
  }

  /** To whom leadership is being handed; 0 for nobody. */
  get transferTo(): NodeId {
    return this.#transfer.to;
  }

  /** Until when reads need no majority; 0 without a lease. */
  get leaseUntilMs(): number {
    return Math.max(0, this.#rounds.leaseUntilMs);
  }

  get peers(): readonly PeerProgress[] {
    return [...this.#progress.values()].map((progress) => progress.view);
  }

  /** Appends proposals, or refuses them with a reason. */
  propose(proposals: readonly Proposal[]): void {
    const { log, term, config } = this.#core;
    const accepted: Uint8Array[] = [];
    if (this.#isTransferring(proposals.map(({ id }) => id))) return;
    this.#quiescence.stir();
    for (const { id, payload } of proposals) {
      const bytes = ENTRY_HEADER_BYTES + payload.length;
      if (this.#uncommittedBytes > 0 && this.#uncommittedBytes + bytes > config.uncommittedBytesMax) {
        const reason = { kind: 'overloaded', uncommittedBytes: this.#uncommittedBytes } as const;
        this.#core.outcome({ id, ok: false, reason });
        continue;
      }
      accepted.push(payload);
      const index = log.last.index + accepted.length;
      assert(this.#pending.push({ index, id }), 'More proposals than any host holds');
      this.#uncommittedBytes += bytes;
    }
    log.append(makeCommands(term, log.last.index + 1, accepted), term);
  }

  /** Changes the members, or refuses with a reason. */
  changeMembers(id: number, changes: readonly MemberChange[]): void {
    if (this.#isTransferring([id])) return;
    this.#quiescence.stir();
    this.#membership.change(id, changes);
    this.#advanceCommit();
  }

  /** Takes reads. */
  read(ids: readonly number[], mode: ReadMode): void {
    this.#quiescence.stir();
    this.#rounds.read(ids, mode);
  }

  /** Hands leadership over, or refuses with a reason. */
  transfer(id: number, to: NodeId): void {
    this.#quiescence.stir();
    this.#transfer.begin(id, to);
    this.#setDeadline(this.#core.deadlineMs);
  }

  /** Steps down though a majority follows, and tells the best voter to take over at once. */
  handOver(why: string): void {
    this.#transfer.farewell();
    this.#transitions.becomeFollower(this.#core.term, 0, why);
  }

  receive(message: Message): void {
    switch (message.kind) {
      case 'appendReply':
        return this.#acknowledged(message);
      case 'appendReject':
        return this.#rejected(message);
      case 'heartbeatReply':
        return this.#heartbeatAnswered(message);
      case 'readRequest':
        return this.#readRequested(message);
      case 'vote':
        return answerVote(this.#core, message, this.heardMs);
      case 'voteReply':
        return;
      case 'readReply':
        return;
      case 'append':
      case 'rebase':
      case 'heartbeat':
      case 'timeoutNow':
        return this.#core.drop(message, 'another leader in the same term');
      default:
        return unreachable(message);
    }
  }

  /** The heartbeat timer: check the majority, knock at silent followers, send the next round. */
  deadlinePassed(): void {
    const { rules, config, nowMs, term } = this.#core;
    this.#transfer.heartbeat();
    this.#witnesses.heartbeat();
    const { isFrozen, provedMs } = this.#rounds;
    if (!isFrozen && rules.hasLostQuorum({ nowMs, quorumSentMs: provedMs, electionMs: config.electionMs })) {
      const since = Math.round(nowMs - provedMs);
      return this.#transitions.becomeFollower(term, 0, `no answer from a majority for ${since} ms`);
    }
    for (const progress of this.#progress.values()) this.#unblock(progress);
    if (isFrozen) this.#rounds.repeat();
    else if (this.#maySleep()) return this.#sleep();
    else this.#rounds.start();
    if (this.#transfer.to === 0) this.#membership.promote();
    this.#setDeadline(nowMs + config.heartbeatMs);
  }

  /** Whether this answers a round from before the last: whoever sent it may be asleep since. */
  isLateAnswer(message: Message): boolean {
    const isAnswer = message.kind === 'heartbeatReply' || message.kind === 'appendReply';
    return isAnswer && message.term === this.#core.term && message.round < this.#rounds.newest;
  }

  wake(why: string): void {
    const core = this.#core;
    core.isAsleep = false;
    core.event({ kind: 'quiesce', isQuiesced: false, why });
    this.#quiescence.stir();
    this.#rounds.thaw();
    this.#rounds.start();
    core.deadlineMs = core.nowMs + core.config.heartbeatMs;
  }

  flush(): void {
    this.#transfer.flush();
    this.#rounds.flush();
    const { last } = this.#core.log;
    const { end } = this.#witnesses;
    for (const progress of this.#progress.values())
      this.#replicate(progress, this.#witnesses.includes(progress.id) ? end : last.index);
  }

  /** Leadership ends: what is in flight may still commit under the next leader; reads just end. */
  leave(): void {
    for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
      this.#core.outcome({ id: next.id, ok: false, reason: { kind: 'lostLeadership', mayCommit: true } });
    }
    this.#rounds.leave();
    this.#membership.leave();
  }

  /** The own disk has caught up: the leader's own vote for its entries counts now. */
  persisted(): void {
    this.#advanceCommit();
  }

  unreachable(peer: NodeId): void {
    const progress = this.#progress.get(peer);
    if (progress?.mode === 'replicate') progress.probeFrom(progress.match + 1, this.#core.nowMs);
  }

  /** The host has sent a whole snapshot, or given up; either way the next probe tells where the follower stands. */
  snapshotSent(peer: NodeId, ok: boolean): void {
    const progress = this.#progress.get(peer);
    if (progress?.mode !== 'snapshot') return;
    progress.probeFrom(ok ? this.#core.log.last.index + 1 : progress.match + 1, this.#core.nowMs);
    progress.paused = true;
  }

  #progressOf(peer: NodeId): Progress {
    return defined(this.#progress.get(peer), 'progress of a voter');
  }

  /** Whether requests are refused because leadership is being handed over. */
  #isTransferring(ids: readonly number[]): boolean {
    const { to } = this.#transfer;
    if (to === 0) return false;
    for (const id of ids) this.#core.outcome({ id, ok: false, reason: { kind: 'transferring', to } });
    return true;
  }

  #setDeadline(deadlineMs: number): void {
    this.#core.deadlineMs = Math.min(deadlineMs, this.#transfer.deadlineMs);
  }

  #maySleep(): boolean {
    const isBusy = this.#rounds.hasReads || this.#transfer.to !== 0;
    return this.#quiescence.isDue(this.#rounds.newest + 1) && !isBusy;
  }

  #sleep(): void {
    this.#rounds.start(true);
    this.#rounds.sleep();
    this.#core.isAsleep = true;
    this.#core.deadlineMs = Infinity;
    const why = 'nothing happens, and every follower holds and knows everything';
    this.#core.event({ kind: 'quiesce', isQuiesced: true, why });
  }

  /** A follower from which nothing was heard of what is on its way. */
  #unblock(progress: Progress): void {
    const { nowMs, config, log } = this.#core;
    const waitedMs = nowMs - progress.advancedMs;
    if (progress.mode === 'probe') progress.paused = false;
    else if (progress.mode === 'replicate' && progress.hasInflight && waitedMs > config.electionMs)
      progress.probeFrom(progress.match + 1, nowMs);
    else if (progress.mode === 'snapshot' && waitedMs > SNAPSHOT_ELECTIONS * config.electionMs)
      progress.probeFrom(log.last.index + 1, nowMs);
  }

  #heartbeatAnswered(message: MessageOf<'heartbeatReply'>): void {
    const progress = this.#sender(message, message.round);
    if (progress !== undefined) this.#rounds.answered(progress, message.round);
  }

  #readRequested(message: MessageOf<'readRequest'>): void {
    if (this.#sender(message, 0) === undefined) return;
    this.#quiescence.stir();
    this.#rounds.readFor(message.from, message.id);
  }

  /** The follower that sent this; undefined, with the message dropped, for what no follower would say. */
  #sender(message: Message, round: Round): Progress | undefined {
    const progress = this.#progress.get(message.from);
    if (progress === undefined) this.#core.drop(message, NOT_A_MEMBER);
    else if (round > this.#rounds.newest) this.#core.drop(message, 'answers a round that has not begun');
    else return progress;
    return undefined;
  }

  #acknowledged(message: MessageOf<'appendReply'>): void {
    const { log, rules, nowMs } = this.#core;
    const progress = this.#sender(message, message.round);
    if (progress === undefined) return;
    if (message.match > log.last.index)
      return this.#core.drop(message, 'acknowledges entries that were never sent');
    const isNews = progress.acknowledged(
      rules.matchAfter(progress.match, message.match),
      log.base.index,
      nowMs,
    );
    this.#rounds.answered(progress, message.round);
    if (!isNews) return;
    if (this.#transfer.to === 0) this.#membership.promote();
    this.#advanceCommit();
  }

  #rejected(message: MessageOf<'appendReject'>): void {
    const { log, nowMs } = this.#core;
    const progress = this.#sender(message, message.round);
    if (progress === undefined) return;
    this.#rounds.answered(progress, message.round);
    if (message.lost === true) progress.forget(message.hint.index);
    if (progress.mode === 'snapshot') return;
    const isStale =
      message.rejected <= progress.match ||
      (progress.mode === 'probe' && message.rejected !== progress.next - 1);
    if (isStale) return this.#core.drop(message, `rejects ${message.rejected}, which was settled since`);
    const common = log.conflictHint(Math.min(message.hint.index, message.rejected), message.hint.term);
    progress.probeFrom(Math.min(common.index + 1, message.rejected), nowMs);
  }

  /** Sends a follower what it lacks of the log up to `end`, as far as it may be sent now. */
  #replicate(progress: Progress, end: LogIndex): void {
    const { log, config } = this.#core;
    if (progress.mode === 'snapshot' || (progress.mode === 'probe' && progress.paused)) return;
    if (progress.next <= log.base.index) {
      if (this.#witnesses.includes(progress.id)) return this.#witnesses.rebase(progress, this.#rounds.newest);
      // For one that is down it would keep log and files for nobody; heartbeats find out (`RecentActive` of etcd's tracker).
      if (!progress.hasAnswered(this.#core.nowMs, config.electionMs)) return;
      const why = `entry ${progress.next} is compacted, the log begins behind ${log.base.index}`;
      this.#core.event({ kind: 'snapshot', peer: progress.id, index: log.base.index, why });
      progress.awaitSnapshot(this.#core.nowMs);
      return this.#core.requestSnapshot(progress.id);
    }
    if (progress.mode === 'probe') {
      const bytesMax = Math.min(PROBE_BYTES_MAX, config.appendBytesMax);
      this.#sendAppend(progress, end, progress.knocks === 0 ? bytesMax : 0);
      progress.paused = true;
      progress.knocks += 1;
      return;
    }
    while (progress.next <= end && !progress.isFull) {
      const { last, bytes } = this.#sendAppend(progress, end, config.appendBytesMax);
      progress.sent(last, bytes, this.#core.nowMs);
    }
  }

  /** Sends the entries from `next` up to `end`, at most `bytesMax` of them; none for 0. */
  #sendAppend(
    progress: Progress,
    end: LogIndex,
    bytesMax: number,
  ): { readonly last: LogIndex; readonly bytes: number } {
    const { log } = this.#core;
    const { id, next } = progress;
    const prevIndex = next - 1;
    const prev = { index: prevIndex, term: defined(log.term(prevIndex), 'term before the next entry') };
    let entries: readonly Entry[] = [];
    if (bytesMax > 0 && this.#witnesses.includes(id)) entries = this.#witnesses.entries(next, end, bytesMax);
    else if (bytesMax > 0) entries = log.slice(next, end, bytesMax);
    this.#core.send(progress.id, {
      kind: 'append',
      prev,
      entries,
      commit: log.commit,
      round: this.#rounds.newest,
    });
    const bytes = entries.reduce((sum, entry) => sum + entry.encoded.length, 0);
    return { last: prevIndex + entries.length, bytes };
  }

  /** §5.3 and §5.4.2: commit what a majority holds, if it is of this term; everything before it is committed with it. */
  #advanceCommit(): void {
    const { log, rules, quorums, id, term } = this.#core;
    const own = rules.ownMatch(log.durable, log.last.index);
    const match = (voter: NodeId): LogIndex => (voter === id ? own : this.#progressOf(voter).match);
    const index = rules.replicatedIndex(quorums, match);
    const entryTerm = log.term(index);
    if (index <= log.commit || entryTerm === undefined || !rules.mayCommitByCounting(entryTerm, term)) return;
    for (const entry of log.slice(log.commit + 1, index, Infinity)) {
      if (entry.index !== this.#noop) this.#uncommittedBytes -= entry.encoded.length;
    }
    log.commitTo(index);
    const why = quorums
      .map((voters) => `${voters.filter((voter) => match(voter) >= index).length} of ${voters.length}`)
      .join(' and ');
    const by = [...new Set(quorums.flat())].filter((voter) => match(voter) >= index);
    this.#core.event({ kind: 'commit', index, by, why: `stored by ${why}` });
    for (
      let next = this.#pending.peek();
      next !== undefined && next.index <= index;
      next = this.#pending.peek()
    ) {
      this.#pending.shift();
      this.#core.outcome({ id: next.id, ok: true, kind: 'committed', index: next.index });
    }
    if (index < this.#noop) return;
    this.#rounds.confirm();
    if (this.#membership.committed() === 'leaves') return this.handOver('it is no longer a member');
    // A configuration may have been appended, and the leader may be all of its majority.
    this.#advanceCommit();
  }
}
