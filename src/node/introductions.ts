/**
 * Who this node talks to. Nothing of a peer is believed before its hello: the same cluster, and the data directory
 * that it has always had. A peer on a wiped directory has forgotten what it voted and acknowledged; counting it under
 * its old identity can lose committed entries, so it is refused until it joins under a new one.
 */
import { utf8 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import type { Envelope } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { readTextFile, replaceFile } from '../storage/files.ts';
import type { FileSystem } from '../storage/fs.ts';

type Hello = Extract<Envelope, { readonly kind: 'hello' }>;

const PEERS_NAME = 'peers.json';

interface Peer {
  /** The peer's hello is here and was accepted. */
  isKnown: boolean;
  /** The peer says that it has ours. */
  hasOurs: boolean;
  client: string;
  /** Counts the connections to this peer. */
  connection: number;
}

export class Introductions {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #self: { readonly cluster: string; readonly incarnation: string };
  readonly #peers: ReadonlyMap<NodeId, Peer>;
  /** The data directory that each peer showed first. Durable. */
  readonly #incarnations: Map<NodeId, string>;

  constructor(options: {
    readonly fs: FileSystem;
    readonly directory: string;
    readonly self: { readonly cluster: string; readonly incarnation: string };
    readonly peers: readonly NodeId[];
  }) {
    this.#fs = options.fs;
    this.#directory = options.directory;
    this.#self = options.self;
    this.#peers = new Map(
      options.peers.map((id) => [id, { isKnown: false, hasOurs: false, client: '', connection: 0 }]),
    );
    this.#incarnations = load(options.fs, options.directory);
  }

  /** The connection to a peer is new: both sides start over. */
  connected(id: NodeId): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    peer.isKnown = false;
    peer.hasOurs = false;
    peer.connection += 1;
  }

  /** Which of the connections to this peer is the present one. */
  connectionOf(id: NodeId): number {
    return this.#peers.get(id)?.connection ?? 0;
  }

  /** Whether what this peer sends may be believed. */
  isKnown(id: NodeId): boolean {
    return this.#peers.get(id)?.isKnown ?? false;
  }

  /** Where this peer's clients connect; empty if unknown. */
  clientOf(id: NodeId): string {
    return this.#peers.get(id)?.client ?? '';
  }

  /** Peers that still need our hello. */
  waiting(): readonly NodeId[] {
    return [...this.#peers].filter(([, peer]) => !peer.isKnown || !peer.hasOurs).map(([id]) => id);
  }

  /** Our hello for one peer. */
  hello(id: NodeId, client: string): Hello {
    return { kind: 'hello', ...this.#self, client, greeted: this.isKnown(id) };
  }

  /** Takes a hello. @returns why it is refused, in words; undefined when it is accepted */
  receive(from: NodeId, hello: Hello): string | undefined {
    const peer = this.#peers.get(from);
    if (peer === undefined) return `refuses n${from}: it is not a member of this cluster`;
    if (hello.cluster !== this.#self.cluster) return `refuses n${from}: it belongs to another cluster`;
    const known = this.#incarnations.get(from);
    if (known !== undefined && known !== hello.incarnation) {
      peer.isKnown = false;
      return `refuses n${from}: its data directory is new, so it has forgotten what it voted and acknowledged`;
    }
    if (known === undefined) {
      this.#incarnations.set(from, hello.incarnation);
      const text = JSON.stringify(
        Object.fromEntries([...this.#incarnations].map(([id, name]) => [`n${id}`, name])),
      );
      replaceFile(this.#fs, this.#directory, PEERS_NAME, [utf8(`${text}\n`)]);
    }
    peer.isKnown = true;
    peer.hasOurs = hello.greeted;
    peer.client = hello.client;
    return undefined;
  }
}

function load(fs: FileSystem, directory: string): Map<NodeId, string> {
  const path = `${directory}/${PEERS_NAME}`;
  if (!fs.exists(path)) return new Map();
  const known = new Map<NodeId, string>();
  const parsed = parse(readTextFile(fs, path));
  if (typeof parsed !== 'object' || parsed === null)
    throw new CorruptionError(`Cannot read "${path}": it is not a JSON object`);
  for (const [name, incarnation] of Object.entries(parsed)) {
    const id = /^n([1-9]\d{0,5})$/.exec(name)?.[1];
    if (id === undefined || typeof incarnation !== 'string')
      throw new CorruptionError(`Cannot read "${path}": ${name} is not a node`);
    known.set(Number(id), incarnation);
  }
  return known;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
