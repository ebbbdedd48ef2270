/** Clients that do everything a client can do, on keys that all of them share, and have it recorded. */
import type { ClusterClient } from '../../src/cluster/api.ts';
import { at, unreachable } from '../../src/lib/assert.ts';
import { textOf } from '../../src/lib/bytes.ts';
import { OxideError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { Action, Step } from '../../src/sim/history.ts';
import type { Group, Recorder } from './recorder.ts';

/** Between two operations of one client, at most: otherwise clients leave the nodes no processor. */
const THINK_MS_MAX = 8;
/** After an operation that found no store. */
const PAUSE_MS = 20;
/** Compare-and-set that expects an absent key. */
const CAS_ABSENT = 0.2;

/** Out of 100: gets, sets, compare-and-sets, deletes; the rest are scans. */
const MIX: readonly (readonly ['get' | 'set' | 'cas' | 'delete', number])[] = [
  ['get', 35],
  ['set', 25],
  ['cas', 20],
  ['delete', 10],
];

/** One loop for each client, one operation at a time. */
export class HistoryClients {
  readonly #recorder: Recorder;
  readonly #clients: readonly ClusterClient[];
  readonly #acknowledged: () => void;
  readonly #running: Promise<unknown>;
  #processCount = 0;
  #isStopping = false;

  /**
   * Starts at once. The clients belong to it.
   *
   * @param acknowledged called after each write that succeeded
   */
  constructor(options: {
    readonly recorder: Recorder;
    readonly clients: readonly ClusterClient[];
    readonly seed: string;
    readonly acknowledged: () => void;
  }) {
    this.#recorder = options.recorder;
    this.#clients = options.clients;
    this.#acknowledged = options.acknowledged;
    this.#running = Promise.all(
      options.clients.map((client, i) => this.#work(client, new Random(`${options.seed}/client ${i}`))),
    );
    // Whoever stops the clients hears of it.
    this.#running.catch(() => undefined);
  }

  /** Lets every operation end and closes the clients. Rejects when a client saw what no client may see. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #work(client: ClusterClient, random: Random): Promise<void> {
    let process = this.#newProcess();
    let writeCount = 0;
    /* oxlint-disable no-await-in-loop -- a client does one thing after the other */
    while (!this.#isStopping) {
      const group = this.#recorder.choose(random);
      writeCount += 1;
      const asked = draw(group, random, `${process}.${writeCount}`);
      const run = (): Promise<Action> => perform(client, group, asked);
      const outcome = await this.#recorder.record(group, { process, asked, run, outcomeOf });
      if (outcome === 'ok' && isWrite(asked)) this.#acknowledged();
      // A process waits for its answer before it goes on: this one never got it, so somebody else goes on.
      if (outcome === 'unknown') process = this.#newProcess();
      await sleep(outcome === 'ok' ? random.int(0, THINK_MS_MAX) : PAUSE_MS);
    }
    /* oxlint-enable no-await-in-loop */
  }

  #newProcess(): number {
    this.#processCount += 1;
    return this.#processCount;
  }
}

/** Reads all keys of a group at once, as an operation of the history. */
export async function readGroup(
  recorder: Recorder,
  group: Group,
  client: ClusterClient,
  process: number,
): Promise<void> {
  const asked = scanOf(group);
  const run = (): Promise<Action> => perform(client, group, asked);
  await recorder.record(group, { process, asked, run, outcomeOf });
}

/** The next operation of a client. @param value a value that nobody ever writes again */
function draw(group: Group, random: Random, value: string): Action {
  const key = at(group.keys, random.int(0, group.keys.length - 1));
  let number = random.int(0, 99);
  for (const [kind, share] of MIX) {
    number -= share;
    if (number >= 0) continue;
    switch (kind) {
      case 'get':
        return { kind, key, value: undefined };
      case 'set':
        return { kind, key, value };
      case 'delete':
        return { kind, key, existed: undefined };
      case 'cas': {
        const expected = random.chance(CAS_ABSENT) ? undefined : group.seen.get(key);
        return { kind, key, expected, value, swapped: undefined };
      }
      default:
        return unreachable(kind);
    }
  }
  return scanOf(group);
}

function scanOf(group: Group): Action {
  return { kind: 'txn', steps: group.keys.map((key) => ({ kind: 'get', key, value: undefined })) };
}

/** Does what is asked. @returns it with its answers */
async function perform(client: ClusterClient, group: Group, asked: Action): Promise<Action> {
  const done = await answered(client, group, asked);
  const steps = done.kind === 'txn' ? done.steps : [done];
  for (const step of steps) {
    if (step.kind === 'delete') group.seen.set(step.key, undefined);
    else if (step.kind !== 'cas' || step.swapped === true) group.seen.set(step.key, step.value);
  }
  return done;
}

async function answered(client: ClusterClient, group: Group, asked: Action): Promise<Action> {
  switch (asked.kind) {
    case 'get': {
      const bytes = await client.get(asked.key);
      return { ...asked, value: bytes === undefined ? undefined : read(bytes) };
    }
    case 'set':
      await client.set(asked.key, asked.value);
      return asked;
    case 'delete':
      return { ...asked, existed: await client.delete(asked.key) };
    case 'cas':
      return { ...asked, swapped: await client.cas(asked.key, asked.expected, asked.value) };
    case 'txn': {
      const rows = await client.scan(group.prefix);
      const found = new Map(rows.map((row) => [read(row.key), read(row.value)]));
      // A key that is no key of the group goes to the judge as well.
      const keys = new Set([...group.keys, ...found.keys()]);
      return {
        kind: 'txn',
        steps: [...keys].map((key): Step => ({ kind: 'get', key, value: found.get(key) })),
      };
    }
    default:
      return unreachable(asked);
  }
}

function isWrite(action: Action): boolean {
  return action.kind !== 'get' && action.kind !== 'txn';
}

/** What is not text was written by nobody; the judge will say so. */
function read(bytes: Uint8Array): string {
  return textOf(bytes) ?? `bytes ${Buffer.from(bytes).toString('hex')}`;
}

/** Every code but `unknown` says that there was no effect; a closed client says nothing. */
function outcomeOf(error: unknown): 'unknown' | 'fail' {
  if (!(error instanceof OxideError)) throw error;
  return error.code === 'unknown' || error.code === 'closed' ? 'unknown' : 'fail';
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
