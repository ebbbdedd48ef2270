/**
 * Frames in a stream of bytes, as between two processes:
 *
 *   length u32 little-endian | crc32 u32 of the payload | payload
 */
import { concatBytes } from '../lib/bytes.ts';
import { crc32 } from '../lib/crc32.ts';

const HEADER_BYTES = 8;
/** A frame: an append at its limit, or a burst of forwarded requests. */
export const FRAME_BYTES_MAX: number = 64 * 1024 * 1024;

/** A payload with its header. */
export function framed(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crc32(payload), true);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** Cuts a stream into frames. Chunks of a frame are joined once, when it is whole. */
export class FrameSplitter {
  /** Longest payload; a longer one ends the stream. May change between frames. */
  payloadBytesMax: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  /** Length of the frame that is being gathered, header included; undefined while the header is incomplete. */
  #needed: number | undefined;
  #isBroken = false;

  constructor(payloadBytesMax: number = FRAME_BYTES_MAX) {
    this.payloadBytesMax = payloadBytesMax;
  }

  /** Whole payloads, in order; undefined, and nothing ever after, when the stream is not one of frames. */
  *push(chunk: Uint8Array): IterableIterator<Uint8Array | undefined> {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
    while (!this.#isBroken) {
      this.#needed ??= this.#readLength();
      if (this.#needed !== undefined && this.#needed > HEADER_BYTES + this.payloadBytesMax) break;
      if (this.#needed === undefined || this.#bytes < this.#needed) return;
      const all = this.#joined();
      const payload = all.slice(HEADER_BYTES, this.#needed);
      if (crc32(payload) !== new DataView(all.buffer, all.byteOffset).getUint32(4, true)) break;
      const rest = all.subarray(this.#needed);
      this.#parts = [rest];
      this.#bytes = rest.length;
      this.#needed = undefined;
      yield payload;
    }
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#parts = [];
    yield undefined;
  }

  #readLength(): number | undefined {
    if (this.#bytes < HEADER_BYTES) return undefined;
    const all = this.#joined();
    return HEADER_BYTES + new DataView(all.buffer, all.byteOffset).getUint32(0, true);
  }

  #joined(): Uint8Array {
    const all =
      this.#parts.length === 1 && this.#parts[0] !== undefined ? this.#parts[0] : concatBytes(this.#parts);
    this.#parts = [all];
    return all;
  }
}
