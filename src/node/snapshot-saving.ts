/**
 * Snapshots of the own state: saved when enough was applied since the last one, when the engine's memory is full, or when
 * somebody asks, a slice a turn; then the log's beginning goes. In one go, a large store would hold up heartbeats for
 * longer than an election timeout.
 */
import type { StateMachine } from '../kv/state-machine.ts';
import type { LogIndex } from '../raft/entry.ts';
import type { Raft } from '../raft/raft.ts';
import type { CheckpointWriter } from '../storage/checkpoint.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { Duties } from './duties.ts';
import type { SavedSnapshot } from './log-retention.ts';
import type { LogStore } from './log-store.ts';

/** Entries kept in the log behind a snapshot, so that a follower slightly behind needs no snapshot. */
const TRAILING_ENTRIES = 10_000;
/** Requests to compact that wait at once; further ones are refused. */
const WAITING_MAX = 64;

/** How a request to compact ended: with the last index of the snapshot, or with a reason in words. */
export type Compacted =
  | { readonly ok: true; readonly index: LogIndex }
  | { readonly ok: false; readonly why: string };

interface Saving {
  readonly index: LogIndex;
  readonly writer: CheckpointWriter;
  /** Asked for: the whole log behind it goes, however little it is. */
  readonly waiting: readonly ((result: Compacted) => void)[];
}

export interface SnapshotSavingOptions {
  readonly store: LogStore;
  readonly checkpoints: Checkpoints;
  readonly machine: StateMachine;
  readonly raft: Raft;
  readonly duties: Duties;
  /** Entries applied between two snapshots; more when a snapshot costs more, fewer when the engine's memory is full. */
  readonly snapshotEntries: number;
  readonly trailingEntries: number | undefined;
  /** Where the log may be cut behind a snapshot that was just saved. */
  readonly logFloor: (view: SavedSnapshot) => LogIndex;
  /** Told what was saved, in words. */
  readonly tell: (text: string) => void;
}

export class SnapshotSaving {
  readonly #options: SnapshotSavingOptions;
  #saving: Saving | undefined;
  #asked: ((result: Compacted) => void)[] = [];

  constructor(options: SnapshotSavingOptions) {
    this.#options = options;
  }

  /** Whether a snapshot is being written or was asked for, or the log goes: {@link advance} wants to be called again. */
  get isBusy(): boolean {
    return this.#saving !== undefined || this.#asked.length > 0 || this.#options.store.isRemoving;
  }

  /** Asks for a snapshot of what is applied now, with nothing of the log kept behind it. `done` is called once. */
  ask(done: (result: Compacted) => void): void {
    if (this.#asked.length >= WAITING_MAX) return done({ ok: false, why: 'Too many ask for a snapshot' });
    this.#asked.push(done);
  }

  /** Writes a slice of a snapshot, or begins one that is due; removes a slice of the log. Throws what the disk throws. */
  advance(nowMs: number): void {
    const { store } = this.#options;
    if (store.isRemoving) store.removeSlice();
    if (this.#saving === undefined) this.#begin(nowMs);
    else if (this.#saving.writer.advance()) this.#finish(this.#saving, nowMs);
  }

  /** Gives up the snapshot under way: a newer one came, or the node ends. Who asked is answered by the next one. */
  abort(): void {
    this.#saving?.writer.abort();
    this.#asked = [...(this.#saving?.waiting ?? []), ...this.#asked];
    this.#saving = undefined;
  }

  /** Gives up for good, without touching the disk. */
  fail(why: string): void {
    const waiting = [...(this.#saving?.waiting ?? []), ...this.#asked];
    this.#saving = undefined;
    this.#asked = [];
    for (const done of waiting) done({ ok: false, why });
  }

  #begin(nowMs: number): void {
    const { checkpoints, machine, raft, duties, snapshotEntries } = this.#options;
    const { applied } = machine;
    const newest = checkpoints.position.index;
    const isDue = checkpoints.isDue || applied - newest >= Math.max(snapshotEntries, checkpoints.costEntries);
    if (!isDue && this.#asked.length === 0) return;
    const term = raft.termAt(applied);
    if (applied <= newest || term === undefined) return this.#release(nowMs);
    const state = duties.snapshotState(machine.stateLines());
    const writer = checkpoints.begin({ index: applied, term }, raft.configAt(applied), state);
    this.#saving = { index: applied, writer, waiting: this.#asked };
    this.#asked = [];
  }

  /** Nothing was applied since the newest snapshot: what is asked for is there. */
  #release(nowMs: number): void {
    const asked = this.#asked;
    this.#asked = [];
    const { index } = this.#options.checkpoints.position;
    if (asked.length > 0) this.#compact(index, 0, nowMs);
    for (const done of asked) done({ ok: true, index });
  }

  #finish({ index, waiting }: Saving, nowMs: number): void {
    this.#saving = undefined;
    const { snapshotEntries, trailingEntries = TRAILING_ENTRIES } = this.#options;
    this.#compact(index, waiting.length > 0 ? 0 : Math.min(trailingEntries, snapshotEntries), nowMs);
    this.#options.tell(`saves a snapshot at ${index}`);
    for (const done of waiting) done({ ok: true, index });
  }

  #compact(snapshotIndex: LogIndex, trailingEntries: number, nowMs: number): void {
    const { raft, store, checkpoints, logFloor } = this.#options;
    // As far apart as snapshots really are: a follower that is sent one needs the log behind it for as long.
    const snapshotEntries = Math.max(this.#options.snapshotEntries, checkpoints.costEntries);
    const index = logFloor({ nowMs, snapshotIndex, trailingEntries, snapshotEntries });
    raft.step(nowMs, { kind: 'compact', index });
    store.compact(index);
  }
}
