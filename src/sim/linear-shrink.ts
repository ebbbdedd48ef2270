/**
 * Makes a history without an order smaller, as far as it still has none.
 *
 * Smaller means weaker, never different: what an operation saw is forgotten, or when it ended and whether it happened. A
 * history that has an order keeps it when it is weakened, so a weakened history without one accuses the whole.
 */
import { at, defined, unreachable } from '../lib/assert.ts';
import { type Operation, type Step, stepsOf } from './history.ts';
import { decide } from './linear-decision.ts';
import { type Beginning, compile, matters, type Moves } from './linear-moves.ts';
import { judgeRegister } from './linear-register.ts';

/** An operation that takes part, and the weaker one that is enough. */
export interface Suspect {
  readonly original: Operation;
  readonly weaker: Operation;
}

/** Operations judged and moves tried, all judgements together: beyond, what is left is as small as it gets. */
const WORK_MAX = 3_000_000;
/** A judgement that takes longer than this and than the first one counts as one that found an order. */
const JUDGEMENT_STEPS = 10_000;

/** Operations that have no order. */
export interface Suspects {
  /** In the order of beginnings. */
  readonly list: readonly Suspect[];
  /** `open`: they have no order whatever the keys held before them. */
  readonly beginning: Beginning;
}

/**
 * The suspects among operations of one object that have no order.
 *
 * @param steps how many it took to find out
 */
export function shrink(operations: readonly Operation[], steps: number): Suspects {
  const suspects = operations.map((original) => ({ original, weaker: original }));
  const shrinker = new Shrinker(suspects, Math.max(JUDGEMENT_STEPS, 2 * steps));
  shrinker.run();
  const list = shrinker.suspects.toSorted((a, b) => compare(a.original.start, b.original.start));
  return { list, beginning: shrinker.beginning };
}

class Shrinker {
  suspects: readonly Suspect[];
  beginning: Beginning = 'empty';
  readonly #stepsMax: number;
  #work = 0;

  constructor(suspects: readonly Suspect[], stepsMax: number) {
    this.suspects = suspects;
    this.#stepsMax = stepsMax;
  }

  run(): void {
    if (!this.#takeCulprits()) {
      this.#cutEnd();
      if (this.suspects.every(canFollowAnything)) this.#cutBeginning();
    }
    // What only saw goes first: without it, many of the writes of unknown outcome that come next are of no use to anybody.
    for (const isWriter of [false, true]) {
      this.#inParts(
        () =>
          this.suspects.filter(
            ({ weaker }) => weaker.outcome === 'ok' && stepsOf(weaker.action).some(isWrite) === isWriter,
          ),
        (suspect, chosen) => (chosen.has(suspect) ? forgotten(suspect) : suspect),
      );
    }
    this.#inParts(() => this.suspects.flatMap(({ weaker }) => sights(weaker)), withoutSteps);
  }

  /** One key with plain reads and writes: the quick judge says which operations exclude each other. */
  #takeCulprits(): boolean {
    const moves = compiled(this.suspects, this.beginning);
    const quick = judgeRegister(moves);
    if (quick.kind !== 'violation') return false;
    const culprits = new Set(quick.culprits.map((index) => at(moves.moves, index).operation));
    return this.#accept(this.suspects.filter(({ weaker }) => culprits.has(weaker)));
  }

  /** Finds the first end up to which there is no order, and forgets what came after it. */
  #cutEnd(): void {
    const ends = this.suspects.flatMap(({ weaker }) => (weaker.outcome === 'ok' ? [endOf(weaker)] : []));
    ends.sort(compare);
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBad(until(this.suspects, at(ends, middle)))) high = middle;
      else low = middle + 1;
    }
    const end = ends[high];
    if (end !== undefined) this.#accept(until(this.suspects, end));
  }

  /**
   * Finds the last beginning from which on there is no order whatever the keys held, and forgets what ended before it. All
   * of that came before all that began later, so some state was there when the last of it was done; and what was under way
   * may have happened before that, so that now it may or may not happen.
   */
  #cutBeginning(): void {
    const starts = this.suspects.map(({ weaker }) => weaker.start).toSorted(compare);
    // Short parts are judged quickly: double the length until there is no order, then look in between.
    let length = 1;
    while (length < starts.length && !this.#isBadSince(starts, length)) length *= 2;
    let low = Math.floor(length / 2);
    let high = Math.min(length, starts.length);
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBadSince(starts, middle)) high = middle;
      else low = middle;
    }
    if (!this.#isBadSince(starts, high)) return;
    const cut = since(this.suspects, at(starts, starts.length - high));
    this.beginning = 'open';
    this.#accept(cut);
  }

  /** Whether there is no order from the last so many beginnings on. */
  #isBadSince(starts: readonly bigint[], length: number): boolean {
    return this.#isBad(since(this.suspects, at(starts, starts.length - length)), 'open');
  }

  /** Weakens ever smaller parts of the list, and keeps what still has no order (Zeller's delta debugging). */
  #inParts<T>(list: () => readonly T[], weaken: (suspect: Suspect, chosen: ReadonlySet<T>) => Suspect): void {
    for (let size = list().length; size >= 1; size = Math.floor(size / 2)) {
      const all = list();
      for (let to = all.length; to > 0; to -= size) {
        const chosen = new Set(all.slice(Math.max(0, to - size), to));
        const weakened = this.suspects.map((suspect) => weaken(suspect, chosen));
        if (weakened.some((suspect, index) => suspect !== this.suspects[index])) this.#accept(weakened);
      }
    }
  }

  #accept(suspects: readonly Suspect[]): boolean {
    if (!this.#isBad(suspects)) return false;
    const { moves } = compiled(suspects, this.beginning);
    const needed = new Set(moves.map(({ operation }) => operation));
    this.suspects = suspects.filter(({ weaker }) => needed.has(weaker));
    return true;
  }

  #isBad(suspects: readonly Suspect[], beginning: Beginning = this.beginning): boolean {
    if (this.#work > WORK_MAX) return false;
    const operations = suspects.map(({ weaker }) => weaker);
    const result = decide(operations, { stepsMax: this.#stepsMax }, beginning);
    this.#work += suspects.length + result.steps;
    return result.kind === 'violation';
  }
}

function compiled(suspects: readonly Suspect[], beginning: Beginning): Moves {
  return compile(
    suspects.map(({ weaker }) => weaker),
    beginning,
  );
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function endOf(operation: Operation): bigint {
  return defined(operation.end, 'end of an operation that was answered');
}

/**
 * What was known at this time: later operations did not exist, and those under way had no answer. A history
 * that has an order has one up to every time.
 */
export function until(suspects: readonly Suspect[], end: bigint): readonly Suspect[] {
  return suspects
    .filter(({ weaker }) => weaker.start <= end)
    .map((suspect) => {
      const { weaker } = suspect;
      return weaker.outcome === 'ok' && endOf(weaker) > end ? forgotten(suspect) : suspect;
    })
    .filter(({ weaker }) => matters(weaker));
}

/**
 * What ended before this time is gone, and what was under way then has no answer. A history that has an order has one from
 * every time on, for some content of the keys.
 */
export function since(suspects: readonly Suspect[], start: bigint): readonly Suspect[] {
  return suspects
    .filter(({ weaker }) => weaker.outcome === 'unknown' || endOf(weaker) >= start)
    .map((suspect) => (suspect.weaker.start < start ? forgotten(suspect) : suspect))
    .filter(({ weaker }) => matters(weaker));
}

/** Whether the search can begin with it when it is open what its keys hold; see {@link Beginning}. */
function canFollowAnything({ weaker: { action, outcome } }: Suspect): boolean {
  if (action.kind === 'txn') return action.steps.every(({ kind }) => kind !== 'cas');
  return action.kind !== 'cas' || outcome === 'unknown' || action.swapped !== undefined;
}

/** Without its answer: what it wrote may have happened at any time, or never. What only saw is gone. */
function forgotten({ original, weaker }: Suspect): Suspect {
  const steps = stepsOf(weaker.action).filter(isWrite);
  if (steps.length === 0) return { original, weaker: { ...weaker, outcome: 'fail' } };
  const action = weaker.action.kind === 'txn' ? { ...weaker.action, steps } : weaker.action;
  return { original, weaker: { ...weaker, action, end: undefined, outcome: 'unknown' } };
}

/** Whether a step that was answered may have changed something. */
function isWrite(step: Step): boolean {
  switch (step.kind) {
    case 'get':
      return false;
    case 'set':
      return true;
    case 'delete':
      return step.existed !== false;
    case 'cas':
      return step.swapped !== false;
    default:
      return unreachable(step);
  }
}

/** Steps of a transaction that can be forgotten each by itself. */
function sights({ action, outcome }: Operation): readonly Step[] {
  if (outcome !== 'ok' || action.kind !== 'txn' || action.steps.length < 2) return [];
  return action.steps.filter(
    (step) => step.kind === 'get' || (step.kind === 'cas' && step.swapped === false),
  );
}

function withoutSteps(suspect: Suspect, forgottenSteps: ReadonlySet<Step>): Suspect {
  const { original, weaker } = suspect;
  if (weaker.outcome !== 'ok' || weaker.action.kind !== 'txn') return suspect;
  if (!weaker.action.steps.some((step) => forgottenSteps.has(step))) return suspect;
  const steps = stepsOf(weaker.action).filter((step) => !forgottenSteps.has(step));
  return { original, weaker: { ...weaker, action: { kind: 'txn', steps } } };
}
