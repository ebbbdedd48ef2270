/**
 * The newest checkpoint as a byte string for a peer (checkpoint-stream.ts), read from the files of the tree, which stay until
 * it is closed. Each file is compared with its checksum before any byte of it goes out, and each slice that has to be read
 * again with what was compared.
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

/** A larger file is not kept in memory while it is sent, but read again. Most tables have half of it. */
const HELD_BYTES_MAX = 16 * 2 ** 20;

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
  /** The file that was compared last, as it was then. */
  #held: { readonly part: Part; readonly bytes: Uint8Array } | undefined;
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
    this.#compare(part, file);
    const from = offset - part.start;
    if (this.#held?.part === part) return this.#held.bytes.slice(from, from + SNAPSHOT_SLICE_BYTES);
    const slice = Math.floor(from / SNAPSHOT_SLICE_BYTES);
    const bytes = readSlice(part, file, slice);
    const sum = crc32(bytes, 0, bytes.length, at(part.sums, slice));
    if (sum !== at(part.sums, slice + 1))
      throw corrupt(
        part,
        `the bytes from ${slice * SNAPSHOT_SLICE_BYTES} on have changed since they were compared`,
      );
    return bytes.subarray(from - slice * SNAPSHOT_SLICE_BYTES);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#open?.file.close();
    this.#held = undefined;
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

  /** Compares a whole file with its checksum, once. What was read stays in memory while it is sent, if it is not too much. */
  #compare(part: Part, file: File): void {
    const fileBytes = part.file.bytes;
    const slices = Math.ceil(fileBytes / SNAPSHOT_SLICE_BYTES);
    if (part.sums.length > slices) return;
    this.#held = undefined;
    const memory = fileBytes <= HELD_BYTES_MAX ? new Uint8Array(fileBytes) : undefined;
    const sums = [0];
    for (let slice = 0; slice < slices; slice++) {
      const into = memory?.subarray(slice * SNAPSHOT_SLICE_BYTES);
      const bytes = readSlice(part, file, slice, into);
      if (into !== undefined && bytes.buffer !== into.buffer) into.set(bytes);
      sums.push(crc32(bytes, 0, bytes.length, at(sums, slice)));
    }
    const sum = at(sums, slices);
    if (sum !== part.file.crc32)
      throw corrupt(part, `checksum of the file is ${hex32(sum)}, expected ${hex32(part.file.crc32)}`);
    for (const next of sums.slice(1)) part.sums.push(next);
    if (memory !== undefined) this.#held = { part, bytes: memory };
  }
}

function readSlice(part: Part, file: File, slice: number, into?: Uint8Array): Uint8Array {
  const start = slice * SNAPSHOT_SLICE_BYTES;
  const length = Math.min(SNAPSHOT_SLICE_BYTES, part.file.bytes - start);
  const bytes = file.read(start, length, into?.subarray(0, length));
  if (bytes.length < length) throw corrupt(part, `it ends at ${start + bytes.length}`);
  return bytes;
}

function corrupt(part: Part, why: string): CorruptionError {
  return new CorruptionError(`Cannot send "${part.path}": ${why}; ${LSM_REMEDY}`);
}
