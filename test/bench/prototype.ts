/** Starts and drives the bare prototype of prototype-worker.ts: the yardstick of `npm run bench`. */
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';

interface Waiting {
  readonly resolves: readonly (() => void)[];
}

const REQUEST_HEADER_BYTES = 8;

/** Three threads and a client that batches as the real one does: all writes of one round of the event loop in a frame. */
export class Prototype {
  readonly #client: MessagePort;
  readonly #workers: readonly Worker[];
  readonly #waiting: Map<number, Waiting> = new Map();
  #unsent: { readonly key: Uint8Array; readonly value: Uint8Array; readonly resolve: () => void }[] = [];
  #nextFrame = 1;

  constructor(directory: string) {
    const client = new MessageChannel();
    const links = [new MessageChannel(), new MessageChannel()];
    const leaderPorts = links.map((link) => link.port1);
    const url = new URL('./prototype-worker.js', import.meta.url);
    const leader = new Worker(url, {
      workerData: { path: join(directory, '1'), peers: leaderPorts, isLeader: true, client: client.port2 },
      transferList: [...leaderPorts, client.port2],
    });
    const followers = links.map(
      (link, i) =>
        new Worker(url, {
          workerData: {
            path: join(directory, `${i + 2}`),
            peers: [link.port2],
            isLeader: false,
            client: undefined,
          },
          transferList: [link.port2],
        }),
    );
    this.#workers = [leader, ...followers];
    this.#client = client.port1;
    this.#client.on('message', (replies: readonly Uint8Array[]) => {
      for (const reply of replies) {
        const frame = new DataView(reply.buffer, reply.byteOffset).getUint32(4, true);
        const waiting = this.#waiting.get(frame);
        this.#waiting.delete(frame);
        for (const resolve of waiting?.resolves ?? []) resolve();
      }
    });
  }

  /** Resolves once two of three threads have the write on disk. */
  set(key: Uint8Array, value: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.#unsent.length === 0) setImmediate(() => this.#flush());
      this.#unsent.push({ key, value, resolve });
    });
  }

  async close(): Promise<void> {
    this.#client.close();
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #flush(): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    let bytes = REQUEST_HEADER_BYTES;
    for (const { key, value } of unsent) bytes += 4 + key.length + value.length;
    const frame = new Uint8Array(bytes);
    const view = new DataView(frame.buffer);
    view.setUint32(0, unsent.length, true);
    view.setUint32(4, this.#nextFrame, true);
    let offset = REQUEST_HEADER_BYTES;
    for (const { key, value } of unsent) {
      view.setUint16(offset, key.length, true);
      view.setUint16(offset + 2, value.length, true);
      frame.set(key, offset + 4);
      frame.set(value, offset + 4 + key.length);
      offset += 4 + key.length + value.length;
    }
    this.#waiting.set(this.#nextFrame, { resolves: unsent.map(({ resolve }) => resolve) });
    this.#nextFrame += 1;
    this.#client.postMessage(frame);
  }
}
