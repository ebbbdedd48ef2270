/** Finds ports for the doors of a cluster: a block of consecutive ones, or whatever is free. */
import { createServer } from 'node:net';
import { OxideError } from '../lib/errors.ts';
import type { DoorOptions } from './api.ts';

const HOST = '127.0.0.1';
const PORT_MAX = 65_535;
const BLOCKS_TRIED_MAX = 100;

/** Where each node's door goes. */
export interface ReservedPorts {
  /** Why it is not the block that was asked for; empty when it is. */
  readonly note: string;
  of(id: number): { readonly host: string; readonly port: number; readonly forward: boolean } | undefined;
}

/**
 * Chooses ports. They are free when this returns, though not held: a race with another process shows when the door opens.
 *
 * @throws OxideError `unavailable` when the block is taken and `strict`, or when no block is free
 */
export async function reservePorts(doors: boolean | DoorOptions, nodeCount: number): Promise<ReservedPorts> {
  if (doors === false) return { note: '', of: () => undefined };
  if (doors === true) {
    const free = await freePorts(nodeCount);
    return { note: '', of: (id) => ({ host: HOST, port: free[id - 1] ?? 0, forward: true }) };
  }
  const { basePort, host = HOST, strict = false, forward = true } = doors;
  if (!Number.isInteger(basePort) || basePort < 1 || basePort + nodeCount - 1 > PORT_MAX) {
    throw new OxideError(
      'bad_request',
      `Cannot use ports from ${basePort}: there are ${nodeCount} nodes and ports end at ${PORT_MAX}`,
    );
  }
  for (let block = 0; block < BLOCKS_TRIED_MAX; block++) {
    const first = basePort + block * nodeCount;
    if (first + nodeCount - 1 > PORT_MAX) break;
    // oxlint-disable-next-line no-await-in-loop -- the next block is tried only if this one is taken
    const taken = await firstTaken(host, first, nodeCount);
    if (taken === undefined) {
      const note =
        block === 0
          ? ''
          : `port ${basePort} or one behind it is taken: using ${first}–${first + nodeCount - 1}`;
      return { note, of: (id) => ({ host, port: first + id - 1, forward }) };
    }
    if (strict) throw new OxideError('unavailable', `Cannot listen on ${host}:${taken.port}: ${taken.why}`);
    if (taken.code !== 'EADDRINUSE')
      throw new OxideError('unavailable', `Cannot listen on ${host}:${taken.port}: ${taken.why}`);
  }
  throw new OxideError('unavailable', `Cannot find ${nodeCount} free ports from ${basePort} on`);
}

async function firstTaken(
  host: string,
  first: number,
  count: number,
): Promise<{ readonly port: number; readonly code: string; readonly why: string } | undefined> {
  for (let port = first; port < first + count; port++) {
    // oxlint-disable-next-line no-await-in-loop -- few, and the first failure ends it
    const result = await probe(host, port);
    if (typeof result !== 'number') return { port, ...result };
  }
  return undefined;
}

async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; ports.size < count && attempt < count * 10; attempt++) {
    // oxlint-disable-next-line no-await-in-loop -- few
    const result = await probe(HOST, 0);
    if (typeof result === 'number') ports.add(result);
  }
  return [...ports];
}

/** @returns the port that could be opened, or why it could not */
function probe(
  host: string,
  port: number,
): Promise<number | { readonly code: string; readonly why: string }> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const isTaken = error.code === 'EADDRINUSE';
      resolve({ code: error.code ?? '', why: isTaken ? 'the port is taken' : error.message });
    });
    server.listen(port, host, () => {
      const address = server.address();
      const found = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(found));
    });
  });
}
