/** Entry of a node's worker thread. All logic is in src/cluster/node-thread.ts. */
import { workerData } from 'node:worker_threads';
import type { WorkerStart } from '../src/cluster/control.ts';
import { runNodeThread } from '../src/cluster/node-thread.ts';

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by WorkerHandle of the same build
await runNodeThread(workerData as WorkerStart);
