/** Frames through real MessagePorts: large ones are handed over, and what arrives is what was sent. */
import { MessageChannel } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { encodeFrame } from '../../src/net/codec.ts';
import { postFrame } from '../../src/net/frame-port.ts';

test.each([
  [100, 'copied'],
  [100_000, 'handed over'],
] as const)('a frame of %i bytes is %s', async (bytes, how) => {
  const { port1, port2 } = new MessageChannel();
  const frame = Uint8Array.from({ length: bytes }, (_, i) => i % 251);
  const expected = frame.slice();
  const arrived = new Promise<unknown>((resolve) => {
    port2.once('message', resolve);
  });
  postFrame(port1, frame);
  expect(frame.length).toBe(how === 'copied' ? bytes : 0);
  expect(await arrived).toEqual(expected);
  port1.close();
});

test('what is laid out as a frame can be handed over: it has memory of its own', () => {
  const value = new Uint8Array(50_000).fill(7);
  const frame = encodeFrame([
    {
      kind: 'snapshotPart',
      term: 1,
      transfer: 1,
      position: { index: 1, term: 1 },
      engine: 'lsm',
      totalBytes: value.length,
      crc32: 1,
      offset: 0,
      partCrc32: 1,
      bytes: value,
    },
  ]);
  expect(frame.byteOffset).toBe(0);
  expect(frame.buffer.byteLength).toBe(frame.length);
  const { port1 } = new MessageChannel();
  postFrame(port1, frame);
  expect(frame.length).toBe(0);
  expect(value.length).toBe(50_000);
  port1.close();
});
