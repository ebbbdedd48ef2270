/** The way of a node's thread to the pool that merges tables, which lives with its supervisor. */
import type { MessagePort } from 'node:worker_threads';
import type { CompactionJob, CompactionResult, Compactor } from '../storage/lsm/table-format.ts';
import type { CompactionAnswer, CompactionOrder } from './control.ts';

export class PortCompactor implements Compactor {
  readonly #port: MessagePort;
  readonly #waiting: Map<number, (result: CompactionResult) => void> = new Map();
  #nextId = 1;

  /**
   * @param port to the supervisor; it belongs to this object from now on
   * @param answered called behind each answer: the node has something to do
   */
  constructor(port: MessagePort, answered: () => void) {
    this.#port = port;
    port.on('message', ({ id, result }: CompactionAnswer) => {
      const done = this.#waiting.get(id);
      this.#waiting.delete(id);
      done?.(result);
      answered();
    });
    // A merge that is under way keeps no thread alive.
    port.unref();
  }

  run(job: CompactionJob, done: (result: CompactionResult) => void): void {
    const id = this.#nextId++;
    this.#waiting.set(id, done);
    const order: CompactionOrder = { id, job };
    this.#port.postMessage(order);
  }

  /** Hears nothing more. */
  close(): void {
    this.#waiting.clear();
    this.#port.close();
  }
}
