/** What can be asked of the cluster's members: each change in the words of the screen, and as a call. */
import type { ClusterHandle } from '../cluster/api.ts';
import { unreachable } from '../lib/assert.ts';

/** A change is given up after this long; taking a half-added node out again may take a little longer. */
const TIMEOUT_MS = 15_000;

/** `node` is the one it is about. */
export type Change =
  | { readonly kind: 'add' }
  | { readonly kind: 'addLearner' }
  | { readonly kind: 'promote'; readonly node: number }
  | { readonly kind: 'remove'; readonly node: number }
  | { readonly kind: 'replace'; readonly node: number }
  | { readonly kind: 'transfer'; readonly node: number }
  | { readonly kind: 'snapshot'; readonly node: number };

/** The change as the user would say it. */
export function changeText(change: Change): string {
  switch (change.kind) {
    case 'add':
      return 'add a node';
    case 'addLearner':
      return 'add a learner';
    case 'promote':
      return `promote n${change.node}`;
    case 'remove':
      return `remove n${change.node}`;
    case 'replace':
      return `replace n${change.node}`;
    case 'transfer':
      return `transfer to n${change.node}`;
    case 'snapshot':
      return `snapshot n${change.node}`;
    default:
      return unreachable(change);
  }
}

/** Whether `next` has to wait for `first`: a cluster takes one change at a time, a node saves one snapshot at a time. */
export function isInTheWay(first: Change, next: Change): boolean {
  if (first.kind === 'snapshot' && next.kind === 'snapshot') return first.node === next.node;
  return first.kind !== 'snapshot' && next.kind !== 'snapshot';
}

/** Makes the change; settles in a bounded time, and rejects with why it was not made. @returns the outcome in a few words */
export async function makeChange(change: Change, handle: ClusterHandle): Promise<string> {
  const options = { timeoutMs: TIMEOUT_MS };
  switch (change.kind) {
    case 'add':
      return `n${(await handle.addNode(options)).id} votes`;
    case 'addLearner':
      return `n${(await handle.addNode({ ...options, learner: true })).id} learns`;
    case 'promote':
      await handle.promoteNode(change.node, options);
      return `n${change.node} votes`;
    case 'remove':
      await handle.removeNode(change.node, options);
      return `n${change.node} is gone, its data stay on disk`;
    case 'replace':
      return `n${(await handle.replaceNode(change.node, options)).id} votes in its place`;
    case 'transfer':
      return `n${(await handle.transferLeader(change.node, options)).id} leads`;
    case 'snapshot':
      return `it holds the log up to ${await handle.node(change.node).compact()}`;
    default:
      return unreachable(change);
  }
}
