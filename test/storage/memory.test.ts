import { expect, test } from 'vitest';

import { Random } from '../../src/lib/random.ts';
import { MemoryEngine } from '../../src/storage/memory.ts';
import { engineConformance } from '../conformance/engine.ts';

engineConformance('MemoryEngine', () => new MemoryEngine());

test('MemoryEngine.put() of random and of ascending keys stays in order over many chunks', () => {
  const random = new Random('memory');
  const empty = new Uint8Array(0);
  for (const keyOf of [() => String(random.uint32()), (i: number) => String(i).padStart(8, '0')]) {
    const engine = new MemoryEngine();
    for (let i = 0; i < 50_000; i++) engine.put(keyOf(i), empty);
    const keys = [...engine.rows()].map((row) => row.key);
    expect(keys).toHaveLength(engine.count);
    for (let i = 1; i < keys.length; i++)
      if ((keys[i - 1] ?? '') >= (keys[i] ?? '')) expect.fail(`unordered at ${i}`);
  }
});
