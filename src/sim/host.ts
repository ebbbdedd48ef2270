/**
 * The port between the scheduler and the nodes it drives: one synchronous call an event. The in-process host calls a
 * node directly; the worker host sends the same call to a thread and waits, so that the nodes of a demo are real threads
 * in virtual time. Everything that crosses is plain data and survives a structured clone, so that both hosts see the same.
 */
import type { Reply, Request } from '../net/protocol.ts';
import type { Duties } from '../node/duties.ts';
import type { NodeEvent } from '../node/status.ts';
import type { RaftConfig } from '../raft/config.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { LogPosition, RaftStatus } from '../raft/messages.ts';
import type { Rules } from '../raft/rules.ts';
import type { StorageChoice } from '../storage/open-store.ts';
import type { CrashMode, DiskFault } from './disk.ts';

/** What a node obeys. */
export interface Soundness {
  readonly rules: Rules;
  readonly duties: Duties;
}

/** Looks up a broken rule or duty by name; undefined gives the sound ones. Whoever builds a simulation passes it in. */
export type Breaker = (name: string | undefined) => Soundness;

/** How a simulated node is built. The same for every life of the node, but for what its disk holds. */
export interface NodePlan {
  readonly id: NodeId;
  /** The voters that the cluster began with; empty for a node that waits to be added. */
  readonly voters: readonly NodeId[];
  /** Seeds the node's own randomness, together with its id and its life. */
  readonly seed: string;
  readonly raft: Partial<RaftConfig>;
  readonly requestTimeoutMs: number;
  readonly snapshotEntries: number;
  /** Entries kept in the log behind a snapshot. */
  readonly trailingEntries: number;
  readonly segmentBytesMax: number;
  /** Revisions that can still be read, at least. */
  readonly historyRevisions: number;
  readonly storage: StorageChoice;
  /** Name of the rule or duty that is broken in this run; undefined for a sound node. */
  readonly broken: string | undefined;
}

/** One event for one node. Times are on the node's own clock. */
export type HostCall =
  /** Starts the node from what its disk holds; `life` counts its starts. */
  | { readonly kind: 'start'; readonly plan: NodePlan; readonly life: number; readonly nowMs: number }
  /** One turn, with everything that has arrived since the last one. */
  | {
      readonly kind: 'turn';
      readonly nowMs: number;
      /** See `Node.turn`. */
      readonly heardEverything: boolean;
      /** Peers whose connection is new. */
      readonly connected: readonly NodeId[];
      readonly frames: readonly { readonly from: NodeId; readonly bytes: Uint8Array }[];
      readonly requests: readonly {
        /** Chosen by the caller; the reply carries it. */
        readonly id: number;
        readonly request: Request;
        readonly forward: boolean;
      }[];
    }
  /** The process ends; the disk stays as the operating system has it. */
  | { readonly kind: 'crash' }
  /** The power goes: what was not synced is kept, lost or torn. */
  | { readonly kind: 'cutPower'; readonly mode: CrashMode }
  /** The process ends and its directory is gone. */
  | { readonly kind: 'wipe' }
  /** Sets what the disk does from now on, instead of what was set before. */
  | { readonly kind: 'disk'; readonly state: DiskState }
  /** Flips one bit of what the disk of a stopped node certainly holds, where the node is able to notice it. */
  | { readonly kind: 'damage' };

/** What a disk does beside its work. */
export interface DiskState {
  /** Each waits for its call and happens once. */
  readonly faults: readonly DiskFault[];
  /** How long every sync takes beyond the usual. */
  readonly syncMs: number;
  /** How much more fits on the disk than it holds now; Infinity for a disk that is never full. */
  readonly freeBytes: number;
  /** Every sync says that it is done, and none is. */
  readonly lies: boolean;
}

/** A disk without any fault. */
export const HEALTHY_DISK: DiskState = { faults: [], syncMs: 0, freeBytes: Infinity, lies: false };

/** Why a node is down: it was told to, its disk gave up, what it holds is damaged, or (a finding) it threw something else. */
export type DownCause = 'told' | 'powerCut' | 'storage' | 'corruption' | 'bug';

/** What came of a call. */
export type HostResult =
  | {
      readonly kind: 'up';
      readonly sent: readonly { readonly to: NodeId; readonly bytes: Uint8Array }[];
      readonly replies: readonly { readonly id: number; readonly reply: Reply }[];
      /** When the node wants its next turn, on its clock; Infinity for never, at most now for at once. */
      readonly deadlineMs: number;
      /** How long the turn kept the node busy on its disk beyond the usual. */
      readonly diskMs: number;
      readonly events: readonly NodeEvent[];
      readonly seen: Sight;
      readonly granted: readonly Grant[];
      /** Messages of the Raft core among what was sent. */
      readonly messages: number;
    }
  | {
      readonly kind: 'down';
      /** Why, in words. */
      readonly reason: string;
      readonly cause: DownCause;
      /** What it sent before it went down: it has left the machine. */
      readonly sent: readonly { readonly to: NodeId; readonly bytes: Uint8Array }[];
      readonly replies: readonly { readonly id: number; readonly reply: Reply }[];
      readonly granted: readonly Grant[];
      readonly messages: number;
    }
  /** Of `disk` and `damage`: what was done, in words. */
  | { readonly kind: 'done'; readonly what: string };

/** A real vote that left the node: granted to another, or its own, in a request for those of others. */
export interface Grant {
  readonly term: Term;
  readonly candidate: NodeId;
}

/** What a node shows after a turn: an {@link Observation} but for the rolling hashes, which need the history of all nodes. */
export interface Sight {
  readonly raft: RaftStatus;
  readonly storage: 'ok' | 'full' | 'failed';
  /** It has lost a part of its log and takes part in no election. */
  readonly isAbstaining: boolean;
  /** The end of what is not reported any more. */
  readonly base: LogPosition;
  readonly cutAfter: LogIndex | undefined;
  /** Entries that came behind, each with the checksum of its kind and payload. */
  readonly appended: readonly { readonly index: LogIndex; readonly term: Term; readonly crc: number }[];
  readonly snapshotIndex: LogIndex;
  readonly stateHash: string;
}

/** What the checker may know of a node after a turn. Changes since the last observation of this life. */
export interface Observation {
  readonly raft: RaftStatus;
  readonly storage: 'ok' | 'full' | 'failed';
  /** It has lost a part of its log and takes part in no election. */
  readonly isAbstaining: boolean;
  /** Log before which nothing is reported any more, with the rolling hash of everything up to it. */
  readonly base: { readonly index: LogIndex; readonly hash: number };
  /** The log was cut behind this index first; undefined if it was not. */
  readonly cutAfter: LogIndex | undefined;
  /** Entries that came behind, each with the rolling hash of the log up to it. */
  readonly appended: readonly { readonly index: LogIndex; readonly term: Term; readonly hash: number }[];
  /** Real votes that left the node. */
  readonly granted: readonly Grant[];
  readonly snapshotIndex: LogIndex;
  /** Hash of the whole state at `raft.applied`. */
  readonly stateHash: string;
}

/** Carries calls to nodes. Calls to one node are answered in order. */
export interface NodeHost {
  call(node: NodeId, call: HostCall): HostResult;
  /** Releases what the host holds. Idempotent. */
  close(): void;
}
