/** A node that shows what a test tells it to: for feeding the checkers of a simulation with good and bad stories. */
import { at } from '../../src/lib/assert.ts';
import type { LogIndex, NodeId, Term } from '../../src/raft/entry.ts';
import { type Config, bootstrapConfig } from '../../src/raft/membership.ts';
import type { PeerProgress, Role } from '../../src/raft/messages.ts';
import type { Grant, Observation } from '../../src/sim/host.ts';

export interface FakeEntry {
  readonly term: Term;
  readonly what: string;
}

/** The rolling hash of a log with one more entry; no two different logs of these tests share one. */
function roll(hash: number, { term, what }: FakeEntry): number {
  let rolled = hash;
  for (const c of `${term}${what}`) rolled = (Math.imul(rolled ^ c.charCodeAt(0), 16_777_619) + 7) >>> 0;
  return rolled;
}

export class FakeNode {
  readonly id: NodeId;
  role: Role = 'follower';
  term: Term = 0;
  vote: NodeId = 0;
  leader: NodeId = 0;
  commit: LogIndex = 0;
  applied: LogIndex = 0;
  durable: LogIndex | undefined;
  first: LogIndex = 1;
  snapshotIndex: LogIndex = 0;
  storage: 'ok' | 'full' | 'failed' = 'ok';
  isAbstaining = false;
  config: Config;
  configIndex: LogIndex = 0;
  stateHash: string | undefined;
  peers: readonly PeerProgress[] = [];
  transferTo: NodeId = 0;
  leaseUntilMs = 0;
  isQuiesced = false;
  granted: Grant[] = [];
  baseHash: number | undefined;
  /** The whole log from the beginning, what is behind a base included. */
  entries: FakeEntry[] = [];
  #shown: FakeEntry[] = [];
  #hashes: number[] = [0];
  #isNew = true;

  constructor(id: NodeId, voters: readonly NodeId[] = [1, 2, 3]) {
    this.id = id;
    this.config = bootstrapConfig(voters);
  }

  /** Gives it entries; each letter is one. */
  append(term: Term, what: string): this {
    for (const c of what) this.entries.push({ term, what: c });
    return this;
  }

  /** Everything up to `index` is committed and applied. */
  commits(index: LogIndex): this {
    this.commit = index;
    this.applied = index;
    return this;
  }

  /** It is elected, and its no-op is in its log. */
  leads(term: Term): this {
    this.term = term;
    this.vote = this.id;
    this.role = 'leader';
    this.leader = this.id;
    return this.append(term, '-');
  }

  votes(term: Term, candidate: NodeId): this {
    this.term = term;
    this.vote = candidate;
    this.granted.push({ term, candidate });
    return this;
  }

  /** It takes over another's log. */
  copies(other: FakeNode, upTo: LogIndex = other.entries.length): this {
    this.entries = other.entries.slice(0, upTo);
    this.term = Math.max(this.term, other.term);
    this.role = 'follower';
    this.leader = other.id;
    return this;
  }

  /** The next sight is the first of a new life. */
  restarts(): this {
    this.#isNew = true;
    this.role = 'follower';
    this.leader = 0;
    return this;
  }

  /** What it shows, with the changes since it last did. */
  show(): Observation {
    const base = this.first - 1;
    const kept = this.#isNew ? base : Math.max(base, this.#shared());
    const isCut = !this.#isNew && kept < this.#shown.length;
    const hashes = this.#rehash();
    const appended = this.entries.slice(kept).map(({ term }, i) => {
      const index = kept + i + 1;
      return { index, term, hash: at(hashes, index) };
    });
    this.#shown = [...this.entries];
    this.#isNew = false;
    const { granted } = this;
    this.granted = [];
    const last = this.entries.length;
    return {
      raft: {
        id: this.id,
        role: this.role,
        term: this.term,
        vote: this.vote,
        leader: this.leader,
        commit: this.commit,
        applied: this.applied,
        first: this.first,
        last: { index: last, term: last === 0 ? 0 : at(this.entries, last - 1).term },
        durable: this.durable ?? last,
        deadlineMs: 0,
        peers: this.peers,
        votes: [],
        config: this.config,
        configIndex: this.configIndex,
        transferTo: this.transferTo,
        leaseUntilMs: this.leaseUntilMs,
        isQuiesced: this.isQuiesced,
      },
      storage: this.storage,
      isAbstaining: this.isAbstaining,
      base: { index: base, hash: this.baseHash ?? at(hashes, base) },
      cutAfter: isCut ? kept : undefined,
      appended,
      granted,
      snapshotIndex: this.snapshotIndex,
      stateHash: this.stateHash ?? `s${at(hashes, Math.min(this.applied, last))}`,
    };
  }

  /** Hash of the log up to each index; call it before `#shown` changes. */
  #rehash(): readonly number[] {
    this.#hashes.length = this.#shared() + 1;
    for (const entry of this.entries.slice(this.#hashes.length - 1))
      this.#hashes.push(roll(at(this.#hashes, this.#hashes.length - 1), entry));
    return this.#hashes;
  }

  #shared(): number {
    let i = 0;
    while (i < this.#shown.length && i < this.entries.length && this.#shown[i] === this.entries[i]) i += 1;
    return i;
  }
}
