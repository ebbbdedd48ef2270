/**
 * What a cluster owes its users in numbers: a minority's trouble does not stop the others (I28), and what is done costs a
 * bounded number of messages (I26). When either is due is for the recovery of a run to say (liveness.ts).
 */
import type { NodeId } from '../raft/entry.ts';
import { fail } from './violation.ts';

/** How many times what is needed may be sent. */
const TRAFFIC_FACTOR = 10;

/** What was counted while nothing but dead or distant nodes disturbed the cluster. */
export interface Traffic {
  /** Messages of the Raft core between nodes. */
  readonly messages: number;
  /** Entries that came to the logs of nodes, added up: a node that catches up needs them all. */
  readonly copies: number;
  /** Reads that were asked for. */
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
  const needed = 4 * traffic.copies + peers * (2 * traffic.reads + 2 * heartbeats);
  if (traffic.messages <= TRAFFIC_FACTOR * needed) return;
  fail(
    'I26 bounded traffic',
    `${traffic.messages} messages for ${traffic.copies} entries in logs, ${traffic.reads} reads and ` +
      `${Math.round(traffic.durationMs)} ms of ${traffic.members} members, where ${needed} are needed`,
  );
}

/** Counts the traffic of a run, all the time; what counts is what came since {@link TrafficMeter.begin}. */
export class TrafficMeter {
  readonly #members: number;
  readonly #heartbeatMs: number;
  #sinceMs = 0;
  #messages = 0;
  #copies = 0;
  #reads = 0;
  /** What these show next is all that their disks hold, and no news. */
  readonly #fresh: Set<NodeId> = new Set();

  constructor(options: { readonly members: number; readonly heartbeatMs: number }) {
    this.#members = options.members;
    this.#heartbeatMs = options.heartbeatMs;
  }

  /** A node starts. */
  started(node: NodeId): void {
    this.#fresh.add(node);
  }

  /** A node has sent so many messages, and so many entries came to its log. */
  worked(node: NodeId, messages: number, copies: number): void {
    this.#messages += messages;
    if (!this.#fresh.delete(node)) this.#copies += copies;
  }

  /** A node was asked for something that is not written. */
  asked(): void {
    this.#reads += 1;
  }

  /** From here on everything is counted. */
  begin(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#messages = 0;
    this.#copies = 0;
    this.#reads = 0;
  }

  /** Throws when more was sent than what was done can explain. */
  check(nowMs: number): void {
    checkTraffic({
      messages: this.#messages,
      copies: this.#copies,
      reads: this.#reads,
      members: this.#members,
      durationMs: nowMs - this.#sinceMs,
      heartbeatMs: this.#heartbeatMs,
    });
  }
}

/** I28: while only a minority has trouble, clients that keep writing keep being answered. */
export class Availability {
  readonly #gapMsMax: number;
  #lastMs: number;

  /**
   * From `nowMs` on a majority works undisturbed, and somebody writes.
   *
   * @param gapMsMax longest time without an acknowledged write
   */
  constructor(gapMsMax: number, nowMs: number) {
    this.#gapMsMax = gapMsMax;
    this.#lastMs = nowMs;
  }

  /** A write was acknowledged. Throws when it is too late. */
  acknowledged(nowMs: number): void {
    this.check(nowMs);
    this.#lastMs = nowMs;
  }

  /** Throws when the last acknowledged write is too long ago. */
  check(nowMs: number): void {
    if (nowMs - this.#lastMs <= this.#gapMsMax) return;
    fail(
      'I28 availability',
      `no write was acknowledged for ${Math.round(nowMs - this.#lastMs)} ms with a majority at work`,
    );
  }
}
