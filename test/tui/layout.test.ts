import { describe, expect, it } from 'vitest';
import { layoutFor, rowsMin } from '../../src/tui/layout.ts';

describe('layoutFor()', () => {
  it('fills every size from the smallest up exactly, for every number of nodes', () => {
    for (let nodes = 1; nodes <= 9; nodes++) {
      for (let rows = 16; rows <= 70; rows++) {
        for (const columns of [60, 79, 80, 84, 99, 100, 119, 120, 160, 240]) {
          const layout = layoutFor({ columns, rows }, nodes);
          if (layout.kind !== 'panels') throw new Error(`too small at ${columns}x${rows}`);
          const where = `${columns}x${rows}, ${nodes} nodes`;
          expect(layout.headerRows + layout.nodeRows + layout.logRows + layout.lowerRows + 2, where).toBe(
            rows,
          );
          expect(layout.lowerRows, where).toBeGreaterThanOrEqual(3);
          expect(layout.storageColumns, where).toBeLessThanOrEqual(columns / 2);
          expect(layout.sideColumns, where).toBeLessThanOrEqual(layout.storageColumns);
          expect(layout.panels.includes('log'), where).toBe(layout.logRows === 0);
          if (layout.nodes === 'cards') expect(Math.floor(columns / nodes), where).toBeGreaterThanOrEqual(24);
        }
      }
    }
  });

  it('asks for more lines when there are more nodes than a cluster begins with', () => {
    expect(rowsMin(10)).toBe(16);
    for (let nodes = 10; nodes <= 20; nodes++) {
      expect(layoutFor({ columns: 240, rows: rowsMin(nodes) - 1 }, nodes).kind).toBe('tooSmall');
      for (let rows = rowsMin(nodes); rows <= 70; rows++) {
        const layout = layoutFor({ columns: 120, rows }, nodes);
        if (layout.kind !== 'panels') throw new Error(`too small at ${rows} rows`);
        expect(layout.headerRows + layout.nodeRows + layout.logRows + layout.lowerRows + 2).toBe(rows);
        expect(layout.lowerRows).toBeGreaterThanOrEqual(2);
      }
    }
  });

  it('has the documented turning points', () => {
    expect(layoutFor({ columns: 59, rows: 40 }, 3).kind).toBe('tooSmall');
    expect(layoutFor({ columns: 120, rows: 15 }, 3).kind).toBe('tooSmall');
    expect(layoutFor({ columns: 120, rows: 40 }, 5)).toMatchObject({ nodes: 'cards', isBoxed: true });
    expect(layoutFor({ columns: 80, rows: 24 }, 5)).toMatchObject({
      nodes: 'table',
      isBoxed: false,
      logRows: 8,
    });
    expect(layoutFor({ columns: 200, rows: 60 }, 7)).toMatchObject({ nodes: 'table', isBoxed: true });
    expect(layoutFor({ columns: 80, rows: 50 }, 5)).toMatchObject({ isStacked: true });
  });
});
