/** A store whose engine knows what was put since it began: every value of a run is unique, so none may come twice. */
import { assert } from '../../src/lib/assert.ts';
import { latin1 } from '../../src/lib/bytes.ts';
import type {
  Checkpoint,
  CheckpointStore,
  CheckpointWriter,
  IncomingCheckpoint,
  SnapshotSource,
} from '../../src/storage/checkpoint.ts';
import type { SnapshotIdentity } from '../../src/storage/incoming-snapshot.ts';
import type { SnapshotFields } from '../../src/storage/snapshot-file.ts';
import type { EngineStats, KeyRange, Version, VersionEngine } from '../../src/storage/version-engine.ts';

/** Every key that exists. */
const ALL: KeyRange = { start: '', end: undefined };

/** Another engine, watched. */
export class WatchedEngine implements VersionEngine {
  readonly #engine: VersionEngine;
  readonly #seen = new Set<string>();
  readonly #onPut: (key: string, value: Uint8Array) => void;

  constructor(engine: VersionEngine, onPut: (key: string, value: Uint8Array) => void) {
    this.#engine = engine;
    this.#onPut = onPut;
    this.refreshed();
  }

  /** The engine holds other versions now. */
  refreshed(): void {
    this.#seen.clear();
    for (const version of this.#engine.changes(ALL, 0, Number.MAX_SAFE_INTEGER))
      if (version.version > 0) this.#seen.add(nameOf(version));
  }

  /** All rows as one text: equal stores have equal ones. */
  get text(): string {
    return [...this.scan(ALL, Number.MAX_SAFE_INTEGER)].map(nameOf).join(' ');
  }

  get pressurePercent(): number {
    return this.#engine.pressurePercent;
  }

  get stats(): EngineStats {
    return this.#engine.stats;
  }

  get(key: string, revision: number): Version | undefined {
    return this.#engine.get(key, revision);
  }

  put(version: Version): void {
    if (version.version > 0) {
      const name = nameOf(version);
      assert(!this.#seen.has(name), `Write ${name} was applied twice`);
      this.#seen.add(name);
      this.#onPut(version.key, version.value);
    }
    this.#engine.put(version);
  }

  scan(range: KeyRange, revision: number, isReverse?: boolean): IterableIterator<Version> {
    return this.#engine.scan(range, revision, isReverse);
  }

  changes(range: KeyRange, after: number, upTo: number): IterableIterator<Version> {
    return this.#engine.changes(range, after, upTo);
  }

  compact(revision: number): void {
    this.#engine.compact(revision);
  }

  work(): boolean {
    return this.#engine.work();
  }
}

/** Another store, with its engine watched. */
export class WatchedStore implements CheckpointStore {
  readonly engine: WatchedEngine;
  readonly #store: CheckpointStore;

  constructor(store: CheckpointStore, onPut: (key: string, value: Uint8Array) => void) {
    this.#store = store;
    this.engine = new WatchedEngine(store.engine, onPut);
  }

  get newest(): Checkpoint | undefined {
    return this.#store.newest;
  }

  get isDue(): boolean {
    return this.#store.isDue;
  }

  begin(meta: SnapshotFields, state: readonly string[]): CheckpointWriter {
    return this.#store.begin(meta, state);
  }

  openSource(): SnapshotSource {
    return this.#store.openSource();
  }

  receive(identity: SnapshotIdentity, others: readonly IncomingCheckpoint[]): IncomingCheckpoint {
    return this.#store.receive(identity, others);
  }

  install(incoming: IncomingCheckpoint): Checkpoint {
    const checkpoint = this.#store.install(incoming);
    this.engine.refreshed();
    return checkpoint;
  }

  tidy(): void {
    this.#store.tidy();
  }

  close(): void {
    this.#store.close();
  }
}

function nameOf({ key, value }: Version): string {
  return `${key}=${latin1(value)}`;
}
