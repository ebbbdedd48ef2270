/** The replicated log: one line a node, one column an index, so that a difference between two nodes is seen as one. */
import type { LogCell, NodeView } from '../../cluster/view.ts';
import { termStyle, type Look, type Part } from '../look.ts';
import type { ScreenView } from '../model.ts';
import { fit, fitRight } from '../text.ts';
import { roleOf } from './format.ts';

/** Cells before the first column: node, role and term; then next and match, where there is room. */
const LEAD_CELLS = 18;
const PROGRESS_CELLS = 14;
const PROGRESS_COLUMNS_MIN = 78;
const LEGEND_CELLS = 16;
/** A node's account holds this many of its newest entries; older columns could not be filled. */
const COLUMNS_MAX = 16;

interface Matrix {
  readonly indexes: readonly number[];
  readonly cellsEach: number;
}

/** The lines within the frame (or under the heading): index numbers, a line a node, the commands. */
export function logLines(options: {
  readonly view: ScreenView;
  readonly selected: number;
  readonly cells: number;
  readonly look: Look;
}): readonly string[] {
  const { view, cells, look } = options;
  const hasLegend = cells >= 110;
  const hasProgress = cells >= PROGRESS_COLUMNS_MIN;
  const leadCells = LEAD_CELLS + (hasProgress ? PROGRESS_CELLS : 0);
  const free = cells - leadCells - (hasLegend ? LEGEND_CELLS : 0);
  const matrix = matrixOf(view.nodes, free, cells >= 100 ? 7 : 6);
  const legend = hasLegend ? legendParts(look) : [];
  const leader = view.nodes.find((node) => node.id === view.leader);
  const heading =
    ` node  role  term${hasProgress ? `${'next'.padStart(7)}${'match'.padStart(7)}` : ''}`.padEnd(leadCells);
  const columns = matrix.indexes.map((index) => fit(String(index), matrix.cellsEach)).join('');
  const lines = [
    withLegend(
      [
        [heading, 'dim'],
        [columns, 'dim'],
      ],
      legend[0],
    ),
  ];
  for (const [row, node] of view.nodes.entries()) {
    const entries = new Map(node.account?.log.map((cell) => [cell.index, cell]));
    const parts: Part[] = [
      ...leadParts(node, options.selected, look),
      ...(hasProgress ? progressParts(node, leader, look) : []),
      ' ',
    ];
    for (const index of matrix.indexes)
      parts.push(...cellParts(index, node, entries.get(index), leader, matrix, look));
    lines.push(withLegend(parts, legend[row + 1]));
  }
  const commands: Part[] = [' command'.padEnd(leadCells)];
  for (const index of matrix.indexes) {
    commands.push([
      `${fit(summaryAt(index, view.nodes, leader), matrix.cellsEach - 1, look.glyphs.ellipsis)} `,
      'plain',
    ]);
  }
  lines.push(withLegend(commands, legend[view.nodes.length + 1]));
  return lines;

  function withLegend(parts: readonly Part[], note: readonly Part[] | undefined): string {
    return hasLegend
      ? look.line(cells - LEGEND_CELLS, ...parts) + look.line(LEGEND_CELLS, ...(note ?? []))
      : look.line(cells, ...parts);
  }
}

/** The newest columns that fit, wide enough for their numbers and terms. */
function matrixOf(nodes: readonly NodeView[], cells: number, cellsMin: number): Matrix {
  let last = 0;
  let term = 0;
  for (const node of nodes) {
    last = Math.max(last, node.account?.last ?? 0);
    term = Math.max(term, node.account?.term ?? 0);
  }
  const cellsEach = Math.max(cellsMin, String(last).length + 1, String(term).length + 4);
  const count = Math.max(1, Math.min(COLUMNS_MAX, Math.floor(cells / cellsEach)));
  const first = Math.max(1, last - count + 1);
  return { cellsEach, indexes: Array.from({ length: count }, (_, i) => first + i) };
}

function leadParts(node: NodeView, selected: number, look: Look): readonly Part[] {
  const role = roleOf(node, look.glyphs);
  const term = node.account?.term;
  return [
    [
      `${node.id === selected ? look.glyphs.pointer : ' '}${`n${node.id}`.padEnd(6)}`,
      node.id === selected ? 'accent' : 'plain',
    ],
    [role.glyph, role.style],
    '     ',
    fit(term === undefined ? '-' : `T${term}`, 4, look.glyphs.ellipsis),
  ];
}

/** How far the leader believes this node's log goes: its own line has none. */
function progressParts(node: NodeView, leader: NodeView | undefined, look: Look): readonly Part[] {
  const peer = leader?.account?.peers.find(({ id }) => id === node.id);
  if (peer === undefined) return [look.glyphs.missing.padStart(7), look.glyphs.missing.padStart(7)];
  return [
    fitRight(String(peer.next), 7, look.glyphs.ellipsis),
    fitRight(String(peer.match), 7, look.glyphs.ellipsis),
  ];
}

function cellParts(
  index: number,
  node: NodeView,
  entry: LogCell | undefined,
  leader: NodeView | undefined,
  matrix: Matrix,
  look: Look,
): readonly Part[] {
  const account = node.account;
  const blank = (text: string): Part => [fit(text, matrix.cellsEach), 'dim'];
  if (account === undefined || index > account.last) return [blank(look.glyphs.missing)];
  if (index < account.first) return [blank('snap')];
  if (entry === undefined) return [blank('?')];
  const isCommitted = index <= account.commit;
  const leaders = leader?.account?.log.find((cell) => cell.index === index);
  const isConflict = leaders !== undefined && leaders.term !== entry.term;
  const text = isCommitted ? `[${entry.term}]` : `(${entry.term})`;
  const rest = fit(isConflict ? '!' : '', matrix.cellsEach - text.length);
  return [
    [text, termStyle(entry.term)],
    [rest, 'bad'],
  ];
}

/** What the entry at `index` does: the leader's word counts, then that of whoever committed it. */
function summaryAt(index: number, nodes: readonly NodeView[], leader: NodeView | undefined): string {
  const find = (node: NodeView): string | undefined =>
    node.account?.log.find((cell) => cell.index === index)?.summary;
  const fromLeader = leader === undefined ? undefined : find(leader);
  if (fromLeader !== undefined) return fromLeader;
  const ordered = nodes.toSorted((a, b) => (b.account?.commit ?? 0) - (a.account?.commit ?? 0));
  for (const node of ordered) {
    const summary = find(node);
    if (summary !== undefined) return summary;
  }
  return '';
}

function legendParts(look: Look): readonly (readonly Part[])[] {
  return [
    [['[t] committed', 'dim']],
    [['(t) not yet', 'dim']],
    [['  ! conflicts', 'dim']],
    [[`  ${look.glyphs.missing} missing`, 'dim']],
  ];
}
