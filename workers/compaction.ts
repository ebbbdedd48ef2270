/** Entry of a thread that merges tables. All logic is in src/cluster/compaction-task.ts. */
import type { CompactionTask } from '../src/cluster/compaction-state.ts';
import { runCompactionTask } from '../src/cluster/compaction-task.ts';
import type { CompactionResult } from '../src/storage/lsm/table-format.ts';

/** Merges tables into a lower level. */
export default (task: CompactionTask): CompactionResult => runCompactionTask(task);
