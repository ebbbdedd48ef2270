/**
 * How much of the log a leader keeps behind its snapshot. A follower that has just been sent a snapshot needs what comes
 * behind it: if the log went on without waiting, the next snapshot would overtake the follower before it has caught up,
 * and it would be sent one snapshot after another for ever. So the log waits for such followers, within bounds.
 */
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { PeerProgress } from '../raft/messages.ts';

/** A follower that has not come nearer for this long is not waited for. */
const CATCHING_UP_MS = 60_000;
/** Entries kept for followers, at most, as a multiple of those that are kept in any case. */
const KEPT_FACTOR_MAX = 4;
/** With more than this on disk the log waits for nobody. The core has it in memory too. */
const KEPT_BYTES_MAX = 2 ** 31;

interface CatchingUp {
  match: LogIndex;
  movedMs: number;
}

/** A snapshot that was just saved. */
export interface SavedSnapshot {
  readonly nowMs: number;
  readonly snapshotIndex: LogIndex;
  /** Entries kept behind it in any case. */
  readonly trailingEntries: number;
  /** Entries between two snapshots. */
  readonly snapshotEntries: number;
}

/** What a leader knows when it is about to let the log's beginning go. */
export interface RetentionView extends SavedSnapshot {
  readonly walBytes: number;
  /** Empty on a follower. */
  readonly peers: readonly PeerProgress[];
  /** Snapshots on their way: where each follower's log will begin. */
  readonly sending: ReadonlyMap<NodeId, LogIndex>;
}

export class LogRetention {
  readonly #catchingUp: Map<NodeId, CatchingUp> = new Map();

  /** A follower has got a snapshot that ends at `index`. */
  delivered(peer: NodeId, index: LogIndex, nowMs: number): void {
    this.#catchingUp.set(peer, { match: index, movedMs: nowMs });
  }

  /** The log may be let go up to here. */
  floor(view: RetentionView): LogIndex {
    const { snapshotIndex, trailingEntries, snapshotEntries, sending } = view;
    const usual = Math.max(0, snapshotIndex - trailingEntries);
    this.#look(view);
    const needed = [...sending.values(), ...[...this.#catchingUp.values()].map(({ match }) => match)];
    const earliest = snapshotIndex - KEPT_FACTOR_MAX * Math.max(trailingEntries, snapshotEntries);
    const isBounded = view.walBytes <= KEPT_BYTES_MAX;
    return Math.min(usual, ...needed.filter((index) => isBounded && index >= earliest));
  }

  /** Forgets followers that are not there any more, have caught up, or stand still. */
  #look(view: RetentionView): void {
    const usual = Math.max(0, view.snapshotIndex - view.trailingEntries);
    for (const [id, state] of this.#catchingUp) {
      const match = view.peers.find((peer) => peer.id === id)?.match;
      if (match !== undefined && match > state.match) Object.assign(state, { match, movedMs: view.nowMs });
      const isStill = view.nowMs - state.movedMs > CATCHING_UP_MS;
      if (match === undefined || state.match >= usual || isStill) this.#catchingUp.delete(id);
    }
  }
}
