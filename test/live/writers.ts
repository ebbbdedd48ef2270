/** Writers that keep a store busy and a ledger of what they were told; and the reader that compares. */
import type { ClusterClient } from '../../src/cluster/api.ts';
import { textOf } from '../../src/lib/bytes.ts';
import { OxideError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { type Ledger, type Outcome, valueOf } from './ledger.ts';

const KEYS_PER_WRITER = 4;
/** Generations of keys that one scan reads, far below what a scan may answer. */
const GENERATIONS_PER_BLOCK = 100;
const ROWS_MAX = 10_000;
/** After a write that found no store at all. */
const PAUSE_MS = 20;

/** Before every name of a key that writers use. */
export const KEY_PREFIX = 'ledger/';

/** Several writers, each of them writing on keys of its own. */
export class Writers {
  readonly #ledger: Ledger;
  readonly #clients: readonly ClusterClient[];
  readonly #violations: string[] = [];
  readonly #acknowledged: () => void;
  readonly #running: Promise<unknown>;
  #listeners: (() => void)[] = [];
  #isStopping = false;

  /** Starts one writer for each client. The clients belong to the writers. */
  constructor(options: {
    readonly ledger: Ledger;
    readonly clients: readonly ClusterClient[];
    readonly seed: string;
    /** Writes that one writer has under way at once, each on a key of its own. Default 1. */
    readonly lanes?: number;
    /** Called after each acknowledged write. */
    readonly acknowledged?: () => void;
  }) {
    const { ledger, clients, seed, lanes = 1, acknowledged = () => undefined } = options;
    this.#acknowledged = acknowledged;
    this.#ledger = ledger;
    this.#clients = clients;
    this.#running = Promise.all(
      clients.flatMap((client, writer) =>
        Array.from({ length: lanes }, (_, lane) =>
          this.#write(client, `${KEY_PREFIX}${writer}/${lane}`, new Random(`${seed}/${writer}/${lane}`)),
        ),
      ),
    );
    // Whoever stops the writers hears of it.
    this.#running.catch(() => undefined);
  }

  /** What compare-and-set gave away: a write applied twice, or not at all. */
  get violations(): readonly string[] {
    return this.#violations;
  }

  /** Resolves with the next acknowledged write. */
  nextAcknowledgement(): Promise<void> {
    return new Promise((resolve) => this.#listeners.push(resolve));
  }

  /** Lets every write end and closes the clients. Rejects when a writer saw what no client may see. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #write(client: ClusterClient, lane: string, random: Random): Promise<void> {
    let generation = 0;
    while (!this.#isStopping) {
      const block = Math.floor(generation / GENERATIONS_PER_BLOCK);
      const key = `${lane}/${block}/${generation}/${random.int(1, KEYS_PER_WRITER)}`;
      // oxlint-disable-next-line no-await-in-loop -- a writer writes one after the other
      const outcome = await this.#writeOnce(client, key, random.chance(0.25));
      if (outcome === 'acknowledged') {
        const listeners = this.#listeners;
        this.#listeners = [];
        for (const listener of listeners) listener();
        this.#acknowledged();
      } else if (!this.#isStopping) {
        // A write of unknown fate may still come, after any other: its key is left as it is.
        if (outcome === 'unknown') generation += 1;
        // oxlint-disable-next-line no-await-in-loop
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  async #writeOnce(client: ClusterClient, key: string, asCas: boolean): Promise<Outcome> {
    const ledger = this.#ledger;
    const before = asCas ? ledger.certain(key) : undefined;
    const seq = ledger.begin(key);
    const value = valueOf(key, seq);
    try {
      if (before === undefined) await client.set(key, value);
      else if (!(await client.cas(key, valueOf(key, before), value))) {
        // Nobody else writes here: only our own write, applied twice or lost, can have changed what it compares with.
        this.#violations.push(`${key}: write ${seq} does not find write ${before}, which was acknowledged`);
        ledger.settle(key, seq, 'refused');
        return 'refused';
      }
      ledger.settle(key, seq, 'acknowledged');
      return 'acknowledged';
    } catch (error) {
      const outcome = outcomeOf(error);
      ledger.settle(key, seq, outcome);
      return outcome;
    }
  }
}

/** Every code but `unknown` says that there was no effect; a closed client says nothing. */
function outcomeOf(error: unknown): 'unknown' | 'refused' {
  if (!(error instanceof OxideError)) throw error;
  return error.code === 'unknown' || error.code === 'closed' ? 'unknown' : 'refused';
}

/** Reads everything through `client` while writers go on. @returns what is wrong, in words */
export async function audit(client: ClusterClient, ledger: Ledger): Promise<readonly string[]> {
  const floors = new Map(ledger.keys.map((key) => [key, ledger.floor(key)]));
  const found = new Map<string | undefined, string | undefined>();
  for (const block of new Set(ledger.keys.map(blockOf))) {
    // oxlint-disable-next-line no-await-in-loop -- a reader does one thing after the other
    const rows = await client.scan(block, { limit: ROWS_MAX });
    for (const row of rows) found.set(textOf(row.key), textOf(row.value));
  }
  const wrong = [...floors].map(([key, floor]) => ledger.judge(key, found.get(key), floor));
  return wrong.filter((text) => text !== undefined);
}

/** The prefix that a key shares with its block. */
function blockOf(key: string): string {
  return key.split('/').slice(0, 4).join('/') + '/';
}
