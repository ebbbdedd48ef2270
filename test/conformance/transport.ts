/** What every {@link Transport} does. Called by the tests of each implementation, with two nodes, 1 and 2, on a healthy link. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Envelope } from '../../src/net/protocol.ts';
import type { Transport } from '../../src/net/transport.ts';

/** Two connected nodes. */
export interface TransportRig {
  transport(id: 1 | 2): Transport;
  /** What a node has received in its present life, in order. */
  received(id: 1 | 2): readonly { readonly from: number; readonly envelope: Envelope }[];
  /** A node ends without a word and comes back; resolves when both can send again. */
  restart(id: 1 | 2): Promise<void>;
  /** Ends a node for good. */
  stop(id: 1 | 2): Promise<void>;
  close(): Promise<void>;
}

/** Resolves when `check` does not throw any more. */
export async function eventually(check: () => void): Promise<void> {
  await vi.waitFor(check, { timeout: 10_000, interval: 5 });
}

/** An envelope that carries a number, and as many bytes as wanted. */
export function numbered(id: number, bytes = 1): Envelope {
  return {
    kind: 'forward',
    id,
    request: { kind: 'set', key: utf8('k'), value: new Uint8Array(bytes).fill(id) },
  };
}

/** The number that {@link numbered} put in. */
export function numberOf(envelope: Envelope): number {
  return envelope.kind === 'forward' ? envelope.id : -1;
}

export function describeTransport(name: string, open: () => Promise<TransportRig>): void {
  describe(`${name} is a transport`, () => {
    let rig: TransportRig;
    const numbers = (id: 1 | 2): readonly number[] =>
      rig.received(id).map(({ envelope }) => numberOf(envelope));

    beforeEach(async () => {
      rig = await open();
    });

    afterEach(() => rig.close());

    test('delivers everything once and in order on a healthy link, both ways', async () => {
      for (let i = 0; i < 500; i++) {
        rig.transport(1).send(2, [numbered(i)]);
        rig.transport(2).send(1, [numbered(1000 + i)]);
      }
      await eventually(() => expect([numbers(1).length, numbers(2).length]).toEqual([500, 500]));
      expect(numbers(2)).toEqual(Array.from({ length: 500 }, (_, i) => i));
      expect(numbers(1)).toEqual(Array.from({ length: 500 }, (_, i) => 1000 + i));
      expect(new Set(rig.received(2).map(({ from }) => from))).toEqual(new Set([1]));
    });

    test('keeps the envelopes of one call together', async () => {
      rig.transport(1).send(2, [numbered(1), numbered(2), numbered(3)]);
      rig.transport(1).send(2, [numbered(4)]);
      await eventually(() => expect(numbers(2)).toEqual([1, 2, 3, 4]));
    });

    test('carries frames of many megabytes unchanged', async () => {
      const sizes = [1_048_576, 3, 1_000_000, 1_048_575];
      for (const [i, size] of sizes.entries()) rig.transport(1).send(2, [numbered(i, size)]);
      const large = Array.from({ length: 9 }, (_, i) => numbered(10 + i, 1_048_576));
      rig.transport(1).send(2, large);
      await eventually(() => expect(numbers(2)).toHaveLength(sizes.length + large.length));
      const sent = [...sizes.entries()].map(([i, size]) => numbered(i, size)).concat(large);
      for (const [i, { envelope }] of rig.received(2).entries()) {
        const expected = sent[i];
        if (envelope.kind !== 'forward' || envelope.request.kind !== 'set')
          throw new Error('Not what was sent');
        if (expected?.kind !== 'forward' || expected.request.kind !== 'set')
          throw new Error('Nothing was sent');
        expect(envelope.id).toBe(expected.id);
        expect(Buffer.compare(envelope.request.value, expected.request.value)).toBe(0);
      }
    });

    test('does not look at what it was given after the call', async () => {
      const value = utf8('before');
      const envelopes: Envelope[] = [
        { kind: 'forward', id: 1, request: { kind: 'set', key: utf8('k'), value } },
      ];
      rig.transport(1).send(2, envelopes);
      value.set(utf8('after!'));
      envelopes.push(numbered(2));
      await eventually(() => expect(numbers(2)).toHaveLength(1));
      expect(rig.received(2)[0]?.envelope).toMatchObject({ request: { value: utf8('before') } });
    });

    test('takes what it cannot carry without a word', async () => {
      rig.transport(1).send(9, [numbered(1)]);
      rig.transport(1).send(1, [numbered(2)]);
      rig.transport(1).send(2, []);
      await rig.stop(2);
      for (let i = 0; i < 100; i++) rig.transport(1).send(2, [numbered(i)]);
      expect(numbers(1)).toEqual([]);
    });

    test('works again when a peer has restarted, and brings it nothing of its earlier life', async () => {
      rig.transport(1).send(2, [numbered(1)]);
      await eventually(() => expect(numbers(2)).toEqual([1]));
      for (const life of [2, 3]) {
        // oxlint-disable-next-line no-await-in-loop -- one life after the other
        await rig.restart(2);
        rig.transport(1).send(2, [numbered(life)]);
        rig.transport(2).send(1, [numbered(life)]);
        // oxlint-disable-next-line no-await-in-loop
        await eventually(() => expect([numbers(1).at(-1), numbers(2)]).toEqual([life, [life]]));
      }
    });

    test('says nothing after it was closed', async () => {
      await rig.stop(1);
      const before = rig.received(2).length;
      rig.transport(1).send(2, [numbered(7)]);
      rig.transport(2).send(1, [numbered(8)]);
      await new Promise((resolve) => setImmediate(resolve));
      expect([rig.received(1), rig.received(2).length]).toEqual([[], before]);
    });
  });
}
