/**
 * The newest checkpoint as a byte string for a peer (checkpoint-stream.ts), read from the files of the tree, which stay until
 * it is closed. Each file is compared with its checksum before any byte of it goes out, and each slice with what was compared.
 */
import { assert, at } from '../../lib/assert.ts';
import { CorruptionError } from '../../lib/errors.ts';
import type { SnapshotSource } from '../checkpoint.ts';
import type { File } from '../fs.ts';
import { hex32 } from '../record.ts';
import { SNAPSHOT_SLICE_BYTES } from '../snapshot-file.ts';
import { crc32 } from '../checksum.ts';
import { type StreamFile, encodeHeader, filesOf, streamChecksum } from './checkpoint-stream.ts';
import { LSM_REMEDY, statePath } from './file-names.ts';
import { tablePath } from './table-format.ts';
import type { Tree } from './tree.ts';

interface Part {
  readonly path: string;
  readonly file: StreamFile;
  /** Where its bytes begin in the whole. */
  readonly start: number;
  /** At k: the checksum of its first k slices. As far as it was compared. */
  readonly sums: number[];
}

export class TablesSource implements SnapshotSource {
  readonly totalBytes: number;
  readonly crc32: number;
  readonly #tree: Tree;
  readonly #epoch: number;
  readonly #header: Uint8Array;
  readonly #parts: readonly Part[];
  /** The part that was read last, open. */
  #open: { readonly part: Part; readonly file: File } | undefined;
  #isClosed = false;

  /** @param tree has a checkpoint */
  constructor(tree: Tree) {
    const { state, directory } = tree;
    const { header, bytes } = encodeHeader(state);
    const files = filesOf(header);
    const numbers = header.tables.map(({ meta }) => meta.number);
    const paths = [
      statePath(directory, state.checkpoint?.number ?? 0),
      ...numbers.map((number) => tablePath(directory, number)),
    ];
    let start = bytes.length;
    this.#parts = files.map((file, i) => {
      const part: Part = { path: at(paths, i), file, start, sums: [0] };
      start += file.bytes;
      return part;
    });
    this.totalBytes = start;
    this.crc32 = streamChecksum(bytes, files);
    this.#header = bytes;
    this.#tree = tree;
    this.#epoch = tree.hold();
  }

  check(): boolean {
    // All that is said before the first byte follows from the manifest.
    return true;
  }

  read(offset: number): Uint8Array {
    assert(!this.#isClosed, 'The source is closed');
    assert(offset >= 0 && offset < this.totalBytes, 'Offset behind the end of a checkpoint');
    const header = this.#header;
    if (offset < header.length) return header.slice(offset, offset + SNAPSHOT_SLICE_BYTES);
    const part = this.#partAt(offset);
    const file = this.#fileOf(part);
    const slice = Math.floor((offset - part.start) / SNAPSHOT_SLICE_BYTES);
    this.#compare(part, file);
    const bytes = readSlice(part, file, slice);
    const sum = crc32(bytes, 0, bytes.length, at(part.sums, slice));
    if (sum !== at(part.sums, slice + 1))
      throw corrupt(
        part,
        `the bytes from ${slice * SNAPSHOT_SLICE_BYTES} on have changed since they were compared`,
      );
    return bytes.subarray(offset - part.start - slice * SNAPSHOT_SLICE_BYTES);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#open?.file.close();
    this.#tree.release(this.#epoch);
  }

  #partAt(offset: number): Part {
    let low = 0;
    let high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (at(this.#parts, middle).start <= offset) low = middle;
      else high = middle - 1;
    }
    return at(this.#parts, low);
  }

  #fileOf(part: Part): File {
    if (this.#open?.part === part) return this.#open.file;
    this.#open?.file.close();
    this.#open = undefined;
    const file = this.#tree.fs.open(part.path, 'read');
    this.#open = { part, file };
    return file;
  }

  /** Compares a whole file with its checksum, once. */
  #compare(part: Part, file: File): void {
    const slices = Math.ceil(part.file.bytes / SNAPSHOT_SLICE_BYTES);
    if (part.sums.length > slices) return;
    const sums = [0];
    for (let slice = 0; slice < slices; slice++) {
      const bytes = readSlice(part, file, slice);
      sums.push(crc32(bytes, 0, bytes.length, at(sums, slice)));
    }
    const sum = at(sums, slices);
    if (sum !== part.file.crc32)
      throw corrupt(part, `checksum of the file is ${hex32(sum)}, expected ${hex32(part.file.crc32)}`);
    for (const next of sums.slice(1)) part.sums.push(next);
  }
}

function readSlice(part: Part, file: File, slice: number): Uint8Array {
  const start = slice * SNAPSHOT_SLICE_BYTES;
  const length = Math.min(SNAPSHOT_SLICE_BYTES, part.file.bytes - start);
  const bytes = file.read(start, length);
  if (bytes.length < length) throw corrupt(part, `it ends at ${start + bytes.length}`);
  return bytes;
}

function corrupt(part: Part, why: string): CorruptionError {
  return new CorruptionError(`Cannot send "${part.path}": ${why}; ${LSM_REMEDY}`);
}
