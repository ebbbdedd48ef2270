/** Judges the histories of a campaign, group after group of keys, and tells the story of one that has no order. */
import { type Operation, formatOperation } from '../../src/sim/history.ts';
import { type Verdict, judgeHistory } from '../../src/sim/linearizability.ts';
import type { Group } from './recorder.ts';

/** So that judging never keeps the clients of the same thread waiting for long. */
const QUICK_STEPS_MAX = 200_000;
const HARD_STEPS_MAX = 20_000_000;
/** Groups that wait for the end. */
const HARD_GROUPS_MAX = 1000;

/** Counts as it goes. */
export class HistoryJudge {
  readonly #hard: Operation[][] = [];
  #checked = 0;
  #undecided = 0;

  /** Operations in histories that are certainly in order or certainly not. */
  get checked(): number {
    return this.#checked;
  }

  /** Groups of keys that were too hard. */
  get undecided(): number {
    return this.#undecided;
  }

  /** Judges a complete group; a hard one is put off until {@link HistoryJudge.judgeHard}. @returns what is wrong, in words */
  judge(group: Group): readonly string[] {
    const verdict = judgeHistory(group.operations, { stepsMax: QUICK_STEPS_MAX });
    if (verdict.kind !== 'undecided') return this.#decided(group.operations, verdict);
    if (this.#hard.length < HARD_GROUPS_MAX) this.#hard.push(group.operations);
    else this.#undecided += 1;
    return [];
  }

  /** Judges what was put off, with more patience. @returns what is wrong, in words */
  judgeHard(isOver: () => boolean): readonly string[] {
    return this.#hard.splice(0).flatMap((operations) => {
      const verdict = judgeHistory(operations, { stepsMax: HARD_STEPS_MAX, isOver });
      if (verdict.kind !== 'undecided') return this.#decided(operations, verdict);
      this.#undecided += 1;
      return [];
    });
  }

  #decided(
    operations: readonly Operation[],
    verdict: Exclude<Verdict, { readonly kind: 'undecided' }>,
  ): readonly string[] {
    this.#checked += operations.length;
    if (verdict.kind === 'linearizable') return [];
    const { keys, story } = verdict;
    const lines = story.lines.map(
      ({ operation, text }, i) => `  #${i + 1} ${text}: ${formatOperation(operation)}`,
    );
    return [[`${keys.join(', ')}: no order of operations explains: ${story.reason}`, ...lines].join('\n')];
  }
}
