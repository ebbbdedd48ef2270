/**
 * How a replica takes over a snapshot that the core has taken: what it had is replaced, for good. Both throw StorageError; where
 * it says that there was no room (`isFull`), nothing has changed, and they may be called again.
 */
import type { StateMachine } from '../kv/state-machine.ts';
import { onlyOnce } from '../lib/errors.ts';
import type { Config } from '../raft/membership.ts';
import type { LogPosition } from '../raft/messages.ts';
import type { IncomingCheckpoint } from '../storage/checkpoint.ts';
import type { Checkpoints } from './checkpoints.ts';
import { restoreMachine } from './opening.ts';

/** Puts one that has arrived whole in place of all that engine and machine hold. */
export function install(arrived: IncomingCheckpoint, machine: StateMachine, checkpoints: Checkpoints): void {
  const { index } = arrived.identity;
  const { state } = checkpoints.install(arrived);
  // The data are there now, and the machine is not: that must not stay so.
  onlyOnce(() => restoreMachine(machine, checkpoints, index, state));
}

/** A witness has no data, and only knows how far others have come. */
export function skipTo(
  position: LogPosition,
  machine: StateMachine,
  checkpoints: Checkpoints,
  config: Config,
): void {
  const state = machine.stateLines();
  checkpoints.save(position, config, state);
  machine.restore(position.index, state);
}
