/** The storage panel: how the engine of the selected node keeps its data, and what each node's disk says. */
import type { EngineStats, NodeAccount, NodeView } from '../../cluster/view.ts';
import { unreachable } from '../../lib/assert.ts';
import type { Look, Part, Style } from '../look.ts';
import type { ScreenView } from '../model.ts';
import { fit, fitRight } from '../text.ts';
import { bytes, shareBar } from './format.ts';

type Lsm = Extract<EngineStats, { readonly kind: 'lsm' }>;
type Line = readonly Part[];

const LABEL_CELLS = 11;
const BAR_CELLS_MAX = 12;
/** Two columns of facts need so much; the words of one alone must fit half of it. */
const FOLD_COLUMNS_MIN = 76;
/** Facts besides the levels. */
const FACT_LINES_MAX = 9;

const DISK_STYLES: Readonly<Record<NodeAccount['storage'], Style>> = {
  ok: 'good',
  full: 'warn',
  failed: 'bad',
};

/** How many lines there are to scroll through, where they are not folded into two columns. */
export function storageLineCount(view: ScreenView, selected: number): number {
  const node = view.nodes.find(({ id }) => id === selected);
  const levels = node?.account?.engine.kind === 'lsm' ? node.account.engine.levels.length : 0;
  return FACT_LINES_MAX + levels + 1 + view.nodes.length;
}

/**
 * The panel from the line `top` on: the facts, in two columns where there is room, then a line a node. The note says which
 * engine it is, whether it keeps up, and how much is below.
 */
export function storagePanel(options: {
  readonly view: ScreenView;
  readonly selected: number;
  readonly top: number;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): { readonly note: readonly Part[]; readonly body: readonly string[] } {
  const { view, cells, rows, look } = options;
  const node = view.nodes.find(({ id }) => id === options.selected);
  const all = [...factLines(node, cells, look), ...diskLines(view, options.selected, cells, look)];
  const from = Math.max(0, Math.min(options.top, all.length - rows));
  const below = all.length - from - rows;
  const more: readonly Part[] = below > 0 ? [[`, ${below} more below`, 'dim']] : [];
  return { note: [...noteOf(node), ...more], body: all.slice(from, from + rows) };
}

function noteOf(node: NodeView | undefined): readonly Part[] {
  const account = node?.account;
  if (node === undefined || account === undefined) return [['no account yet', 'dim']];
  const { engine } = account;
  // The account of a node that stands still is its last one.
  const stale: readonly Part[] = node.state === 'running' ? [] : [[`, ${node.state}`, 'warn']];
  const slowed = slowedPart(engine);
  const pressure: readonly Part[] = slowed === undefined ? [] : [[', ', 'dim'], slowed];
  return [[engine.kind, 'dim'], ...pressure, ...stale];
}

/** What the engine's falling behind does to writes; undefined when it does nothing. */
function slowedPart(engine: EngineStats): Part | undefined {
  if (engine.kind !== 'lsm' || engine.pressurePercent <= 0) return undefined;
  return isStalled(engine) ? ['STALLED', 'bad'] : [`SLOW ${engine.pressurePercent}%`, 'warn'];
}

function isStalled(engine: EngineStats): boolean {
  return engine.kind === 'lsm' && engine.pressurePercent >= 100;
}

function factLines(node: NodeView | undefined, cells: number, look: Look): readonly string[] {
  const account = node?.account;
  if (node === undefined || account === undefined)
    return [look.line(cells, [' it has told nothing of itself yet', 'dim'])];
  const isFolded = cells >= FOLD_COLUMNS_MIN;
  const each = isFolded ? Math.floor(cells / 2) : cells;
  const facts = factsOf(node, account, each, look);
  if (!isFolded) return facts.map((fact) => look.line(cells, ...fact));
  const half = Math.ceil(facts.length / 2);
  return facts
    .slice(0, half)
    .map((fact, i) => look.line(each, ...fact) + look.line(cells - each, ...(facts[half + i] ?? [])));
}

function factsOf(node: NodeView, account: NodeAccount, cells: number, look: Look): readonly Line[] {
  const { engine, revision, compactedRevision } = account;
  const data: Line =
    node.standing === 'witness'
      ? labelled('data', ['none: it is a witness', 'dim'])
      : labelled('keys', `${account.keyCount} at revision ${revision}`);
  const history = labelled('history', compactedRevision > 0 ? `from revision ${compactedRevision}` : 'all');
  const disk: readonly Line[] = [
    labelled('disk', [account.storage, DISK_STYLES[account.storage]], `, wal ${bytes(account.walBytes)}`),
    labelled(
      'checkpoint',
      account.snapshotIndex === 0 ? ['none yet', 'dim'] : `at index ${account.snapshotIndex}`,
    ),
  ];
  switch (engine.kind) {
    case 'memory':
      return [
        data,
        history,
        labelled('memory', `${engine.versions} versions, ${bytes(engine.bytes)}`),
        ...disk,
      ];
    case 'lsm':
      return [data, history, ...treeFacts(engine, cells, look), ...disk, ...levelFacts(engine, cells, look)];
    default:
      return unreachable(engine);
  }
}

function treeFacts(tree: Lsm, cells: number, look: Look): readonly Line[] {
  const fill = tree.memtableBytesMax > 0 ? tree.memtableBytes / tree.memtableBytesMax : 0;
  const bar = shareBar(fill, barCells(cells), look.glyphs);
  const flushing: Line =
    tree.flushingBytes > 0 ? [', ', [`${bytes(tree.flushingBytes)} under way`, 'accent']] : [];
  const lookups = tree.cacheHits + tree.cacheMisses;
  const hits = lookups === 0 ? 'not asked yet' : `hits ${Math.floor((100 * tree.cacheHits) / lookups)} %`;
  return [
    labelled(
      'memtable',
      [bar, fillStyle(tree, fill)],
      ` ${bytes(tree.memtableBytes)} of ${bytes(tree.memtableBytesMax)}`,
    ),
    labelled('flushes', `${tree.flushesDone} done`, ...flushing),
    labelled(
      'merging',
      tree.compacting === undefined ? [look.glyphs.missing, 'dim'] : [tree.compacting, 'accent'],
    ),
    labelled(
      'merged',
      `${tree.compactionsDone === 1 ? 'once' : `${tree.compactionsDone} times`}, ${bytes(tree.compactedBytes)} written`,
    ),
    labelled('cache', `${bytes(tree.cacheBytes)}, ${hits}`),
  ];
}

function fillStyle(tree: Lsm, fill: number): Style {
  if (isStalled(tree)) return 'bad';
  return fill >= 1 ? 'warn' : 'plain';
}

/** The levels that hold something, each with its part of all the tables' bytes. Where writes stall, level 0 may be why. */
function levelFacts(tree: Lsm, cells: number, look: Look): readonly Line[] {
  const total = tree.levels.reduce((sum, level) => sum + level.bytes, 0);
  const last = tree.levels.findLastIndex(({ tables }) => tables > 0);
  if (last === -1) return [labelled('tables', ['none yet', 'dim'])];
  return tree.levels.slice(0, last + 1).map((level, i) => {
    const bar = shareBar(total > 0 ? level.bytes / total : 0, barCells(cells), look.glyphs);
    return labelled(
      `level ${i}`,
      [bar, i === 0 && isStalled(tree) ? 'bad' : 'plain'],
      ` ${levelText(level)}`,
    );
  });
}

function levelText({ tables, bytes: size }: Lsm['levels'][number]): string {
  return tables === 0 ? 'empty' : `${tables} ${tables === 1 ? 'table' : 'tables'}, ${bytes(size)}`;
}

/** Every node's disk, for comparison: one line each under a heading. */
function diskLines(view: ScreenView, selected: number, cells: number, look: Look): readonly string[] {
  const heading = ` ${'node'.padEnd(6)}${'engine'.padEnd(8)}${'wal'.padStart(6)}${'checkpoint'.padStart(12)}  disk`;
  const lines = [look.line(cells, [heading, 'dim'])];
  for (const { id, account } of view.nodes) {
    const isSelected = id === selected;
    const name: Part = [
      `${isSelected ? look.glyphs.pointer : ' '}${`n${id}`.padEnd(6)}`,
      isSelected ? 'accent' : 'plain',
    ];
    if (account === undefined) {
      lines.push(look.line(cells, name, ['-', 'dim']));
      continue;
    }
    const { engine, storage } = account;
    const slowed = slowedPart(engine);
    const checkpoint = account.snapshotIndex === 0 ? '-' : String(account.snapshotIndex);
    lines.push(
      look.line(
        cells,
        name,
        fit(engine.kind, 8),
        `${fitRight(bytes(account.walBytes), 6)}${fitRight(checkpoint, 12)}  `,
        [storage, DISK_STYLES[storage]],
        ...(slowed === undefined ? [] : ['  ', slowed]),
      ),
    );
  }
  return lines;
}

function labelled(label: string, ...parts: readonly Part[]): Line {
  return [[` ${label.padEnd(LABEL_CELLS)}`, 'dim'], ...parts];
}

function barCells(cells: number): number {
  return Math.max(4, Math.min(BAR_CELLS_MAX, cells - LABEL_CELLS - 20));
}
