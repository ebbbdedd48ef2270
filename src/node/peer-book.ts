/**
 * What a node remembers of its cluster outside the log, durably, in `peers.json`: whom the cluster began with, and the
 * data directory that each member showed first.
 *
 *   {"format":2,"founders":[1,2,3],"peers":[{"id":2,"since":0,"incarnation":"…"}],"crc32":"…"}
 */
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { FileSystem } from '../storage/fs.ts';
import { damaged, readSealedJson, writeSealedJson } from '../storage/sealed-json.ts';

const NAME = 'peers.json';
const PEERS_MAX = 10_000;

interface Pin {
  /** Where in the log the member was added; 0 for a founder. */
  readonly since: LogIndex;
  readonly incarnation: string;
}

export class PeerBook {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #pins: Map<NodeId, Pin>;
  /** The voters that the cluster began with; empty for a node that was added later. Never changes. */
  readonly founders: readonly NodeId[];

  private constructor(
    fs: FileSystem,
    directory: string,
    founders: readonly NodeId[],
    pins: Map<NodeId, Pin>,
  ) {
    this.#fs = fs;
    this.#directory = directory;
    this.founders = founders;
    this.#pins = pins;
  }

  /**
   * Reads the book of a data directory, or begins one.
   *
   * @param founders of a directory that is new; an older one knows better
   * @throws CorruptionError when it is not as it was written, StorageError when it comes from a newer version or cannot be written
   */
  static open(fs: FileSystem, directory: string, founders: readonly NodeId[]): PeerBook {
    const path = `${directory}/${NAME}`;
    if (fs.exists(path)) {
      const { founders: own, pins } = read(readSealedJson(fs, path), path);
      return new PeerBook(fs, directory, own, pins);
    }
    const book = new PeerBook(
      fs,
      directory,
      founders.toSorted((a, b) => a - b),
      new Map(),
    );
    book.#write();
    return book;
  }

  /** The directory of the member that was added at `since`; undefined if it has not shown it yet. */
  incarnationOf(id: NodeId, since: LogIndex): string | undefined {
    const pin = this.#pins.get(id);
    return pin?.since === since ? pin.incarnation : undefined;
  }

  /** Whoever has shown a directory and may be a member still. */
  get pinned(): readonly NodeId[] {
    return [...this.#pins.keys()];
  }

  /** Remembers, durably, what is not remembered yet. @throws StorageError, and then remembers nothing */
  remember(id: NodeId, since: LogIndex, incarnation: string): void {
    const before = this.#pins.get(id);
    this.#pins.set(id, { since, incarnation });
    try {
      this.#write();
    } catch (error) {
      if (before === undefined) this.#pins.delete(id);
      else this.#pins.set(id, before);
      throw error;
    }
  }

  /** Others than these are members no more, for certain. On disk they stay until something is remembered. */
  keepOnly(members: readonly NodeId[]): void {
    for (const id of this.#pins.keys()) if (!members.includes(id)) this.#pins.delete(id);
  }

  #write(): void {
    const peers = [...this.#pins].map(([id, pin]) => ({ id, ...pin }));
    writeSealedJson(this.#fs, this.#directory, NAME, { founders: this.founders, peers });
  }
}

function read(
  fields: Readonly<Record<string, unknown>>,
  path: string,
): { readonly founders: readonly NodeId[]; readonly pins: Map<NodeId, Pin> } {
  const { founders, peers } = fields;
  if (!isIdList(founders) || !Array.isArray(peers) || peers.length > PEERS_MAX)
    throw damaged(path, 'it does not describe a cluster');
  const pins = new Map<NodeId, Pin>();
  for (const peer of peers as readonly unknown[]) {
    const { id, since, incarnation } = isObject(peer) ? peer : {};
    if (!isId(id) || !(since === 0 || isId(since)) || typeof incarnation !== 'string')
      throw damaged(path, `${JSON.stringify(peer)} is not a node`);
    pins.set(id, { since, incarnation });
  }
  return { founders, pins };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

function isIdList(value: unknown): value is readonly NodeId[] {
  return Array.isArray(value) && value.every((id: unknown) => isId(id));
}
