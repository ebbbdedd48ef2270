/** Entry of the thread of a simulated node. All logic is in src/cluster/sim-thread.ts. */
import { workerData } from 'node:worker_threads';
import { type SimThreadStart, runSimThread } from '../src/cluster/sim-thread.ts';
import { breaker } from '../src/lessons/breaker.ts';

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by WorkerHost of the same build
runSimThread(workerData as SimThreadStart, breaker);
