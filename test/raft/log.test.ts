/** The log: what a write says of it, and which finished writes count as durable. */
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import type { Entry } from '../../src/raft/entry.ts';
import { makeEntry } from '../../src/raft/entry.ts';
import { RaftLog } from '../../src/raft/log.ts';
import { bootstrapConfig } from '../../src/raft/membership.ts';

const START = { index: 0, term: 0 };
const CONFIG = bootstrapConfig([1, 2, 3]);

function entry(index: number, term: number): Entry {
  return makeEntry({ index, term, kind: 'command', payload: new Uint8Array(10) });
}

function entries(from: number, ...terms: readonly number[]): readonly Entry[] {
  return terms.map((term, i) => entry(from + i, term));
}

describe('RaftLog', () => {
  it('takeUnsaved() says after which entry a cut log goes on (P24)', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1, 1), 1);
    log.truncateAfter(1);
    log.append(entries(2, 2), 2);
    expect(log.takeUnsaved()).toEqual({ after: 1, entries: entries(2, 2) });
    expect(log.takeUnsaved()).toBeUndefined();
  });

  it('takeUnsaved() tells of a cut even when nothing was appended', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1, 1), 0);
    log.truncateAfter(2);
    expect(log.takeUnsaved()).toEqual({ after: 2, entries: [] });
  });

  it('a cut of entries that were never handed out needs no writing', () => {
    const log = new RaftLog(START, CONFIG, [], 0);
    log.append(entries(1, 1, 1), 1);
    log.truncateAfter(1);
    expect(log.takeUnsaved()).toEqual({ after: 0, entries: entries(1, 1) });
  });

  it('persisted() ignores a write for the log of an older leader (P22, the ABA race of etcd raft#8)', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1), 0);
    log.append(entries(2, 1), 1);
    const first = log.mark;
    log.truncateAfter(1);
    log.append(entries(2, 2), 2);
    const second = log.mark;
    log.truncateAfter(1);
    log.append(entries(2, 1 + 2), 3);
    const third = log.mark;
    expect(log.durable).toBe(1);
    log.persisted(first);
    expect(log.durable).toBe(1);
    log.persisted(second);
    expect(log.durable).toBe(1);
    log.persisted(third);
    expect(log.durable).toBe(2);
  });

  it('persisted() never goes back, whatever the order (P21)', () => {
    const log = new RaftLog(START, CONFIG, [], 0);
    log.append(entries(1, 1), 1);
    const first = log.mark;
    log.append(entries(2, 1), 1);
    const second = log.mark;
    log.persisted(second);
    log.persisted(first);
    expect(log.durable).toBe(2);
  });

  it('a mark covers what was verified for its leader, not an unverified tail', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1, 1), 0);
    log.accept(2, 1);
    expect(log.mark).toEqual({ accTerm: 2, index: 1 });
    log.accept(2, 3);
    log.accept(2, 2);
    expect(log.mark).toEqual({ accTerm: 2, index: 3 });
  });

  it('reset() drops the log, or keeps the agreeing tail and a cut that is not on disk yet', () => {
    const fresh = new RaftLog(START, CONFIG, entries(1, 1, 1, 1), 1);
    fresh.reset({ index: 2, term: 2 }, CONFIG, false, 2);
    expect(fresh.last).toEqual({ index: 2, term: 2 });
    expect([fresh.commit, fresh.durable]).toEqual([2, 1]);
    expect(fresh.takeUnsaved()).toBeUndefined();

    const kept = new RaftLog(START, CONFIG, entries(1, 1, 1, 1), 1);
    kept.truncateAfter(1);
    kept.append(entries(2, 2), 2);
    kept.reset({ index: 2, term: 2 }, CONFIG, true, 2);
    expect(kept.takeUnsaved()).toEqual({ after: 2, entries: [] });
  });

  it('compact() forgets entries and keeps positions right (P71)', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1, 2, 2), 4);
    log.compact(2);
    expect([log.base, log.last]).toEqual([
      { index: 2, term: 1 },
      { index: 4, term: 2 },
    ]);
    expect([log.term(1), log.term(2), log.term(3), log.term(4), log.term(5)]).toEqual([
      undefined,
      1,
      2,
      2,
      undefined,
    ]);
    expect(log.slice(3, 4, Infinity).map(({ index }) => index)).toEqual([3, 4]);
    log.compact(1);
    expect(log.base.index).toBe(2);
  });

  it('compact() beyond the commit index is a bug of the core', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1), 1);
    expect(() => log.compact(2)).toThrow(AssertionError);
  });

  it('slice() takes one entry however large, and no more than fit', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1, 1), 0);
    const each = entry(1, 1).encoded.length;
    expect(log.slice(1, 3, 1)).toHaveLength(1);
    expect(log.slice(1, 3, 2 * each)).toHaveLength(2);
    expect(log.slice(1, 3, 3 * each - 1)).toHaveLength(2);
  });

  it('conflictHint() skips a whole term of conflicts at once (§5.3)', () => {
    const log = new RaftLog(START, CONFIG, entries(1, 1, 1, 4, 4, 4, 6), 0);
    expect(log.conflictHint(6, 5)).toEqual({ index: 5, term: 4 });
    expect(log.conflictHint(5, 3)).toEqual({ index: 2, term: 1 });
    expect(log.conflictHint(5, 0)).toEqual({ index: 0, term: 0 });
    expect(log.conflictHint(99, 9)).toEqual({ index: 6, term: 6 });
  });
});
