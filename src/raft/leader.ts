/**
 * A leader: takes proposals, feeds followers, commits what a majority holds (§5.3, §5.4.2), confirms reads (thesis §6.4),
 * and steps down when it has lost its majority (thesis §6.2). One probe counter per term serves reads and check-quorum.
 */
import { assert, defined, unreachable } from '../lib/assert.ts';
import { Deque } from '../lib/deque.ts';
import type { Core, MessageOf, RoleState, Transitions } from './core.ts';
import { ENTRY_HEADER_BYTES, type LogIndex, type NodeId, makeCommands, makeEntry } from './entry.ts';
import { LeaderMembership } from './leader-membership.ts';
import type { MemberChange } from './membership.ts';
import type { Message, PeerProgress, Proposal, Round } from './messages.ts';
import { Progress } from './progress.ts';
import { answerVote } from './voter.ts';

/** Proposals waiting for commit; the host's own limit is far below. */
const PENDING_MAX = 1_048_576;
/** Probe rounds without a majority's answer. Past it, reads share the next heartbeat's round. */
const ROUNDS_OPEN_MAX = 64;
const NOT_A_MEMBER = 'from a node that is no member';
/** A probing append carries little: it may go to a node that is down. */
const PROBE_BYTES_MAX = 65_536;

interface PendingRead {
  readonly id: number;
  readonly index: LogIndex;
  readonly round: Round;
}

export class Leader implements RoleState {
  readonly kind = 'leader';
  readonly #core: Core;
  readonly #transitions: Transitions;
  readonly #progress: Map<NodeId, Progress>;
  readonly #membership: LeaderMembership;
  /** Index of the no-op that opens this term: once it is committed, so is everything before it (§8). */
  readonly #noop: LogIndex;
  readonly #pending: Deque<{ readonly index: LogIndex; readonly id: number }> = new Deque(PENDING_MAX);
  #reads: PendingRead[] = [];
  #round: Round = 0;
  /** Rounds sent and not yet answered by a majority, with their send times. */
  #openRounds: { readonly round: Round; readonly sentMs: number }[] = [];
  /** When the newest round that a majority answered was sent: leadership is proved up to then. */
  #quorumSentMs: number;
  #uncommittedBytes: number;

  constructor(core: Core, transitions: Transitions) {
    this.#core = core;
    this.#transitions = transitions;
    const { log, term, config } = core;
    this.#quorumSentMs = core.nowMs;
    this.#uncommittedBytes = log
      .slice(log.commit + 1, log.last.index, Infinity)
      .reduce((bytes, entry) => bytes + entry.encoded.length, 0);
    this.#progress = new Map(
      core.peers.map((id) => [id, new Progress(id, log.last.index + 1, core.nowMs, config)]),
    );
    this.#noop = log.last.index + 1;
    log.append([makeEntry({ term, index: this.#noop, kind: 'noop', payload: new Uint8Array(0) })], term);
    this.#membership = new LeaderMembership({
      core,
      noop: this.#noop,
      progress: this.#progress,
      farewell: (progress) => this.#heartbeat(progress),
      appended: (bytes) => {
        this.#uncommittedBytes += bytes;
      },
    });
    this.#startRound();
    core.deadlineMs = core.nowMs + config.heartbeatMs;
  }

  /** A leader that reaches a majority is its own live leader. */
  get heardMs(): number {
    return this.#quorumSentMs;
  }

  get peers(): readonly PeerProgress[] {
    return [...this.#progress.values()].map((progress) => progress.view);
  }

  /** Appends proposals, or refuses them with a reason. */
  propose(proposals: readonly Proposal[]): void {
    const { log, term, config } = this.#core;
    const accepted: Uint8Array[] = [];
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
    this.#membership.change(id, changes);
    this.#advanceCommit();
  }

  /** Takes reads; each is confirmed by a probe round that starts after now. */
  read(ids: readonly number[]): void {
    const { rules, log } = this.#core;
    const index = rules.readIndex(log.commit, this.#noop);
    const round = rules.readRound(this.#round);
    for (const id of ids) this.#reads.push({ id, index, round });
  }

  receive(message: Message): void {
    switch (message.kind) {
      case 'appendReply':
        return this.#acknowledged(message);
      case 'appendReject':
        return this.#rejected(message);
      case 'heartbeatReply':
        return this.#heartbeatAnswered(message);
      case 'vote':
        return answerVote(this.#core, message, this.heardMs);
      case 'voteReply':
        return;
      case 'readRequest':
      case 'readReply':
        return;
      case 'append':
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
    // A leader that stood still has asked nobody meanwhile. To count that time as its followers' silence would depose it
    // for its own pause: the silence is at most a heartbeat older than the oldest question without an answer.
    const oldestMs = this.#openRounds[0]?.sentMs ?? nowMs;
    const quorumSentMs = Math.max(this.#quorumSentMs, oldestMs - config.heartbeatMs);
    if (rules.hasLostQuorum({ nowMs, quorumSentMs, electionMs: config.electionMs })) {
      const since = Math.round(nowMs - quorumSentMs);
      return this.#transitions.becomeFollower(term, 0, `no answer from a majority for ${since} ms`);
    }
    for (const progress of this.#progress.values()) {
      if (progress.mode === 'probe') progress.paused = false;
      const isStuck = progress.mode === 'replicate' && progress.hasInflight;
      if (isStuck && nowMs - progress.advancedMs > config.electionMs)
        progress.probeFrom(progress.match + 1, nowMs);
    }
    this.#startRound();
    this.#membership.promote();
    this.#core.deadlineMs = nowMs + config.heartbeatMs;
  }

  flush(): void {
    const newest = this.#reads.at(-1);
    if (newest !== undefined && newest.round > this.#round && this.#openRounds.length < ROUNDS_OPEN_MAX)
      this.#startRound();
    for (const progress of this.#progress.values()) this.#replicate(progress);
  }

  /** Leadership ends: what is in flight may still commit under the next leader; reads just end. */
  leave(): void {
    for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
      this.#core.outcome({ id: next.id, ok: false, reason: { kind: 'lostLeadership', mayCommit: true } });
    }
    for (const { id } of this.#reads) {
      this.#core.outcome({ id, ok: false, reason: { kind: 'lostLeadership', mayCommit: false } });
    }
    this.#reads = [];
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

  #startRound(): void {
    this.#round += 1;
    this.#openRounds.push({ round: this.#round, sentMs: this.#core.nowMs });
    for (const progress of this.#progress.values()) this.#heartbeat(progress);
    // A leader that is a majority by itself needs no answer.
    this.#confirmRounds();
  }

  #heartbeat(progress: Progress): void {
    const { log, rules } = this.#core;
    const commit = rules.heartbeatCommit(log.commit, progress.match);
    this.#core.send(progress.id, { kind: 'heartbeat', commit, round: this.#round });
  }

  #heartbeatAnswered(message: MessageOf<'heartbeatReply'>): void {
    const progress = this.#progress.get(message.from);
    if (progress === undefined) return this.#core.drop(message, NOT_A_MEMBER);
    this.#answered(progress, message.round);
  }

  #answered(progress: Progress, round: Round): void {
    if (round <= progress.answered) return;
    progress.answered = round;
    this.#confirmRounds();
  }

  #confirmRounds(): void {
    const { rules, quorums, id } = this.#core;
    const confirmed = rules.confirmedRound(quorums, (voter) =>
      voter === id ? this.#round : this.#progressOf(voter).answered,
    );
    let done = 0;
    for (const open of this.#openRounds) {
      if (open.round > confirmed) break;
      this.#quorumSentMs = open.sentMs;
      done += 1;
    }
    this.#openRounds.splice(0, done);
    const waiting: PendingRead[] = [];
    for (const read of this.#reads) {
      if (read.round > confirmed) waiting.push(read);
      else this.#core.outcome({ id: read.id, ok: true, kind: 'readable', index: read.index });
    }
    this.#reads = waiting;
  }

  #acknowledged(message: MessageOf<'appendReply'>): void {
    const { log, rules, nowMs } = this.#core;
    const progress = this.#progress.get(message.from);
    if (progress === undefined) return this.#core.drop(message, NOT_A_MEMBER);
    if (message.match > log.last.index)
      return this.#core.drop(message, 'acknowledges entries that were never sent');
    const isNews = progress.acknowledged(rules.matchAfter(progress.match, message.match), nowMs);
    this.#answered(progress, message.round);
    if (!isNews) return;
    this.#membership.promote();
    this.#advanceCommit();
  }

  #rejected(message: MessageOf<'appendReject'>): void {
    const { log, nowMs } = this.#core;
    const progress = this.#progress.get(message.from);
    if (progress === undefined) return this.#core.drop(message, NOT_A_MEMBER);
    this.#answered(progress, message.round);
    if (progress.mode === 'snapshot') return;
    const isStale =
      message.rejected <= progress.match ||
      (progress.mode === 'probe' && message.rejected !== progress.next - 1);
    if (isStale) return this.#core.drop(message, `rejects ${message.rejected}, which was settled since`);
    const common = log.conflictHint(Math.min(message.hint.index, message.rejected), message.hint.term);
    progress.probeFrom(Math.min(common.index + 1, message.rejected), nowMs);
  }

  #replicate(progress: Progress): void {
    const { log, config } = this.#core;
    if (progress.mode === 'snapshot' || (progress.mode === 'probe' && progress.paused)) return;
    if (progress.next <= log.base.index) {
      const why = `entry ${progress.next} is compacted, the log begins behind ${log.base.index}`;
      this.#core.event({ kind: 'snapshot', peer: progress.id, index: log.base.index, why });
      progress.awaitSnapshot(this.#core.nowMs);
      return this.#core.requestSnapshot(progress.id);
    }
    if (progress.mode === 'probe') {
      const bytesMax = Math.min(PROBE_BYTES_MAX, config.appendBytesMax);
      this.#sendAppend(progress, progress.knocks === 0 ? bytesMax : 0);
      progress.paused = true;
      progress.knocks += 1;
      return;
    }
    while (progress.next <= log.last.index && !progress.isFull) {
      const { last, bytes } = this.#sendAppend(progress, config.appendBytesMax);
      progress.sent(last, bytes, this.#core.nowMs);
    }
  }

  /** Sends the entries from `next` on, at most `bytesMax` of them; none for 0. */
  #sendAppend(progress: Progress, bytesMax: number): { readonly last: LogIndex; readonly bytes: number } {
    const { log } = this.#core;
    const prevIndex = progress.next - 1;
    const prev = { index: prevIndex, term: defined(log.term(prevIndex), 'term before the next entry') };
    const entries = bytesMax === 0 ? [] : log.slice(progress.next, log.last.index, bytesMax);
    this.#core.send(progress.id, { kind: 'append', prev, entries, commit: log.commit, round: this.#round });
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
    this.#confirmRounds();
    if (this.#membership.committed() === 'leaves')
      return this.#transitions.becomeFollower(term, 0, 'it is no longer a member');
    // A configuration may have been appended, and the leader may be all of its majority.
    this.#advanceCommit();
  }
}
