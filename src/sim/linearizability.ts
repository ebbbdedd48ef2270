/**
 * The judge of histories: whether every operation could have taken effect at one moment between its beginning and its end,
 * all in one order (Herlihy and Wing, "Linearizability", 1990), on keys that hold a value or nothing.
 *
 * Keys that no transaction joins are judged apart: a history is linearizable if and only if the part of each object is
 * (Herlihy and Wing, theorem 1). Keys that one joins are one object.
 */
import { at, defined } from '../lib/assert.ts';
import { type Operation, stepsOf } from './history.ts';
import { decide } from './linear-decision.ts';
import { matters } from './linear-moves.ts';
import { type Story, tell } from './linear-story.ts';

/** How much may be spent. */
export interface JudgeOptions {
  /** Moves tried in all; the same history with the same number always gets the same verdict. */
  readonly stepsMax?: number;
  /** Asked now and then; true ends the work, with `undecided` unless a violation was found before. */
  readonly isOver?: () => boolean;
  /** Told after each group of keys how many operations are judged. */
  readonly onProgress?: (judged: number) => void;
}

/** The judgement. */
export type Verdict =
  | { readonly kind: 'linearizable' }
  /** No order exists. The story is of the first group of keys that was found to have none. */
  | { readonly kind: 'violation'; readonly keys: readonly string[]; readonly story: Story }
  /** `keys` were not decided after that many steps; the others have an order. */
  | { readonly kind: 'undecided'; readonly keys: readonly string[]; readonly after: number };

/** Some seconds of work. */
export const STEPS_MAX = 10_000_000;

/** Moves that each group of keys may try at first, then ten times as many: a hard one must not hide a violation in another. */
const FIRST_STEPS = 20_000;

/** Judges a history, whose operations may come in any order. */
export function judgeHistory(history: readonly Operation[], options: JudgeOptions = {}): Verdict {
  const stepsMax = options.stepsMax ?? STEPS_MAX;
  const isOver = options.isOver ?? (() => false);
  let left = groupsOf(history);
  let steps = 0;
  let judged = 0;
  for (let share = FIRST_STEPS; left.length > 0 && steps < stepsMax && !isOver(); share *= 10) {
    const hard: Group[] = [];
    for (const group of left) {
      const limit = Math.min(share, stepsMax - steps);
      const result =
        limit > 0 && !isOver() ? decide(group.operations, { stepsMax: limit, isOver }) : undefined;
      steps += result?.steps ?? 0;
      if (result?.kind === 'violation') return violation(group, result.steps, history);
      if (result?.kind === 'linearizable') options.onProgress?.((judged += group.operations.length));
      else hard.push(group);
    }
    left = hard;
  }
  if (left.length === 0) return { kind: 'linearizable' };
  return { kind: 'undecided', keys: left.flatMap(({ keys }) => keys), after: steps };
}

function violation({ keys, operations }: Group, steps: number, history: readonly Operation[]): Verdict {
  return { kind: 'violation', keys, story: tell(operations, steps, history) };
}

interface Group {
  readonly keys: readonly string[];
  readonly operations: readonly Operation[];
}

/** Keys that transactions join, with their operations; groups and keys in the order of their first appearance. */
function groupsOf(history: readonly Operation[]): readonly Group[] {
  const numbers = new Map<string, number>();
  const parents: number[] = [];
  const rootOf = (number: number): number => {
    let root = number;
    while (at(parents, root) !== root) {
      const grandparent = at(parents, at(parents, root));
      parents[root] = grandparent;
      root = grandparent;
    }
    return root;
  };
  const kept = history.filter(matters);
  for (const { action } of kept) {
    let joined: number | undefined;
    for (const { key } of stepsOf(action)) {
      const number = numbers.get(key) ?? parents.push(parents.length) - 1;
      numbers.set(key, number);
      const root = rootOf(number);
      if (joined !== undefined) parents[root] = joined;
      joined = rootOf(number);
    }
  }
  const groups = new Map<number, { keys: string[]; operations: Operation[] }>();
  for (const [key, number] of numbers) {
    const group = groups.get(rootOf(number));
    if (group === undefined) groups.set(rootOf(number), { keys: [key], operations: [] });
    else group.keys.push(key);
  }
  for (const operation of kept) {
    const [step] = stepsOf(operation.action);
    if (step === undefined) continue;
    const root = rootOf(defined(numbers.get(step.key), 'number of a key'));
    defined(groups.get(root), 'group of a key').operations.push(operation);
  }
  return [...groups.values()];
}
