/**
 * Checkpoints of the engine in memory, as files that people can read: what snapshot-file.ts and version-lines.ts lay out,
 * where snapshot-store.ts puts it. Everything is written anew each time, a slice a step, out of a frozen view of the
 * engine, and read into memory as a whole on opening.
 */
import { assert } from '../lib/assert.ts';
import { onlyOnce } from '../lib/errors.ts';
import type {
  Checkpoint,
  CheckpointStore,
  CheckpointWriter,
  IncomingCheckpoint,
  SnapshotSource,
} from './checkpoint.ts';
import type { FileSystem } from './fs.ts';
import { IncomingSnapshot, type SnapshotIdentity } from './incoming-snapshot.ts';
import { MemoryEngine } from './memory-engine.ts';
import type { SnapshotFields, SnapshotFile } from './snapshot-file.ts';
import { SnapshotStore } from './snapshot-store.ts';
import type { Version } from './version-engine.ts';
import { readVersions, versionLine } from './version-lines.ts';

export class MemoryStore implements CheckpointStore {
  readonly engine: MemoryEngine = new MemoryEngine();
  readonly isDue: boolean = false;
  readonly #snapshots: SnapshotStore;
  #newest: Checkpoint | undefined;
  #writing: CheckpointWriter | undefined;

  /**
   * Opens the store in an existing directory, and loads the newest checkpoint.
   *
   * @throws CorruptionError, naming the file, when that is damaged; StorageError when it is of a later format
   */
  constructor(options: { readonly fs: FileSystem; readonly directory: string }) {
    this.#snapshots = new SnapshotStore(options);
    const index = this.#snapshots.indexes().at(-1);
    const file = index === undefined ? undefined : this.#snapshots.open(index);
    if (file === undefined) return;
    try {
      while (!file.check());
      this.#newest = this.#load(file);
    } finally {
      file.close();
    }
  }

  get newest(): Checkpoint | undefined {
    return this.#newest;
  }

  begin(meta: SnapshotFields, state: readonly string[]): CheckpointWriter {
    assert(this.#writing === undefined, 'One checkpoint is written at a time');
    assert(meta.index > (this.#newest?.meta.index ?? -1), 'Checkpoints only go forward');
    assert(!('format' in meta || 'stateLines' in meta), 'The layout of a checkpoint is for the store to say');
    const frozen = this.engine.frozen();
    const file = this.#snapshots.begin(meta, linesOf(state, frozen), {
      format: 2,
      stateLines: state.length,
    });
    const end = (): void => {
      frozen.return?.();
      this.#writing = undefined;
    };
    const writer: CheckpointWriter = {
      advance: () => {
        assert(this.#writing === writer, 'A checkpoint that is done is left alone');
        let isDone = true;
        try {
          isDone = file.advance();
        } finally {
          if (isDone) end();
        }
        if (isDone) this.#newest = { meta, state };
        return isDone;
      },
      abort: () => {
        if (this.#writing !== writer) return;
        file.abort();
        end();
      },
    };
    this.#writing = writer;
    return writer;
  }

  openSource(): SnapshotSource {
    assert(this.#newest !== undefined, 'There is a checkpoint to send');
    const file = this.#snapshots.open(this.#newest.meta.index);
    assert(file !== undefined, 'The newest checkpoint is on disk');
    return file;
  }

  receive(identity: SnapshotIdentity, others: readonly IncomingCheckpoint[]): IncomingSnapshot {
    return this.#snapshots.receive(identity, others);
  }

  install(incoming: IncomingCheckpoint): Checkpoint {
    assert(this.#writing === undefined, 'None is written while one is installed');
    assert(incoming instanceof IncomingSnapshot, 'What is installed was received here');
    assert(incoming.identity.index > (this.#newest?.meta.index ?? -1), 'Checkpoints only go forward');
    const file = this.#snapshots.install(incoming);
    try {
      this.#newest = onlyOnce(() => this.#load(file));
    } finally {
      file.close();
    }
    return this.#newest;
  }

  /** Nothing: no snapshot is thrown away before a newer one is whole, and what was only begun went on opening. */
  tidy(): void {}

  close(): void {
    this.#writing?.abort();
    this.engine.clear();
  }

  #load(file: SnapshotFile): Checkpoint {
    const { meta, layout } = file;
    const state: string[] = [];
    this.engine.replace(
      readVersions(
        file.lines(),
        layout.format === 1
          ? { kind: 'rows', index: meta.index }
          : { kind: 'versions', stateLines: layout.stateLines },
        state,
      ),
    );
    return { meta, state };
  }
}

function* linesOf(
  state: readonly string[],
  versions: Iterable<Version | undefined>,
): IterableIterator<string | undefined> {
  yield* state;
  for (const version of versions) yield version === undefined ? undefined : versionLine(version);
}
