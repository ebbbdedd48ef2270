/** A node's place in a run: its clock, what waits for its next turn, and when that may be. */
import type { Random } from '../lib/random.ts';
import type { Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Config } from '../raft/membership.ts';
import { NodeClock } from './clock.ts';
import type { Sight } from './host.ts';

/** A request that is handed to a node. */
export interface Waiting {
  readonly id: number;
  readonly request: Request;
  readonly forward: boolean;
}

/** The scheduler's view of one node. */
export class Seat {
  readonly id: NodeId;
  readonly random: Random;
  /** Among candidates; see `RaftConfig.priority`. */
  readonly priority: number;
  /** It is on a directory that came later than the cluster: it is no founder, whatever its number. */
  isNewcomer = false;
  readonly clock: NodeClock = new NodeClock();
  /** How often it was started. */
  life = 0;
  isUp = false;
  /** It takes no turn before this; true time, as all times here. */
  busyUntilMs = 0;
  /** It stands still until this, and does not know. */
  pausedUntilMs = 0;
  /** It has stood still and has had no turn since. */
  isStiff = false;
  /** When it wants a turn without input. */
  wishMs: number = Infinity;
  /** When its next turn is in the queue, and which entry there is the valid one. */
  turnMs: number = Infinity;
  stamp = 0;
  frames: { readonly from: NodeId; readonly bytes: Uint8Array }[] = [];
  requests: Waiting[] = [];
  readonly connected: Set<NodeId> = new Set();
  /** Requests in the node's hands. */
  readonly open: Set<number> = new Set();
  /** How long each of its syncs takes beyond the usual. */
  syncMs = 0;
  /** What it showed last; undefined while it is down. */
  sight: Sight | undefined;
  /** Who belonged to the cluster, as it last knew. */
  config: Config | undefined;

  constructor(id: NodeId, random: Random, priority: number) {
    this.id = id;
    this.random = random;
    this.priority = priority;
  }

  get hasInput(): boolean {
    return this.frames.length > 0 || this.requests.length > 0 || this.connected.size > 0;
  }

  /** When it should take its next turn, seen from `nowMs`. */
  nextTurnMs(nowMs: number): number {
    if (!this.isUp) return Infinity;
    const wish = this.hasInput ? nowMs : this.wishMs;
    return Math.max(nowMs, wish, this.busyUntilMs, this.pausedUntilMs);
  }

  /** Its process is gone, and all that waited for it. */
  clear(): void {
    this.isUp = false;
    this.isStiff = false;
    this.pausedUntilMs = 0;
    this.wishMs = Infinity;
    this.turnMs = Infinity;
    this.stamp += 1;
    this.frames = [];
    this.requests = [];
    this.connected.clear();
    this.open.clear();
    this.sight = undefined;
  }
}
