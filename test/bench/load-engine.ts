/** Loads many keys through an engine alone, driven as a node does it: no log, no threads. Then opens it again. */
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckpointStore, CheckpointWriter } from '../../src/storage/checkpoint.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import type { EngineKind, EngineStats } from '../../src/storage/version-engine.ts';
import { LoadKeys } from './load-keys.ts';
import { type ResidentReport, ResidentWatch } from './resident.ts';

export interface EngineLoadOptions {
  readonly engine: EngineKind;
  readonly keys: number;
  readonly valueBytes: number;
  readonly directory: string;
}

export interface EngineLoadResult extends ResidentReport {
  readonly putsPerSecond: number;
  readonly putsPerCpuSecond: number;
  /** Bytes of all files at the end. */
  readonly diskMiB: number;
  /** From nothing open to the first key read. */
  readonly openMs: number;
  readonly boundMiB: number;
  readonly stats: EngineStats;
}

const BATCH_KEYS = 1000;
/** Versions that a slice of a checkpoint writes are fewer than a batch puts: as many slices keep up with it. */
const SLICES = 4;

/** Node.js itself and its compiled code, and garbage that was not collected yet. */
const PROCESS_MIB = 160;
/** Index and filter of a table of 8 MiB that is open. */
const OPEN_TABLE_MIB = 0.5;
/** The memory engine holds everything: a key's own bytes and what each costs besides. */
const MEMORY_OVERHEAD_BYTES = 400;

/** The most that a process with one such engine and so much data may have. */
export function boundMiB(engine: EngineKind, dataBytes: number, keys: number): number {
  const data = dataBytes / 2 ** 20;
  if (engine === 'memory') {
    // What is held, and as much again: the collector lets the heap grow before it looks.
    return Math.round(PROCESS_MIB + 2 * (data + (keys * MEMORY_OVERHEAD_BYTES) / 2 ** 20));
  }
  const { memtableBytesMax, cacheBytesMax, openTablesMax, tableBytesMax } = LSM_OPTIONS;
  const tables = Math.min(openTablesMax, Math.ceil((2 * dataBytes) / tableBytesMax));
  // One that is filled up to twice its size while the one before it is written.
  const memtables = (3 * memtableBytesMax) / 2 ** 20;
  return Math.round(PROCESS_MIB + memtables + cacheBytesMax / 2 ** 20 + tables * OPEN_TABLE_MIB);
}

/** Puts all keys, makes them durable, and opens the directory again. `tell` gets a line every ten seconds. */
export function loadEngine(options: EngineLoadOptions, tell: (line: string) => void): EngineLoadResult {
  const { engine, directory, valueBytes } = options;
  const keys = new LoadKeys(options.keys, valueBytes);
  mkdirSync(directory, { recursive: true });
  const store = openStore(engine, directory);
  const watch = new ResidentWatch(tell);
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  const checkpoints = new Checkpoints(store);
  for (let from = 0; from < keys.count; from += BATCH_KEYS) {
    const to = Math.min(keys.count, from + BATCH_KEYS);
    for (let i = from; i < to; i++) putOne(store, keys, i);
    checkpoints.advance(to);
    store.engine.work();
    watch.look(() => `${to} keys, ${Math.round((to / (performance.now() - startedMs)) * 1000)}/s`);
  }
  checkpoints.finish(keys.count);
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  while (store.engine.work()) watch.look(() => 'compacting the rest');
  const { stats } = store.engine;
  store.close();
  const openMs = timeToOpen(engine, directory, keys);
  watch.look(() => 'open again');
  return {
    putsPerSecond: Math.round(keys.count / seconds),
    putsPerCpuSecond: Math.round((keys.count / (user + system)) * 1e6),
    ...watch.report,
    boundMiB: boundMiB(engine, keys.count * keys.entryBytes, keys.count),
    diskMiB: Math.round(bytesBelow(directory) / 2 ** 20),
    openMs,
    stats,
  };
}

/** Takes a checkpoint whenever the store wants one, in slices. */
class Checkpoints {
  readonly #store: CheckpointStore;
  #writer: CheckpointWriter | undefined;

  constructor(store: CheckpointStore) {
    this.#store = store;
  }

  /** Goes on with the one under way; begins one at `index` if it is time. */
  advance(index: number): void {
    const store = this.#store;
    if (store.isDue) this.#writer ??= store.begin({ index, term: 1 }, []);
    for (let i = 0; i < SLICES && this.#writer !== undefined; i++) {
      if (this.#writer.advance()) this.#writer = undefined;
    }
    // As a node does, which then takes no more writes.
    while (this.#writer === undefined && store.engine.pressurePercent >= 100 && store.engine.work());
  }

  /** Makes everything durable, up to `index`. */
  finish(index: number): void {
    while (this.#writer?.advance() === false);
    this.#writer = undefined;
    if (this.#store.newest?.meta.index === index) return;
    const writer = this.#store.begin({ index, term: 1 }, []);
    while (!writer.advance());
  }
}

function openStore(engine: EngineKind, directory: string): CheckpointStore {
  const fs = new NodeFileSystem();
  return engine === 'lsm'
    ? new LsmStore({ fs, directory: join(directory, 'lsm') })
    : new MemoryStore({ fs, directory });
}

function putOne(store: CheckpointStore, keys: LoadKeys, i: number): void {
  const revision = i + 1;
  const key = keys.key(i).toString('latin1');
  store.engine.put({ key, revision, sub: 0, created: revision, version: 1, lease: 0n, value: keys.value(i) });
}

/** Reads a key after opening, and that it is the right one: what serves wrongly does not serve. */
function timeToOpen(engine: EngineKind, directory: string, keys: LoadKeys): number {
  const startedMs = performance.now();
  const store = openStore(engine, directory);
  const last = keys.count - 1;
  const found = store.engine.get(keys.key(last).toString('latin1'), keys.count);
  const openMs = Math.round(performance.now() - startedMs);
  const isRight = found !== undefined && Buffer.compare(found.value, keys.value(last)) === 0;
  store.close();
  if (!isRight) throw new Error('The last key is not what was put');
  return openMs;
}

/** Bytes of all files below a directory. */
export function bytesBelow(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    // A file may go while one looks: a store removes what it does not need.
    bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}
