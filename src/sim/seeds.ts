/** Seeds as people write them: `7`, `1..1000`, `1,5,20..30`. */

/** Seeds of one campaign. */
export const SEEDS_MAX = 10_000_000;

/** An unbroken run of seeds, both ends included. */
export interface SeedRange {
  readonly from: number;
  readonly to: number;
}

/** Reads a list of seeds. @returns undefined when it is none, or holds too many */
export function parseSeeds(text: string): readonly SeedRange[] | undefined {
  const ranges: SeedRange[] = [];
  for (const part of text.split(',')) {
    const [, first, last] = /^\s*(\d{1,15})(?:\.\.(\d{1,15}))?\s*$/.exec(part) ?? [];
    if (first === undefined) return undefined;
    const range = { from: Number(first), to: Number(last ?? first) };
    if (range.to < range.from) return undefined;
    ranges.push(range);
  }
  return countSeeds(ranges) <= SEEDS_MAX ? ranges : undefined;
}

/** How many seeds there are in all. */
export function countSeeds(ranges: readonly SeedRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
}

/** Cuts ranges into pieces of at most `size` seeds, in order. */
export function* inBatches(ranges: readonly SeedRange[], size: number): Generator<SeedRange> {
  for (const { from, to } of ranges)
    for (let start = from; start <= to; start += size)
      yield { from: start, to: Math.min(to, start + size - 1) };
}
