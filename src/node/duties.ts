/**
 * The duties of a node beside the rules of Raft, each one small function. The node asks them through one object, so that a
 * test or a lesson can neglect exactly one of them and watch what it was for. Production never passes anything but
 * {@link DUTIES}.
 */
import { StorageError } from '../lib/errors.ts';
import type { LeaderRequest } from '../net/protocol.ts';
import type { LogIndex } from '../raft/entry.ts';
import type { FileSystem } from '../storage/fs.ts';

export interface Duties {
  /** A snapshot holds all that the machine knows beside the rows: the sessions by which a retried command is known (thesis §6.3). */
  snapshotState(lines: readonly string[]): readonly string[];

  /** What the node keeps goes to the disk, syncs included: files, and the directories that name them (Pillai and others, 2014). */
  fileSystem(fs: FileSystem): FileSystem;

  /** After a failed write or sync nobody knows what is on the disk: the node stops for good (Rebello and others, 2020). */
  stopsAfter(error: unknown): boolean;

  /** Where the log ends when a write is read back: at its last entry, and what lay behind stays cut off (§5.3). `before`: where it ended. */
  endAfterReplay(written: LogIndex, before: LogIndex): LogIndex;

  /** A member shows the directory that it always had; on another it has forgotten what it voted and acknowledged (§5.2, §5.4). */
  isSameDirectory(known: string, shown: string): boolean;

  /** A request goes on as its client made it, with the number by which a repeated one is known (thesis §6.3). */
  request(asked: LeaderRequest): LeaderRequest;
}

/** The duties, kept. */
export const DUTIES: Duties = {
  snapshotState: (lines) => lines,
  fileSystem: (fs) => fs,
  stopsAfter: (error) => error instanceof StorageError,
  endAfterReplay: (written) => written,
  isSameDirectory: (known, shown) => known === shown,
  request: (asked) => asked,
};
