/** Quorum arithmetic against an oracle that tries every majority (P08; openraft#1802). */
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { majority, quorumValue, voteResult } from '../../src/raft/quorum.ts';

/** Every subset of `ids`. */
function subsets(ids: readonly number[]): readonly (readonly number[])[] {
  return Array.from({ length: 2 ** ids.length }, (_, mask) => ids.filter((_id, bit) => (mask >> bit) & 1));
}

function isMajority(part: readonly number[], all: readonly number[]): boolean {
  return part.length * 2 > all.length;
}

/** The largest value that all members of some majority have reached. */
function oracleValue(voters: readonly number[], reached: (voter: number) => number): number {
  const majorities = subsets(voters).filter((part) => isMajority(part, voters));
  return Math.max(...majorities.map((part) => Math.min(...part.map(reached))));
}

/** Tries every way in which the voters that have not answered may answer. */
function oracleResult(
  voters: readonly number[],
  granted: ReadonlySet<number>,
  refused: ReadonlySet<number>,
): string {
  const open = voters.filter((voter) => !granted.has(voter) && !refused.has(voter));
  const certain = voters.filter((voter) => granted.has(voter));
  const ends = subsets(open).map((more) => isMajority([...certain, ...more], voters));
  if (ends.every((won) => won)) return 'won';
  return ends.some((won) => won) ? 'pending' : 'lost';
}

describe('quorum', () => {
  it('majority() is the smallest number of which two sets must share a member', () => {
    for (let n = 1; n <= 9; n++) {
      expect(majority(n) * 2).toBeGreaterThan(n);
      expect((majority(n) - 1) * 2).toBeLessThanOrEqual(n);
    }
  });

  it('quorumValue() is what the best majority has reached, for one to seven voters', () => {
    const random = new Random('quorum value');
    for (let i = 0; i < 3_000; i++) {
      const voters = Array.from({ length: random.int(1, 7) }, (_, k) => k + 1);
      const reached = new Map(voters.map((voter) => [voter, random.int(0, 6)]));
      const of = (voter: number): number => reached.get(voter) ?? 0;
      expect(quorumValue([voters], of), JSON.stringify([...reached])).toBe(oracleValue(voters, of));
    }
  });

  it('voteResult() knows when an election is decided, for one to seven voters', () => {
    const random = new Random('vote result');
    for (let i = 0; i < 3_000; i++) {
      const voters = Array.from({ length: random.int(1, 7) }, (_, k) => k + 1);
      const granted = new Set<number>();
      const refused = new Set<number>();
      // Replies of nodes that are no voters count for nothing.
      for (const id of [...voters, 98, 99]) {
        const answer = random.int(0, 2);
        if (answer === 1) granted.add(id);
        if (answer === 2) refused.add(id);
      }
      expect(voteResult([voters], granted, refused)).toBe(oracleResult(voters, granted, refused));
    }
  });
});
