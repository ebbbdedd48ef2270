/**
 * Who this node talks to. Nothing of a peer is believed before its hello: the same cluster, and the data directory that
 * it has had for as long as it is a member. A member on a wiped directory has forgotten what it voted and acknowledged;
 * counting it under its old identity can lose committed entries, so it is refused until it is removed and added again.
 *
 * A node that is no member may introduce itself too. It may wait to be added; or it may lead a cluster whose newest
 * members this node has not heard of (§6: servers take entries from a leader that is not in their configuration).
 * The core counts nobody but members.
 */
import type { Envelope } from '../net/protocol.ts';
import type { LogIndex, NodeId } from '../raft/entry.ts';
import { type Config, bootstrapConfig, membersOf } from '../raft/membership.ts';
import type { FileSystem } from '../storage/fs.ts';
import { DUTIES, type Duties } from './duties.ts';
import { PeerBook } from './peer-book.ts';

type Hello = Extract<Envelope, { readonly kind: 'hello' }>;
type Refusal = Extract<Envelope, { readonly kind: 'refusal' }>;

/** Nodes that are no members and introduced themselves; the one that came first is forgotten for another. */
const STRANGERS_MAX = 64;
/** Between two hellos to a peer that does not answer; the first follows after a heartbeat. */
const HELLO_MS_MAX = 200;
/** Between two hellos to a peer that is refused, or that talks without having said hello. */
const REFUSED_MS = 1000;
/** Hellos to a node that is no member and does not answer; then it must begin. */
const TRIES_MAX = 16;

interface Peer {
  /** Where in the log it was added, 0 for a founder; undefined for a node that is no member. */
  readonly since: LogIndex | undefined;
  /** The peer's hello is here and was accepted. */
  isKnown: boolean;
  /** The peer says that it has ours. */
  hasOurs: boolean;
  client: string;
  /** Counts the connections to this peer. */
  connection: number;
  /** When it gets our next hello, if it still needs one, and how long it waits for the one after that. */
  helloMs: number;
  helloAfterMs: number;
  tries: number;
  /** Why this node refuses it; empty if it does not. */
  refused: string;
  /** What the peer says against this node. */
  refusal: Refusal | undefined;
}

/** What a hello comes to. */
export interface Verdict {
  /** What the peer is told; undefined when there is nothing against it. */
  readonly refusal: Refusal | undefined;
  /** Whether the peer may be believed all the same. */
  readonly isAccepted: boolean;
  /** Nothing of it was said before on this connection. */
  readonly isNews: boolean;
}

export interface IntroductionsOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly id: NodeId;
  readonly cluster: string;
  readonly incarnation: string;
  /** The voters that the cluster began with, for a directory that is new. */
  readonly voters: readonly NodeId[];
  readonly heartbeatMs: number;
  readonly duties?: Pick<Duties, 'isSameDirectory'>;
}

export class Introductions {
  readonly #options: IntroductionsOptions;
  readonly #book: PeerBook;
  readonly #peers: Map<NodeId, Peer> = new Map();
  #config: Config = bootstrapConfig([]);
  #configIndex: LogIndex = 0;
  #isCommitted = false;

  /** Throws what reading or beginning the book throws. Knows nobody before {@link follow}. */
  constructor(options: IntroductionsOptions) {
    this.#options = options;
    this.#book = PeerBook.open(options.fs, options.directory, options.voters);
  }

  /** The voters that the cluster began with; empty for a node that was added later. */
  get founders(): readonly NodeId[] {
    return this.#book.founders;
  }

  /** Others that belonged to the cluster when this directory last heard of it. */
  get acquaintances(): readonly NodeId[] {
    const { founders, pinned } = this.#book;
    return [...founders, ...pinned].filter((id) => id !== this.#options.id);
  }

  /** The members of this configuration are the peers. A removed one stays until the removal is committed. */
  follow(config: Config, index: LogIndex, isCommitted: boolean): void {
    this.#config = config;
    this.#configIndex = index;
    this.#isCommitted = isCommitted;
    const members = membersOf(config).filter((id) => id !== this.#options.id);
    for (const id of members) {
      const since = config.since.get(id) ?? 0;
      // Added again, it is another: what its earlier life still has on its way counts no more (openraft, cecb5de8).
      if (this.#peers.get(id)?.since !== since) this.#meet(id, since);
    }
    if (!isCommitted) return;
    this.#book.keepOnly(members);
    for (const [id, peer] of this.#peers)
      if (peer.since !== undefined && !members.includes(id)) this.#meet(id, undefined);
  }

  /** The members but this node, and those whose removal is not committed. */
  get members(): readonly NodeId[] {
    return [...this.#peers].filter(([, peer]) => peer.since !== undefined).map(([id]) => id);
  }

  /** The connection to a peer is new: both sides start over. */
  connected(id: NodeId): void {
    if (id === this.#options.id) return;
    this.#meet(id, this.#peers.get(id)?.since).connection += 1;
  }

  /** A node talks that is not known here: it may think that it is. */
  heardStranger(id: NodeId, nowMs: number): void {
    if (id === this.#options.id) return;
    const peer = this.#peers.get(id) ?? this.#meet(id, undefined);
    if (peer.tries < TRIES_MAX) return;
    peer.tries = TRIES_MAX - 1;
    peer.helloMs = nowMs + REFUSED_MS;
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

  /** When the next hello is due; Infinity for never. */
  get deadlineMs(): number {
    let deadlineMs = Infinity;
    for (const peer of this.#peers.values())
      if (isWaiting(peer)) deadlineMs = Math.min(deadlineMs, peer.helloMs);
    return deadlineMs;
  }

  /** Peers that need our hello now. Each is told again later, unless it answers. */
  due(nowMs: number): readonly NodeId[] {
    const due: NodeId[] = [];
    for (const [id, peer] of this.#peers) {
      if (!isWaiting(peer) || peer.helloMs > nowMs) continue;
      due.push(id);
      peer.helloMs = nowMs + (peer.refused === '' ? peer.helloAfterMs : REFUSED_MS);
      peer.helloAfterMs = Math.min(2 * peer.helloAfterMs, HELLO_MS_MAX);
      peer.tries += 1;
    }
    return due;
  }

  /** Our hello for one peer. */
  hello(id: NodeId, client: string): Hello {
    const peer = this.#peers.get(id);
    return {
      kind: 'hello',
      cluster: this.#options.cluster,
      founders: this.founders,
      incarnation: this.#options.incarnation,
      since: this.#config.since.get(this.#options.id) ?? 0,
      client,
      greeted: peer?.isKnown ?? false,
      settled: peer?.hasOurs ?? false,
    };
  }

  /** Takes a hello. @throws StorageError when the peer could not be remembered; it is not believed then */
  receive(from: NodeId, hello: Hello): Verdict {
    const peer = this.#peers.get(from) ?? this.#meet(from, undefined);
    const why = this.#objection(from, peer, hello);
    const isNews = why !== undefined && why !== peer.refused;
    if (why !== undefined) {
      peer.isKnown = false;
      peer.refused = why;
      return { refusal: this.#refusal(why), isAccepted: false, isNews };
    }
    peer.isKnown = true;
    peer.hasOurs = hello.greeted;
    peer.client = hello.client;
    const farewell = this.#farewell(from, peer, hello);
    const verdict = { isAccepted: true, isNews: farewell !== undefined && farewell !== peer.refused };
    peer.refused = farewell ?? '';
    return { ...verdict, refusal: farewell === undefined ? undefined : this.#refusal(farewell) };
  }

  /** A peer says that it does not want this node. @returns whether that is news, and not outdated */
  refusedBy(from: NodeId, refusal: Refusal): boolean {
    const peer = this.#peers.get(from);
    if (peer === undefined || refusal.index < this.#configIndex) return false;
    const isNews = peer.refusal?.why !== refusal.why;
    peer.refusal = refusal;
    return isNews;
  }

  /**
   * A member knows better: this node was removed, or lost its directory. It lacks what is committed, so it could not win
   * an election, and does not disturb the others by trying (thesis §4.2.3).
   */
  get isUnwanted(): boolean {
    for (const { isKnown, refusal } of this.#peers.values())
      if (isKnown && refusal !== undefined && refusal.index >= this.#configIndex) return true;
    return false;
  }

  /** Why a hello is not accepted. Remembers the directory of a member that shows it for the first time. */
  #objection(from: NodeId, peer: Peer, hello: Hello): string | undefined {
    const { cluster, id } = this.#options;
    if (from === id) return `n${from} is this node`;
    if (hello.cluster !== cluster)
      return `n${from} belongs to another cluster: to "${hello.cluster}", not to "${cluster}"`;
    const { founders } = this;
    const isOdd = founders.length > 0 && hello.founders.length > 0 && !isEqual(founders, hello.founders);
    if (isOdd)
      return `n${from} was started as one of ${names(hello.founders)}, but this cluster began with ${names(founders)}`;
    // No member, or added again since: this node has not heard of it yet, and remembers it when it has.
    if (peer.since === undefined || hello.since > peer.since) return undefined;
    const known = this.#book.incarnationOf(from, peer.since);
    if (known === undefined) this.#book.remember(from, peer.since, hello.incarnation);
    else if (!(this.#options.duties ?? DUTIES).isSameDirectory(known, hello.incarnation))
      return `n${from} is on a new data directory, so it has forgotten what it voted and acknowledged: ${this.#remedy(from)}`;
    return undefined;
  }

  /** What is to be done about a member that has lost its directory. */
  #remedy(id: NodeId): string {
    const known = this.#config.addresses.get(id) ?? '';
    const address = known === '' ? 'ADDR' : known;
    return `remove n${id} and add it again, with "oxide-kv member remove ${id}" and "oxide-kv member add ${id} ${address}"`;
  }

  /** What a node is told that was a member and is none. One that waits to be added knows that it is none. */
  #farewell(from: NodeId, peer: Peer, hello: Hello): string | undefined {
    const thinksSo = hello.since > 0 || hello.founders.includes(from);
    if (!this.#isCommitted || peer.since !== undefined || !thinksSo || hello.since > this.#configIndex)
      return undefined;
    return this.#config.voters.length === 0 ? undefined : `n${from} is no longer a member of this cluster`;
  }

  #refusal(why: string): Refusal {
    return { kind: 'refusal', why, index: this.#configIndex };
  }

  /** Starts over with a peer, as a member since then or as a stranger. */
  #meet(id: NodeId, since: LogIndex | undefined): Peer {
    const before = this.#peers.get(id);
    const peer: Peer = {
      since,
      isKnown: false,
      hasOurs: false,
      client: before?.client ?? '',
      connection: before?.connection ?? 0,
      helloMs: -Infinity,
      helloAfterMs: this.#options.heartbeatMs,
      tries: 0,
      refused: '',
      refusal: undefined,
    };
    this.#peers.delete(id);
    this.#peers.set(id, peer);
    if (since !== undefined) return peer;
    const strangers = [...this.#peers].filter(([, each]) => each.since === undefined);
    const [oldest] = strangers;
    if (strangers.length > STRANGERS_MAX && oldest !== undefined) this.#peers.delete(oldest[0]);
    return peer;
  }
}

function isWaiting({ isKnown, hasOurs, since, tries }: Peer): boolean {
  return (!isKnown || !hasOurs) && (since !== undefined || tries < TRIES_MAX);
}

function isEqual(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

function names(ids: readonly NodeId[]): string {
  return ids.map((id) => `n${id}`).join(' ');
}
