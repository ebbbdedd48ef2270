/**
 * A leader's part in changing the members (§6, thesis §4): it appends configurations, follows joint ones by plain ones,
 * makes learners voters when they have caught up, and leaves when it is no longer a member.
 */
import { defined } from '../lib/assert.ts';
import { CatchUp } from './catch-up.ts';
import type { Core } from './core.ts';
import { type LogIndex, type NodeId, makeEntry } from './entry.ts';
import {
  type ChangeProblem,
  type Config,
  type MemberChange,
  configAfter,
  configAfterJoint,
  describeConfig,
  encodeConfig,
  isJoint,
  isVoter,
  membersOf,
} from './membership.ts';
import { Progress } from './progress.ts';

export class LeaderMembership {
  readonly #core: Core;
  readonly #noop: LogIndex;
  readonly #progress: Map<NodeId, Progress>;
  readonly #farewell: (progress: Progress) => void;
  readonly #appended: (bytes: number) => void;
  readonly #catchUps: Map<NodeId, CatchUp> = new Map();
  /** The request that the change under way belongs to. */
  #request: number | undefined;
  /** The configuration in effect is committed and everything that follows from it is done. */
  #settledIndex: LogIndex;

  constructor(options: {
    readonly core: Core;
    /** Index of the entry that opens the term. */
    readonly noop: LogIndex;
    /** Of the leader; members come and go. */
    readonly progress: Map<NodeId, Progress>;
    /** Tells a node that leaves what is committed, for the last time. */
    readonly farewell: (progress: Progress) => void;
    /** Told the bytes of every configuration appended. */
    readonly appended: (bytes: number) => void;
  }) {
    this.#core = options.core;
    this.#noop = options.noop;
    this.#progress = options.progress;
    this.#farewell = options.farewell;
    this.#appended = options.appended;
    const { log } = options.core;
    this.#settledIndex = log.configIndex <= log.commit && !isJoint(log.config) ? log.configIndex : -1;
  }

  /** Appends the configuration that `changes` lead to; the outcome comes when it is in effect alone, or at once as a refusal. */
  change(id: number, changes: readonly MemberChange[]): void {
    const { log, rules } = this.#core;
    const { config, configIndex, commit } = log;
    const refuse = (problem: ChangeProblem, node: NodeId): void =>
      this.#core.outcome({ id, ok: false, reason: { kind: 'invalidChange', problem, node } });
    if (!rules.mayChangeConfig({ commit, noop: this.#noop, configIndex }) || isJoint(config)) {
      const reason =
        commit < this.#noop
          ? ({ kind: 'noopUncommitted' } as const)
          : ({ kind: 'configPending', index: configIndex } as const);
      return this.#core.outcome({ id, ok: false, reason });
    }
    const next = configAfter(config, changes, log.last.index + 1);
    if (!next.ok) return refuse(next.problem, next.node);
    const { voters, promoting, witnesses } = next.config;
    const witness = changes.find(({ kind }) => kind === 'addWitness');
    // One that could never become a voter is refused while somebody hears it.
    if (witness !== undefined && !rules.keepsData([...voters, ...promoting], witnesses))
      return refuse('too_few_copies', witness.node);
    if (!rules.keepsData(voters, witnesses)) return refuse('too_few_copies', changes[0]?.node ?? 0);
    const silent = isJoint(next.config) ? this.#silentOf(voters) : [];
    const [first] = silent;
    // Of a majority one keeps data and can lead.
    if (first !== undefined && (voters.length - silent.length) * 2 <= voters.length)
      return refuse('no_majority', first);
    this.#request = id;
    this.#append(next.config, 'asked to change the members');
  }

  /** Voters that have not answered for an election timeout. A change that leaves only them would be the last one. */
  #silentOf(voters: readonly NodeId[]): readonly NodeId[] {
    const { id: self, nowMs, config } = this.#core;
    return voters.filter((id) => {
      const progress = this.#progress.get(id);
      return id !== self && progress?.hasAnswered(nowMs, config.electionMs) !== true;
    });
  }

  /** Makes a learner a voter when it has caught up, as soon as a change is possible. One at a time. */
  promote(): void {
    const { log, rules, nowMs, config: times } = this.#core;
    const { config, configIndex, commit } = log;
    for (const id of config.promoting) {
      const progress = this.#progress.get(id);
      const catchUp = this.#catchUps.get(id) ?? new CatchUp(log.last.index, nowMs);
      this.#catchUps.set(id, catchUp);
      catchUp.reached(progress?.match ?? 0, log.last.index, nowMs, times.electionMs);
      // One that held everything and died since would be a voter that never votes.
      const isThere = progress?.hasAnswered(nowMs, times.electionMs) === true;
      if (!catchUp.isDone || !isThere || isJoint(config)) continue;
      if (!rules.mayChangeConfig({ commit, noop: this.#noop, configIndex })) continue;
      const next = configAfter(config, [{ kind: 'promote', node: id }], log.last.index + 1);
      if (!next.ok || !rules.keepsData(next.config.voters, next.config.witnesses)) continue;
      return this.#append(next.config, `n${id} has caught up`);
    }
  }

  /** The commit index has moved. @returns `leaves` when this leader is no longer a member and must step down */
  committed(): 'stays' | 'leaves' {
    const { log, id } = this.#core;
    const { config, configIndex } = log;
    if (configIndex > log.commit || configIndex === this.#settledIndex) return 'stays';
    this.#tell('committed', 'a majority holds it');
    if (isJoint(config)) {
      // Whoever leads finds the joint configuration in its log and ends it (etcd #12136 lost it with its leader).
      this.#append(configAfterJoint(config), 'the joint configuration is committed');
      return 'stays';
    }
    this.#settledIndex = configIndex;
    if (this.#request !== undefined)
      this.#core.outcome({ id: this.#request, ok: true, kind: 'committed', index: configIndex });
    this.#request = undefined;
    const members = membersOf(config);
    for (const progress of this.#progress.values()) {
      if (members.includes(progress.id)) continue;
      this.#farewell(progress);
      this.#progress.delete(progress.id);
    }
    for (const learner of this.#catchUps.keys())
      if (!config.promoting.includes(learner)) this.#catchUps.delete(learner);
    return isVoter(config, id) ? 'stays' : 'leaves';
  }

  /** Leadership ends: the change may still be carried on by the next leader. */
  leave(): void {
    if (this.#request === undefined) return;
    const reason = { kind: 'lostLeadership', mayCommit: true } as const;
    this.#core.outcome({ id: this.#request, ok: false, reason });
    this.#request = undefined;
  }

  /** A configuration takes effect when it is appended (§6). */
  #append(config: Config, why: string): void {
    const { log, term, nowMs, config: times } = this.#core;
    const index = log.last.index + 1;
    const entry = makeEntry({ term, index, kind: 'config', payload: encodeConfig(config) });
    log.append([entry], term);
    this.#appended(entry.encoded.length);
    for (const id of this.#core.peers)
      if (!this.#progress.has(id)) this.#progress.set(id, new Progress(id, index, nowMs, times));
    this.#tell('appended', why);
  }

  #tell(phase: 'appended' | 'committed', why: string): void {
    const { log } = this.#core;
    const config = defined(log.config, 'configuration');
    const text = `${why}: ${describeConfig(config)}`;
    this.#core.event({ kind: 'config', index: log.configIndex, config, phase, why: text });
  }
}
