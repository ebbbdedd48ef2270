/**
 * A replica's checkpoints as its node sees them: each holds everything up to a position of the log, and names the members
 * as of there. How they are kept is for the store behind the port.
 */
import { assert } from '../lib/assert.ts';
import { CorruptionError } from '../lib/errors.ts';
import { type Config, configOf, plainConfig } from '../raft/membership.ts';
import type { LogPosition } from '../raft/messages.ts';
import type {
  Checkpoint,
  CheckpointStore,
  CheckpointWriter,
  IncomingCheckpoint,
  SnapshotSource,
} from '../storage/checkpoint.ts';
import type { SnapshotIdentity } from '../storage/incoming-snapshot.ts';
import type { SnapshotFields } from '../storage/snapshot-file.ts';
import type { EngineKind, VersionEngine } from '../storage/version-engine.ts';
import type { Covered } from './log-store.ts';

/** Versions written into checkpoints for each entry that was applied, at most. */
const VERSIONS_AN_ENTRY = 4;

export class Checkpoints implements Covered {
  readonly kind: EngineKind;
  /** The members as of the newest checkpoint that was there at the start; undefined without one that says. */
  readonly config: Config | undefined;
  readonly #store: CheckpointStore;
  #position: LogPosition;

  /**
   * @param store belongs to this object from now on
   * @throws CorruptionError when its newest checkpoint names members that cannot be
   */
  constructor(store: CheckpointStore) {
    this.#store = store;
    this.kind = store.engine.stats.kind;
    const { newest } = store;
    this.#position = { index: newest?.meta.index ?? 0, term: newest?.meta.term ?? 0 };
    this.config = newest === undefined ? undefined : configOfSnapshot(newest.meta);
  }

  /** Last position of the newest checkpoint; zeros without one. */
  get position(): LogPosition {
    return this.#position;
  }

  get engine(): VersionEngine {
    return this.#store.engine;
  }

  /** The engine wants to be relieved of what it holds in memory. */
  get isDue(): boolean {
    return this.#store.isDue;
  }

  /**
   * How many entries a checkpoint should be worth at least: one that is written out whole costs as much as the store holds,
   * and so each entry pays for a few versions.
   */
  get costEntries(): number {
    const { stats } = this.#store.engine;
    return stats.kind === 'memory' ? Math.ceil(stats.versions / VERSIONS_AN_ENTRY) : 0;
  }

  /** Bytes of all versions, where they are kept in memory; 0 where they are not. */
  get memoryBytes(): number {
    const { stats } = this.#store.engine;
    return stats.kind === 'memory' ? stats.bytes : 0;
  }

  /** The lines of the state machine in the newest checkpoint; undefined without one. */
  get state(): readonly string[] | undefined {
    return this.#store.newest?.state;
  }

  /** Begins a checkpoint of what the engine and the machine hold now, at `position`. One at a time. */
  begin(position: LogPosition, config: Config, state: readonly string[]): CheckpointWriter {
    assert(position.index > this.#position.index, 'Checkpoints only go forward');
    const meta = { index: position.index, term: position.term, config: plainConfig(config) };
    const writer = this.#store.begin(meta, state);
    return {
      advance: () => {
        const isDone = writer.advance();
        if (isDone) this.#position = position;
        return isDone;
      },
      abort: () => writer.abort(),
    };
  }

  /** {@link begin} to the end, at once: for what is small. */
  save(position: LogPosition, config: Config, state: readonly string[]): void {
    const writer = this.begin(position, config, state);
    while (!writer.advance());
  }

  /** Opens the newest one, to be sent to a peer. There must be one. The caller closes it. */
  openSource(): SnapshotSource {
    return this.#store.openSource();
  }

  /** Receives one from a peer. @param others see {@link CheckpointStore.receive} */
  receive(identity: SnapshotIdentity, others: readonly IncomingCheckpoint[]): IncomingCheckpoint {
    return this.#store.receive(identity, others);
  }

  /** Takes over one that a peer sent: the engine then holds what it says. Durable on return. */
  install(incoming: IncomingCheckpoint): Checkpoint {
    const { index, term } = incoming.identity;
    assert(index > this.#position.index, 'Checkpoints only go forward');
    const checkpoint = this.#store.install(incoming);
    this.#position = { index, term };
    return checkpoint;
  }

  close(): void {
    this.#store.close();
  }
}

/** The members that a checkpoint names. @throws CorruptionError for a field that is there and is no configuration */
export function configOfSnapshot(meta: SnapshotFields): Config | undefined {
  const value = meta['config'];
  if (value === undefined) return undefined;
  const config = configOf(value);
  if (config === undefined)
    throw new CorruptionError(`Cannot read snapshot ${meta.index}: its configuration makes no sense`);
  return config;
}
