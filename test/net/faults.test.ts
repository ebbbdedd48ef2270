/** The table of link faults: each direction by itself, shared between threads, decided by one stream of chance. */
import { describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import { Random } from '../../src/lib/random.ts';
import { LinkTable, NODES_MAX } from '../../src/net/faults.ts';

const HEALTHY = { blocked: false, loss: 0, delayMs: 0 };

describe('LinkTable', () => {
  test('delivers on every link at first', () => {
    const links = new LinkTable();
    const random = new Random(1);
    for (let from = 1; from <= NODES_MAX; from++) {
      for (let to = 1; to <= NODES_MAX; to++) {
        expect(links.fate(from, to, random)).toEqual({ kind: 'deliver' });
        expect(links.isBlocked(from, to)).toBe(false);
      }
    }
  });

  test('keeps every directed link apart', () => {
    const links = new LinkTable();
    const random = new Random(1);
    for (let from = 1; from <= NODES_MAX; from++) {
      for (let to = 1; to <= NODES_MAX; to++) links.set(from, to, { ...HEALTHY, delayMs: from * 100 + to });
    }
    for (let from = 1; from <= NODES_MAX; from++) {
      for (let to = 1; to <= NODES_MAX; to++)
        expect(links.fate(from, to, random)).toEqual({ kind: 'delay', delayMs: from * 100 + to });
    }
    links.set(1, 2, { ...HEALTHY, blocked: true });
    expect([links.isBlocked(1, 2), links.isBlocked(2, 1), links.isBlocked(1, 1)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('a cut wins over a delay, and repair undoes all', () => {
    const links = new LinkTable();
    const random = new Random(1);
    links.set(1, 2, { blocked: true, loss: 0.5, delayMs: 9 });
    expect(links.fate(1, 2, random)).toEqual({ kind: 'drop' });
    links.set(1, 2, HEALTHY);
    for (let i = 0; i < 100; i++) expect(links.fate(1, 2, random)).toEqual({ kind: 'deliver' });
  });

  test.each([0, 0.001, 0.3, 0.999, 1])('loses a share of %d', (loss) => {
    const links = new LinkTable();
    const random = new Random(7);
    links.set(1, 2, { ...HEALTHY, loss });
    const count = 20_000;
    let lost = 0;
    for (let i = 0; i < count; i++) if (links.fate(1, 2, random).kind === 'drop') lost += 1;
    const spread = 5 * Math.sqrt(count * loss * (1 - loss));
    expect(Math.abs(lost - count * loss)).toBeLessThanOrEqual(spread);
  });

  test('decides the same for the same chance', () => {
    const links = new LinkTable();
    links.set(1, 2, { ...HEALTHY, loss: 0.5 });
    const draw = (): readonly string[] => {
      const random = new Random('same');
      return Array.from({ length: 50 }, () => links.fate(1, 2, random).kind);
    };
    expect(draw()).toEqual(draw());
  });

  test('is seen at once through another table on the same memory', () => {
    const links = new LinkTable();
    const shared = new LinkTable(links.buffer);
    links.set(3, 4, { ...HEALTHY, blocked: true });
    expect(shared.isBlocked(3, 4)).toBe(true);
    expect(new LinkTable().isBlocked(3, 4)).toBe(false);
  });

  test.each([
    [0, 1],
    [1, 0],
    [NODES_MAX + 1, 1],
    [1, NODES_MAX + 1],
  ])('has no link from %d to %d', (from, to) => {
    const links = new LinkTable();
    expect(() => links.set(from, to, HEALTHY)).toThrow(AssertionError);
    expect(() => links.fate(from, to, new Random(1))).toThrow(AssertionError);
    expect(() => links.isBlocked(from, to)).toThrow(AssertionError);
  });

  test.each([{ loss: -0.1 }, { loss: 1.1 }, { loss: NaN }, { delayMs: -1 }])('refuses %o', (faults) => {
    expect(() => new LinkTable().set(1, 2, { ...HEALTHY, ...faults })).toThrow(AssertionError);
  });
});
