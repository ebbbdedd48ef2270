/** Each invariant is broken once by hand, and found under its name; what is legal although it looks odd passes. */
import { describe, expect, test } from 'vitest';
import type { FakeNode } from './fake-node.ts';
import { Story, expectViolation } from './story.ts';

/** n1 believes that n2 has everything. */
function believe(story: Story): void {
  story.node(1).peers = [{ id: 2, mode: 'replicate', match: story.node(1).entries.length, next: 9 }];
}

describe('I1 election safety', () => {
  test('a second leader of a term is found', () => {
    const story = new Story().elect('a');
    // Without its directory n2 is another voter, and so both have a majority.
    story.judge.wiped(2);
    story.start(2);
    story.node(2).entries = [];
    story.node(2).votes(1, 3);
    story.look(2);
    story.node(3).vote = 3;
    story.node(3).leads(1);
    expectViolation('I1 election safety', () => story.look(3));
  });

  test('a leader of each term passes', () => {
    const story = new Story().elect('a').commit();
    story.node(3).votes(2, 2);
    story.look(3);
    story.node(2).leads(2);
    story.look();
  });

  test('a leader that comes back does not lead the same term', () => {
    const story = new Story().elect('a');
    story.down(1);
    story.start(1);
    story.node(1).role = 'leader';
    expectViolation('I1 election safety', () => story.look(1));
  });

  test('a leader without the votes of a majority is found', () => {
    const story = new Story(5);
    story.node(2).votes(1, 1);
    story.look();
    story.node(1).leads(1);
    expectViolation('I1 election safety', () => story.look(1));
  });

  test('votes that left a node before it died count', () => {
    const story = new Story();
    story.judge.wentDown(2, { inTurn: true, granted: [{ term: 1, candidate: 1 }] });
    story.node(1).leads(1);
    story.look(1);
  });
});

describe('I2 one vote a term', () => {
  test('the same vote twice passes, another does not, not even in a later life', () => {
    const story = new Story();
    story.node(2).votes(3, 1);
    story.look();
    story.node(2).votes(3, 1);
    story.look();
    story.down(2);
    story.start(2);
    story.node(2).votes(3, 3);
    expectViolation('I2 one vote a term', () => story.look(2));
  });

  test('a vote that left before a death counts', () => {
    const story = new Story();
    story.judge.wentDown(2, { inTurn: true, granted: [{ term: 1, candidate: 1 }] });
    story.start(2);
    story.node(2).votes(1, 3);
    expectViolation('I2 one vote a term', () => story.look(2));
  });

  test('a leader has voted for itself', () => {
    const story = new Story();
    story.node(2).votes(1, 1);
    story.look();
    story.node(2).vote = 2;
    story.node(2).role = 'leader';
    expectViolation('I2 one vote a term', () => story.look(2));
  });

  test('a candidate that nobody has heard of yet has promised nothing: its vote may wait for room', () => {
    const story = new Story();
    Object.assign(story.node(2), { term: 3, vote: 2, role: 'candidate', storage: 'full' });
    story.look();
    story.down(2);
    story.start(2);
    story.node(2).votes(3, 1);
    story.look(2);
  });

  test('a wiped node votes anew', () => {
    const story = new Story();
    story.node(2).votes(3, 1);
    story.look();
    story.judge.wiped(2);
    story.start(2);
    story.node(2).votes(3, 3);
    story.look();
  });
});

describe('I3 durable before reply', () => {
  test('a vote that the node itself does not stand by is found', () => {
    const story = new Story();
    story.node(2).term = 1;
    story.node(2).granted = [{ term: 1, candidate: 1 }];
    expectViolation('I3 durable before reply', () => story.look(2));
  });

  test('what a follower acknowledged is on its disk', () => {
    const story = new Story().elect('ab');
    believe(story);
    story.look();
    story.node(1).append(1, 'c');
    believe(story);
    expectViolation('I3 durable before reply', () => story.look(1));
  });

  test('what a follower acknowledged is what the leader has', () => {
    const story = new Story();
    story.node(3).votes(1, 2);
    story.look();
    story.node(2).leads(1).append(1, 'x');
    story.look(2);
    story.node(3).votes(2, 1);
    story.look(3);
    story.node(1).leads(2).append(2, 'a');
    believe(story);
    expectViolation('I3 durable before reply', () => story.look(1));
  });

  test('an acknowledgement may be older than the loss of the entry, or the sight of it', () => {
    const story = new Story().elect('ab');
    story.node(2).votes(2, 2);
    story.node(2).entries.pop();
    story.look(2);
    believe(story);
    story.look(1);
    story.down(3, true);
    story.node(1).append(1, 'c');
    story.node(1).peers = [{ id: 3, mode: 'replicate', match: 4, next: 5 }];
    story.look(1);
  });

  test('a leader with a failed disk is found, a follower with one is not', () => {
    const story = new Story().elect('a');
    story.node(2).storage = 'failed';
    story.look(2, 2);
    story.node(1).storage = 'failed';
    expectViolation('I3 durable before reply', () => story.look(1));
  });
});

describe('I4 leader append-only', () => {
  test('a leader appends, a follower may cut', () => {
    const story = new Story().elect('abc');
    story.node(1).append(1, 'd');
    story.node(2).entries.pop();
    story.node(2).append(1, 'c');
    story.look(1);
  });

  test('a leader that replaces an entry is found', () => {
    const story = new Story().elect('abc');
    story.node(1).entries.pop();
    story.node(1).append(1, 'd');
    expectViolation('I4 leader append-only', () => story.look(1));
  });
});

describe('I5 log matching', () => {
  test('the same position with another past is found', () => {
    const story = new Story().elect('abc');
    story.node(3).entries = [{ term: 1, what: '?' }, ...story.node(3).entries.slice(1)];
    expectViolation('I5 log matching', () => story.look(3));
  });

  test('the same index in another term passes', () => {
    const story = new Story().elect('');
    story.node(1).append(1, 'ab');
    story.look(1);
    story.node(3).votes(2, 2);
    story.look(3);
    story.node(2).leads(2).append(2, 'xy');
    story.look(2);
    story.node(1).copies(story.node(2));
    story.look();
  });

  test('entries that stay behind a snapshot which contradicts them are found', () => {
    const story = new Story();
    story.node(3).append(1, 'wxyz');
    story.node(3).term = 1;
    story.look(3);
    story.node(3).first = 3;
    story.node(3).snapshotIndex = 2;
    story.node(3).commits(2);
    story.node(3).baseHash = 77;
    expectViolation('I5 log matching', () => story.look(3));
  });

  test('a snapshot may replace entries that contradict it', () => {
    const story = new Story();
    story.node(3).append(1, 'wxyz');
    story.node(3).term = 1;
    story.look(3);
    story.node(3).entries = [...story.node(3).entries.slice(0, 1), { term: 2, what: 'b' }];
    story.node(3).term = 2;
    story.node(3).first = 3;
    story.node(3).snapshotIndex = 2;
    story.node(3).commits(2);
    story.look(3, 3);
  });
});

describe('I6 leader completeness', () => {
  test('a leader without a committed entry is found', () => {
    const story = new Story(5).elect('ab');
    for (const id of [1, 2, 3]) story.node(id).commits(3);
    story.node(5).entries.length = 1;
    story.look(5);
    story.look();
    for (const id of [3, 4]) story.node(id).votes(2, 5);
    story.look();
    story.node(5).leads(2);
    expectViolation('I6 leader completeness', () => story.look(5));
  });

  test('a leader of an earlier term, elected late, may lack what a later term has committed', () => {
    const story = new Story(5);
    // n5 asks for term 1 and gets the votes of n3 and n4, which it reads much later.
    story.node(3).votes(1, 5);
    story.node(4).votes(1, 5);
    story.look();
    story.node(2).votes(2, 1);
    story.node(3).votes(2, 1);
    story.look();
    story.node(1).leads(2).append(2, 'a');
    story.look(1);
    for (const id of [2, 3]) story.node(id).copies(story.node(1));
    story.look(2, 3);
    story.node(1).commits(2);
    story.look(1);
    story.node(5).leads(1);
    story.look(5);
  });
});

describe('I8 equal states', () => {
  test('another state at the same place is found, also behind a restart', () => {
    const story = new Story().elect('ab').commit();
    story.down(2);
    story.start(2);
    story.node(2).commits(2);
    story.node(2).stateHash = 'bad';
    story.look(2);
    story.node(2).commits(3);
    expectViolation('I8 equal states', () => story.look(2));
  });

  test('a state that changes without an entry is found', () => {
    const story = new Story().elect('ab').commit();
    story.node(2).stateHash = 'bad';
    expectViolation('I8 equal states', () => story.look(2));
  });
});

describe('I9 committed is durable', () => {
  test('a leader that counts a disk too early is found', () => {
    const story = new Story();
    story.node(2).votes(1, 1);
    story.look();
    story.node(1).leads(1).append(1, 'a');
    story.look(1);
    story.node(2).copies(story.node(1));
    story.node(2).durable = 1;
    story.look(2);
    story.node(1).commits(2);
    expectViolation('I9 committed is durable', () => story.look(1));
  });

  test('a node that died in the middle of its acknowledgement may be counted, until it is back', () => {
    const story = new Story();
    story.node(2).votes(1, 1);
    story.look();
    story.node(1).leads(1).append(1, 'a');
    story.look(1);
    story.down(2, true);
    story.node(1).commits(2);
    story.look(1);
    story.start(2);
    expectViolation('I9 committed is durable', () => story.look(2));
  });

  test('a node that lost a committed entry over a restart is found, though others have it', () => {
    const story = new Story().elect('ab').commit();
    story.down(2);
    story.start(2);
    story.node(2).entries.length = 2;
    story.node(2).commits(2);
    expectViolation('I9 committed is durable', () => story.look(2));
  });

  test('a node that abstains may have lost a committed entry, until it ceases to', () => {
    const story = new Story().elect('ab').commit();
    for (const id of [2, 3]) {
      story.down(id);
      story.start(id);
      story.node(id).entries.length = 2;
      story.node(id).commits(2);
      story.node(id).isAbstaining = true;
      story.look(id);
    }
    for (const id of [2, 3]) story.node(id).isAbstaining = false;
    expectViolation('I9 committed is durable', () => {
      story.look(2, 3);
      story.node(1).append(1, 'c').commits(4);
      story.look(1);
    });
  });

  test('an uncommitted entry may be lost', () => {
    const story = new Story().elect('ab');
    story.node(2).commits(1);
    story.look(2);
    story.down(2);
    story.start(2);
    story.node(2).entries.length = 1;
    story.look(2);
  });

  test('a majority that forgets is found', () => {
    const story = new Story(5).elect('ab').commit();
    for (const id of [2, 3]) {
      story.judge.wiped(id);
      story.start(id);
      story.node(id).entries = [];
      story.node(id).commits(0);
      story.look(id);
    }
    story.judge.wiped(4);
    story.start(4);
    story.node(4).entries = [];
    story.node(4).commits(0);
    expectViolation('I9 committed is durable', () => story.look(4));
  });
});

describe('I10 committed is immutable', () => {
  test('a node that commits something else is found', () => {
    const story = new Story().elect('ab');
    story.node(1).commits(3);
    story.look(1);
    story.node(3).term = 2;
    story.node(3).entries = [...story.node(3).entries.slice(0, 2), { term: 2, what: 'x' }];
    story.node(3).commits(3);
    expectViolation('I10 committed is immutable', () => story.look(3));
  });

  test('a snapshot of something else is found', () => {
    const story = new Story().elect('ab').commit();
    story.node(3).first = 3;
    story.node(3).snapshotIndex = 2;
    story.node(3).baseHash = 5;
    story.node(3).entries = story.node(3).entries.slice(0, 2);
    story.node(3).commits(2);
    story.down(3);
    story.start(3);
    expectViolation('I10 committed is immutable', () => story.look(3));
  });
});

/** Of three entries two are committed, and the log of n3 begins behind them. */
function lookBehind(change: Partial<FakeNode>): void {
  const story = new Story().elect('ab');
  story.node(3).commits(2);
  Object.assign(story.node(3), { first: 3, ...change });
  story.look(3);
}

describe('I11 order', () => {
  test.each([
    ['first', { first: 3 }],
    ['snapshotIndex', { snapshotIndex: 3 }],
    ['applied', { applied: 3, commit: 2 }],
    ['commit', { commit: 9 }],
    ['durable', { durable: 9 }],
    ['term', { term: 0 }],
  ] as const)('%s out of order is found', (_, change) => {
    const story = new Story().elect('ab');
    story.node(3).commits(2);
    Object.assign(story.node(3), change);
    expectViolation('I11 order', () => story.look(3));
  });

  test('the log may begin behind a snapshot that waits for room, as long as nothing of it is promised', () => {
    expect(() => lookBehind({ storage: 'full', durable: 1 })).not.toThrow();
    expectViolation('I11 order', () => lookBehind({ storage: 'full', durable: 2 }));
    expectViolation('I11 order', () => lookBehind({ durable: 1 }));
  });
});

describe('I12 monotonic', () => {
  test.each([
    ['term', (node: FakeNode): void => void (node.term = 1)],
    ['vote', (node: FakeNode): void => void (node.vote = 3)],
    ['commit', (node: FakeNode): void => void node.commits(1)],
    ['applied', (node: FakeNode): void => void (node.applied = 1)],
  ] as const)('%s going back is found', (_, change) => {
    const story = new Story().elect('ab').commit();
    story.node(2).votes(2, 2);
    story.look(2);
    change(story.node(2));
    expectViolation('I12 monotonic', () => story.look(2));
  });

  test('a new life may begin with less committed and applied, not with an older term or another vote', () => {
    const story = new Story().elect('ab').commit();
    story.down(2);
    story.start(2);
    story.node(2).commits(0);
    story.look(2);
    story.down(2);
    story.start(2);
    story.node(2).vote = 0;
    expectViolation('I12 monotonic', () => story.look(2));
  });

  test.each([
    ['full', undefined],
    ['ok', 'I12 monotonic'],
  ] as const)('a term that a disk had no room for goes with the process: disk %s', (storage, violated) => {
    const story = new Story().elect('ab').commit();
    const before = story.node(2).term;
    story.node(2).storage = storage;
    story.node(2).votes(before + 1, 0);
    story.look(2);
    story.down(2);
    story.start(2);
    story.node(2).storage = 'ok';
    story.node(2).votes(before, 1);
    if (violated === undefined) story.look(2);
    else expectViolation(violated, () => story.look(2));
  });
});

describe('I30 assertion', () => {
  test('a node that dies of a bug is found, one that is told to die is not', () => {
    const story = new Story();
    story.down(1);
    expectViolation('I30 assertion', () =>
      story.judge.wentDown(2, { inTurn: true, granted: [], bug: 'Index out of range' }),
    );
  });
});

describe('Invariants', () => {
  test('a long sound run passes, and what no node can contradict is forgotten', () => {
    const story = new Story().elect('').commit();
    for (let round = 0; round < 400; round++) {
      const [leader, ...others] = story.nodes;
      if (leader === undefined) return;
      leader.append(1, 'abcdefghij');
      story.look(1);
      for (const node of others) node.copies(leader);
      story.look();
      for (const node of story.nodes) {
        node.commits(leader.entries.length);
        node.snapshotIndex = node.applied;
        node.first = node.applied - 4;
      }
      story.look();
    }
    expect(story.judge.committed).toBe(4001);
    expect(story.judge.cells).toBeLessThan(10_000);
  });
});
