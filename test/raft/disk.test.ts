/** What a core does when its disk fails or hangs, where a script is too coarse. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import { Raft } from '../../src/raft/raft.ts';

function follower(): Raft {
  return new Raft({
    id: 1,
    voters: [1, 2, 3],
    nowMs: 0,
    hard: { term: 1, vote: 0, commit: 0 },
    base: { index: 0, term: 0 },
    entries: [],
    random: new Random(1),
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

describe('a disk that hangs', () => {
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
