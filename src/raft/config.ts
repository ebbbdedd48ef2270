/** What may be tuned in a replica, and the defaults. */

/** Tuning of a replica. All nodes of a cluster should agree on the times. */
export interface RaftConfig {
  /** Election timeouts are drawn from [electionMs, 2 × electionMs) (§5.2). */
  readonly electionMs: number;
  /** Must be well below `electionMs`. */
  readonly heartbeatMs: number;
  /** Largest append, in bytes of entries; a single larger entry still goes. */
  readonly appendBytesMax: number;
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** A leader refuses proposals while this much is uncommitted; one proposal always passes when nothing is. */
  readonly uncommittedBytesMax: number;
  /** Reads may rest on a lease (thesis §6.4.1). All nodes must agree on it, and their clocks must not drift apart further than `leaseDrift`. */
  readonly leaseReads: boolean;
  /** By what part of itself the fastest clock may run ahead of the slowest, 0 to below 1. */
  readonly leaseDrift: number;
  /**
   * A write that takes longer costs a leader its place. By default twice `electionMs`: by then every follower that hears
   * nothing has given its leader up, and where writes block the thread, a leader is silent for as long as its disk.
   */
  readonly storageStallMs: number;
  /** A leader with nothing to do for this long lets everybody sleep; 0 for never. Not with leases, which need heartbeats. */
  readonly quiesceAfterMs: number;
  /** 0 to {@link PRIORITY_MAX}: the lower, the longer a node waits before it stands for election. Nothing but the waiting depends on it. */
  readonly priority: number;
  /**
   * This node keeps the log without its commands, and never leads. The same in every life of its data directory, and what the
   * members say of it: with a node that is something else than they say, a leader gets nowhere.
   */
  readonly witness: boolean;
}

export const PRIORITY_MAX = 10;

/** Defaults for three to seven nodes on one machine or one local network. */
export const RAFT_CONFIG: RaftConfig = {
  electionMs: 250,
  heartbeatMs: 50,
  appendBytesMax: 1_048_576,
  inflightMessagesMax: 256,
  inflightBytesMax: 8_388_608,
  uncommittedBytesMax: 67_108_864,
  leaseReads: false,
  leaseDrift: 0.1,
  storageStallMs: 500,
  quiesceAfterMs: 0,
  priority: PRIORITY_MAX,
  witness: false,
};

/** The defaults with what is chosen otherwise; what depends on another choice follows it. */
export function raftConfigOf(chosen: Partial<RaftConfig>): RaftConfig {
  const electionMs = chosen.electionMs ?? RAFT_CONFIG.electionMs;
  return { ...RAFT_CONFIG, storageStallMs: 2 * electionMs, ...chosen };
}
