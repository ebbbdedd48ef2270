/** The engines that are measured, behind one face: each takes keys and values in its own form, made from the same bytes. */
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import type { CheckpointStore, CheckpointWriter } from '../../src/storage/checkpoint.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import { LSM_OPTIONS } from '../../src/storage/lsm/table-format.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import type { EngineData } from './engine-data.ts';

export const SUBJECTS = ['lsm', 'memory', 'classic-level'] as const;

export type SubjectName = (typeof SUBJECTS)[number];

/** Entries that an iterator of classic-level fetches at a time: its fastest way. */
const FETCHED = 1000;
const FETCHED_BYTES = 256 * 1024;

/** A quiet process: no more than this of CPU time in a while. */
const IDLE_CPU_MICROSECONDS = 5000;
const IDLE_MS = 100;

/** An engine under measurement. Each read returns the bytes of the values that it found. */
export interface Subject {
  /** Writes the keys from the `from`-th to the `to`-th in the order of writing, as one batch. */
  batch(from: number, to: number): Promise<void>;
  /** Makes everything durable. */
  sync(): Promise<void>;
  /** Lets what goes on in the background come to its end. */
  settle(): Promise<void>;
  get(key: number, isThere: boolean): number;
  /** Up to `limit` keys from one on, or from the last before it backwards; without one, from either end. */
  scan(from: number | undefined, limit: number, isReverse: boolean): Promise<number>;
  close(): Promise<void>;
}

/** Opens a new engine in a directory that exists. */
export async function openSubject(name: SubjectName, directory: string, data: EngineData): Promise<Subject> {
  if (name === 'classic-level') {
    const subject = new LevelSubject(join(directory, 'level'), data);
    await subject.open();
    return subject;
  }
  const fs = new NodeFileSystem();
  const store =
    name === 'memory'
      ? new MemoryStore({ fs, directory })
      : new LsmStore({ fs, directory: join(directory, 'lsm') });
  return new StoreSubject(store, data);
}

/** One of our engines with its checkpoints, driven as a node does it: between batches, slices of what is waiting. */
class StoreSubject implements Subject {
  readonly #store: CheckpointStore;
  readonly #data: EngineData;
  #revision = 0;

  constructor(store: CheckpointStore, data: EngineData) {
    this.#store = store;
    this.#data = data;
  }

  async batch(from: number, to: number): Promise<void> {
    const { engine } = this.#store;
    for (let i = from; i < to; i++) {
      const number = this.#data.written(i);
      const revision = ++this.#revision;
      engine.put({
        key: this.#data.keyText(number),
        revision,
        sub: 0,
        created: revision,
        version: 1,
        lease: 0n,
        value: this.#data.value(number),
      });
    }
    if (this.#store.isDue) await this.sync();
    engine.work();
  }

  async sync(): Promise<void> {
    if (this.#store.newest?.meta.index === this.#revision) return;
    const writer: CheckpointWriter = this.#store.begin({ index: this.#revision, term: 1 }, []);
    while (!writer.advance());
  }

  async settle(): Promise<void> {
    while (this.#store.engine.work());
  }

  get(key: number, isThere: boolean): number {
    return this.#store.engine.get(this.#data.keyText(key, isThere), this.#revision)?.value.length ?? 0;
  }

  async scan(from: number | undefined, limit: number, isReverse: boolean): Promise<number> {
    const key = from === undefined ? undefined : this.#data.keyText(from);
    const range = isReverse ? { start: '', end: key } : { start: key ?? '', end: undefined };
    let bytes = 0;
    let left = limit;
    for (const version of this.#store.engine.scan(range, this.#revision, isReverse)) {
      bytes += version.value.length;
      left -= 1;
      if (left === 0) break;
    }
    return bytes;
  }

  async close(): Promise<void> {
    this.#store.close();
  }
}

/** LevelDB by its binding. Its batches go to its log at once, and the last one is synced; it compacts on a thread of its own. */
class LevelSubject implements Subject {
  readonly #level: ClassicLevel<Buffer, Buffer>;
  readonly #data: EngineData;

  constructor(directory: string, data: EngineData) {
    this.#level = new ClassicLevel<Buffer, Buffer>(directory, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      compression: false,
      cacheSize: LSM_OPTIONS.cacheBytesMax,
      writeBufferSize: LSM_OPTIONS.memtableBytesMax,
      blockSize: LSM_OPTIONS.blockBytes,
      maxFileSize: LSM_OPTIONS.tableBytesMax,
    });
    this.#data = data;
  }

  async open(): Promise<void> {
    await this.#level.open();
  }

  async batch(from: number, to: number): Promise<void> {
    const operations = Array.from({ length: to - from }, (_, i) => {
      const number = this.#data.written(from + i);
      return { type: 'put' as const, key: this.#data.keyBytes(number), value: this.#data.value(number) };
    });
    await this.#level.batch(operations, { sync: to === this.#data.count });
  }

  async sync(): Promise<void> {
    // The last batch was.
  }

  async settle(): Promise<void> {
    for (;;) {
      const before = process.cpuUsage();
      // oxlint-disable-next-line no-await-in-loop -- it does not say when it is done: only its silence does
      await new Promise((resolve) => {
        setTimeout(resolve, IDLE_MS);
      });
      const { user, system } = process.cpuUsage(before);
      if (user + system < IDLE_CPU_MICROSECONDS) return;
    }
  }

  get(key: number, isThere: boolean): number {
    return this.#level.getSync(this.#data.keyBytes(key, isThere))?.length ?? 0;
  }

  async scan(from: number | undefined, limit: number, isReverse: boolean): Promise<number> {
    const key = from === undefined ? undefined : this.#data.keyBytes(from);
    const iterator = this.#level.iterator({
      reverse: isReverse,
      highWaterMarkBytes: FETCHED_BYTES,
      ...(Number.isFinite(limit) && { limit }),
      ...(key !== undefined && (isReverse ? { lt: key } : { gte: key })),
    });
    let bytes = 0;
    for (let left = limit; left > 0;) {
      // oxlint-disable-next-line no-await-in-loop -- one piece after the other
      const entries = await iterator.nextv(Math.min(left, FETCHED));
      if (entries.length === 0) break;
      left -= entries.length;
      for (const [, value] of entries) bytes += value.length;
    }
    await iterator.close();
    return bytes;
  }

  async close(): Promise<void> {
    await this.#level.close();
  }
}
