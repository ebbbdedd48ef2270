/**
 * The control plane between a supervisor and a node's thread: a handful of rare calls over comlink. Frames between
 * nodes, requests and reports have ports of their own.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Address } from '../net/address.ts';
import type { NodeOptions } from '../node/env.ts';
import type { CompactionJob, CompactionResult } from '../storage/lsm/table-format.ts';
import type { EngineKind } from '../storage/version-engine.ts';

/** What a thread needs to start its node. Everything in it can be cloned to another thread. */
export interface WorkerStart {
  readonly id: number;
  /** The founders; empty for a node that waits to be added. */
  readonly voters: readonly number[];
  readonly cluster: string;
  /** Undefined: what the directory remembers, `memory` for a new one. */
  readonly engine: EngineKind | undefined;
  readonly directory: string;
  readonly seed: string;
  /** What differs from the defaults of the core. */
  readonly raft: NonNullable<NodeOptions['raft']>;
  readonly requestTimeoutMs: number;
  readonly snapshotEntries: number;
  readonly historyRevisions?: number;
  /** Names the process and the node in the lock file. */
  readonly lockToken: string;
  readonly processStartedAt: number;
  readonly door: { readonly host: string; readonly port: number; readonly forward: boolean } | undefined;
  /** Between threads (the shared table of link faults), or between processes. */
  readonly network:
    | { readonly kind: 'channels'; readonly links: SharedArrayBuffer }
    | {
        readonly kind: 'sockets';
        readonly host: string;
        readonly port: number;
        /** Where other nodes are: the founders, or those that a node which waits to be added was told of. */
        readonly peers: readonly { readonly id: number; readonly address: Address }[];
      };
  /** One Int32: not 0 freezes the thread. */
  readonly freeze: SharedArrayBuffer;
  readonly control: MessagePort;
  readonly reports: MessagePort;
  /** Where merges of tables are carried out for this node: {@link CompactionOrder} out, {@link CompactionAnswer} back. */
  readonly compactions: MessagePort;
}

/** A node asks for a merge of tables. */
export interface CompactionOrder {
  /** The node's own. */
  readonly id: number;
  readonly job: CompactionJob;
}

/** What came of the order with the same id. */
export interface CompactionAnswer {
  readonly id: number;
  readonly result: CompactionResult;
}

/** The first message on the reports port. */
export type Started =
  | { readonly kind: 'started'; readonly client: string }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string };

/** Calls to a node's thread. */
export interface Control {
  /** Connects this node to a peer. The port is transferred. */
  connect(peer: number, port: MessagePort): void;
  /** Serves a client of this process on a port, which is transferred. */
  attachClient(port: MessagePort): void;
  /** Does nothing: reaching the thread lets it see the freeze flag. */
  poke(): void;
  /** Stops cleanly: answers what is open, closes doors and files, gives the lock back. */
  stop(): Promise<void>;
}
