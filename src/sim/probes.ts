/**
 * Rare paths: what a campaign must have reached to have proved anything. Each probe is a name that a run has hit or not;
 * they are seen in what nodes show and tell, or said by the scheduler.
 */
import type { Reply, Request } from '../net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { NodeEvent } from '../node/status.ts';
import type { DownCause, Observation } from './host.ts';
import { type ProbeName } from './probe-names.ts';

/** What a probe may ask of a node's log. */
export interface LogView {
  readonly lastIndex: LogIndex;
  termAt(index: LogIndex): Term | undefined;
}

/** Collects the probes of one run. Feed it everything, in order; each event after the invariants have seen it. */
export class Probes {
  readonly #hits: Set<ProbeName> = new Set();

  /** The probes that were hit, sorted. */
  get names(): readonly ProbeName[] {
    return [...this.#hits].toSorted();
  }

  /** Something happened that only its caller can know. */
  hit(name: ProbeName): void {
    this.#hits.add(name);
  }

  /** A node starts its `life`-th life. */
  started(_node: NodeId, _life: number, _nowMs: number): void {}

  /** A node went down; `inTurn`: in the middle of one. */
  wentDown(
    _node: NodeId,
    _how: { readonly cause: DownCause; readonly reason: string; readonly inTurn: boolean },
    _nowMs: number,
  ): void {}

  /** A node has ended a turn or a start. */
  observed(
    _node: NodeId,
    _seen: Observation,
    _events: readonly NodeEvent[],
    _log: LogView,
    _nowMs: number,
  ): void {}

  /** A request was handed to a node. */
  submitted(_id: number, _node: NodeId, _request: Request): void {}

  /** It was answered. */
  replied(_id: number, _reply: Reply): void {}

  /** It never will be. */
  lost(_id: number): void {}
}
