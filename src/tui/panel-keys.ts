/** Keys that change nothing but what is seen: which panel has the focus, how far it is scrolled, which node is selected. Pure. */
import { unreachable } from '../lib/assert.ts';
import type { Key } from './keys.ts';
import { layoutFor, type PanelName } from './layout.ts';
import { storageLineCount } from './panels/storage.ts';
import { shownEvents, withToast, type State } from './state.ts';

const PAGE_LINES = 10;

/** The state after a key that is no character: focus, scrolling, the next node. */
export function moveKey(state: State, key: Key): State {
  if (key.kind !== 'named') return state;
  switch (key.name) {
    case 'tab':
      return { ...state, panel: nextPanel(state, 1) };
    case 'shiftTab':
      return { ...state, panel: nextPanel(state, -1) };
    case 'left':
      return neighbour(state, -1);
    case 'right':
      return neighbour(state, 1);
    case 'up':
      return scroll(state, -1);
    case 'down':
      return scroll(state, 1);
    case 'pageUp':
      return scroll(state, -PAGE_LINES);
    case 'pageDown':
      return scroll(state, PAGE_LINES);
    case 'home':
    case 'escape':
      return { ...state, eventsTop: undefined, keysTop: 0, resultsTop: 0, storageTop: 0 };
    case 'enter':
    case 'end':
    case 'backspace':
    case 'delete':
      return state;
    default:
      return unreachable(key.name);
  }
}

/** The storage panel in place of whichever has the focus; from there back to the events. */
export function toggleStorage(state: State): State {
  return { ...state, panel: state.panel === 'storage' ? 'events' : 'storage' };
}

/** The node `id` selected, if there is one. */
export function select(state: State, id: number, nowMs: number): State {
  const isThere = idsOf(state).includes(id);
  return isThere ? { ...state, selected: id } : withToast(state, `There is no n${id}`, nowMs);
}

/** Nodes that can be selected: until there is a view, those announced. */
export function idsOf({ view, nodeCount }: Pick<State, 'view' | 'nodeCount'>): readonly number[] {
  return view?.nodes.map(({ id }) => id) ?? Array.from({ length: nodeCount }, (_, i) => i + 1);
}

function nextPanel(state: State, step: number): PanelName {
  const layout = layoutFor(state.size, state.nodeCount);
  const panels: readonly PanelName[] = layout.kind === 'panels' ? layout.panels : [state.panel];
  const place = Math.max(0, panels.indexOf(state.panel));
  return panels[(place + step + panels.length) % panels.length] ?? state.panel;
}

function scroll(state: State, lines: number): State {
  const within = (top: number, last: number): number => Math.max(0, Math.min(last, top + lines));
  switch (state.panel) {
    case 'keys':
      return { ...state, keysTop: within(state.keysTop, 99) };
    case 'results':
      return { ...state, resultsTop: within(state.resultsTop, Math.max(0, state.results.length - 1)) };
    case 'storage': {
      const last = state.view === undefined ? 0 : storageLineCount(state.view, state.selected) - 1;
      return { ...state, storageTop: within(state.storageTop, last) };
    }
    case 'events':
    case 'log':
      return scrollEvents(state, lines);
    default:
      return unreachable(state.panel);
  }
}

function scrollEvents(state: State, lines: number): State {
  const events = shownEvents(state);
  const top = state.eventsTop;
  const now =
    top === undefined
      ? 0
      : Math.max(
          0,
          events.findIndex((event) => event.seq <= top),
        );
  const next = Math.max(0, Math.min(events.length - 1, now + lines));
  return { ...state, eventsTop: next === 0 ? undefined : events[next]?.seq };
}

function neighbour(state: State, step: number): State {
  const ids = idsOf(state);
  const place = ids.indexOf(state.selected);
  return { ...state, selected: ids.at((place + step) % ids.length) ?? state.selected };
}
