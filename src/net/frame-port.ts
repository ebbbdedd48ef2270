/** Frames between threads: a MessagePort, and how a frame goes through it. */

/** The part of a MessagePort that is needed here. */
export interface FramePort {
  /** @param transfer memory that is handed over instead of copied */
  postMessage(frame: Uint8Array, transfer?: ArrayBuffer[]): void;
  on(event: 'message', listener: (frame: unknown) => void): unknown;
  /** The other end is closed, or its thread is gone. */
  on(event: 'close', listener: () => void): unknown;
  close(): void;
}

/** Smaller frames are copied in less time than it takes to hand their memory over. */
const TRANSFERRED_BYTES_MIN = 16 * 1024;

/** Sends a frame. It must be all of its ArrayBuffer, and is the receiver's from now on: nobody here may look at it again. */
export function postFrame(port: Pick<FramePort, 'postMessage'>, frame: Uint8Array<ArrayBuffer>): void {
  if (frame.length < TRANSFERRED_BYTES_MIN) port.postMessage(frame);
  else port.postMessage(frame, [frame.buffer]);
}
