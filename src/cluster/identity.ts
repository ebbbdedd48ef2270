/**
 * What a cluster's data directory says of the cluster, in `cluster.json`: its name, which its nodes ask of each other, how
 * many nodes it began with, and which ids are used up. Who is a member stands in the nodes' logs.
 *
 *   {"format":1,"cluster":"…","nodes":3,"nextId":5,"removed":[2]}
 *
 * and, in format 2, which engine keeps the data of its nodes: `"engine":"lsm"`. Without it they are in memory.
 */
import { utf8 } from '../lib/bytes.ts';
import { CorruptionError, OxideError, StorageError } from '../lib/errors.ts';
import { readIdentity } from '../storage/data-directory.ts';
import { readTextFile, replaceFile } from '../storage/files.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import { laterFormat } from '../storage/later-format.ts';
import type { EngineKind } from '../storage/version-engine.ts';

const NAME = 'cluster.json';
const FORMAT_OF: Readonly<Record<EngineKind, number>> = { memory: 1, lsm: 2 };
const FORMAT_MAX = 2;
const NODE_DIRECTORY = /^node-([1-9][0-9]{0,5})$/;
/** Nodes of a new cluster that nobody told how many. */
const NODES_DEFAULT = 3;

interface Contents {
  readonly cluster: string;
  /** Founders have the ids from 1 to this. */
  readonly nodes: number;
  /** Every id from here on is unused. */
  readonly nextId: number;
  /** Their directories may be there still, and are not started. */
  readonly removed: readonly number[];
  readonly engine: EngineKind;
}

/** The record of one data directory. Every change of it is durable on return. */
export class ClusterIdentity {
  readonly #fs: NodeFileSystem;
  readonly #dataDir: string;
  #record: Contents;

  private constructor(fs: NodeFileSystem, dataDir: string, record: Contents) {
    this.#fs = fs;
    this.#dataDir = dataDir;
    this.#record = record;
  }

  /**
   * Reads or creates the record of `dataDir`, which is created if need be.
   *
   * @param nodeCount nodes of a new cluster; for an old one, what it began with or has now. Undefined: whatever it is
   * @param engine of its nodes. Undefined: whatever it is, and `memory` for a new cluster
   * @throws StorageError when the directory holds a cluster of another size or engine or a newer format, CorruptionError when the
   *   file cannot be read
   */
  static open(dataDir: string, nodeCount: number | undefined, engine?: EngineKind): ClusterIdentity {
    const fs = new NodeFileSystem();
    fs.makeDirectory(dataDir);
    const path = `${dataDir}/${NAME}`;
    if (!fs.exists(path)) {
      const leftover = fs.list(dataDir).find((entry) => readIdentityQuietly(fs, `${dataDir}/${entry}`));
      if (leftover !== undefined)
        throw new CorruptionError(`Cannot open "${dataDir}": it holds ${leftover} but no ${NAME}`);
      const nodes = nodeCount ?? NODES_DEFAULT;
      const record: Contents = {
        cluster: crypto.randomUUID(),
        nodes,
        nextId: nodes + 1,
        removed: [],
        engine: engine ?? 'memory',
      };
      const created = new ClusterIdentity(fs, dataDir, record);
      created.#write(record);
      return created;
    }
    const record = read(readTextFile(fs, path), dataDir);
    const found = new ClusterIdentity(fs, dataDir, record);
    const present = found.ids.length;
    if (nodeCount !== undefined && nodeCount !== record.nodes && nodeCount !== present) {
      const began = present === record.nodes ? '' : `, which began with ${record.nodes}`;
      throw new StorageError(
        `Cannot open "${dataDir}": it holds a cluster of ${present} nodes${began}, not ${nodeCount}`,
      );
    }
    if (engine !== undefined && engine !== record.engine) {
      throw new StorageError(
        `Cannot open "${dataDir}": its data are kept by the engine "${record.engine}", not "${engine}"; leave the engine out, or choose another directory`,
      );
    }
    return found;
  }

  /** How many nodes {@link open} will find or make. Creates nothing; what is wrong is for `open` to say. */
  static countIn(dataDir: string, nodeCount: number | undefined): number {
    const fs = new NodeFileSystem();
    try {
      const path = `${dataDir}/${NAME}`;
      if (fs.exists(path)) {
        const found = new ClusterIdentity(fs, dataDir, read(readTextFile(fs, path), dataDir));
        return Math.max(0, ...found.ids);
      }
    } catch {
      // It will be refused.
    }
    return nodeCount ?? NODES_DEFAULT;
  }

  /** What the nodes ask of each other. */
  get cluster(): string {
    return this.#record.cluster;
  }

  /** What keeps the data of its nodes. */
  get engine(): EngineKind {
    return this.#record.engine;
  }

  /** The voters that the cluster began with. */
  get founders(): readonly number[] {
    return Array.from({ length: this.#record.nodes }, (_, i) => i + 1);
  }

  /** The nodes to start: founders, and those added later whose directories are here, but for the removed. */
  get ids(): readonly number[] {
    const { removed } = this.#record;
    const ids = new Set(this.founders);
    for (const entry of this.#fs.list(this.#dataDir)) {
      const id = NODE_DIRECTORY.exec(entry)?.[1];
      if (id !== undefined) ids.add(Number(id));
    }
    return [...ids].filter((id) => !removed.includes(id)).toSorted((a, b) => a - b);
  }

  /** Where a node keeps its data. */
  directoryOf(id: number): string {
    return `${this.#dataDir}/node-${id}`;
  }

  /**
   * An id for a new node: one that no node ever had, or when those up to `idMax` are used up, that of a removed node whose
   * data are gone.
   *
   * @throws OxideError `too_many_members` when there is none
   */
  takeId(idMax: number): number {
    const { nextId, removed } = this.#record;
    if (nextId <= idMax) {
      this.#write({ ...this.#record, nextId: nextId + 1 });
      return nextId;
    }
    const id = removed.find((each) => !this.#fs.exists(this.directoryOf(each)));
    if (id === undefined)
      throw new OxideError(
        'too_many_members',
        `Cannot add a node: all ids up to ${idMax} are used up, and no directory of a removed node is gone`,
      );
    this.#write({ ...this.#record, removed: removed.filter((each) => each !== id) });
    return id;
  }

  /** This node is not started any more. */
  markRemoved(id: number): void {
    const removed = [...new Set([...this.#record.removed, id])].toSorted((a, b) => a - b);
    this.#write({ ...this.#record, removed });
  }

  #write(record: Contents): void {
    const { engine, ...rest } = record;
    const what = engine === 'memory' ? rest : record;
    const text = JSON.stringify({ format: FORMAT_OF[engine], ...what });
    replaceFile(this.#fs, this.#dataDir, NAME, [utf8(`${text}\n`)]);
    this.#record = record;
  }
}

function readIdentityQuietly(fs: NodeFileSystem, path: string): boolean {
  try {
    return readIdentity(fs, path) !== undefined;
  } catch {
    return false;
  }
}

function read(text: string, dataDir: string): Contents {
  const value = parse(text);
  const { format, cluster, nodes, nextId, removed, engine = 'memory' } = isObject(value) ? value : {};
  if (typeof format === 'number' && format > FORMAT_MAX)
    throw new StorageError(`Cannot read "${dataDir}/${NAME}": ${laterFormat(format, FORMAT_MAX)}`);
  const isEngine = engine === 'memory' || engine === 'lsm';
  const isRead = typeof cluster === 'string' && isId(nodes) && isId(nextId);
  if (!isEngine || format !== FORMAT_OF[engine] || !isRead || nextId <= nodes || !Array.isArray(removed))
    throw new CorruptionError(`Cannot read "${dataDir}/${NAME}": it does not describe a cluster`);
  return { cluster, nodes, nextId, removed: removed.filter((id: unknown) => isId(id)), engine };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
