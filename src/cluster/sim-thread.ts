/**
 * Inside the thread of one simulated node: answers calls, one after the other, and lets whoever called know by a flag in
 * shared memory, because the caller stands still meanwhile and hears no event.
 */
import type { MessagePort } from 'node:worker_threads';
import { messageOf } from '../lib/errors.ts';
import type { Breaker, HostCall, HostResult } from '../sim/host.ts';
import { SimNode } from '../sim/sim-node.ts';

/** What a thread is given when it starts. */
export interface SimThreadStart {
  readonly id: number;
  /** Of the run. */
  readonly seed: string;
  /** Set to {@link ANSWERED} when an answer lies in the port. */
  readonly flag: SharedArrayBuffer;
  readonly port: MessagePort;
}

/** What comes back for a call: its result, or why the thread could not carry it out. */
export type SimThreadAnswer =
  | { readonly kind: 'result'; readonly result: HostResult }
  | { readonly kind: 'failed'; readonly message: string };

/** Serves one node until the port is closed. */
export function runSimThread(start: SimThreadStart, breaker: Breaker): void {
  const node = new SimNode(start.id, start.seed, breaker);
  const flag = new Int32Array(start.flag);
  start.port.on('message', (call: HostCall) => {
    start.port.postMessage(answerTo(node, call));
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  });
}

function answerTo(node: SimNode, call: HostCall): SimThreadAnswer {
  try {
    return { kind: 'result', result: node.call(call) };
  } catch (error) {
    return { kind: 'failed', message: messageOf(error) };
  }
}
