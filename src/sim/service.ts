/**
 * What a cluster owes its users in numbers: a minority's trouble does not stop the others (I28), and what is done costs a
 * bounded number of messages (I26). When either is due is for the scheduler to say.
 */
import { fail } from './violation.ts';

/** How many times what is needed may be sent. */
const TRAFFIC_FACTOR = 10;

/** What was counted while nothing disturbed the cluster. */
export interface Traffic {
  /** Messages of the Raft core between nodes. */
  readonly messages: number;
  /** Entries committed. */
  readonly entries: number;
  /** Reads answered. */
  readonly reads: number;
  /** Size of the cluster. */
  readonly members: number;
  readonly durationMs: number;
  readonly heartbeatMs: number;
}

/** I26: an entry costs each peer an append, its acknowledgement and the news of the commit; a read costs a round. */
export function checkTraffic(traffic: Traffic): void {
  const peers = traffic.members - 1;
  const heartbeats = Math.ceil(traffic.durationMs / traffic.heartbeatMs) + 1;
  const needed = peers * (4 * traffic.entries + 2 * traffic.reads + 2 * heartbeats);
  if (traffic.messages <= TRAFFIC_FACTOR * needed) return;
  fail(
    'I26 bounded traffic',
    `${traffic.messages} messages for ${traffic.entries} entries, ${traffic.reads} reads and ` +
      `${Math.round(traffic.durationMs)} ms of ${traffic.members} members, where ${needed} are needed`,
  );
}

/** I28: while only a minority has trouble, clients that keep writing keep being answered. */
export class Availability {
  readonly #gapMsMax: number;
  #lastMs: number | undefined;

  /** @param gapMsMax longest time without an acknowledged write, once a leader had time to be found */
  constructor(gapMsMax: number) {
    this.#gapMsMax = gapMsMax;
  }

  /** From here on a majority works undisturbed, and somebody writes. */
  begin(nowMs: number): void {
    this.#lastMs = nowMs;
  }

  /** A write was acknowledged. Throws when it is too late. */
  acknowledged(nowMs: number): void {
    if (this.#lastMs === undefined) return;
    this.check(nowMs);
    this.#lastMs = nowMs;
  }

  /** Throws when the last acknowledged write is too long ago. */
  check(nowMs: number): void {
    if (this.#lastMs === undefined || nowMs - this.#lastMs <= this.#gapMsMax) return;
    fail(
      'I28 availability',
      `no write was acknowledged for ${Math.round(nowMs - this.#lastMs)} ms with a majority at work`,
    );
  }

  /** More than a minority has trouble again, or nobody writes any more. Throws when the last write is too long ago. */
  end(nowMs: number): void {
    this.check(nowMs);
    this.#lastMs = undefined;
  }
}
