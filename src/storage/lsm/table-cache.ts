/**
 * The tables of a tree, each open at most once, and the life of their files: who holds a table keeps its file, and the last
 * one to let go of a table that is obsolete removes it. How many files are open at once is bounded apart from that: a table
 * that is held may have its file closed, and opens it again when it is read.
 */
import { assert, defined } from '../../lib/assert.ts';
import type { FileSystem } from '../fs.ts';
import type { BlockCache } from './block-cache.ts';
import type { TableMeta, TableReader } from './table-format.ts';
import { tablePath } from './table-format.ts';
import { Table } from './table.ts';

/** Where the tables lie, and what they share. */
export interface TableCacheOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly blocks: BlockCache;
  /** Files open at a time, at least 1. */
  readonly openTablesMax: number;
}

interface Holding {
  readonly table: Table;
  references: number;
  isObsolete: boolean;
}

/** Gives out tables. One a tree; its owner closes it. */
export class TableCache {
  readonly #options: TableCacheOptions;
  readonly #holdings = new Map<number, Holding>();
  /** Tables whose files are open. Who comes first goes first, unless it was used meanwhile. */
  readonly #open = new Set<Table>();

  constructor(options: TableCacheOptions) {
    assert(options.openTablesMax >= 1, 'At least one table can be open');
    this.#options = options;
  }

  /** Files that are open. */
  get openCount(): number {
    return this.#open.size;
  }

  /** The table, held once more: {@link release} ends that. Nothing is read yet. Not for one that was given up. */
  acquire(meta: TableMeta): TableReader {
    const holding = this.#holdings.get(meta.number) ?? this.#add(meta);
    assert(!holding.isObsolete || holding.references > 0, 'The table is gone');
    holding.references++;
    return holding.table;
  }

  /** Ends one {@link acquire}. Throws {@link StorageError} when a file that nobody needs cannot be removed. */
  release(number: number): void {
    const holding = defined(this.#holdings.get(number), 'table to release');
    assert(holding.references > 0, 'A table is released once for each time that it was acquired');
    holding.references--;
    if (holding.references === 0 && holding.isObsolete) this.#remove(number, holding);
  }

  /** The tree has no more use for a table: its file goes now, or when the last holder releases it. Throws like {@link release}. */
  retire(number: number): void {
    const holding = this.#holdings.get(number);
    if (holding === undefined) {
      this.#options.fs.remove(tablePath(this.#options.directory, number));
      return;
    }
    assert(!holding.isObsolete, 'A table is given up once');
    holding.isObsolete = true;
    if (holding.references === 0) this.#remove(number, holding);
  }

  /** Closes all files and removes none. Whoever holds a table cannot use it any more. */
  close(): void {
    for (const { table } of this.#holdings.values()) table.close();
    this.#holdings.clear();
    this.#open.clear();
  }

  #add(meta: TableMeta): Holding {
    const { fs, directory, blocks } = this.#options;
    const table: Table = new Table({
      fs,
      directory,
      meta,
      cache: blocks,
      onOpen: () => {
        this.#makeRoom();
        this.#open.add(table);
      },
    });
    const holding: Holding = { table, references: 0, isObsolete: false };
    this.#holdings.set(meta.number, holding);
    return holding;
  }

  #remove(number: number, { table }: Holding): void {
    this.#holdings.delete(number);
    this.#open.delete(table);
    table.close();
    this.#options.fs.remove(tablePath(this.#options.directory, number));
  }

  /** Closes files until one more may be opened. */
  #makeRoom(): void {
    // Each is passed over once at most, so the second round finds one.
    for (const table of this.#open) {
      if (this.#open.size < this.#options.openTablesMax) return;
      this.#open.delete(table);
      if (table.takeUse()) this.#open.add(table);
      else table.rest();
    }
  }
}
