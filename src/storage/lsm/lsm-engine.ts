/**
 * The engine on disk: a log-structured merge tree (O'Neil et al. 1996; levels as in LevelDB) of versions. What is put goes to
 * a memtable; a checkpoint flushes it to a table; compactions merge tables downwards. There is no log here: what a
 * memtable held when a process ended comes again from the Raft log.
 *
 * A reader asks the newest place first: memtable, memtables being flushed, level 0 from the newest table to the oldest,
 * then one table of each level. Whatever it finds first is the answer.
 */
import { assert, at } from '../../lib/assert.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { MemoryEngine } from '../memory-engine.ts';
import type { EngineStats, KeyRange, Version, VersionEngine } from '../version-engine.ts';
import { Compactions } from './compactions.ts';
import { Flush } from './flush.ts';
import { type PlacedTable, allTables, bytesOf, tableWith } from './levels.ts';
import { mergeRuns, visibleAt } from './merge.ts';
import { urgentTables } from './pick.ts';
import { LevelRun, OpenRun, type RunCut, tableRun, withinBounds } from './reads.ts';
import type { Compactor, Run } from './table-format.ts';
import type { Tree } from './tree.ts';
import type { TreeState } from './tree-state.ts';

/** A memtable of so many times its size, and writes are accepted for a part of the time only; from the second on, none are. */
const MEMTABLE_FACTOR_SLOW = 1.5;
const MEMTABLE_FACTOR_MAX = 2;

export class LsmEngine implements VersionEngine {
  readonly #tree: Tree;
  readonly #compactions: Compactions;
  #memtable = new MemoryEngine();
  /** Being flushed, or waiting for the next flush after one that failed. Newest first; nobody puts into them. */
  #frozen: readonly MemoryEngine[] = [];
  #flush: Flush | undefined;
  #flushesDone = 0;
  #horizon: number;
  #lastRevision: number;
  #lastSub = -1;
  readonly #open = new Set<OpenRun>();
  #isClosed = false;
  /** The tree is about to be replaced. */
  #isSuspended = false;

  /** @param tree belongs to the engine, but for closing it */
  constructor(tree: Tree, compactor: Compactor | undefined) {
    this.#tree = tree;
    this.#compactions = new Compactions(tree, compactor);
    this.#horizon = tree.state.horizon;
    this.#lastRevision = highestRevision(tree.state);
  }

  get pressurePercent(): number {
    const { level0TablesMax, memtableBytesMax } = this.#tree.options;
    const tables = this.#tree.state.levels[0]?.length ?? 0;
    const factor = this.#memtable.approximateBytes / memtableBytesMax;
    return Math.max(
      percentBetween(tables, urgentTables(level0TablesMax) - 1, level0TablesMax),
      percentBetween(factor, MEMTABLE_FACTOR_SLOW, MEMTABLE_FACTOR_MAX),
    );
  }

  get stats(): EngineStats {
    const { state, blocks, options } = this.#tree;
    return {
      kind: 'lsm',
      memtableBytes: this.#memtable.approximateBytes,
      memtableBytesMax: options.memtableBytesMax,
      flushingBytes: this.#frozenBytes(),
      levels: state.levels.map((tables) => ({ tables: tables.length, bytes: bytesOf(tables) })),
      cacheBytes: blocks.bytes,
      cacheHits: blocks.hits,
      cacheMisses: blocks.misses,
      compacting: this.#compactions.text,
      compactionsDone: this.#compactions.doneCount,
      compactedBytes: this.#compactions.writtenBytes,
      flushesDone: this.#flushesDone,
      pressurePercent: this.pressurePercent,
    };
  }

  /** Whether what is in memory should be flushed. */
  get isDue(): boolean {
    const waiting = this.#flush === undefined ? this.#frozenBytes() : 0;
    return this.#memtable.approximateBytes + waiting >= this.#tree.options.memtableBytesMax;
  }

  get(key: string, revision: number): Version | undefined {
    assert(!this.#isClosed, 'The engine is closed');
    const found = this.#memtable.get(key, revision);
    if (found !== undefined) return found;
    for (const memtable of this.#frozen) {
      const version = memtable.get(key, revision);
      if (version !== undefined) return version;
    }
    const { levels } = this.#tree.state;
    for (const table of at(levels, 0)) {
      const version = this.#lookUp(table, key, revision);
      if (version !== undefined) return version;
    }
    for (let level = 1; level < levels.length; level++) {
      const table = tableWith(at(levels, level), key);
      const version = table === undefined ? undefined : this.#lookUp(table, key, revision);
      if (version !== undefined) return version;
    }
    return undefined;
  }

  put(version: Version): void {
    assert(!this.#isClosed, 'The engine is closed');
    const { revision, sub } = version;
    const isAbove = revision > this.#lastRevision || (revision === this.#lastRevision && sub > this.#lastSub);
    assert(isAbove, 'Versions come in the order of their revisions');
    this.#memtable.put(version);
    this.#lastRevision = revision;
    this.#lastSub = sub;
    if (this.#flush === undefined) return;
    const { memtableBytesMax } = this.#tree.options;
    // What is committed must be taken. Memory is bounded, so the one before it goes to disk now.
    if (this.#memtable.approximateBytes >= MEMTABLE_FACTOR_MAX * memtableBytesMax) this.#flush.finish();
  }

  scan(range: KeyRange, revision: number, isReverse = false): IterableIterator<Version> {
    const { start, end } = range;
    const runs = this.#runs(range, isReverse, ({ meta }) => meta.revisionMin <= revision);
    return this.#opened(visibleAt(mergeRuns(runs, isReverse), revision, isReverse), {
      isWithin: isReverse ? (key) => key >= start : (key) => end === undefined || key < end,
    });
  }

  changes(range: KeyRange, after: number, upTo: number): IterableIterator<Version> {
    const { end } = range;
    const runs = this.#runs(range, false, ({ meta }) => meta.revisionMax > after && meta.revisionMin <= upTo);
    return this.#opened(mergeRuns(runs), {
      isWithin: (key) => end === undefined || key < end,
      isWanted: ({ revision }) => revision > after && revision <= upTo,
    });
  }

  /** History goes when the checkpoint that knows of it is durable: until then a restart may look for it again. */
  compact(revision: number): void {
    this.#horizon = Math.max(this.#horizon, revision);
  }

  work(): boolean {
    assert(!this.#isClosed && !this.#isSuspended, 'The engine is open, and stays what it is');
    return this.#compactions.work();
  }

  /**
   * Begins to flush everything that is in memory now, with what makes a checkpoint of it. One at a time.
   *
   * @param onDurable is called once, when it is durable
   */
  beginFlush(checkpoint: Checkpoint, onDurable: () => void): Flush {
    assert(!this.#isClosed, 'The engine is closed');
    assert(this.#flush === undefined && !this.#isSuspended, 'One checkpoint is written at a time');
    if (this.#memtable.versions > 0) this.#frozen = [this.#memtable, ...this.#frozen];
    this.#memtable = new MemoryEngine();
    const flush = new Flush({
      tree: this.#tree,
      memtables: this.#frozen,
      horizon: this.#horizon,
      checkpoint,
      onEnd: (outcome) => {
        this.#flush = undefined;
        // What was given up stays readable, and goes with the next flush.
        if (outcome === 'given up') return;
        this.#frozen = [];
        this.#flushesDone += 1;
        this.#compactions.hurry();
        onDurable();
      },
    });
    this.#flush = flush;
    return flush;
  }

  /** Gives up the compaction under way, and writes nothing more until {@link restart}: the tree is about to be replaced. */
  suspend(): void {
    assert(this.#flush === undefined, 'None is written while one is installed');
    this.#isSuspended = true;
    this.#compactions.stop();
  }

  /** Forgets what is in memory and ends all iterators: the tree was replaced. */
  restart(): void {
    this.#isSuspended = false;
    this.#endRuns();
    this.#memtable = new MemoryEngine();
    this.#frozen = [];
    this.#horizon = this.#tree.state.horizon;
    this.#lastRevision = highestRevision(this.#tree.state);
    this.#lastSub = -1;
  }

  /** Ends all iterators, and gives up what is under way. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#flush?.abort();
    this.#compactions.stop();
    this.#endRuns();
  }

  #lookUp(table: PlacedTable, key: string, revision: number): Version | undefined {
    const { meta } = table;
    if (meta.revisionMin > revision || key < meta.first || key > meta.last) return undefined;
    return this.#tree.reader(meta).get(key, revision);
  }

  /** Runs over all places that may hold something wanted, newest place first. */
  #runs(range: KeyRange, isReverse: boolean, isWanted: (table: PlacedTable) => boolean): Run[] {
    const runs: Run[] = [];
    for (const memtable of [this.#memtable, ...this.#frozen]) {
      // What is put into an empty one from now on is too new to be seen.
      if (memtable.versions === 0) continue;
      runs.push(isReverse ? memtable.backward(range.end) : memtable.forward(range.start));
    }
    const runOf = (table: PlacedTable): Run => tableRun(this.#tree.reader(table.meta), range, isReverse);
    for (const [level, tables] of this.#tree.state.levels.entries()) {
      const wanted = withinBounds(level, tables, range).filter(isWanted);
      if (level === 0) for (const table of wanted) runs.push(runOf(table));
      else if (wanted.length > 0) runs.push(new LevelRun(isReverse ? wanted.toReversed() : wanted, runOf));
    }
    return runs;
  }

  #opened(run: Run, cut: RunCut): Run {
    assert(!this.#isClosed, 'The engine is closed');
    const epoch = this.#tree.hold();
    const opened = new OpenRun(run, cut, (ended) => {
      this.#open.delete(ended);
      this.#tree.release(epoch);
    });
    this.#open.add(opened);
    return opened;
  }

  #endRuns(): void {
    for (const run of this.#open) run.return();
  }

  #frozenBytes(): number {
    let bytes = 0;
    for (const memtable of this.#frozen) bytes += memtable.approximateBytes;
    return bytes;
  }
}

/**
 * How hard it presses that `value` has come from `none` towards `all`: 0 to 100, and 100 only when it is there. The square, so that
 * the first steps cost next to nothing, and the last ones are hard to take.
 */
function percentBetween(value: number, none: number, all: number): number {
  const part = Math.min(1, Math.max(0, (value - none) / (all - none)));
  return Math.floor(100 * part * part);
}

function highestRevision({ levels }: TreeState): number {
  let highest = 0;
  for (const { meta } of allTables(levels)) highest = Math.max(highest, meta.revisionMax);
  return highest;
}
