/**
 * Hurts a store again and again while clients use it, until the time is over. Two judges watch: a ledger of counting
 * writers, read through every node after every disturbance, and the history of clients that share keys.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClusterClient } from '../../src/cluster/api.ts';
import { at } from '../../src/lib/assert.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { HistoryClients, readGroup } from './clients.ts';
import { HistoryJudge } from './history-judge.ts';
import { Ledger } from './ledger.ts';
import { type OutageReport, Outages } from './outages.ts';
import { type OperationCounts, Recorder } from './recorder.ts';
import { type Summary, summarize } from './report.ts';
import type { Damage, TortureTarget } from './target.ts';
import { type Mode, makeTarget } from './targets.ts';
import { Writers, audit } from './writers.ts';

export interface TortureOptions {
  readonly mode: Mode;
  readonly nodes: number;
  readonly seconds: number;
  /** Stops earlier, after this many disturbances; 0: no limit. */
  readonly cycles: number;
  /** Clients whose operations are recorded and judged. */
  readonly clients: number;
  readonly seed: number;
  readonly snapshotEntries: number;
  /** Where to make the data directory; empty: a temporary one, removed in the end unless something was wrong. */
  readonly dataDir: string;
  /** File for the history; empty: in the data directory. */
  readonly history: string;
}

/** What a campaign saw. */
export interface TortureResult {
  readonly seconds: number;
  readonly cycles: number;
  readonly damage: Damage;
  /** What the clients did whose history is judged. */
  readonly operations: OperationCounts;
  /** Of these, judged as parts of a complete history. */
  readonly checked: number;
  /** Keys on which the judge gave up. Should be 0. */
  readonly undecided: number;
  /** Acknowledged writes in the ledger, all of which were looked for at the end and after each disturbance. */
  readonly ledgerWrites: number;
  /** What was lost, stale, invented or applied twice, or died, in words. Must be empty. */
  readonly violations: readonly string[];
  /** From when everything runs again to the acknowledged write of a new client, in milliseconds. */
  readonly recoveryMs: Summary;
  readonly outages: OutageReport;
  /** What was kept for a closer look; empty when nothing was wrong and nobody asked for it. */
  readonly kept: readonly string[];
}

/** What a campaign says while it runs. */
export interface Listener {
  /** Something happened. */
  readonly tell: (line: string) => void;
  /** How things stand, some times a second. */
  readonly status: (line: string) => void;
}

const CLIENT_TIMEOUT_MS = 2000;
/** In turn: impatient clients often do not know what became of their writes, patient ones find their way. */
const HISTORY_TIMEOUTS_MS: readonly number[] = [200, 400, 800, 2000];
const AUDIT_TIMEOUT_MS = 30_000;
const LEDGER_WRITERS = 2;
const QUIET_MS_MAX = 600;
const STATUS_MS = 250;
const VIOLATIONS_MAX = 100;
/** A recovery worth a closer look. */
const SLOW_MS = 5000;
const NEWS_MAX = 400;
/** How long groups of keys wait, laid aside, before they are read a last time and judged: disturbances come between. */
const SETTLE_MS = 10_000;

/**
 * Runs one campaign to its end, or to the first thing that is wrong.
 *
 * @param signal ends it early, with what it has
 * @param makeStore makes what is hurt
 */
export async function torture(
  options: TortureOptions,
  listener: Listener,
  signal: AbortSignal = new AbortController().signal,
  makeStore: typeof makeTarget = makeTarget,
): Promise<TortureResult> {
  const isTemporary = options.dataDir === '';
  const parent = isTemporary ? tmpdir() : options.dataDir;
  mkdirSync(parent, { recursive: true });
  // Always a fresh one: the judges know nothing of what an earlier campaign wrote.
  const directory = mkdtempSync(join(parent, 'oxide-kv-torture-'));
  const history = options.history === '' ? join(directory, 'history.jsonl') : options.history;
  const { nodes: nodeCount, seed, snapshotEntries } = options;
  const target = makeStore(options.mode, { nodeCount, directory, seed, snapshotEntries });
  let isKept = !isTemporary;
  try {
    await target.start();
    const campaign = new Campaign({ options, target, history, listener, signal });
    const result = await campaign.run();
    isKept ||= result.violations.length > 0;
    const kept = [...(options.history === '' && !isKept ? [] : [history]), ...(isKept ? [directory] : [])];
    return { ...result, kept };
  } finally {
    await target.stop();
    if (!isKept) rmSync(directory, { recursive: true, force: true });
  }
}

class Campaign {
  readonly #options: TortureOptions;
  readonly #target: TortureTarget;
  readonly #listener: Listener;
  readonly #signal: AbortSignal;
  readonly #recorder: Recorder;
  readonly #judge = new HistoryJudge();
  readonly #ledger = new Ledger();
  readonly #violations: string[] = [];
  readonly #recoveriesMs: number[] = [];
  readonly #startedMs: number = performance.now();
  readonly #outages: Outages = new Outages(this.#startedMs);
  #cycles = 0;
  #doing = 'starting';

  constructor(parts: {
    readonly options: TortureOptions;
    readonly target: TortureTarget;
    readonly history: string;
    readonly listener: Listener;
    readonly signal: AbortSignal;
  }) {
    this.#options = parts.options;
    this.#target = parts.target;
    this.#listener = parts.listener;
    this.#signal = parts.signal;
    this.#recorder = new Recorder(parts.history);
  }

  async run(): Promise<Omit<TortureResult, 'kept'>> {
    const status = setInterval(() => this.#listener.status(this.#standing()), STATUS_MS);
    const acknowledged = (): void => this.#outages.acknowledged(performance.now());
    try {
      const seed = String(this.#options.seed);
      const clients = new HistoryClients({
        recorder: this.#recorder,
        clients: await this.#clients(),
        seed,
        acknowledged,
      });
      const writers = new Writers({
        ledger: this.#ledger,
        clients: await Promise.all(
          Array.from({ length: LEDGER_WRITERS }, (_, i) => this.#target.client(CLIENT_TIMEOUT_MS, i)),
        ),
        seed,
        acknowledged,
      });
      await this.#disturbUntilTheEnd(writers);
      const outages = this.#outages.report(performance.now());
      this.#doing = 'the last reads';
      await Promise.all([clients.stop(), writers.stop()]);
      this.#found(writers.violations);
      await this.#attempt('reading at the end', () => this.#readEverything());
      await this.#recorder.close();
      return this.#result(outages);
    } finally {
      clearInterval(status);
    }
  }

  /** Half of the clients ask one node alone, whatever becomes of it; the others move on. */
  #clients(): Promise<readonly ClusterClient[]> {
    const { clients: count, nodes } = this.#options;
    return Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const timeoutMs = at(HISTORY_TIMEOUTS_MS, (i >> 1) % HISTORY_TIMEOUTS_MS.length);
        if (i % 2 === 0) return this.#target.client(timeoutMs, i);
        return this.#target.clientOf((i >> 1) % nodes, timeoutMs);
      }),
    );
  }

  async #disturbUntilTheEnd(writers: Writers): Promise<void> {
    const { seconds, cycles, seed } = this.#options;
    const random = new Random(seed);
    /* oxlint-disable no-await-in-loop -- one disturbance after the other */
    while (!this.#isOver(seconds, cycles)) {
      this.#doing = 'calm';
      await this.#pause(random.int(50, QUIET_MS_MAX));
      await this.#attempt('a disturbance', () => this.#cycle(random.fork(String(this.#cycles))));
      this.#found(writers.violations);
      if (this.#violations.length > 0) return;
    }
    /* oxlint-enable no-await-in-loop */
  }

  #isOver(seconds: number, cycles: number): boolean {
    if (this.#signal.aborted || (cycles > 0 && this.#cycles >= cycles)) return true;
    return performance.now() - this.#startedMs >= seconds * 1000;
  }

  async #cycle(random: Random): Promise<void> {
    this.#doing = 'disturbing';
    const beganMs = performance.now();
    const what = await this.#target.disturb(random, (ms) => this.#pause(ms));
    const repairedMs = performance.now();
    this.#doing = `recovering from ${what}`;
    await this.#proveAlive();
    const aliveMs = performance.now();
    const recoveryMs = aliveMs - repairedMs;
    this.#recoveriesMs.push(recoveryMs);
    this.#cycles += 1;
    this.#doing = 'reading';
    const wrong = await this.#audit();
    await this.#judgeSettled(aliveMs - SETTLE_MS);
    const seconds = ((aliveMs - this.#startedMs) / 1000).toFixed(1);
    this.#listener.tell(
      `${seconds} s  ${what}; runs after ${Math.round(repairedMs - beganMs)} ms, writes ${Math.round(recoveryMs)} ms later`,
    );
    this.#found(wrong);
    if (recoveryMs > SLOW_MS) this.#tellNews();
  }

  /** A write of a client that knows nothing of what was. */
  async #proveAlive(): Promise<void> {
    const client = await this.#target.client(AUDIT_TIMEOUT_MS);
    try {
      await client.set('alive', String(performance.now()));
    } finally {
      await client.close();
    }
  }

  /** Reads the whole ledger through every node. */
  async #audit(): Promise<readonly string[]> {
    const results = await this.#throughEveryNode((reader) => audit(reader, this.#ledger));
    return results.flat();
  }

  /** Reads groups that were laid aside long ago a last time, and judges them. */
  async #judgeSettled(untilMs: number): Promise<void> {
    const groups = this.#recorder.takeComplete(untilMs);
    if (groups.length === 0) return;
    await this.#throughEveryNode(async (reader, node) => {
      // oxlint-disable-next-line no-await-in-loop -- a process does one thing after the other
      for (const group of groups) await readGroup(this.#recorder, group, reader, -1 - node);
    });
    for (const group of groups) this.#found(this.#judge.judge(group));
  }

  async #readEverything(): Promise<void> {
    this.#found(await this.#audit());
    const groups = this.#recorder.takeAll();
    await this.#throughEveryNode(async (reader, node) => {
      // oxlint-disable-next-line no-await-in-loop -- as above
      for (const group of groups) await readGroup(this.#recorder, group, reader, -1 - node);
    });
    this.#doing = 'judging';
    for (const group of groups) this.#found(this.#judge.judge(group));
    this.#found(this.#judge.judgeHard(() => this.#signal.aborted));
  }

  async #throughEveryNode<T>(
    read: (reader: ClusterClient, node: number) => Promise<T>,
  ): Promise<readonly T[]> {
    const nodes = Array.from({ length: this.#options.nodes }, (_, node) => node);
    const readers = await Promise.all(nodes.map((node) => this.#target.clientOf(node, AUDIT_TIMEOUT_MS)));
    try {
      return await Promise.all(readers.map(read));
    } finally {
      await Promise.all(readers.map((reader) => reader.close()));
    }
  }

  /** A store that does not come back, or does not answer, is a finding; it ends the campaign and not the report. */
  async #attempt(what: string, run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#found([`${what} (${this.#doing}) failed: ${messageOf(error)}`]);
    }
    this.#found(this.#target.deaths.filter((death) => !this.#violations.includes(death)));
  }

  #found(wrong: readonly string[]): void {
    const fresh = wrong.filter((text) => !this.#violations.includes(text));
    if (fresh.length === 0) return;
    const isFirst = this.#violations.length === 0;
    this.#violations.push(...fresh);
    for (const text of fresh.slice(0, VIOLATIONS_MAX)) this.#listener.tell(`WRONG: ${text}`);
    if (isFirst) this.#tellNews();
  }

  #tellNews(): void {
    for (const line of this.#target.news().slice(-NEWS_MAX)) this.#listener.tell(`  ${line}`);
  }

  #standing(): string {
    const { kills, restarts, stops, partitions } = this.#target.damage;
    const { ok, failed, unknown } = this.#recorder.counts;
    const seconds = Math.round((performance.now() - this.#startedMs) / 1000);
    return (
      `${seconds}/${this.#options.seconds} s  ${kills} kills, ${restarts} restarts, ${stops} stops, ` +
      `${partitions} partitions  ${ok} ok, ${failed} failed, ${unknown} unknown, ${this.#judge.checked} checked  ${this.#doing}`
    );
  }

  #result(outages: OutageReport): Omit<TortureResult, 'kept'> {
    return {
      seconds: Math.round((performance.now() - this.#startedMs) / 1000),
      cycles: this.#cycles,
      damage: this.#target.damage,
      operations: this.#recorder.counts,
      checked: this.#judge.checked,
      undecided: this.#judge.undecided,
      ledgerWrites: this.#ledger.totals.acknowledged,
      violations: this.#violations.slice(0, VIOLATIONS_MAX),
      recoveryMs: summarize(this.#recoveriesMs),
      outages,
    };
  }

  /** Waits, at most until the campaign is to end. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, this.#signal.aborted ? 0 : ms);
      this.#signal.addEventListener('abort', end);
    });
  }
}
