/**
 * The Raft core of one replica: a synchronous state machine. Time and randomness come in, nothing else does; the
 * sequence of inputs replays a run. The host calls `step` any number of times, then `drain` until it returns
 * undefined, carrying out each output in order: send, write and sync, report `persisted`, apply.
 */
import { unreachable } from '../lib/assert.ts';
import type { Random } from '../lib/random.ts';
import { Candidate } from './candidate.ts';
import { type RaftConfig, raftConfigOf } from './config.ts';
import { Core, type RoleState, type Transitions } from './core.ts';
import type { Entry, LogIndex, NodeId, Term } from './entry.ts';
import { Follower } from './follower.ts';
import { FollowerReads } from './follower-reads.ts';
import { Leader } from './leader.ts';
import { RaftLog } from './log.ts';
import { type Config, bootstrapConfig, isVoter, isWitness } from './membership.ts';
import type {
  HardState,
  Input,
  LeaderRound,
  LogPosition,
  LostLog,
  Message,
  Output,
  RaftStatus,
  Refusal,
  SnapshotArrival,
} from './messages.ts';
import { reasonToWake } from './quiescence.ts';
import { RULES, type Rules } from './rules.ts';

/** What a replica starts from: all zero and empty for a new one, or what its disk held. */
export interface RaftOptions {
  readonly id: NodeId;
  /** The voters that the cluster began with; empty for a node that waits to be added. */
  readonly voters: readonly NodeId[];
  readonly nowMs: number;
  readonly hard: HardState;
  /** Last position of the newest snapshot; zeros without one. */
  readonly base: LogPosition;
  /** The configuration in effect at `base`, out of the snapshot; `voters` without one. */
  readonly baseConfig?: Config;
  /** The log behind `base`. */
  readonly entries: readonly Entry[];
  /** What the disk has lost of it, though it may have been acknowledged: until a leader has made it good, this node abstains. */
  readonly abstainBelow?: LostLog | undefined;
  /** Of this node alone: equal streams on two nodes would tie their elections for ever. */
  readonly random: Random;
  readonly config?: Partial<RaftConfig>;
  /** For lessons and tests only. */
  readonly rules?: Rules;
}

const NOT_FOR_US = 'not for this node, or from itself';

export class Raft implements Transitions {
  readonly #core: Core;
  readonly #reads: FollowerReads;
  #role: RoleState;
  #applied: LogIndex;

  constructor(options: RaftOptions) {
    const baseConfig = options.baseConfig ?? bootstrapConfig(options.voters);
    const core = new Core({
      id: options.id,
      config: raftConfigOf(options.config ?? {}),
      rules: options.rules ?? RULES,
      log: new RaftLog(options.base, baseConfig, options.entries, options.hard.commit),
      hard: options.hard,
      lost: options.abstainBelow,
      random: options.random,
      nowMs: options.nowMs,
    });
    this.#core = core;
    this.#applied = core.handed;
    this.#reads = new FollowerReads(core);
    this.#role = new Follower(core, this, this.#reads);
    core.resetElectionTimer();
  }

  /** When the core next wants a `tick`, on the clock that the inputs carry; Infinity for never. */
  get deadlineMs(): number {
    return this.#core.deadlineMs;
  }

  get status(): RaftStatus {
    const core = this.#core;
    return {
      id: core.id,
      role: this.#role.kind,
      term: core.term,
      vote: core.vote,
      leader: core.leader,
      commit: core.log.commit,
      applied: this.#applied,
      first: core.log.base.index + 1,
      last: core.log.last,
      durable: core.log.durable,
      deadlineMs: core.deadlineMs,
      peers: this.#role instanceof Leader ? this.#role.peers : [],
      votes: this.#role instanceof Candidate ? this.#role.granted : [],
      config: core.log.config,
      configIndex: core.log.configIndex,
      transferTo: this.#role instanceof Leader ? this.#role.transferTo : 0,
      leaseUntilMs: this.#role instanceof Leader ? this.#role.leaseUntilMs : 0,
      isQuiesced: core.isAsleep,
    };
  }

  /** Who leads, as far as this replica knows; 0 for nobody. */
  get leader(): NodeId {
    return this.#core.leader;
  }

  get isLeader(): boolean {
    return this.#role.kind === 'leader';
  }

  /** Whether this replica neither votes nor stands, because its disk has lost what it may have acknowledged. */
  get isAbstaining(): boolean {
    return this.#core.lossObstacle !== undefined;
  }

  /** The newest entries, at most `count`, oldest first. */
  tail(count: number): readonly Entry[] {
    const { log } = this.#core;
    const from = Math.max(log.base.index + 1, log.last.index - count + 1);
    return from > log.last.index ? [] : log.slice(from, log.last.index, Infinity);
  }

  /** The members in effect: the newest configuration in the log. The same object until it changes. */
  get config(): Config {
    return this.#core.log.config;
  }

  /** The members in effect at `index`, which the log must not have forgotten. */
  configAt(index: LogIndex): Config {
    return this.#core.log.configAt(index);
  }

  /** The term of the entry at `index`, if the log has it. */
  termAt(index: LogIndex): Term | undefined {
    return this.#core.log.term(index);
  }

  /**
   * Takes one input at time `nowMs` (monotonic). Never throws for what a peer sent: a bad message becomes a `drop` event.
   */
  step(nowMs: number, input: Input): void {
    const core = this.#core;
    core.nowMs = nowMs;
    if (core.failed) return this.#refuseAll(input);
    if (core.isAsleep) {
      const why = reasonToWake(input, this.isLeader, core.leader);
      if (why !== undefined) this.#role.wake(why);
    }
    switch (input.kind) {
      case 'tick':
        if (nowMs < core.deadlineMs) return;
        if (this.isLeader && core.isDiskTooSlow(core.writeAgeMs)) {
          const why = `its disk has not finished a write for ${Math.round(core.writeAgeMs)} ms`;
          if (this.#standBack(why)) return;
        }
        return this.#role.deadlinePassed();
      case 'message':
        // What this replica says to itself never travels.
        if (input.message.from === core.id) return core.drop(input.message, NOT_FOR_US);
        return this.#receive(input.message);
      case 'propose':
        if (this.#role instanceof Leader) return this.#role.propose(input.proposals);
        return this.#refuse(
          input.proposals.map(({ id }) => id),
          { kind: 'notLeader', leader: core.leader },
        );
      case 'read':
        if (this.#role instanceof Leader) return this.#role.read(input.ids, input.mode ?? 'index');
        // A witness has nothing to read from.
        if (core.leader !== 0 && core.leader !== core.id && !core.config.witness)
          return this.#reads.read(input.ids);
        return this.#refuse(input.ids, { kind: 'notLeader', leader: core.leader });
      case 'changeMembers':
        if (this.#role instanceof Leader) return this.#role.changeMembers(input.id, input.changes);
        return this.#refuse([input.id], { kind: 'notLeader', leader: core.leader });
      case 'transfer':
        if (this.#role instanceof Leader) return this.#role.transfer(input.id, input.to);
        return this.#refuse([input.id], { kind: 'notLeader', leader: core.leader });
      case 'campaign':
        if (!(this.#role instanceof Leader)) this.becomeCandidate(true, 'told to stand for election');
        return;
      case 'persisted':
        for (const message of core.persisted(input.seq)) this.#receive(message);
        if (this.#role instanceof Leader) this.#role.persisted();
        if (core.isDiskTooSlow(core.writeTookMs))
          this.#standBack(`its disk took ${Math.round(core.writeTookMs)} ms for a write`);
        return;
      case 'persistFailed':
        this.becomeFollower(core.term, 0, 'the disk failed: this node promises nothing any more');
        return core.fail();
      case 'applied':
        this.#applied = Math.max(this.#applied, input.index);
        return;
      case 'compact':
        return core.log.compact(Math.min(input.index, this.#applied));
      case 'snapshotArrived':
        return this.#receiveSnapshot(input);
      case 'snapshotSent':
        if (this.#role instanceof Leader) this.#role.snapshotSent(input.peer, input.ok);
        return;
      case 'unreachable':
        if (this.#role instanceof Leader) this.#role.unreachable(input.peer);
        return;
      default:
        return unreachable(input);
    }
  }

  /** Takes what has gathered since the last call; undefined when there is nothing to do. */
  drain(): Output | undefined {
    this.#role.flush();
    this.#reads.flush();
    this.#core.handover.settle(this.#core, this.#role.kind);
    const { output, toSelf } = this.#core.take();
    if (toSelf.length === 0) return output;
    for (const message of toSelf) this.#receive(message);
    if (output !== undefined) return output;
    return this.drain();
  }

  becomeFollower(term: Term, leader: NodeId, why: string): void {
    const core = this.#core;
    const wasFollower = this.#role instanceof Follower;
    if (term > core.term) {
      core.setTerm(term, 0);
      if (wasFollower) core.event({ kind: 'term', term, why });
    }
    core.leader = leader;
    if (wasFollower) {
      this.#role = new Follower(core, this, this.#reads);
      // A higher term alone is no reason to wait longer for a leader (§5.2), unless nobody was waited for.
      if (core.isAsleep) core.resetElectionTimer();
      core.isAsleep = false;
      return;
    }
    this.#become(() => new Follower(core, this, this.#reads), why);
    core.resetElectionTimer();
  }

  becomeCandidate(pre: boolean, why: string, transfer?: LeaderRound): void {
    const core = this.#core;
    const obstacle = this.#obstacle(pre, transfer);
    if (obstacle !== undefined) {
      // Nobody was heard, or nobody is believed: a promise alone keeps its leader.
      if (obstacle !== 'promise') core.leader = 0;
      return core.resetElectionTimer();
    }
    core.leader = 0;
    if (!pre) core.setTerm(core.term + 1, core.id);
    core.resetElectionTimer();
    this.#become(() => new Candidate(core, this, pre, transfer), why);
  }

  /** Why this node does not stand for election now; undefined when it does. */
  #obstacle(
    pre: boolean,
    transfer: LeaderRound | undefined,
  ): 'no voter' | 'lost' | 'promise' | 'stall' | undefined {
    const core = this.#core;
    if (!this.#mayStand) return 'no voter';
    if (core.lossObstacle !== undefined) return 'lost';
    // Its vote for itself is a vote like any other, and a lease may rest on it.
    const term = core.term + 1;
    const { heardMs } = this.#role;
    const promise = core.config.leaseReads ? core.allegianceAgainst(heardMs, term, transfer) : undefined;
    if (promise !== undefined) {
      core.event({ kind: 'vote', candidate: core.id, pre, granted: false, term, why: promise });
      return 'promise';
    }
    if (!core.isDiskTooSlow(core.writeAgeMs)) return undefined;
    const ageMs = Math.round(core.writeAgeMs);
    const why = `a write has been waiting for ${ageMs} ms, so it does not stand for election`;
    if (core.standBack()) core.event({ kind: 'stall', why });
    return 'stall';
  }

  /**
   * Only a voter that keeps data may lead; a learner or a removed node waits to hear from someone (thesis §4.2.1, §4.2.3). As long as the
   * configuration that leaves it out is not committed, it may be the one whose log is needed to commit it (thesis §4.2.2).
   */
  get #mayStand(): boolean {
    const { log, id, rules, config: own } = this.#core;
    const { config, configIndex, commit } = log;
    if (!rules.mayStand(own.witness || isWitness(config, id))) return false;
    return isVoter(config, id) || (configIndex > commit && isVoter(log.configAt(configIndex - 1), id));
  }

  becomeLeader(why: string): void {
    this.#core.leader = this.#core.id;
    this.#become(() => new Leader(this.#core, this), why);
  }

  #become(make: () => RoleState, why: string): void {
    const from = this.#role.kind;
    this.#role.leave();
    this.#core.isAsleep = false;
    this.#role = make();
    // Asked again, and as little answered as before: no news.
    if (from === 'preCandidate' && this.#role.kind === from) return;
    this.#core.event({ kind: 'role', from, to: this.#role.kind, term: this.#core.term, why });
  }

  /** The gate that every message passes: who sent it, and of which term it is (§5.1). */
  #receive(message: Message): void {
    const core = this.#core;
    // A member may be one that this replica has not heard of yet, so the sender's membership is for its role to judge (§6).
    if (message.to !== core.id) return core.drop(message, NOT_FOR_US);
    if (core.isAsleep) this.#wakeForMessage(message);
    if (message.term > core.term) {
      if (!this.#adoptTerm(message)) return;
    } else if (message.term < core.term) return this.#answerOldTerm(message);
    if (isLeaders(message) && this.#role instanceof Candidate) {
      this.becomeFollower(core.term, message.from, `n${message.from} leads term ${core.term}`);
    }
    this.#role.receive(message);
  }

  /** A message of a later term. @returns whether it is to be handled on */
  #adoptTerm(message: Message): boolean {
    const core = this.#core;
    const { kind, from, term } = message;
    if (kind === 'vote' && message.pre) return true;
    if (kind === 'voteReply' && message.pre && message.granted) return true;
    if (kind === 'vote') {
      const obstacle = core.allegianceAgainst(this.#role.heardMs, term, message.transfer);
      if (obstacle !== undefined) {
        core.drop(message, obstacle);
        return false;
      }
    }
    this.becomeFollower(term, isLeaders(message) ? from : 0, `n${from} is in term ${term}`);
    return true;
  }

  /** A message of an earlier term. A deposed leader or a candidate that lags is told, so that it steps down. */
  #answerOldTerm(message: Message): void {
    const core = this.#core;
    switch (message.kind) {
      case 'append':
      case 'rebase':
      case 'heartbeat':
        return core.send(message.from, { kind: 'heartbeatReply', round: 0 });
      case 'vote':
        return core.send(message.from, { kind: 'voteReply', pre: message.pre, granted: false });
      case 'voteReply':
      case 'appendReply':
      case 'appendReject':
      case 'heartbeatReply':
      case 'readReply':
        // The rule is asked so that a lesson can break it; an honest core never counts a reply to an old term.
        if (!core.rules.isCurrentReply(message.term, core.term))
          return core.drop(message, `reply to term ${message.term}`);
        return this.#role.receive(message);
      case 'timeoutNow':
      case 'readRequest':
        return core.drop(message, `it is of term ${message.term}`);
      default:
        return unreachable(message);
    }
  }

  /**
   * The disk is too slow for a leader (hashicorp/raft #503), unless nobody else could lead and it has to be.
   *
   * @returns whether this node has ceased to lead
   */
  #standBack(why: string): boolean {
    const core = this.#core;
    const isNews = core.standBack();
    const { config } = core.log;
    const isOnly = config.voters.every((id) => id === core.id || isWitness(config, id));
    if (this.#role instanceof Leader && !isOnly) {
      this.#role.handOver(why);
      return true;
    }
    if (isNews) core.event({ kind: 'stall', why });
    return false;
  }

  /** A leader's own messages a follower judges by their round; an answer to what a leader has asked before it slept is late. */
  #wakeForMessage(message: Message): void {
    const core = this.#core;
    const { kind, from, term } = message;
    if (isLeaders(message) && term === core.term && !this.isLeader) return;
    if (this.#role instanceof Leader && this.#role.isLateAnswer(message)) return;
    this.#role.wake(`n${from} sends ${kind === 'vote' ? 'a request for votes' : kind}`);
  }

  #receiveSnapshot(input: { readonly snapshot: SnapshotArrival }): void {
    const core = this.#core;
    const { from, term, position } = input.snapshot;
    if (term < core.term || from === core.id || this.#role instanceof Leader) return;
    if (position.term > term) return; // no leader has entries of a term to come
    // A witness keeps nothing of it: to say that it has it would make it a copy in the eyes of the leader.
    if (!core.rules.mayHold(core.config.witness, 'command')) return;
    if (term > core.term || this.#role instanceof Candidate)
      this.becomeFollower(term, from, `n${from} leads term ${term}`);
    if (this.#role instanceof Follower) this.#role.receiveSnapshot(input.snapshot);
  }

  #refuse(ids: readonly number[], reason: Refusal): void {
    for (const id of ids) this.#core.outcome({ id, ok: false, reason });
  }

  #refuseAll(input: Input): void {
    if (input.kind === 'propose')
      this.#refuse(
        input.proposals.map(({ id }) => id),
        { kind: 'storageFailed' },
      );
    if (input.kind === 'read') this.#refuse(input.ids, { kind: 'storageFailed' });
    if (input.kind === 'changeMembers' || input.kind === 'transfer')
      this.#refuse([input.id], { kind: 'storageFailed' });
  }
}

/** Whether only the leader of its term sends this. */
function isLeaders({ kind }: Message): boolean {
  return kind === 'append' || kind === 'rebase' || kind === 'heartbeat' || kind === 'timeoutNow';
}
