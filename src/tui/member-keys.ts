/** What the keys for members do: add, promote, remove, replace, lead, snapshot; or why they cannot now. Pure. */
import { unreachable } from '../lib/assert.ts';
import type { NodeView } from '../cluster/view.ts';
import { changeText, isInTheWay, type Change } from './changes.ts';
import type { Key } from './keys.ts';
import { done, withToast, withUserEvent, type Next, type State } from './state.ts';

/** The smallest screen has lines for these and for the one that is about to replace another. */
const NODES_SHOWN_MAX = 9;

export type MemberKey = 'a' | 'A' | 'v' | 'D' | 'R' | 't' | 'S';

/** Begins the change that `key` asks for, or asks back when it cannot be undone. */
export function memberKey(state: State, key: MemberKey, nodes: readonly NodeView[], nowMs: number): Next {
  const change = changeFor(key, state.selected);
  const why = whyNot(state, change, nodes);
  if (why !== undefined) return done(withToast(state, why, nowMs));
  const isForGood = change.kind === 'remove' || change.kind === 'replace';
  if (isForGood) return done({ ...state, mode: { kind: 'confirm', change }, toast: undefined });
  return begin(state, change, nowMs);
}

/** `y` makes the change that waits for an answer, if it can be made still. */
export function confirmKey(state: State, change: Change, key: Key, nowMs: number): Next {
  const normal: State = { ...state, mode: { kind: 'normal' } };
  const isNo = key.kind === 'named' ? key.name === 'escape' : key.kind === 'char' && /^[nNq]$/.test(key.char);
  if (isNo) return done(normal);
  if (key.kind !== 'char' || (key.char !== 'y' && key.char !== 'Y')) return done(state);
  const why = whyNot(normal, change, state.view?.nodes ?? []);
  return why === undefined ? begin(normal, change, nowMs) : done(withToast(normal, why, nowMs));
}

/** What the user is asked before `change` is made. */
export function questionOf(change: Extract<State['mode'], { readonly kind: 'confirm' }>['change']): string {
  return change.kind === 'replace'
    ? `${changeText(change)} by a new node for good?`
    : `${changeText(change)} for good? Its data stay on disk`;
}

function begin(state: State, change: Change, nowMs: number): Next {
  const said = withUserEvent(state, changeText(change), nowMs);
  return done({ ...said, underWay: [...state.underWay, change] }, { kind: 'change', change });
}

function changeFor(key: MemberKey, node: number): Change {
  switch (key) {
    case 'a':
      return { kind: 'add' };
    case 'A':
      return { kind: 'addLearner' };
    case 'v':
      return { kind: 'promote', node };
    case 'D':
      return { kind: 'remove', node };
    case 'R':
      return { kind: 'replace', node };
    case 't':
      return { kind: 'transfer', node };
    case 'S':
      return { kind: 'snapshot', node };
    default:
      return unreachable(key);
  }
}

/** Only what the screen knows: everything else the cluster refuses itself, with its own sentence. */
function whyNot(state: State, change: Change, nodes: readonly NodeView[]): string | undefined {
  const other = state.underWay.find((each) => isInTheWay(each, change));
  if (other !== undefined) return `One at a time: "${changeText(other)}" is under way`;
  if (change.kind === 'add' || change.kind === 'addLearner') {
    const isFull = nodes.length >= NODES_SHOWN_MAX;
    return isFull ? `${nodes.length} nodes are all that the screen has room for` : undefined;
  }
  const node = nodes.find(({ id }) => id === change.node);
  if (node === undefined) return `There is no n${change.node}`;
  switch (change.kind) {
    case 'promote':
      return whyNotPromote(node);
    case 'remove':
      return whyNotRemove(node, nodes);
    case 'replace':
      return whyNotReplace(node);
    case 'transfer':
      return whyNotLead(state, node);
    case 'snapshot':
      return node.state === 'running'
        ? undefined
        : `n${node.id} is ${node.state}: only a running node saves a snapshot`;
    default:
      return unreachable(change);
  }
}

function whyNotPromote({ id, standing }: NodeView): string | undefined {
  if (standing === 'learner') return undefined;
  if (standing === 'promoting') return `n${id} votes by itself as soon as it has caught up`;
  return standing === 'none' ? `n${id} is no member of the cluster` : `n${id} votes already`;
}

function whyNotRemove(node: NodeView, nodes: readonly NodeView[]): string | undefined {
  const isLast = !nodes.some(({ id, standing }) => id !== node.id && standing === 'voter');
  return isLast && node.standing === 'voter'
    ? `n${node.id} is the only voter: nobody would be left to decide`
    : undefined;
}

function whyNotReplace({ id, standing }: NodeView): string | undefined {
  if (standing === 'voter') return undefined;
  if (standing === 'none') return `n${id} is no member of the cluster: D takes it away`;
  return standing === 'learner' || standing === 'promoting'
    ? `n${id} is a learner: D removes it, A adds another`
    : standing === 'witness'
      ? `n${id} is a witness and has nothing to replace: D removes it`
      : `n${id} is ${standing}: wait until both majorities agree`;
}

function whyNotLead(state: State, { id, state: life, standing }: NodeView): string | undefined {
  if (state.view?.leader === 0) return 'Nobody leads: there is nothing to hand over';
  if (state.view?.leader === id) return `n${id} leads already`;
  if (life !== 'running') return `n${id} is ${life} and cannot lead`;
  if (standing === 'learner' || standing === 'promoting')
    return `n${id} is a learner and cannot lead: v makes it a voter`;
  if (standing === 'witness') return `n${id} is a witness and cannot lead`;
  return standing === 'none' ? `n${id} is no member of the cluster and cannot lead` : undefined;
}
