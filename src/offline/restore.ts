/**
 * Makes data directories out of a portable snapshot. Each node of the new cluster gets the same checkpoint at the same
 * position, with nothing before it: so they agree as if it had been sent to them, and elect a leader who goes on from there.
 */
import { assert } from '../lib/assert.ts';
import { RowSetHash } from '../kv/row-hash.ts';
import { countersLine, leaseLines } from '../kv/state-lines.ts';
import { StateMachine } from '../kv/state-machine.ts';
import { bootstrapConfig, plainConfig } from '../raft/membership.ts';
import type { CheckpointStore } from '../storage/checkpoint.ts';
import { DataDirectory, type LockOwner } from '../storage/data-directory.ts';
import type { File, FileSystem } from '../storage/fs.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import { openStore } from '../storage/open-store.ts';
import type { SnapshotFields } from '../storage/snapshot-file.ts';
import type { EngineKind } from '../storage/version-engine.ts';
import { type KeyPlace, type PortableSnapshot, readKey, verifyPortable } from './portable.ts';
import type { Progress } from './report.ts';

/** The term of the checkpoint: before any election. */
const TERM = 1;
const KEYS_A_STEP = 500;

/** A node to be. */
export interface RestoreTarget {
  /** Does not exist yet. */
  readonly directory: string;
  readonly nodeId: number;
  /** Every node of the new cluster. */
  readonly founders: readonly number[];
  /** A name that no cluster has had: it keeps old members out. */
  readonly cluster: string;
  readonly engine: EngineKind;
  readonly owner: LockOwner;
  readonly newIncarnation: () => string;
}

/** A snapshot file, verified and open. */
export class SnapshotToRestore {
  readonly totalBytes: number;
  readonly #fs: FileSystem;
  readonly #file: File;
  readonly #path: string;
  #snapshot: PortableSnapshot | undefined;

  /** @throws StorageError when the system refuses */
  constructor(path: string, fs: FileSystem = new NodeFileSystem()) {
    this.#fs = fs;
    this.#path = path;
    this.#file = fs.open(path, 'read');
    this.totalBytes = this.#file.size();
  }

  /** Comes before everything else. @throws CorruptionError for a damaged file, StorageError for a later format */
  *verify(): Generator<
    Progress,
    { readonly revision: number; readonly keys: number; readonly leases: number }
  > {
    const snapshot = yield* verifyPortable(this.#file, this.#path);
    this.#snapshot = snapshot;
    const { revision, keys, leases } = snapshot;
    return { revision, keys: keys.length, leases: leases.size };
  }

  /** Makes one node's data directory. A failure leaves a part of it. */
  *restore(target: RestoreTarget): Generator<Progress, void> {
    const snapshot = this.#snapshot;
    assert(snapshot !== undefined, 'Only what is verified is restored');
    const { directory: path, nodeId, cluster, engine, owner, newIncarnation } = target;
    const fs = this.#fs;
    assert(!fs.exists(path), 'Nothing is overwritten');
    const directory = DataDirectory.open({
      fs,
      path,
      cluster,
      nodeId,
      engine,
      owner,
      newIncarnation,
      isAlive: () => false,
    });
    try {
      const store = openStore({ fs, directory: path, choice: { kind: engine } });
      try {
        yield* this.#fill(store, snapshot, target);
      } finally {
        store.close();
      }
    } finally {
      directory.release();
    }
  }

  close(): void {
    this.#file.close();
  }

  *#fill(
    store: CheckpointStore,
    snapshot: PortableSnapshot,
    target: RestoreTarget,
  ): Generator<Progress, void> {
    const config = plainConfig(bootstrapConfig(target.founders));
    const tally = new Tally(snapshot);
    let index = 1;
    let sinceReport = 0;
    for (const [done, place] of snapshot.keys.entries()) {
      const version = { ...readKey(this.#file, place), sub: tally.subOf(place) };
      store.engine.put(version);
      tally.add(version.key, version.value.length, version.lease);
      tally.hash.addVersion(version);
      sinceReport += place.bytes;
      if ((done + 1) % KEYS_A_STEP > 0) continue;
      if (store.isDue) {
        write(store, { index, term: TERM, config }, []);
        index += 1;
        while (store.engine.work());
      }
      yield { file: target.directory, bytes: sinceReport };
      sinceReport = 0;
    }
    const lines = tally.stateLines();
    // The machine refuses a state that its node would refuse at its start.
    new StateMachine(store.engine).restore(index, lines);
    write(store, { index, term: TERM, config }, lines);
    yield { file: target.directory, bytes: sinceReport };
  }
}

function write(store: CheckpointStore, meta: SnapshotFields, state: readonly string[]): void {
  const writer = store.begin(meta, state);
  while (!writer.advance());
}

/** Adds up what the state machine says of its versions. */
class Tally {
  readonly hash = new RowSetHash();
  readonly #snapshot: PortableSnapshot;
  readonly #keysOf = new Map<bigint, Set<string>>();
  #count = 0;
  #bytes = 0;
  #revision = 0;
  #sub = 0;

  constructor(snapshot: PortableSnapshot) {
    this.#snapshot = snapshot;
    for (const id of snapshot.leases.keys()) this.#keysOf.set(id, new Set());
  }

  /** The place of the next key among those of its revision. */
  subOf({ revision }: KeyPlace): number {
    this.#sub = revision === this.#revision ? this.#sub + 1 : 0;
    this.#revision = revision;
    return this.#sub;
  }

  add(key: string, valueBytes: number, lease: bigint): void {
    this.#count += 1;
    this.#bytes += key.length + valueBytes;
    if (lease === 0n) return;
    const keys = this.#keysOf.get(lease) ?? new Set();
    this.#keysOf.set(lease, keys.add(key));
  }

  /** Leases begin anew; one that the snapshot does not know was revoked while it was taken, and ends at once. */
  stateLines(): readonly string[] {
    const { revision, leases } = this.#snapshot;
    const counters = { count: this.#count, bytes: this.#bytes, hash: this.hash.hex() };
    // What is older than the snapshot cannot be read.
    const lines = [countersLine({ revision, compactedRevision: revision, ...counters })];
    const ids = [...this.#keysOf.keys()].toSorted((a, b) => (a < b ? -1 : 1));
    for (const id of ids) {
      const ttlSeconds = leases.get(id)?.ttlSeconds ?? 1;
      const keys = this.#keysOf.get(id) ?? new Set<string>();
      lines.push(...leaseLines({ id, ttlSeconds, remainingMs: ttlSeconds * 1000, keys }));
    }
    return lines;
  }
}
