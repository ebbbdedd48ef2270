/** Writes, kills, restarts and reads, until the time is over: what was acknowledged must always be there. */
import { Random } from '../../src/lib/random.ts';
import { Ledger, type Totals } from './ledger.ts';
import { type Summary, summarize } from './report.ts';
import { type Mode, makeTarget } from './targets.ts';
import type { TortureTarget } from './target.ts';
import { Writers, audit } from './writers.ts';

export interface TortureOptions {
  readonly mode: Mode;
  readonly nodes: number;
  readonly seconds: number;
  /** Stops earlier, after this many disturbances; 0: no limit. */
  readonly cycles: number;
  readonly writers: number;
  readonly seed: number;
  /** Empty: a temporary directory. */
  readonly dataDir: string;
}

export interface TortureResult extends Totals {
  readonly cycles: number;
  readonly kills: number;
  readonly reads: number;
  /** What was lost, stale, invented or applied twice, in words. Must be empty. */
  readonly violations: readonly string[];
  /** From the kill (mode `process`: from the start of the next process) to an acknowledged write, in milliseconds. */
  readonly recoveryMs: Summary;
}

const CLIENT_TIMEOUT_MS = 5000;
const AUDIT_TIMEOUT_MS = 30_000;
const QUIET_MS_MAX = 1500;
const VIOLATIONS_MAX = 100;
/** A recovery worth a closer look. */
const SLOW_MS = 5000;

/** Runs one campaign to its end. `tell` gets a line after each disturbance. */
export async function torture(options: TortureOptions, tell: (line: string) => void): Promise<TortureResult> {
  const target = makeTarget(options.mode, options.nodes, options.dataDir);
  const ledger = new Ledger();
  try {
    await target.start();
    const clients = await Promise.all(
      Array.from({ length: options.writers }, () => target.client(CLIENT_TIMEOUT_MS)),
    );
    const writers = new Writers({ ledger, clients, seed: String(options.seed) });
    const found = await disturbUntilTheEnd({ options, target, ledger, writers }, tell);
    await writers.stop();
    const last = await auditAll(target, ledger);
    const violations = [...writers.violations, ...found.violations, ...last];
    return {
      ...ledger.totals,
      cycles: found.cycles,
      kills: found.kills,
      reads: (found.cycles + 1) * options.nodes,
      violations: violations.slice(0, VIOLATIONS_MAX),
      recoveryMs: summarize(found.recoveriesMs),
    };
  } finally {
    await target.stop();
  }
}

async function disturbUntilTheEnd(
  run: {
    readonly options: TortureOptions;
    readonly target: TortureTarget;
    readonly ledger: Ledger;
    readonly writers: Writers;
  },
  tell: (line: string) => void,
): Promise<{
  readonly cycles: number;
  readonly kills: number;
  readonly recoveriesMs: readonly number[];
  readonly violations: readonly string[];
}> {
  const { options, target, ledger, writers } = run;
  const random = new Random(options.seed);
  const startedMs = performance.now();
  const recoveriesMs: number[] = [];
  const violations: string[] = [];
  let kills = 0;
  let cycles = 0;
  const isOver = (): boolean =>
    performance.now() - startedMs >= options.seconds * 1000 ||
    (options.cycles > 0 && cycles >= options.cycles);
  /* oxlint-disable no-await-in-loop -- one disturbance after the other */
  while (!isOver()) {
    await new Promise((resolve) => setTimeout(resolve, random.int(50, QUIET_MS_MAX)));
    const disturbance = await target.disturb(random);
    const startedAgainMs = performance.now() - disturbance.sinceMs;
    await proveAlive(target);
    const recoveryMs = performance.now() - disturbance.sinceMs;
    if (disturbance.kills > 0) recoveriesMs.push(recoveryMs);
    const wrong = await auditAll(target, ledger);
    violations.push(...wrong);
    kills += disturbance.kills;
    cycles += 1;
    const { acknowledged, unknown } = ledger.totals;
    tell(
      `${((performance.now() - startedMs) / 1000).toFixed(1)} s  ${disturbance.what}; runs after ${Math.round(startedAgainMs)} ms, writes after ${Math.round(recoveryMs)} ms; ` +
        `${kills} kills, ${acknowledged} acknowledged, ${unknown} unknown, ${violations.length + writers.violations.length} wrong`,
    );
    for (const text of wrong) tell(`  WRONG: ${text}`);
    if (recoveryMs > SLOW_MS) for (const line of disturbance.news()) tell(`  ${line}`);
  }
  /* oxlint-enable no-await-in-loop */
  return { cycles, kills, recoveriesMs, violations };
}

/** A write of a client that knows nothing of what was. */
async function proveAlive(target: TortureTarget): Promise<void> {
  const client = await target.client(AUDIT_TIMEOUT_MS);
  try {
    await client.set('alive', String(performance.now()));
  } finally {
    await client.close();
  }
}

/** Reads everything through every node. */
async function auditAll(target: TortureTarget, ledger: Ledger): Promise<readonly string[]> {
  const readers = await target.readers(AUDIT_TIMEOUT_MS);
  try {
    const results = await Promise.all(readers.map((reader) => audit(reader, ledger)));
    return results.flat();
  } finally {
    await Promise.all(readers.map((reader) => reader.close()));
  }
}
