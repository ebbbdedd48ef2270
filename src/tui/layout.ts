/** Decides what fits on a screen of a given size. Pure: the same size and number of nodes give the same layout. */
import type { FrameSize } from './frame-sink.ts';

/** A panel that can have the focus. */
export type PanelName = 'events' | 'keys' | 'results' | 'storage' | 'log';

export const COLUMNS_MIN = 60;
export const ROWS_MIN = 16;

/** Nodes beyond this many are a table at any width. */
const CARD_NODES_MAX = 6;
/** A narrower card could not hold the word for its role. */
const CARD_COLUMNS_MIN = 24;
const BOX_COLUMNS_MIN = 100;
/** Lines at the bottom: prompt and key hints. */
export const BOTTOM_ROWS = 2;
/** Node cards: frame and six facts, then one line a follower. */
const CARD_ROWS = 8;
/** A right column narrower than this shows too little of the key space. */
const SIDE_COLUMNS_MIN = 36;
/** The facts of an engine with their bars. */
const STORAGE_COLUMNS_MIN = 46;
const STACK_ROWS_MIN = 18;
const LOWER_ROWS_MIN = 2;

export type Layout =
  | { readonly kind: 'tooSmall' }
  | {
      readonly kind: 'panels';
      readonly headerRows: number;
      readonly nodes: 'cards' | 'table';
      readonly nodeRows: number;
      /** 0: the log takes its turn among the lower panels. */
      readonly logRows: number;
      readonly lowerRows: number;
      /** Panels have frames; otherwise one line as a heading. */
      readonly isBoxed: boolean;
      /** Columns of the lower part's right half; 0: not divided. */
      readonly sideColumns: number;
      /** The same while the right half shows the storage of a node. */
      readonly storageColumns: number;
      /** The lower panels one above the other. */
      readonly isStacked: boolean;
      /** In the order of Tab. */
      readonly panels: readonly PanelName[];
    };

type Panels = Extract<Layout, { readonly kind: 'panels' }>;

/** Lines that a screen needs for `nodeCount` nodes: a line each, one for the header, and events under a heading. */
export function rowsMin(nodeCount: number): number {
  return Math.max(ROWS_MIN, 1 + (nodeCount + 1) + LOWER_ROWS_MIN + BOTTOM_ROWS);
}

/** The layout for a screen of `size` with `nodeCount` nodes. */
export function layoutFor(size: FrameSize, nodeCount: number): Layout {
  if (size.columns < COLUMNS_MIN || size.rows < rowsMin(nodeCount)) return { kind: 'tooSmall' };
  return cards(size, nodeCount) ?? boxes(size, nodeCount) ?? rules(size, nodeCount);
}

function cards(size: FrameSize, nodeCount: number): Panels | undefined {
  if (nodeCount > CARD_NODES_MAX || Math.floor(size.columns / nodeCount) < CARD_COLUMNS_MIN) return undefined;
  const nodeRows = CARD_ROWS + nodeCount - 1;
  return boxed(size, nodeCount, { nodes: 'cards', nodeRows, lowerRowsMin: 8 });
}

function boxes(size: FrameSize, nodeCount: number): Panels | undefined {
  return boxed(size, nodeCount, { nodes: 'table', nodeRows: nodeCount + 1, lowerRowsMin: 6 });
}

function boxed(
  size: FrameSize,
  nodeCount: number,
  want: { readonly nodes: 'cards' | 'table'; readonly nodeRows: number; readonly lowerRowsMin: number },
): Panels | undefined {
  const headerRows = 2;
  const logRows = nodeCount + 4;
  const lowerRows = size.rows - headerRows - want.nodeRows - logRows - BOTTOM_ROWS;
  if (size.columns < BOX_COLUMNS_MIN || lowerRows < want.lowerRowsMin) return undefined;
  const side = Math.max(SIDE_COLUMNS_MIN, Math.min(11 + 7 * nodeCount, Math.floor(size.columns * 0.45)));
  return {
    kind: 'panels',
    headerRows,
    nodes: want.nodes,
    nodeRows: want.nodeRows,
    logRows,
    lowerRows,
    isBoxed: true,
    sideColumns: side,
    storageColumns: Math.max(STORAGE_COLUMNS_MIN, side),
    isStacked: false,
    panels: ['events', 'keys', 'results', 'storage'],
  };
}

function rules(size: FrameSize, nodeCount: number): Panels {
  const nodeRows = nodeCount + 1;
  const headerRows = size.rows >= 24 && nodeCount <= 6 ? 2 : 1;
  const free = size.rows - headerRows - nodeRows - BOTTOM_ROWS;
  const hasLog = free - (nodeCount + 2) >= 4;
  const hasCommands = free - (nodeCount + 3) >= 6;
  const logRows = hasLog ? nodeCount + (hasCommands ? 3 : 2) : 0;
  const lowerRows = free - logRows;
  return {
    kind: 'panels',
    headerRows,
    nodes: 'table',
    nodeRows,
    logRows,
    lowerRows,
    isBoxed: false,
    sideColumns: 0,
    storageColumns: 0,
    isStacked: lowerRows >= STACK_ROWS_MIN,
    panels: hasLog
      ? ['events', 'keys', 'results', 'storage']
      : ['events', 'log', 'keys', 'results', 'storage'],
  };
}
