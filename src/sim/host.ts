/**
 * The port between the scheduler and the nodes it drives: one synchronous call an event. The in-process host calls a
 * node directly; the worker host sends the same call to a thread and waits, so that the nodes of a demo are real threads
 * in virtual time. Everything that crosses is plain data and survives a structured clone, so that both hosts see the same.
 */
import type { Reply, Request } from '../net/protocol.ts';
import type { Duties } from '../node/duties.ts';
import type { NodeEvent } from '../node/status.ts';
import type { RaftConfig } from '../raft/core.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { RaftStatus } from '../raft/messages.ts';
import type { Rules } from '../raft/rules.ts';
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
  readonly segmentBytesMax: number;
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
  /** Sets what the disk does to coming calls; an empty list heals it. */
  | { readonly kind: 'disk'; readonly faults: readonly DiskFault[] };

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
      readonly seen: Observation;
    }
  | {
      readonly kind: 'down';
      /** Why, in words. */
      readonly reason: string;
      /** What it sent before it went down: it has left the machine. */
      readonly sent: readonly { readonly to: NodeId; readonly bytes: Uint8Array }[];
      readonly replies: readonly { readonly id: number; readonly reply: Reply }[];
      /** A bug, not a disk that gave up: the run has found something. */
      readonly isBug: boolean;
    };

/** What the checker may know of a node after a turn. Changes since the last observation of this life. */
export interface Observation {
  readonly raft: RaftStatus;
  readonly storage: 'ok' | 'failed';
  /** Log before which nothing is reported any more, with the rolling hash of everything up to it. */
  readonly base: { readonly index: LogIndex; readonly hash: number };
  /** The log was cut behind this index first; undefined if it was not. */
  readonly cutAfter: LogIndex | undefined;
  /** Entries that came behind, each with the rolling hash of the log up to it. */
  readonly appended: readonly { readonly index: LogIndex; readonly term: Term; readonly hash: number }[];
  /** Real votes that left the node. */
  readonly granted: readonly { readonly term: Term; readonly candidate: NodeId }[];
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
