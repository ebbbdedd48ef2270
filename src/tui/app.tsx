/**
 * The screen as Ink components: each panel is one block of lines that a pure function made, placed by Ink's layout
 * (see `placement.ts`).
 */
import { Box, Text } from 'ink';
import { createContext, useContext, type Context, type ReactElement, type ReactNode } from 'react';
import { unreachable } from '../lib/assert.ts';
import { layoutFor, rowsMin, COLUMNS_MIN, type Layout, type PanelName } from './layout.ts';
import type { Look, Part } from './look.ts';
import type { ScreenView } from './model.ts';
import { Placement } from './placement.ts';
import { bottomLines } from './panels/bottom.ts';
import { headerLines } from './panels/header.ts';
import { helpLines } from './panels/help.ts';
import { logLines } from './panels/log.ts';
import { eventLines, eventNote, keyLines, lagNote, resultLines } from './panels/lower.ts';
import { cardLines, tableLines } from './panels/nodes.ts';
import { storagePanel } from './panels/storage.ts';
import { shownEvents, type State } from './state.ts';
import { wrap } from './text.ts';

/** Where the blocks of the frame being drawn go. */
export const PlacementContext: Context<Placement> = createContext(new Placement());

type Panels = Extract<Layout, { readonly kind: 'panels' }>;

/** The whole screen of `state`, exactly as large as its size says. */
export function App({ state, look }: { readonly state: State; readonly look: Look }): ReactElement {
  const { columns, rows } = state.size;
  const layout = layoutFor(state.size, state.nodeCount);
  if (layout.kind === 'tooSmall')
    return <Block lines={tooSmallLines(state, look)} cells={columns} rows={rows} />;
  const { view } = state;
  const head = { view, nodeCount: state.nodeCount, cells: columns, rows: layout.headerRows, look };
  const middleRows = rows - layout.headerRows - 2;
  return (
    <Box flexDirection="column" width={columns} height={rows}>
      <Block lines={headerLines(head)} cells={columns} rows={layout.headerRows} />
      {middle(state, view, layout, middleRows, look)}
      <Block lines={bottomLines({ state, cells: columns, look })} cells={columns} rows={2} />
    </Box>
  );
}

function middle(
  state: State,
  view: ScreenView | undefined,
  layout: Panels,
  rows: number,
  look: Look,
): ReactNode {
  const cells = state.size.columns;
  if (state.mode.kind === 'help')
    return <Block lines={helpLines({ cells, rows, top: state.mode.top, look })} cells={cells} rows={rows} />;
  if (view === undefined) {
    const text = `  Starting ${state.nodeCount} ${state.nodeCount === 1 ? 'node' : 'nodes'}${look.glyphs.ellipsis}`;
    return <Block lines={['', look.line(cells, text)]} cells={cells} rows={rows} />;
  }
  return (
    <>
      {layout.nodes === 'cards' ? (
        <Cards view={view} selected={state.selected} cells={cells} rows={layout.nodeRows} look={look} />
      ) : (
        <Block
          lines={tableLines({ view, selected: state.selected, cells, look })}
          cells={cells}
          rows={layout.nodeRows}
        />
      )}
      {layout.logRows === 0 ? null : (
        <LogPanel
          state={state}
          view={view}
          cells={cells}
          rows={layout.logRows}
          isBoxed={layout.isBoxed}
          look={look}
        />
      )}
      <Lower state={state} view={view} layout={layout} look={look} />
    </>
  );
}

/** Lines placed as they are: each exactly `cells` wide, or empty. */
function Block(props: {
  readonly lines: readonly string[];
  readonly cells: number;
  readonly rows: number;
}): ReactElement {
  const { lines, cells, rows } = props;
  const placement = useContext(PlacementContext);
  return (
    <Box width={cells} height={rows} flexShrink={0}>
      <Text>{placement.add(lines, cells, rows)}</Text>
    </Box>
  );
}

function Cards(props: {
  readonly view: ScreenView;
  readonly selected: number;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): ReactElement {
  const { view, rows, look } = props;
  const each = Math.floor(props.cells / view.nodes.length);
  const wider = props.cells - each * view.nodes.length;
  const leader = view.nodes.find(({ id }) => id === view.leader);
  return (
    <Box height={rows} flexShrink={0}>
      {view.nodes.map((node, i) => {
        const cells = each + (i < wider ? 1 : 0);
        const lines = cardLines({ node, leader, isSelected: node.id === props.selected, cells, rows, look });
        return <Block key={node.id} lines={lines} cells={cells} rows={rows} />;
      })}
    </Box>
  );
}

interface PanelProps {
  readonly state: State;
  readonly view: ScreenView;
  readonly cells: number;
  readonly rows: number;
  readonly isBoxed: boolean;
  readonly look: Look;
}

function LogPanel({ state, view, cells, rows, isBoxed, look }: PanelProps): ReactElement {
  const transfer = state.underWay.find(({ kind }) => kind === 'transfer');
  const heir = transfer?.kind === 'transfer' ? ` ${look.glyphs.to} n${transfer.node}` : '';
  const note: readonly Part[] =
    view.leader === 0 ? [['no leader', 'bad']] : [[`leader n${view.leader}${heir}`, 'dim']];
  const inner = isBoxed ? cells - 2 : cells;
  const body = logLines({ view, selected: state.selected, cells: inner, look });
  const isFocused = state.panel === 'log';
  return <Panel {...{ title: 'Replicated log', note, body, cells, rows, isBoxed, isFocused, look }} />;
}

/** A titled panel: in a frame, or under a heading of one line. */
function Panel(props: {
  readonly title: string;
  readonly note: readonly Part[];
  readonly body: readonly string[];
  readonly cells: number;
  readonly rows: number;
  readonly isBoxed: boolean;
  readonly isFocused: boolean;
  readonly look: Look;
}): ReactElement {
  const { note, body, cells, rows, isFocused, look } = props;
  const title: readonly Part[] = [[props.title, 'bold']];
  const lines = props.isBoxed
    ? look.box({ cells, rows, title, note, isFocused, body })
    : [look.rule(cells, title, note, isFocused), ...body.slice(0, rows - 1)];
  return <Block lines={lines} cells={cells} rows={rows} />;
}

function Lower({
  state,
  view,
  layout,
  look,
}: Omit<PanelProps, 'cells' | 'rows' | 'isBoxed'> & { readonly layout: Panels }): ReactElement {
  const { isBoxed, lowerRows: rows } = layout;
  const isStorage = state.panel === 'storage';
  const side = isStorage ? layout.storageColumns : layout.sideColumns;
  const cells = state.size.columns;
  const named = (name: PanelName, cellsOf: number, rowsOf: number): ReactElement => (
    <LowerPanel name={name} {...{ state, view, isBoxed, look }} cells={cellsOf} rows={rowsOf} />
  );
  // The storage is long: it takes the place of the two others.
  if (layout.isStacked) {
    const third = Math.floor(rows / 3);
    return (
      <Box flexDirection="column" height={rows} flexShrink={0}>
        {named('events', cells, rows - 2 * third)}
        {isStorage ? named('storage', cells, 2 * third) : named('keys', cells, third)}
        {isStorage ? null : named('results', cells, third)}
      </Box>
    );
  }
  if (side === 0) return named(layout.panels.includes(state.panel) ? state.panel : 'events', cells, rows);
  const isTall = rows >= 12 && !isStorage;
  const upper = Math.ceil(rows * 0.55);
  return (
    <Box height={rows} flexShrink={0}>
      {named('events', cells - side, rows)}
      {isTall ? (
        <Box flexDirection="column" width={side}>
          {named('keys', side, upper)}
          {named('results', side, rows - upper)}
        </Box>
      ) : (
        named(state.panel === 'results' || isStorage ? state.panel : 'keys', side, rows)
      )}
    </Box>
  );
}

function LowerPanel(props: PanelProps & { readonly name: PanelName }): ReactElement {
  const { state, view, cells, rows, isBoxed, look } = props;
  const inner = isBoxed ? cells - 2 : cells;
  const bodyRows = rows - (isBoxed ? 2 : 1);
  const isFocused = state.panel === props.name;
  const common = { cells, rows, isBoxed, isFocused, look };
  switch (props.name) {
    case 'events': {
      const shown = shownEvents(state);
      const top = state.eventsTop;
      const note = eventNote({ allCount: state.events.length, shown, top, level: state.level });
      const body = eventLines({ shown, top, cells: inner, rows: bodyRows, look });
      return <Panel title="Events" {...{ note, body }} {...common} />;
    }
    case 'keys': {
      const body = keyLines({ view, top: state.keysTop, cells: inner, rows: bodyRows, look });
      return <Panel title="Keys" note={lagNote(view)} body={body} {...common} />;
    }
    case 'results': {
      const { results, workload } = state;
      const body = resultLines({
        results,
        workload,
        top: state.resultsTop,
        cells: inner,
        rows: bodyRows,
        look,
      });
      return <Panel title="Client results" note={[]} body={body} {...common} />;
    }
    case 'storage': {
      const { selected, storageTop: top } = state;
      const panel = storagePanel({ view, selected, top, cells: inner, rows: bodyRows, look });
      return <Panel title={`Storage of n${selected}`} {...panel} {...common} />;
    }
    case 'log':
      return <LogPanel {...{ state, view, cells, rows, isBoxed, look }} />;
    default:
      return unreachable(props.name);
  }
}

function tooSmallLines(state: State, look: Look): readonly string[] {
  const { columns, rows } = state.size;
  const text = `Terminal too small: ${columns}x${rows}, need ${COLUMNS_MIN}x${rowsMin(state.nodeCount)}. The cluster is still running. q quits`;
  return wrap(text, Math.max(1, columns - 1), Math.max(1, rows), look.glyphs.ellipsis);
}
