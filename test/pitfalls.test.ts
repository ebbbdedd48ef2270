/**
 * The pitfalls P01 to P85, bugs that real systems had: each has a story among the scripts that tells it by its number, or a
 * reason why there is none. Those that a lesson shows are also broken on purpose, and must be caught in their story.
 */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { BREAKABLE } from '../src/lessons/breaker.ts';
import { type Catch, catchOf } from './support/breaking.ts';

const PITFALLS = 85;

/** Pitfalls without a story, and why. */
const WITHOUT_STORY: ReadonlyMap<string, string> = new Map([
  ['P21', 'a host names one number that covers all writes up to it, so that none can be done out of order'],
  ['P82', 'everything at once is no story: it is what the simulator does with every seed'],
]);

interface Lesson {
  readonly pitfall: string;
  readonly script: string;
  /** The rule or the duty that is broken. */
  readonly broken: string;
  readonly by: Catch;
}

/** The pitfalls that are shown by re-introducing the bug. */
const LESSONS: readonly Lesson[] = [
  lesson('P01', 'raft/commit/figure-8', 'commits-old-terms-by-counting', 'Leader Completeness'),
  lesson(
    'P02',
    'raft/replication/knock-at-a-conflicting-tail',
    'commits-its-own-tail',
    'State Machine Safety',
  ),
  lesson(
    'P09',
    'raft/persistence/single-node-waits-for-its-disk',
    'counts-its-own-memory',
    'Committed Is Durable',
  ),
  lesson('P17', 'node/durable-state/failed-vote-leaves-nobody', 'ignores-a-failed-sync', 'One Vote'),
  lesson(
    'P18',
    'raft/persistence/vote-waits-for-the-disk',
    'promises-before-the-disk',
    'Durable Before Reply',
  ),
  lesson(
    'P18',
    'node/durable-state/power-goes-as-the-vote-is-written',
    'promises-before-the-disk',
    'One Vote',
  ),
  lesson(
    'P23',
    'raft/persistence/restart-applies-nothing-uncommitted',
    'applies-the-whole-log',
    'State Machine Safety',
  ),
  lesson('P24', 'node/durable-state/cut-stays-cut', 'cuts-only-in-memory', 'expectation'),
  lesson('P25', 'node/durable-state/damage-costs-the-vote', 'cuts-at-damage', 'Leader Completeness'),
  lesson('P26', 'node/durable-state/wiped-directory-is-refused', 'welcomes-the-wiped', 'Leader Completeness'),
  lesson(
    'P27',
    'node/durable-state/single-node-reads-after-a-restart',
    'reads-before-its-no-op',
    'expectation',
  ),
  lesson('P28', 'node/durable-state/fsync-fails-once', 'ignores-a-failed-sync', 'Leader Completeness'),
  lesson('P34', 'raft/elections/live-leader-is-left-alone', 'forgets-its-leader', 'expectation'),
  lesson('P34', 'raft/elections/one-way-leader-steps-down', 'never-steps-down', 'expectation'),
  lesson('P41', 'raft/reads/read-waits-for-the-no-op', 'reads-before-its-no-op', 'Linearizable Read'),
  lesson('P42', 'raft/reads/read-needs-a-probe-of-its-own', 'trusts-an-older-probe', 'Linearizable Read'),
  lesson('P43', 'raft/reads/read-needs-a-probe-of-its-own', 'trusts-an-older-probe', 'Linearizable Read'),
  lesson('P43', 'raft/reads/one-peer-is-no-majority', 'trusts-one-peer', 'Linearizable Read'),
  lesson(
    'P46',
    'raft/lease/counts-from-the-question',
    'counts-the-lease-from-the-answer',
    'Linearizable Read',
  ),
  lesson('P47', 'raft/lease/ends-before-the-promise', 'leases-for-two-timeouts', 'expectation'),
  lesson('P48', 'raft/lease/clocks-may-drift', 'believes-every-clock', 'Linearizable Read'),
  lesson('P51', 'raft/lease/late-transfer-cannot-break-it', 'obeys-a-late-transfer', 'Linearizable Read'),
  lesson('P57', 'raft/membership/changes-wait-their-turn', 'changes-members-too-soon', 'expectation'),
  lesson('P69', 'raft/snapshots/late-snapshot-changes-nothing', 'takes-old-snapshots', 'Monotonic'),
  lesson('P70', 'node/snapshots/conflicting-tail-goes', 'keeps-a-conflicting-tail', 'expectation'),
  lesson('P79', 'node/sessions/retry-behind-a-snapshot', 'snapshot-without-sessions', 'State Machine Safety'),
  lesson('P81', 'raft/storage/slow-disk-costs-the-lead', 'leads-without-its-disk', 'expectation'),
  lesson('P83', 'node/sessions/retry-at-the-next-leader', 'repeats-retries', 'Applied Once'),
];

/** Those that the list of pitfalls marks as good lessons. */
const MARKED: readonly string[] =
  'P01 P02 P09 P17 P18 P23 P25 P26 P34 P41 P42 P43 P46 P47 P48 P51 P57 P69 P81 P83'.split(' ');

function lesson(pitfall: string, script: string, broken: string, by: Catch): Lesson {
  return { pitfall, script, broken, by };
}

/** The scripts that tell each pitfall, by its number. A story is what a script's comments say. */
function stories(): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const language of ['raft', 'node']) {
    const root = fileURLToPath(new URL(`${language}/scripts`, import.meta.url));
    for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      const path = join(root, name);
      if (!statSync(path).isFile()) continue;
      const comments = readFileSync(path, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('#'));
      for (const [number] of comments.join('\n').matchAll(/\bP\d\d\b/g)) {
        const told = found.get(number) ?? new Set();
        found.set(number, told.add(`${language}/${name}`));
      }
    }
  }
  return found;
}

describe('pitfalls', () => {
  const told = stories();
  const all = Array.from({ length: PITFALLS }, (_, i) => `P${String(i + 1).padStart(2, '0')}`);

  it.each(all)('%s has a story, or a reason for none', (pitfall) => {
    expect(told.has(pitfall), 'told in a script').toBe(!WITHOUT_STORY.has(pitfall));
  });

  it('no script tells a pitfall that is not there', () => {
    expect([...told.keys()].filter((pitfall) => !all.includes(pitfall))).toEqual([]);
  });

  it('every pitfall that makes a lesson has one, in a script that tells it', () => {
    const taught = new Set(LESSONS.map(({ pitfall }) => pitfall));
    expect(MARKED.filter((pitfall) => !taught.has(pitfall))).toEqual([]);
    for (const { pitfall, script } of LESSONS) expect([...(told.get(pitfall) ?? [])]).toContain(script);
  });

  it.each(LESSONS)('$pitfall: $broken is caught in $script', ({ script, broken, by }) => {
    expect(BREAKABLE.map(({ name }) => name)).toContain(broken);
    expect(catchOf(script, undefined), 'the script is green with the sound system').toBeUndefined();
    expect(catchOf(script, broken)).toBe(by);
  });
});
