/**
 * The synchronous file-system port. A node's thread blocks in its own sync; meanwhile its inbox fills, and the next
 * turn commits all of it with one sync. Fault decorators and the simulator's disk implement the same port.
 */

/** An open file. Every method throws {@link StorageError} when the operating system refuses. */
export interface File {
  /** Writes all of `bytes` at `offset`, looping over short writes. */
  write(bytes: Uint8Array, offset: number): void;
  /** Reads up to `length` bytes at `offset`; shorter only at the end of the file. */
  read(offset: number, length: number): Uint8Array;
  size(): number;
  truncate(size: number): void;
  /** Makes data and size durable (fdatasync). After a failure nothing written through this file may be believed. */
  sync(): void;
  close(): void;
}

/** Names and files below any directory. Paths are joined by the caller with `/`. */
export interface FileSystem {
  /** `create`: must not exist yet; `readWrite`: must exist; `read`: must exist. Mode 0600. */
  open(path: string, mode: 'create' | 'readWrite' | 'read'): File;
  exists(path: string): boolean;
  /** Names in a directory, sorted. */
  list(directory: string): readonly string[];
  /** Creates a directory and its parents, mode 0700. */
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): void;
}
