/**
 * A node's data directory: whose it is, and that only one process uses it.
 *
 *   node.json                          {"format","cluster","nodeId","incarnation","crc32"}: written once, never changed;
 *                                      with "witness":true, the log in it has no commands; with "engine":"lsm", its
 *                                      data are kept by that, and otherwise by the engine in memory
 *   LOCK.<pid>.<startedAt>.<token>     empty; one for each process that uses the directory or tries to
 *   wal/                               wal.ts
 *   snapshots/                         what the engine in memory keeps: memory-store.ts
 *   lsm/                               what the tree keeps: lsm/lsm-store.ts
 *
 * The lock: a contender creates a file with a name of its own, then lists the directory. Names of dead processes it
 * removes; when it sees a living one it removes its own and gives up. Of two contenders at least one lists after both
 * names exist, so they never both win (both may give up). All of it is in the name because creating a name is atomic
 * and filling a file is not, and because nobody ever removes the name of a living process.
 */
import { assert } from '../lib/assert.ts';
import { StorageError } from '../lib/errors.ts';
import { TEMPORARY_SUFFIX, parentOf } from './files.ts';
import type { FileSystem } from './fs.ts';
import { damaged, readSealedJson, writeSealedJson } from './sealed-json.ts';
import type { EngineKind } from './version-engine.ts';

/** A process that holds or held a data directory. */
export interface LockOwner {
  readonly pid: number;
  /** When the process started, in any unit the caller's `isAlive` can compare: tells a reused pid from the old process. */
  readonly startedAt: number;
  /** Letters, digits, `-` and `_`. The same for all threads of a process that may follow each other here. */
  readonly token: string;
}

/** Whose a data directory is. */
export interface NodeIdentity {
  /** Name of the cluster; undefined when none was given at creation. */
  readonly cluster: string | undefined;
  readonly nodeId: number;
  /** Changes when a node starts anew on an empty directory, with nothing of what it once promised. */
  readonly incarnation: string;
  /** It holds a log without commands, and no data. */
  readonly witness: boolean;
  /** What keeps its data: no other can read them. */
  readonly engine: EngineKind;
}

export interface DataDirectoryOptions {
  readonly fs: FileSystem;
  readonly path: string;
  /** Undefined: whatever cluster the directory belongs to. */
  readonly cluster: string | undefined;
  readonly nodeId: number;
  /** Whether it is that of a witness; a new one becomes what is said here. Undefined: whatever it is, and no witness's when new. */
  readonly witness?: boolean;
  /** Undefined: whatever the directory has; for a new one, `memory`. */
  readonly engine?: EngineKind | undefined;
  /** Us. */
  readonly owner: LockOwner;
  /** Whether the holder of a lock still runs. Not asked about `owner` itself. */
  readonly isAlive: (holder: LockOwner) => boolean;
  /** Called once, when the directory is new. */
  readonly newIncarnation: () => string;
}

const IDENTITY_NAME = 'node.json';
const WAL_NAME = 'wal';
const SNAPSHOTS_NAME = 'snapshots';
/** May stand in a directory that is not ours yet: what a broken-off creation leaves, and what mkfs makes. */
const HARMLESS: ReadonlySet<string> = new Set([`${IDENTITY_NAME}${TEMPORARY_SUFFIX}`, 'lost+found']);

/** A locked data directory. */
export class DataDirectory {
  readonly path: string;
  readonly cluster: string | undefined;
  readonly incarnation: string;
  readonly witness: boolean;
  readonly engine: EngineKind;
  /** Whether this opening created it. */
  readonly fresh: boolean;
  readonly #fs: FileSystem;
  readonly #lockPath: string;
  #isReleased = false;

  /**
   * Creates or opens, and locks. On return the directory, its identity and its subdirectories are durable.
   *
   * Throws {@link StorageError} when it is in use, belongs to another node or cluster, comes from a newer format or is
   * not empty and not ours; `CorruptionError` when `node.json` is not as it was written. Never overwrites `node.json`.
   */
  static open(options: DataDirectoryOptions): DataDirectory {
    const { fs, path } = options;
    if (fs.exists(path)) checkContents(fs, path); // before a lock file is put into somebody's home directory
    fs.makeDirectory(path);
    const lockPath = lock(options);
    try {
      checkContents(fs, path);
      const found = readIdentity(fs, path);
      if (found !== undefined) checkIdentity(options, found);
      const identity = found ?? createIdentity(options);
      fs.makeDirectory(`${path}/${WAL_NAME}`);
      fs.makeDirectory(`${path}/${SNAPSHOTS_NAME}`);
      // Also when nothing was made: an earlier start may have stopped between making and syncing.
      fs.syncDirectory(path);
      return new DataDirectory(options, identity, found === undefined, lockPath);
    } catch (error) {
      removeQuietly(fs, lockPath);
      throw error;
    }
  }

  private constructor(
    options: DataDirectoryOptions,
    identity: NodeIdentity,
    fresh: boolean,
    lockPath: string,
  ) {
    this.#fs = options.fs;
    this.path = options.path;
    this.cluster = identity.cluster;
    this.incarnation = identity.incarnation;
    this.witness = identity.witness;
    this.engine = identity.engine;
    this.fresh = fresh;
    this.#lockPath = lockPath;
  }

  /** Where the write-ahead log lives. */
  get walPath(): string {
    return `${this.path}/${WAL_NAME}`;
  }

  /** Where the snapshots live. */
  get snapshotsPath(): string {
    return `${this.path}/${SNAPSHOTS_NAME}`;
  }

  /** Gives the lock back. A second call does nothing. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#fs.remove(this.#lockPath);
  }
}

/**
 * Whose the directory at `path` is; undefined when there is no `node.json`. Takes no lock and changes nothing.
 *
 * Throws `CorruptionError` when the file is not as it was written, {@link StorageError} when its format is newer.
 */
export function readIdentity(fs: FileSystem, path: string): NodeIdentity | undefined {
  const file = `${path}/${IDENTITY_NAME}`;
  if (!fs.exists(file)) return undefined;
  const { cluster, nodeId, incarnation, witness = false, engine = 'memory' } = readSealedJson(fs, file);
  const isValid =
    (engine === 'memory' || engine === 'lsm') &&
    (cluster === undefined || typeof cluster === 'string') &&
    typeof nodeId === 'number' &&
    typeof incarnation === 'string' &&
    typeof witness === 'boolean';
  if (!isValid) throw damaged(file, 'a field is missing or of the wrong type');
  return { cluster, nodeId, incarnation, witness, engine };
}

/** Everybody whose lock file lies in the directory at `path`, alive or not. Changes nothing. */
export function lockHolders(fs: FileSystem, path: string): readonly LockOwner[] {
  return fs.list(path).flatMap((name) => parseLockName(name) ?? []);
}

function createIdentity(options: DataDirectoryOptions): NodeIdentity {
  const { fs, path, cluster, nodeId, witness = false, engine = 'memory' } = options;
  const identity = { cluster, nodeId, incarnation: options.newIncarnation() };
  syncAncestors(fs, path);
  writeSealedJson(fs, path, IDENTITY_NAME, {
    ...identity,
    ...(witness ? { witness } : {}),
    ...(engine === 'memory' ? {} : { engine }),
  });
  return { ...identity, witness, engine };
}

function checkIdentity(options: DataDirectoryOptions, found: NodeIdentity): void {
  const { path, cluster, nodeId, witness, engine } = options;
  if (found.nodeId !== nodeId) {
    throw new StorageError(
      `Cannot open data directory "${path}": "${path}/${IDENTITY_NAME}" belongs to node ${found.nodeId}, not node ${nodeId}`,
    );
  }
  if (cluster !== undefined && found.cluster !== undefined && found.cluster !== cluster) {
    throw new StorageError(
      `Cannot open data directory "${path}": "${path}/${IDENTITY_NAME}" belongs to cluster "${found.cluster}", not "${cluster}"`,
    );
  }
  if (witness !== undefined && witness !== found.witness) {
    const kind = found.witness
      ? 'a witness, not to one that keeps data'
      : 'a node that keeps data, not to a witness';
    throw new StorageError(
      `Cannot open data directory "${path}": "${path}/${IDENTITY_NAME}" belongs to ${kind}; choose an empty one`,
    );
  }
  if (engine !== undefined && found.engine !== engine) {
    throw new StorageError(
      `Cannot open data directory "${path}": its data are kept by the engine "${found.engine}", not "${engine}"; leave the engine out, or choose another directory`,
    );
  }
}

/** Refuses a directory that holds something but no `node.json`. */
function checkContents(fs: FileSystem, path: string): void {
  const names = fs.list(path);
  if (names.includes(IDENTITY_NAME)) return;
  const foreign = names.find((name) => !HARMLESS.has(name) && parseLockName(name) === undefined);
  if (foreign === undefined) return;
  throw new StorageError(
    `Cannot open data directory "${path}": it holds "${foreign}" but no "${IDENTITY_NAME}", so it is not a data directory; choose an empty one`,
  );
}

/** Takes the lock. @returns the path of our lock file */
function lock(options: DataDirectoryOptions): string {
  const { fs, path, owner } = options;
  const ours = lockName(owner);
  const lockPath = `${path}/${ours}`;
  // Our own name is there when an earlier thread of this process ended without giving it back: it is taken over.
  if (!fs.exists(lockPath)) fs.open(lockPath, 'create').close();
  try {
    for (const name of fs.list(path)) {
      const holder = parseLockName(name);
      if (holder === undefined || name === ours) continue;
      const isOurs = holder.pid === owner.pid && holder.token === owner.token;
      if (!isOurs && options.isAlive(holder)) {
        throw new StorageError(
          `Cannot open data directory "${path}": it is in use by process ${holder.pid} (remove "${path}/${name}" only if that process is certainly gone)`,
        );
      }
      removeQuietly(fs, `${path}/${name}`); // another contender may have been faster
    }
    return lockPath;
  } catch (error) {
    removeQuietly(fs, lockPath);
    throw error;
  }
}

function lockName(owner: LockOwner): string {
  const name = `LOCK.${owner.pid}.${owner.startedAt}.${owner.token}`;
  assert(parseLockName(name) !== undefined, 'Lock owner cannot be written as a file name');
  return name;
}

function parseLockName(name: string): LockOwner | undefined {
  const match = /^LOCK\.(\d{1,15})\.(\d{1,15})\.([\w-]{1,64})$/.exec(name);
  const [, pid, startedAt, token] = match ?? [];
  if (pid === undefined || startedAt === undefined || token === undefined) return undefined;
  return { pid: Number(pid), startedAt: Number(startedAt), token };
}

/** For names that are to go and may be gone. */
function removeQuietly(fs: FileSystem, path: string): void {
  try {
    fs.remove(path);
  } catch {
    // What stays is the name of a process that is dead or about to give up: the next opening removes it.
  }
}

/**
 * Makes the names that lead to `path` durable, all of them: an earlier start may have made any, and stopped before it
 * synced them. Done before `node.json` is written, so that a directory with that file needs it no more.
 */
function syncAncestors(fs: FileSystem, path: string): void {
  for (
    let parent = parentOf(path), child = path;
    parent !== child;
    child = parent, parent = parentOf(child)
  ) {
    try {
      fs.syncDirectory(parent);
    } catch (error) {
      // Nothing is ever made in a directory that is somebody else's alone, such as an unreadable /home.
      if (!isDenied(error)) throw error;
    }
  }
}

function isDenied(error: unknown): boolean {
  const cause = error instanceof StorageError ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'EACCES';
}
