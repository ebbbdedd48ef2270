/**
 * The part of a checkpoint that is not versions: what was given to `begin`, in a file of its own. It is a snapshot without
 * versions (../snapshot-file.ts): lines that people can read, under a checksum.
 */
import { crc32 } from '../checksum.ts';
import { CorruptionError } from '../../lib/errors.ts';
import type { Checkpoint } from '../checkpoint.ts';
import type { File, FileSystem } from '../fs.ts';
import { SnapshotFile, type SnapshotFields, encodeSnapshot } from '../snapshot-file.ts';
import { LSM_REMEDY, statePath } from './file-names.ts';
import type { StateFile } from './tree-state.ts';

/** A state file on its way to disk, under its final name: an orphan until a manifest names it. */
export class StateFileWriter {
  readonly #file: File;
  readonly #chunks: IterableIterator<Uint8Array>;
  readonly #meta: SnapshotFields;
  readonly #number: number;
  #bytes = 0;
  #crc32 = 0;

  /** @param options.number must be free */
  constructor(options: {
    readonly fs: FileSystem;
    readonly directory: string;
    readonly number: number;
    readonly checkpoint: Checkpoint;
  }) {
    const { meta, state } = options.checkpoint;
    this.#meta = meta;
    this.#number = options.number;
    this.#chunks = encodeSnapshot(meta, state, { format: 2, stateLines: state.length });
    this.#file = options.fs.open(statePath(options.directory, options.number), 'create');
  }

  /** Writes about 64 KiB more. @returns what the manifest is to say, once the file is durable; its name is not */
  advance(): StateFile | undefined {
    const next = this.#chunks.next();
    if (next.done !== true) {
      this.#file.write(next.value, this.#bytes);
      this.#crc32 = crc32(next.value, 0, next.value.length, this.#crc32);
      this.#bytes += next.value.length;
      return undefined;
    }
    this.#file.sync();
    this.#file.close();
    const { index, term } = this.#meta;
    return { index, term, number: this.#number, bytes: this.#bytes, crc32: this.#crc32 };
  }

  /** Gives up. The file stays for {@link removeQuietly}. */
  abort(): void {
    this.#file.close();
  }
}

/** What is in a state file, wholly verified. Throws {@link CorruptionError} unless it is the one that `expected` describes. */
export function readStateFile(fs: FileSystem, directory: string, expected: StateFile): Checkpoint {
  const path = statePath(directory, expected.number);
  const { index, term } = expected;
  const file = fs.open(path, 'read');
  try {
    const snapshot = new SnapshotFile(file, {
      action: `Cannot open checkpoint "${path}"`,
      expected: { index, term },
    });
    while (!snapshot.check());
    if (snapshot.totalBytes !== expected.bytes || snapshot.crc32 !== expected.crc32)
      throw new CorruptionError(`Cannot open checkpoint "${path}": it is another one; ${LSM_REMEDY}`);
    return { meta: snapshot.meta, state: [...snapshot.lines()] };
  } finally {
    file.close();
  }
}
