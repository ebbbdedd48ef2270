/** What is known of a data directory that nobody opened: plain data, for people and for JSON. */
import type { LockOwner } from '../storage/data-directory.ts';
import type { EngineKind } from '../storage/version-engine.ts';

/** Something that keeps a node from starting here, or would lose data: in words, with file and offset. */
export interface Finding {
  /** The file or directory, below the data directory. */
  readonly file: string;
  /** `damaged`: not what was written; `unreadable`: of a later format, foreign, or refused by the system. */
  readonly kind: 'damaged' | 'unreadable';
  readonly message: string;
}

/** Entries of one shard in one segment. */
export interface ShardEntries {
  readonly shard: number;
  readonly records: number;
  readonly entries: number;
  /** Zeros without entries. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly firstTerm: number;
  readonly lastTerm: number;
}

/** One file of the write-ahead log. */
export interface SegmentReport {
  readonly name: string;
  readonly bytes: number;
  readonly records: number;
  readonly shards: readonly ShardEntries[];
  /** Bytes at the end that were never wholly durable: the next start cuts them off. */
  readonly tornBytes: number;
}

/** The log as a node would read it. */
export interface LogReport {
  readonly segments: readonly SegmentReport[];
  /** Term, vote and commit index as the last record says; undefined without a record. */
  readonly hard: { readonly term: number; readonly vote: number; readonly commit: number } | undefined;
  /** Entries that the log holds once replaced ones are gone; zeros when there is none. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly firstTerm: number;
  readonly lastTerm: number;
}

/** One snapshot file, or the state of a tree. */
export interface SnapshotReport {
  readonly name: string;
  readonly bytes: number;
  readonly format: number;
  readonly index: number;
  readonly term: number;
  /** Versions of keys; undefined where the format does not tell them from other lines without reading all. */
  readonly rows: number | undefined;
  /** Whether the checksum of the whole was compared. */
  readonly verified: boolean;
}

/** A level of the tree of tables. */
export interface LevelReport {
  readonly level: number;
  readonly tables: number;
  readonly bytes: number;
  readonly versions: number;
  /** As latin-1 strings, one character a byte. */
  readonly firstKey: string;
  readonly lastKey: string;
  readonly revisionMin: number;
  readonly revisionMax: number;
}

/** The tree of tables. */
export interface TreeReport {
  readonly manifest: string;
  readonly horizon: number;
  readonly checkpoint: SnapshotReport | undefined;
  /** Those that have tables. */
  readonly levels: readonly LevelReport[];
}

/** Who belongs to the cluster, as far as this directory knows. */
export interface MembersReport {
  /** Where it stands in the log; the index of the checkpoint when it comes from there. */
  readonly index: number;
  readonly text: string;
}

/** A node's data directory. */
export interface NodeReport {
  readonly path: string;
  /** Format of `node.json`; undefined when that cannot be read. */
  readonly format: number | undefined;
  readonly identity:
    | {
        readonly cluster: string | undefined;
        readonly nodeId: number;
        readonly incarnation: string;
        readonly witness: boolean;
        readonly engine: EngineKind;
      }
    | undefined;
  /** What keeps its data; undefined when `node.json` cannot be read. */
  readonly engine: EngineKind | undefined;
  /** Processes that left a lock file, alive or not. */
  readonly lockHolders: readonly LockOwner[];
  readonly founders: readonly number[] | undefined;
  readonly members: MembersReport | undefined;
  readonly log: LogReport | undefined;
  readonly snapshots: readonly SnapshotReport[];
  readonly tree: TreeReport | undefined;
  /** Files that the next start removes: unfinished, or named by nothing. */
  readonly leftovers: readonly string[];
  readonly files: number;
  readonly bytes: number;
  /** Whether every byte was read and compared with its checksum. */
  readonly verified: boolean;
  readonly findings: readonly Finding[];
}

/** What is being read, for a progress bar. `bytes` were done since the last report. */
export interface Progress {
  readonly file: string;
  readonly bytes: number;
}
