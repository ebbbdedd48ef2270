/**
 * What writers know of their writes, and whether what a reader sees agrees with it. Each key belongs to one writer, who
 * writes the numbers 1, 2, 3… one after the other through one session; so what is stored only ever goes up.
 */
import { assert, at } from '../../src/lib/assert.ts';

/** `refused`: certainly without effect. */
export type Outcome = 'pending' | 'acknowledged' | 'unknown' | 'refused';

interface History {
  /** Outcome of write n at n - 1. */
  readonly outcomes: Outcome[];
  /** The highest acknowledged write. A read that starts now must see it, or a later one. */
  floor: number;
}

/** Sums over all keys. */
export interface Totals {
  readonly acknowledged: number;
  readonly unknown: number;
  readonly refused: number;
}

export class Ledger {
  readonly #histories: Map<string, History> = new Map();
  readonly #counts: Record<Outcome, number> = { pending: 0, acknowledged: 0, unknown: 0, refused: 0 };

  get totals(): Totals {
    const { acknowledged, unknown, refused } = this.#counts;
    return { acknowledged, unknown, refused };
  }

  get keys(): readonly string[] {
    return [...this.#histories.keys()];
  }

  /** The next write of `key` begins. @returns its number */
  begin(key: string): number {
    const history = this.#histories.get(key) ?? { outcomes: [], floor: 0 };
    this.#histories.set(key, history);
    assert(history.outcomes.at(-1) !== 'pending', 'A key has one writer, who waits for each answer');
    this.#counts.pending += 1;
    return history.outcomes.push('pending');
  }

  settle(key: string, seq: number, outcome: Exclude<Outcome, 'pending'>): void {
    const history = this.#histories.get(key);
    assert(history !== undefined && history.outcomes[seq - 1] === 'pending', 'A write ends once');
    history.outcomes[seq - 1] = outcome;
    this.#counts.pending -= 1;
    this.#counts[outcome] += 1;
    if (outcome === 'acknowledged') history.floor = seq;
  }

  /** The last write, if it is certain that it is what the store holds. */
  certain(key: string): number | undefined {
    const history = this.#histories.get(key);
    if (history === undefined || history.floor !== history.outcomes.length) return undefined;
    return history.floor;
  }

  /** What a read that starts now must at least see. */
  floor(key: string): number {
    return this.#histories.get(key)?.floor ?? 0;
  }

  /**
   * Judges a read.
   *
   * @param value undefined: the key was absent
   * @param floor {@link Ledger.floor} when the read started
   * @returns what is wrong, in words; undefined when it may be
   */
  judge(key: string, value: string | undefined, floor: number): string | undefined {
    const outcomes = this.#histories.get(key)?.outcomes ?? [];
    if (value === undefined)
      return floor > 0 ? `${key} is absent, write ${floor} was acknowledged` : undefined;
    const seq = readValue(key, value);
    if (seq === undefined) return `${key} holds "${value.slice(0, 60)}", which nobody wrote there`;
    if (seq < floor) return `${key} holds write ${seq}, write ${floor} was acknowledged`;
    if (seq > outcomes.length) return `${key} holds write ${seq}, only ${outcomes.length} were tried`;
    if (at(outcomes, seq - 1) === 'refused')
      return `${key} holds write ${seq}, which was refused as without effect`;
    return undefined;
  }
}

/** The value of write `seq`: unique in the whole store, with some weight. */
export function valueOf(key: string, seq: number): string {
  return `${key}#${seq}#${'x'.repeat(32 + (seq % 64))}`;
}

function readValue(key: string, value: string): number | undefined {
  const seq = Number(/^[^#]*#(\d+)#/.exec(value)?.[1]);
  return Number.isSafeInteger(seq) && value === valueOf(key, seq) ? seq : undefined;
}
