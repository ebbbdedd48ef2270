/**
 * A checkpoint as one byte string, the way it travels to a peer: a header, then files end to end.
 *
 *   offset  size  field
 *   0       8     "OXIDECKP"
 *   8       4     format, u32 little-endian (so are all)
 *   12      4     length n of the JSON
 *   16      4     CRC-32 of the 16 bytes before and of the JSON
 *   20      n     JSON: position, size and checksum of the state file, tables with their levels
 *   20+n          the state file, then the tables in the order of the header
 *
 * Every checksum of the whole follows from the header alone. The numbers of files mean nothing to the receiver.
 */
import { laterFormat } from '../later-format.ts';
import { assert } from '../../lib/assert.ts';
import { concatBytes, equalBytes, fromLatin1, textOf, utf8 } from '../../lib/bytes.ts';
import { crc32Combine } from '../../lib/crc32.ts';
import { crc32 } from '../checksum.ts';
import { StorageError } from '../../lib/errors.ts';
import type { SnapshotIdentity } from '../incoming-snapshot.ts';
import { hex32 } from '../record.ts';
import type { Verdict } from '../snapshot-file.ts';
import { EMPTY_LEVELS, type Levels, type PlacedTable, allTables, editLevels } from './levels.ts';
import { type TreeState, fieldsOf, isCount, isUint32, listOf, parseJson, parsePlaced } from './tree-state.ts';

/** The format that this program sends, and the latest that it takes. It counts up with the format of tables, too. */
export const STREAM_FORMAT = 1;

/** The fixed part of the header. */
export const PREFIX_BYTES = 20;

/** A header above this size is refused: it would describe some hundred thousand tables. */
export const STREAM_HEADER_BYTES_MAX: number = 64 * 1024 * 1024;

const MAGIC: Uint8Array = fromLatin1('OXIDECKP');

/** One file of a stream. */
export interface StreamFile {
  readonly bytes: number;
  readonly crc32: number;
}

/** What a header says. */
export interface StreamHeader {
  readonly index: number;
  readonly term: number;
  readonly state: StreamFile;
  /** Numbers are those of the sender, and unique. */
  readonly tables: readonly PlacedTable[];
}

/** Why a header is not to be used. */
export type HeaderRefusal = Extract<Verdict, { readonly kind: 'damaged' | 'newer' }>;

/** The header of a tree that has a checkpoint, and the bytes that it is sent as. */
export function encodeHeader(tree: TreeState): { readonly header: StreamHeader; readonly bytes: Uint8Array } {
  const { checkpoint, levels } = tree;
  assert(checkpoint !== undefined, 'Only a checkpoint is sent');
  const { index, term } = checkpoint;
  const state = { bytes: checkpoint.bytes, crc32: checkpoint.crc32 };
  const header = { index, term, state, tables: [...allTables(levels)] };
  const json = utf8(JSON.stringify(header));
  if (json.length > STREAM_HEADER_BYTES_MAX)
    throw new StorageError(`Cannot send a checkpoint: its header has ${json.length} bytes, over the limit`);
  const prefix = new Uint8Array(PREFIX_BYTES);
  const view = new DataView(prefix.buffer);
  prefix.set(MAGIC);
  view.setUint32(8, STREAM_FORMAT, true);
  view.setUint32(12, json.length, true);
  view.setUint32(16, headerChecksum(prefix, json), true);
  return { header, bytes: concatBytes([prefix, json]) };
}

/** The files of a stream, in order. */
export function filesOf(header: StreamHeader): readonly StreamFile[] {
  return [header.state, ...header.tables.map(({ meta }) => meta)];
}

/** CRC-32 of a whole stream. */
export function streamChecksum(headerBytes: Uint8Array, files: readonly StreamFile[]): number {
  let sum = crc32(headerBytes);
  for (const file of files) sum = crc32Combine(sum, file.crc32, file.bytes);
  return sum;
}

/** Length of the JSON that the fixed part promises: 0 for one that is not the beginning of a checkpoint. */
export function headerJsonBytes(prefix: Uint8Array, totalBytes: number): number {
  assert(prefix.length === PREFIX_BYTES, 'The fixed part has arrived');
  const bytes = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getUint32(12, true);
  return bytes <= Math.min(STREAM_HEADER_BYTES_MAX, totalBytes - PREFIX_BYTES) ? bytes : 0;
}

/** The header in `bytes`, which is all of it, or the reason why it does not describe the checkpoint `identity`. */
export function decodeHeader(
  bytes: Uint8Array,
  identity: SnapshotIdentity,
): { readonly kind: 'header'; readonly header: StreamHeader } | HeaderRefusal {
  // Checksums first: nothing that a damaged header says of itself is worth telling.
  const prefix = bytes.subarray(0, PREFIX_BYTES);
  if (!equalBytes(prefix.subarray(0, MAGIC.length), MAGIC)) return damaged('it does not begin as tables do');
  const json = bytes.subarray(PREFIX_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, PREFIX_BYTES);
  const expected = view.getUint32(16, true);
  const actual = headerChecksum(prefix, json);
  if (actual !== expected) return damaged(`header checksum is ${hex32(actual)}, expected ${hex32(expected)}`);
  const format = view.getUint32(8, true);
  if (format > STREAM_FORMAT) {
    return {
      kind: 'newer',
      why: laterFormat(format, STREAM_FORMAT),
    };
  }
  const header = parseHeader(textOf(json) ?? '');
  if (header === undefined) return damaged('the fields of its header make no sense');
  const { index, term } = header;
  if (index !== identity.index || term !== identity.term)
    return damaged(`it says it is checkpoint ${index} of term ${term}`);
  const levels = levelsOf(header);
  if (typeof levels === 'string') return damaged(`its tables make no sense: ${levels}`);
  const files = filesOf(header);
  let totalBytes = bytes.length;
  for (const file of files) totalBytes += file.bytes;
  if (totalBytes !== identity.totalBytes)
    return damaged(`its files have ${totalBytes} bytes, expected ${identity.totalBytes}`);
  const sum = streamChecksum(bytes, files);
  if (sum !== identity.crc32)
    return damaged(`checksum of all files is ${hex32(sum)}, expected ${hex32(identity.crc32)}`);
  return { kind: 'header', header };
}

/** The arrangement of the tables of a header, or the reason why they do not fit together. */
export function levelsOf(header: StreamHeader): Levels | string {
  return editLevels(EMPTY_LEVELS, { added: header.tables, removed: [] });
}

function headerChecksum(prefix: Uint8Array, json: Uint8Array): number {
  return crc32(json, 0, json.length, crc32(prefix, 0, 16));
}

function parseHeader(text: string): StreamHeader | undefined {
  const { index, term, state, tables: list } = fieldsOf(parseJson(text)) ?? {};
  const { bytes, crc32: sum } = fieldsOf(state) ?? {};
  const tables = listOf(list, parsePlaced);
  if (!isCount(index) || !isCount(term) || tables === undefined) return undefined;
  if (!isCount(bytes) || bytes === 0 || !isUint32(sum)) return undefined;
  return { index, term, state: { bytes, crc32: sum }, tables };
}

function damaged(why: string): HeaderRefusal {
  return { kind: 'damaged', why };
}
