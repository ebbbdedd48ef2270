/** The parts of the simulator of the core, each by itself. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/lib/random.ts';
import { makeEntry } from '../../../src/raft/entry.ts';
import { bootstrapConfig, encodeConfig } from '../../../src/raft/membership.ts';
import type { Write } from '../../../src/raft/messages.ts';
import { ModelDisk } from '../../../src/sim/core/disk.ts';
import { isQuorum, whenPromoted } from '../../../src/sim/core/majority.ts';
import { ModelLog } from '../../../src/sim/core/model-log.ts';
import { SimNode } from '../../../src/sim/core/node.ts';
import { EventQueue, SimEvent } from '../../../src/sim/core/queue.ts';
import { Requests } from '../../../src/sim/core/requests.ts';

const founders = bootstrapConfig([1, 2, 3]);

function entry(index: number, term: number, text = 'abcd') {
  return makeEntry({ index, term, kind: 'command', payload: new TextEncoder().encode(text) });
}

function write(seq: number, after: number, ...entries: readonly ReturnType<typeof entry>[]): Write {
  const term = entries.at(-1)?.term ?? 1;
  const index = after + entries.length;
  return {
    seq,
    mark: { accTerm: term, index },
    hard: { term, vote: 0, commit: 0 },
    append: { after, entries },
  };
}

/** A core tells of its members. */
const members = (index: number, phase: 'appended' | 'rolledBack' | 'committed', ...voters: number[]) =>
  ({ kind: 'config', phase, index, config: bootstrapConfig(voters), why: 'told' }) as const;

/** Exactly these nodes agree. */
const agree =
  (...ids: readonly number[]) =>
  (id: number): boolean =>
    ids.includes(id);

const at = (committed: Readonly<Record<number, number>>) => (index: number) => committed[index];

const committed = (id: number | undefined, index: number) =>
  ({ id: id ?? 0, ok: true, kind: 'committed', index }) as const;

describe('EventQueue', () => {
  it('gives events by time, and those of one time by their draw', () => {
    const random = new Random('queue');
    const queue = new EventQueue();
    const events = Array.from(
      { length: 500 },
      () => new SimEvent(random.int(0, 40), random.uint32(), 'call', 0, 0, undefined, undefined),
    );
    for (const event of events) queue.push(event);
    const order = events.toSorted((a, b) => a.atMs - b.atMs || a.tie - b.tie);
    expect(events.map(() => queue.pop())).toEqual(order);
    expect(queue.pop()).toBeUndefined();
    expect(queue.length).toBe(0);
  });
});

describe('ModelLog', () => {
  it('hashes the whole log: equal logs agree, a difference anywhere before does not', () => {
    const one = new ModelLog(founders);
    const two = new ModelLog(founders);
    const other = new ModelLog(founders);
    for (const log of [one, two, other]) log.push(entry(1, 1, log === other ? 'efgh' : 'abcd'));
    for (const log of [one, two, other]) log.push(entry(2, 2));
    expect(one.lastHash).toBe(two.lastHash);
    expect(one.lastHash).not.toBe(other.lastHash);
    expect(one.hashAt(3)).toBeUndefined();
  });

  it('replaces, forgets and copies without losing the hash', () => {
    const log = new ModelLog(founders);
    expect(log.write(write(1, 0, entry(1, 1), entry(2, 1), entry(3, 1)), undefined)).toBe(0);
    expect(log.write(write(2, 1, entry(2, 2)), undefined)).toBe(1);
    const { lastHash } = log;
    log.compact(1);
    expect([log.baseIndex, log.lastIndex, log.lastTerm, log.termAt(1)]).toEqual([1, 2, 2, 1]);
    expect(log.copy().lastHash).toBe(lastHash);
    expect(() => log.push(entry(9, 2))).toThrow('A gap in the log');
  });

  it('knows the configuration in effect, also when its entry is cut', () => {
    const log = new ModelLog(founders);
    const config = bootstrapConfig([1, 2]);
    const change = makeEntry({ index: 2, term: 1, kind: 'config', payload: encodeConfig(config) });
    log.write(write(1, 0, entry(1, 1), change, entry(3, 1)), undefined);
    expect([log.config.voters, log.configIndex]).toEqual([[1, 2], 2]);
    log.write(write(2, 1, entry(2, 2)), undefined);
    expect([log.config.voters, log.configIndex]).toEqual([[1, 2, 3], 0]);
  });
});

describe('ModelDisk', () => {
  it('has what was synced, and loses the rest with the power', () => {
    const disk = new ModelDisk(founders);
    disk.give(write(1, 0, entry(1, 1)), undefined);
    disk.give(write(2, 1, entry(2, 3)), undefined);
    expect(disk.log.lastIndex).toBe(0);
    expect(disk.sync().kept).toBe(0);
    expect([disk.log.lastIndex, disk.hard.term, disk.outstanding]).toEqual([1, 1, 1]);
    disk.lose();
    expect([disk.log.lastIndex, disk.hard.term, disk.outstanding]).toEqual([1, 1, 0]);
  });
});

describe('isQuorum()', () => {
  it('wants a majority of the voters, and of the outgoing ones too', () => {
    expect(isQuorum(founders, agree(1, 2))).toBe(true);
    expect(isQuorum(founders, agree(1))).toBe(false);
    expect(isQuorum(bootstrapConfig([1, 2]), agree(1))).toBe(false);
    const joint = { ...bootstrapConfig([3, 4, 5]), outgoing: [1, 2, 3] };
    expect(isQuorum(joint, agree(3, 4, 5))).toBe(false);
    expect(isQuorum(joint, agree(1, 2, 3))).toBe(false);
    expect(isQuorum(joint, agree(1, 3, 4))).toBe(true);
    expect(isQuorum(bootstrapConfig([]), agree())).toBe(false);
  });
});

describe('whenPromoted()', () => {
  it('counts a learner with a promise as a voter, once', () => {
    const config = { ...founders, learners: [4, 5], promoting: [4] };
    expect(whenPromoted(config).voters).toEqual([1, 2, 3, 4]);
    // Two of three are no majority of four.
    expect(isQuorum(whenPromoted(config), agree(1, 2))).toBe(false);
    expect(whenPromoted({ ...config, voters: [1, 2, 3, 4] }).voters).toEqual([1, 2, 3, 4]);
  });
});

describe('SimNode', () => {
  it('goes by the members it was told of last, and by none from before a snapshot that came with them', () => {
    const node = new SimNode(1, founders);
    node.told(members(7, 'appended', 1, 2), undefined);
    expect(node.effective.voters).toEqual([1, 2]);
    node.told(members(9, 'committed', 1), undefined);
    expect(node.effective.voters).toEqual([1, 2]);
    node.told(members(9, 'rolledBack', 3), 9);
    expect(node.effective.voters).toEqual([1, 2]);
    node.told(members(10, 'appended', 4), 9);
    expect(node.effective.voters).toEqual([4]);
    // Back to the founders, who stand before every entry.
    node.told(members(0, 'rolledBack', 1, 2, 3), undefined);
    expect(node.effective.voters).toEqual([1, 2, 3]);
  });
});

describe('Requests', () => {
  it('sees a read that is behind what was committed before it', () => {
    const requests = new Requests();
    const { id } = requests.begin('read', 1, 7);
    expect(() => requests.settle(1, { id, ok: true, kind: 'readable', index: 6 }, at({}))).toThrow(
      'sees the log up to 6, but 7 was committed before it began',
    );
  });

  it('sees an answer that is given twice, by another node, of another kind, or not true', () => {
    const requests = new Requests();
    const [one, two, three, four] = [1, 2, 3, 4].map(() => requests.begin('propose', 1, 0).id);
    requests.settle(1, committed(one, 5), at({ 5: 1 }));
    expect(() => requests.settle(1, committed(one, 5), at({ 5: 1 }))).toThrow('answered twice');
    expect(() => requests.settle(2, committed(two, 6), at({ 6: 2 }))).toThrow('which went to n1');
    expect(() => requests.settle(1, committed(two, 6), at({ 6: 9 }))).toThrow('where 9 is');
    expect(() =>
      requests.settle(1, { id: three ?? 0, ok: true, kind: 'readable', index: 1 }, at({})),
    ).toThrow('was answered readable');
    requests.settle(1, { id: four ?? 0, ok: false, reason: { kind: 'notLeader', leader: 0 } }, at({}));
    expect(() => requests.committed(four ?? 0, 8)).toThrow('was refused and is committed');
  });
});
