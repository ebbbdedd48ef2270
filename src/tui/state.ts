/**
 * The state of the screen, and how it changes. Pure: an action and a state give the next state and the effects that
 * someone else carries out on the cluster. Keys are in `key-actions.ts`.
 */
import { unreachable } from '../lib/assert.ts';
import type { ClusterEvent, ClusterView, EventLevel } from '../cluster/view.ts';
import type { FrameSize } from './frame-sink.ts';
import type { Key } from './keys.ts';
import type { PanelName } from './layout.ts';
import { screenEvent, screenView, type ClientResult, type ScreenEvent, type ScreenView } from './model.ts';
import type { ClientRequest } from './requests.ts';

/** Events kept for scrolling back. */
export const EVENTS_MAX = 1000;
const RESULTS_MAX = 50;
/** How long a toast stays. */
export const TOAST_MS = 4000;
const ECHO_MS = 500;

/** Node ids in groups that cannot reach each other. */
export type Groups = readonly (readonly number[])[];

/** What the keyboard is doing. */
export type Mode =
  | { readonly kind: 'normal' }
  | { readonly kind: 'help' }
  | {
      readonly kind: 'prompt';
      readonly for: 'write' | 'read';
      readonly text: readonly string[];
      readonly cursor: number;
    }
  /** `apart`: the nodes to be cut off from the others, together. */
  | { readonly kind: 'partition'; readonly apart: ReadonlySet<number> };

/** What the background workload has done since it was switched on. */
export interface WorkloadStats {
  readonly isOn: boolean;
  readonly okCount: number;
  readonly refusedCount: number;
  readonly unknownCount: number;
  /** Median of the latest successful writes; undefined before the first. */
  readonly tookMsP50: number | undefined;
}

export interface State {
  readonly size: FrameSize;
  readonly ascii: boolean;
  /** Number of nodes: as announced until there is a view. */
  readonly nodeCount: number;
  /** The cluster can take actions. */
  readonly isReady: boolean;
  readonly view: ScreenView | undefined;
  /** When the view came, on the screen's clock. */
  readonly viewAtMs: number;
  /** Oldest first; at most {@link EVENTS_MAX}. */
  readonly events: readonly ScreenEvent[];
  readonly nextSeq: number;
  /** Events up to this level are shown. */
  readonly level: EventLevel;
  readonly selected: number;
  readonly panel: PanelName;
  /** The newest event shown while scrolled back; undefined: the newest there is. */
  readonly eventsTop: number | undefined;
  readonly keysTop: number;
  readonly resultsTop: number;
  readonly mode: Mode;
  readonly toast: { readonly text: string; readonly untilMs: number } | undefined;
  /** Newest first. */
  readonly results: readonly ClientResult[];
  readonly workload: WorkloadStats;
  /** Nodes that the user cut off one by one. */
  readonly cutOff: ReadonlySet<number>;
  /** The user divided the cluster; the view may not show it yet. */
  readonly hasPartition: boolean;
  readonly lastWrite: string;
  readonly lastRead: string;
  /** The key handled last, to hold a held one to one action a frame. */
  readonly lastKey: { readonly name: string; readonly atMs: number } | undefined;
  /** When the user last did something, on the cluster's clock. */
  readonly userAtMs: number;
}

/** Something that happened. `nowMs` is the screen's monotonic clock. */
export type Action =
  | { readonly kind: 'key'; readonly key: Key; readonly nowMs: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'view'; readonly view: ClusterView; readonly nowMs: number }
  | { readonly kind: 'events'; readonly events: readonly ClusterEvent[] }
  | { readonly kind: 'resize'; readonly size: FrameSize }
  /** A request was sent, or got its answer. Strings are safe already. */
  | { readonly kind: 'result'; readonly result: ClientResult }
  | { readonly kind: 'workload'; readonly stats: WorkloadStats }
  /** Something could not be done. The text may be the cluster's; it is safe already. */
  | { readonly kind: 'toast'; readonly text: string; readonly nowMs: number }
  | { readonly kind: 'tick'; readonly nowMs: number };

/** What is to be done outside. */
export type Effect =
  | { readonly kind: 'crash'; readonly node: number }
  | { readonly kind: 'restart'; readonly node: number }
  | { readonly kind: 'freeze'; readonly node: number }
  | { readonly kind: 'thaw'; readonly node: number }
  | { readonly kind: 'heal' }
  | { readonly kind: 'partition'; readonly groups: Groups }
  | { readonly kind: 'isolate'; readonly node: number }
  | { readonly kind: 'rejoin'; readonly node: number }
  | { readonly kind: 'request'; readonly request: ClientRequest }
  | { readonly kind: 'workload'; readonly isOn: boolean }
  | { readonly kind: 'suspend' }
  | { readonly kind: 'quit' };

export interface Next {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** The state before anything happened. */
export function initialState(options: {
  readonly size: FrameSize;
  readonly nodeCount: number;
  readonly ascii: boolean;
}): State {
  return {
    size: options.size,
    ascii: options.ascii,
    nodeCount: options.nodeCount,
    isReady: false,
    view: undefined,
    viewAtMs: 0,
    events: [],
    nextSeq: 1,
    level: 2,
    selected: 1,
    panel: 'events',
    eventsTop: undefined,
    keysTop: 0,
    resultsTop: 0,
    mode: { kind: 'normal' },
    toast: undefined,
    results: [],
    workload: { isOn: false, okCount: 0, refusedCount: 0, unknownCount: 0, tookMsP50: undefined },
    cutOff: new Set(),
    hasPartition: false,
    lastWrite: 'x 1',
    lastRead: 'x',
    lastKey: undefined,
    userAtMs: -Infinity,
  };
}

/** The state after everything but a key. */
export function applyNews(state: State, action: Exclude<Action, { readonly kind: 'key' }>): State {
  switch (action.kind) {
    case 'ready':
      return { ...state, isReady: true };
    case 'view': {
      const view = screenView(action.view, state.ascii);
      return { ...state, view, viewAtMs: action.nowMs, nodeCount: view.nodes.length };
    }
    case 'events':
      return addEvents(
        state,
        action.events.filter((event) => !isEcho(event, state.userAtMs)),
      );
    case 'resize':
      return { ...state, size: action.size };
    case 'result': {
      const others = state.results.filter((result) => result.id !== action.result.id);
      const isNew = others.length === state.results.length;
      const results = isNew
        ? [action.result, ...state.results].slice(0, RESULTS_MAX)
        : state.results.map((result) => (result.id === action.result.id ? action.result : result));
      return { ...state, results };
    }
    case 'workload':
      return { ...state, workload: action.stats };
    case 'toast':
      return withToast(state, action.text, action.nowMs);
    case 'tick':
      return state.toast !== undefined && state.toast.untilMs <= action.nowMs
        ? { ...state, toast: undefined }
        : state;
    default:
      return unreachable(action);
  }
}

/** `state` with a line for the user that goes away by itself. */
export function withToast(state: State, text: string, nowMs: number): State {
  return { ...state, toast: { text, untilMs: nowMs + TOAST_MS } };
}

/** `state` with what the user did as an event. */
export function withUserEvent(state: State, text: string, nowMs: number): State {
  const since = state.view === undefined ? 0 : Math.max(0, nowMs - state.viewAtMs);
  const atMs = (state.view?.atMs ?? 0) + since;
  return addEvents({ ...state, userAtMs: atMs }, [{ atMs, node: 0, level: 0, kind: 'user', text }]);
}

/** A level-0 event from the cluster just after the user's own line tells of the same action. */
function isEcho(event: ClusterEvent, userAtMs: number): boolean {
  return event.level === 0 && Math.abs(event.atMs - userAtMs) <= ECHO_MS;
}

function addEvents(state: State, events: readonly ClusterEvent[]): State {
  if (events.length === 0) return state;
  const all = [...state.events];
  let seq = state.nextSeq;
  for (const event of events.slice(-EVENTS_MAX)) {
    const fresh = screenEvent(event, seq, state.ascii);
    const last = all.at(-1);
    seq += 1;
    if (last !== undefined && isRun(last, fresh))
      all[all.length - 1] = { ...fresh, earlierCount: last.earlierCount + 1 };
    else all.push(fresh);
  }
  return { ...state, events: all.slice(-EVENTS_MAX), nextSeq: seq };
}

/**
 * Whether `next` only goes on with `last`. Under load a leader commits twenty times a second, and a node that is cut off
 * stands for election again and again: one line that counts, or everything else would be gone.
 */
function isRun(last: ScreenEvent, next: ScreenEvent): boolean {
  if (last.node !== next.node || last.kind !== next.kind || last.level === 0) return false;
  return next.kind === 'commit' || last.text === next.text;
}

/** The events to be seen at the present level, newest first. */
export function shownEvents(state: Pick<State, 'events' | 'level'>): readonly ScreenEvent[] {
  return state.events.filter((event) => event.level <= state.level).toReversed();
}
