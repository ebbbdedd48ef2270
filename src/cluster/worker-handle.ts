/**
 * One life of a node's thread, from start to exit. Wraps comlink: a call to a thread that dies is rejected here,
 * because comlink itself would leave it pending for ever.
 */
import * as comlink from 'comlink';
import { MessageChannel, type MessagePort, Worker, receiveMessageOnPort } from 'node:worker_threads';
import { OxideError, messageOf } from '../lib/errors.ts';
import type { CompactionPool } from './compaction-pool.ts';
import type { Control, Started, WorkerStart } from './control.ts';
import type { Report } from './driver.ts';
import { endpointOf } from './endpoint.ts';

/** A control call that takes longer has a thread behind it that is stuck. */
const CALL_TIMEOUT_MS = 10_000;
/** How much of a thread's standard error is kept to explain its death. */
const STDERR_CHARACTERS_MAX = 4000;

/** Everything a thread is told but what the handle adds itself. */
export type WorkerPlan = Omit<WorkerStart, 'freeze' | 'control' | 'reports' | 'compactions'>;

/** The node could not be started: its directory is in use, its port is taken, its data are damaged… */
export class StartError extends Error {
  override readonly name = 'StartError';
  /** The system's code (`EADDRINUSE`) or the name of the error's class (`CorruptionError`). */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A thread from start to exit. Every call to it settles, also when it dies; it is never started twice. */
export class WorkerHandle {
  readonly #worker: Worker;
  readonly #freeze: Int32Array<SharedArrayBuffer> = new Int32Array(new SharedArrayBuffer(4));
  readonly #control: comlink.Remote<Control>;
  readonly #controlPort: MessagePort;
  readonly #exited: Promise<string>;
  #reason = '';
  #stderr = '';
  #hasExited = false;
  /** Takes what comes on the reports port. */
  #hear: (message: Started | Report) => void = () => undefined;
  /** Resolves with the address of the node's door, or rejects with a {@link StartError}. */
  readonly started: Promise<string>;

  /**
   * Starts a thread.
   *
   * @param pool merges tables for it
   * @param onReport gets what the node tells about itself
   */
  constructor(plan: WorkerPlan, pool: CompactionPool, onReport: (report: Report) => void) {
    const control = new MessageChannel();
    const reports = new MessageChannel();
    const compactions = new MessageChannel();
    const service = pool.serve(compactions.port1);
    const freeze = this.#freeze.buffer;
    const ports = { control: control.port2, reports: reports.port2, compactions: compactions.port2 };
    const start: WorkerStart = { ...plan, ...ports, freeze };
    this.#worker = new Worker(new URL(import.meta.resolve('#workers/node')), {
      workerData: start,
      transferList: [control.port2, reports.port2, compactions.port2],
      name: `node ${plan.id}`,
      // A thread runs compiled code and needs no flag of the process; `--input-type`, for one, would stop it.
      execArgv: [],
      // A thread's output must never reach the screen by itself.
      stdout: true,
      stderr: true,
    });
    this.#worker.stdout.resume();
    this.#worker.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS_MAX);
    });
    this.#worker.on('error', (error) => {
      this.#reason = messageOf(error);
    });
    const ended = new Promise<string>((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#hasExited = true;
        // Why it ended may be the last thing it said, and that may still lie in the port.
        for (let last = takeFrom(reports.port1); last !== undefined; last = takeFrom(reports.port1))
          this.#hear(last);
        this.#controlPort.close();
        reports.port1.close();
        compactions.port1.close();
        resolve(this.#reason !== '' ? this.#reason : `thread ended with code ${code} ${this.#stderr}`.trim());
      });
    });
    this.#exited = ended.then(async (reason) => {
      await service.end();
      return reason;
    });
    this.#controlPort = control.port1;
    this.#control = comlink.wrap<Control>(endpointOf(control.port1));
    this.started = this.#listen(reports.port1, onReport);
    // Whoever started the thread may only look at `started` later.
    this.started.catch(() => undefined);
  }

  /** Resolves with the reason, in words, once the thread is gone and nobody else works in its directory. */
  get exited(): Promise<string> {
    return this.#exited;
  }

  /** Stops the thread where it stands until it is thawed or terminated. */
  freeze(): void {
    Atomics.store(this.#freeze, 0, 1);
    this.call((control) => control.poke()).catch(() => undefined);
  }

  thaw(): void {
    Atomics.store(this.#freeze, 0, 0);
    Atomics.notify(this.#freeze, 0);
  }

  /**
   * Calls the thread.
   *
   * @throws OxideError `closed` when it exits first, `unavailable` when it does not answer
   */
  async call<T>(
    run: (control: comlink.Remote<Control>) => Promise<T>,
    timeoutMs: number = CALL_TIMEOUT_MS,
  ): Promise<T> {
    if (this.#hasExited) throw new OxideError('closed', 'Node has stopped');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new OxideError('unavailable', `Node did not answer for ${timeoutMs} ms`)),
        timeoutMs,
      );
      timer.unref();
    });
    const died = this.#exited.then((reason) => {
      throw new OxideError('closed', `Node has stopped: ${reason}`);
    });
    died.catch(() => undefined);
    try {
      return await Promise.race([run(this.#control), died, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Hands a port to the thread. */
  async transfer(
    port: MessagePort,
    run: (control: comlink.Remote<Control>, port: MessagePort) => Promise<void>,
  ): Promise<void> {
    await this.call((control) => run(control, comlink.transfer(port, [port])));
  }

  /** Ends the thread at once. Its memory is gone and its sockets close; what it wrote stays. */
  async terminate(reason: string): Promise<void> {
    if (this.#hasExited) return void (await this.#exited);
    this.#reason = reason;
    await this.#worker.terminate();
    await this.#exited;
  }

  /** Asks the thread to stop cleanly, and ends it if it does not within `timeoutMs`. */
  async stop(timeoutMs: number): Promise<void> {
    this.thaw();
    try {
      await this.call((control) => control.stop(), timeoutMs);
    } catch {
      // Frozen in the kernel, or already gone: ending the thread is all that is left, and its log can take it.
    }
    await this.terminate('stopped');
  }

  async #listen(port: MessagePort, onReport: (report: Report) => void): Promise<string> {
    const first = new Promise<string>((resolve, reject) => {
      this.#hear = (message) => {
        if (message.kind === 'report') return onReport(message);
        if (message.kind === 'started') return resolve(message.client);
        this.#reason = message.message;
        reject(new StartError(message.code, message.message));
      };
      port.on('message', this.#hear);
    });
    const died = this.#exited.then((reason) => {
      throw new StartError('exit', reason);
    });
    died.catch(() => undefined);
    return Promise.race([first, died]);
  }
}

function takeFrom(port: MessagePort): Started | Report | undefined {
  const taken: { readonly message: Started | Report } | undefined = receiveMessageOnPort(port);
  return taken?.message;
}
