/**
 * The snapshots of a node, as readable JSON lines (snapshot-file.ts has the layout), one file each:
 *
 *   snapshots/snapshot-00000000000000001234.jsonl
 *
 * A file gets its name only when it is whole and durable. The log below a snapshot may be gone, so a damaged newest
 * snapshot is an error and never a reason to use an older one. What is arriving from a peer lies beside them under
 * another name (incoming-snapshot.ts).
 */
import { assert } from '../lib/assert.ts';
import { StorageError, onlyOnce } from '../lib/errors.ts';
import { FileReplacement, TEMPORARY_SUFFIX } from './files.ts';
import type { FileSystem } from './fs.ts';
import {
  IncomingSnapshot,
  type SnapshotIdentity,
  incomingIndexOf,
  incomingName,
} from './incoming-snapshot.ts';
import { SnapshotFile, type SnapshotFields, type SnapshotLayout, encodeSnapshot } from './snapshot-file.ts';

/** A verified snapshot. Further fields of `meta` come from the file: readers check their types. */
export interface Snapshot {
  readonly meta: SnapshotFields;
  readonly lines: readonly string[];
}

/** Older snapshots are kept up to this number in all, for people who look for what went wrong. */
export const SNAPSHOTS_KEPT = 2;

/** A snapshot on its way to disk. */
export interface SnapshotWriter {
  /** Writes about 64 KiB more. @returns true once the snapshot is whole and durable; then it must not be called again */
  advance(): boolean;
  /** Gives up: what was there before stays. */
  abort(): void;
}

export class SnapshotStore {
  readonly #fs: FileSystem;
  readonly #directory: string;

  /** Opens the store in an existing directory: removes leftovers and makes the names there durable. */
  constructor(options: { readonly fs: FileSystem; readonly directory: string }) {
    this.#fs = options.fs;
    this.#directory = options.directory;
    for (const name of this.#fs.list(this.#directory)) {
      if (name.endsWith(TEMPORARY_SUFFIX)) this.#fs.remove(`${this.#directory}/${name}`);
    }
    this.#removeObsoleteArrivals();
    this.#fs.syncDirectory(this.#directory);
  }

  /** Indexes of the snapshots on disk, ascending. Not verified. */
  indexes(): readonly number[] {
    const indexes: number[] = [];
    for (const name of this.#fs.list(this.#directory)) {
      if (name.startsWith('.') || name.endsWith(TEMPORARY_SUFFIX)) continue;
      if (incomingIndexOf(name) !== undefined) continue;
      const index = indexOf(name);
      if (index === undefined) {
        throw new StorageError(
          `Cannot open snapshots "${this.#directory}": "${name}" does not belong there; move it away`,
        );
      }
      indexes.push(index);
    }
    return indexes; // names are padded, so their order is that of the indexes
  }

  /**
   * Writes a snapshot, then removes all but the newest {@link SNAPSHOTS_KEPT}. Durable on return: only then may the log
   * below it go. A failure before that leaves the older snapshots as they were.
   *
   * @param lines without line breaks, each well-formed; taken one by one
   */
  save(meta: SnapshotFields, lines: Iterable<string>): void {
    const writer = this.begin(meta, lines);
    while (!writer.advance());
  }

  /**
   * {@link save} in steps. At most one may be under way. `lines` must stay true to `meta.index` while it is; `undefined`
   * in place of a line ends a step early.
   */
  begin(meta: SnapshotFields, lines: Iterable<string | undefined>, layout?: SnapshotLayout): SnapshotWriter {
    assert(Number.isSafeInteger(meta.index) && meta.index >= 0, 'Snapshot index out of range');
    const file = new FileReplacement(this.#fs, this.#directory, nameOf(meta.index));
    const chunks = encodeSnapshot(meta, lines, layout);
    return {
      advance: () => {
        const next = chunks.next();
        if (next.done !== true) {
          if (next.value.length > 0) file.write(next.value);
          return false;
        }
        file.commit();
        this.#removeOld();
        return true;
      },
      abort: () => file.abort(),
    };
  }

  /**
   * The newest snapshot, wholly verified; undefined when there is none.
   *
   * Throws {@link CorruptionError}, naming the file, when it is damaged.
   */
  newest(): Snapshot | undefined {
    const index = this.indexes().at(-1);
    const file = index === undefined ? undefined : this.open(index);
    if (file === undefined) return undefined;
    try {
      while (!file.check());
      return { meta: file.meta, lines: [...file.lines()] };
    } finally {
      file.close();
    }
  }

  /** Opens the file of one snapshot, not yet verified; undefined when there is none. The caller closes it. */
  open(index: number): SnapshotFile | undefined {
    const path = `${this.#directory}/${nameOf(index)}`;
    if (!this.#fs.exists(path)) return undefined;
    const file = this.#fs.open(path, 'read');
    try {
      return new SnapshotFile(file, { action: `Cannot open snapshot "${path}"`, expected: { index } });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /**
   * Begins to receive a snapshot from a peer, or goes on where an earlier attempt ended. Other attempts are given up.
   *
   * @param others what is being received besides; not the same snapshot
   */
  receive(
    identity: SnapshotIdentity,
    others: readonly { readonly identity: SnapshotIdentity }[],
  ): IncomingSnapshot {
    const kept = new Set([identity, ...others.map((other) => other.identity)].map(incomingName));
    assert(kept.size === others.length + 1, 'A snapshot arrives once at a time');
    this.#removeArrivals((_index, name) => !kept.has(name));
    return new IncomingSnapshot(this.#fs, this.#directory, identity);
  }

  /**
   * Takes over a snapshot that has arrived whole. Durable on return; a failure before that leaves the older ones as they
   * were. May be called again when there was no room (`StorageError.isFull`).
   *
   * @returns the verified file, to be read and closed by the caller
   */
  install(incoming: IncomingSnapshot): SnapshotFile {
    assert(incoming.verify().kind === 'whole', 'Only a whole snapshot is installed');
    // An attempt that failed may have come further.
    if (this.#fs.exists(incoming.path))
      this.#fs.rename(incoming.path, `${this.#directory}/${nameOf(incoming.identity.index)}`);
    // A second sync says nothing of what the first one failed to write.
    onlyOnce(() => this.#fs.syncDirectory(this.#directory));
    this.#removeOld();
    return incoming.take();
  }

  #removeOld(): void {
    for (const index of this.indexes().slice(0, -SNAPSHOTS_KEPT)) {
      this.#fs.remove(`${this.#directory}/${nameOf(index)}`);
    }
    this.#removeObsoleteArrivals();
  }

  /** What would arrive there is older than what is there. */
  #removeObsoleteArrivals(): void {
    const newest = this.indexes().at(-1) ?? 0;
    this.#removeArrivals((index) => index <= newest);
  }

  #removeArrivals(isObsolete: (index: number, name: string) => boolean): void {
    for (const name of this.#fs.list(this.#directory)) {
      const index = incomingIndexOf(name);
      if (index !== undefined && isObsolete(index, name)) this.#fs.remove(`${this.#directory}/${name}`);
    }
  }
}

function nameOf(index: number): string {
  return `snapshot-${String(index).padStart(20, '0')}.jsonl`;
}

function indexOf(name: string): number | undefined {
  const digits = /^snapshot-(\d{20})\.jsonl$/.exec(name)?.[1];
  const index = Number(digits);
  return digits !== undefined && Number.isSafeInteger(index) ? index : undefined;
}
