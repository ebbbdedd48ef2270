/**
 * A checkpoint on its way to disk: the memtable becomes a table of level 0, the state a file of its own, and one edit of
 * the manifest names both. Before that edit nothing has happened; after it everything has.
 */
import { assert } from '../../lib/assert.ts';
import type { Checkpoint, CheckpointWriter } from '../checkpoint.ts';
import { removeQuietly } from '../files.ts';
import type { MemoryEngine } from '../memory-engine.ts';
import { statePath } from './file-names.ts';
import { mergeRuns, withinHorizon } from './merge.ts';
import { StateFileWriter } from './state-file.ts';
import { type Run, type TableMeta, tablePath } from './table-format.ts';
import { TableFileWriter } from './table-writer.ts';
import type { Tree } from './tree.ts';

/** Versions written in one slice: about a millisecond. */
const VERSIONS_A_SLICE = 512;
const BYTES_A_SLICE = 256 * 1024;

/** What is flushed. */
export interface FlushOptions {
  readonly tree: Tree;
  /** Frozen: nobody puts anything into them any more. Newest first. */
  readonly memtables: readonly MemoryEngine[];
  /** History before it is not worth writing. */
  readonly horizon: number;
  readonly checkpoint: Checkpoint;
  /** Is called once, when it is durable, given up, or failed. */
  readonly onEnd: (outcome: 'durable' | 'given up') => void;
}

export class Flush implements CheckpointWriter {
  readonly #options: FlushOptions;
  readonly #run: Run;
  readonly #tableNumber: number;
  readonly #stateNumber: number;
  #table: TableFileWriter | undefined;
  #stateFile: StateFileWriter | undefined;
  #meta: TableMeta | undefined;
  #isRead = false;
  #isCommitting = false;
  #outcome: 'durable' | 'given up' | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(options: FlushOptions) {
    this.#options = options;
    const { tree, memtables, horizon } = options;
    this.#tableNumber = tree.reserve(2);
    this.#stateNumber = this.#tableNumber + 1;
    // Tombstones stay: the tables have what they hide.
    this.#run = withinHorizon(mergeRuns(memtables.map((memtable) => memtable.forward())), horizon, false);
  }

  advance(): boolean {
    if (this.#failure !== undefined) throw this.#failure.error;
    assert(this.#outcome !== 'given up', 'A checkpoint that was given up is left alone');
    if (this.#outcome === 'durable') return true;
    try {
      if (!this.#isRead) this.#writeVersions();
      else return this.#writeState();
    } catch (error) {
      this.#failure = { error };
      this.#giveUp();
      throw error;
    }
    return false;
  }

  /** Does all that is left now. What is thrown comes out of the next {@link advance}. */
  finish(): void {
    try {
      while (!this.advance());
    } catch (error) {
      assert(this.#failure?.error === error, 'A flush remembers why it failed');
    }
  }

  abort(): void {
    if (this.#outcome === undefined) this.#giveUp();
  }

  #writeVersions(): void {
    const { fs, directory, options } = this.#options.tree;
    const { blockBytes, bloomBitsPerKey } = options;
    const sliceEnd = (this.#table?.bytes ?? 0) + BYTES_A_SLICE;
    for (let count = 0; count < VERSIONS_A_SLICE; count++) {
      const next = this.#run.next();
      if (next.done === true) {
        this.#isRead = true;
        this.#meta = this.#table?.finish();
        return;
      }
      this.#table ??= new TableFileWriter({
        fs,
        directory,
        number: this.#tableNumber,
        blockBytes,
        bloomBitsPerKey,
      });
      this.#table.add(next.value);
      if (this.#table.bytes >= sliceEnd) return;
    }
  }

  #writeState(): boolean {
    const { tree, checkpoint, horizon } = this.#options;
    const { fs, directory } = tree;
    this.#stateFile ??= new StateFileWriter({ fs, directory, number: this.#stateNumber, checkpoint });
    const stateFile = this.#stateFile.advance();
    if (stateFile === undefined) return false;
    fs.syncDirectory(directory);
    const meta = this.#meta;
    const added = meta === undefined ? [] : [{ level: 0, meta, horizon: 0 }];
    this.#isCommitting = true;
    tree.commit({
      added,
      removed: [],
      checkpoint: stateFile,
      horizon: Math.max(horizon, tree.state.horizon),
    });
    this.#end('durable');
    return true;
  }

  #giveUp(): void {
    this.#run.return?.();
    // Once an edit was tried, the tree decides about the files.
    if (!this.#isCommitting) {
      const { fs, directory } = this.#options.tree;
      this.#table?.abort();
      this.#stateFile?.abort();
      if (this.#meta !== undefined) removeQuietly(fs, tablePath(directory, this.#tableNumber));
      if (this.#stateFile !== undefined) removeQuietly(fs, statePath(directory, this.#stateNumber));
    }
    this.#end('given up');
  }

  #end(outcome: 'durable' | 'given up'): void {
    this.#outcome = outcome;
    this.#options.onEnd(outcome);
  }
}
