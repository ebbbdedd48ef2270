/**
 * Checkpoints of the engine on disk. To take one is to flush; to send one is to send the files that are there; to install
 * one is to name other files. The node's log is the write-ahead log.
 *
 *   lsm/CURRENT, lsm/MANIFEST-000007     which files count (manifest.ts)
 *   lsm/000123.sst                       tables (table-writer.ts)
 *   lsm/000124.state                     what a checkpoint says beside the versions (state-file.ts)
 *   lsm/incoming-…                       a checkpoint that is arriving (arrival-files.ts)
 */
import { assert } from '../../lib/assert.ts';
import type { Checkpoint, CheckpointStore, CheckpointWriter, IncomingCheckpoint } from '../checkpoint.ts';
import { parentOf, removeQuietly } from '../files.ts';
import type { FileSystem } from '../fs.ts';
import { type SnapshotIdentity, isSameIdentity } from '../incoming-snapshot.ts';
import type { SnapshotFields } from '../snapshot-file.ts';
import { findArrivals } from './arrival-files.ts';
import { IncomingTables, discardArrival } from './incoming-tables.ts';
import { EMPTY_LEVELS, editLevels } from './levels.ts';
import { LsmEngine } from './lsm-engine.ts';
import { readStateFile } from './state-file.ts';
import { type Compactor, LSM_OPTIONS, type LsmOptions } from './table-format.ts';
import { TablesSource } from './tables-source.ts';
import { Tree } from './tree.ts';

/** Where a store lies, and how it works. */
export interface LsmStoreOptions {
  readonly fs: FileSystem;
  /** Made if it is not there. Holds nothing else. */
  readonly directory: string;
  /** Default {@link LSM_OPTIONS}. */
  readonly options?: LsmOptions;
  /** Does compactions elsewhere; without one they are done in slices by `work()`. */
  readonly compactor?: Compactor;
  /** Size of the edits at which the manifest is written anew. */
  readonly manifestEditBytesMax?: number;
}

export class LsmStore implements CheckpointStore {
  readonly engine: LsmEngine;
  readonly #tree: Tree;
  #newest: Checkpoint | undefined;
  readonly #incoming = new Set<IncomingTables>();

  /**
   * Opens a store, or begins one. Tables are opened when they are read, so that the size of the store does not matter.
   *
   * @throws CorruptionError, naming the file, for damage; StorageError for a later format, and when the disk refuses
   */
  constructor(options: LsmStoreOptions) {
    const { fs, directory, compactor, manifestEditBytesMax } = options;
    if (!fs.exists(directory)) {
      fs.makeDirectory(directory);
      fs.syncDirectory(parentOf(directory));
    }
    this.#tree = new Tree({
      fs,
      directory,
      options: options.options ?? LSM_OPTIONS,
      ...(manifestEditBytesMax !== undefined && { manifestEditBytesMax }),
    });
    try {
      const { checkpoint } = this.#tree.state;
      if (checkpoint !== undefined) this.#newest = readStateFile(fs, directory, checkpoint);
    } catch (error) {
      this.#tree.close();
      throw error;
    }
    this.engine = new LsmEngine(this.#tree, compactor);
  }

  get newest(): Checkpoint | undefined {
    return this.#newest;
  }

  get isDue(): boolean {
    return this.engine.isDue;
  }

  begin(meta: SnapshotFields, state: readonly string[]): CheckpointWriter {
    assert(meta.index > (this.#newest?.meta.index ?? -1), 'Checkpoints only go forward');
    assert(!('format' in meta || 'stateLines' in meta), 'The layout of a checkpoint is for the store to say');
    const checkpoint = { meta, state };
    return this.engine.beginFlush(checkpoint, () => {
      this.#newest = checkpoint;
    });
  }

  openSource(): TablesSource {
    assert(this.#newest !== undefined, 'There is a checkpoint to send');
    return new TablesSource(this.#tree);
  }

  receive(identity: SnapshotIdentity, others: readonly IncomingCheckpoint[]): IncomingCheckpoint {
    const tree = this.#tree;
    assert(
      others.every((other) => !isSameIdentity(other.identity, identity)),
      'A checkpoint arrives once at a time',
    );
    const kept = [identity, ...others.map((other) => other.identity)];
    for (const incoming of this.#incoming) {
      if (!others.includes(incoming)) this.#forget(incoming);
    }
    let resumed;
    for (const arrival of findArrivals(tree.fs, tree.directory, tree.state)) {
      if (!kept.some((one) => isSameIdentity(one, arrival.identity))) discardArrival(tree, arrival);
      else if (isSameIdentity(identity, arrival.identity)) resumed = arrival;
    }
    const incoming = new IncomingTables(tree, identity, resumed);
    this.#incoming.add(incoming);
    return incoming;
  }

  install(incoming: IncomingCheckpoint): Checkpoint {
    assert(incoming instanceof IncomingTables, 'What is installed was received here');
    assert(incoming.identity.index > (this.#newest?.meta.index ?? -1), 'Checkpoints only go forward');
    const { tables, stateFile, checkpoint, headerPath } = incoming.take();
    const levels = editLevels(EMPTY_LEVELS, { added: tables, removed: [] });
    if (typeof levels === 'string') assert(false, `A verified checkpoint has sound tables: ${levels}`);
    // Whatever else was written now would take the new files for what an edit that failed left behind.
    this.engine.suspend();
    this.#tree.replace({ levels, checkpoint: stateFile, horizon: 0 });
    this.engine.restart();
    this.#incoming.delete(incoming);
    this.#newest = checkpoint;
    removeQuietly(this.#tree.fs, headerPath);
    return checkpoint;
  }

  tidy(): void {
    this.#tree.tidy();
  }

  close(): void {
    this.engine.close();
    for (const incoming of this.#incoming) this.#forget(incoming);
    this.#tree.close();
  }

  #forget(incoming: IncomingTables): void {
    incoming.close();
    this.#incoming.delete(incoming);
  }
}
