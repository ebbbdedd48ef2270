/**
 * Sorted runs put together, and what of them can be seen or may go. Everything here takes a run and gives one, a version at
 * a time; ending the outer one ends the inner ones. Plain objects instead of generators: a scan spends its time here.
 */
import { at } from '../../lib/assert.ts';
import { type Version, isTombstone } from '../version-engine.ts';
import type { Run } from './table-format.ts';

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** The order of a {@link Run}: by key, and of one key the newest first. Negative when `a` comes first. */
export function compareVersions(a: Version, b: Version): number {
  if (a.key === b.key) return b.revision - a.revision;
  return a.key < b.key ? -1 : 1;
}

/**
 * All versions of `runs` in one run. A version that is in several of them comes once, from the first that has it.
 *
 * @param isReverse the runs go from the last key to the first, of one key the oldest first, and so does the result
 */
export function mergeRuns(runs: readonly Run[], isReverse = false): Run {
  const [only, ...others] = runs;
  return only !== undefined && others.length === 0 ? only : new MergedRun(runs, isReverse);
}

/**
 * The keys that exist at `revision`, each as its newest version at or below it: never a tombstone.
 *
 * @param isReverse as in {@link mergeRuns}
 */
export function visibleAt(run: Run, revision: number, isReverse = false): Run {
  return isReverse ? new VisibleBackward(run, revision) : new NewestOfKeys(run, revision, VISIBLE);
}

/**
 * What a compaction keeps of a run that goes forward: everything above `horizon`, and of each key the newest version at or
 * below it, unless that is a tombstone and `isDeepest`: then nothing is left that it could hide.
 */
export function withinHorizon(run: Run, horizon: number, isDeepest: boolean): Run {
  return new NewestOfKeys(run, horizon, { areLaterKept: true, areTombstonesKept: !isDeepest });
}

/** A run and the version that it stands at. */
interface Source {
  readonly run: Run;
  /** Its place among the runs given: of equal versions that of the lowest is taken. */
  readonly rank: number;
  head: Version;
}

/** Sources lie sorted by their heads: few move far, as neighbours in one run are often neighbours in the merge. */
class MergedRun implements Run {
  readonly #runs: readonly Run[];
  readonly #sign: number;
  #sources: Source[] | undefined;
  #last: Version | undefined;

  constructor(runs: readonly Run[], isReverse: boolean) {
    this.#runs = runs;
    this.#sign = isReverse ? -1 : 1;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    try {
      for (;;) {
        if (this.#sources === undefined) this.#start();
        else this.#advance();
        const head = this.#sources?.[0]?.head;
        if (head === undefined) return DONE;
        const last = this.#last;
        if (last?.revision === head.revision && last.key === head.key) continue;
        this.#last = head;
        return { done: false, value: head };
      }
    } catch (error) {
      this.return();
      throw error;
    }
  }

  return(): IteratorResult<Version> {
    this.#sources = [];
    for (const run of this.#runs) run.return?.();
    return DONE;
  }

  #start(): void {
    const sources: Source[] = [];
    this.#runs.forEach((run, rank) => {
      const { done, value } = run.next();
      if (done !== true) sources.push({ run, rank, head: value });
    });
    this.#sources = sources.toSorted((a, b) => this.#compare(a, b));
  }

  /** Moves the source that gave the last version on, and to its new place. */
  #advance(): void {
    const sources = this.#sources ?? [];
    const first = sources[0];
    if (first === undefined) return;
    const { done, value } = first.run.next();
    if (done === true) {
      sources.shift();
      return;
    }
    first.head = value;
    const place = this.#placeOf(first, sources);
    for (let i = 0; i < place; i++) sources[i] = at(sources, i + 1);
    sources[place] = first;
  }

  /** Where the first source belongs, which has moved on: looked for near the front, then farther and farther (galloping). */
  #placeOf(first: Source, sources: readonly Source[]): number {
    let low = 0;
    let step = 1;
    while (low + step < sources.length && this.#compare(first, at(sources, low + step)) > 0) {
      low += step;
      step *= 2;
    }
    let high = Math.min(low + step, sources.length);
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#compare(first, at(sources, middle)) > 0) low = middle;
      else high = middle;
    }
    return low;
  }

  #compare(a: Source, b: Source): number {
    const order = compareVersions(a.head, b.head);
    return order === 0 ? a.rank - b.rank : order * this.#sign;
  }
}

/** What a {@link NewestOfKeys} lets pass besides. */
interface Kept {
  /** Everything above the revision. */
  readonly areLaterKept: boolean;
  /** A newest version which says that its key was deleted. */
  readonly areTombstonesKept: boolean;
}

const VISIBLE: Kept = { areLaterKept: false, areTombstonesKept: false };

/** Of each key of a run that goes forward the newest version at or below a revision. */
class NewestOfKeys implements Run {
  readonly #run: Run;
  readonly #revision: number;
  readonly #areLaterKept: boolean;
  readonly #areTombstonesKept: boolean;
  /** The key whose newest version has come: what follows of it is older. */
  #key: string | undefined;

  constructor(run: Run, revision: number, { areLaterKept, areTombstonesKept }: Kept) {
    this.#run = run;
    this.#revision = revision;
    this.#areLaterKept = areLaterKept;
    this.#areTombstonesKept = areTombstonesKept;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    for (;;) {
      const result = this.#run.next();
      if (result.done === true) return result;
      const version = result.value;
      if (version.revision > this.#revision) {
        if (this.#areLaterKept) return result;
        continue;
      }
      if (version.key === this.#key) continue;
      this.#key = version.key;
      if (this.#areTombstonesKept || !isTombstone(version)) return result;
    }
  }

  return(): IteratorResult<Version> {
    this.#run.return?.();
    return DONE;
  }
}

/** The keys that exist at a revision, of a run that goes backward: of each key the newest version comes last. */
class VisibleBackward implements Run {
  readonly #run: Run;
  readonly #revision: number;
  /** The newest so far of its key that is not too new. */
  #candidate: Version | undefined;

  constructor(run: Run, revision: number) {
    this.#run = run;
    this.#revision = revision;
  }

  [Symbol.iterator](): Run {
    return this;
  }

  next(): IteratorResult<Version> {
    for (;;) {
      const { done, value } = this.#run.next();
      const candidate = this.#candidate;
      if (done === true) {
        this.#candidate = undefined;
        if (candidate === undefined || isTombstone(candidate)) return DONE;
        return { done: false, value: candidate };
      }
      if (value.revision > this.#revision) continue;
      this.#candidate = value;
      if (candidate === undefined || candidate.key === value.key || isTombstone(candidate)) continue;
      return { done: false, value: candidate };
    }
  }

  return(): IteratorResult<Version> {
    this.#candidate = undefined;
    this.#run.return?.();
    return DONE;
  }
}
