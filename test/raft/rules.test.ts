/**
 * Every rule of Raft is needed: each broken twin is run through a script that is green with the real rules, and must be
 * caught there, by the named invariant or by an expectation of the script.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { BROKEN_RULES } from '../../src/lessons/broken-rules.ts';
import { RULES, type Rules } from '../../src/raft/rules.ts';
import { type Invariant, InvariantViolation } from '../support/raft-invariants.ts';
import { ExpectationFailure, RaftScript, commandsOf } from '../support/raft-script.ts';

/** `expectation`: no invariant is broken, but a request ends wrongly or never. */
type Catch = Invariant | 'expectation';

const CAUGHT: ReadonlyMap<string, { readonly script: string; readonly by: Catch }> = new Map([
  ['votes-for-everyone', { script: 'elections/one-vote-per-term', by: 'One Vote' }],
  ['longest-log-wins', { script: 'elections/later-term-beats-longer-log', by: 'Leader Completeness' }],
  ['any-log-wins', { script: 'elections/later-term-beats-longer-log', by: 'Leader Completeness' }],
  ['forgets-its-leader', { script: 'elections/live-leader-is-left-alone', by: 'expectation' }],
  ['counts-votes-twice', { script: 'elections/duplicated-vote-counts-once', by: 'expectation' }],
  ['half-is-a-majority', { script: 'elections/half-is-no-majority', by: 'Election Safety' }],
  ['counts-old-replies', { script: 'elections/vote-for-an-old-term-is-void', by: 'Election Safety' }],
  ['looks-only-at-the-index', { script: 'replication/previous-entry-must-be-the-same', by: 'Log Matching' }],
  ['cuts-on-every-append', { script: 'replication/late-append-cuts-nothing', by: 'Committed Is Durable' }],
  ['never-cuts', { script: 'replication/conflicting-tail-is-cut', by: 'Match Is Durable' }],
  [
    'acknowledges-its-own-tail',
    { script: 'replication/knock-at-a-conflicting-tail', by: 'State Machine Safety' },
  ],
  ['commits-its-own-tail', { script: 'replication/knock-at-a-conflicting-tail', by: 'State Machine Safety' }],
  ['promises-before-the-disk', { script: 'persistence/vote-waits-for-the-disk', by: 'Durable Before Reply' }],
  [
    'counts-its-own-memory',
    { script: 'persistence/leader-counts-its-disk-not-its-memory', by: 'Committed Is Durable' },
  ],
  ['lets-match-go-back', { script: 'replication/match-never-goes-back', by: 'expectation' }],
  ['commits-one-short', { script: 'commit/two-of-five', by: 'Committed Is Durable' }],
  ['commits-old-terms-by-counting', { script: 'commit/figure-8', by: 'Leader Completeness' }],
  [
    'commits-by-heartbeat',
    { script: 'replication/heartbeat-commit-stops-at-match', by: 'State Machine Safety' },
  ],
  ['reads-before-its-no-op', { script: 'reads/read-waits-for-the-no-op', by: 'Linearizable Read' }],
  ['trusts-an-older-probe', { script: 'reads/read-needs-a-probe-of-its-own', by: 'Linearizable Read' }],
  ['trusts-one-peer', { script: 'reads/one-peer-is-no-majority', by: 'Linearizable Read' }],
  ['never-steps-down', { script: 'elections/leader-without-majority-steps-down', by: 'expectation' }],
  ['leads-without-its-disk', { script: 'storage/slow-disk-costs-the-lead', by: 'expectation' }],
  ['believes-every-clock', { script: 'lease/clocks-may-drift', by: 'Linearizable Read' }],
  ['obeys-a-late-transfer', { script: 'lease/late-transfer-cannot-break-it', by: 'Linearizable Read' }],
  [
    'leases-through-a-transfer',
    { script: 'lease/ends-when-leadership-is-handed-over', by: 'Linearizable Read' },
  ],
  ['counts-the-lease-from-the-answer', { script: 'lease/counts-from-the-question', by: 'Linearizable Read' }],
  ['leases-for-two-timeouts', { script: 'lease/ends-before-the-promise', by: 'expectation' }],
  ['forgets-its-promise', { script: 'lease/restart-keeps-the-promise', by: 'Linearizable Read' }],
  [
    'applies-the-whole-log',
    { script: 'persistence/restart-applies-nothing-uncommitted', by: 'State Machine Safety' },
  ],
  ['forgets-its-vote', { script: 'persistence/vote-survives-a-crash', by: 'One Vote' }],
  ['votes-with-half-a-log', { script: 'damage/half-a-log-does-not-vote', by: 'Leader Completeness' }],
  ['takes-old-snapshots', { script: 'snapshots/late-snapshot-changes-nothing', by: 'Monotonic' }],
  ['keeps-a-conflicting-tail', { script: 'snapshots/conflicting-tail-goes', by: 'Log Matching' }],
  ['joint-counts-the-union', { script: 'membership/two-majorities', by: 'Committed Is Durable' }],
  ['new-voters-decide-alone', { script: 'membership/two-majorities', by: 'Committed Is Durable' }],
  ['counts-learners', { script: 'membership/learners-are-not-counted', by: 'Committed Is Durable' }],
  ['changes-members-too-soon', { script: 'membership/changes-wait-their-turn', by: 'expectation' }],
  ['witness-stands', { script: 'witness/witness-never-stands', by: 'Data Is Kept' }],
  ['takes-stubs', { script: 'witness/is-what-the-members-say', by: 'Data Is Kept' }],
  ['witnesses-decide-alone', { script: 'witness/not-too-many', by: 'expectation' }],
  ['tells-witnesses-first', { script: 'witness/copies-come-first', by: 'expectation' }],
  ['drops-an-agreeing-tail', { script: 'snapshots/agreeing-tail-stays', by: 'Match Is Durable' }],
]);

/** Runs a script with some rules. @returns what caught it; undefined when nothing did */
function run(name: string, rules: Rules): { readonly by: Catch; readonly message: string } | undefined {
  const path = fileURLToPath(new URL(`scripts/${name}`, import.meta.url));
  const script = new RaftScript({ rules });
  try {
    for (const command of commandsOf(readFileSync(path, 'utf8'))) script.run(command);
  } catch (error) {
    if (error instanceof InvariantViolation) return { by: error.invariant, message: error.message };
    if (error instanceof ExpectationFailure) return { by: 'expectation', message: error.message };
    throw error;
  }
  return undefined;
}

describe('broken rules', () => {
  it('every rule has a broken twin', () => {
    const broken = new Set<string>(BROKEN_RULES.map((twin) => twin.rule));
    expect(Object.keys(RULES).filter((name) => !broken.has(name))).toEqual([]);
  });

  it('every twin has its own name, breaks exactly its rule, and has a script', () => {
    expect(new Set(BROKEN_RULES.map((twin) => twin.name)).size).toBe(BROKEN_RULES.length);
    for (const { name, rule, rules, what } of BROKEN_RULES) {
      const changed = Object.entries(rules).filter(([key, value]) =>
        Object.entries(RULES).every(([k, v]) => k !== key || v !== value),
      );
      expect(
        changed.map(([key]) => key),
        name,
      ).toEqual([rule]);
      expect(what, name).toMatch(/^[A-Z].*\.$/);
      expect(CAUGHT.has(name), name).toBe(true);
    }
    expect(CAUGHT.size).toBe(BROKEN_RULES.length);
  });

  it.each([...CAUGHT])('%s is caught', (name, { script, by }) => {
    const twin = BROKEN_RULES.find((broken) => broken.name === name);
    expect(twin).toBeDefined();
    if (twin === undefined) return;
    expect(run(script, RULES), 'the script is green with the real rules').toBeUndefined();
    expect(run(script, twin.rules)?.by).toBe(by);
  });
});
