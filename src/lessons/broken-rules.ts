/**
 * Raft with one rule broken: a wrong twin for each rule of raft/rules.ts, most of them bugs that real systems had.
 * A lesson switches one on to show what the rule is for; the tests prove that each is caught.
 */
import { RULES, type Rules } from '../raft/rules.ts';

export interface BrokenRule {
  /** Unique, kebab-case; scripts and lessons say it. */
  readonly name: string;
  /** The rule that is broken; the others are as proved. */
  readonly rule: keyof Rules;
  /** What is wrong, in one sentence. */
  readonly what: string;
  readonly rules: Rules;
}

/** At least one wrong twin of every rule in raft/rules.ts. For lessons and tests: production never sees one. */
export const BROKEN_RULES: readonly BrokenRule[] = [
  broken(
    'votes-for-everyone',
    'mayVoteFor',
    'A voter grants its vote to every candidate of a term.',
    () => true,
  ),
  broken(
    'longest-log-wins',
    'isUpToDate',
    'Voters compare only the lengths of logs, so that a longer log of an older term beats a shorter one of a later term.',
    (candidate, own) => candidate.index >= own.index,
  ),
  broken('any-log-wins', 'isUpToDate', 'Voters do not look at the log of a candidate at all.', () => true),
  // oxide-kv (Rust), handle_pre_vote: never asks whether a leader was heard of lately. Thesis §4.2.3.
  broken(
    'forgets-its-leader',
    'hasLiveLeader',
    'A voter helps to depose a leader that it hears from all the time.',
    () => false,
  ),
  // liferaft: `granted++` for each reply, duplicates included.
  broken(
    'counts-votes-twice',
    'electionResult',
    'A candidate counts replies and not voters, so that a duplicated reply is two votes.',
    (quorums, votes) => {
      const granted = votes.filter((vote) => vote.granted).length;
      const voterCount = new Set(quorums.flat()).size;
      if (granted * 2 > voterCount) return 'won';
      return votes.length >= voterCount ? 'lost' : 'pending';
    },
  ),
  broken(
    'half-is-a-majority',
    'electionResult',
    'A candidate wins with half of the votes.',
    (quorums, votes) =>
      new Set(votes.filter((vote) => vote.granted).map((vote) => vote.from)).size * 2 >=
      new Set(quorums.flat()).size
        ? 'won'
        : RULES.electionResult(quorums, votes),
  ),
  // oxide-kv (Rust), node.rs:1145: looks at neither role nor term of a reply.
  broken('counts-old-replies', 'isCurrentReply', 'Replies to an earlier term count in this one.', () => true),
  // liferaft: no term in the check of the previous entry.
  broken(
    'looks-only-at-the-index',
    'matchesPrevious',
    'A follower checks that it has a previous entry, not that it is the same one.',
    (ownTerm) => ownTerm !== undefined,
  ),
  // CCF #5991 and #6016, liferaft removeEntriesAfter, openraft 9540c904.
  broken(
    'cuts-on-every-append',
    'mustTruncate',
    'A follower drops what lies behind an append even where nothing contradicts it.',
    () => true,
  ),
  broken(
    'never-cuts',
    'mustTruncate',
    'A follower keeps its own entries where they contradict the leader.',
    () => false,
  ),
  // CCF #6016, raft-core: the acknowledgement names the end of the follower's own log.
  broken(
    'acknowledges-its-own-tail',
    'verifiedIndex',
    'A follower acknowledges its whole log and not only what the append verified.',
    ({ prevIndex, entryCount, ownLast }) => Math.max(prevIndex + entryCount, ownLast),
  ),
  // oxide-kv (Rust), node.rs:1916: the smaller of the leader's commit index and the end of the own log.
  broken(
    'commits-its-own-tail',
    'followerCommit',
    'A follower follows the commit index to the end of its own log, verified or not.',
    (leaderCommit, _verified, ownLast) => Math.min(leaderCommit, ownLast),
  ),
  // oxide-kv (Rust), storage.rs:89: the reply leaves without a sync. openraft ee460f37, redpanda #3003.
  broken(
    'promises-before-the-disk',
    'mayLeave',
    'Votes and acknowledgements leave before they are durable.',
    () => true,
  ),
  // etcd #14370 with one voter; openraft a9f696a9 with several.
  broken(
    'counts-its-own-memory',
    'ownMatch',
    'A leader counts its own entries before its disk has them.',
    (_durable, last) => last,
  ),
  // etcd #1207 and #1761, CCF #3723, oxide-kv (Rust) node.rs:1148.
  broken(
    'lets-match-go-back',
    'matchAfter',
    'A late acknowledgement lowers what a follower is known to hold.',
    (_match, acknowledged) => acknowledged,
  ),
  // openraft #1802: committed on two of five.
  broken(
    'commits-one-short',
    'replicatedIndex',
    'An entry is committed with one copy less than a majority.',
    (quorums, match) =>
      Math.min(
        ...quorums.map(
          (voters) =>
            voters.map(match).toSorted((a, b) => b - a)[Math.max(0, Math.floor(voters.length / 2) - 1)] ?? 0,
        ),
      ),
  ),
  // Figure 8 of the paper. LogCabin #44, canonical/raft #220, CCF #3950, liferaft.
  broken(
    'commits-old-terms-by-counting',
    'mayCommitByCounting',
    'A leader commits an entry of an earlier term because a majority holds it.',
    () => true,
  ),
  // etcd sendHeartbeat; etcd #13509, #16220.
  broken(
    'commits-by-heartbeat',
    'heartbeatCommit',
    'A heartbeat carries the whole commit index to a follower whose log is not known.',
    (commit) => commit,
  ),
  // etcd #7331, oxide-kv (Rust) become_leader: no no-op, reads at the old commit index.
  broken(
    'reads-before-its-no-op',
    'readIndex',
    'A new leader reads at the commit index it knew as a follower.',
    (commit) => commit,
  ),
  // oxide-kv (Rust), node.rs:1152; etcd #20418 has the same effect by a replayed request.
  broken(
    'trusts-an-older-probe',
    'readRound',
    'A read is confirmed by replies to a heartbeat that was sent before the read.',
    (lastSent) => lastSent,
  ),
  // oxide-kv (Rust), node.rs:1152: set by any one peer.
  broken(
    'trusts-one-peer',
    'confirmedRound',
    'One reply confirms a leader, whatever the size of the cluster.',
    (quorums, answered) => {
      const voters = [...new Set(quorums.flat())];
      return voters.map(answered).toSorted((a, b) => b - a)[1] ?? answered(voters[0] ?? 0);
    },
  ),
  // oxide-kv (Rust), request_votes: counts peers of both halves together. raft.md of etcd has the run.
  broken(
    'joint-counts-the-union',
    'quorums',
    'While joint, a majority of all old and new voters together decides.',
    ({ voters, outgoing }) => [[...new Set([...outgoing, ...voters])]],
  ),
  broken(
    'new-voters-decide-alone',
    'quorums',
    'A change of voters takes effect at once, without the consent of the old ones.',
    ({ voters }) => [voters],
  ),
  // openraft a10d9906 and d882e743.
  broken(
    'counts-learners',
    'quorums',
    'Learners are counted in majorities as if they were voters.',
    ({ voters, outgoing, learners }) =>
      outgoing.length === 0 ? [[...voters, ...learners]] : [outgoing, [...voters, ...learners]],
  ),
  broken(
    'witness-stands',
    'mayStand',
    'A witness stands for election when nobody else does, and wins without any data.',
    () => true,
  ),
  broken(
    'takes-stubs',
    'mayHold',
    'A node that is to keep data acknowledges entries that came without theirs.',
    () => true,
  ),
  broken(
    'witnesses-decide-alone',
    'keepsData',
    'Members are changed so that witnesses alone are a majority, and commit what nobody keeps.',
    () => true,
  ),
  broken(
    'tells-witnesses-first',
    'witnessEnd',
    'A witness learns of entries that the full copies lack, and then elects none of them.',
    ({ last }) => last,
  ),
  // Ongaro, raft-dev, July 2015: the bug in single-server changes; openraft #2051, axon #120.
  broken(
    'changes-members-too-soon',
    'mayChangeConfig',
    'A leader changes members while an earlier change, or its own term, is not committed.',
    () => true,
  ),
  broken(
    'never-steps-down',
    'hasLostQuorum',
    'A leader without a majority goes on leading, and its clients go on waiting.',
    () => false,
  ),
  // hashicorp/raft #503, consul #3552: heartbeats went on for a minute while the disk stood still.
  broken(
    'leads-without-its-disk',
    'isDiskTooSlow',
    'A leader whose disk hangs goes on leading, and its heartbeats keep everybody else from it.',
    () => false,
  ),
  // raft-rs #234, etcd #12704: the request for votes says that a transfer is meant, and not which.
  broken(
    'obeys-a-late-transfer',
    'mayBypassLease',
    'A voter lets the target of a transfer by, however long ago the leader has given the transfer up.',
    () => true,
  ),
  broken(
    'leases-through-a-transfer',
    'mayLeaseOn',
    'A leader goes on reading by its lease while it hands its leadership over.',
    () => true,
  ),
  // jraft #34: two leaders for two seconds.
  broken(
    'counts-the-lease-from-the-answer',
    'leaseExpiry',
    'A lease is counted from when the answers came in.',
    ({ answeredMs, electionMs, drift }) => answeredMs + electionMs * (1 - drift),
  ),
  // etcd-io/raft #166: the quorum is checked once in an election timeout, so that it is believed for up to two.
  broken(
    'leases-for-two-timeouts',
    'leaseExpiry',
    'A lease lasts until the next check of the majority, longer than any voter has promised.',
    ({ sentMs, electionMs }) => sentMs + 2 * electionMs,
  ),
  // etcd and raft-rs count ticks of each node and allow for no difference between two clocks.
  broken(
    'believes-every-clock',
    'leaseExpiry',
    'A lease lasts as long as the promise behind it, as if all clocks ran at the same speed.',
    ({ sentMs, electionMs }) => sentMs + electionMs,
  ),
  // etcd: what ForgetLeader warns of is what a restart does.
  broken(
    'forgets-its-promise',
    'promiseAfterRestart',
    'A restarted voter votes at once, though a lease may rest on what it promised before.',
    () => -Infinity,
  ),
  // oxide-kv (Rust), replay_logs: applies the whole write-ahead log after a restart.
  broken(
    'applies-the-whole-log',
    'appliedAfterRestart',
    'A restarted node applies its log to the end, committed or not.',
    (_snapshot, last) => last,
  ),
  broken(
    'forgets-its-vote',
    'voteAfterRestart',
    'A restarted node has forgotten whom it voted for.',
    () => 0,
  ),
  // Alagappan et al., FAST 2018, found it in LogCabin and ZooKeeper: the log is cut where it is damaged, and that is all.
  broken(
    'votes-with-half-a-log',
    'mustAbstain',
    'A node that lost the end of its log votes as if it had never acknowledged it.',
    () => false,
  ),
  // raft-core, and oxide-kv (Rust) node.rs:1972: the state machine is replaced whatever the snapshot's age.
  broken(
    'takes-old-snapshots',
    'wantsSnapshot',
    'A late snapshot puts the state machine back to an earlier time.',
    () => true,
  ),
  // openraft 674e78aa.
  broken(
    'keeps-a-conflicting-tail',
    'keepsLogBehindSnapshot',
    'Entries behind an installed snapshot stay though they contradict it.',
    (ownTerm) => ownTerm !== undefined,
  ),
  broken(
    'drops-an-agreeing-tail',
    'keepsLogBehindSnapshot',
    'A snapshot throws away acknowledged entries behind it.',
    () => false,
  ),
];

/** A twin of {@link RULES} that differs in `rule` alone. */
function broken<K extends keyof Rules>(name: string, rule: K, what: string, wrong: Rules[K]): BrokenRule {
  return { name, rule, what, rules: { ...RULES, [rule]: wrong } };
}
