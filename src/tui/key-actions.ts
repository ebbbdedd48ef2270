/** What each key does: state and effects for a key, and a sentence for every key that cannot do anything now. Pure. */
import { unreachable } from '../lib/assert.ts';
import type { NodeView } from '../cluster/view.ts';
import type { Key, KeyName } from './keys.ts';
import { BOTTOM_ROWS, layoutFor } from './layout.ts';
import { confirmKey, memberKey, type MemberKey } from './member-keys.ts';
import { idsOf, moveKey, select, toggleStorage } from './panel-keys.ts';
import { helpTopMax } from './panels/help.ts';
import { parseRead, parseWrite, requestText } from './requests.ts';
import {
  applyNews,
  done,
  withToast,
  withUserEvent,
  type Action,
  type Effect,
  type Groups,
  type Next,
  type State,
} from './state.ts';

/** A held key repeats faster than frames are drawn: it acts at most this often. */
export const KEY_REPEAT_MS = 90;
const PROMPT_CHARACTERS_MAX = 1000;
const NEXT_LEVEL = { 0: 1, 1: 2, 2: 3, 3: 0 } as const;

/** The one reducer: the next state, and what is to be done outside. */
export function update(state: State, action: Action): Next {
  if (action.kind === 'key') return applyKey(state, action.key, action.nowMs);
  return { state: applyNews(state, action), effects: [] };
}

function applyKey(state: State, key: Key, nowMs: number): Next {
  if (isCtrl(key, 'c')) return done(state, { kind: 'quit' });
  if (isCtrl(key, 'z')) return done(state, { kind: 'suspend' });
  // What cannot be seen must not be operated.
  if (layoutFor(state.size, state.nodeCount).kind === 'tooSmall') {
    return isChar(key, 'q') ? done(state, { kind: 'quit' }) : done(state);
  }
  if (state.mode.kind === 'prompt') return promptKey(state, state.mode, key, nowMs);
  const name = keyName(key);
  const isHeld = state.lastKey?.name === name && nowMs - state.lastKey.atMs < KEY_REPEAT_MS;
  if (isHeld) return done(state);
  const fresh: State = { ...state, lastKey: { name, atMs: nowMs } };
  if (fresh.mode.kind === 'help') return helpKey(fresh, fresh.mode.top, key);
  if (fresh.mode.kind === 'partition') return partitionKey(fresh, fresh.mode.apart, key, nowMs);
  if (fresh.mode.kind === 'confirm') return confirmKey(fresh, fresh.mode.change, key, nowMs);
  if (key.kind === 'paste')
    return done(withToast(fresh, 'Pasted text goes into a prompt: press w or e first', nowMs));
  if (key.kind === 'char') return charKey(fresh, key.char, nowMs);
  return done(moveKey(fresh, key));
}

function charKey(state: State, char: string, nowMs: number): Next {
  if (char >= '1' && char <= '9') return done(select(state, Number(char), nowMs));
  switch (char) {
    case 'q':
      return done(state, { kind: 'quit' });
    case '?':
      return done({ ...state, mode: { kind: 'help', top: 0 } });
    case 'f':
      return done({ ...state, level: NEXT_LEVEL[state.level], eventsTop: undefined });
    case 's':
      return done(toggleStorage(state));
    case 'h':
    case 'P':
    case 'x':
    case 'p':
    case 'w':
    case 'e':
    case 'W':
    case 'c':
    case 'r':
    case 'z':
    case 'b':
    case 'a':
    case 'A':
    case 'v':
    case 'D':
    case 'R':
    case 't':
    case 'S':
      if (!state.isReady || state.view === undefined) {
        return done(withToast(state, 'The cluster is still starting', nowMs));
      }
      return clusterKey(state, char, state.view.nodes, nowMs);
    default:
      return done(state);
  }
}

type ClusterKey = 'h' | 'P' | 'x' | 'p' | 'w' | 'e' | 'W' | 'c' | 'r' | 'z' | 'b' | MemberKey;

function clusterKey(state: State, char: ClusterKey, nodes: readonly NodeView[], nowMs: number): Next {
  const node = nodes.find(({ id }) => id === state.selected);
  switch (char) {
    case 'h':
    case 'P':
      return heal(state, nodes, nowMs);
    case 'p':
      if (nodes.length < 2) return done(withToast(state, 'One node cannot be divided', nowMs));
      return done({ ...state, mode: { kind: 'partition', apart: new Set() } });
    case 'w':
      return done(openPrompt(state, 'write', state.lastWrite));
    case 'e':
      return done(openPrompt(state, 'read', state.lastRead));
    case 'W': {
      const isOn = !state.workload.isOn;
      const said = withUserEvent(state, isOn ? 'workload on, about 20 writes/s' : 'workload off', nowMs);
      return done(said, { kind: 'workload', isOn });
    }
    case 'a':
    case 'A':
    case 'v':
    case 'D':
    case 'R':
    case 't':
    case 'S':
      return memberKey(state, char, nodes, nowMs);
    case 'b':
      return restartAll(state, nodes, nowMs);
    case 'c':
    case 'r':
    case 'z':
    case 'x':
      if (node === undefined) return done(withToast(state, `There is no n${state.selected}`, nowMs));
      return nodeKey(state, char, node, nowMs);
    default:
      return unreachable(char);
  }
}

function nodeKey(state: State, char: 'c' | 'r' | 'z' | 'x', node: NodeView, nowMs: number): Next {
  const { id } = node;
  const no = (why: string): Next => done(withToast(state, why, nowMs));
  const act = (text: string, ...effects: readonly Effect[]): Next =>
    done(withUserEvent(state, text, nowMs), ...effects);
  const isDown = node.state === 'crashed' || node.state === 'stopped';
  switch (char) {
    case 'c':
      if (isDown) return no(`n${id} is ${node.state} already: r restarts it, R replaces it`);
      return act(`crash n${id}`, { kind: 'crash', node: id });
    case 'r':
      if (node.state === 'starting') return no(`n${id} is starting already`);
      if (node.state === 'frozen') return no(`n${id} is frozen, not down: z thaws it`);
      if (!isDown) return no(`n${id} is running: c crashes it`);
      return act(`restart n${id}`, { kind: 'restart', node: id });
    case 'z':
      if (node.state === 'frozen') return act(`thaw n${id}`, { kind: 'thaw', node: id });
      if (node.state !== 'running') return no(`n${id} is ${node.state}: only a running node can be frozen`);
      return act(`freeze n${id}`, { kind: 'freeze', node: id });
    case 'x':
      if (state.nodeCount < 2) return no(`n${id} is the only node: there is nothing to cut it off from`);
      if (state.cutOff.has(id)) {
        const left = new Set([...state.cutOff].filter((other) => other !== id));
        return done(
          { ...withUserEvent(state, `rejoin n${id}`, nowMs), cutOff: left },
          { kind: 'rejoin', node: id },
        );
      }
      if (node.cut) return no(`The links of n${id} are cut by something else: h heals every link`);
      return done(
        { ...withUserEvent(state, `cut off n${id}`, nowMs), cutOff: new Set([...state.cutOff, id]) },
        { kind: 'isolate', node: id },
      );
    default:
      return unreachable(char);
  }
}

function heal(state: State, nodes: readonly NodeView[], nowMs: number): Next {
  const isWhole =
    state.cutOff.size === 0 &&
    !state.hasPartition &&
    nodes.every((node) => !node.cut && node.group === nodes[0]?.group);
  if (isWhole) return done(withToast(state, 'Nothing to heal: every link is up', nowMs));
  const said = withUserEvent(state, 'heal every link', nowMs);
  return done({ ...said, cutOff: new Set<number>(), hasPartition: false }, { kind: 'heal' });
}

function restartAll(state: State, nodes: readonly NodeView[], nowMs: number): Next {
  const down = nodes.filter((node) => node.state === 'crashed' || node.state === 'stopped');
  if (down.length === 0) return done(withToast(state, 'Every node is up: nothing to bring back', nowMs));
  const said = withUserEvent(state, `bring back ${down.map(({ id }) => `n${id}`).join(' ')}`, nowMs);
  return done(said, ...down.map(({ id }): Effect => ({ kind: 'restart', node: id })));
}

function helpKey(state: State, top: number, key: Key): Next {
  const step = isNamed(key, 'down') ? 1 : isNamed(key, 'up') ? -1 : 0;
  if (step !== 0) {
    const layout = layoutFor(state.size, state.nodeCount);
    const rows = layout.kind === 'panels' ? state.size.rows - layout.headerRows - BOTTOM_ROWS : 0;
    const moved = Math.max(0, Math.min(helpTopMax(rows), top + step));
    return done({ ...state, mode: { kind: 'help', top: moved } });
  }
  const closes =
    isChar(key, '?') ||
    isChar(key, 'q') ||
    isChar(key, ' ') ||
    isNamed(key, 'escape') ||
    isNamed(key, 'enter');
  return done(closes ? { ...state, mode: { kind: 'normal' } } : state);
}

/** The two groups of a partition, larger letters last: the nodes left together, and those taken apart. */
export function partitionGroups(
  state: Pick<State, 'view' | 'nodeCount'>,
  apart: ReadonlySet<number>,
): Groups {
  const ids = idsOf(state);
  return [ids.filter((id) => !apart.has(id)), ids.filter((id) => apart.has(id))];
}

function partitionKey(state: State, apart: ReadonlySet<number>, key: Key, nowMs: number): Next {
  if (isNamed(key, 'escape') || isChar(key, 'q')) return done({ ...state, mode: { kind: 'normal' } });
  if (isNamed(key, 'enter')) {
    const groups = partitionGroups(state, apart);
    if (groups.some((group) => group.length === 0)) {
      return done(withToast(state, 'Both groups need a node: digits move nodes, Esc cancels', nowMs));
    }
    const text = `partition ${groups.map((group) => `{${group.map((id) => `n${id}`).join(' ')}}`).join(' | ')}`;
    return done(
      { ...withUserEvent(state, text, nowMs), mode: { kind: 'normal' }, hasPartition: true },
      { kind: 'partition', groups },
    );
  }
  if (isNamed(key, 'left') || isNamed(key, 'right')) return done(moveKey(state, key));
  const isDigit = key.kind === 'char' && key.char >= '1' && key.char <= '9';
  if (!isDigit && !isChar(key, ' ')) return done(state);
  const id = isDigit ? Number(key.char) : state.selected;
  if (!idsOf(state).includes(id)) return done(withToast(state, `There is no n${id}`, nowMs));
  const changed = new Set(apart);
  if (!changed.delete(id)) changed.add(id);
  return done({ ...state, mode: { kind: 'partition', apart: changed } });
}

type Prompt = Extract<State['mode'], { readonly kind: 'prompt' }>;

function openPrompt(state: State, kind: 'write' | 'read', text: string): State {
  const characters = Array.from(text);
  return { ...state, mode: { kind: 'prompt', for: kind, text: characters, cursor: characters.length } };
}

function promptKey(state: State, prompt: Prompt, key: Key, nowMs: number): Next {
  if (isNamed(key, 'escape')) return done({ ...state, mode: { kind: 'normal' } });
  if (isNamed(key, 'enter')) return submit(state, prompt, nowMs);
  const edited = edit(prompt, key);
  return done(edited === prompt ? state : { ...state, mode: edited });
}

function submit(state: State, prompt: Prompt, nowMs: number): Next {
  const text = prompt.text.join('');
  const parsed = prompt.for === 'write' ? parseWrite(text) : parseRead(text);
  if (parsed.kind === 'error') return done(withToast(state, parsed.why, nowMs));
  const said = withUserEvent(state, requestText(parsed.request), nowMs);
  const remembered = prompt.for === 'write' ? { lastWrite: text } : { lastRead: text };
  return done(
    { ...said, ...remembered, mode: { kind: 'normal' }, toast: undefined },
    { kind: 'request', request: parsed.request },
  );
}

function edit(prompt: Prompt, key: Key): Prompt {
  const { text, cursor } = prompt;
  if (key.kind === 'char') return insert(prompt, [key.char]);
  if (key.kind === 'paste') return insert(prompt, Array.from(oneLine(key.text)));
  if (key.kind === 'ctrl') {
    if (key.letter === 'u') return { ...prompt, text: text.slice(cursor), cursor: 0 };
    if (key.letter === 'a') return cursorAt(prompt, 0);
    return key.letter === 'e' ? cursorAt(prompt, text.length) : prompt;
  }
  return editNamed(prompt, key.name);
}

function editNamed(prompt: Prompt, name: KeyName): Prompt {
  const { text, cursor } = prompt;
  if (name === 'backspace' && cursor > 0)
    return { ...prompt, text: text.toSpliced(cursor - 1, 1), cursor: cursor - 1 };
  if (name === 'delete') return { ...prompt, text: text.toSpliced(cursor, 1) };
  const place = new Map<KeyName, number>([
    ['left', cursor - 1],
    ['right', cursor + 1],
    ['home', 0],
    ['end', text.length],
  ]).get(name);
  return place === undefined ? prompt : cursorAt(prompt, place);
}

function cursorAt(prompt: Prompt, place: number): Prompt {
  return { ...prompt, cursor: Math.max(0, Math.min(prompt.text.length, place)) };
}

/** Pasted text on one line: a line break in it must not send the request. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- removing them is the purpose
  return text.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim();
}

function insert(prompt: Prompt, characters: readonly string[]): Prompt {
  const room = characters.slice(0, Math.max(0, PROMPT_CHARACTERS_MAX - prompt.text.length));
  return {
    ...prompt,
    text: prompt.text.toSpliced(prompt.cursor, 0, ...room),
    cursor: prompt.cursor + room.length,
  };
}

function keyName(key: Key): string {
  if (key.kind === 'char') return key.char;
  if (key.kind === 'ctrl') return `ctrl-${key.letter}`;
  return key.kind === 'paste' ? 'paste' : `<${key.name}>`;
}

function isChar(key: Key, char: string): boolean {
  return key.kind === 'char' && key.char === char;
}

function isCtrl(key: Key, letter: string): boolean {
  return key.kind === 'ctrl' && key.letter === letter;
}

function isNamed(key: Key, name: KeyName): boolean {
  return key.kind === 'named' && key.name === name;
}
