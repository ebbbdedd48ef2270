/** Node.js's MessagePort as comlink wants it. */
import type { Endpoint } from 'comlink';
import type { MessagePort } from 'node:worker_threads';

/** A MessagePort of Node.js is an EventTarget, which is all that comlink asks for. */
export function endpointOf(port: MessagePort): Endpoint {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- comlink names DOM classes that Node.js has under other names
  return port as unknown as Endpoint;
}
