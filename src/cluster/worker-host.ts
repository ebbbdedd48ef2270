/**
 * The host whose nodes are real threads, in lock-step: the scheduler posts a call to one thread and stands still until the
 * answer is there. Virtual time goes on only between calls, so that a run is the same here as with all nodes on one thread.
 */
import { MessageChannel, type MessagePort, Worker, receiveMessageOnPort } from 'node:worker_threads';
import { defined } from '../lib/assert.ts';
import { OxideError } from '../lib/errors.ts';
import type { HostCall, HostResult, NodeHost } from '../sim/host.ts';
import type { SimThreadAnswer, SimThreadStart } from './sim-thread.ts';

/** A node that takes longer over one call hangs: a turn takes milliseconds, a thread's start less than a second. */
const CALL_TIMEOUT_MS = 30_000;

interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly flag: Int32Array;
  /** Why it is of no use any more: an answer that comes late would be taken for that to another call. */
  failure: string | undefined;
}

/** One thread for each node. */
export class WorkerHost implements NodeHost {
  readonly #threads: ReadonlyMap<number, Thread>;
  readonly #timeoutMs: number;
  #isClosed = false;

  /**
   * Starts the threads.
   *
   * @param options.seed of the run
   * @param options.entry the threads' program; another one in tests
   */
  constructor(options: {
    readonly nodes: readonly number[];
    readonly seed: string;
    readonly callTimeoutMs?: number;
    readonly entry?: URL;
  }) {
    const entry = options.entry ?? new URL(import.meta.resolve('#workers/sim-node'));
    this.#timeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    this.#threads = new Map(options.nodes.map((id) => [id, startThread(id, options.seed, entry)]));
  }

  /** @throws OxideError `unavailable` when the thread does not answer, because it hangs or has ended */
  call(node: number, call: HostCall): HostResult {
    if (this.#isClosed) throw new OxideError('closed', 'Cannot call a node: the host is closed');
    const thread = defined(this.#threads.get(node), `thread of node ${node}`);
    const { port, flag, failure } = thread;
    if (failure !== undefined) throw new OxideError('unavailable', failure);
    Atomics.store(flag, 0, 0);
    port.postMessage(call);
    if (!isAnswered(flag, this.#timeoutMs)) {
      const why = `its thread has not answered "${call.kind}" for ${this.#timeoutMs} ms; it hangs or has ended`;
      thread.failure = `Cannot run node ${node}: ${why}`;
      throw new OxideError('unavailable', thread.failure);
    }
    const received: { readonly message: SimThreadAnswer } | undefined = receiveMessageOnPort(port);
    const answer = defined(received, 'answer of a thread').message;
    if (answer.kind === 'failed')
      throw new OxideError('unavailable', `Cannot run node ${node}: ${answer.message}`);
    return answer.result;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { worker, port } of this.#threads.values()) {
      port.close();
      // Nothing waits for the end of a thread that holds nothing outside its memory.
      worker.terminate().catch(() => undefined);
    }
  }
}

function startThread(id: number, seed: string, entry: URL): Thread {
  const { port1, port2 } = new MessageChannel();
  const shared = new SharedArrayBuffer(4);
  const start: SimThreadStart = { id, seed, flag: shared, port: port2 };
  const worker = new Worker(entry, {
    workerData: start,
    transferList: [port2],
    name: `simulated node ${id}`,
    // A thread runs compiled code and needs no flag of the process; `--input-type`, for one, would stop it.
    execArgv: [],
    // A thread's output must never reach the screen by itself.
    stdout: true,
    stderr: true,
  });
  // Whoever calls the thread next is told; an unheard error would end the process.
  worker.on('error', () => undefined);
  worker.unref();
  port1.unref();
  return { worker, port: port1, flag: new Int32Array(shared), failure: undefined };
}

/**
 * Stands still until the flag says that the answer is there. The flag decides, not the wake-up: a thread sets it and then
 * wakes whoever waits, and the caller may have seen the flag, gone on, and be waiting for its next answer by then.
 */
export function isAnswered(flag: Int32Array, timeoutMs: number): boolean {
  const untilMs = performance.now() + timeoutMs;
  while (Atomics.load(flag, 0) === 0) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return false;
    Atomics.wait(flag, 0, 0, leftMs);
  }
  return true;
}
