/**
 * The safety rules of Raft, each one small pure function with its source. The core asks them through one `Rules`
 * object, so that a test or a lesson can break exactly one of them and watch what it was for.
 * Production never passes anything but {@link RULES}.
 *
 * Sections are of the paper (Ongaro and Ousterhout, extended version, 2014); "thesis" is Ongaro's, 2014.
 */
import type { EntryKind, LogIndex, NodeId, Term } from './entry.ts';
import type { Config, Quorums } from './membership.ts';
import type { LeaderRound, LogPosition, LostLog, Round } from './messages.ts';
import { majority, quorumValue, voteResult } from './quorum.ts';

export interface Rules {
  /** A term has room for one vote, given to the first who asks and repeated to the same (§5.2). */
  mayVoteFor(vote: NodeId, candidate: NodeId): boolean;

  /** A voter refuses a candidate whose log is less complete than its own: the later last term wins, then the longer log (§5.4.1). */
  isUpToDate(candidate: LogPosition, own: LogPosition): boolean;

  /** A voter that hears from a live leader does not help to depose it (thesis §4.2.3, §9.6). Times in milliseconds. */
  hasLiveLeader(state: {
    readonly nowMs: number;
    readonly heardMs: number;
    readonly electionMs: number;
  }): boolean;

  /** Who must agree: a majority of the voters; while joint, a majority of the old and one of the new (§6). Learners never. */
  quorums(config: Config): Quorums;

  /** One change at a time, and none before an entry of the leader's own term is committed (§6; Ongaro, raft-dev, July 2015). */
  mayChangeConfig(state: {
    readonly commit: LogIndex;
    readonly noop: LogIndex;
    readonly configIndex: LogIndex;
  }): boolean;

  /** A witness has no data to serve, so it never stands for election, whatever happens (raft-rs, dragonboat: witness). */
  mayStand(isWitness: boolean): boolean;

  /** A witness keeps stubs and no commands; whoever keeps data takes no stub, or a command would be lost with its payload. */
  mayHold(isWitness: boolean, kind: EntryKind): boolean;

  /**
   * Every majority has a member that keeps data: what only witnesses acknowledged may be kept by nobody. Counts those who
   * vote; while joint each of both groups is one that was asked about before.
   */
  keepsData(voters: readonly NodeId[], witnesses: readonly NodeId[]): boolean;

  /**
   * How far a witness is told of the log: it votes for nobody who knows less, so whatever it knows somebody must be there
   * to lead with. No further than the copies hold that do not lag, so that each of them can be elected when the leader is
   * lost; and never further than some copy has on its disk that stays, be it the leader's.
   *
   * @param state `last`: end of the leader's log; `overdue`: what was there a heartbeat ago, and whoever lacks it lags;
   *   `copies`: what each other voter that keeps data has acknowledged; `staying`: the same of voters in the newest
   *   configuration, the leader's own disk included if it is one of them
   */
  witnessEnd(state: {
    readonly last: LogIndex;
    readonly overdue: LogIndex;
    readonly copies: readonly LogIndex[];
    readonly staying: readonly LogIndex[];
  }): LogIndex;

  /** A candidate wins with votes from a majority, each voter counted once (§5.2). */
  electionResult(
    quorums: Quorums,
    votes: readonly { readonly from: NodeId; readonly granted: boolean }[],
  ): 'won' | 'lost' | 'pending';

  /** A reply counts only in the term it was asked in (§5.1). */
  isCurrentReply(replyTerm: Term, currentTerm: Term): boolean;

  /** A follower accepts entries only behind a position it shares with the leader (§5.3, the consistency check). `ownTerm` undefined: no such entry. */
  matchesPrevious(ownTerm: Term | undefined, previousTerm: Term): boolean;

  /** A follower drops entries only where they contradict the leader's, never because an old message was shorter (§5.3, Figure 2). */
  mustTruncate(own: { readonly term: Term; readonly index: LogIndex }, incomingTerm: Term): boolean;

  /** What an append verified: its previous position plus its own entries, not whatever else the follower holds (Figure 2). */
  verifiedIndex(message: {
    readonly prevIndex: LogIndex;
    readonly entryCount: number;
    readonly ownLast: LogIndex;
  }): LogIndex;

  /** A follower's commit index follows the leader's only as far as the log is verified (Figure 2). */
  followerCommit(leaderCommit: LogIndex, verified: LogIndex, ownLast: LogIndex): LogIndex;

  /** A reply that promises something leaves only when what it promises is on disk (Figure 2, "persistent state"; thesis §3.8). */
  mayLeave(neededSeq: number, persistedSeq: number): boolean;

  /** A leader counts itself only as far as its own disk has the log (thesis §10.2.1). */
  ownMatch(durable: LogIndex, last: LogIndex): LogIndex;

  /** What a follower has acknowledged never shrinks, in whatever order replies arrive (§5.3). */
  matchAfter(match: LogIndex, acknowledged: LogIndex): LogIndex;

  /** The index that a majority holds (§5.3). */
  replicatedIndex(quorums: Quorums, match: (voter: NodeId) => LogIndex): LogIndex;

  /** Only entries of the leader's own term are committed by counting; older ones follow with them (§5.4.2, Figure 8). */
  mayCommitByCounting(entryTerm: Term, currentTerm: Term): boolean;

  /** A heartbeat proves nothing about the log, so the commit index it carries stops at what this follower acknowledged. */
  heartbeatCommit(commit: LogIndex, match: LogIndex): LogIndex;

  /** A read sees everything committed before it: at least this term's no-op, which proves what earlier terms committed (§8). */
  readIndex(commit: LogIndex, noop: LogIndex): LogIndex;

  /** A read is confirmed by a probe sent after the read arrived; an older one proves too little (thesis §6.4). */
  readRound(lastSent: Round): Round;

  /** The probe round that a majority has answered (thesis §6.4). */
  confirmedRound(quorums: Quorums, answered: (voter: NodeId) => Round): Round;

  /** A leader that has not reached a majority for an election timeout steps down (thesis §6.2). Measured from when the probe was sent. */
  hasLostQuorum(state: {
    readonly nowMs: number;
    readonly quorumSentMs: number;
    readonly electionMs: number;
  }): boolean;

  /**
   * A leader whose disk takes too long for a write lets others lead, though it could go on with their disks
   * (hashicorp/raft #503). Times in milliseconds.
   */
  isDiskTooSlow(writeMs: number, storageStallMs: number): boolean;

  /**
   * A voter may break its promise to a live leader for the candidate that this leader chose itself, unless it has heard a
   * later round of that leader since: then the leader has given the transfer up and may rest its lease on that round
   * (thesis §3.10, §6.4.1; raft-rs #234 lacks it). What a leader permits is the election of the next term, and no other.
   *
   * @param state `term`: what the candidate stands for
   */
  mayBypassLease(state: {
    readonly term: Term;
    readonly transfer: LeaderRound;
    readonly heard: LeaderRound;
  }): boolean;

  /** Leadership that is being handed over is no ground for a lease: only rounds that began after the transfer are. */
  mayLeaseOn(round: Round, transferRound: Round): boolean;

  /**
   * Until when a leader may trust that nobody else leads: voters keep their promise for an election timeout of their own
   * clocks, counted from when they heard, which was not before the round was sent (thesis §6.4.1).
   *
   * @param state `answeredMs`: when the last answer that was needed came in; `drift` as in `RaftConfig.leaseDrift`
   */
  leaseExpiry(state: {
    readonly sentMs: number;
    readonly answeredMs: number;
    readonly electionMs: number;
    readonly drift: number;
  }): number;

  /** Until when a node keeps a promise that it may have made before it was started; the promise is not on its disk. */
  promiseAfterRestart(state: {
    /** It has never run before, so it has promised nothing. */
    readonly isFresh: boolean;
    readonly nowMs: number;
    readonly electionMs: number;
  }): number;

  /** After a restart only what a snapshot holds is applied; the log's tail may never have been committed (Figure 2, "volatile state"). */
  appliedAfterRestart(snapshotIndex: LogIndex, lastIndex: LogIndex): LogIndex;

  /** After a restart the vote still stands: it is durable so that no term sees two votes of one node (§5.2, Figure 2). */
  voteAfterRestart(vote: NodeId): NodeId;

  /**
   * A node whose disk lost entries that it may have acknowledged neither votes nor stands: its log would let a candidate
   * pass that lacks what only this node's acknowledgement committed (Alagappan et al., "Protocol-Aware Recovery for
   * Consensus-Based Storage", FAST 2018). That is over when a leader has shown everything up to the last of them to be
   * committed here; or an entry of a later term, whose leader was elected without this node, and so has all of them that
   * were ever committed.
   */
  mustAbstain(lost: LostLog, commit: LogPosition): boolean;

  /** A snapshot older than what is committed here changes nothing (§7). */
  wantsSnapshot(snapshotIndex: LogIndex, commit: LogIndex): boolean;

  /** Entries behind an installed snapshot survive only if the log agrees with the snapshot at its last position (§7). */
  keepsLogBehindSnapshot(ownTerm: Term | undefined, snapshotTerm: Term): boolean;
}

/** Raft, as proved. */
export const RULES: Rules = {
  mayVoteFor: (vote, candidate) => vote === 0 || vote === candidate,
  isUpToDate: (candidate, own) =>
    candidate.term > own.term || (candidate.term === own.term && candidate.index >= own.index),
  hasLiveLeader: ({ nowMs, heardMs, electionMs }) => nowMs - heardMs < electionMs,
  quorums: ({ voters, outgoing }) => (outgoing.length === 0 ? [voters] : [outgoing, voters]),
  mayChangeConfig: ({ commit, noop, configIndex }) => commit >= noop && commit >= configIndex,
  mayStand: (isWitness) => !isWitness,
  mayHold: (isWitness, kind) => kind !== (isWitness ? 'command' : 'stub'),
  keepsData: (voters, witnesses) =>
    voters.filter((id) => witnesses.includes(id)).length < majority(voters.length),
  witnessEnd: ({ last, overdue, copies, staying }) =>
    Math.min(last, Math.max(0, ...staying), ...copies.filter((match) => match >= overdue)),
  electionResult: (quorums, votes) =>
    voteResult(
      quorums,
      new Set(votes.filter((vote) => vote.granted).map((vote) => vote.from)),
      new Set(votes.filter((vote) => !vote.granted).map((vote) => vote.from)),
    ),
  isCurrentReply: (replyTerm, currentTerm) => replyTerm === currentTerm,
  matchesPrevious: (ownTerm, previousTerm) => ownTerm === previousTerm,
  mustTruncate: (own, incomingTerm) => own.term !== incomingTerm,
  verifiedIndex: ({ prevIndex, entryCount }) => prevIndex + entryCount,
  followerCommit: (leaderCommit, verified) => Math.min(leaderCommit, verified),
  mayLeave: (neededSeq, persistedSeq) => neededSeq <= persistedSeq,
  ownMatch: (durable) => durable,
  matchAfter: (match, acknowledged) => Math.max(match, acknowledged),
  replicatedIndex: quorumValue,
  mayCommitByCounting: (entryTerm, currentTerm) => entryTerm === currentTerm,
  heartbeatCommit: (commit, match) => Math.min(commit, match),
  readIndex: (commit, noop) => Math.max(commit, noop),
  readRound: (lastSent) => lastSent + 1,
  confirmedRound: quorumValue,
  hasLostQuorum: ({ nowMs, quorumSentMs, electionMs }) => nowMs - quorumSentMs >= electionMs,
  isDiskTooSlow: (writeMs, storageStallMs) => writeMs > storageStallMs,
  mayBypassLease: ({ term, transfer, heard }) =>
    term === transfer.term + 1 &&
    (heard.term < transfer.term || (heard.term === transfer.term && heard.round <= transfer.round)),
  mayLeaseOn: (round, transferRound) => round > transferRound,
  leaseExpiry: ({ sentMs, electionMs, drift }) => sentMs + electionMs * (1 - drift),
  promiseAfterRestart: ({ isFresh, nowMs, electionMs }) => (isFresh ? -Infinity : nowMs + electionMs),
  appliedAfterRestart: (snapshotIndex) => snapshotIndex,
  voteAfterRestart: (vote) => vote,
  mustAbstain: (lost, commit) => commit.index < lost.index && commit.term <= lost.term,
  wantsSnapshot: (snapshotIndex, commit) => snapshotIndex > commit,
  keepsLogBehindSnapshot: (ownTerm, snapshotTerm) => ownTerm === snapshotTerm,
};
