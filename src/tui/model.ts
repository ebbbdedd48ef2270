/**
 * The door through which a cluster's words come on the screen: views, events and answers with every string made safe
 * and short. Panels take these types only, so nothing can be shown that did not pass here.
 */
import type { ClusterEvent, ClusterView, EngineStats, NodeView } from '../cluster/view.ts';
import { display } from './text.ts';

/** A view whose strings are safe to show. Made by {@link screenView} only. */
export interface ScreenView extends ClusterView {
  readonly isSafe: true;
}

/** An event whose text is safe to show. */
export interface ScreenEvent extends ClusterEvent {
  /** Position in the stream of events, 1 and up: stays the same while older ones are forgotten. */
  readonly seq: number;
  /** Events of the same kind on the same node just before this one, which it stands for too. */
  readonly earlierCount: number;
}

/** How a request of the user went. `unknown`: it may or may not have happened. */
export type Verdict = 'waiting' | 'ok' | 'refused' | 'unknown';

/** One request of the user and its answer, safe to show. */
export interface ClientResult {
  readonly id: number;
  /** `set x 1`. */
  readonly request: string;
  readonly verdict: Verdict;
  /** What came back, or why nothing did. */
  readonly answer: string;
  /** From sending to the answer; while waiting, since sending. */
  readonly tookMs: number;
}

/** `view` with every string made safe to show. */
export function screenView(view: ClusterView, ascii: boolean): ScreenView {
  return { ...view, nodes: view.nodes.map((node) => screenNode(node, ascii)), isSafe: true };
}

function screenNode(node: NodeView, ascii: boolean): NodeView {
  const account = node.account;
  return {
    ...node,
    reason: display(node.reason, ascii),
    client: display(node.client, ascii),
    group: display(node.group, ascii),
    account:
      account === undefined
        ? undefined
        : {
            ...account,
            engine: screenEngine(account.engine, ascii),
            log: account.log.map((cell) => ({ ...cell, summary: display(cell.summary, ascii) })),
            keys: account.keys.map(({ key, value }) => ({
              key: display(key, ascii),
              value: display(value, ascii),
            })),
          },
  };
}

/** Engines draw an arrow in what they say of themselves: ASCII has one too. */
function screenEngine(engine: EngineStats, ascii: boolean): EngineStats {
  if (engine.kind === 'memory' || engine.compacting === undefined) return engine;
  const text = ascii ? engine.compacting.replaceAll('→', '>') : engine.compacting;
  return { ...engine, compacting: display(text, ascii) };
}

/** `event` with its text made safe to show. */
export function screenEvent(event: ClusterEvent, seq: number, ascii: boolean): ScreenEvent {
  return {
    ...event,
    kind: display(event.kind, ascii),
    text: display(event.text, ascii),
    seq,
    earlierCount: 0,
  };
}
