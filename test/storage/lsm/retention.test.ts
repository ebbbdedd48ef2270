/** Which files stay for whom. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../../src/lib/random.ts';
import { Retention, type Unused } from '../../../src/storage/lsm/retention.ts';

function fileNamed(name: string, since: number, gone: string[]): Unused {
  return { since, remove: () => void gone.push(name) };
}

describe('Retention', () => {
  test('keeps a file for those who began while it was part of the tree', () => {
    const retention = new Retention();
    const gone: string[] = [];
    const held = retention.hold();
    retention.retire([fileNamed('old', 0, gone)]);
    retention.sweep();
    expect(gone).toEqual([]);
    retention.release(held);
    retention.sweep();
    expect(gone).toEqual(['old']);
  });

  test('keeps no file that came and went while one reads what was before it', () => {
    const retention = new Retention();
    const gone: string[] = [];
    const held = retention.hold();
    retention.retire([fileNamed('old', 0, gone)]);
    const since = retention.epoch;
    retention.retire([fileNamed('between', since, gone)]);
    retention.sweep();
    expect(gone).toEqual(['between']);
    expect(retention.waiting).toBe(1);
    retention.release(held);
    retention.sweep();
    expect(gone).toEqual(['between', 'old']);
  });

  test('keeps exactly what somebody may read, whoever begins and ends when', () => {
    const random = new Random('retention');
    const retention = new Retention();
    const present = new Set<string>();
    let tree = new Map([['0', 0]]);
    present.add('0');
    const readers: { readonly epoch: number; readonly files: readonly string[] }[] = [];
    for (let step = 1; step <= 2000; step++) {
      if (random.chance(0.3)) readers.push({ epoch: retention.hold(), files: [...tree.keys()] });
      else if (readers.length > 0 && random.chance(0.4)) {
        const [ended] = readers.splice(random.int(0, readers.length - 1), 1);
        if (ended !== undefined) retention.release(ended.epoch);
      } else {
        const leaving = [...tree].filter(() => random.chance(0.4));
        retention.retire(
          leaving.map(([name, since]) => ({ since, remove: () => void present.delete(name) })),
        );
        tree = new Map([...tree].filter(([name]) => !leaving.some(([left]) => left === name)));
        tree.set(String(step), retention.epoch);
        present.add(String(step));
      }
      retention.sweep();
      const needed = new Set([...tree.keys(), ...readers.flatMap(({ files }) => files)]);
      expect([...present].toSorted()).toEqual([...needed].toSorted());
    }
  });
});
