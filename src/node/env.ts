/** What a node needs from outside, and what it is told about itself: the ports and options of `node.ts`. */
import type { Random } from '../lib/random.ts';
import type { Transport } from '../net/transport.ts';
import type { RaftConfig } from '../raft/config.ts';
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { Rules } from '../raft/rules.ts';
import type { CheckpointStore } from '../storage/checkpoint.ts';
import type { FileSystem } from '../storage/fs.ts';
import type { Duties } from './duties.ts';

/** What a node runs on. The simulator passes its own. */
export interface NodeEnv {
  readonly fs: FileSystem;
  readonly transport: Transport;
  /** Opens what keeps the node's data, below its directory and on the disk given. Called once; the node closes it. */
  readonly openStore: (fs: FileSystem, directory: string) => CheckpointStore;
  /** Of this node alone, and of this start of it. */
  readonly random: Random;
  /** The clock of the turns, read again: a disk may have held the thread up since the turn began. */
  readonly nowMs: () => number;
  /** Asks the driver for a turn soon. May be called at any time, also within a turn. */
  readonly wake: () => void;
  /** Clients have been answered and the thread is about to block in a sync: what they are told must leave first. */
  readonly beforeSync: () => void;
  /** Whom this node talks to has changed. Called within a turn; must not call the node. */
  readonly contactsChanged?: (contacts: readonly Contact[]) => void;
}

/** A member that this node talks to. */
export interface Contact {
  readonly id: NodeId;
  /** As the log tells it; empty if it does not. */
  readonly address: string;
  /** Where in the log it was added; 0 for one that the cluster began with. */
  readonly since: LogIndex;
}

/** Who a node is and how it behaves. The same in every life of its data directory, but for times and sizes. */
export interface NodeOptions {
  readonly id: NodeId;
  /**
   * The voters that the cluster begins with; empty for a node that waits to be added. Asked once in the life of a data
   * directory: later it is the log that says who the members are.
   */
  readonly voters: readonly NodeId[];
  /** Where the voters are reached, for the log to pass on to nodes that are added later. */
  readonly addresses?: ReadonlyMap<NodeId, string>;
  /** Whether a node cannot be added without an address, or has none that others could use. Default: either will do. */
  readonly memberAddresses?: 'needed' | 'none' | 'any';
  readonly cluster: string;
  /** Names the data directory; changes when it is wiped. */
  readonly incarnation: string;
  /** An existing data directory, locked by the caller. */
  readonly directory: string;
  readonly raft?: Partial<RaftConfig>;
  /** For lessons and tests only, as are `duties`. */
  readonly rules?: Rules;
  readonly duties?: Duties;
  readonly requestTimeoutMs: number;
  /** Entries applied between two snapshots; more when a snapshot costs more, fewer when the engine's memory is full. */
  readonly snapshotEntries: number;
  /** Entries kept in the log behind a snapshot; by default as many as a follower slightly behind may need. */
  readonly trailingEntries?: number;
  /** Revisions that can still be read behind the newest, at least; a leader lets older ones go now and then. Default 100,000. */
  readonly historyRevisions?: number;
  readonly segmentBytesMax?: number;
}
