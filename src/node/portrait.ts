/** A node as others see it, at one moment: for clients, for screens, and for a simulator that looks after every turn. */
import type { StateMachine } from '../kv/state-machine.ts';
import type { LeaderHint, NodeStatus } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Raft } from '../raft/raft.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { DiskRoom } from './disk-room.ts';
import type { LogStore } from './log-store.ts';
import { membersIn } from './members.ts';
import { type Glance, type NodeAccount, accountOf, recentRows } from './status.ts';

/** The parts of a node that it is told from. */
export interface PortraitOptions {
  readonly raft: Raft;
  readonly machine: StateMachine;
  readonly store: LogStore;
  readonly checkpoints: Checkpoints;
  readonly room: DiskRoom;
  readonly leader: () => LeaderHint | undefined;
  /** Where a member's clients connect; empty if unknown. */
  readonly clientOf: (id: NodeId) => string;
  /** Of this node. */
  readonly id: NodeId;
  /** Something could not be read: the node is to stop believing its disk. Throws on what is none of the disk's. */
  readonly failed: (error: unknown) => void;
}

/** Reads only. */
export class Portrait {
  readonly #node: PortraitOptions;

  constructor(node: PortraitOptions) {
    this.#node = node;
  }

  /** See `NodeService.status`. */
  status(): NodeStatus {
    const { raft, machine, checkpoints, clientOf } = this.#node;
    return {
      raft: raft.status,
      members: membersIn(raft.config, clientOf),
      leader: this.#node.leader(),
      client: clientOf(this.#node.id),
      keys: machine.count,
      dataBytes: machine.bytes,
      walBytes: this.#node.store.walBytes,
      snapshotIndex: checkpoints.position.index,
      storage: this.#node.room.state,
      revision: machine.revision,
      compactedRevision: machine.compactedRevision,
      engine: checkpoints.engine.stats,
    };
  }

  /** The part of {@link status} that a simulator looks at after every turn. */
  glance(): Glance {
    const { raft, checkpoints, room } = this.#node;
    const { status } = raft;
    const base = { index: status.first - 1, term: raft.termAt(status.first - 1) ?? 0 };
    return {
      raft: status,
      storage: room.state,
      isAbstaining: raft.isAbstaining,
      snapshotIndex: checkpoints.position.index,
      base,
    };
  }

  /** The node's account of itself for people, at `nowMs`; `timerTotalMs` is what its timer was set to. */
  account(nowMs: number, timerTotalMs: number): NodeAccount {
    const { raft, machine, checkpoints, room } = this.#node;
    const keys = this.#recentRows();
    return accountOf({
      raft,
      machine,
      keys,
      nowMs,
      timerTotalMs,
      walBytes: this.#node.store.walBytes,
      snapshotIndex: checkpoints.position.index,
      storage: room.state,
      engine: checkpoints.engine.stats,
    });
  }

  /** They may lie on the disk, and that may be damaged. */
  #recentRows(): NodeAccount['keys'] {
    const { machine, room, failed } = this.#node;
    if (room.hasFailed) return [];
    try {
      return recentRows(machine);
    } catch (error) {
      failed(error);
      return [];
    }
  }
}
