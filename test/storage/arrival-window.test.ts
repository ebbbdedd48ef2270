/** Which pieces of an arriving byte string are wanted, and when what has come must be made durable. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import {
  AHEAD_MAX,
  ArrivalWindow,
  INCOMING_WINDOW_BYTES,
  SYNC_EVERY_BYTES,
  trustedBytes,
} from '../../src/storage/arrival-window.ts';

/** Writes a piece that must be wanted. */
function take(window: ArrivalWindow, offset: number, length: number): boolean {
  expect(window.judge(offset, length), `${length} bytes at ${offset}`).toBe('wanted');
  return window.written(offset, length);
}

describe('ArrivalWindow.judge()', () => {
  test('wants what is missing, and knows what is there', () => {
    const window = new ArrivalWindow(100, 40);
    expect(window.judge(40, 10)).toBe('wanted');
    expect(window.judge(0, 40)).toBe('known');
    expect(window.judge(30, 5)).toBe('known');
    expect(window.judge(99, 1)).toBe('wanted');
  });

  test('wants a piece that begins with known bytes and goes on behind them', () => {
    const window = new ArrivalWindow(100, 40);
    take(window, 30, 11);
    expect(window.received).toBe(41);
  });

  test('refuses a piece that goes on behind the end, wherever it begins', () => {
    const window = new ArrivalWindow(100, 40);
    for (const [offset, length] of [
      [40, 61],
      [99, 2],
      [100, 1],
      [0, 101],
    ] as const) {
      expect(window.judge(offset, length), `${length} bytes at ${offset}`).toBe('refused');
    }
  });

  test('refuses a piece that ends behind the window, and wants it once the window has come there', () => {
    const window = new ArrivalWindow(3 * INCOMING_WINDOW_BYTES);
    expect(window.judge(INCOMING_WINDOW_BYTES - 1, 1)).toBe('wanted');
    expect(window.judge(INCOMING_WINDOW_BYTES - 1, 2)).toBe('refused');
    expect(window.judge(2 * INCOMING_WINDOW_BYTES, 1)).toBe('refused');
    take(window, 0, 1);
    expect(window.judge(INCOMING_WINDOW_BYTES - 1, 2)).toBe('wanted');
  });

  test('knows a piece behind a gap that comes again, and wants a longer one from there', () => {
    const window = new ArrivalWindow(100);
    take(window, 50, 10);
    expect(window.judge(50, 10)).toBe('known');
    expect(window.judge(50, 9)).toBe('wanted');
    take(window, 50, 20);
    expect(window.judge(50, 20)).toBe('known');
    take(window, 0, 50);
    expect(window.received).toBe(70);
  });

  test('takes a piece of no bytes for known where nothing is missing before it', () => {
    const window = new ArrivalWindow(100, 40);
    expect([window.judge(0, 0), window.judge(40, 0)]).toEqual(['known', 'known']);
    take(window, 41, 0);
    take(window, 40, 1);
    expect(window.received).toBe(41);
    expect(new ArrivalWindow(0).judge(0, 0)).toBe('known');
  });

  test('bounds the pieces behind a gap; the one that closes the gap is still wanted', () => {
    const window = new ArrivalWindow(1000);
    for (let i = 1; i <= AHEAD_MAX; i++) take(window, 2 * i, 1);
    expect(window.judge(2 * AHEAD_MAX + 2, 1)).toBe('refused');
    expect(window.judge(2, 1)).toBe('known');
    take(window, 0, 2);
    expect(window.received).toBe(3);
    expect(window.judge(2 * AHEAD_MAX + 2, 1)).toBe('wanted');
  });
});

describe('ArrivalWindow.written()', () => {
  test('counts only what has no gap before it, in whatever order gaps close', () => {
    const window = new ArrivalWindow(100);
    take(window, 60, 10);
    take(window, 30, 10);
    take(window, 40, 15);
    expect(window.received).toBe(0);
    take(window, 0, 35);
    expect(window.received).toBe(55);
    take(window, 50, 10);
    expect(window.received).toBe(70);
  });

  test('asks for a sync after so many bytes in order, until there was one, and at the end', () => {
    const window = new ArrivalWindow(2 * SYNC_EVERY_BYTES + 10);
    expect(take(window, 0, SYNC_EVERY_BYTES - 1)).toBe(false);
    expect(take(window, SYNC_EVERY_BYTES, SYNC_EVERY_BYTES - 1)).toBe(false);
    expect(take(window, SYNC_EVERY_BYTES - 1, 1)).toBe(true);
    expect(take(window, 2 * SYNC_EVERY_BYTES - 1, 1)).toBe(true);
    window.synced();
    expect(take(window, 2 * SYNC_EVERY_BYTES, 9)).toBe(false);
    expect(window.isComplete).toBe(false);
    expect(take(window, 2 * SYNC_EVERY_BYTES + 9, 1)).toBe(true);
    expect(window.isComplete).toBe(true);
  });

  test('takes what an earlier attempt left for durable', () => {
    const window = new ArrivalWindow(3 * SYNC_EVERY_BYTES, SYNC_EVERY_BYTES);
    expect(take(window, SYNC_EVERY_BYTES, SYNC_EVERY_BYTES - 1)).toBe(false);
    expect(take(window, 2 * SYNC_EVERY_BYTES - 1, 1)).toBe(true);
  });

  test('refuses by assertion what lies behind the end', () => {
    expect(() => new ArrivalWindow(10).written(5, 6)).toThrow('behind the end');
    expect(() => new ArrivalWindow(10, 11)).toThrow('No more has arrived');
  });
});

test('ArrivalWindow against a list of bytes: random pieces come in any order, and the window is never negative', () => {
  const random = new Random('arrival window');
  for (let run = 0; run < 20; run++) {
    const totalBytes = random.int(0, 300);
    const window = new ArrivalWindow(totalBytes);
    const isThere = Array.from({ length: totalBytes }, () => false);
    for (let i = 0; i < 5000 && !window.isComplete; i++) {
      const offset = random.int(0, totalBytes + 5);
      const length = random.int(0, 20);
      const verdict = window.judge(offset, length);
      if (verdict === 'wanted') {
        window.written(offset, length);
        isThere.fill(true, offset, offset + length);
      }
      if (verdict === 'known') expect(isThere.slice(offset, offset + length)).not.toContain(false);
      if (offset + length > totalBytes) expect(verdict).toBe('refused');
      const firstMissing = isThere.indexOf(false);
      expect(window.received).toBe(firstMissing === -1 ? totalBytes : firstMissing);
      expect(window.windowBytes).toBe(totalBytes - window.received);
    }
    expect(window.isComplete).toBe(true);
  }
});

test('trustedBytes() leaves out what may have come after the last sync, and is never negative', () => {
  const doubtful = SYNC_EVERY_BYTES + INCOMING_WINDOW_BYTES;
  expect(trustedBytes(doubtful + 5)).toBe(5);
  expect([trustedBytes(doubtful), trustedBytes(doubtful - 1), trustedBytes(0)]).toEqual([0, 0, 0]);
});
