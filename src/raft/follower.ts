/** A follower: accepts the leader's log, acknowledges what its disk holds, and stands for election in silence (§5.2, §5.3). */
import { unreachable } from '../lib/assert.ts';
import type { Core, MessageOf, RoleState, Transitions } from './core.ts';
import type { Entry, NodeId } from './entry.ts';
import type { FollowerReads } from './follower-reads.ts';
import { decodeConfig, describeConfig, membersOf } from './membership.ts';
import type { Message, Round, SnapshotArrival } from './messages.ts';
import { answerVote } from './voter.ts';

const NO_WITNESS =
  'it keeps data, and the leader takes it for a witness: remove it and add it without witness';
const NO_COPY =
  'it is a witness, and the leader takes it for one that keeps data: remove it and add it as witness';

export class Follower implements RoleState {
  readonly kind = 'follower';
  readonly #core: Core;
  readonly #transitions: Transitions;
  readonly #reads: FollowerReads;
  #heardMs: number = -Infinity;
  /** The round that put this follower to sleep. */
  #sleepRound: Round = 0;

  /** @param reads of this replica; they outlive the role */
  constructor(core: Core, transitions: Transitions, reads: FollowerReads) {
    this.#core = core;
    this.#transitions = transitions;
    this.#reads = reads;
  }

  /** When a live leader was last heard of, -Infinity if none was. One that was said to be idle is trusted. */
  get heardMs(): number {
    return this.#core.isAsleep ? this.#core.nowMs : this.#heardMs;
  }

  receive(message: Message): void {
    switch (message.kind) {
      case 'append':
        this.#hear(message.from, message.round);
        return this.#append(message);
      case 'rebase':
        return this.#rebase(message);
      case 'heartbeat':
        return this.#heartbeat(message);
      case 'timeoutNow':
        return this.#takeOver(message);
      case 'readReply':
        return this.#reads.answered(message);
      case 'vote':
        return answerVote(this.#core, message, this.heardMs);
      case 'voteReply':
      case 'appendReply':
      case 'appendReject':
      case 'heartbeatReply':
      case 'readRequest':
        return this.#core.drop(message, 'a follower asked for nothing');
      default:
        return unreachable(message);
    }
  }

  /** A whole snapshot from the leader of the current term (§7). */
  receiveSnapshot(snapshot: SnapshotArrival): void {
    this.#hear(snapshot.from, 0);
    this.#install(snapshot, 0);
  }

  /** All that a witness needs of a snapshot, so that no rows travel. Whoever keeps data would lose what was committed. */
  #rebase(message: MessageOf<'rebase'>): void {
    const core = this.#core;
    this.#hear(message.from, message.round);
    if (!core.rules.mayHold(core.config.witness, 'stub')) return core.drop(message, NO_WITNESS);
    this.#install(message, message.round);
  }

  #install(snapshot: Omit<SnapshotArrival, 'term'>, round: Round): void {
    const core = this.#core;
    const { position } = snapshot;
    if (core.rules.wantsSnapshot(position.index, core.log.commit)) {
      const keepLog = core.rules.keepsLogBehindSnapshot(core.log.term(position.index), position.term);
      core.installSnapshot(position, snapshot.config, keepLog);
      core.event({
        kind: 'snapshot',
        peer: snapshot.from,
        index: position.index,
        why: keepLog
          ? 'the log agrees with it and stays behind it'
          : 'the log was too far behind and starts over',
      });
    }
    core.sendWhenDurable(snapshot.from, { kind: 'appendReply', match: core.log.commit, round });
  }

  deadlinePassed(): void {
    const since = Math.round(this.#core.nowMs - this.#heardMs);
    const why = Number.isFinite(since)
      ? `nothing from a leader for ${since} ms`
      : 'no leader since the timer started';
    this.#transitions.becomeCandidate(true, why);
  }

  wake(why: string): void {
    this.#core.isAsleep = false;
    this.#heardMs = this.#core.nowMs;
    this.#core.resetElectionTimer();
    this.#core.event({ kind: 'quiesce', isQuiesced: false, why });
  }

  flush(): void {}

  leave(): void {}

  #hear(leader: NodeId, round: Round): void {
    const core = this.#core;
    core.leader = leader;
    this.#heardMs = core.nowMs;
    core.allegiance.hear(core.term, round, core.nowMs);
    // What the leader sent before it fell asleep does not say that it is awake.
    if (core.isAsleep && round <= this.#sleepRound) return;
    core.isAsleep = false;
    core.resetElectionTimer();
  }

  #heartbeat(message: MessageOf<'heartbeat'>): void {
    const core = this.#core;
    const { from, round, commit } = message;
    this.#hear(from, round);
    this.#commitTo(commit, commit);
    // An answer would wake the leader, and is due when there is a reason to.
    if (message.quiesce === true && this.#maySleep(commit)) return this.#sleep(round);
    core.answer(from, { kind: 'heartbeatReply', round });
    this.#reads.repeat();
  }

  #maySleep(commit: number): boolean {
    const { log, config } = this.#core;
    const isLevel = log.commit === commit && log.last.index === commit && log.durable === commit;
    return isLevel && !config.leaseReads && !this.#reads.isWaiting;
  }

  #sleep(round: Round): void {
    const core = this.#core;
    this.#sleepRound = round;
    if (core.isAsleep) return;
    core.isAsleep = true;
    core.deadlineMs = Infinity;
    core.event({ kind: 'quiesce', isQuiesced: true, why: 'the leader has nothing to tell' });
  }

  /** The leader wants this replica to lead (thesis §3.10). Without pre-vote: nobody who hears the leader would grant one. */
  #takeOver(message: MessageOf<'timeoutNow'>): void {
    const core = this.#core;
    const { from, term, round } = message;
    const transfer = { term, round };
    if (!core.rules.mayStand(core.config.witness)) return core.drop(message, 'a witness never leads');
    if (core.lossObstacle !== undefined) return core.drop(message, core.lossObstacle);
    const obstacle = core.allegianceAgainst(this.heardMs, term + 1, transfer);
    if (obstacle !== undefined) return core.drop(message, obstacle);
    this.#transitions.becomeCandidate(false, `n${from} hands over`, transfer);
  }

  /** Figure 2, AppendEntries, receiver steps 2 to 5. */
  #append(message: MessageOf<'append'>): void {
    const { log, rules } = this.#core;
    const { prev, entries, from, round } = message;
    if (!followOneAnother(message)) return this.#core.drop(message, 'the entries do not follow one another');
    if (entries.some((entry) => entry.kind === 'config' && decodeConfig(entry.payload) === undefined))
      return this.#core.drop(message, 'it holds a configuration that cannot be read');
    const { witness } = this.#core.config;
    if (entries.some(({ kind }) => !rules.mayHold(witness, kind)))
      return this.#core.drop(message, witness ? NO_COPY : NO_WITNESS);
    const broken = entries.find(
      (entry) => entry.index <= log.commit && differs(log.term(entry.index), entry.term),
    );
    if (broken !== undefined) {
      return this.#core.drop(message, `entry ${broken.index} contradicts a committed entry`);
    }
    // What lies behind our snapshot is committed, so the leader has the same (Leader Completeness, §5.4.3).
    const isBehindBase = prev.index < log.base.index;
    if (!isBehindBase && !rules.matchesPrevious(log.term(prev.index), prev.term)) {
      const hint = log.conflictHint(Math.min(prev.index, log.last.index), prev.term);
      const own = log.term(prev.index);
      const why =
        own === undefined
          ? `entry ${prev.index} is missing, the log ends at ${log.last.index}`
          : `entry ${prev.index} has term ${own}, the leader's has ${prev.term}`;
      this.#core.event({ kind: 'reject', peer: from, why });
      const reject = { kind: 'appendReject', rejected: prev.index, hint, round } as const;
      const hasLost = this.#core.lossObstacle !== undefined;
      this.#core.answer(from, hasLost ? { ...reject, lost: true } : reject);
      return;
    }
    const ownLast = log.last.index;
    const configIndex = log.configIndex;
    log.accept(message.term, Math.max(prev.index, log.base.index));
    this.#merge(isBehindBase ? entries.filter((entry) => entry.index > log.base.index) : entries);
    if (log.configIndex !== configIndex) this.#tellConfig(from, configIndex);
    const verified = rules.verifiedIndex({ prevIndex: prev.index, entryCount: entries.length, ownLast });
    this.#commitTo(message.commit, verified);
    const match = Math.max(verified, log.base.index);
    this.#core.sendWhenDurable(from, { kind: 'appendReply', match, round });
  }

  /** A configuration takes effect when it is appended, and loses it when it is cut (§6). */
  #tellConfig(leader: number, indexBefore: number): void {
    const { log } = this.#core;
    const { config, configIndex } = log;
    const isBack = configIndex < indexBefore;
    const why = isBack
      ? `entry ${indexBefore} was cut, so the members are again ${describeConfig(config)}`
      : `n${leader} says that the members are ${describeConfig(config)}`;
    const phase = isBack ? 'rolledBack' : 'appended';
    this.#core.event({ kind: 'config', index: configIndex, config, phase, why });
  }

  #merge(entries: readonly Entry[]): void {
    const { log, rules, term } = this.#core;
    for (const [i, entry] of entries.entries()) {
      const own = log.term(entry.index);
      if (own !== undefined && rules.mustTruncate({ term: own, index: entry.index }, entry.term)) {
        const after = entry.index - 1;
        const why = `entry ${entry.index} has term ${own}, the leader's has ${entry.term}`;
        this.#core.event({ kind: 'truncate', after, why });
        log.truncateAfter(after);
      } else if (own !== undefined) {
        log.accept(term, entry.index);
        continue;
      }
      return log.append(entries.slice(i), term);
    }
  }

  #commitTo(leaderCommit: number, verified: number): void {
    const { log, rules } = this.#core;
    const commit = rules.followerCommit(leaderCommit, verified, log.last.index);
    // A heartbeat of a leader that stopped at our match cannot be ahead of the log; one replayed from earlier is behind it.
    if (commit <= log.commit || commit > log.last.index) return;
    const { config, configIndex } = log;
    const isNews = configIndex > log.commit && configIndex <= commit;
    log.commitTo(commit);
    if (!isNews) return;
    const isOut = !membersOf(config).includes(this.#core.id);
    const why = isOut ? 'this node is no longer a member' : `the members are ${describeConfig(config)}`;
    this.#core.event({ kind: 'config', index: configIndex, config, phase: 'committed', why });
  }
}

/** Whether the entries of an append lie behind its previous position without gaps, in terms that never fall. */
function followOneAnother(message: MessageOf<'append'>): boolean {
  let { index, term } = message.prev;
  for (const entry of message.entries) {
    if (entry.index !== index + 1 || entry.term < term) return false;
    ({ index, term } = entry);
  }
  return term <= message.term;
}

/** Whether two terms are known and differ. */
function differs(own: number | undefined, incoming: number): boolean {
  return own !== undefined && own !== incoming;
}
