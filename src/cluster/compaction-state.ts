/** What the two ends of the compaction pool agree about. */
import type { CompactionJob } from '../storage/lsm/table-format.ts';

/** States of a merge: it waits for a thread, one carries it out, or the node that asked is gone. */
export const WAITING = 0;
export const RUNNING = 1;
export const GIVEN_UP = 2;

/** A merge of tables for the pool. Plain data, but for the shared state. */
export interface CompactionTask {
  readonly job: CompactionJob;
  /** One of the states above. */
  readonly state: Int32Array;
}
