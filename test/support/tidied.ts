/** Stores as a node has them. */
import type { CheckpointStore } from '../../src/storage/checkpoint.ts';

/** Rid of leftovers, as a node does when the log fits. Closed when that fails. */
export function tidied<Store extends CheckpointStore>(store: Store): Store {
  try {
    store.tidy();
  } catch (error) {
    store.close();
    throw error;
  }
  return store;
}
