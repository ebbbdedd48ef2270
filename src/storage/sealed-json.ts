/**
 * Small JSON files that are written whole and notice every change: one line, whose last field is the checksum of all
 * bytes before it. Files of format 1 had none; they are read as they are, and sealed when they are written again.
 *
 *   {"format":2,…,"crc32":"1a2b3c4d"}
 */
import { latin1, textOf, utf8 } from '../lib/bytes.ts';
import { crc32 } from './checksum.ts';
import { CorruptionError, StorageError } from '../lib/errors.ts';
import { readFile, replaceFile } from './files.ts';
import type { FileSystem } from './fs.ts';
import { laterFormat } from './later-format.ts';
import { hex32 } from './record.ts';

const FORMAT = 2;
/** Before there were seals. */
const UNSEALED_FORMAT = 1;
const SEAL = /^,"crc32":"([0-9a-f]{8})"\}\n$/;
const SEAL_CHARACTERS = ',"crc32":"00000000"}\n'.length;
const REMEDY =
  'restore it from a copy, or remove this node from the cluster and add it again with an empty data directory';

/** Writes `fields` to `directory/name`, durably, so that a crash leaves the old file or the whole new one. */
export function writeSealedJson(
  fs: FileSystem,
  directory: string,
  name: string,
  fields: Readonly<Record<string, unknown>>,
): void {
  const open = JSON.stringify({ format: FORMAT, ...fields }).slice(0, -1);
  const seal = `,"crc32":"${hex32(crc32(utf8(open)))}"}\n`;
  replaceFile(fs, directory, name, [utf8(open), utf8(seal)]);
}

/**
 * Reads a file of {@link writeSealedJson}.
 *
 * @returns its fields, as far as the checksum vouches for them; what they should be is for the caller to check
 * @throws CorruptionError when it is not what was written, StorageError when its format is newer
 */
export function readSealedJson(fs: FileSystem, path: string): Readonly<Record<string, unknown>> {
  const bytes = readFile(fs, path);
  const end = bytes.length - SEAL_CHARACTERS;
  const [, expected] = SEAL.exec(latin1(bytes.subarray(Math.max(0, end)))) ?? [];
  // The checksum first: nothing that a damaged file says of itself is worth telling.
  if (expected !== undefined) {
    const actual = hex32(crc32(bytes.subarray(0, end)));
    if (actual !== expected) throw damaged(path, `checksum is ${actual}, expected ${expected}`);
  }
  const text = textOf(bytes);
  if (text === undefined) throw damaged(path, 'it is not UTF-8 text');
  const fields = parseObject(text);
  if (fields === undefined) throw damaged(path, 'it is not a JSON object');
  const { format } = fields;
  if (typeof format === 'number' && format > FORMAT)
    throw new StorageError(`Cannot read "${path}": ${laterFormat(format, FORMAT)}`);
  if (format !== (expected === undefined ? UNSEALED_FORMAT : FORMAT))
    throw damaged(path, 'it does not end with its checksum');
  return fields;
}

/** For a file that is as it was written, or has no checksum, and yet says what cannot be: `state` in words. */
export function damaged(path: string, state: string): CorruptionError {
  return new CorruptionError(`Cannot read "${path}": ${state}; ${REMEDY}`);
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
