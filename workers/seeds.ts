/** Entry of a thread that runs simulated seeds. All logic is in src/lessons/simulate.ts. */
import { type Batch, runBatch } from '../src/lessons/simulate.ts';
import type { Totals } from '../src/sim/tally.ts';

/** Runs a batch of seeds and adds them up. */
export default (batch: Batch): Totals => runBatch(batch);
