/**
 * Linearizable reads at a replica that does not lead (thesis §6.4, last paragraph): the leader is asked at which index they
 * may be read. The reads of one turn share a request. A request that stays without an answer is repeated; when the leader
 * is lost, every read that waits for it ends. It decides nothing about what is confirmed: that is the leader's.
 */
import type { Core, MessageOf } from './core.ts';
import type { NodeId, Term } from './entry.ts';
import type { Refusal } from './messages.ts';

/** Requests without an answer; reads on top wait for the next. */
const REQUESTS_MAX = 64;
/** Reads that wait; the host's own limit is far below. */
export const READS_MAX = 1_048_576;
/** Request ids of two lives of a node lie at least this far apart, but for a chance of one in four billion. */
const IDS_PER_LIFE = 2 ** 20;

interface Asked {
  readonly ids: readonly number[];
  sentMs: number;
}

export class FollowerReads {
  readonly #core: Core;
  /** By request id, oldest first. */
  readonly #asked: Map<number, Asked> = new Map();
  /** Not asked for yet. */
  #fresh: number[] = [];
  #waiting = 0;
  /** Whose answers are awaited. An answer in another term is void, be it of the same leader. */
  #leader: NodeId = 0;
  #term: Term = 0;
  /** A reply to an earlier life must not be taken for one to this: its index may be too low. */
  #nextId: number | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** Takes reads; the leader must be known. */
  read(ids: readonly number[]): void {
    const { leader, term } = this.#core;
    this.#checkLeader();
    this.#leader = leader;
    this.#term = term;
    const room = Math.max(0, READS_MAX - this.#waiting);
    for (const id of ids.slice(0, room)) this.#fresh.push(id);
    this.#waiting += Math.min(room, ids.length);
    this.#refuse(ids.slice(room), { kind: 'tooManyReads', readsMax: READS_MAX });
  }

  /** The leader's answer. One to a request that is not open is late, and tells nothing. */
  answered({ id, index }: MessageOf<'readReply'>): void {
    const asked = this.#asked.get(id);
    if (asked === undefined) return;
    this.#asked.delete(id);
    this.#waiting -= asked.ids.length;
    for (const read of asked.ids) this.#core.outcome({ id: read, ok: true, kind: 'readable', index });
  }

  /** The leader is there: what was asked long ago is asked again, as request or answer may be lost. */
  repeat(): void {
    const { nowMs, config } = this.#core;
    for (const [id, asked] of this.#asked) {
      if (nowMs - asked.sentMs < config.heartbeatMs) continue;
      asked.sentMs = nowMs;
      this.#core.send(this.#leader, { kind: 'readRequest', id });
    }
  }

  /** The last moment before output is taken: asks for what is new, or ends everything when the leader is lost. */
  flush(): void {
    if (this.#waiting === 0) return;
    this.#checkLeader();
    if (this.#fresh.length === 0 || this.#asked.size >= REQUESTS_MAX) return;
    this.#nextId ??= this.#core.randomId() * IDS_PER_LIFE;
    const id = this.#nextId;
    this.#nextId += 1;
    this.#asked.set(id, { ids: this.#fresh, sentMs: this.#core.nowMs });
    this.#fresh = [];
    this.#core.send(this.#leader, { kind: 'readRequest', id });
  }

  #checkLeader(): void {
    const { leader, term } = this.#core;
    if (this.#waiting === 0 || (leader === this.#leader && term === this.#term)) return;
    const ids = [...this.#asked.values()].flatMap((asked) => asked.ids).concat(this.#fresh);
    this.#asked.clear();
    this.#fresh = [];
    this.#waiting = 0;
    this.#refuse(ids, { kind: 'notLeader', leader });
  }

  #refuse(ids: readonly number[], reason: Refusal): void {
    for (const id of ids) this.#core.outcome({ id, ok: false, reason });
  }
}
