/**
 * Tells people why a history has no order: what little of it is enough to see that, and where every order gets stuck.
 * Decides nothing: it is asked only about operations that were found to have no order.
 */
import { unreachable } from '../lib/assert.ts';
import { type Operation, type Step, stepsOf } from './history.ts';
import { compile, type Moves } from './linear-moves.ts';
import { deadEnd } from './linear-search.ts';
import { shrink, type Suspect, type Suspects } from './linear-shrink.ts';

/** Why there is no order. */
export interface Story {
  /** What takes part, in the order of beginnings. */
  readonly lines: readonly StoryLine[];
  /** Sentences without the last period; `#1` is the first line. */
  readonly reason: string;
}

/** An operation of a story. */
export interface StoryLine {
  readonly operation: Operation;
  /** What it did, as far as that matters here. Holds keys and values as they are: not safe for a terminal. */
  readonly text: string;
}

/**
 * Makes the story of operations of one object that have no order.
 *
 * @param steps how many it took to find that out
 * @param history everything, with what failed: the search for the origin of a value looks there
 */
export function tell(operations: readonly Operation[], steps: number, history: readonly Operation[]): Story {
  const suspects = shrink(operations, steps);
  return (
    strangeValue(suspects.list, history) ?? {
      lines: suspects.list.map(line),
      reason: stuckReason(suspects),
    }
  );
}

function line({ original, weaker }: Suspect): StoryLine {
  const told = original.outcome === 'ok';
  const steps = stepsOf(weaker.action);
  const texts = steps.map((step) => stepText(step, told));
  const left = stepsOf(original.action).length - steps.length;
  if (left > 0) texts.push(`${left} more`);
  const text = `${original.action.kind === 'txn' ? 'at one moment: ' : ''}${texts.join(', ')}`;
  return { operation: original, text: told ? text : `${text}: ${outcomeText(original)}` };
}

function outcomeText({ outcome }: Operation): string {
  return outcome === 'unknown' ? 'outcome unknown' : 'certainly without effect';
}

function stepText(step: Step, told: boolean): string {
  const key = quoted(step.key);
  switch (step.kind) {
    case 'get':
      return told ? `get ${key} saw ${quoted(step.value)}` : `get ${key}`;
    case 'set':
      return `set ${key} to ${quoted(step.value)}`;
    case 'delete': {
      const answer = step.existed === true ? ', which was there' : ', which was not there';
      return `delete ${key}${told && step.existed !== undefined ? answer : ''}`;
    }
    case 'cas': {
      const text = `cas ${key} from ${quoted(step.expected)} to ${quoted(step.value)}`;
      return told && step.swapped !== undefined ? `${text} ${step.swapped ? 'done' : 'refused'}` : text;
    }
    default:
      return unreachable(step);
  }
}

const SHOWN_CHARACTERS_MAX = 40;

function quoted(value: string | undefined): string {
  if (value === undefined) return 'nothing';
  const isLong = value.length > SHOWN_CHARACTERS_MAX;
  return JSON.stringify(isLong ? `${value.slice(0, SHOWN_CHARACTERS_MAX)}…` : value);
}

/** The simplest story: a value that nobody can have written in time. */
function strangeValue(suspects: readonly Suspect[], history: readonly Operation[]): Story | undefined {
  for (const suspect of suspects) {
    const { original, weaker } = suspect;
    if (original.outcome !== 'ok') continue;
    for (const [index, step] of stepsOf(weaker.action).entries()) {
      const value = neededValue(step);
      const own = stepsOf(weaker.action).slice(0, index);
      if (value === undefined || own.some((earlier) => earlier.key === step.key)) continue;
      const writers = history.filter((other) => other !== original && mayWrite(other, step.key, value));
      const origins = writers.filter(hasEffect);
      if (origins.some(({ start }) => start <= (original.end ?? start))) continue;
      const [origin] = origins.length > 0 ? origins.toSorted(byStart) : writers;
      const witness = origin === undefined ? [] : [{ original: origin, weaker: origin }];
      const told = [suspect, ...witness].toSorted((a, b) => byStart(a.original, b.original));
      const [by, of] = [told.indexOf(suspect) + 1, told.length - told.indexOf(suspect)];
      const found = `#${by} found ${quoted(value)} in ${quoted(step.key)}`;
      return { lines: told.map(line), reason: `${found}, ${originText(origin, of)}` };
    }
  }
  return undefined;
}

function originText(origin: Operation | undefined, number: number): string {
  if (origin === undefined) return 'which nobody wrote';
  if (!hasEffect(origin)) return `and #${number}, which would have written it, certainly had no effect`;
  return `and ended before #${number} began to write it`;
}

/** False for what failed, and for a swap that was refused. */
function hasEffect({ action, outcome }: Operation): boolean {
  if (outcome === 'fail') return false;
  return outcome === 'unknown' || action.kind !== 'cas' || action.swapped !== false;
}

function byStart(a: Operation, b: Operation): number {
  if (a.start === b.start) return 0;
  return a.start < b.start ? -1 : 1;
}

/** What the key certainly held when the step was made; undefined when the step does not tell, or told of absence. */
function neededValue(step: Step): string | undefined {
  if (step.kind === 'get') return step.value;
  return step.kind === 'cas' && step.swapped === true ? step.expected : undefined;
}

function mayWrite({ action }: Operation, key: string, value: string): boolean {
  return stepsOf(action).some(
    (step) => (step.kind === 'set' || step.kind === 'cas') && step.key === key && step.value === value,
  );
}

const DEAD_END_STEPS_MAX = 500_000;

/** Where the longest order ends, and why nothing can come next. */
function stuckReason({ list: suspects, beginning }: Suspects): string {
  const operations = suspects.map(({ weaker }) => weaker);
  const moves = compile(operations, beginning);
  const end = deadEnd(moves, { stepsMax: DEAD_END_STEPS_MAX });
  if (end === undefined) return `No order of these ${suspects.length} operations fits what was answered`;
  const number = (index: number): string => {
    const operation = moves.moves[index]?.operation;
    return `#${suspects.findIndex(({ weaker }) => weaker === operation) + 1}`;
  };
  const list = (indexes: readonly number[]): string => indexes.map(number).join(', ');
  const held = heldAt(moves, end.held);
  const order = end.order.length === 0 ? 'At the very beginning' : `The longest is ${list(end.order)}. There`;
  const [only, ...others] = end.pending;
  const obstacles = end.pending.map((index) => {
    const who = others.length === 0 ? 'it' : number(index);
    return `${who} ${obstacle(moves, index, held)}`;
  });
  const due = only !== undefined && others.length === 0 ? number(only) : `one of ${list(end.pending)}`;
  const before = beginning === 'open' ? '. It makes no difference what was there before' : '';
  return `No order fits. ${order} ${due} is due, but ${obstacles.join('; ')}${before}`;
}

function heldAt({ keys, values }: Moves, held: readonly number[]): Map<string, string | undefined> {
  return new Map(held.map((pair, key) => [keys[key] ?? '', values[pair]]));
}

/** What the operation was told and what contradicts it while the keys hold this. */
function obstacle({ moves }: Moves, index: number, held: ReadonlyMap<string, string | undefined>): string {
  const now = new Map(held);
  const action = moves[index]?.operation.action;
  for (const step of action === undefined ? [] : stepsOf(action)) {
    const value = now.get(step.key);
    const told = contradiction(step, value);
    if (told !== undefined) return `${told} and ${quoted(step.key)} holds ${quoted(value)}`;
    if (step.kind === 'set') now.set(step.key, step.value);
    if (step.kind === 'delete') now.set(step.key, undefined);
    if (step.kind === 'cas' && value === step.expected) now.set(step.key, step.value);
  }
  return 'does not fit';
}

/** What the step was told, if that cannot be while its key holds this value. */
function contradiction(step: Step, value: string | undefined): string | undefined {
  switch (step.kind) {
    case 'get':
      return step.value === value ? undefined : `saw ${quoted(step.value)}`;
    case 'set':
      return undefined;
    case 'delete': {
      const exists = value !== undefined;
      if (step.existed === undefined || step.existed === exists) return undefined;
      return exists ? 'found nothing to delete' : 'found something to delete';
    }
    case 'cas': {
      const holds = value === step.expected;
      if (step.swapped === undefined || step.swapped === holds) return undefined;
      return holds ? 'was refused' : `replaced ${quoted(step.expected)}`;
    }
    default:
      return unreachable(step);
  }
}
