/** What a core does when its disk fails or hangs, where a script is too coarse. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { type Entry, makeEntry } from '../../src/raft/entry.ts';
import { type MessageBody, withHeader } from '../../src/raft/header.ts';
import { bootstrapConfig } from '../../src/raft/membership.ts';
import type { Message } from '../../src/raft/messages.ts';
import { Raft, type RaftOptions } from '../../src/raft/raft.ts';

function follower(options: Partial<RaftOptions> = {}): Raft {
  return new Raft({
    id: 1,
    voters: [1, 2, 3],
    nowMs: 0,
    hard: { term: 1, vote: 0, commit: 0 },
    base: { index: 0, term: 0 },
    entries: [],
    random: new Random(1),
    ...options,
  });
}

describe('a disk that fails', () => {
  it('leaves nothing to apply of what it was never given (sim --profile core --seed 2694)', () => {
    const raft = follower();
    const entries = [makeEntry({ term: 1, index: 1, kind: 'command', payload: utf8('x') })];
    const header = { from: 2, to: 1, term: 1 };
    const prev = { index: 0, term: 0 };
    raft.step(1, {
      kind: 'message',
      message: { ...header, kind: 'append', prev, entries, commit: 1, round: 1 },
    });
    raft.step(1, { kind: 'persistFailed' });
    expect(raft.drain()).toBeUndefined();
  });
});

function entry(term: number, index: number): Entry {
  return makeEntry({ term, index, kind: 'command', payload: utf8(`${index}`) });
}

describe('a write with a snapshot', () => {
  it('lets the disk keep nothing that an earlier one of the same turn has replaced (sim --seed 157944)', () => {
    const raft = follower({ entries: [1, 2, 3, 4, 5].map((index) => entry(1, index)) });
    const config = bootstrapConfig([1, 2, 3]);
    const snapshot = (index: number): void =>
      raft.step(1, {
        kind: 'snapshotArrived',
        snapshot: { from: 2, term: 2, position: { index, term: 2 }, config },
      });
    const header = { kind: 'append', from: 2, to: 1, term: 2, round: 1, commit: 2 } as const;
    snapshot(2);
    const prev = { index: 2, term: 2 };
    raft.step(1, { kind: 'message', message: { ...header, prev, entries: [entry(2, 3), entry(2, 4)] } });
    snapshot(3);
    expect(raft.drain()?.write).toMatchObject({
      snapshot: { position: { index: 3, term: 2 }, keepLog: false },
      append: { after: 3, entries: [{ index: 4, term: 2 }] },
    });
  });
});

/** A follower with one entry on its way to the disk, told `count` times more what it knows. @returns what it says then */
function saidAfterHang(leaseReads: boolean, count: number, again: (round: number) => MessageBody): Message[] {
  const raft = follower({
    hard: { term: 0, vote: 0, commit: 0 },
    config: { leaseReads, storageStallMs: Infinity },
  });
  const said: Message[] = [];
  const hear = (nowMs: number, body: MessageBody): void => {
    raft.step(nowMs, { kind: 'message', message: withHeader(body, 2, 1, 1) });
    for (let output = raft.drain(); output !== undefined; output = raft.drain()) said.push(...output.send);
  };
  const entries = [makeEntry({ term: 1, index: 1, kind: 'command', payload: utf8('x') })];
  hear(1, { kind: 'append', prev: { index: 0, term: 0 }, entries, commit: 0, round: 1 });
  for (let round = 2; round <= count; round++) hear(round, again(round));
  expect(said).toEqual([]);
  raft.step(count, { kind: 'persisted', seq: 1 });
  for (let output = raft.drain(); output !== undefined; output = raft.drain()) said.push(...output.send);
  return said;
}

/** Nothing new behind the entry at `index`. */
function probe(index: number, round: number): MessageBody {
  return { kind: 'append', prev: { index, term: index }, entries: [], commit: 0, round };
}

function heartbeat(round: number): MessageBody {
  return { kind: 'heartbeat', commit: 0, round };
}

describe('a disk that hangs', () => {
  it('gathers no answer for each message that a leader repeats', () => {
    const header = { from: 1, to: 2, term: 1 };
    const acknowledged = { ...header, kind: 'appendReply', match: 1, round: 1000 };
    expect(saidAfterHang(false, 1000, (round) => probe(1, round))).toEqual([acknowledged]);
    // A new node answers nothing before its disk does, when leases rest on its answers.
    expect(saidAfterHang(true, 1000, heartbeat)).toEqual([
      { ...acknowledged, round: 1 },
      { ...header, kind: 'heartbeatReply', round: 1000 },
    ]);
  });

  it('loses nothing of two acknowledgements that come in the wrong order', () => {
    const said = saidAfterHang(false, 3, (round) => (round === 2 ? probe(0, 2) : probe(1, 1)));
    expect(said).toMatchObject([{ kind: 'appendReply', match: 1, round: 2 }]);
  });

  it('counts from when the write was handed out, and for the slowest of several', () => {
    const raft = follower();
    const heard = { from: 2, to: 1, term: 2 };
    raft.step(0, { kind: 'message', message: { ...heard, kind: 'heartbeat', commit: 0, round: 1 } });
    expect(raft.drain()?.write?.seq).toBe(1);
    raft.step(400, {
      kind: 'message',
      message: { ...heard, term: 3, kind: 'heartbeat', commit: 0, round: 1 },
    });
    expect(raft.drain()?.write?.seq).toBe(2);
    raft.step(501, { kind: 'persisted', seq: 1 });
    expect(raft.drain()?.events).toMatchObject([{ kind: 'stall', why: 'its disk took 501 ms for a write' }]);
    raft.step(900, { kind: 'persisted', seq: 2 });
    expect(raft.drain()).toBeUndefined();
  });
});
