/** Checkpoints for tests: how they are written, sent, lost and found, by any store. */
import { expect } from 'vitest';

import { utf8 } from '../../src/lib/bytes.ts';
import type { Random } from '../../src/lib/random.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import type {
  Checkpoint,
  CheckpointStore,
  IncomingCheckpoint,
  SnapshotSource,
} from '../../src/storage/checkpoint.ts';
import type { SnapshotIdentity } from '../../src/storage/incoming-snapshot.ts';
import type { SnapshotFields } from '../../src/storage/snapshot-file.ts';
import { type VersionWriter, answersOf } from './version-model.ts';

/** Where the stores of these tests lie. */
export const DIRECTORY = 'data/checkpoints';

/** Opens a store as at the start of a process. @param random chooses sizes and whatever else may differ */
export type StoreFactory = (fs: CrashFileSystem, directory: string, random: Random) => CheckpointStore;

/** All that a store answers; equal stores give equal texts. */
export interface Contents {
  readonly newest: Checkpoint | undefined;
  readonly answers: readonly string[];
}

export function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(DIRECTORY);
  fs.syncDirectory('.');
  fs.syncDirectory('data');
  return fs;
}

/** Every file below {@link DIRECTORY}. */
export function filesOf(fs: CrashFileSystem, directory: string = DIRECTORY): readonly string[] {
  return fs.list(directory).flatMap((name) => {
    const path = `${directory}/${name}`;
    try {
      return filesOf(fs, path);
    } catch {
      return [path];
    }
  });
}

/** Another disk with the same files. */
export function copyOf(fs: CrashFileSystem): CrashFileSystem {
  const copy = newDisk();
  for (const path of filesOf(fs)) {
    copy.makeDirectory(path.slice(0, path.lastIndexOf('/')));
    copy.poke(path, fs.peek(path));
  }
  return copy;
}

/** @param horizon from which revision on */
export function contentsOf(store: CheckpointStore, horizon = 0): Contents {
  return { newest: store.newest, answers: answersOf(store.engine, horizon) };
}

/** Writes a checkpoint to its end. @returns the number of steps */
export function save(
  store: CheckpointStore,
  meta: SnapshotFields,
  state: readonly string[] = [],
  meanwhile: () => void = () => {},
): number {
  const writer = store.begin(meta, state);
  for (let steps = 1; steps < 100_000; steps++) {
    if (writer.advance()) return steps;
    meanwhile();
    store.engine.work();
  }
  return expect.fail('The checkpoint never ends');
}

/** Some puts and deletes over a few dozen keys. */
export function scribble(writer: VersionWriter, random: Random, count: number): void {
  for (let i = 0; i < count; i++) {
    writer.next();
    const key = `k${random.int(0, 60)}\0\xff`;
    if (random.chance(0.3)) writer.delete(key);
    else writer.put(key, utf8('é'.repeat(random.int(0, 30))), random.chance(0.2) ? -5n : 0n);
  }
}

/** Opens the newest checkpoint of a store to be sent, ready to be read. */
export function openSource(store: CheckpointStore): SnapshotSource {
  const source = store.openSource();
  for (let steps = 0; !source.check(); steps++) if (steps > 100_000) expect.fail('The source is never ready');
  return source;
}

export function identityOf(store: CheckpointStore, source: SnapshotSource): SnapshotIdentity {
  const { index, term } = store.newest?.meta ?? expect.fail('There is nothing to send');
  return { index, term, totalBytes: source.totalBytes, crc32: source.crc32 };
}

/** All parts of a source with their offsets, in order. */
export function partsOf(source: SnapshotSource): readonly (readonly [number, Uint8Array])[] {
  const parts: (readonly [number, Uint8Array])[] = [];
  for (let offset = 0; offset < source.totalBytes;) {
    const bytes = source.read(offset);
    if (bytes.length === 0 || bytes.length > 65_536) expect.fail(`a part of ${bytes.length} bytes`);
    parts.push([offset, bytes]);
    offset += bytes.length;
  }
  return parts;
}

/** Brings parts in, in any order, some of them lost and some twice. @param stopAt ends it when so many bytes have come */
export function deliver(
  incoming: IncomingCheckpoint,
  parts: readonly (readonly [number, Uint8Array])[],
  random: Random,
  stopAt = Infinity,
): void {
  for (let tries = 0; !incoming.isComplete && incoming.received < stopAt; tries++) {
    if (tries > parts.length * 100 + 1000) expect.fail('The parts never arrive');
    const missing = parts.findIndex(([offset, bytes]) => offset + bytes.length > incoming.received);
    const part = parts[missing + (random.chance(0.4) ? 0 : random.int(0, 5))];
    if (part === undefined || random.chance(0.2)) continue;
    const [offset, bytes] = part;
    const isWelcome = offset + bytes.length <= incoming.received + incoming.windowBytes;
    if (!incoming.write(offset, bytes) && isWelcome && offset <= incoming.received)
      expect.fail('A part inside the window was not taken');
  }
}

/** Verifies a complete one to its end. */
export function verdictOf(incoming: IncomingCheckpoint): string {
  for (let steps = 0; steps < 100_000; steps++) {
    const verdict = incoming.verify();
    if (verdict.kind !== 'more') return verdict.kind;
  }
  return expect.fail('The verdict never comes');
}

/** Sends the newest checkpoint of one store to another, verified and not yet installed. */
export function transfer(from: CheckpointStore, to: CheckpointStore, random: Random): IncomingCheckpoint {
  const source = openSource(from);
  const incoming = to.receive(identityOf(from, source), []);
  deliver(incoming, partsOf(source), random);
  source.close();
  expect(verdictOf(incoming)).toBe('whole');
  return incoming;
}
