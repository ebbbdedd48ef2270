/** CRC-32 by the processor: several times as fast as the portable one of `lib`, wherever there is much to check. */
import { crc32 as native } from 'node:zlib';
import { crc32 as portable } from '../lib/crc32.ts';

/** Below this the call costs more than it saves. */
const NATIVE_BYTES_MIN = 256;

/**
 * The checksum of `bytes[start..end)`.
 *
 * @param seed the checksum of what came before, to continue it; 0 to begin
 */
export function crc32(bytes: Uint8Array, start = 0, end: number = bytes.length, seed = 0): number {
  if (end - start < NATIVE_BYTES_MIN) return portable(bytes, start, end, seed);
  return native(bytes.subarray(start, end), seed);
}
