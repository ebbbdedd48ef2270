/**
 * When a leader may let everybody sleep, and what wakes a sleeper. Nothing happens, and every follower holds and knows all
 * there is. Sleeping costs nothing but time: whoever has missed the last heartbeat stands for election when its timer
 * fires, and that wakes the others.
 */
import { unreachable } from '../lib/assert.ts';
import type { Core } from './core.ts';
import type { LogIndex, NodeId } from './entry.ts';
import { isJoint } from './membership.ts';
import type { Input, Round } from './messages.ts';
import type { Progress } from './progress.ts';

export class Quiescence {
  readonly #core: Core;
  readonly #progress: ReadonlyMap<NodeId, Progress>;
  /** Everybody held the log up to `last`, all of it committed, when `round` was about to begin. */
  #calm: { readonly last: LogIndex; readonly round: Round; readonly sinceMs: number } | undefined;

  /** @param progress of the leader, and kept by it */
  constructor(core: Core, progress: ReadonlyMap<NodeId, Progress>) {
    this.#core = core;
    this.#progress = progress;
  }

  /** Somebody wants something. */
  stir(): void {
    this.#calm = undefined;
  }

  /** Looked at before each heartbeat, of which `nextRound` is the round. @returns whether it may be the last */
  isDue(nextRound: Round): boolean {
    const { config, log, nowMs } = this.#core;
    if (config.quiesceAfterMs === 0 || config.leaseReads) return false;
    const { last } = log;
    if (!this.#isLevel(last.index)) this.#calm = undefined;
    else if (this.#calm?.last !== last.index)
      this.#calm = { last: last.index, round: nextRound, sinceMs: nowMs };
    const calm = this.#calm;
    if (calm === undefined || nowMs - calm.sinceMs < config.quiesceAfterMs) return false;
    // A heartbeat carries the commit index, so whoever has answered one sent since knows that all is committed.
    for (const progress of this.#progress.values()) if (progress.answered < calm.round) return false;
    return true;
  }

  #isLevel(last: LogIndex): boolean {
    const { log } = this.#core;
    if (log.commit < last || log.durable < last || isJoint(log.config) || log.config.promoting.length > 0)
      return false;
    for (const progress of this.#progress.values()) if (progress.match < last) return false;
    return true;
  }
}

/** Why an input, other than a message, ends the sleep of a replica; undefined when it does not. */
export function reasonToWake(input: Input, isLeader: boolean, leader: NodeId): string | undefined {
  switch (input.kind) {
    case 'propose':
    case 'read':
    case 'changeMembers':
    case 'transfer':
      return 'a client asks';
    case 'campaign':
      return 'told to stand for election';
    case 'snapshotArrived':
      return 'a snapshot arrives';
    case 'unreachable':
      return isLeader || input.peer === leader ? `the connection to n${input.peer} broke` : undefined;
    case 'tick':
    case 'message':
    case 'persisted':
    case 'persistFailed':
    case 'applied':
    case 'compact':
    case 'snapshotSent':
      return undefined;
    default:
      return unreachable(input);
  }
}
