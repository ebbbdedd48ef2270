/**
 * The state of the screen, and how it changes. Pure: an action and a state give the next state and the effects that
 * someone else carries out on the cluster. Keys are in `key-actions.ts`.
 */
import { unreachable } from '../lib/assert.ts';
import type { ClusterEvent, ClusterView, EventLevel } from '../cluster/view.ts';
import { changeText, type Change } from './changes.ts';
import type { FrameSize } from './frame-sink.ts';
import type { Key } from './keys.ts';
import type { PanelName } from './layout.ts';
import {
  screenEvent,
  screenView,
  type ClientResult,
  type ScreenEvent,
  type ScreenView,
  type Verdict,
} from './model.ts';
import type { ClientRequest } from './requests.ts';

/** Events kept for scrolling back. */
export const EVENTS_MAX = 1000;
const RESULTS_MAX = 50;
/** How long a toast stays. */
export const TOAST_MS = 4000;
const ECHO_MS = 500;
/** Events of level 0 that say more than the key that caused them. */
const OUTCOMES: ReadonlySet<string> = new Set(['add', 'replace', 'removed', 'ports']);

/** Node ids in groups that cannot reach each other. */
export type Groups = readonly (readonly number[])[];

/** What the keyboard is doing. */
export type Mode =
  | { readonly kind: 'normal' }
  /** `top`: lines scrolled off, on a screen that is too low for all. */
  | { readonly kind: 'help'; readonly top: number }
  | {
      readonly kind: 'prompt';
      readonly for: 'write' | 'read';
      readonly text: readonly string[];
      readonly cursor: number;
    }
  /** `apart`: the nodes to be cut off from the others, together. */
  | { readonly kind: 'partition'; readonly apart: ReadonlySet<number> }
  /** `change` cannot be undone and waits for a yes. */
  | { readonly kind: 'confirm'; readonly change: Change };

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
  readonly storageTop: number;
  readonly mode: Mode;
  readonly toast: { readonly text: string; readonly untilMs: number } | undefined;
  /** Newest first. */
  readonly results: readonly ClientResult[];
  readonly workload: WorkloadStats;
  /** Changes that the user asked for and that have no outcome yet. */
  readonly underWay: readonly Change[];
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
  /** A change of members was made, or not. The answer is safe already. */
  | {
      readonly kind: 'changeEnded';
      readonly change: Change;
      readonly verdict: Exclude<Verdict, 'waiting'>;
      readonly answer: string;
      readonly nowMs: number;
    }
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
  | { readonly kind: 'change'; readonly change: Change }
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
    storageTop: 0,
    mode: { kind: 'normal' },
    toast: undefined,
    results: [],
    workload: { isOn: false, okCount: 0, refusedCount: 0, unknownCount: 0, tookMsP50: undefined },
    underWay: [],
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
    case 'view':
      return withView(state, screenView(action.view, state.ascii), action.nowMs);
    case 'events':
      return addClusterEvents(
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
    case 'changeEnded':
      return withOutcome(state, action);
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

/** The state with these effects. */
export function done(state: State, ...effects: readonly Effect[]): Next {
  return { state, effects };
}

/** Nodes come and go while the screen runs: what is about one that is gone goes with it. */
function withView(state: State, view: ScreenView, nowMs: number): State {
  const ids = new Set(view.nodes.map(({ id }) => id));
  const hasStale = [...state.cutOff].some((id) => !ids.has(id));
  const cutOff = hasStale ? new Set([...state.cutOff].filter((id) => ids.has(id))) : state.cutOff;
  const selected = selectedIn(state, view);
  return { ...state, view, viewAtMs: nowMs, nodeCount: view.nodes.length, selected, cutOff };
}

/** The selected node; when it is gone, the one that took its place or its neighbour. */
function selectedIn({ selected, underWay }: State, { nodes }: ScreenView): number {
  if (nodes.some(({ id }) => id === selected)) return selected;
  const isReplaced = underWay.some((change) => change.kind === 'replace' && change.node === selected);
  const heir = isReplaced ? undefined : nodes.find(({ id }) => id > selected);
  return (heir ?? nodes.at(-1))?.id ?? selected;
}

function withOutcome(state: State, ended: Extract<Action, { readonly kind: 'changeEnded' }>): State {
  const { change, verdict, answer, nowMs } = ended;
  const text = `${changeText(change)} ${verdict}: ${answer}`;
  const atMs = clusterMs(state, nowMs);
  const said = addEvents(state, [{ atMs, node: 0, level: 0, kind: 'change', text }]);
  const left = { ...said, underWay: state.underWay.filter((each) => each !== change) };
  return verdict === 'ok' ? left : withToast(left, text, nowMs);
}

/** `state` with a line for the user that goes away by itself. */
export function withToast(state: State, text: string, nowMs: number): State {
  return { ...state, toast: { text, untilMs: nowMs + TOAST_MS } };
}

/** `state` with what the user did as an event. */
export function withUserEvent(state: State, text: string, nowMs: number): State {
  const atMs = clusterMs(state, nowMs);
  return addEvents({ ...state, userAtMs: atMs }, [{ atMs, node: 0, level: 0, kind: 'user', text }]);
}

/** The screen's time on the cluster's clock. */
function clusterMs({ view, viewAtMs }: State, nowMs: number): number {
  return view === undefined ? 0 : view.atMs + Math.max(0, nowMs - viewAtMs);
}

/** A level-0 event from the cluster just after the user's own line tells of the same action, unless it tells what came of it. */
function isEcho(event: ClusterEvent, userAtMs: number): boolean {
  return event.level === 0 && !OUTCOMES.has(event.kind) && Math.abs(event.atMs - userAtMs) <= ECHO_MS;
}

function addEvents(state: State, events: readonly ClusterEvent[]): State {
  if (events.length === 0) return state;
  const all = [...state.events];
  let seq = state.nextSeq;
  for (const event of events.slice(-EVENTS_MAX)) {
    const next = screenEvent(event, seq, state.ascii);
    const last = all.at(-1);
    seq += 1;
    if (last !== undefined && isRun(last, next))
      all[all.length - 1] = { ...next, earlierCount: last.earlierCount + 1 };
    else all.push(next);
  }
  return { ...state, events: all.slice(-EVENTS_MAX), nextSeq: seq };
}

/** The screen's own lines are there at once, the cluster's a moment later: they go between them by their times. */
function addClusterEvents(state: State, events: readonly ClusterEvent[]): State {
  const atMs = events[0]?.atMs ?? Infinity;
  let from = state.events.length;
  while (isEarly(state.events[from - 1], atMs)) from -= 1;
  const later = state.events.slice(from);
  const before = { events: state.events.slice(0, from), nextSeq: later[0]?.seq ?? state.nextSeq };
  return addEvents({ ...state, ...before }, inOrder(events, later));
}

function isEarly(event: ScreenEvent | undefined, atMs: number): boolean {
  return event !== undefined && event.level === 0 && event.node === 0 && event.atMs > atMs;
}

/** `later` put between the fresh events by their times; the fresh ones keep their order. */
function inOrder(fresh: readonly ClusterEvent[], later: readonly ClusterEvent[]): readonly ClusterEvent[] {
  const all: ClusterEvent[] = [];
  let place = 0;
  for (const event of fresh) {
    for (let own = later[place]; own !== undefined && own.atMs <= event.atMs; own = later[place]) {
      all.push(own);
      place += 1;
    }
    all.push(event);
  }
  return [...all, ...later.slice(place)];
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
