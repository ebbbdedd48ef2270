/** Finds ports for the doors of a cluster: a block of consecutive ones, or whatever is free. */
import { createServer } from 'node:net';
import { OxideError } from '../lib/errors.ts';
import type { DoorOptions } from './api.ts';

const HOST = '127.0.0.1';
const PORT_MAX = 65_535;
const BLOCKS_TRIED_MAX = 100;

/** Where a door goes. Port 0: any that is free. */
export interface DoorPlace {
  readonly host: string;
  readonly port: number;
  readonly forward: boolean;
}

/** Where each node's door goes. */
export interface ReservedPorts {
  /** Why it is not the block that was asked for; empty when it is. */
  readonly note: string;
  of(id: number): DoorPlace | undefined;
  /** For a node that is added later: the port that its id has in the block, or any, with the reason why. */
  another(id: number): Promise<{ readonly place: DoorPlace | undefined; readonly note: string | undefined }>;
}

/**
 * Chooses ports. They are free when this returns, though not held: a race with another process shows when the door opens.
 *
 * @throws OxideError `unavailable` when the block is taken and `strict`, or when no block is free
 */
export async function reservePorts(doors: boolean | DoorOptions, nodeCount: number): Promise<ReservedPorts> {
  if (doors === false) {
    const none = { place: undefined, note: undefined };
    return { note: '', of: () => undefined, another: () => Promise.resolve(none) };
  }
  if (doors === true) {
    const free = await freePorts(nodeCount);
    const of = (id: number): DoorPlace => ({ host: HOST, port: free[id - 1] ?? 0, forward: true });
    return { note: '', of, another: async () => ({ place: await anywhere(of(0)), note: undefined }) };
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
      const of = (id: number): DoorPlace => ({ host, port: first + id - 1, forward });
      return { note, of, another: (id) => another(of(id), strict) };
    }
    if (strict) throw new OxideError('unavailable', `Cannot listen on ${host}:${taken.port}: ${taken.why}`);
    if (taken.code !== 'EADDRINUSE')
      throw new OxideError('unavailable', `Cannot listen on ${host}:${taken.port}: ${taken.why}`);
  }
  throw new OxideError('unavailable', `Cannot find ${nodeCount} free ports from ${basePort} on`);
}

/** The same place with a port that is free now. */
async function anywhere(place: DoorPlace): Promise<DoorPlace> {
  const port = await probe(place.host, 0);
  return { ...place, port: typeof port === 'number' ? port : 0 };
}

async function another(
  place: DoorPlace,
  strict: boolean,
): Promise<{ readonly place: DoorPlace; readonly note: string | undefined }> {
  const taken =
    place.port > PORT_MAX ? { why: 'ports end there' } : await firstTaken(place.host, place.port, 1);
  if (taken === undefined) return { place, note: undefined };
  const why = `${place.host}:${place.port}: ${taken.why}`;
  if (strict) throw new OxideError('unavailable', `Cannot listen on ${why}`);
  return {
    place: { ...place, port: 0 },
    note: `cannot listen on ${why}, so its door is where a port is free`,
  };
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
