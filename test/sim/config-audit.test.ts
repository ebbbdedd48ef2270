/** Configurations that follow one another as they may, and each way in which they may not (I13). */
import { describe, expect, test } from 'vitest';
import type { Config } from '../../src/raft/membership.ts';
import { isQuorum } from '../../src/sim/config-audit.ts';
import type { FakeNode } from './fake-node.ts';
import { Story, expectViolation } from './story.ts';

function config(voters: readonly number[], outgoing: readonly number[] = []): Config {
  return {
    voters,
    outgoing,
    learners: [],
    promoting: [],
    witnesses: [],
    addresses: new Map(),
    since: new Map(),
  };
}

/** The node appends an entry that holds a configuration. */
function configure(node: FakeNode, next: Config, term = 1): void {
  node.append(term, `c`);
  node.config = next;
  node.configIndex = node.entries.length;
}

/** Five nodes, of which the first three are the cluster that n1 leads; everything is committed. */
function cluster(): Story {
  const story = new Story(3, 5);
  return story.elect('a').commit();
}

function follow(story: Story, ...ids: number[]): void {
  for (const id of ids) {
    const node = story.node(id);
    const leader = story.node(1);
    node.copies(leader);
    node.config = leader.config;
    node.configIndex = leader.configIndex;
    node.commits(leader.commit);
    story.look(id);
  }
}

describe('isQuorum()', () => {
  test('wants more than half of the voters, of both sides while there are two', () => {
    expect(isQuorum(config([1, 2, 3]), new Set([1, 2]))).toBe(true);
    expect(isQuorum(config([1, 2, 3]), new Set([1, 4, 5]))).toBe(false);
    expect(isQuorum(config([1, 2, 3, 4]), new Set([1, 2]))).toBe(false);
    expect(isQuorum(config([3, 4, 5], [1, 2, 3]), new Set([3, 4, 5]))).toBe(false);
    expect(isQuorum(config([3, 4, 5], [1, 2, 3]), new Set([2, 3, 4]))).toBe(true);
    expect(isQuorum(config([]), new Set([1]))).toBe(false);
  });
});

describe('I13 configuration safety', () => {
  test('a change of all voters but one passes through a joint configuration', () => {
    const story = cluster();
    const leader = story.node(1);
    configure(leader, config([1, 4, 5], [1, 2, 3]));
    story.look(1);
    follow(story, 2, 4);
    leader.commits(leader.entries.length);
    story.look(1);
    configure(leader, config([1, 4, 5]));
    story.look(1);
    follow(story, 4, 5);
    leader.commits(leader.entries.length);
    story.look(1);
    follow(story, 2, 3, 4, 5);
    // The old majority may be gone now.
    for (const id of [2, 3]) {
      story.judge.wiped(id);
      story.start(id);
      story.node(id).entries = [];
      story.node(id).commits(0);
      story.node(id).configIndex = 0;
      story.look(id);
    }
  });

  test('an entry that only one side of a joint configuration has is not committed', () => {
    const story = cluster();
    const leader = story.node(1);
    configure(leader, config([1, 4, 5], [1, 2, 3]));
    story.look(1);
    follow(story, 2, 3);
    leader.commits(leader.entries.length);
    expectViolation('I9 committed is durable', () => story.look(1));
  });

  test('voters that change without a joint configuration are found', () => {
    const story = cluster();
    configure(story.node(1), config([1, 2, 3, 4]));
    expectViolation('I13 configuration safety', () => story.look(1));
  });

  test('a joint configuration that leaves other voters than it should is found', () => {
    const story = cluster();
    configure(story.node(1), config([1, 4], [1, 2]));
    expectViolation('I13 configuration safety', () => story.look(1));
  });

  test('other voters than those of the joint configuration are found', () => {
    const story = cluster();
    const leader = story.node(1);
    configure(leader, config([1, 2, 4], [1, 2, 3]));
    story.look(1);
    follow(story, 2, 4);
    leader.commits(leader.entries.length);
    story.look(1);
    configure(leader, config([1, 2, 5]));
    expectViolation('I13 configuration safety', () => story.look(1));
  });

  test('two uncommitted configurations in one log are found', () => {
    const story = cluster();
    const leader = story.node(1);
    configure(leader, { ...config([1, 2, 3]), learners: [4] });
    story.look(1);
    configure(leader, { ...config([1, 2, 3]), learners: [4, 5] });
    expectViolation('I13 configuration safety', () => story.look(1));
  });

  test('an uncommitted configuration may be cut and replaced', () => {
    const story = cluster();
    const node = story.node(3);
    configure(node, { ...config([1, 2, 3]), learners: [4] });
    story.look(3);
    node.entries.pop();
    node.term = 2;
    configure(node, { ...config([1, 2, 3]), learners: [5] }, 2);
    story.look(3);
  });

  test('one place in the log with two configurations is found', () => {
    const story = cluster();
    const leader = story.node(1);
    configure(leader, { ...config([1, 2, 3]), learners: [4] });
    story.look(1);
    story.node(2).copies(leader);
    story.node(2).config = { ...config([1, 2, 3]), learners: [5] };
    story.node(2).configIndex = leader.configIndex;
    expectViolation('I13 configuration safety', () => story.look(2));
  });

  test('a leader that only a majority of the new voters elected is found while the change is joint', () => {
    const story = cluster();
    const leader = story.node(1);
    configure(leader, config([1, 4, 5], [1, 2, 3]));
    story.look(1);
    follow(story, 4, 5);
    story.node(5).votes(2, 4);
    story.node(1).role = 'follower';
    story.node(1).votes(2, 4);
    story.look(5, 1);
    story.node(4).leads(2);
    expectViolation('I1 election safety', () => story.look(4));
  });
});
