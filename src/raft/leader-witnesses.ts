/**
 * A leader's part in feeding witnesses: the log without its commands, where it begins in place of a snapshot, and none of
 * it before the full copies that keep up have it.
 *
 * The last is not for safety. A witness votes for nobody whose log ends before its own, so an entry that only the leader
 * and a witness hold makes the leader the only one who can lead: lost, it would take the cluster with it, though a full
 * copy and the witness are a majority. With the copies first, that copy can be elected. And what a witness alone remembers,
 * because the leader's disk had not come to it, or the leader was leaving the cluster, nobody could ever lead with.
 */
import type { Core } from './core.ts';
import { ENTRY_HEADER_BYTES, type Entry, type LogIndex, type NodeId, stubsOf } from './entry.ts';
import { type Config, isWitness } from './membership.ts';
import type { Progress } from './progress.ts';

export class LeaderWitnesses {
  readonly #core: Core;
  readonly #progress: ReadonlyMap<NodeId, Progress>;
  /** Where the log ended at the last heartbeat. */
  #beatIndex: LogIndex;
  /** Where it ended at the one before: who lacks what was there then lags, and is not waited for. At first, who has told nothing yet. */
  #overdueIndex: LogIndex = 1;

  /** @param progress of the leader, and kept by it */
  constructor(core: Core, progress: ReadonlyMap<NodeId, Progress>) {
    this.#core = core;
    this.#progress = progress;
    this.#beatIndex = core.log.last.index;
  }

  /** Whether a follower is a witness, or is until its removal is committed: as long it is told of the log like one. */
  includes(id: NodeId): boolean {
    return isWitness(this.#core.log.config, id) || isWitness(this.#committed, id);
  }

  /** The newest members that are committed. */
  get #committed(): Config {
    const { log } = this.#core;
    return log.configIndex > log.commit ? log.configAt(log.commit) : log.config;
  }

  /** A heartbeat is due. */
  heartbeat(): void {
    this.#overdueIndex = this.#beatIndex;
    this.#beatIndex = this.#core.log.last.index;
  }

  /** How far witnesses are told of the log now. */
  get end(): LogIndex {
    const { log, rules, id } = this.#core;
    const { voters, outgoing, witnesses } = log.config;
    const last = log.last.index;
    if (witnesses.length === 0 && this.#committed.witnesses.length === 0) return last;
    const held = (ids: readonly NodeId[]): readonly LogIndex[] =>
      ids.filter((voter) => voter !== id && !this.includes(voter)).map((voter) => this.#matchOf(voter));
    const staying = held(voters);
    const own = voters.includes(id) ? [log.durable] : [];
    const copies = [...staying, ...held(outgoing)];
    return rules.witnessEnd({
      last,
      overdue: this.#overdueIndex,
      copies,
      staying: [...staying, ...own],
    });
  }

  #matchOf(voter: NodeId): LogIndex {
    return this.#progress.get(voter)?.match ?? 0;
  }

  /** What to send of the log from `from` to `end`, at most `bytesMax` as they travel, but always one if there is one. */
  entries(from: LogIndex, end: LogIndex, bytesMax: number): readonly Entry[] {
    const { log } = this.#core;
    const countMax = Math.max(1, Math.floor(bytesMax / ENTRY_HEADER_BYTES));
    return stubsOf(log.slice(from, Math.min(end, from + countMax - 1), Infinity), bytesMax);
  }

  /** Says where the log begins now; repeated, like the probe of one that is being looked for, until it is answered. */
  rebase(progress: Progress, round: number): void {
    const { log, nowMs } = this.#core;
    const { base: position } = log;
    if (progress.mode !== 'probe') progress.probeFrom(progress.next, nowMs);
    if (progress.knocks === 0) {
      const why = `entry ${progress.next} is compacted, and a witness needs no more than where the log begins`;
      this.#core.event({ kind: 'snapshot', peer: progress.id, index: position.index, why });
    }
    progress.paused = true;
    progress.knocks += 1;
    this.#core.send(progress.id, { kind: 'rebase', position, config: log.configAt(position.index), round });
  }
}
