/**
 * The manifest: a log of edits that says which files make up the tree. What it does not name does not count.
 *
 *   CURRENT           MANIFEST-000007 1234 0a1b2c3d     the manifest in force, how many of its bytes were durable when it
 *                                                       came into force, CRC-32 of the text before it; replaced atomically
 *   MANIFEST-000007   records (../record.ts) whose segment is the number of the manifest: the whole state as one edit,
 *                     then edits, each followed by a mark once it is durable
 *
 * A record without a mark behind it may be torn, and is cut. One that a mark vouches for was durable: when it cannot be
 * read, that is damage. After a stop that left anything in doubt, the state goes into a new manifest.
 */
import { assert, at } from '../../lib/assert.ts';
import { textOf, utf8 } from '../../lib/bytes.ts';
import { crc32 } from '../checksum.ts';
import { CorruptionError, StorageError } from '../../lib/errors.ts';
import { readFile, removeQuietly, replaceFile } from '../files.ts';
import type { File, FileSystem } from '../fs.ts';
import { laterFormat } from '../later-format.ts';
import { RECORD_HEADER_BYTES, RecordEncoder, decodeRecord, hex32 } from '../record.ts';
import { judgeTail } from '../segment.ts';
import { LSM_REMEDY, manifestName } from './file-names.ts';
import {
  EMPTY_STATE,
  LSM_FORMAT,
  type TreeEdit,
  type TreeState,
  editOf,
  editState,
  formatEdit,
  parseEdit,
} from './tree-state.ts';

const EDIT = 1;
const MARK = 2;

/** A manifest is written anew when its edits have this size, and are larger than the state itself. */
export const MANIFEST_EDIT_BYTES_MAX: number = 256 * 1024;

/** The file that names the manifest in force. */
export const CURRENT = 'CURRENT';

/** Where a manifest lies. */
export interface ManifestOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  /** Default {@link MANIFEST_EDIT_BYTES_MAX}. */
  readonly editBytesMax?: number;
}

/** A manifest as found. */
export interface Found {
  readonly number: number;
  readonly state: TreeState;
  /** Bytes of good records. */
  readonly end: number;
  /** How many of them are known durable. */
  readonly durable: number;
  /** Bytes of the first record. */
  readonly baseBytes: number;
  /** Nothing has to be cut, and nothing is in doubt. */
  readonly isClean: boolean;
}

export class Manifest {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #editBytesMax: number;
  readonly #encoder = new RecordEncoder();
  #state: TreeState = EMPTY_STATE;
  #number = 0;
  #file: File | undefined;
  #end = 0;
  /** Everything below is durable. */
  #durable = 0;
  #baseBytes = 0;
  /** A write failed on the way: nobody knows which of the manifests on disk is in force, or where it ends. */
  #isDoubtful = false;
  /** Manifests that are there and will not be needed once another is in force. */
  #superseded: number[] = [];

  /**
   * Opens the manifest in an existing directory, or begins one in a directory without files of a tree.
   *
   * @throws CorruptionError when it is damaged, StorageError when it is of a later format
   */
  constructor(options: ManifestOptions) {
    this.#fs = options.fs;
    this.#directory = options.directory;
    this.#editBytesMax = options.editBytesMax ?? MANIFEST_EDIT_BYTES_MAX;
    const found = findManifest(options);
    this.#number = found?.number ?? 0;
    if (found === undefined || !found.isClean) {
      this.#begin(found?.state ?? EMPTY_STATE);
      return;
    }
    this.#state = found.state;
    this.#file = this.#fs.open(this.#path(found.number), 'readWrite');
    this.#end = found.end;
    this.#durable = found.durable;
    this.#baseBytes = found.baseBytes;
  }

  /** What is durable, as far as anybody knows. */
  get state(): TreeState {
    return this.#state;
  }

  /** The name of the file in force. */
  get name(): string {
    return manifestName(this.#number);
  }

  /**
   * Durable on return. What throws is a StorageError, and then nobody knows whether the edit took place: after a stop it may
   * have. All files of before and after must stay until an edit succeeds.
   */
  append(edit: TreeEdit): void {
    const after = editState(this.#state, edit);
    if (typeof after === 'string') assert(false, `Bad edit of the tree: ${after}`);
    const isLarge = this.#end - this.#baseBytes > Math.max(this.#editBytesMax, this.#baseBytes);
    if (this.#isDoubtful || isLarge) {
      this.replace(after);
      return;
    }
    this.#isDoubtful = true;
    const file = this.#file;
    assert(file !== undefined, 'The manifest is open');
    const end = this.#end + this.#write(file, { type: EDIT, offset: this.#end, synced: this.#durable }, edit);
    file.sync();
    this.#durable = end;
    // Not durable before the next edit is: an edit does not vouch for the mark before it.
    this.#end = end + this.#write(file, { type: MARK, offset: end, synced: end });
    this.#state = after;
    this.#isDoubtful = false;
  }

  /** Begins a new manifest with `state` alone. Durable on return; what throws leaves things as {@link append} does. */
  replace(state: TreeState): void {
    this.#isDoubtful = true;
    this.#file?.close();
    this.#file = undefined;
    if (this.#number > 0) this.#superseded.push(this.#number);
    const number = this.#number + 1;
    this.#number = number; // a later attempt takes another name: this one may be in force
    if (this.#fs.exists(this.#path(number))) this.#fs.remove(this.#path(number));
    const file = this.#fs.open(this.#path(number), 'create');
    this.#file = file;
    const baseBytes = this.#write(file, { type: EDIT, offset: 0, synced: 0 }, editOf(state));
    file.sync();
    this.#fs.syncDirectory(this.#directory);
    const text = `${manifestName(number)} ${baseBytes}`;
    const line = `${text} ${hex32(crc32(utf8(text)))}\n`;
    replaceFile(this.#fs, this.#directory, CURRENT, [utf8(line)]);
    this.#state = state;
    this.#end = baseBytes;
    this.#durable = baseBytes;
    this.#baseBytes = baseBytes;
    this.#isDoubtful = false;
    for (const old of this.#superseded) removeQuietly(this.#fs, this.#path(old));
    this.#superseded = [];
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  /** {@link replace} while nobody has the object yet who could close it. */
  #begin(state: TreeState): void {
    try {
      this.replace(state);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #write(
    file: File,
    { type, offset, synced }: { readonly type: number; readonly offset: number; readonly synced: number },
    edit?: TreeEdit,
  ): number {
    const parts = edit === undefined ? [] : [utf8(formatEdit(edit))];
    const record = this.#encoder.encode({ type, shard: 0, synced, segment: this.#number, offset }, parts);
    file.write(record, offset);
    return record.length;
  }

  #path(number: number): string {
    return `${this.#directory}/${manifestName(number)}`;
  }
}

/**
 * The manifest in force; undefined in a directory where no tree was ever begun: there, what a first start that was cut off
 * left behind is removed.
 *
 * @throws CorruptionError when it is damaged, StorageError when it is of a later format
 */
export function findManifest({ fs, directory }: ManifestOptions): Found | undefined {
  // A name made or removed just before the stop may not be durable yet.
  fs.syncDirectory(directory);
  const current = readCurrent(fs, directory);
  if (current === undefined) return undefined;
  const path = `${directory}/${manifestName(current.number)}`;
  if (!fs.exists(path)) throw corrupt(path, 'it is missing');
  const bytes = readFile(fs, path);
  let state = EMPTY_STATE;
  let end = 0;
  let durable = current.durable;
  while (end < bytes.length) {
    const record = decodeRecord(bytes, { segment: current.number, offset: end });
    if (typeof record === 'string') {
      checkTorn(path, bytes, { number: current.number, end, durable, why: record });
      break;
    }
    if (record.type === EDIT) state = apply(path, end, state, record.payload);
    else if (record.type !== MARK) throw corrupt(path, `record at offset ${end} has type ${record.type}`);
    durable = Math.max(durable, record.synced);
    end += record.bytes;
  }
  if (end < durable) throw corrupt(path, `it ends at ${end}, expected ${durable} bytes at least`);
  // Nothing but a mark may lie behind what is durable.
  const isClean = end === bytes.length && end - durable <= RECORD_HEADER_BYTES;
  return { number: current.number, state, end, durable, baseBytes: current.durable, isClean };
}

/** What `CURRENT` says; undefined when it is not there, and no tree ever was. */
function readCurrent(
  fs: FileSystem,
  directory: string,
): { readonly number: number; readonly durable: number } | undefined {
  const path = `${directory}/${CURRENT}`;
  if (!fs.exists(path)) {
    // A first start that was cut off leaves its first manifest and nothing else.
    const isNew = fs
      .list(directory)
      .every((name) => name.startsWith('.') || name === `${CURRENT}.tmp` || name === manifestName(1));
    if (!isNew) throw corrupt(path, 'it is missing');
    const left = `${directory}/${manifestName(1)}`;
    if (fs.exists(left)) fs.remove(left);
    return undefined;
  }
  const line = textOf(readFile(fs, path)) ?? '';
  const parts = /^((MANIFEST-\d{6,}) (\d+)) ([0-9a-f]{8})\n$/.exec(line);
  const text = parts?.[1] ?? '';
  const sum = hex32(crc32(utf8(text)));
  if (parts === null) throw corrupt(path, 'it does not name a manifest');
  if (sum !== parts[4]) throw corrupt(path, `checksum is ${sum}, expected ${at(parts, 4)}`);
  return { number: Number(at(parts, 2).slice('MANIFEST-'.length)), durable: Number(parts[3]) };
}

/** Throws unless the bad record at `end` may be one that was cut off by a stop. */
function checkTorn(
  path: string,
  bytes: Uint8Array,
  bad: { readonly number: number; readonly end: number; readonly durable: number; readonly why: string },
): void {
  const where = `damaged at offset ${bad.end}: ${bad.why}`;
  if (bad.end < bad.durable) throw corrupt(path, where);
  const verdict = judgeTail(bytes, bad.number, bad.end);
  if (verdict === 'torn') return;
  if (verdict === 'undecided') throw corrupt(path, `${where}; it cannot be told whether it was ever durable`);
  throw corrupt(path, `${where}; the record at offset ${verdict.offset} shows that it was durable`);
}

function apply(path: string, offset: number, state: TreeState, payload: Uint8Array): TreeState {
  const parsed = parseEdit(textOf(payload) ?? '');
  if (parsed.kind === 'newer') {
    throw new StorageError(`Cannot open manifest "${path}": ${laterFormat(parsed.format, LSM_FORMAT)}`);
  }
  const after = parsed.kind === 'bad' ? 'its fields make no sense' : editState(state, parsed.edit);
  if (typeof after === 'string') throw corrupt(path, `edit at offset ${offset}: ${after}`);
  return after;
}

function corrupt(path: string, why: string): CorruptionError {
  return new CorruptionError(`Cannot open manifest "${path}": ${why}; ${LSM_REMEDY}`);
}
