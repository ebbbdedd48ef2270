/**
 * A leader's part in handing its leadership over (thesis §3.10): it lets the target catch up, tells it to stand for election
 * at once, and goes on leading when nothing comes of it within an election timeout. Why a late `timeoutNow` does no harm
 * stands in allegiance.ts.
 */
import type { Core } from './core.ts';
import type { NodeId } from './entry.ts';
import type { LeaderRounds } from './leader-rounds.ts';
import type { TransferProblem } from './messages.ts';
import { isWitness, membersOf } from './membership.ts';
import type { Progress } from './progress.ts';

export class LeaderTransfer {
  readonly #core: Core;
  readonly #progress: ReadonlyMap<NodeId, Progress>;
  readonly #rounds: LeaderRounds;
  #to: NodeId = 0;
  #deadlineMs = Infinity;

  /** @param options `progress` and `rounds`: of the leader, and kept by it */
  constructor(options: {
    readonly core: Core;
    readonly progress: ReadonlyMap<NodeId, Progress>;
    readonly rounds: LeaderRounds;
  }) {
    this.#core = options.core;
    this.#progress = options.progress;
    this.#rounds = options.rounds;
  }

  /** Who is to take over; 0 for nobody. Nothing may be appended for clients meanwhile, or the target would never catch up. */
  get to(): NodeId {
    return this.#to;
  }

  /** When it is given up; Infinity without one. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** Begins a transfer, or refuses it with a reason. `to` 0: whoever is best prepared. */
  begin(id: number, to: NodeId): void {
    const { nowMs, config, log } = this.#core;
    if (this.#to !== 0) {
      const reason = { kind: 'transferring', to: this.#to } as const;
      return this.#core.outcome({ id, ok: false, reason });
    }
    const target = to === 0 ? this.#best() : to;
    const problem = this.#problemOf(target);
    if (problem !== undefined) {
      const reason = { kind: 'invalidTarget', problem, node: target } as const;
      return this.#core.outcome({ id, ok: false, reason });
    }
    this.#to = target;
    this.#deadlineMs = nowMs + config.electionMs;
    this.#core.handover.begin(id, target);
    const match = this.#progress.get(target)?.match ?? 0;
    const why = `asked to; it holds ${match} of ${log.last.index} entries`;
    this.#core.event({ kind: 'transfer', to: target, why });
  }

  /** The last moment before output is taken: tells the target once it holds everything. */
  flush(): void {
    if (this.#to === 0 || this.#rounds.isFrozen) return;
    const { log } = this.#core;
    if (this.#problemOf(this.#to) !== undefined) return this.#giveUp('it is no longer a voter');
    // Also committed, so that no client's write ends in doubt.
    const isReady = this.#progress.get(this.#to)?.match === log.last.index && log.commit === log.last.index;
    if (!isReady) return;
    this.#rounds.freeze();
    this.#tell(this.#to);
  }

  /** A heartbeat is due. */
  heartbeat(): void {
    const { nowMs, config } = this.#core;
    if (this.#to === 0) return;
    if (nowMs >= this.#deadlineMs) return this.#giveUp(`it did not take over within ${config.electionMs} ms`);
    if (this.#rounds.isFrozen) this.#tell(this.#to);
  }

  /** This leader steps down whatever comes of it: tells the best voter, so that the group does not wait for a timeout. */
  farewell(): void {
    const to = this.#to === 0 ? this.#best() : this.#to;
    if (to !== 0) this.#tell(to);
  }

  #tell(to: NodeId): void {
    this.#core.send(to, { kind: 'timeoutNow', round: this.#rounds.newest });
  }

  #giveUp(why: string): void {
    this.#core.event({ kind: 'transfer', to: this.#to, why: `given up: ${why}` });
    this.#to = 0;
    this.#deadlineMs = Infinity;
    if (this.#rounds.isFrozen) this.#rounds.thaw();
    this.#core.handover.abort(this.#core);
  }

  #problemOf(target: NodeId): TransferProblem | undefined {
    const { log, id } = this.#core;
    if (target === 0) return 'no_other_voter';
    if (target === id) return 'leads_already';
    if (isWitness(log.config, target)) return 'witness';
    if (log.config.voters.includes(target)) return undefined;
    return membersOf(log.config).includes(target) ? 'not_voter' : 'not_member';
  }

  /** The voter that may lead and holds most of the log, of those that answer; 0 for none. */
  #best(): NodeId {
    const { log, id, nowMs, config } = this.#core;
    let best: Progress | undefined;
    for (const voter of log.config.voters) {
      const progress = voter === id || isWitness(log.config, voter) ? undefined : this.#progress.get(voter);
      if (progress === undefined) continue;
      const answers = (one: Progress): boolean => one.hasAnswered(nowMs, config.electionMs);
      const isBetter =
        best === undefined ||
        (answers(progress) === answers(best) ? progress.match > best.match : answers(progress));
      if (isBetter) best = progress;
    }
    return best?.id ?? 0;
  }
}
