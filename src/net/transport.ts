/**
 * The transport port: carries envelopes from this node to its peers. It may lose, delay and reorder, but not duplicate:
 * a write without a session that is passed on twice would happen twice. It never blocks and never throws. A full
 * outgoing queue drops: Raft resends what matters.
 */
import type { NodeId } from '../raft/entry.ts';
import type { Envelope } from './protocol.ts';

export interface Transport {
  /** Hands over envelopes for one peer; they may be carried as one frame. The transport does not change them. */
  send(to: NodeId, envelopes: readonly Envelope[]): void;
}
