/** "Did you mean": the nearest of some known words. */
import { at } from '../lib/assert.ts';

/**
 * The known word nearest to what was typed, or undefined when none is near: the only word that begins so, or one at most a third of
 * its letters away.
 */
export function nearest(typed: string, known: readonly string[]): string | undefined {
  const completions = known.filter((word) => typed.length > 0 && word.startsWith(typed));
  if (completions.length === 1) return completions[0];
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const word of known) {
    const distance = editDistance(typed, word);
    if (distance > Math.max(1, Math.floor(word.length / 3)) || distance >= bestDistance) continue;
    best = word;
    bestDistance = distance;
  }
  return best;
}

/** Edits between two words; swapping two neighbours is one edit (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let edits = Math.min(at(previous, j) + 1, at(row, j - 1) + 1, at(previous, j - 1) + cost);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) edits = Math.min(edits, at(beforePrevious, j - 2) + 1);
      row.push(edits);
    }
    beforePrevious = previous;
    previous = row;
  }
  return at(previous, b.length);
}
