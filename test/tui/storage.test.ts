import { afterEach, describe, expect, it } from 'vitest';
import type { EngineStats, NodeAccount } from '../../src/cluster/view.ts';
import type { FrameSize } from '../../src/tui/frame-sink.ts';
import { width } from '../../src/tui/text.ts';
import { FakeCluster, TREE } from './fake-cluster.ts';
import { Bench } from './harness.ts';

let open: Bench[] = [];

afterEach(() => {
  for (const bench of open) bench.close();
  open = [];
});

interface Stage {
  readonly size?: FrameSize;
  readonly nodes?: number;
  readonly engine?: EngineStats;
  readonly storage?: NodeAccount['storage'];
  readonly ascii?: boolean;
}

/** The screen with the storage of node 1, whose engine is `engine`; node 2 has the same, the others keep all in memory. */
function shown({ size = { columns: 120, rows: 40 }, nodes = 5, ...stage }: Stage = {}): Bench {
  const bench = new Bench(size, nodes, { ascii: stage.ascii ?? false });
  open.push(bench);
  const cluster = new FakeCluster(nodes);
  if (nodes > 1) cluster.stage();
  for (const id of [1, 2].slice(0, nodes)) cluster.setStorage(id, stage.engine ?? TREE, stage.storage);
  bench.attach(cluster);
  bench.type('s');
  return bench;
}

function frameOf(bench: Bench): string {
  const lines = bench.text().split('\n');
  const { columns, rows } = bench.state.size;
  expect(lines.length).toBeLessThanOrEqual(rows);
  for (const line of lines) expect(width(line), line).toBeLessThanOrEqual(columns);
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

/** The style that the frame paints `text` with: its SGR parameters; empty for none. */
function styleOf(bench: Bench, text: string): string {
  const frame = bench.draw();
  const place = frame.indexOf(text);
  expect(place, text).toBeGreaterThan(-1);
  // oxlint-disable-next-line no-control-regex -- ESC is what starts one
  return /\u001b\[([0-9;]*)m[^\u001b]*$/.exec(frame.slice(0, place))?.[1] ?? '';
}

describe('the storage panel', () => {
  it.each([
    ['120x40', { columns: 120, rows: 40 }, 5],
    ['120x40-3-nodes', { columns: 120, rows: 40 }, 3],
    ['100x34', { columns: 100, rows: 34 }, 5],
    ['80x24', { columns: 80, rows: 24 }, 5],
    ['80x24-3-nodes', { columns: 80, rows: 24 }, 3],
    ['80x50-portrait', { columns: 80, rows: 50 }, 3],
    ['60x16', { columns: 60, rows: 16 }, 5],
  ] as const)('is as drawn at %s', async (name, size, nodes) => {
    await expect(frameOf(shown({ size, nodes }))).toMatchFileSnapshot(`golden/storage-${name}.txt`);
  });

  it('keeps within every size, for every number of nodes, wherever it is scrolled', () => {
    const huge = { ...TREE, cacheHits: 2 ** 53 - 1, compactedBytes: 2 ** 53 - 1, memtableBytes: 2 ** 40 };
    for (const nodes of [1, 5, 9]) {
      for (const columns of [60, 76, 80, 100, 120, 200]) {
        const bench = shown({ size: { columns, rows: columns === 60 ? 16 : 40 }, nodes, engine: huge });
        frameOf(bench);
        bench.type('\u001b[6~\u001b[6~');
        frameOf(bench);
      }
    }
  });

  it('scrolls to the last node', () => {
    const bench = shown({ size: { columns: 80, rows: 24 } });
    expect(frameOf(bench)).not.toMatch(/^ n5 +memory/m);
    expect(frameOf(bench)).toContain('─ lsm, 7 more below ─');
    bench.type('\u001b[6~\u001b[6~');
    expect(frameOf(bench)).toMatch(/^ n5 +memory +939 +- +ok$/m);
    expect(frameOf(bench)).not.toContain('more below');
  });

  it('says all of a tree, in ASCII too', () => {
    const frame = frameOf(shown({ ascii: true }));
    expect(frame).toMatch(/^[\u0020-\u007e\n]*$/);
    expect(frame).toContain('memtable   ########.... 21M of 32M');
    expect(frame).toContain('merging    L0 4 + L1 6 > L1');
    expect(frame).toContain('merged     5 times, 480M written');
    expect(frame).toContain('cache      12M, hits 93 %');
    expect(frame).toMatch(/level 0 +#+\.+ 3 tables, 61M/);
    expect(frame).toContain('level 2    #........... 1 table, 8.0M');
    expect(frame).not.toContain('level 3');
  });

  it('says of a store in memory how much it keeps', () => {
    const bench = shown();
    bench.type('3');
    const frame = frameOf(bench);
    expect(frame).toMatch(/Storage of n3 ─+ memory ┐/);
    expect(frame).toContain('memory     9 versions, 549');
    expect(frame).toContain('disk       ok, wal 1.0K ');
    expect(frame).not.toContain('memtable');
  });

  it('is there for a tree that holds nothing, and divides by no zero', () => {
    const empty: EngineStats = {
      ...TREE,
      memtableBytes: 0,
      memtableBytesMax: 0,
      levels: [],
      cacheHits: 0,
      cacheMisses: 0,
      compacting: undefined,
    };
    const frame = frameOf(shown({ engine: { ...empty, compactionsDone: 1 } }));
    expect(frame).toContain('merged     once, ');
    expect(frame).toContain('tables     none yet');
    expect(frame).toContain('not asked yet');
    expect(frame).not.toMatch(/NaN|Infinity/);
  });

  it('warns when a flush is due, and says in words and colour that writes stall', () => {
    const bar = '▓'.repeat(12);
    const due = shown({ engine: { ...TREE, memtableBytes: TREE.memtableBytesMax, flushingBytes: 2 ** 20 } });
    expect(styleOf(due, bar)).toBe('33');
    expect(frameOf(due)).toContain('flushes    9 done, 1.0M under way');
    expect(frameOf(due)).not.toContain('STALLED');
    const slow = shown({ engine: { ...TREE, pressurePercent: 40 } });
    expect(frameOf(slow)).toMatch(/Storage of n1 ─* lsm, SLOW 40%, 5 more below ┐/);
    const late = shown({
      engine: { ...TREE, memtableBytes: 3 * TREE.memtableBytesMax, pressurePercent: 100 },
    });
    expect(styleOf(late, bar)).toBe('1;31');
    expect(frameOf(late)).toMatch(/Storage of n1 ─+ lsm, STALLED, 5 more below ┐/);
  });

  it.each([
    ['ok', '32'],
    ['full', '33'],
    ['failed', '1;31'],
  ] as const)('shows a disk that is %s', (storage, style) => {
    const bench = shown({ storage });
    expect(frameOf(bench)).toContain(`disk       ${storage}, wal 939`);
    expect(styleOf(bench, `${storage}\u001b[0m, wal`)).toBe(style);
  });

  it('says that an account is an old one, and that a witness has no data', () => {
    const bench = shown();
    bench.type('4');
    expect(frameOf(bench)).toMatch(/Storage of n4 ─+ memory, frozen ┐/);
    const witness = new Bench({ columns: 120, rows: 40 }, 3);
    open.push(witness);
    const cluster = new FakeCluster(3);
    cluster.setStanding(1, 'witness');
    witness.attach(cluster);
    witness.type('s');
    expect(frameOf(witness)).toContain('data       none: it is a witness');
  });
});
