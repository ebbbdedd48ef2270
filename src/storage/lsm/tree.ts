/**
 * The tables of a tree and the manifest that names them, changed together: an edit is durable first, then it is true in
 * memory, and files that it leaves behind go when their readers are done. On opening, every file that nothing names goes.
 */
import { defined } from '../../lib/assert.ts';
import { CorruptionError, StorageError } from '../../lib/errors.ts';
import { TEMPORARY_SUFFIX, removeQuietly } from '../files.ts';
import type { FileSystem } from '../fs.ts';
import { type Arrival, findArrivals } from './arrival-files.ts';
import { BlockCache } from './block-cache.ts';
import { LSM_REMEDY, isManifest, numberedFile, statePath } from './file-names.ts';
import { allTables } from './levels.ts';
import { CURRENT, Manifest } from './manifest.ts';
import { Retention, type Unused } from './retention.ts';
import { TableCache } from './table-cache.ts';
import { type LsmOptions, type TableMeta, type TableReader, tablePath } from './table-format.ts';
import type { TreeEdit, TreeState } from './tree-state.ts';

/** Where a tree lies. */
export interface TreePlace {
  readonly fs: FileSystem;
  /** Exists, and holds nothing else. */
  readonly directory: string;
  readonly options: LsmOptions;
  /** Size of the edits at which the manifest is written anew; default `MANIFEST_EDIT_BYTES_MAX`. */
  readonly manifestEditBytesMax?: number;
}

export class Tree {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly options: LsmOptions;
  readonly blocks: BlockCache;
  readonly #manifest: Manifest;
  readonly #tables: TableCache;
  readonly #readers = new Map<number, TableReader>();
  readonly #retention = new Retention();
  /** File of the tree → the epoch in which it became part of it. */
  readonly #since = new Map<number, number>();
  #nextNumber: number;
  /** Paths of files that nothing named when the tree was opened, and that are still there. */
  #orphans: readonly string[] = [];
  /** Files of edits that failed: a manifest on disk may name them, until the next edit succeeds. */
  #doubtful: string[] = [];
  #isClosed = false;

  /**
   * Opens a tree: reads the manifest. No table is opened before it is read. Orphans stay until {@link tidy}.
   *
   * @throws CorruptionError for a damaged manifest, and for a file that is missing; StorageError for a later format
   */
  constructor(place: TreePlace) {
    const { fs, directory, options, manifestEditBytesMax } = place;
    this.fs = fs;
    this.directory = directory;
    this.options = options;
    this.blocks = new BlockCache(options.cacheBytesMax);
    const { openTablesMax } = options;
    this.#tables = new TableCache({ fs, directory, blocks: this.blocks, openTablesMax });
    this.#manifest = new Manifest({
      fs,
      directory,
      ...(manifestEditBytesMax !== undefined && { editBytesMax: manifestEditBytesMax }),
    });
    try {
      this.#nextNumber = this.#look();
    } catch (error) {
      this.#manifest.close();
      throw error;
    }
    this.#open(this.state);
  }

  /** What is durable. */
  get state(): TreeState {
    return this.#manifest.state;
  }

  /** Files that are not part of the tree any more, and wait for readers. */
  get waitingFiles(): number {
    return this.#retention.waiting;
  }

  /** A table of the present arrangement, or of one that is held. */
  reader(meta: TableMeta): TableReader {
    return defined(this.#readers.get(meta.number), 'table that is read');
  }

  /**
   * Removes orphans, at the latest before anything is written. A manifest that was cut exactly behind a record looks whole, and
   * then they are what it no longer names: whoever knows how far the tree must go says when it is time.
   *
   * @throws StorageError when one cannot be removed
   */
  tidy(): void {
    if (this.#orphans.length === 0) return;
    // Some may have gone in an attempt that failed.
    for (const path of this.#orphans) if (this.fs.exists(path)) this.fs.remove(path);
    this.fs.syncDirectory(this.directory);
    this.#orphans = [];
  }

  /**
   * Takes `count` numbers for new files, whose names are free then.
   *
   * @returns the first; the others follow it
   * @throws StorageError when an orphan cannot be removed
   */
  reserve(count: number): number {
    this.tidy();
    const first = this.#nextNumber;
    this.#nextNumber += count;
    return first;
  }

  /**
   * Makes an edit durable, then true. The files that it adds are durable already, names included.
   *
   * @throws StorageError when nobody knows whether it took place; until the next edit all files of both sides stay
   */
  commit(edit: Omit<TreeEdit, 'nextNumber'>): void {
    this.tidy();
    const before = this.state;
    this.#attempt(edit, () => this.#manifest.append({ ...edit, nextNumber: this.#nextNumber }));
    this.#follow(before);
  }

  /** Puts another tree in place of all that is here. Otherwise like {@link commit}. */
  replace(state: Omit<TreeState, 'nextNumber'>): void {
    this.tidy();
    const before = this.state;
    const { checkpoint } = state;
    const edit = { added: [...allTables(state.levels)], ...(checkpoint !== undefined && { checkpoint }) };
    this.#attempt(edit, () => this.#manifest.replace({ ...state, nextNumber: this.#nextNumber }));
    this.#follow(before);
  }

  /** Keeps all files of the present arrangement. @returns what {@link release} takes */
  hold(): number {
    return this.#retention.hold();
  }

  /** Ends one {@link hold}. */
  release(epoch: number): void {
    this.#retention.release(epoch);
    // Whoever opens a closed tree next removes what is left.
    if (!this.#isClosed) this.#retention.sweep();
  }

  /** Closes all files. */
  close(): void {
    this.#isClosed = true;
    this.#tables.close();
    this.#readers.clear();
    this.#manifest.close();
  }

  #attempt(edit: Pick<TreeEdit, 'added' | 'checkpoint'>, write: () => void): void {
    try {
      write();
    } catch (error) {
      for (const { meta } of edit.added) this.#doubtful.push(tablePath(this.directory, meta.number));
      if (edit.checkpoint !== undefined)
        this.#doubtful.push(statePath(this.directory, edit.checkpoint.number));
      throw error;
    }
  }

  /** After the state has changed. */
  #follow(before: TreeState): void {
    const after = this.state;
    const live = pathsOf(this.directory, after);
    for (const path of this.#doubtful) if (!live.has(path)) removeQuietly(this.fs, path);
    this.#doubtful = [];
    const unused: Unused[] = [];
    for (const { number } of allMetas(before)) {
      if (live.has(tablePath(this.directory, number))) continue;
      unused.push({ since: this.#takeSince(number), remove: () => this.#removeTable(number) });
    }
    const old = before.checkpoint?.number;
    if (old !== undefined && old !== after.checkpoint?.number) {
      const remove = (): void => removeQuietly(this.fs, statePath(this.directory, old));
      unused.push({ since: this.#takeSince(old), remove });
    }
    this.#retention.retire(unused);
    this.#open(after);
    this.#retention.sweep();
  }

  #open(state: TreeState): void {
    const { epoch } = this.#retention;
    for (const meta of allMetas(state)) {
      if (this.#readers.has(meta.number)) continue;
      this.#readers.set(meta.number, this.#tables.acquire(meta));
      this.#since.set(meta.number, epoch);
    }
    const { checkpoint } = state;
    if (checkpoint !== undefined && !this.#since.has(checkpoint.number))
      this.#since.set(checkpoint.number, epoch);
  }

  /** Since which epoch a file was part of the tree, which it is no longer. */
  #takeSince(number: number): number {
    const since = defined(this.#since.get(number), 'epoch of a file');
    this.#since.delete(number);
    return since;
  }

  #removeTable(number: number): void {
    this.#readers.delete(number);
    try {
      this.#tables.retire(number);
      this.#tables.release(number);
    } catch (error) {
      // It is closed, and whoever opens the tree next removes it.
      if (!(error instanceof StorageError)) throw error;
    }
  }

  /** Sees what is there, and what of it nothing names. @returns the lowest number that no file has or will have */
  #look(): number {
    const { fs, directory, state } = this;
    const names = fs.list(directory);
    const live = pathsOf(directory, state);
    const present = new Set(names.map((name) => `${directory}/${name}`));
    for (const path of live) {
      if (!present.has(path))
        throw new CorruptionError(`Cannot open "${path}": it is missing; ${LSM_REMEDY}`);
    }
    const arrivals = findArrivals(fs, directory, state);
    const orphans = names.filter((name) => !this.#isNamed(name, live, arrivals));
    this.#orphans = orphans.map((name) => `${directory}/${name}`);
    return Math.max(state.nextNumber, ...arrivals.map(({ nextNumber }) => nextNumber));
  }

  #isNamed(name: string, live: ReadonlySet<string>, arrivals: readonly Arrival[]): boolean {
    if (name.startsWith('.') || name === CURRENT || name === this.#manifest.name) return true;
    if (live.has(`${this.directory}/${name}`)) return true;
    const number = numberedFile(name);
    for (const arrival of arrivals) {
      if (name === arrival.name) return true;
      if (number !== undefined && number >= arrival.firstNumber && number < arrival.nextNumber) return true;
    }
    const isOurs =
      number !== undefined ||
      isManifest(name) ||
      name.startsWith('incoming-') ||
      name.endsWith(TEMPORARY_SUFFIX);
    if (isOurs) return false;
    throw new StorageError(
      `Cannot open tree "${this.directory}": "${name}" does not belong there; move it away`,
    );
  }
}

function* allMetas(state: TreeState): IterableIterator<TableMeta> {
  for (const { meta } of allTables(state.levels)) yield meta;
}

function pathsOf(directory: string, state: TreeState): ReadonlySet<string> {
  const paths = new Set<string>();
  for (const { number } of allMetas(state)) paths.add(tablePath(directory, number));
  if (state.checkpoint !== undefined) paths.add(statePath(directory, state.checkpoint.number));
  return paths;
}
