/** Whether the operations of one object have an order, by the quickest judge that can tell. */
import type { Operation } from './history.ts';
import { type Beginning, compile } from './linear-moves.ts';
import { judgeRegister } from './linear-register.ts';
import { search, type SearchLimits, type SearchResult } from './linear-search.ts';

/** Judges operations as those of one object, whatever their keys. */
export function decide(
  operations: readonly Operation[],
  limits: SearchLimits,
  beginning: Beginning = 'empty',
): SearchResult {
  const moves = compile(operations, beginning);
  const quick = judgeRegister(moves);
  return quick.kind === 'inapplicable' ? search(moves, limits) : { kind: quick.kind, steps: 1 };
}
