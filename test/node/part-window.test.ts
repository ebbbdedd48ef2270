/** How much of a snapshot is under way at once: what the link carries, whatever threads and disks are doing. */
import { expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { PartWindow } from '../../src/node/part-window.ts';

const MIB = 2 ** 20;

/** Sends what may be sent, round after round, each of which takes so long. @returns the bytes of each round */
function rounds(
  count: number,
  takesMs: (round: number, bytes: number) => number,
  windowBytes = 2 * MIB,
): readonly number[] {
  const window = new PartWindow({ totalBytes: 10_000 * MIB, offset: 0, nowMs: 0 });
  window.acknowledge({ offset: 0, windowBytes, partOffset: 0, partBytes: 0 }, 0);
  let nowMs = 0;
  return Array.from({ length: count }, (_, round) => {
    const parts = window.take(nowMs).map((offset) => ({ offset, bytes: window.endOf(offset) }));
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    nowMs += takesMs(round, bytes);
    for (const { offset, bytes: partBytes } of parts)
      window.acknowledge({ offset: offset + partBytes, windowBytes, partOffset: offset, partBytes }, nowMs);
    return bytes;
  });
}

test('fills a fast link, also when the other side is busy with its disk now and then', () => {
  const sent = rounds(200, (round) => (round % 4 === 0 ? 80 : 2));
  expect(Math.min(...sent.slice(150))).toBeGreaterThanOrEqual(MIB);
});

test('fills a link between busy threads, where every round takes long and hardly two take the same time', () => {
  const means = Array.from({ length: 20 }, (_, seed) => {
    const random = new Random(seed);
    // Once in a while an answer comes at once: that says nothing of the others.
    const sent = rounds(200, () => (random.chance(0.03) ? 1.5 : random.int(50, 400)));
    return sent.slice(100).reduce((sum, bytes) => sum + bytes / 100, 0);
  });
  expect(Math.min(...means)).toBeGreaterThan(2 * 65_536);
  expect(means.reduce((sum, mean) => sum + mean / 20, 0)).toBeGreaterThan(MIB / 2);
});

test('is not stuck with a small window between threads that are very busy for seconds, now and then', () => {
  const means = Array.from({ length: 40 }, (_, seed) => {
    const random = new Random(seed);
    let busyUntil = 0;
    const sent = rounds(
      200,
      (round) => {
        if (round >= busyUntil && random.chance(0.1)) busyUntil = round + random.int(2, 10);
        return random.int(75, 425) * (round < busyUntil ? 3 : 1);
      },
      16 * MIB,
    );
    return sent.slice(100).reduce((sum, bytes) => sum + bytes / 100, 0);
  });
  expect(Math.min(...means)).toBeGreaterThan(6 * MIB);
});

test('fills a link over a long way', () => {
  const sent = rounds(100, (_, bytes) => 100 + bytes / (100 * (MIB / 1000)));
  expect(sent.at(-1)).toBeGreaterThanOrEqual(MIB);
});

test('puts no more on a slow link than it carries in a moment', () => {
  // One MiB a second: 64 KiB take as long as a part must. Twice that is tried now and then, in vain.
  const sent = rounds(100, (_, bytes) => 5 + bytes / (MIB / 1000));
  expect(Math.max(...sent)).toBeLessThanOrEqual(2 * 65_536);
  expect(sent.slice(50).filter((bytes) => bytes > 65_536).length).toBeLessThan(15);
});

test('gives way when a link becomes slow', () => {
  const sent = rounds(1300, (round, bytes) => 2 + (round < 1000 ? 0 : bytes / (MIB / 1000)));
  expect(sent[999]).toBeGreaterThanOrEqual(MIB);
  expect(Math.max(...sent.slice(-200))).toBeLessThanOrEqual(2 * 65_536);
});
