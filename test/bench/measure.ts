/** Keeps a number of writes in flight for a while and takes their times. The same for every system that is measured. */

export interface Measured {
  readonly writesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly count: number;
}

const KEYS = 10_000;
export const KEY_BYTES = 16;
export const VALUE_BYTES = 100;

/** `write` number `i`, resolved when it is durable on a majority. */
export type WriteOne = (key: Uint8Array, value: Uint8Array) => Promise<unknown>;

/** Runs a closed loop: each of `inFlight` writers sends its next write when the last one is answered. */
export async function measure(
  write: WriteOne,
  options: { readonly inFlight: number; readonly seconds: number },
): Promise<Measured> {
  const value = new Uint8Array(VALUE_BYTES).fill(118);
  const keys = Array.from({ length: KEYS }, (_, i) =>
    new TextEncoder().encode(`key-${i}`.padEnd(KEY_BYTES, '.')),
  );
  const latencies: number[] = [];
  const startedMs = performance.now();
  const endMs = startedMs + options.seconds * 1000;
  let next = 0;
  const writer = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const key = keys[next++ % KEYS] ?? value;
      const sentMs = performance.now();
      // oxlint-disable-next-line no-await-in-loop -- a closed loop waits for each answer
      await write(key, value);
      latencies.push(performance.now() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, writer));
  const seconds = (performance.now() - startedMs) / 1000;
  const sorted = Float64Array.from(latencies).toSorted();
  return {
    writesPerSecond: latencies.length / seconds,
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? 0,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    count: latencies.length,
  };
}
