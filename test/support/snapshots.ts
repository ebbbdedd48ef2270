/** Snapshot files for tests: their bytes, and their arrival at a store without a network. */
import { crc32 } from '../../src/lib/crc32.ts';
import type { LogPosition } from '../../src/raft/messages.ts';
import type { IncomingCheckpoint } from '../../src/storage/checkpoint.ts';
import type { SnapshotIdentity } from '../../src/storage/incoming-snapshot.ts';
import {
  SNAPSHOT_SLICE_BYTES,
  type SnapshotFields,
  encodeSnapshot,
} from '../../src/storage/snapshot-file.ts';

/** The bytes of a snapshot file. */
export function snapshotBytes(meta: SnapshotFields, lines: Iterable<string>): Uint8Array {
  return Buffer.concat([...encodeSnapshot(meta, lines)]);
}

export function identityOf({ index, term }: LogPosition, bytes: Uint8Array): SnapshotIdentity {
  return { index, term, totalBytes: bytes.length, crc32: crc32(bytes) };
}

/** Slices of `bytes` with their offsets. */
export function slicesOf(bytes: Uint8Array): readonly (readonly [number, Uint8Array])[] {
  const slices: (readonly [number, Uint8Array])[] = [];
  for (let offset = 0; offset < bytes.length; offset += SNAPSHOT_SLICE_BYTES)
    slices.push([offset, bytes.subarray(offset, offset + SNAPSHOT_SLICE_BYTES)]);
  return slices;
}

/** A store at which snapshots arrive. */
interface Receiver<I> {
  receive(identity: SnapshotIdentity, others: readonly never[]): I;
}

/** Brings a whole snapshot to a store, verified and not yet installed. */
export function bring<I extends IncomingCheckpoint>(
  store: Receiver<I>,
  position: LogPosition,
  bytes: Uint8Array,
): I {
  const incoming = store.receive(identityOf(position, bytes), []);
  for (const [offset, slice] of slicesOf(bytes)) incoming.write(offset, slice);
  while (incoming.verify().kind === 'more');
  return incoming;
}
