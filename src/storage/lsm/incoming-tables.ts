/**
 * A checkpoint that is arriving from a peer as tables (checkpoint-stream.ts): the header first, then parts straight into the
 * files that will be the tree's. Nothing of it counts until it is verified and taken over.
 */
import { assert, at, defined } from '../../lib/assert.ts';
import { concatBytes } from '../../lib/bytes.ts';
import { CorruptionError } from '../../lib/errors.ts';
import { ArrivalWindow, trustedBytes } from '../arrival-window.ts';
import type { Checkpoint, IncomingCheckpoint } from '../checkpoint.ts';
import { removeQuietly } from '../files.ts';
import type { SnapshotIdentity } from '../incoming-snapshot.ts';
import type { SnapshotFields, Verdict } from '../snapshot-file.ts';
import { type Arrival, arrivalPaths, headerName, partName } from './arrival-files.ts';
import { BlockCache } from './block-cache.ts';
import {
  type HeaderRefusal,
  PREFIX_BYTES,
  type StreamHeader,
  decodeHeader,
  filesOf,
  headerJsonBytes,
} from './checkpoint-stream.ts';
import { FileSequence } from './file-sequence.ts';
import type { PlacedTable } from './levels.ts';
import { readStateFile } from './state-file.ts';
import type { TableMeta } from './table-format.ts';
import { Table } from './table.ts';
import type { Tree } from './tree.ts';
import type { StateFile } from './tree-state.ts';

const NOTHING = new Uint8Array(0);

/** Everything behind a header that is whole. */
interface Body {
  readonly arrival: Arrival;
  readonly files: FileSequence;
}

/** What a tree needs in order to take over a checkpoint that is verified. */
export interface TakenTables {
  readonly tables: readonly PlacedTable[];
  readonly stateFile: StateFile;
  readonly checkpoint: Checkpoint;
  /** Once the tree has them, nobody needs this file. */
  readonly headerPath: string;
}

export class IncomingTables implements IncomingCheckpoint {
  readonly identity: SnapshotIdentity;
  readonly #tree: Tree;
  /** The header so far, as long as it is not whole. */
  #headerSoFar: Uint8Array = NOTHING;
  #body: Body | undefined;
  #refusal: HeaderRefusal | undefined;
  readonly #window: ArrivalWindow;
  #steps: Generator<undefined, Verdict> | undefined;
  #verdict: Verdict = { kind: 'more' };
  #checkpoint: Checkpoint | undefined;
  #isDone = false;
  #isTaken = false;

  /** @param arrival what an earlier attempt left */
  constructor(tree: Tree, identity: SnapshotIdentity, arrival: Arrival | undefined) {
    this.#tree = tree;
    this.identity = identity;
    this.#body = arrival === undefined ? undefined : this.#bodyOf(arrival);
    this.#window = new ArrivalWindow(
      identity.totalBytes,
      this.#body === undefined ? 0 : keepTrusted(this.#body),
    );
  }

  get received(): number {
    return this.#window.received;
  }

  get isComplete(): boolean {
    return this.#window.isComplete;
  }

  get windowBytes(): number {
    return this.#window.windowBytes;
  }

  write(offset: number, bytes: Uint8Array): boolean {
    assert(!this.#isDone, 'Nothing is received any more');
    const verdict = this.#window.judge(offset, bytes.length);
    if (verdict !== 'wanted') return verdict === 'known';
    if (this.#body !== undefined) {
      this.#writeBody(this.#body, offset, bytes);
      return true;
    }
    const { received } = this.#window;
    // Where a later part belongs is not known before the header is.
    if (offset > received) return false;
    const rest = this.#writeHeader(bytes.subarray(received - offset));
    if (rest.length > 0 && this.#body !== undefined) this.#writeBody(this.#body, this.received, rest);
    return true;
  }

  verify(): Verdict {
    assert(this.isComplete, 'Only a complete checkpoint can be verified');
    if (this.#verdict.kind !== 'more') return this.#verdict;
    this.#steps ??= this.#verification();
    try {
      const step = this.#steps.next();
      if (step.done === true) this.#verdict = step.value;
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.#verdict = { kind: 'damaged', why: error.message };
    }
    return this.#verdict;
  }

  get meta(): SnapshotFields {
    return defined(this.#checkpoint, 'a verified checkpoint').meta;
  }

  /** What a tree is to hold that takes it over. From now on its files belong to that tree, which may ask again. */
  take(): TakenTables {
    const isReady = this.#isTaken || !this.#isDone;
    assert(isReady && this.#verdict.kind === 'whole', 'Only a whole checkpoint is installed');
    this.#isTaken = true;
    const { arrival } = defined(this.#body, 'the header of a whole checkpoint');
    this.close();
    const metas = tablesOf(arrival);
    return {
      tables: arrival.header.tables.map((table, i) => ({ ...table, meta: at(metas, i) })),
      stateFile: stateFileOf(arrival),
      checkpoint: defined(this.#checkpoint, 'a verified checkpoint'),
      headerPath: `${this.#tree.directory}/${arrival.name}`,
    };
  }

  close(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#steps?.return(this.#verdict);
    this.#body?.files.close();
    this.#headerSoFar = NOTHING;
  }

  discard(): void {
    if (this.#isDone) return;
    this.close();
    if (this.#body !== undefined) discardArrival(this.#tree, this.#body.arrival);
  }

  #bodyOf(arrival: Arrival): Body {
    const { fs, directory } = this.#tree;
    const sizes = filesOf(arrival.header);
    const paths = arrivalPaths(directory, arrival.firstNumber, arrival.header);
    const parts = paths.map((path, i) => ({ path, bytes: at(sizes, i).bytes }));
    return { arrival, files: new FileSequence(fs, directory, parts) };
  }

  /** Takes bytes from the first missing one on, as long as the header is not whole. @returns those behind the header */
  #writeHeader(bytes: Uint8Array): Uint8Array {
    const { totalBytes } = this.identity;
    const { received } = this.#window;
    const known = concatBytes([this.#headerSoFar, bytes]);
    const isLengthKnown = known.length >= PREFIX_BYTES;
    const jsonBytes = isLengthKnown ? headerJsonBytes(known.subarray(0, PREFIX_BYTES), totalBytes) : 0;
    const headerBytes = PREFIX_BYTES + jsonBytes;
    if (known.length < headerBytes) {
      this.#headerSoFar = known;
      this.#window.written(received, bytes.length);
      return NOTHING;
    }
    const whole = known.subarray(0, headerBytes);
    const decoded = decodeHeader(whole, this.identity);
    if (decoded.kind !== 'header') {
      // Nothing more of it is wanted: it counts as complete, and is found out when it is verified.
      this.#refusal = decoded;
      this.#headerSoFar = NOTHING;
      this.#window.written(received, totalBytes - received);
      return NOTHING;
    }
    this.#body = this.#bodyOf(this.#keepHeader(decoded.header, whole));
    this.#headerSoFar = NOTHING;
    this.#window.written(received, headerBytes - received);
    this.#window.synced();
    return known.subarray(headerBytes);
  }

  /** Makes the header durable, with the numbers of its files: the names of the files follow from its own. */
  #keepHeader(header: StreamHeader, bytes: Uint8Array): Arrival {
    const { fs, directory } = this.#tree;
    const { identity } = this;
    const count = 1 + header.tables.length;
    const firstNumber = this.#tree.reserve(count);
    const part = `${directory}/${partName(identity)}`;
    removeQuietly(fs, part);
    const file = fs.open(part, 'create');
    try {
      file.write(bytes, 0);
      file.sync();
    } finally {
      file.close();
    }
    const name = headerName(identity, firstNumber);
    fs.rename(part, `${directory}/${name}`);
    fs.syncDirectory(directory);
    return {
      name,
      identity,
      header,
      headerBytes: bytes.length,
      firstNumber,
      nextNumber: firstNumber + count,
    };
  }

  /** Takes a piece that is wanted, once the header is whole. */
  #writeBody({ arrival, files }: Body, offset: number, bytes: Uint8Array): void {
    const { headerBytes } = arrival;
    // What is known is not written again: the piece may begin within the header, or in a file that is closed.
    const skipped = Math.max(0, this.received - offset);
    files.write(offset + skipped - headerBytes, bytes.subarray(skipped));
    if (!this.#window.written(offset, bytes.length)) return;
    files.sync(this.received - headerBytes);
    this.#window.synced();
  }

  /** Every byte of every file and every version of every table: a slice a step. */
  *#verification(): Generator<undefined, Verdict> {
    if (this.#refusal !== undefined) return this.#refusal;
    if (this.#body === undefined) return { kind: 'damaged', why: 'its header is cut off' };
    const { arrival, files } = this.#body;
    // What is read from here on is on the disk, under the names that the tree will use.
    files.close();
    const { fs, directory } = this.#tree;
    this.#checkpoint = readStateFile(fs, directory, stateFileOf(arrival));
    yield undefined;
    for (const meta of tablesOf(arrival)) {
      const table = new Table({ fs, directory, meta, cache: new BlockCache(0) });
      yield* table.verification();
      yield undefined;
    }
    return { kind: 'whole' };
  }
}

/** Cuts the files of an earlier attempt down to what may be believed. @returns how much of the stream is there */
function keepTrusted({ arrival, files }: Body): number {
  try {
    return arrival.headerBytes + files.cut(trustedBytes(files.highest));
  } catch (error) {
    // Nobody has the object yet who could close them.
    files.close();
    throw error;
  }
}

/** Gives back the space of an arrival that nobody goes on with. */
export function discardArrival(tree: Tree, arrival: Arrival): void {
  const { fs, directory } = tree;
  // The header goes last: as long as it is there, the files are known.
  for (const path of arrivalPaths(directory, arrival.firstNumber, arrival.header)) removeQuietly(fs, path);
  removeQuietly(fs, `${directory}/${arrival.name}`);
}

function stateFileOf({ identity, header, firstNumber }: Arrival): StateFile {
  const { index, term } = identity;
  return { index, term, number: firstNumber, ...header.state };
}

/** The tables under their own numbers here. */
function tablesOf({ header, firstNumber }: Arrival): readonly TableMeta[] {
  return header.tables.map(({ meta }, i) => ({ ...meta, number: firstNumber + 1 + i }));
}
