/** Histories as short texts, and random ones, for the tests of their judge. */
import { at, unreachable } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import type { Action, Operation, Outcome, Step } from '../../src/sim/history.ts';

/**
 * One operation a line: the process, what it did, from when to when. `?` instead of an end: outcome unknown; `!` behind
 * the end: failed. `-` is absence. Steps of a transaction are joined by `&`.
 *
 *   1 set k a 0-3        2 get k - 1-2       3 cas k a b done 4-6      4 cas k - b refused 4-6
 *   1 delete k there 3-4    2 delete k absent 5-6    3 delete k 7-?    4 set k b 7-9!
 *   5 get k a & set m b 8-9
 */
export function script(text: string): readonly Operation[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '').map(operationOf);
}

function operationOf(line: string): Operation {
  const match = /^(\d+) (.*) (\d+)-(\d+|\?)(!?)$/.exec(line);
  if (match === null) throw new Error(`Cannot read "${line}"`);
  const [, process = '', what = '', start = '', end = '', mark = ''] = match;
  const steps = what.split(' & ').map(stepOf);
  const action: Action = steps.length === 1 ? at(steps, 0) : { kind: 'txn', steps };
  let outcome: Outcome = mark === '!' ? 'fail' : 'ok';
  if (end === '?') outcome = 'unknown';
  return {
    process: Number(process),
    action,
    start: BigInt(start),
    end: end === '?' ? undefined : BigInt(end),
    outcome,
  };
}

function stepOf(text: string): Step {
  const [kind = '', key = '', first = '-', second = '-', third] = text.split(' ');
  const value = first === '-' ? undefined : first;
  switch (kind) {
    case 'get':
      return { kind, key, value };
    case 'set':
      return { kind, key, value: first };
    case 'delete':
      return { kind, key, existed: value === undefined ? undefined : value === 'there' };
    case 'cas':
      return {
        kind,
        key,
        expected: value,
        value: second,
        swapped: third === undefined ? undefined : third === 'done',
      };
    default:
      throw new Error(`Cannot read "${text}"`);
  }
}

/** What random histories are made of. */
export interface Shape {
  readonly operations: number;
  readonly processes: number;
  readonly keys: number;
  /** Values to choose from; 0: every write has its own. */
  readonly values: number;
  /** Shares of operations. */
  readonly share: {
    readonly set: number;
    readonly delete: number;
    readonly cas: number;
    readonly txn: number;
    readonly unknown: number;
    readonly fail: number;
  };
}

/** Short enough to try every order, with everything that can be in a history of one key. */
export const SMALL: Shape = {
  operations: 6,
  processes: 3,
  keys: 1,
  values: 2,
  share: { set: 0.35, delete: 0.1, cas: 0.2, txn: 0, unknown: 0.25, fail: 0.05 },
};

/** A stretch of a run on one key. */
export const MIXED: Shape = {
  operations: 300,
  processes: 8,
  keys: 1,
  values: 0,
  share: { set: 0.3, delete: 0.05, cas: 0.15, txn: 0, unknown: 0.02, fail: 0.02 },
};

/**
 * A history that a correct store leaves: every operation takes effect at a moment of its own between its beginning and its
 * end. An unknown one may take effect long after its client gave up, or not at all. Times are distinct.
 */
export function correctHistory(random: Random, shape: Shape): readonly Operation[] {
  const held = new Map<string, string>();
  const drafts: Draft[] = [];
  let now = 0;
  let written = 0;
  const free = Array.from({ length: shape.processes }, () => 0);
  for (let i = 0; i < shape.operations; i++) {
    const process = random.int(0, shape.processes - 1);
    const start = Math.max(at(free, process), now - random.int(0, 20)) + random.ratio();
    const moment = Math.max(now, start) + random.ratio();
    now = moment;
    const end = moment + random.int(0, 20) + random.ratio();
    free[process] = end;
    const kinds = Array.from({ length: random.chance(shape.share.txn) ? random.int(2, 3) : 1 }, () =>
      kindOf(random, shape),
    );
    const asked = kinds.map((kind) => ask(random, shape, held, kind, `v${++written}`));
    drafts.push({ process, start, moment, end, asked, outcome: outcomeOf(random, shape, asked) });
  }
  const late = drafts.map((draft) =>
    draft.outcome === 'unknown' && random.chance(0.5)
      ? {
          ...draft,
          moment: random.chance(0.3) ? Infinity : draft.moment + random.int(0, 60) + random.ratio(),
        }
      : draft,
  );
  held.clear();
  const done = new Map<Draft, Action>();
  for (const draft of late.toSorted((a, b) => a.moment - b.moment)) {
    const happens = draft.outcome !== 'fail' && draft.moment !== Infinity;
    const steps = draft.asked.map((step) => (happens ? perform(step, held) : step));
    done.set(draft, steps.length === 1 ? at(steps, 0) : { kind: 'txn', steps });
  }
  return late.map((draft) => ({
    process: draft.process,
    action: done.get(draft) ?? at(draft.asked, 0),
    start: BigInt(Math.round(draft.start * 1e6)),
    end: draft.outcome === 'unknown' ? undefined : BigInt(Math.round(draft.end * 1e6)),
    outcome: draft.outcome,
  }));
}

interface Draft {
  readonly process: number;
  readonly start: number;
  readonly moment: number;
  readonly end: number;
  readonly asked: readonly Step[];
  readonly outcome: Outcome;
}

function outcomeOf(random: Random, { share }: Shape, asked: readonly Step[]): Outcome {
  if (asked.every(({ kind }) => kind === 'get')) return 'ok';
  const draw = random.ratio();
  if (draw < share.unknown) return 'unknown';
  return draw < share.unknown + share.fail ? 'fail' : 'ok';
}

function kindOf(random: Random, { share }: Shape): Step['kind'] {
  const draw = random.ratio();
  if (draw < share.set) return 'set';
  if (draw < share.set + share.delete) return 'delete';
  return draw < share.set + share.delete + share.cas ? 'cas' : 'get';
}

function ask(
  random: Random,
  shape: Shape,
  held: Map<string, string>,
  kind: Step['kind'],
  unique: string,
): Step {
  const key = `k${random.int(1, shape.keys)}`;
  const value = shape.values === 0 ? unique : `v${random.int(1, shape.values)}`;
  if (kind === 'get') return { kind, key, value: undefined };
  if (kind === 'delete') {
    held.delete(key);
    return { kind, key, existed: undefined };
  }
  // A good guess, so that some succeed.
  const expected = random.chance(0.7) ? held.get(key) : `v${random.int(1, 3)}`;
  held.set(key, value);
  return kind === 'set' ? { kind, key, value } : { kind, key, expected, value, swapped: undefined };
}

/** Makes the step, with its answer. */
function perform(step: Step, held: Map<string, string>): Step {
  switch (step.kind) {
    case 'get':
      return { ...step, value: held.get(step.key) };
    case 'set':
      held.set(step.key, step.value);
      return step;
    case 'delete':
      return { ...step, existed: held.delete(step.key) };
    case 'cas': {
      const swapped = held.get(step.key) === step.expected;
      if (swapped) held.set(step.key, step.value);
      return { ...step, swapped };
    }
    default:
      return unreachable(step);
  }
}
