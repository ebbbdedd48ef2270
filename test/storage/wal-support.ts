/** Shared by the tests of the log: a disk with an empty directory, records in short form. */
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { Wal } from '../../src/storage/wal.ts';
import type { WalOpening, WalRecord } from '../../src/storage/wal.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';

export function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory('wal');
  fs.syncDirectory('.');
  return fs;
}

export function openWal(fs: FileSystem, segmentBytesMax?: number): WalOpening {
  return Wal.open({ fs, directory: 'wal', ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }) });
}

/** Appends `text` as a record of type 1, shard 0. */
export function put(wal: Wal, text: string): void {
  wal.append(1, 0, [utf8(text)]);
}

export function texts(records: readonly WalRecord[]): readonly string[] {
  return records.map((record) => Buffer.from(record.payload).toString());
}

/** The texts found after opening, and the log closed again. */
export function recovered(fs: FileSystem): readonly string[] {
  const { wal, records } = openWal(fs);
  wal.close();
  return texts(records);
}

/** The disk as the worst power cut leaves it: only what is durable. */
export function worst(fs: CrashFileSystem): CrashFileSystem {
  return fs.crash(new Random(0), 'worst');
}

/** A disk with one durable segment file of these bytes, for each given name. */
export function diskWith(segments: Readonly<Record<string, Uint8Array>>): CrashFileSystem {
  const fs = newDisk();
  for (const [name, bytes] of Object.entries(segments)) fs.poke(`wal/${name}`, bytes);
  return fs;
}
