/** Members come and go: whole nodes in virtual time, from the request of a client to the hello of a stranger. */
import { describe, expect, test } from 'vitest';
import { assert, defined } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Envelope, NodeStatus, Reply } from '../../src/net/protocol.ts';
import type { MemberChange } from '../../src/raft/membership.ts';
import { NodeNetwork } from '../support/node-network.ts';
import { Solo } from './solo.ts';

const add = (node: number): MemberChange => ({ kind: 'add', node, address: `host-${node}:1` });
const remove = (node: number): MemberChange => ({ kind: 'remove', node });

/** Three founders with a leader; further nodes wait. */
function network(seed: number, waiting = 0, snapshotEntries = 100_000): NodeNetwork {
  const made = new NodeNetwork({ nodes: 3, seed, snapshotEntries });
  for (let i = 0; i < waiting; i++) made.join();
  expect(made.runUntil(() => made.leader !== undefined, 5000)).toBe(true);
  return made;
}

function statusOf(made: NodeNetwork, id: number): NodeStatus {
  return made.host(id).running.status();
}

function leaderOf(made: NodeNetwork): number {
  expect(made.runUntil(() => made.leader !== undefined, 5000)).toBe(true);
  return defined(made.leader, 'leader').id;
}

/** Asks a node, again while another change is under way. */
function change(made: NodeNetwork, at: number, ...changes: readonly MemberChange[]): Reply {
  for (;;) {
    const reply = made.ask(at, { kind: 'changeMembers', changes });
    if (reply.kind !== 'error' || reply.code !== 'change_pending') return reply;
    made.run(made.nowMs + 50);
  }
}

function set(made: NodeNetwork, at: number, key: string, value = `of ${key}`): void {
  expect(made.ask(at, { kind: 'set', key: utf8(key), value: utf8(value) })).toMatchObject({
    kind: 'ok',
  });
}

function get(made: NodeNetwork, at: number, key: string): Reply {
  return made.ask(at, { kind: 'get', key: utf8(key) });
}

/** Runs until everybody who is up and a member agrees on these voters alone, and has everything. */
function settle(made: NodeNetwork, voters: readonly number[]): void {
  const isSettled = (): boolean =>
    made.up
      .filter((host) => voters.includes(host.id))
      .every(({ running }) => {
        const { config, configIndex, commit, applied } = running.status().raft;
        const isPlain = config.outgoing.length === 0 && config.learners.length === 0;
        return (
          isPlain && String(config.voters) === String(voters) && commit >= configIndex && applied === commit
        );
      });
  expect(made.runUntil(isSettled, 10_000)).toBe(true);
}

function textsOf(made: NodeNetwork, id: number, kind: string): readonly string[] {
  const { events } = made.host(id).running.takeEvents();
  return events.filter((event) => event.kind === kind).map(({ text }) => text);
}

/** Ends a node, and waits until the others have a leader that they know. */
function crash(made: NodeNetwork, id: number): void {
  made.crash(id);
  leaderOf(made);
  made.run(made.nowMs + 200);
}

function other(than: number): number {
  return than === 1 ? 2 : 1;
}

describe('a change of members', () => {
  test.each([1, 2, 3])('adds a node that waits, whichever node is asked: n%i', (at) => {
    const made = network(at, 1);
    set(made, 1, 'before');
    made.run(made.nowMs + 2000);
    expect(statusOf(made, 4).raft).toMatchObject({ role: 'follower', term: 0, commit: 0 });
    expect(statusOf(made, 4).members).toEqual([]);
    expect(change(made, at, add(4)).kind).toBe('ok');
    settle(made, [1, 2, 3, 4]);
    set(made, 4, 'after');
    expect(get(made, 4, 'before')).toEqual({ kind: 'value', value: utf8('of before') });
    const members = statusOf(made, 4).members.map(({ id, standing, address }) => [id, standing, address]);
    expect(members).toEqual([
      [1, 'voter', ''],
      [2, 'voter', ''],
      [3, 'voter', ''],
      [4, 'voter', 'host-4:1'],
    ]);
    // It counts: with it, one of the others may go.
    crash(made, at);
    set(made, 4, 'with three');
    made.crash(other(at));
    expect(made.ask(4, { kind: 'get', key: utf8('x') })).toMatchObject({ code: 'unavailable' });
  });

  test('refuses what makes no sense, with a code of its own', () => {
    const made = network(4, 1);
    const codes = [
      change(made, 1, add(2)),
      change(made, 2, remove(9)),
      change(made, 3, remove(1), remove(2), remove(3)),
      change(made, 1),
      change(made, 1, remove(2), add(2)),
      change(made, 1, { kind: 'promote', node: 1 }),
      change(made, 1, ...Array.from({ length: 13 }, (_, i) => add(4 + i))),
    ].map((reply) => (reply.kind === 'error' ? reply.code : reply.kind));
    expect(codes).toEqual([
      'already_member',
      'not_member',
      'cannot_remove_last_server',
      'bad_request',
      'bad_request',
      'already_member',
      'too_many_members',
    ]);
    expect(statusOf(made, 1).raft.configIndex).toBe(0);
  });

  test('removes the leader, and the one who asked it still gets its answer', () => {
    for (const seed of [5, 6, 7]) {
      const made = network(seed);
      const leader = leaderOf(made);
      const asked = other(leader);
      const write = made.submit(asked, { kind: 'set', key: utf8('k'), value: utf8('v') });
      expect(change(made, asked, remove(leader)).kind).toBe('ok');
      expect(made.runUntil(() => write.outcome !== undefined, 5000)).toBe(true);
      expect(write.outcome).toMatchObject({ kind: 'ok' });
      const rest = [1, 2, 3].filter((id) => id !== leader);
      settle(made, rest);
      expect(leaderOf(made)).not.toBe(leader);
      expect(statusOf(made, leader).members.map(({ id }) => id)).toEqual(rest);
      made.run(made.nowMs + 3000);
      expect(statusOf(made, leader).raft.role).toBe('follower');
      const { term } = statusOf(made, asked).raft;
      made.run(made.nowMs + 3000);
      expect(statusOf(made, asked).raft.term).toBe(term);
    }
  });

  test('is unknown to whoever asked a leader that was lost, and may be asked for again', () => {
    const made = network(8, 1);
    const leader = leaderOf(made);
    made.run(made.nowMs + 500);
    const asked = other(leader);
    made.onSend = (_from, _to, envelopes) => envelopes.filter(({ kind }) => kind !== 'forwarded');
    const submission = made.submit(asked, { kind: 'changeMembers', changes: [add(4)] });
    made.run(made.nowMs + 3);
    made.crash(leader);
    made.onSend = (_from, _to, envelopes) => envelopes;
    expect(made.runUntil(() => submission.outcome !== undefined, 10_000)).toBe(true);
    expect(submission.outcome).toMatchObject({ kind: 'error', code: 'unknown' });
    const again = change(made, asked, add(4));
    expect(again.kind === 'ok' || (again.kind === 'error' && again.code === 'already_member')).toBe(true);
    made.start(leader);
    settle(made, [1, 2, 3, 4]);
  });

  test('adds one node and removes another in one step', () => {
    const made = network(9, 1);
    expect(change(made, 1, { kind: 'addLearner', node: 4, address: '' }).kind).toBe('ok');
    expect(made.runUntil(() => statusOf(made, 4).raft.commit > 1, 5000)).toBe(true);
    expect(statusOf(made, leaderOf(made)).members[3]).toMatchObject({ id: 4, standing: 'learner' });
    expect(change(made, 1, { kind: 'promote', node: 4 }, remove(2)).kind).toBe('ok');
    settle(made, [1, 3, 4]);
  });

  test('reaches a node that slept while everybody it knew was replaced', () => {
    const made = network(10, 2);
    const sleeper = other(leaderOf(made));
    made.crash(sleeper);
    const old = [1, 2, 3].filter((id) => id !== sleeper);
    const [first = 0, second = 0] = old;
    for (const id of [4, 5]) expect(change(made, first, add(id)).kind).toBe('ok');
    const grown = [1, 2, 3, 4, 5];
    settle(made, grown);
    expect(change(made, 4, remove(first)).kind).toBe('ok');
    expect(change(made, 4, remove(second)).kind).toBe('ok');
    const voters = grown.filter((id) => !old.includes(id));
    settle(made, voters);
    for (const id of old) made.crash(id);
    made.start(sleeper);
    // Its log knows neither of the two that are left, and one of them leads.
    settle(made, voters);
    set(made, sleeper, 'awake');
  });

  test('reaches a node by a snapshot, and with it the addresses of all', () => {
    const made = network(11, 1, 20);
    const sleeper = other(leaderOf(made));
    made.crash(sleeper);
    expect(change(made, other(sleeper), add(4)).kind).toBe('ok');
    settle(made, [1, 2, 3, 4]);
    for (let i = 0; i < 60; i++) set(made, 4, 'k', `${i}`);
    expect(made.runUntil(() => statusOf(made, leaderOf(made)).raft.first > 20, 5000)).toBe(true);
    made.start(sleeper);
    settle(made, [1, 2, 3, 4]);
    expect(statusOf(made, sleeper).raft.first).toBeGreaterThan(1);
    expect(statusOf(made, sleeper).members[3]).toMatchObject({ id: 4, address: 'host-4:1' });
    made.crash(sleeper);
    made.start(sleeper);
    expect(statusOf(made, sleeper).members[3]).toMatchObject({ id: 4, address: 'host-4:1' });
    settle(made, [1, 2, 3, 4]);
  });
});

describe('handing leadership over', () => {
  test('gives it to the node that is named, whichever node is asked', () => {
    const made = network(18);
    for (const [asked, to] of [
      [1, 3],
      [1, 2],
      [2, 1],
      [3, 3],
      // There already: as asked again after an answer that was lost.
      [1, 3],
    ] as const) {
      expect(made.ask(asked, { kind: 'transferLeader', to })).toEqual({ kind: 'leader', leader: to });
      made.run(made.nowMs + 300);
      expect(leaderOf(made)).toBe(to);
    }
  });

  test('gives it to another node when none is named', () => {
    const made = network(19);
    const before = leaderOf(made);
    const reply = made.ask(before, { kind: 'transferLeader', to: 0 });
    expect(reply).toEqual({ kind: 'leader', leader: leaderOf(made) });
    expect(leaderOf(made)).not.toBe(before);
  });

  test('is refused with a reason', () => {
    const made = network(20, 1);
    expect(made.ask(1, { kind: 'transferLeader', to: 9 })).toMatchObject({ code: 'not_member' });
    expect(change(made, 1, { kind: 'addLearner', node: 4, address: '' }).kind).toBe('ok');
    expect(made.ask(1, { kind: 'transferLeader', to: 4 })).toMatchObject({ code: 'bad_request' });
    const down = other(leaderOf(made));
    made.crash(down);
    expect(made.ask(leaderOf(made), { kind: 'transferLeader', to: down })).toMatchObject({
      code: 'unknown',
    });
    set(made, leaderOf(made), 'goes on');
  });
});

describe('compact', () => {
  test('saves a snapshot now, lets the whole log go, and loses nothing', () => {
    const made = network(21);
    for (let i = 0; i < 10; i++) set(made, 1, `k${i}`);
    made.run(made.nowMs + 200);
    const { commit } = statusOf(made, 1).raft;
    expect(made.ask(1, { kind: 'compact' })).toEqual({ kind: 'ok', index: commit });
    expect(statusOf(made, 1)).toMatchObject({ snapshotIndex: commit, raft: { first: commit + 1 } });
    expect(made.ask(1, { kind: 'compact' })).toEqual({ kind: 'ok', index: commit });
    expect(statusOf(made, 2).snapshotIndex).toBe(0);
    made.crash(1);
    made.start(1);
    made.run(made.nowMs + 1000);
    expect(get(made, 1, 'k7')).toEqual({ kind: 'value', value: utf8('of k7') });
  });

  test('answers everybody who asks at once, also before anything was written', () => {
    const made = new NodeNetwork({ nodes: 1, seed: 22 });
    const asked = [1, 2, 3].map(() => made.submit(1, { kind: 'compact' }));
    made.run(3000);
    expect(asked.map(({ outcome }) => outcome)).toEqual(asked.map(() => ({ kind: 'ok', index: 0 })));
  });
});

describe('a data directory', () => {
  test('knows whom the cluster began with, whatever the node is told when it starts again', () => {
    const { fs } = new Solo();
    const again = new Solo({ fs, voters: [1] });
    expect(again.node.status().raft.config.voters).toEqual([1, 2, 3]);
    again.turn(10_000);
    expect(again.node.status().raft.role).toBe('preCandidate');
    const waiting = new Solo({ voters: [] });
    expect(new Solo({ fs: waiting.fs }).node.status().raft.config.voters).toEqual([]);
  });
});

describe('a node that is no member any more', () => {
  test('is told so when it comes back, and keeps quiet', () => {
    const made = network(12);
    const leader = leaderOf(made);
    const gone = other(leader);
    made.crash(gone);
    expect(change(made, leader, remove(gone)).kind).toBe('ok');
    made.start(gone);
    made.run(made.nowMs + 1000);
    expect(textsOf(made, gone, 'refused')).toContain(
      `is refused by n${leader}: n${gone} is no longer a member of this cluster`,
    );
    expect(textsOf(made, leader, 'refuse')).toEqual([
      `refuses n${gone}: n${gone} is no longer a member of this cluster`,
    ]);
    const { term } = statusOf(made, leader).raft;
    expect(votesAskedBy(made, gone, () => made.run(made.nowMs + 5000))).toBe(0);
    expect(statusOf(made, leader).raft).toMatchObject({ role: 'leader', term });
    expect(hellosOf(made, () => made.run(made.nowMs + 5000))).toBe(0);
  });

  test('is told so also when it was cut off meanwhile, on the connection it always had', () => {
    const made = network(13);
    const leader = leaderOf(made);
    const gone = other(leader);
    made.isolate(gone);
    expect(change(made, leader, remove(gone)).kind).toBe('ok');
    made.run(made.nowMs + 10_000);
    made.heal();
    made.run(made.nowMs + 3000);
    expect(textsOf(made, gone, 'refused').at(-1)).toContain('is no longer a member of this cluster');
    expect(votesAskedBy(made, gone, () => made.run(made.nowMs + 5000))).toBe(0);
  });

  test('may be added again as it is', () => {
    const made = network(14);
    const leader = leaderOf(made);
    const gone = other(leader);
    expect(change(made, leader, remove(gone)).kind).toBe('ok');
    made.run(made.nowMs + 1000);
    expect(change(made, leader, add(gone)).kind).toBe('ok');
    settle(made, [1, 2, 3]);
    crash(made, leader);
    set(made, gone, 'again');
  });
});

describe('a node that lost its directory', () => {
  test('stays out and quiet until it is removed and added again, and then counts', () => {
    const made = network(15);
    const leader = leaderOf(made);
    set(made, leader, 'a');
    const lost = other(leader);
    made.wipe(lost);
    made.start(lost);
    made.run(made.nowMs + 3000);
    expect(textsOf(made, lost, 'refused')[0]).toContain(`remove n${lost} and add it again`);
    expect(votesAskedBy(made, lost, () => made.run(made.nowMs + 3000))).toBe(0);
    expect(statusOf(made, lost).raft.commit).toBe(0);
    expect(change(made, leader, remove(lost)).kind).toBe('ok');
    expect(change(made, leader, add(lost)).kind).toBe('ok');
    settle(made, [1, 2, 3]);
    expect(get(made, lost, 'a')).toEqual({ kind: 'value', value: utf8('of a') });
    const third = [1, 2, 3].find((id) => id !== lost && id !== leader) ?? 0;
    crash(made, third);
    set(made, leader, 'with it');
    // And it is not forgotten once more.
    made.start(third);
    made.wipe(lost);
    made.start(lost);
    made.run(made.nowMs + 2000);
    expect(textsOf(made, third, 'refuse').at(-1)).toContain('new data directory');
  });

  test('does not count with an acknowledgement of its earlier life', () => {
    const made = network(16);
    const leader = leaderOf(made);
    const lost = other(leader);
    let late: readonly Envelope[] = [];
    made.onSend = (from, to, envelopes) => {
      const isAck = envelopes.some(
        ({ kind, ...rest }) => kind === 'raft' && JSON.stringify(rest).includes('"appendReply"'),
      );
      if (from === lost && to === leader && isAck) late = envelopes;
      return envelopes;
    };
    for (let i = 0; i < 50; i++) set(made, leader, `k${i}`);
    made.onSend = (_from, _to, envelopes) => envelopes;
    expect(late).not.toEqual([]);
    made.wipe(lost);
    expect(change(made, leader, remove(lost)).kind).toBe('ok');
    expect(change(made, leader, { kind: 'addLearner', node: lost, address: '' }).kind).toBe('ok');
    made.host(leader).running.receive(lost, late);
    made.run(made.nowMs + 100);
    const progress = statusOf(made, leader).raft.peers.find(({ id }) => id === lost);
    assert(progress !== undefined, 'The learner has no progress');
    expect(progress.match).toBe(0);
    made.start(lost);
    made.host(leader).running.receive(lost, late);
    expect(made.runUntil(() => statusOf(made, lost).raft.commit > 50, 5000)).toBe(true);
  });
});

describe('hellos', () => {
  test.each([0, 1, 2, 3, 4, 5, 6])(
    'end when both sides know, although hello %i of a link is lost',
    (lostIndex) => {
      const made = new NodeNetwork({ nodes: 3, seed: 17 });
      let count = 0;
      made.onSend = (from, to, envelopes) => {
        if (from !== 1 || to !== 2 || !envelopes.some(({ kind }) => kind === 'hello')) return envelopes;
        return count++ === lostIndex ? undefined : envelopes;
      };
      made.run(3000);
      expect(made.leader).toBeDefined();
      expect(hellosOf(made, () => made.run(6000))).toBe(0);
    },
  );
});

/** How many votes a node asks for while `run` runs. */
function votesAskedBy(made: NodeNetwork, id: number, run: () => void): number {
  let count = 0;
  made.onSend = (from, _to, envelopes) => {
    if (from !== id) return envelopes;
    for (const envelope of envelopes)
      if (envelope.kind === 'raft' && envelope.message.kind === 'vote') count += 1;
    return envelopes;
  };
  run();
  return count;
}

/** How many hellos are sent while `run` runs. */
function hellosOf(made: NodeNetwork, run: () => void): number {
  let count = 0;
  made.onSend = (_from, _to, envelopes) => {
    count += envelopes.filter(({ kind }) => kind === 'hello').length;
    return envelopes;
  };
  run();
  return count;
}
