/**
 * Keeps a tree in shape: picks one compaction at a time, has it done a slice at a time or elsewhere, and puts the result
 * into the manifest.
 */
import { at, unreachable } from '../../lib/assert.ts';
import { CorruptionError, StorageError } from '../../lib/errors.ts';
import { removeQuietly } from '../files.ts';
import { isDiskFull, runCompaction } from './compaction.ts';
import { bytesOf, keysOf } from './levels.ts';
import { type Pick, pickCompaction } from './pick.ts';
import {
  type CompactionJob,
  type CompactionResult,
  type Compactor,
  LEVELS_MAX,
  tablePath,
} from './table-format.ts';
import type { Tree } from './tree.ts';

/** Calls of {@link Compactions.work} to wait after the disk was full: the first time, and at most. */
const PATIENCE_MIN = 64;
const PATIENCE_MAX = 4096;

/** What a table has beside its versions, and a little more. */
const TABLE_FRAME_BYTES = 1024;

/** A compaction under way. */
interface Running {
  readonly pick: Pick;
  readonly job: CompactionJob;
  /** Slices of one that is done here; undefined for one that is done elsewhere. */
  readonly slices: Generator<undefined, CompactionResult> | undefined;
  /** What came of one that was done elsewhere. */
  result: CompactionResult | undefined;
}

export class Compactions {
  readonly #tree: Tree;
  readonly #compactor: Compactor | undefined;
  readonly #cursors: (string | undefined)[] = Array.from({ length: LEVELS_MAX }, () => undefined);
  #running: Running | undefined;
  #done = 0;
  #writtenBytes = 0;
  /** Calls to wait before the next attempt, and how long the next wait will be. */
  #wait = 0;
  #patience = PATIENCE_MIN;

  /** @param compactor does the jobs; without one they are done here, in slices */
  constructor(tree: Tree, compactor: Compactor | undefined) {
    this.#tree = tree;
    this.#compactor = compactor;
  }

  /** Compactions finished since the start. */
  get doneCount(): number {
    return this.#done;
  }

  /** Bytes that they have written. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** What is being done, in words; undefined when nothing is. */
  get text(): string | undefined {
    if (this.#running !== undefined) return describe(this.#running.pick);
    return this.#wait > 0 ? 'waiting for space on the disk' : undefined;
  }

  /**
   * Does a bounded slice.
   *
   * @returns whether there is more to do here and now
   * @throws CorruptionError that names the damaged table; StorageError when the disk refuses for another reason than space
   */
  work(): boolean {
    const running = this.#running;
    if (running === undefined) return this.#begin();
    if (running.slices === undefined) {
      if (running.result === undefined) return false;
      this.#end(running, running.result);
      return true;
    }
    const slice = running.slices.next();
    if (slice.done === true) this.#end(running, slice.value);
    return true;
  }

  /** Gives up what is under way. What came of one that is done elsewhere is thrown away, and what comes later too. */
  stop(): void {
    const running = this.#running;
    this.#running = undefined;
    running?.slices?.return({ kind: 'failed', isFull: false, message: 'it was given up' });
    if (running?.result?.kind === 'done') this.#discard(running.job);
  }

  /** There may be space again: what waited for it is tried at the next call. */
  hurry(): void {
    this.#wait = 0;
  }

  #begin(): boolean {
    if (this.#wait > 0) {
      this.#wait -= 1;
      return false;
    }
    const { levels, horizon } = this.#tree.state;
    const { options } = this.#tree;
    const pick = pickCompaction({ levels, options, horizon, cursors: this.#cursors });
    if (pick === undefined) return false;
    const taken = pick.inputs.filter((table) => table.level === pick.fromLevel);
    if (pick.fromLevel > 0) this.#cursors[pick.fromLevel] = keysOf(taken).last;
    return this.#unlessFull(() => (pick.isMove ? this.#move(pick) : this.#start(pick)));
  }

  #move({ inputs, toLevel }: Pick): boolean {
    const table = at(inputs, 0);
    const { number } = table.meta;
    this.#tree.commit({ added: [{ ...table, level: toLevel }], removed: [number] });
    return true;
  }

  #start(pick: Pick): boolean {
    const tree = this.#tree;
    const { directory, options } = tree;
    const count = outputsMax(pick, options.tableBytesMax);
    const firstNumber = tree.reserve(count);
    const job: CompactionJob = {
      directory,
      fromLevel: pick.fromLevel,
      toLevel: pick.toLevel,
      inputs: pick.inputs.map(({ meta }) => meta),
      firstNumber,
      lastNumber: firstNumber + count - 1,
      horizon: tree.state.horizon,
      isDeepest: pick.isDeepest,
      options,
    };
    if (this.#compactor === undefined) {
      this.#running = { pick, job, slices: runCompaction(tree.fs, job), result: undefined };
      return true;
    }
    // Whoever works elsewhere may outlive this process: its numbers must not be given out again.
    tree.commit({ added: [], removed: [] });
    const running: Running = { pick, job, slices: undefined, result: undefined };
    this.#running = running;
    this.#compactor.run(job, (result) => {
      if (this.#running === running) running.result = result;
      else this.#discard(job);
    });
    return false;
  }

  #end(running: Running, result: CompactionResult): void {
    const { pick, job } = running;
    this.#running = undefined;
    if (result.kind !== 'done') this.#discard(job);
    switch (result.kind) {
      case 'done':
        this.#unlessFull(() => this.#accept(pick, job, result));
        return;
      case 'corrupt':
        throw new CorruptionError(`Cannot compact table ${result.table}: ${result.message}`);
      case 'failed':
        if (!result.isFull) throw new StorageError(`Cannot compact: ${result.message}`);
        this.#waitForSpace();
        return;
      default:
        unreachable(result);
    }
  }

  #accept(pick: Pick, job: CompactionJob, result: CompactionResult & { readonly kind: 'done' }): boolean {
    const horizon = job.isDeepest ? job.horizon : 0;
    this.#tree.commit({
      added: result.outputs.map((meta) => ({ level: pick.toLevel, meta, horizon })),
      removed: job.inputs.map(({ number }) => number),
    });
    this.#done += 1;
    for (const { bytes } of result.outputs) this.#writtenBytes += bytes;
    this.#patience = PATIENCE_MIN;
    return true;
  }

  /** Files of a job that came to nothing. */
  #discard(job: CompactionJob): void {
    for (let number = job.firstNumber; number <= job.lastNumber; number++)
      removeQuietly(this.#tree.fs, tablePath(job.directory, number));
  }

  #unlessFull(run: () => boolean): boolean {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof StorageError) || !isDiskFull(error)) throw error;
      this.#waitForSpace();
      return false;
    }
  }

  #waitForSpace(): void {
    this.#wait = this.#patience;
    this.#patience = Math.min(2 * this.#patience, PATIENCE_MAX);
  }
}

/** More tables than a compaction can give: each has a version at least, and all but the last are full. */
function outputsMax({ inputs }: Pick, tableBytesMax: number): number {
  let versions = 0;
  for (const { meta } of inputs) versions += meta.versions;
  const contentBytes = Math.max(1, tableBytesMax - TABLE_FRAME_BYTES);
  return Math.min(versions, 2 * Math.ceil(bytesOf(inputs) / contentBytes) + 2);
}

/** "L0 4 + L1 6 → L1". */
function describe({ fromLevel, toLevel, inputs }: Pick): string {
  const count = inputs.filter((table) => table.level === fromLevel).length;
  const upper = `L${fromLevel} ${count}`;
  const lower = inputs.length > count ? ` + L${toLevel} ${inputs.length - count}` : '';
  return `${upper}${lower} → L${toLevel}`;
}
