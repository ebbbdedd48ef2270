/** Sentences of the paper as tests, after etcd's raft_paper_test.go. Sections are of the extended version, 2014. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { RAFT_CONFIG } from '../../src/raft/config.ts';
import type { MessageBody } from '../../src/raft/header.ts';
import { type Entry, type Term, makeEntry } from '../../src/raft/entry.ts';
import type { Input, Message, Output, Role } from '../../src/raft/messages.ts';
import { Raft } from '../../src/raft/raft.ts';
import { type InitialDisk, RaftNetwork } from '../support/raft-network.ts';

const { electionMs, heartbeatMs } = RAFT_CONFIG;

/** One core with a perfect disk; what it sends is collected. */
class Lone {
  readonly raft: Raft;
  sent: Message[] = [];
  outputs: Output[] = [];
  nowMs = 0;

  constructor(options: {
    readonly voters: number;
    readonly terms?: readonly Term[];
    readonly term?: Term;
    readonly vote?: number;
    readonly seed?: number;
  }) {
    const terms = options.terms ?? [];
    this.raft = new Raft({
      id: 1,
      voters: Array.from({ length: options.voters }, (_, i) => i + 1),
      nowMs: 0,
      hard: { term: Math.max(options.term ?? 0, terms.at(-1) ?? 0), vote: options.vote ?? 0, commit: 0 },
      base: { index: 0, term: 0 },
      entries: terms.map((term, i) => entry(i + 1, term)),
      random: new Random(options.seed ?? 1),
    });
  }

  step(input: Input): void {
    this.raft.step(this.nowMs, input);
    for (let output = this.raft.drain(); output !== undefined; output = this.raft.drain()) {
      this.outputs.push(output);
      this.sent.push(...output.send);
      if (output.write !== undefined)
        this.raft.step(this.nowMs, { kind: 'persisted', seq: output.write.seq });
    }
  }

  receive(from: number, term: Term, body: MessageBody): void {
    this.step({ kind: 'message', message: { ...body, from, to: 1, term } });
  }

  /** Lets its timer fire. */
  timeOut(): void {
    this.nowMs = this.raft.deadlineMs;
    this.step({ kind: 'tick' });
  }

  /** Wins pre-votes from everybody and stands in the next term. */
  stand(): void {
    this.step({ kind: 'campaign' });
    const { term } = this.raft.status;
    for (const peer of OTHERS)
      if (this.role === 'preCandidate')
        this.receive(peer, term + 1, { kind: 'voteReply', pre: true, granted: true });
  }

  lead(): void {
    this.stand();
    for (const peer of OTHERS)
      if (this.role === 'candidate')
        this.receive(peer, this.raft.status.term, { kind: 'voteReply', pre: false, granted: true });
    expect(this.role).toBe('leader');
    this.sent = [];
  }

  get role(): Role {
    return this.raft.status.role;
  }
}

/** Every other node of the largest cluster here; those that are not members of a smaller one do not count. */
const OTHERS = [2, 3, 4, 5, 6, 7];

function entry(index: number, term: Term): Entry {
  return makeEntry({ index, term, kind: 'command', payload: utf8(`${index}@${term}`) });
}

/** The deadlines of twenty elections that nobody answers. */
function draws(seed: number): readonly number[] {
  const core = new Lone({ voters: 3, seed });
  return Array.from({ length: 20 }, () => {
    core.timeOut();
    return core.raft.deadlineMs;
  });
}

const AT_ZERO = { index: 0, term: 0 };

describe('§5.1 terms', () => {
  const heartbeat: MessageBody = { kind: 'heartbeat', commit: 0, round: 1 };

  it.each<[Role, (core: Lone) => void]>([
    ['follower', () => undefined],
    ['preCandidate', (core) => core.step({ kind: 'campaign' })],
    ['candidate', (core) => core.stand()],
    ['leader', (core) => core.lead()],
  ])('a %s that hears of a later term becomes its follower', (role, prepare) => {
    const core = new Lone({ voters: 3 });
    prepare(core);
    expect(core.role).toBe(role);
    core.receive(2, 9, heartbeat);
    expect(core.raft.status).toMatchObject({ role: 'follower', term: 9, leader: 2, vote: 0 });
  });

  it('a request of an earlier term is refused, with the term', () => {
    const core = new Lone({ voters: 3, term: 5 });
    core.receive(2, 3, { kind: 'append', prev: AT_ZERO, entries: [entry(1, 3)], commit: 1, round: 1 });
    core.receive(2, 3, { kind: 'vote', pre: false, last: { index: 9, term: 3 } });
    expect(core.raft.status).toMatchObject({ term: 5, last: AT_ZERO, commit: 0 });
    expect(core.sent.map(({ kind, term }) => `${kind}@${term}`)).toEqual(['heartbeatReply@5', 'voteReply@5']);
  });
});

describe('§5.2 leader election', () => {
  it('a node starts as a follower', () => {
    expect(new Lone({ voters: 3 }).role).toBe('follower');
  });

  it('election timeouts are spread over [electionMs, 2 electionMs)', () => {
    const deadlines = Array.from({ length: 400 }, (_, seed) => new Lone({ voters: 3, seed }).raft.deadlineMs);
    expect(Math.min(...deadlines)).toBeGreaterThanOrEqual(electionMs);
    expect(Math.max(...deadlines)).toBeLessThan(2 * electionMs);
    for (let tenth = 0; tenth < 10; tenth++) {
      const from = electionMs * (1 + tenth / 10);
      const here = deadlines.filter((deadline) => deadline >= from && deadline < from + electionMs / 10);
      expect(here.length, `tenth ${tenth}`).toBeGreaterThan(15);
    }
  });

  it('a timeout is drawn once for each reset, not again with every tick (etcd#4887)', () => {
    const core = new Lone({ voters: 3 });
    const { deadlineMs } = core.raft;
    for (core.nowMs = 0; core.nowMs < electionMs; core.nowMs += 10) core.step({ kind: 'tick' });
    expect(core.raft.deadlineMs).toBe(deadlineMs);
    core.receive(2, 1, { kind: 'heartbeat', commit: 0, round: 1 });
    expect(core.raft.deadlineMs).toBeGreaterThanOrEqual(core.nowMs + electionMs);
  });

  it('equal random streams tie for ever, streams of their own do not (P37; etcd#15784)', () => {
    expect(draws(7)).toEqual(draws(7));
    expect(draws(7)).not.toEqual(draws(8));
  });

  it('a follower stands when it hears nothing, first in silence, then in a new term', () => {
    const core = new Lone({ voters: 3, term: 4 });
    core.timeOut();
    expect(core.raft.status).toMatchObject({ role: 'preCandidate', term: 4, vote: 0 });
    core.receive(2, 5, { kind: 'voteReply', pre: true, granted: true });
    expect(core.raft.status).toMatchObject({ role: 'candidate', term: 5, vote: 1 });
    expect(
      core.sent.filter((message) => message.kind === 'vote' && !message.pre).map(({ to }) => to),
    ).toEqual([2, 3]);
  });

  it('heartbeats keep a follower quiet, pre-votes of others do not (P32)', () => {
    const core = new Lone({ voters: 3, term: 1 });
    core.receive(2, 1, { kind: 'heartbeat', commit: 0, round: 1 });
    const { deadlineMs } = core.raft;
    for (core.nowMs = 50; core.nowMs < deadlineMs - 20; core.nowMs += 20)
      core.receive(3, 2, { kind: 'vote', pre: true, last: { index: 9, term: 1 } });
    expect(core.raft.deadlineMs).toBe(deadlineMs);
    expect(core.raft.status).toMatchObject({ vote: 0, term: 1 });
    core.timeOut();
    expect(core.role).toBe('preCandidate');
  });

  it.each([
    // voters, granted, refused, how it ends
    [1, [], [], 'leader'],
    [3, [2, 3], [], 'leader'],
    [3, [2], [], 'leader'],
    [3, [], [], 'candidate'],
    [3, [], [2], 'candidate'],
    [3, [], [2, 3], 'follower'],
    [5, [2, 3], [], 'leader'],
    [5, [2], [3], 'candidate'],
    [5, [2], [3, 4, 5], 'follower'],
    [5, [2, 2, 2, 2], [], 'candidate'],
    [5, [6, 7], [], 'candidate'],
    [4, [2], [], 'candidate'],
    [4, [2, 3], [], 'leader'],
  ] as const)('of %i voters, %j grant and %j refuse: %s', (voters, granted, refused, role) => {
    const core = new Lone({ voters });
    core.stand();
    for (const from of granted) core.receive(from, 1, { kind: 'voteReply', pre: false, granted: true });
    for (const from of refused) core.receive(from, 1, { kind: 'voteReply', pre: false, granted: false });
    expect(core.role).toBe(role);
  });

  it('one vote a term, first come first served', () => {
    for (const [vote, candidate, granted] of [
      [0, 2, true],
      [0, 3, true],
      [2, 2, true],
      [3, 3, true],
      [2, 3, false],
      [3, 2, false],
    ] as const) {
      const core = new Lone({ voters: 3, term: 1, vote });
      core.receive(candidate, 1, { kind: 'vote', pre: false, last: AT_ZERO });
      expect(core.sent).toMatchObject([{ kind: 'voteReply', granted }]);
    }
  });

  it('a candidate that hears the leader of its term follows it', () => {
    const core = new Lone({ voters: 3 });
    core.stand();
    core.receive(2, 1, { kind: 'append', prev: AT_ZERO, entries: [], commit: 0, round: 1 });
    expect(core.raft.status).toMatchObject({ role: 'follower', leader: 2, term: 1 });
  });

  it('a leader sends heartbeats at its interval', () => {
    const core = new Lone({ voters: 3 });
    core.lead();
    for (let beat = 1; beat <= 3; beat++) {
      core.sent = [];
      core.timeOut();
      expect(core.nowMs).toBe(beat * heartbeatMs);
      expect(core.sent.filter(({ kind }) => kind === 'heartbeat').map(({ to }) => to)).toEqual([2, 3]);
    }
  });

  it('a cluster elects a leader in bounded time, whatever the seed', () => {
    for (let seed = 0; seed < 100; seed++) {
      const network = new RaftNetwork({ nodes: 5, seed });
      const settle = (): void => {
        while (network.packets.length > 0) network.deliver(network.packets.slice(0, 1));
      };
      network.advance(10 * electionMs, settle);
      expect(network.leader, `seed ${seed}`).toBeDefined();
    }
  });
});

describe('§5.3 log replication', () => {
  it('a leader opens its term with a no-op and sends each entry behind the one before it', () => {
    const core = new Lone({ voters: 3, terms: [1, 1] });
    core.lead();
    expect(core.raft.status.last).toEqual({ index: 3, term: 2 });
    core.receive(2, 2, { kind: 'appendReply', match: 3, round: 1 });
    core.sent = [];
    core.step({ kind: 'propose', proposals: [{ id: 1, payload: utf8('x') }] });
    expect(core.sent).toMatchObject([{ kind: 'append', to: 2, prev: { index: 3, term: 2 }, commit: 3 }]);
  });

  it.each([
    [1, [], true],
    [3, [], false],
    [3, [2], true],
    [3, [2, 3], true],
    [5, [2], false],
    [5, [2, 3], true],
    [5, [2, 3, 4, 5], true],
    [4, [2], false],
    [4, [2, 3], true],
  ] as const)('of %i voters, %j acknowledge: committed %s', (voters, acknowledge, committed) => {
    const core = new Lone({ voters });
    core.lead();
    for (const from of acknowledge) core.receive(from, 1, { kind: 'appendReply', match: 1, round: 1 });
    expect(core.raft.status.commit).toBe(committed ? 1 : 0);
  });

  it.each([
    // own log 1@1 2@2: where the previous entry is, and what is said
    [0, 0, 'appendReply', 0],
    [1, 1, 'appendReply', 1],
    [2, 2, 'appendReply', 2],
    [1, 2, 'appendReject', 1],
    [3, 3, 'appendReject', 3],
    [2, 1, 'appendReject', 2],
  ] as const)('a follower with 1@1 2@2 asked behind %i@%i says %s', (index, term, kind, where) => {
    const core = new Lone({ voters: 3, terms: [1, 2], term: 3 });
    core.receive(2, 3, { kind: 'append', prev: { index, term }, entries: [], commit: 0, round: 1 });
    expect(core.sent).toMatchObject([
      kind === 'appendReply' ? { kind, match: where } : { kind, rejected: where },
    ]);
  });

  it.each([
    // own log 1@1 2@2; previous, incoming terms, the log afterwards
    [2, 2, [3], [1, 2, 3]],
    [1, 1, [3, 4], [1, 3, 4]],
    [0, 0, [1], [1, 2]],
    [0, 0, [3], [3]],
    [1, 1, [], [1, 2]],
    [1, 1, [2], [1, 2]],
  ] as const)(
    'a follower with 1@1 2@2 given entries behind %i@%i of terms %j has then %j',
    (index, term, more, log) => {
      const core = new Lone({ voters: 3, terms: [1, 2], term: 4 });
      const entries = more.map((of, i) => entry(index + 1 + i, of));
      core.receive(2, 4, { kind: 'append', prev: { index, term }, entries, commit: 0, round: 1 });
      expect(core.raft.tail(10).map((own) => own.term)).toEqual(log);
    },
  );

  it('a follower commits as far as the leader has and as the append verified', () => {
    for (const [count, leaderCommit, commit] of [
      [2, 1, 1],
      [2, 2, 2],
      [2, 9, 2],
      [1, 2, 1],
    ] as const) {
      const core = new Lone({ voters: 3, term: 1 });
      const entries = [entry(1, 1), entry(2, 1)].slice(0, count);
      core.receive(2, 1, { kind: 'append', prev: AT_ZERO, entries, commit: leaderCommit, round: 1 });
      expect(core.raft.status.commit).toBe(commit);
    }
  });

  it('hard state and entries come in one write, so that no entry is durable before its term (P19)', () => {
    const core = new Lone({ voters: 3, terms: [1] });
    core.receive(2, 5, {
      kind: 'append',
      prev: { index: 1, term: 1 },
      entries: [entry(2, 5)],
      commit: 0,
      round: 1,
    });
    const writes = core.outputs.flatMap(({ write }) => (write === undefined ? [] : [write]));
    expect(writes).toMatchObject([{ seq: 1, hard: { term: 5, vote: 0 }, append: { after: 1 } }]);
  });

  // The leader of term 8 in Figure 7 and its followers (a) to (f).
  const LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  it.each<[string, readonly Term[], number]>([
    ['a', [1, 1, 1, 4, 4, 5, 5, 6, 6], 1],
    ['b', [1, 1, 1, 4], 1],
    ['c', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6], 0],
    ['d', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], 0],
    ['e', [1, 1, 1, 4, 4, 4, 4], 2],
    ['f', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 3],
  ])(
    'Figure 7 (%s): the follower ends with the leader’s log after few rejections',
    (_name, terms, rejectionsMax) => {
      // Two more nodes have the leader's log, so that it wins.
      const disks = new Map<number, InitialDisk>([
        [1, { terms: LEADER, term: 7 }],
        [2, { terms, term: 7 }],
        [3, { terms: LEADER, term: 7 }],
      ]);
      let rejections = 0;
      const network = new RaftNetwork({
        nodes: 3,
        seed: 1,
        disks,
        onHappening: (happening) => {
          if (happening.kind === 'event' && happening.event.kind === 'reject') rejections += 1;
        },
      });
      network.step(1, { kind: 'campaign' });
      while (network.packets.length > 0) network.deliver(network.packets.slice(0, 1));
      expect(network.leader?.id).toBe(1);
      expect(network.node(2).memory.entries.map(({ term }) => term)).toEqual([...LEADER, 8]);
      expect(network.node(2).memory.last.hash).toBe(network.node(1).memory.last.hash);
      expect(rejections).toBeLessThanOrEqual(rejectionsMax);
    },
  );
});

describe('§5.4.1 election restriction', () => {
  it.each([
    // own log, the candidate's last position, granted
    [[1], 1, 1, true],
    [[1], 1, 2, true],
    [[1, 1], 1, 2, true],
    [[1], 2, 1, true],
    [[1, 1], 1, 1, false],
    [[2], 1, 1, false],
    [[2], 2, 1, false],
    [[1, 2], 2, 1, false],
  ] as const)('a voter with log %j asked by a candidate at %i@%i: %s', (terms, index, term, granted) => {
    for (const pre of [false, true]) {
      const core = new Lone({ voters: 3, terms });
      core.receive(2, 3, { kind: 'vote', pre, last: { index, term } });
      expect(core.sent).toMatchObject([{ kind: 'voteReply', pre, granted }]);
    }
  });
});

describe('§5.4.2 entries of earlier terms', () => {
  it.each([
    [1, 0],
    [2, 0],
    [3, 3],
  ])('a majority at entry %i of 1@1 2@2 3@3 (no-op): commit index %i', (match, commit) => {
    const core = new Lone({ voters: 3, terms: [1, 2] });
    core.lead();
    core.receive(2, 3, { kind: 'appendReply', match, round: 1 });
    expect(core.raft.status.commit).toBe(commit);
  });
});
