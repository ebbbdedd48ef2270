/** The stores by the names of their engines: the one place that knows where each keeps its files. */
import { unreachable } from '../lib/assert.ts';
import type { CheckpointStore } from './checkpoint.ts';
import type { FileSystem } from './fs.ts';
import { LsmStore } from './lsm/lsm-store.ts';
import { type Compactor, LSM_OPTIONS, type LsmOptions } from './lsm/table-format.ts';
import { MemoryStore } from './memory-store.ts';

/** Which engine. Plain data. */
export type StorageChoice =
  | { readonly kind: 'memory' }
  /** Sizes by default for a server. */
  | { readonly kind: 'lsm'; readonly options?: LsmOptions };

export interface OpenStoreOptions {
  readonly fs: FileSystem;
  /** Of the node. */
  readonly directory: string;
  readonly choice: StorageChoice;
  /** Merges tables elsewhere; without it the tree does so itself, a slice at a time. */
  readonly compactor?: Compactor | undefined;
}

/**
 * Opens what keeps a node's data, below its directory, which data-directory.ts has made.
 *
 * @throws CorruptionError or StorageError when it cannot be trusted or read
 */
export function openStore({ fs, directory, choice, compactor }: OpenStoreOptions): CheckpointStore {
  switch (choice.kind) {
    case 'memory':
      return new MemoryStore({ fs, directory: `${directory}/snapshots` });
    case 'lsm':
      return new LsmStore({
        fs,
        directory: `${directory}/lsm`,
        options: choice.options ?? LSM_OPTIONS,
        ...(compactor === undefined ? {} : { compactor }),
      });
    default:
      return unreachable(choice);
  }
}
