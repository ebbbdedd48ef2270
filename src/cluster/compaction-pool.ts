/**
 * Merges of tables on threads of their own, so that no node stands still for one: a pool for all nodes of this process,
 * started with the first merge that is asked for.
 */
import type { MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { messageOf } from '../lib/errors.ts';
import type { CompactionResult } from '../storage/lsm/table-format.ts';
import { type CompactionTask, GIVEN_UP, RUNNING } from './compaction-state.ts';
import type { CompactionAnswer, CompactionOrder } from './control.ts';

/** Merges at once, for all nodes together: the disk is shared, and the nodes' own threads have work to do. */
const THREADS_MAX = 2;
/** A thread with nothing to do ends after this long. */
const IDLE_MS = 30_000;

/** What serves one life of a node. */
export interface CompactionService {
  /**
   * Gives up what this node has asked for. Resolves when nothing of it runs any more: only then may another life of the
   * node open the directory, which would be surprised by files that an old merge makes.
   */
  end(): Promise<void>;
}

/** The pool of a process. */
export class CompactionPool {
  #pool: Piscina<CompactionTask, CompactionResult> | undefined;
  #isClosed = false;

  /** Carries out what is ordered on `port`, which belongs to whoever made it. */
  serve(port: MessagePort): CompactionService {
    const runs = new Map<Int32Array, Promise<void>>();
    let isEnded = false;
    port.on('message', ({ id, job }: CompactionOrder) => {
      if (isEnded) return;
      const state = new Int32Array(new SharedArrayBuffer(4));
      const run = async (): Promise<void> => {
        const answer: CompactionAnswer = { id, result: await this.#run({ job, state }) };
        runs.delete(state);
        // Nobody hears it if the node is gone: a port that is closed takes everything.
        port.postMessage(answer);
      };
      runs.set(state, run());
    });
    return {
      end: async () => {
        isEnded = true;
        // One that still waits for a thread sees the flag before it does anything.
        const begun = [...runs].filter(([state]) => Atomics.exchange(state, 0, GIVEN_UP) === RUNNING);
        await Promise.all(begun.map(([, run]) => run));
      },
    };
  }

  /** Ends the threads. Every service must have ended. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#pool?.destroy();
    this.#pool = undefined;
  }

  /** Never rejects. */
  async #run(task: CompactionTask): Promise<CompactionResult> {
    try {
      if (this.#isClosed) throw new Error('the cluster has stopped');
      this.#pool ??= new Piscina<CompactionTask, CompactionResult>({
        filename: import.meta.resolve('#workers/compaction'),
        minThreads: 0,
        maxThreads: THREADS_MAX,
        idleTimeout: IDLE_MS,
      });
      return await this.#pool.run(task);
    } catch (error) {
      return { kind: 'failed', isFull: false, message: `Cannot merge tables: ${messageOf(error)}` };
    }
  }
}
