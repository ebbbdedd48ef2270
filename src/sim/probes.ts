/**
 * Rare paths: what a campaign must have reached to have proved anything. Each probe is a name that a run has hit or not,
 * seen in what nodes show and tell and in what clients are answered. It judges nothing.
 */
import type { NodeEvent } from '../node/status.ts';
import type { Reply, Request } from '../net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { RaftStatus } from '../raft/messages.ts';
import type { DownCause, Observation } from './host.ts';
import { ClientProbes, type ClusterView } from './probe-clients.ts';
import { readEvent } from './probe-events.ts';
import { MemberProbes } from './probe-members.ts';
import type { ProbeName } from './probe-names.ts';

/** A start this soon after a death is quick. */
const QUICK_MS = 20;
const MANY_AT_ONCE = 10;
const FAR_BEHIND = 20;

/** What a probe asks of a node's log. */
export interface LogView {
  termAt(index: LogIndex): Term | undefined;
}

/** What is known of one node. */
interface Place {
  readonly id: NodeId;
  isUp: boolean;
  life: number;
  downMs: number;
  /** Its term when this life began; undefined before it was seen. */
  firstTerm: Term | undefined;
  /** The last life in which it led. */
  ledInLife: number;
  /** Of its last candidacy. */
  candidateTerm: Term;
  isStorageFailed: boolean;
  raft: RaftStatus | undefined;
}

/** Collects the probes of one run. Feed it everything, in order, each event after the invariants have seen it. */
export class Probes {
  readonly #hits: Set<ProbeName> = new Set();
  readonly #places: Map<NodeId, Place> = new Map();
  readonly #hit = (name: ProbeName): void => void this.#hits.add(name);
  readonly #clients: ClientProbes = new ClientProbes(this.#hit);
  readonly #members: MemberProbes = new MemberProbes(this.#hit);
  readonly #view: { leaderTerm: Term; leader: NodeId; commit: LogIndex } = {
    leaderTerm: 0,
    leader: 0,
    commit: 0,
  };

  /** @param nodes all that there are */
  constructor(nodes: readonly NodeId[]) {
    for (const id of nodes)
      this.#places.set(id, {
        id,
        isUp: false,
        life: 0,
        downMs: -Infinity,
        firstTerm: undefined,
        ledInLife: 0,
        candidateTerm: 0,
        isStorageFailed: false,
        raft: undefined,
      });
  }

  /** The probes that were hit, sorted. */
  get names(): readonly ProbeName[] {
    return [...this.#hits].toSorted();
  }

  /** A node starts its `life`-th life. */
  started(node: NodeId, life: number, nowMs: number): void {
    const place = this.#places.get(node);
    if (place === undefined) return;
    place.isUp = true;
    place.life = life;
    place.firstTerm = undefined;
    place.isStorageFailed = false;
    place.raft = undefined;
    if (nowMs - place.downMs <= QUICK_MS) this.#hit('restart within 20 ms');
  }

  /** A node went down. @param how.inTurn in the middle of a turn or a start */
  wentDown(node: NodeId, how: { readonly cause: DownCause; readonly inTurn: boolean }, nowMs: number): void {
    const place = this.#places.get(node);
    if (place === undefined) return;
    const { raft } = place;
    const isStart = raft === undefined;
    place.isUp = false;
    place.downMs = nowMs;
    place.raft = undefined;
    if (how.cause === 'corruption') this.#hit('corruption refused');
    else if (how.inTurn) this.#hit(isStart ? 'died while it started' : 'died in a turn');
    this.#countDown();
    if (raft === undefined) return;
    this.#members.wentDown(raft);
    if (raft.role === 'leader') this.#leaderDown(raft, how.inTurn);
  }

  /** A node has ended a turn or a start, and told of it. @param log as it is now */
  observed(node: NodeId, seen: Observation, events: readonly NodeEvent[], log: LogView): void {
    const place = this.#places.get(node);
    if (place === undefined) return;
    for (const event of events) readEvent(event, this.#hit);
    const { raft } = seen;
    const last = place.raft;
    place.raft = raft;
    if (seen.storage === 'failed') return this.#storageFailed(place, last);
    this.#view.commit = Math.max(this.#view.commit, raft.commit);
    for (const { term } of seen.granted)
      if (term === place.firstTerm && place.life > 1) this.#hit('vote after a restart in the same term');
    if (last === undefined) {
      place.firstTerm = raft.term;
      if (place.life > 1 && raft.first > 1) this.#hit('restart from a snapshot');
      return;
    }
    if (isUnchanged(last, raft) && seen.cutAfter === undefined) return;
    this.#followRole(place, last, raft);
    this.#followLog(last, seen);
    this.#members.observed(last, raft);
    if (raft.role === 'leader') this.#followLeader(last, raft, log);
  }

  /** A request was handed to a node. */
  submitted(id: number, node: NodeId, request: Request): void {
    const view: ClusterView = { ...this.#view };
    this.#clients.submitted(id, node, request, view);
  }

  /** It was answered. */
  replied(id: number, reply: Reply): void {
    this.#clients.replied(id, reply, this.#view);
  }

  /** It never will be. */
  lost(id: number): void {
    this.#clients.lost(id);
  }

  #countDown(): void {
    let up = 0;
    for (const place of this.#places.values()) if (place.isUp) up += 1;
    const all = this.#places.size;
    if (up === 0) this.#hit('all down');
    if (up * 2 <= all) this.#hit('no majority up');
    if (all === 5 && up === 3) this.#hit('two of five down');
  }

  #leaderDown(raft: RaftStatus, inTurn: boolean): void {
    const hit = this.#hit;
    hit('leader down');
    if (inTurn || raft.durable < raft.last.index) hit('leader down with an unsynced tail');
    if (raft.commit < raft.last.index) hit('leader down with an uncommitted tail');
    if (raft.transferTo !== 0) hit('leader down while it hands over');
    if (raft.peers.some((peer) => peer.mode === 'snapshot')) hit('leader down while it sends a snapshot');
  }

  #storageFailed(place: Place, last: RaftStatus | undefined): void {
    if (place.isStorageFailed) return;
    place.isStorageFailed = true;
    if (last?.role === 'leader') this.#hit('storage failed under a leader');
  }

  #followRole(place: Place, last: RaftStatus, now: RaftStatus): void {
    const hit = this.#hit;
    if (now.role === last.role && now.term === last.term) return;
    if (now.role === 'candidate') {
      if (place.candidateTerm > this.#view.leaderTerm && now.term > place.candidateTerm)
        hit('candidate tried again');
      place.candidateTerm = now.term;
      for (const other of this.#places.values())
        if (other !== place && other.raft?.role === 'candidate' && other.raft.term === now.term)
          hit('two candidates in one term');
    }
    if (now.role !== 'leader') return;
    if (now.term >= this.#view.leaderTerm + 4 && this.#view.leaderTerm > 0)
      hit('three terms without a leader');
    if (place.ledInLife !== 0 && place.ledInLife !== place.life) hit('same node leads in a later life');
    place.ledInLife = place.life;
    for (const other of this.#places.values())
      if (other !== place && other.isUp && other.raft?.role === 'leader') hit('two leaders at once');
    if (now.term > this.#view.leaderTerm) {
      this.#view.leaderTerm = now.term;
      this.#view.leader = now.id;
    }
  }

  #followLog(last: RaftStatus, { raft, base, cutAfter }: Observation): void {
    const hit = this.#hit;
    const isReplaced = base.index > last.last.index;
    if (cutAfter !== undefined && !isReplaced) {
      hit('log cut');
      if (last.last.index - cutAfter >= 2) hit('log cut by two entries');
    }
    if (isReplaced)
      for (const { raft: other } of this.#places.values())
        if (other?.role === 'leader' && other.last.index > other.commit)
          hit('snapshot came while entries were in flight');
    if (!isReplaced && raft.first > last.first) hit('log compacted');
    if (raft.commit - last.commit >= MANY_AT_ONCE) hit('ten entries committed at once');
  }

  #followLeader(last: RaftStatus, now: RaftStatus, log: LogView): void {
    const hit = this.#hit;
    if (now.last.index - now.commit >= MANY_AT_ONCE) hit('ten entries wait at a leader');
    if (now.commit > last.commit && (log.termAt(last.commit + 1) ?? now.term) < now.term)
      hit('entry of an earlier term committed');
    for (const { id, match } of now.peers) {
      const peer = this.#places.get(id)?.raft;
      if (peer !== undefined && peer.last.index > now.last.index) hit('follower longer than its leader');
      if (match > 0 && now.last.index - match >= FAR_BEHIND) hit('follower twenty entries behind');
    }
    if (now.commit >= now.last.index || now.peers.length === 0) return;
    const index = majorityMatch(now);
    const term = log.termAt(index);
    if (index > now.commit && term !== undefined && term < now.term)
      hit('old entry on a majority, uncommitted (Figure 8)');
  }
}

/** The highest index that a majority of the leader and its peers is known to hold. */
function majorityMatch({ durable, peers }: RaftStatus): LogIndex {
  const matches = [durable, ...peers.map((peer) => peer.match)].toSorted((a, b) => b - a);
  return matches[Math.floor(matches.length / 2)] ?? 0;
}

/** The usual case, so it must be quick. */
function isUnchanged(last: RaftStatus, now: RaftStatus): boolean {
  return (
    last.role === now.role &&
    last.term === now.term &&
    last.commit === now.commit &&
    last.last.index === now.last.index &&
    last.first === now.first &&
    last.configIndex === now.configIndex &&
    last.transferTo === now.transferTo &&
    last.leaseUntilMs > 0 === now.leaseUntilMs > 0 &&
    last.isQuiesced === now.isQuiesced &&
    now.role !== 'leader'
  );
}
