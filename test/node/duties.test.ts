/** Every duty of a node is needed: each broken twin is caught by a script that is green with the kept ones. */
import { describe, expect, it } from 'vitest';
import { BROKEN_DUTIES } from '../../src/lessons/broken-duties.ts';
import { DUTIES } from '../../src/node/duties.ts';
import { type Catch, catchOf } from '../support/breaking.ts';

const CAUGHT: ReadonlyMap<string, { readonly script: string; readonly by: Catch }> = new Map([
  [
    'snapshot-without-sessions',
    { script: 'node/sessions/retry-behind-a-snapshot', by: 'State Machine Safety' },
  ],
  ['repeats-retries', { script: 'node/sessions/retry-at-the-next-leader', by: 'Applied Once' }],
  ['ignores-a-failed-sync', { script: 'node/durable-state/fsync-fails-once', by: 'Leader Completeness' }],
  ['never-syncs', { script: 'node/durable-state/vote-survives-a-power-cut', by: 'expectation' }],
  ['snapshot-without-sync', { script: 'node/snapshots/named-when-it-is-whole', by: 'expectation' }],
  [
    'forgets-the-directory',
    { script: 'node/durable-state/new-segment-has-a-name', by: 'Leader Completeness' },
  ],
  ['cuts-at-damage', { script: 'node/durable-state/damage-costs-the-vote', by: 'Leader Completeness' }],
  ['cuts-only-in-memory', { script: 'node/durable-state/cut-stays-cut', by: 'expectation' }],
  [
    'welcomes-the-wiped',
    { script: 'node/durable-state/wiped-directory-is-refused', by: 'Leader Completeness' },
  ],
]);

describe('broken duties', () => {
  it('every duty has a broken twin', () => {
    const broken = new Set<string>(BROKEN_DUTIES.map((twin) => twin.duty));
    expect(Object.keys(DUTIES).filter((name) => !broken.has(name))).toEqual([]);
  });

  it('every twin has its own name, breaks exactly its duty, and has a script', () => {
    for (const { name, duty, duties, what } of BROKEN_DUTIES) {
      const kept = new Map<string, unknown>(Object.entries(DUTIES));
      const changed = Object.entries(duties).filter(([key, value]) => kept.get(key) !== value);
      expect(
        changed.map(([key]) => key),
        name,
      ).toEqual([duty]);
      expect(what, name).toMatch(/^[A-Z].*\.$/);
    }
    expect(BROKEN_DUTIES.map(({ name }) => name).toSorted()).toEqual([...CAUGHT.keys()].toSorted());
  });

  it.each([...CAUGHT])('%s is caught', (name, { script, by }) => {
    expect(catchOf(script, undefined), 'the script is green with the duties kept').toBeUndefined();
    expect(catchOf(script, name)).toBe(by);
  });
});
