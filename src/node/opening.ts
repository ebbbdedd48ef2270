/**
 * Opens what a node has on disk: the newest checkpoint, the log behind it, and the machine that they add up to. Data that are
 * damaged are set aside if peers can make them good, and the node begins again without.
 */
import { CorruptionError, messageOf } from '../lib/errors.ts';
import { withCounters } from '../kv/legacy-state.ts';
import { StateMachine } from '../kv/state-machine.ts';
import type { LogIndex } from '../raft/entry.ts';
import type { Config } from '../raft/membership.ts';
import type { CheckpointStore } from '../storage/checkpoint.ts';
import type { FileSystem } from '../storage/fs.ts';
import { Checkpoints } from './checkpoints.ts';
import type { Duties } from './duties.ts';
import { LogStore, type Recovered, describeRecovery } from './log-store.ts';
import { notedDamage, setDataAside } from './state-loss.ts';

/** Which directory, and what may be done about damage in it. */
export interface OpeningOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly openStore: () => CheckpointStore;
  /** Whether others vote, and so keep what this node has acknowledged, when the newest members known are these. */
  readonly hasPeers: (config: Config | undefined) => boolean;
  readonly duties: Duties;
  readonly segmentBytesMax?: number | undefined;
}

/** What was opened; it belongs to the caller. */
export interface Opened {
  readonly checkpoints: Checkpoints;
  readonly store: LogStore;
  readonly recovered: Recovered;
  readonly machine: StateMachine;
  /** What was found, in words. */
  readonly account: string;
}

/**
 * Opens the directory of a node, which is locked.
 *
 * @throws CorruptionError when it cannot be trusted and peers cannot help; StorageError when it cannot be read
 */
export function openReplica(options: OpeningOptions): Opened {
  let damage = notedDamage(options.fs, options.directory);
  if (damage === undefined) {
    try {
      return open(options);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      damage = messageOf(error);
      if (!setDataAside(logOf(options), damage)) throw error;
    }
  } else setDataAside(logOf(options), damage);
  const opened = open(options);
  const account = `${opened.account}; its data were damaged and are set aside in "damaged-data": ${damage}`;
  return { ...opened, account };
}

/**
 * Brings the machine to the checkpoint at `index`, whose versions the engine holds already.
 *
 * @param state the machine's own lines in it
 * @throws CorruptionError when they are none of a state
 */
export function restoreMachine(
  machine: StateMachine,
  { engine }: Checkpoints,
  index: LogIndex,
  state: readonly string[],
): void {
  machine.restore(index, withCounters(index, engine, state));
}

function open(options: OpeningOptions): Opened {
  const { hasPeers, duties } = options;
  const data = options.openStore();
  let store: LogStore | undefined;
  try {
    const checkpoints = new Checkpoints(data);
    const log = LogStore.open({
      ...logOf(options),
      covered: checkpoints,
      mayLose: (config) => hasPeers(config ?? checkpoints.config),
      duties,
    });
    store = log.store;
    const { recovered } = log;
    data.tidy();
    const machine = new StateMachine(checkpoints.engine);
    const base = checkpoints.position;
    if (checkpoints.state !== undefined) restoreMachine(machine, checkpoints, base.index, checkpoints.state);
    return { checkpoints, store, recovered, machine, account: describeRecovery(recovered, base) };
  } catch (error) {
    store?.close();
    data.close();
    throw error;
  }
}

function logOf({ fs, directory, hasPeers, segmentBytesMax }: OpeningOptions): {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly mayLose: (config: Config | undefined) => boolean;
  readonly segmentBytesMax?: number;
} {
  return { fs, directory, mayLose: hasPeers, ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }) };
}
