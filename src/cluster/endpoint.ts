/** Node.js's MessagePort as comlink wants it. */
import type { Endpoint } from 'comlink';
import type { MessagePort } from 'node:worker_threads';

/** A MessagePort of Node.js is an EventTarget, which is all that comlink asks for. */
export function endpointOf(port: MessagePort): Endpoint {
  return port;
}
